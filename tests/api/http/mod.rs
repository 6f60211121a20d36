//! What holds for every route: ids, errors, bodies, methods, challenges, probes and documents.

mod bodies;
mod challenges;
mod documents;
mod errors;
mod probes;
