//! From where somebody logged in: what is remembered, for how long, and what is news.

use std::net::IpAddr;

use bloq_accounts::error::Code;
use bloq_accounts::log_ins::{LogIns, Seen};
use bloq_accounts::origin::Origin;
use bloq_accounts::ratelimit::Network;
use bloq_accounts::users::{LoginName, NewName, UserId};
use chrono::TimeDelta;

use crate::harness::{STRONG, STRONGER, TestApp, behind_a_proxy, together};

const ROWS: &str = "select count(*) from log_ins";

/// The record of a server, asked without its door.
struct Record {
    app: TestApp,
    log_ins: LogIns,
    user: UserId,
}

impl Record {
    /// Of somebody who never logged in.
    async fn new() -> Self {
        let app = TestApp::start().await;
        let (id, _) = app.invited(NewName::Name(LoginName::parse("ada").expect("a name"))).await;
        let log_ins = LogIns::new(app.app.pool.clone(), app.clock.clone());
        Self { log_ins, user: id.parse().expect("an id"), app }
    }

    async fn note(&self, address: &str, agent: &str) -> Seen {
        let origin = Origin { address: Some(ip(address)), agent: Some(agent.into()) };
        let mut connection = self.app.connection().await;
        self.log_ins.note(&mut connection, self.user, &origin).await.expect("it is noted")
    }

    async fn has_been_here(&self, address: &str, since: TimeDelta) -> bool {
        let (network, since) = (Network::of(ip(address)), self.app.now() - since);
        self.log_ins.has_been_here(self.user, network, since).await.expect("it is known")
    }

