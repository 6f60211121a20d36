//! kill -9, of the server and of its Postgres, at random moments in the middle of a crowd, which now and then has another
//! server beside it on the same Postgres.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bloq_accounts::clock::Clock;
use futures_util::future::join_all;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};
use tokio::sync::watch;
use uuid::Uuid;

use super::outage::without_limits;
use super::{Place, Program, Somebody, ada};
use crate::harness::program::{free_address, until};

/// Thousands of answers have come by then, also on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// Who is hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victim {
    /// The server, whose Postgres is ended in order by its guard.
    Server,
    /// The first process of Postgres, after which the others end by themselves.
    Postmaster,
    /// All of Postgres at the same time.
    Postgres,
    /// The process of Postgres that wrote events last, after which Postgres ends the others and recovers.
    Writer,
    /// The server, its Postgres and the guard between them.
    Everybody,
}

impl Victim {
    const ALL: [Self; 5] = [Self::Server, Self::Postmaster, Self::Postgres, Self::Writer, Self::Everybody];

    fn spares_the_server(self) -> bool {
        !matches!(self, Self::Server | Self::Everybody)
    }

    async fn processes(self, place: &Place, server: &Program) -> Vec<Pid> {
        match self {
            Self::Server => vec![Pid::from_raw(server.pid())],
            Self::Postmaster => vec![place.postmaster()],
            Self::Postgres => place.postgres(),
            Self::Writer => vec![writer(&mut place.database().await).await],
            Self::Everybody => {
                let beside = place.processes().into_iter().map(Pid::from_raw);
                beside.chain([Pid::from_raw(server.pid())]).collect()
            }
        }
    }
}

async fn writer(database: &mut PgConnection) -> Pid {
    let query = "select pid from pg_stat_activity where query like '%insert into events%' and pid <> pg_backend_pid()
                 order by query_start desc limit 1";
    let mut writer = None;
    until("events are written", async || {
        writer = sqlx::query_scalar(query).fetch_optional(&mut *database).await.expect("it answers");
        writer.is_some()
    })
    .await;
    Pid::from_raw(writer.expect("just seen"))
}

/// What somebody asks for, again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    Profile,
    Grant,
    Keys,
    Change,
    Nowhere,
    Nonsense,
}

impl Wish {
    /// More of them than make a second statement worth its while, most of them answered from memory.
    const OF_THE_CROWD: [(Self, usize); 6] = [
        (Self::Profile, 20),
        (Self::Grant, 6),
        (Self::Keys, 4),
        // One after another: of two at the same time nobody could tell which one was last.
        (Self::Change, 1),
        (Self::Nowhere, 4),
        (Self::Nonsense, 2),
    ];

    /// The answer when nothing is wrong.
    fn good(self) -> u16 {
        match self {
            Self::Nowhere => 404,
            Self::Nonsense => 400,
            _ => 200,
        }
    }

    /// Codes of a 503.
    fn codes(self) -> &'static [&'static str] {
        match self {
            Self::Change => &["DatabaseUnavailable", "Overloaded", "OutcomeUnknown"],
            _ => &["DatabaseUnavailable", "Overloaded"],
        }
    }
}

/// When they are hit.
#[derive(Clone, Copy, Debug)]
struct Moment {
    /// After so many answers, and as much time besides.
    after: usize,
    then: Duration,
    /// For so long the crowd holds its breath, and what it has asked for before goes on.
    pause: Duration,
    /// Whether half of the crowd asks the other server.
    is_shared: bool,
}

impl Moment {
    /// Each turn has moments of its own: early ones, ones after some thousand answers, and ones that nothing tells.
    fn of_turn(turn: usize, random: &mut StdRng) -> Self {
        let (answers, millis) = match turn % 4 {
            0 | 1 => (1..150, 0..1),
            2 => (2000..5000, 0..1),
            _ => (1..2, 0..4000),
        };
        Self {
            after: random.random_range(answers),
            then: Duration::from_millis(random.random_range(millis)),
            pause: Duration::from_micros(random.random_range(0..3000)),
            is_shared: random.random(),
        }
    }
}

/// What a client was told: a status, or nothing.
struct Told {
    id: String,
    wish: Wish,
    status: Option<u16>,
}

impl Told {
    /// A grant that is refused before anybody looked whose it is belongs to nobody, and such refusals are counted in one row.
    fn is_one_of_many(&self) -> bool {
        self.wish == Wish::Grant && self.status == Some(503)
    }
}

