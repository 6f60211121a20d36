//! How long a start takes, from the process to the first request that is served.

use anyhow::Result;

use super::Pace;
use crate::figures::Series;
use crate::progress;
use crate::report::{Goal, Row};
use crate::server::Server;
use crate::world::World;

/// On a database that is there, and with everything still to be made.
pub async fn start(world: &World, pace: Pace) -> Result<Vec<Row>> {
    let url = world.database("bench_start").await?;
    world.serve(&url).await?.stop().await?;
    let (mut existing, mut first, mut again) = <(Series, Series, Series)>::default();
    for round in 1..=pace.rounds {
        let server = world.serve(&url).await?;
        existing.push(server.ready_after.as_secs_f64());
        server.stop().await?;

        let data_dir = world.new_folder();
        for series in [&mut first, &mut again] {
            let server = Server::start(world.command(&data_dir).arg("serve"), &world.new_folder()).await?;
            series.push(server.ready_after.as_secs_f64());
            server.stop().await?;
        }
        std::fs::remove_dir_all(data_dir)?;
        progress(&format!("start {round}"));
    }
    let row = |what: &str, goal, figures| Row { what: what.into(), unit: " s", goal, figures, note: String::new() };
    Ok(vec![
        row("`start` on an existing database", Goal::AtMost(0.1), existing),
        row("`start` for the first time, with its own Postgres", Goal::AtMost(3.0), first),
        row("`start` once more, with its own Postgres", Goal::None, again),
    ])
}
