//! The Qb2 service: the life of accounts over gRPC.

mod bounds;
mod connections;
mod door;
mod input;
mod life;
mod model;
mod rights;
mod session;
mod statuses;