/// Numbers that ada is named by, one after another.
#[derive(Default)]
struct Names {
    asked: Cell<u64>,
    /// The last one that somebody was told of: nobody may see an older one after that.
    known: Cell<u64>,
    seen: RefCell<BTreeSet<u64>>,
    /// Of changes that were answered by a 503 which says that nothing has changed.
    refused: RefCell<BTreeSet<u64>>,
}

impl Names {
    fn next(&self) -> u64 {
        self.asked.set(self.asked.get() + 1);
        self.asked.get()
    }

    /// Learns from a profile, and answers, what ada is named by.
    fn learn(&self, profile: &Value) -> u64 {
        let name = profile["displayName"].as_str().and_then(|name| name.strip_prefix("Ada "));
        let number = name.and_then(|number| number.parse().ok()).expect("a name that was given here");
        self.seen.borrow_mut().insert(number);
        self.known.set(self.known.get().max(number));
        number
    }
}

/// A crowd that goes on from server to server.
struct Crowd {
    ada: Somebody,
    client_key: Value,
    names: Names,
    told: RefCell<Vec<Told>>,
    /// Answers other than 503.
    served: watch::Sender<usize>,
}

impl Crowd {
    async fn gather(place: &Place, server: &Program) -> Self {
        let ada = ada(place, server).await;
        let key = server.post("/users/me/client-keys").bearer(&ada.token).await.expect(200);
        let client_key = json!({
            "grantType": "clientCredentials",
            "clientId": key.text_of("clientId"),
            "clientSecret": key.text_of("clientSecret"),
        });
        let crowd =
            Self { ada, client_key, names: Names::default(), told: RefCell::default(), served: watch::channel(0).0 };
        crowd.ask(server, Wish::Change).await;
        crowd
    }

    /// Asks for it once; answers whether there was an answer.
    async fn ask(&self, server: &Program, wish: Wish) -> bool {
        let position = self.told.borrow().len();
        // Ids that are UUIDs have a column of their own.
        let is_uuid = position.is_multiple_of(2);
        let id = if is_uuid { Uuid::from_u128(position as u128).to_string() } else { format!("ask-{position}") };
        self.told.borrow_mut().push(Told { id: id.clone(), wish, status: None });
        let token = &self.ada.token;
        let name = if wish == Wish::Change { self.names.next() } else { 0 };
        let known = self.names.known.get();
        let call = match wish {
            Wish::Profile => server.get("/users/me").bearer(token),
            Wish::Grant => server.post("/auth/token").json(&self.client_key),
            Wish::Keys => server.get("/users/me/client-keys").bearer(token),
            Wish::Change => {
                let patch = json!({ "displayName": format!("Ada {name}") });
                server.call(Method::PATCH, "/users/me").bearer(token).json(&patch)
            }
            // With a token: what strangers ask, and guess, is told in one row a minute.
            Wish::Nowhere => server.get("/nowhere").bearer(token),
            Wish::Nonsense => server.get("/users/me/events?limit=0").bearer(token),
        };
        let Some(answer) = call.header("x-request-id", &id).attempt().await else { return false };
        self.told.borrow_mut()[position].status = Some(answer.status);
        if answer.status == 503 {
            let (_, code) = answer.refusal();
            assert!(wish.codes().contains(&code.as_str()), "{wish:?}: {answer:?}: {}", server.said());
            if wish == Wish::Change && code != "OutcomeUnknown" {
                self.names.refused.borrow_mut().insert(name);
            }
            return true;
        }
        assert_eq!(answer.status, wish.good(), "{wish:?}: {answer:?}: {}", server.said());
        self.served.send_modify(|served| *served += 1);
        if [Wish::Profile, Wish::Change].contains(&wish) {
            let shown = self.names.learn(&answer.json());
            assert!(shown >= known, "{answer:?} shows what was no longer true when it was asked: {known} was known");
        }
        true
    }

    /// Everybody at once, with these servers in turn, each until the server is gone or the story over.
    async fn works_during(&self, servers: &[&Program], story: impl Future<Output = ()>) {
        let is_over = Cell::new(false);
        let wishes = Wish::OF_THE_CROWD.into_iter().flat_map(|(wish, count)| std::iter::repeat_n(wish, count));
        let clients = wishes
            .zip(servers.iter().cycle())
            .map(async |(wish, server)| while !is_over.get() && self.ask(server, wish).await {});
        let story = async {
            story.await;
            is_over.set(true);
        };
        let work = async { tokio::join!(join_all(clients), story) };
        let worked = tokio::time::timeout(PATIENCE, work).await;
        assert!(worked.is_ok(), "nobody is answered any more: {}", said(servers));
    }

