//! What holds for every route: ids, errors, bodies, methods, challenges, browsers, compression, TLS,
//! probes and documents.

mod bodies;
mod browsers;
mod challenges;
mod compression;
mod documents;
mod errors;
mod probes;
mod tls;