    async fn rows(&self) -> i64 {
        self.app.count(ROWS).await
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

#[tokio::test]
async fn another_network_or_another_agent_is_news() {
    let record = Record::new().await;
    assert_eq!(record.note("203.0.113.1", "curl").await, Seen::First);
    assert_eq!(record.note("203.0.113.1", "curl").await, Seen::Known);
    assert_eq!(record.note("203.0.113.1", "firefox").await, Seen::New);
    assert_eq!(record.note("203.0.113.2", "curl").await, Seen::New);
    assert_eq!(record.note("::ffff:203.0.113.2", "curl").await, Seen::Known);
    assert_eq!(record.note("2001:db8::1", "curl").await, Seen::New);
    assert_eq!(record.note("2001:db8::ffff:1", "curl").await, Seen::Known);
    let nameless = Origin { address: Some(ip("203.0.113.1")), agent: None };
    let mut connection = record.app.connection().await;
    for expected in [Seen::New, Seen::Known] {
        let seen = record.log_ins.note(&mut connection, record.user, &nameless).await.expect("it is noted");
        assert_eq!(seen, expected);
    }
    assert_eq!(record.rows().await, 5);
}

#[tokio::test]
async fn a_pair_is_remembered_for_90_days_and_a_user_for_ever() {
    let record = Record::new().await;
    record.note("203.0.113.1", "curl").await;
    record.app.advance(LogIns::MEMORY - TimeDelta::milliseconds(1));
    assert_eq!(record.note("203.0.113.1", "curl").await, Seen::Known);
    record.app.advance(LogIns::MEMORY);
    assert_eq!(record.note("203.0.113.1", "curl").await, Seen::New);
    record.app.advance(LogIns::MEMORY * 4);
    record.app.sweep().await;
    assert_eq!(record.note("203.0.113.2", "curl").await, Seen::New, "not the first");
    assert_eq!(record.rows().await, 1, "what the newer one made obsolete is gone");
}

#[tokio::test]
async fn a_sweep_keeps_the_newest_log_in_of_each_user() {
    let record = Record::new().await;
    let bob = record.app.person("bob").await;
    for number in 0..3 {
        record.note(&format!("203.0.113.{number}"), "curl").await;
        record.app.advance(TimeDelta::days(1));
    }
    assert_eq!(record.rows().await, 4);
    record.app.advance(LogIns::MEMORY - TimeDelta::days(3));
    record.app.sweep().await;
    assert_eq!(record.rows().await, 3, "the oldest of three, and not bob's only one, which is as old");
    record.app.advance(TimeDelta::days(2));
    record.app.sweep().await;
    assert_eq!(record.rows().await, 2);
    record.app.sweep().await;
    assert_eq!(record.rows().await, 2);
    assert!(record.has_been_here("203.0.113.2", TimeDelta::days(100)).await);
    // Whom the sweep has passed over is seen to at the next log-in.
    record.app.log_in(&bob.email, STRONG).await;
    assert_eq!(record.note("203.0.113.9", "curl").await, Seen::New);
    assert_eq!(record.rows().await, 2);
}

#[tokio::test]
async fn a_storm_of_log_ins_is_one_write() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let written = "select xmin::text::bigint from log_ins";
    let first = app.count(written).await;
    together((0..20).map(|_| app.post("/auth").basic(&ada.email, STRONG))).await;
    app.advance(TimeDelta::minutes(59));
    app.log_in(&ada.email, STRONG).await;
    assert_eq!(app.count(written).await, first);
    app.advance(TimeDelta::minutes(1));
    together((0..20).map(|_| app.post("/auth").basic(&ada.email, STRONG))).await;
    assert_ne!(app.count(written).await, first, "an hour later the time is written again");
    assert_eq!(app.text("select last_at::text from log_ins").await, "2026-03-05 13:00:00.123+00");
    assert_eq!(app.text("select first_at::text from log_ins").await, "2026-03-05 12:00:00.123+00");
}

#[tokio::test]
async fn of_log_ins_at_the_same_moment_one_is_news() {
    let record = Record::new().await;
    record.note("203.0.113.1", "curl").await;
    for days in [0, 200] {
        record.app.advance(TimeDelta::days(days));
        let address = "203.0.113.7";
        let (a, b, c) =
            tokio::join!(record.note(address, "curl"), record.note(address, "curl"), record.note(address, "curl"));
        let news = [a, b, c].into_iter().filter(|seen| *seen == Seen::New).count();
        assert_eq!(news, 1, "{a:?} {b:?} {c:?}");
    }
}

#[tokio::test]
async fn a_user_has_a_hundred_pairs_at_most() {
    let record = Record::new().await;
    for number in 0..110 {
        record.app.advance(TimeDelta::seconds(1));
        record.note("203.0.113.1", &format!("agent {number}")).await;
    }
    assert_eq!(record.rows().await, 100);
    assert_eq!(record.app.text("select agent from log_ins order by last_at limit 1").await, "agent 10");
    assert_eq!(record.note("203.0.113.1", "agent 0").await, Seen::New);
}

#[tokio::test]
async fn a_network_is_known_since_its_last_log_in_and_only_to_its_user() {
    let record = Record::new().await;
    record.note("203.0.113.1", "curl").await;
    record.app.advance(TimeDelta::days(30));
    assert!(!record.has_been_here("203.0.113.1", TimeDelta::days(30)).await);
    assert!(record.has_been_here("203.0.113.1", TimeDelta::days(30) + TimeDelta::milliseconds(1)).await);
    assert!(!record.has_been_here("203.0.113.2", TimeDelta::days(31)).await);
    let somebody = Record { user: UserId(uuid::Uuid::nil()), ..record };
    assert!(!somebody.has_been_here("203.0.113.1", TimeDelta::days(31)).await);
}

#[tokio::test]
async fn only_a_log_in_that_succeeds_is_noted() {
    let app = TestApp::start().await;
    let (id, activation) = app.invited(NewName::Name(LoginName::parse("ada").expect("a name"))).await;
    app.sign_up("bob@example.com").await;
    app.post("/auth").basic("bob@example.com", STRONG).await.expect(401);
    app.post("/auth").basic(&id, STRONGER).await.expect(401);
    app.post("/auth").basic(&id, &activation).await.expect(403);
    app.activate(&id, &activation, STRONG).await.expect(200);
    app.block(&id, "failures").await;
    app.post("/auth").basic(&id, STRONG).await.expect(403);
    assert_eq!(app.count(ROWS).await, 0);
}

#[tokio::test]
async fn somebody_who_was_deleted_meanwhile_is_refused() {
    let record = Record::new().await;
    record.app.execute("delete from users").await;
    let mut connection = record.app.connection().await;
    let noted = record.log_ins.note(&mut connection, record.user, &Origin::default()).await;
    assert_eq!(noted.expect_err("nobody is there").code(), Code::InvalidCredentials);
}

#[tokio::test]
async fn a_row_says_network_and_agent_and_goes_with_its_user() {
    let app = TestApp::start_with(behind_a_proxy).await;
    let ada = app.person("ada").await;
    let call = app.post("/auth").basic(&ada.email, STRONG).from("2001:db8:1:2:3:4:5:6");
    call.header("user-agent", &"a".repeat(300)).await.expect(200);
    assert_eq!(
        app.text("select network::text || ' ' || agent from log_ins order by id limit 1").await,
        "127.0.0.1/32 tests/1.0"
    );
    let newest = app.text("select network::text || ' ' || agent from log_ins order by id desc limit 1").await;
    assert_eq!(newest, format!("2001:db8:1:2::/64 {}", "a".repeat(256)));
    app.execute("delete from users").await;
    assert_eq!(app.count(ROWS).await, 0);
}
