//! How fast it is, how much it takes: `cargo bench`. `docs/performance.md` tells what is measured, and holds the last run.

mod document;
mod figures;
mod floor;
mod people;
mod report;
mod rows;
mod server;
mod table;
mod world;
mod wrk;

use std::process::ExitCode;

use anyhow::{Error, Result, anyhow, ensure};
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

use report::Row;
use rows::{Pace, Topic};
use world::World;

/// The document has nothing of fewer rounds: the machine drifts by half within minutes.
const ROUNDS: u32 = 5;

/// Measures the release binary on a Postgres of its own, and prints a table
#[derive(Parser)]
#[command(name = "cargo bench --", bin_name = "cargo bench --")]
struct CommandLine {
    /// What to measure; without a word everything
    #[arg(value_enum)]
    topics: Vec<Topic>,
    /// How often the floor and ours take turns
    #[arg(long, default_value_t = ROUNDS)]
    rounds: u32,
    /// How long each of their turns is
    #[arg(long, default_value_t = 3)]
    seconds: u32,
    /// Given by cargo bench, and not by cargo test
    #[arg(long, hide = true)]
    bench: bool,
    /// Be the floor, on this database
    #[arg(long, hide = true)]
    floor: Option<String>,
    /// … and do not test its connections
    #[arg(long, hide = true, requires = "floor")]
    untested: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let line = CommandLine::parse();
    let outcome = match (&line.floor, line.bench) {
        (Some(database_url), _) => floor::serve(database_url, line.untested).await,
        (None, true) => bench(&line).await,
        (None, false) => Ok(()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn bench(line: &CommandLine) -> Result<()> {
    wrk::check().await?;
    // Neither a run of some rows nor a hasty one is kept.
    let (topics, part) = match &line.topics[..] {
        [] => (Topic::ALL, (line.rounds >= ROUNDS).then_some("run")),
        [Topic::Soak] => (&[Topic::Soak][..], Some("soak")),
        some => (some, None),
    };
    // What is changed from here on is not measured.
    let source = document::source();
    let pace = Pace { rounds: line.rounds, seconds: line.seconds };
    progress("starting Postgres");
    let world = World::new().await?;
    let measured = tokio::select! {
        rows = measure(&world, topics, pace) => {
            document::describe(&world, &source, pace, &rows).await.map(|text| (rows, text))
        }
        error = interrupted() => Err(error),
    };
    world.close().await?;
    let (rows, text) = measured?;
    println!("\n{text}");
    ensure!(!rows.iter().any(Row::has_failed), "not everything could be measured");
    match part {
        Some(part) => document::write(part, &text),
        None => {
            progress(&format!(
                "docs/performance.md is left alone: it holds runs of everything, of {ROUNDS} rounds or more, and `soak`"
            ));
            Ok(())
        }
    }
}

/// A row that fails does not keep the others from being measured.
async fn measure(world: &World, topics: &[Topic], pace: Pace) -> Vec<Row> {
    let mut rows = Vec::new();
    for topic in topics {
        let measured = topic.measure(world, pace).await;
        match world.clear().await.and(measured) {
            Ok(measured) => rows.extend(measured),
            Err(error) => {
                progress(&format!("{topic:?} failed: {error:#}"));
                rows.push(Row::failed(format!("`{topic:?}`").to_lowercase(), &error));
            }
        }
    }
    rows
}

/// Waits for Ctrl-C or SIGTERM: what is under way is dropped then, and its processes end with it.
async fn interrupted() -> Error {
    let Ok(mut terminate) = signal(SignalKind::terminate()) else { return anyhow!("no signals can be heard") };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
    anyhow!("interrupted")
}

/// What goes on, for whoever waits.
fn progress(what: &str) {
    eprintln!("{what}");
}
