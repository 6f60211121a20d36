//! Resident memory of a server that is idle, that was driven, that has hashed, and that remembers as much as it may.

use std::time::Duration;

use anyhow::Result;
use serde_json::Value;

use super::Pace;
use crate::figures::Series;
use crate::report::{Goal, Row};
use crate::world::World;
use crate::wrk::Target;
use crate::{people, progress};

const CONNECTIONS: u32 = 64;

/// Log-ins at once: more than hashes run.
const LOG_INS: u32 = 16;

/// Users who ask for everything that is remembered of anybody; more than are remembered.
const CROWD: usize = 12_000;

/// A server of its own each round. Another one logs the user in, so that no hash of ours is in the first two figures.
pub async fn memory(world: &World, pace: Pace) -> Result<Vec<Row>> {
    let url = world.database("bench_memory").await?;
    let other = world.serve(&url).await?;
    let people = people::log_in(world, &url, &other, "bench", 1).await?;
    let client = people[0].client(&other).await?;

    let (mut idle, mut loaded, mut hashed) = <(Series, Series, Series)>::default();
    for round in 1..=pace.rounds {
        let server = world.serve(&url).await?;
        // What only the start needed is given back by then.
        tokio::time::sleep(Duration::from_secs(2)).await;
        idle.push(megabytes(server.resident()?));
        for request in [people[0].me(), client.by_keys(), client.by_refresh()] {
            let target = Target::new(&server.url, vec![request], &world.new_folder()).await?;
            target.drive(CONNECTIONS, pace.seconds).await?;
        }
        loaded.push(megabytes(server.resident()?));
        let target = Target::new(&server.url, vec![people[0].log_in()], &world.new_folder()).await?;
        target.drive(LOG_INS, pace.seconds).await?;
        hashed.push(megabytes(server.resident()?));
        progress(&format!("memory {round}"));
        server.stop().await?;
    }
    let crowded = [crowded(world, &url).await?].into_iter().collect();
    let row = |what: &str, goal, figures, note: &str| Row {
        what: what.into(),
        unit: " MB",
        goal,
        figures,
        note: note.into(),
    };
    Ok(vec![
        row("`memory`: idle", Goal::AtMost(20.0), idle, ""),
        row("`memory`: after `me`, `token` and `refresh`", Goal::AtMost(48.0), loaded, "no password was hashed"),
        row(
            "`memory`: after 12,000 users, each with tokens and keys of their own",
            Goal::AtMost(48.0),
            crowded,
            "no password was hashed",
        ),
        row("`memory`: after log-ins besides", Goal::None, hashed, "with the memory that hashes keep: 19.9 MB a core"),
    ])
}

/// Megabytes of a server that many ask, each with tokens and keys that nobody else has. Another one logs them in.
async fn crowded(world: &World, database_url: &str) -> Result<f64> {
    progress(&format!("memory: {CROWD} users"));
    let hasty = world.serve_hastily(database_url).await?;
    let people = people::log_in(world, database_url, &hasty, "crowd", CROWD).await?;
    let clients = people::each(&people, async |person| person.client(&hasty).await).await?;
    hasty.stop().await?;

    let server = world.serve(database_url).await?;
    let grant = |body: &Value| people::ask(server.post("/auth/token").json(body));
    people::each(&people, async |person| people::ask(server.get("/users/me").bearer_auth(&person.token)).await).await?;
    people::each(&clients, async |client| grant(&client.keys).await).await?;
    people::each(&clients, async |client| grant(&client.refresh).await).await?;
    let resident = megabytes(server.resident()?);
    server.stop().await?;
    Ok(resident)
}

/// Millions of bytes.
pub fn megabytes(bytes: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let bytes = bytes as f64;
    bytes / 1e6
}
