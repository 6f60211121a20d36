//! What takes longer than a run may: memory under a load that goes on, and an export of a million events.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use tokio::time::interval;

use super::events::{Filled, LARGE};
use super::memory::megabytes;
use crate::figures::Series;
use crate::report::{Goal, Row};
use crate::server::Server;
use crate::world::World;
use crate::wrk::Target;
use crate::{people, progress};

/// How long the load goes on.
const LONG: Duration = Duration::from_secs(300);

/// Memory of the second minute and of the last one are compared: the first fills pools and caches.
const MINUTE: usize = 60;

const NDJSON: &str = "application/x-ndjson";

/// Either is shown when the other one fails.
pub async fn soak(world: &World) -> Vec<Row> {
    let failed = |what: &str, error| Row::failed(what.to_owned(), &error);
    vec![
        flat(world).await.unwrap_or_else(|error| failed("`soak`: load", error)),
        export(world).await.unwrap_or_else(|error| failed("`soak`: export", error)),
    ]
}

/// All kinds of requests in turn.
async fn flat(world: &World) -> Result<Row> {
    let url = world.database("bench_soak").await?;
    let server = world.serve(&url).await?;
    let people = people::log_in(world, &url, &server, "bench", 200).await?;
    let client = people[0].client(&server).await?;
    let me = people.iter().map(people::Person::me).collect();
    let mut targets = Vec::new();
    for requests in [me, vec![client.by_keys()], vec![client.by_refresh()], vec![people[0].log_in()]] {
        targets.push(Target::new(&server.url, requests, &world.new_folder()).await?);
    }
    progress(&format!("soak: {LONG:?} of load"));
    let load = async {
        let began = Instant::now();
        for target in targets.iter().cycle() {
            if began.elapsed() > LONG {
                break;
            }
            target.drive(64, 5).await?;
        }
        anyhow::Ok(())
    };
    let resident = watch(&server, Duration::from_secs(1), load).await?.1;
    ensure!(resident.len() > 4 * MINUTE, "the load was too short");
    let early: Series = resident.iter().copied().skip(MINUTE).take(MINUTE).collect();
    let late: Series = resident.iter().copied().rev().take(MINUTE).collect();
    Ok(Row {
        what: "`soak`: resident memory, last minute of five ÷ second one".into(),
        unit: "",
        goal: Goal::AtMost(1.1),
        figures: [late.median() / early.median()].into_iter().collect(),
        note: format!("{:.1} MB ÷ {:.1} MB", late.median(), early.median()),
    })
}

/// All events of a user who has a million, as one stream.
async fn export(world: &World) -> Result<Row> {
    let Filled { server, hot, .. } = Filled::new(world, "bench_export", LARGE, 1).await?;
    let expected = usize::try_from(LARGE / 10)?;
    progress("soak: export of a million events");
    let began = Instant::now();
    let download = async {
        let request = server.get("/users/me/events");
        let mut answer = request.bearer_auth(&hot.token).header(ACCEPT, NDJSON).send().await?.error_for_status()?;
        let kind = answer.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        ensure!(kind.starts_with(NDJSON), "GET /users/me/events does not stream {NDJSON}: it answered {kind}");
        let mut lines = 0;
        while let Some(chunk) = answer.chunk().await? {
            lines += chunk.iter().filter(|byte| **byte == b'\n').count();
        }
        Ok(lines)
    };
    let (lines, resident) = watch(&server, Duration::from_millis(50), download).await?;
    let seconds = began.elapsed().as_secs_f64();
    ensure!(lines >= expected, "an export of {lines} lines, less than {expected}");
    let peak = resident.into_iter().fold(f64::NAN, f64::max);
    Ok(Row {
        what: "`soak`: most resident memory while a million events are exported".into(),
        unit: " MB",
        goal: Goal::AtMost(64.0),
        figures: [peak].into_iter().collect(),
        note: format!("{lines} lines in {seconds:.1} s"),
    })
}

/// Looks at the memory of a server while something goes on; answers megabytes.
async fn watch<T>(server: &Server, every: Duration, work: impl Future<Output = Result<T>>) -> Result<(T, Vec<f64>)> {
    let (mut beat, mut resident) = (interval(every), Vec::new());
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return Ok((done?, resident)),
            _ = beat.tick() => resident.push(megabytes(server.resident().context("while it works")?)),
        }
    }
}
