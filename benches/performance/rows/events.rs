//! Pages of events: in a table of ten thousand rows, and in one of ten million.

use std::time::Instant;

use anyhow::{Context, Result};
use bloq_accounts::events::EventId;
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use super::Pace;
use crate::figures::{Series, ms};
use crate::people::{self, Person};
use crate::progress;
use crate::report::{Goal, Row};
use crate::server::Server;
use crate::table;
use crate::world::World;

const SMALL: u64 = 10_000;
pub const LARGE: u64 = 10_000_000;
const LARGE_TO_SMALL: &str = "10,000,000 ÷ 10,000 rows";

/// Requests of one kind to each of the two tables in a round.
const REQUESTS: usize = 40;

/// A server on a table of this many rows, and whom to ask for.
pub struct Filled {
    pub server: Server,
    /// A tenth of all events is of this one.
    pub hot: Person,
    /// Each has some thousand events. No page of theirs was read before, but that of the few in the small table.
    ordinary: Vec<Person>,
    /// They have no events, until they ask.
    quiet: Vec<Person>,
    /// An event in the middle of the hot user's.
    middle: String,
    database_url: String,
}

impl Filled {
    pub async fn new(world: &World, name: &str, rows: u64, ordinary: usize) -> Result<Self> {
        let database_url = world.database(name).await?;
        let server = world.serve(&database_url).await?;
        // The one after the first, whose id is not made of the name, has a tenth of all events.
        let mut people = people::log_in(world, &database_url, &server, "busy", ordinary + 2).await?;
        let quiet = people::log_in(world, &database_url, &server, "quiet", REQUESTS + 1).await?;
        let quiet = quiet.into_iter().filter(|person| person.name != "quiet-1").collect();
        let ordinary = people.split_off(2);
        let hot = people.pop().context("two at least")?;

        progress(&format!("filling {rows} events"));
        let began = Instant::now();
        table::fill(&database_url, rows).await?;
        progress(&format!("filled {rows} events in {:.1} s", began.elapsed().as_secs_f64()));
        let middle = EventId(table::middle(&database_url).await?).to_string();
        Ok(Self { server, hot, ordinary, quiet, middle, database_url })
    }

    /// Milliseconds of one page.
    async fn time(&self, person: &Person, query: &str) -> Result<f64> {
        let request = self.server.get(&format!("/users/me/events{query}")).bearer_auth(&person.token);
        let began = Instant::now();
        people::ask(request).await?;
        Ok(ms(began.elapsed()))
    }

    /// Takes the events away that the quiet ones left by asking.
    async fn hush(&self) -> Result<()> {
        let statement = "delete from events where user_id in (select id from users where login_name like 'quiet-%')";
        sqlx::query(AssertSqlSafe(statement)).execute(&mut PgConnection::connect(&self.database_url).await?).await?;
        Ok(())
    }
}

/// What is asked of both tables.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Page {
    Newest,
    NewestAgain,
    NewestOfHot,
    NewestOfQuiet,
    MiddleOfHot,
    RefusedOfHot,
}

impl Page {
    const ALL: [Self; 6] = [
        Self::Newest,
        Self::NewestAgain,
        Self::NewestOfHot,
        Self::NewestOfQuiet,
        Self::MiddleOfHot,
        Self::RefusedOfHot,
    ];

    fn what(self) -> &'static str {
        match self {
            Self::Newest => "newest page of a user, read for the first time in the large table",
            Self::NewestAgain => "newest page of a user, read for the second time",
            Self::NewestOfHot => "newest page of the user with a tenth of them",
            Self::NewestOfQuiet => "newest page of a user without events",
            Self::MiddleOfHot => "page in the middle of a tenth of them",
            Self::RefusedOfHot => "`status=4xx` of a user who has none among a tenth of them",
        }
    }

    /// The requests of a round.
    fn requests(self) -> usize {
        // It may read all there are.
        if self == Self::RefusedOfHot { 4 } else { REQUESTS }
    }

    /// The milliseconds of request number `at`.
    async fn time(self, filled: &Filled, at: usize) -> Result<f64> {
        let (person, query) = match self {
            Self::Newest | Self::NewestAgain => (&filled.ordinary[at % filled.ordinary.len()], String::new()),
            Self::NewestOfHot => (&filled.hot, String::new()),
            Self::NewestOfQuiet => (&filled.quiet[at % filled.quiet.len()], String::new()),
            Self::MiddleOfHot => (&filled.hot, format!("?before={}", filled.middle)),
            Self::RefusedOfHot => (&filled.hot, "?status=4xx".to_owned()),
        };
        if self == Self::NewestAgain {
            filled.time(person, &query).await?;
        }
        filled.time(person, &query).await
    }
}

pub async fn events(world: &World, pace: Pace) -> Result<Vec<Row>> {
    let rounds = usize::try_from(pace.rounds)?;
    let small = Filled::new(world, "bench_events_small", SMALL, 9).await?;
    let large = Filled::new(world, "bench_events_large", LARGE, REQUESTS * rounds).await?;
    let (mut rows, mut newest) = (Vec::new(), f64::NAN);
    for page in Page::ALL {
        let what = format!("`events`: {}, {LARGE_TO_SMALL}", page.what());
        let goal = if page == Page::RefusedOfHot { Goal::None } else { Goal::AtMost(1.3) };
        let compared = match compare(page, [&small, &large], rounds).await {
            Ok(compared) => compared,
            Err(error) => {
                rows.push(Row::failed(what, &error));
                continue;
            }
        };
        let [of_small, of_large] = compared.times;
        progress(&format!("events, {}: {:.2}", page.what(), compared.ratios.median()));
        let note = format!("{of_large:.2} ms ÷ {of_small:.2} ms");
        rows.push(Row { what, unit: "", goal, figures: compared.ratios, note });
        match page {
            Page::NewestOfHot => newest = of_large,
            Page::MiddleOfHot => rows.push(Row {
                what: format!("`events`: {} ÷ newest page, 10,000,000 rows", page.what()),
                unit: "",
                goal,
                figures: [of_large / newest].into_iter().collect(),
                note: format!("{of_large:.2} ms ÷ {newest:.2} ms"),
            }),
            _ => {}
        }
    }
    Ok(rows)
}

/// Times of one page in both tables.
struct Compared {
    /// Large to small, round by round.
    ratios: Series,
    /// Milliseconds, of the small table and of the large one.
    times: [f64; 2],
}

async fn compare(page: Page, tables: [&Filled; 2], rounds: usize) -> Result<Compared> {
    let (mut ratios, mut times) = (Series::default(), <[Series; 2]>::default());
    for round in 0..rounds {
        let mut of_round = <[Series; 2]>::default();
        for filled in tables {
            filled.hush().await?;
        }
        for at in (0..page.requests()).map(|request| round * page.requests() + request) {
            for (filled, series) in tables.iter().zip(&mut of_round) {
                series.push(page.time(filled, at).await?);
            }
        }
        let [small, large] = of_round.map(|series| series.median());
        ratios.push(large / small);
        times[0].push(small);
        times[1].push(large);
    }
    Ok(Compared { ratios, times: times.map(|series| series.median()) })
}
