//! Every API request is an event: which, whose, what it says, and that it is there before its answer.

pub mod away;
mod commit;
mod crowds;
mod everybody;
mod exports;
mod filters;
mod outcome;
mod owners;
mod pages;
mod partitions;
mod recorded;
mod relaxed;
mod retention;
mod shape;
mod size;
mod sparse;
mod stream;
