//! Log-ins against the time of a hash, and what they leave for everybody else.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use super::Pace;
use crate::document::cores;
use crate::figures::{Series, ms};
use crate::people::{self, Person};
use crate::progress;
use crate::report::{Goal, Row};
use crate::server::Server;
use crate::world::World;
use crate::wrk::Target;

/// `GET /users/me` beside them, a second.
const BESIDE: u32 = 50;

/// How long hashes are timed, with nothing beside them.
const ALONE: Duration = Duration::from_secs(2);

pub async fn login(world: &World, pace: Pace) -> Result<Vec<Row>> {
    let url = world.database("bench_login").await?;
    let server = world.serve(&url).await?;
    let people = people::log_in(world, &url, &server, "bench", 2).await?;
    // More log-ins at once than hashes run, so that no core waits.
    let connections = 8 * u32::try_from(cores())?;
    let log_ins = Target::new(&server.url, vec![people[0].log_in()], &world.new_folder()).await?;
    // A moment longer than the others: an answer takes a dozen hashes to come.
    let seconds = 2 * pace.seconds;
    log_ins.drive(connections, 1).await?;

    let (mut ratios, mut hashes, mut rates, mut p99s) = <(Series, Series, Series, Series)>::default();
    for round in 1..=pace.rounds {
        let hash = tokio::task::spawn_blocking(time_of_a_hash).await??;
        let (log_ins, beside) = tokio::join!(log_ins.drive(connections, seconds), me(&server, &people[1], seconds));
        let (log_ins, beside) = (log_ins?, beside?);
        #[expect(clippy::cast_precision_loss, reason = "a handful")]
        let ratio = log_ins.rate * hash.as_secs_f64() / cores() as f64;
        progress(&format!(
            "login {round}: {ratio:.3} at {:.1} ms a hash; beside {:.1} ms",
            ms(hash),
            beside.quantile(0.99)
        ));
        ratios.push(ratio);
        hashes.push(ms(hash));
        rates.push(log_ins.rate);
        p99s.push(beside.quantile(0.99));
    }
    let note = format!("{:.1}/s at {:.1} ms a hash on {} cores", rates.median(), hashes.median(), cores());
    let what = "`login`: `POST /auth` ÷ (cores ÷ time of one hash)".to_owned();
    let (beside, note_beside) = (format!("`me`, {BESIDE}/s beside them: 99th percentile"), String::new());
    Ok(vec![
        Row { what, unit: "", goal: Goal::AtLeast(0.95), figures: ratios, note },
        Row { what: beside, unit: " ms", goal: Goal::AtMost(25.0), figures: p99s, note: note_beside },
    ])
}

/// One hash with the parameters of `config/default.toml`, in memory that is used again.
fn time_of_a_hash() -> Result<Duration> {
    let defaults: toml::Table = include_str!("../../../config/default.toml").parse()?;
    let default = |key: &str| {
        let value = defaults["password"].get(key).and_then(toml::Value::as_integer);
        u32::try_from(value.with_context(|| format!("password.{key} has a default"))?).context("a small number")
    };
    let params =
        Params::new(default("argon2_memory_kib")?, default("argon2_iterations")?, default("argon2_parallelism")?, None)
            .map_err(|error| anyhow!("{error}"))?;
    let mut memory = vec![Block::new(); params.block_count()];
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let (began, mut hashes) = (Instant::now(), 0);
    while began.elapsed() < ALONE {
        let hashed = argon2.hash_password_into_with_memory(b"Analytical Engine", &[7; 16], &mut [0; 32], &mut memory);
        hashed.map_err(|error| anyhow!("{error}"))?;
        hashes += 1;
    }
    Ok(began.elapsed() / hashes)
}

/// Asks for the profile at a steady pace, whether the last answer has come or not; answers milliseconds.
async fn me(server: &Server, person: &Person, seconds: u32) -> Result<Series> {
    let mut beat = interval(Duration::from_secs(1) / BESIDE);
    beat.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut asked = JoinSet::new();
    for _ in 0..seconds * BESIDE {
        let due = beat.tick().await;
        let request = server.get("/users/me").bearer_auth(&person.token);
        asked.spawn(async move {
            people::ask(request).await?;
            anyhow::Ok(ms(due.elapsed()))
        });
    }
    asked.join_all().await.into_iter().collect()
}
