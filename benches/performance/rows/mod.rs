//! What can be measured.

mod events;
mod floors;
mod login;
mod memory;
mod size;
mod soak;
mod start;

use anyhow::Result;
use clap::ValueEnum;

use crate::report::Row;
use crate::world::World;

/// A group of rows, as it is named on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Topic {
    /// `GET /users/me` against F1, of one user and of 200
    Me,
    /// `POST /auth/token` with client keys against F1
    Token,
    /// `POST /auth/token` with a refresh token against F1
    Refresh,
    /// `POST /auth` against the time of a hash, with `GET /users/me` beside it
    Login,
    /// Pages of events in a table of 10,000 rows and in one of 10,000,000
    Events,
    /// From the process to the first request that is served
    Start,
    /// Resident memory: idle, driven, after log-ins
    Memory,
    /// Size of the binary
    Size,
    /// Ten minutes more, never by itself: five of load, and an export of a million events
    Soak,
}

/// How long to measure.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    pub rounds: u32,
    /// Of one load in one round.
    pub seconds: u32,
}

impl Topic {
    /// All that a run without words measures.
    pub const ALL: &[Self] =
        &[Self::Me, Self::Token, Self::Refresh, Self::Login, Self::Events, Self::Start, Self::Memory, Self::Size];

    pub async fn measure(self, world: &World, pace: Pace) -> Result<Vec<Row>> {
        match self {
            Self::Me => floors::me(world, pace).await,
            Self::Token => floors::token(world, pace).await,
            Self::Refresh => floors::refresh(world, pace).await,
            Self::Login => login::login(world, pace).await,
            Self::Events => events::events(world, pace).await,
            Self::Start => start::start(world, pace).await,
            Self::Memory => memory::memory(world, pace).await,
            Self::Size => size::size(),
            Self::Soak => Ok(soak::soak(world).await),
        }
    }
}