    /// Waits for so many more answers other than 503.
    async fn is_served(&self, count: usize) {
        let goal = *self.served.borrow() + count;
        self.served.subscribe().wait_for(|served| *served >= goal).await.expect("who counts is here");
    }

    /// Waits until there is an event of each answer from this one on, and says what the client was told.
    async fn is_recorded(&self, from: usize, database: &mut PgConnection) {
        let (ids, statuses): (Vec<String>, Vec<i16>) = {
            let told = self.told.borrow();
            let alone = told[from..].iter().filter(|told| !told.is_one_of_many());
            alone.map(|told| (told.id.clone(), told.status.expect("an answer") as i16)).unzip()
        };
        until("all of it is written", async || {
            let query = "select count(*) from events join unnest($1::text[], $2::smallint[]) as told (id, status)
                         on coalesce(request_uuid::text, request_id) = told.id and events.status = told.status";
            let query = sqlx::query_scalar(query).bind(&ids).bind(&statuses);
            let count: i64 = query.fetch_one(&mut *database).await.expect("it answers");
            count as usize >= ids.len()
        })
        .await;
    }

    /// Compares what everybody was told with what the table holds. The refusals at these positions have events, too.
    fn was_told_what_is_recorded(&self, refusals: &BTreeSet<usize>, rows: Vec<(String, i16, Option<Uuid>)>) {
        let mut events: BTreeMap<String, Vec<(u16, Option<String>)>> = BTreeMap::new();
        for (id, status, user) in rows {
            let event = (status as u16, user.map(|user| format!("user-{user}")));
            events.entry(id).or_default().push(event);
        }
        for (position, told) in self.told.borrow().iter().enumerate() {
            let Told { id, wish, status } = told;
            let events = events.remove(id).unwrap_or_default();
            match *status {
                Some(503) if refusals.contains(&position) && !told.is_one_of_many() => {
                    assert!(matches!(events[..], [(503, _)]), "{wish:?} {id}: {events:?}");
                }
                // Of these nobody knows more than that there are no two.
                Some(503) | None => assert!(events.len() <= 1, "{wish:?} {id}: {events:?}"),
                Some(status) => {
                    assert_eq!(events, [(status, Some(self.ada.id.clone()))], "{wish:?} {id}");
                }
            }
        }
        let (seen, refused) = (self.names.seen.borrow(), self.names.refused.borrow());
        let made: Vec<_> = seen.intersection(&refused).collect();
        assert!(made.is_empty(), "changes that were made, and answered as if nothing had changed: {made:?}");
    }
}

/// Another server on the Postgres of the first one, which it does not end with.
async fn neighbour(place: &Place, of: &Place) -> Program {
    let address = free_address();
    let key = std::fs::read_to_string(of.data_dir().join("master.key")).expect("the first one made it");
    let mut command = place.command(&["serve", "--listen", &address.to_string()]);
    // Not among the arguments: who names the data folder there counts as a process of it.
    without_limits(&mut command).env("DATABASE_URL", of.url()).env("BLOQ_ACCOUNTS_SERVER__MASTER_KEY", key.trim());
    let server = Program::start(command, address).await;
    server.becomes_ready().await;
    server
}

