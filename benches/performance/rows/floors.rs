//! What is measured against the floor: both servers on one Postgres, driven in turn.

use anyhow::Result;
use sqlx::{Connection, PgConnection};

use super::Pace;
use crate::figures::{Series, ms};
use crate::people::{self, Person};
use crate::report::{Goal, Row};
use crate::server::Server;
use crate::world::World;
use crate::wrk::{Request, Target};
use crate::{floor, progress};

const CONNECTIONS: u32 = 64;

/// How many users the row of many users has.
const CROWD: usize = 200;

/// Both servers, and what the floor can be asked.
struct Pair<'a> {
    world: &'a World,
    url: String,
    ours: Server,
    floor: Server,
    floor_requests: Vec<Request>,
    people: Vec<Person>,
}

/// The figures of one thing that was measured against the floor.
struct Compared {
    ratios: Series,
    p99s: Series,
    note: String,
}

impl<'a> Pair<'a> {
    async fn start(world: &'a World, database: &str, people: usize) -> Result<Self> {
        progress("starting both servers");
        let url = world.database(database).await?;
        let ours = world.serve(&url).await?;
        let ids = floor::fill(&mut PgConnection::connect(&url).await?, people).await?;
        let floor_requests = ids.iter().map(|id| Request::get(&format!("/{id}"))).collect();
        let floor = world.floor(&url, &[]).await?;
        let people = people::log_in(world, &url, &ours, "bench", people).await?;
        Ok(Self { world, url, ours, floor, floor_requests, people })
    }

    /// Drives the floor and ours in turn.
    async fn compare(&self, name: &str, requests: Vec<Request>, pace: Pace) -> Result<Compared> {
        self.compare_with(&self.ours, name, requests, pace).await
    }

    /// Drives the floor and another server in turn, each after a moment to get warm.
    async fn compare_with(&self, ours: &Server, name: &str, requests: Vec<Request>, pace: Pace) -> Result<Compared> {
        let floor_requests = self.floor_requests.iter().take(requests.len()).cloned().collect();
        let floor = Target::new(&self.floor.url, floor_requests, &self.world.new_folder()).await?;
        let ours = Target::new(&ours.url, requests, &self.world.new_folder()).await?;
        progress(&format!("{name}: warming up"));
        floor.drive(CONNECTIONS, 1).await?;
        ours.drive(CONNECTIONS, 2).await?;
        let (mut floors, mut rates, mut p99s, mut ratios) = <(Series, Series, Series, Series)>::default();
        for round in 1..=pace.rounds {
            let floor = floor.drive(CONNECTIONS, pace.seconds).await?;
            let ours = ours.drive(CONNECTIONS, pace.seconds).await?;
            let ratio = ours.rate / floor.rate;
            progress(&format!(
                "{name} {round}: {ratio:.3} = {:.0}/s ÷ {:.0}/s, p99 {:.1} ms",
                ours.rate,
                floor.rate,
                ms(ours.p99)
            ));
            floors.push(floor.rate);
            rates.push(ours.rate);
            ratios.push(ratio);
            p99s.push(ms(ours.p99));
        }
        let note = format!("{:.0}/s ÷ {:.0}/s", rates.median(), floors.median());
        Ok(Compared { ratios, p99s, note })
    }
}

/// `GET /users/me`, of one user and of many.
pub async fn me(world: &World, pace: Pace) -> Result<Vec<Row>> {
    let pair = Pair::start(world, "bench_me", CROWD).await?;
    let one = pair.compare("me", pair.people[..1].iter().map(Person::me).collect(), pace).await?;
    let crowd = pair.compare("me, 200 users", pair.people.iter().map(Person::me).collect(), pace).await?;
    let untested = world.floor(&pair.url, &["--untested"]).await?;
    let asked = pair.floor_requests[..1].to_vec();
    let untested = pair.compare_with(&untested, "F1 without tests before use", asked, pace).await?;
    Ok(vec![
        ratio("`me`: `GET /users/me` ÷ F1", Goal::AtLeast(2.0), &one),
        p99("`me`: 99th percentile", Goal::AtMost(10.0), &one),
        ratio("`me` of 200 users in turn ÷ F1", Goal::None, &crowd),
        p99("`me` of 200 users: 99th percentile", Goal::None, &crowd),
        ratio("F1 that does not test connections before use ÷ F1", Goal::None, &untested),
    ])
}

/// `POST /auth/token` with client keys: two signatures and an event.
pub async fn token(world: &World, pace: Pace) -> Result<Vec<Row>> {
    let pair = Pair::start(world, "bench_token", 1).await?;
    let client = pair.people[0].client(&pair.ours).await?;
    let compared = pair.compare("token", vec![client.by_keys()], pace).await?;
    Ok(vec![
        ratio("`token`: `POST /auth/token` with client keys ÷ F1", Goal::AtLeast(0.8), &compared),
        p99("`token`: 99th percentile", Goal::None, &compared),
    ])
}

/// `POST /auth/token` with a refresh token: one signature checked, one made, and an event.
pub async fn refresh(world: &World, pace: Pace) -> Result<Vec<Row>> {
    let pair = Pair::start(world, "bench_refresh", 1).await?;
    let client = pair.people[0].client(&pair.ours).await?;
    let compared = pair.compare("refresh", vec![client.by_refresh()], pace).await?;
    Ok(vec![
        ratio("`refresh`: `POST /auth/token` with a refresh token ÷ F1", Goal::AtLeast(1.0), &compared),
        p99("`refresh`: 99th percentile", Goal::None, &compared),
    ])
}

fn ratio(what: &str, goal: Goal, compared: &Compared) -> Row {
    Row { what: what.into(), unit: "", goal, figures: compared.ratios.clone(), note: compared.note.clone() }
}

fn p99(what: &str, goal: Goal, compared: &Compared) -> Row {
    Row { what: what.into(), unit: " ms", goal, figures: compared.p99s.clone(), note: String::new() }
}