fn said(servers: &[&Program]) -> String {
    servers.iter().map(|server| server.said()).collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn a_process_of_postgres_that_never_notices_its_end_holds_up_no_start() {
    let place = Place::filled();
    let server = place.serve().await;
    let stuck = checkpointer(&place).await.expect("Postgres runs");
    kill(Pid::from_raw(stuck), Signal::SIGSTOP).expect("it is there");
    for process in place.processes().into_iter().filter(|process| *process != stuck) {
        let _ = kill(Pid::from_raw(process), Signal::SIGKILL);
    }
    drop(server);
    let server = place.serve().await;
    assert!(server.said().contains("processes of an earlier Postgres waited for each other"), "{}", server.said());
    ada(&place, &server).await;
}

/// The process of Postgres that is another one after every crash of it.
async fn checkpointer(place: &Place) -> sqlx::Result<i32> {
    let mut database = PgConnection::connect(&place.url()).await?;
    let query = "select pid from pg_stat_activity where backend_type = 'checkpointer'";
    sqlx::query_scalar(query).fetch_one(&mut database).await
}

#[tokio::test]
async fn whoever_is_killed_in_the_middle_of_a_crowd_no_event_of_an_answer_is_lost_or_doubled() {
    hit_each(1).await;
}

#[tokio::test]
#[ignore = "`.ci/kill` runs it: twenty recoveries of Postgres take their time"]
async fn whoever_is_killed_again_and_again_no_event_of_an_answer_is_lost_or_doubled() {
    hit_each(4).await;
}

/// Hits each so many times, in any order, and compares what the crowd was told with what the table holds.
async fn hit_each(times: usize) {
    let given = std::env::var("BLOQ_ACCOUNTS_TEST_SEED").ok();
    let seed =
        given.map_or_else(|| Clock::System.now().timestamp_millis() as u64, |seed| seed.parse().expect("a number"));
    println!("BLOQ_ACCOUNTS_TEST_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut rounds: Vec<_> =
        (0..times).flat_map(|turn| Victim::ALL.map(|victim| (victim, Moment::of_turn(turn, &mut random)))).collect();
    rounds.shuffle(&mut random);

    let (place, place_beside) = (Place::filled(), Place::new());
    let mut server = place.serve_with(without_limits).await;
    let mut beside = neighbour(&place_beside, &place).await;
    let crowd = Crowd::gather(&place, &server).await;
    // In these rounds the server lived until all was written.
    let mut certain = BTreeSet::new();
    for (victim, moment) in rounds {
        let from = crowd.told.borrow().len();
        let servers = if moment.is_shared { &[&server, &beside][..] } else { &[&server] };
        crowd
            .works_during(servers, async {
                crowd.is_served(1).await;
                let before = checkpointer(&place).await.expect("Postgres runs");
                let mut processes = victim.processes(&place, &server).await;
                processes.shuffle(&mut random);
                crowd.is_served(moment.after).await;
                tokio::time::sleep(moment.then).await;
                std::thread::sleep(moment.pause);
                let hit = processes.into_iter().filter(|process| kill(*process, Signal::SIGKILL).is_ok()).count();
                assert!(hit > 0, "{victim:?} was gone");
                if victim.spares_the_server() {
                    let is_another = async || checkpointer(&place).await.is_ok_and(|now| now != before);
                    until("there is another Postgres", is_another).await;
                    crowd.is_served(20).await;
                }
            })
            .await;
        {
            let told = crowd.told.borrow();
            let count = |status| told[from..].iter().filter(|told| told.status == status).count();
            let (all, refused, unheard) = (told.len() - from, count(Some(503)), count(None));
            println!("{victim:?}, {moment:?}: of {all} {refused} were refused, {unheard} unheard");
            assert!(unheard == 0 || !victim.spares_the_server(), "the servers live: {}", said(servers));
        }
        if victim.spares_the_server() {
            crowd.is_recorded(from, &mut place.database().await).await;
            certain.extend(from..crowd.told.borrow().len());
        } else {
            server.kill().await;
            server = place.serve_with(without_limits).await;
        }
    }

    // What was seen once stays: it is asked for in the end, too.
    for server in [&server, &beside] {
        server.becomes_ready().await;
        assert!(crowd.ask(server, Wish::Profile).await);
    }
    let mut database = place.database().await;
    let query = "select coalesce(request_uuid::text, request_id), status, user_id from events";
    let rows = sqlx::query_as(query).fetch_all(&mut database).await.expect("rows");
    database.close().await.expect("it is open");
    crowd.was_told_what_is_recorded(&certain, rows);
    for server in [&mut beside, &mut server] {
        let (code, _) = server.terminate().await;
        assert_eq!(code, Some(0), "{}", server.said());
    }
    place.is_left_alone().await;
}

#[tokio::test]
async fn a_killed_server_leaves_no_process_and_its_tokens_stay_good() {
    let place = Place::filled();
    let mut server = place.serve().await;
    let ada = ada(&place, &server).await;
    server.kill().await;
    place.is_left_alone().await;
    let mut server = place.serve().await;
    let profile: Value = server.get("/users/me").bearer(&ada.token).await.expect(200).json();
    assert_eq!(profile["id"], ada.id);
    server.terminate().await;
}
