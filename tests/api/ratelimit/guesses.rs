//! Guessing a password: rows 2, 3, 11 and 25 of the list. A guesser is slowed down, an owner is not, and nobody learns
//! who has an account.

use bloq_accounts::config::Config;
use bloq_accounts::users::{AccessLevel, LoginName, NewName};
use chrono::TimeDelta;

use crate::harness::{Answer, Call, STRONG, STRONGER, TestApp, behind_a_proxy, count, sign_up_body, together};

/// Where the owners in these tests live.
const HOME: &str = "127.0.0.1";

/// A network from which nobody ever logged in.
fn stranger(number: usize) -> String {
    format!("203.0.113.{number}")
}

fn log_in(app: &TestApp, name: &str, from: &str) -> Call {
    app.post("/auth").basic(name, STRONG).from(from)
}

fn guess(app: &TestApp, name: &str, from: &str) -> Call {
    app.post("/auth").basic(name, STRONGER).from(from)
}

/// So many failures, each from a network of its own.
async fn attack(app: &TestApp, name: &str, failures: usize) {
    for number in 0..failures {
        guess(app, name, &stranger(number)).await.refused(401, "InvalidCredentials");
    }
}

/// Fails the test unless it is the refusal, with this many seconds to wait.
#[track_caller]
fn wait(answer: Answer, seconds: &str) {
    assert_eq!(answer.refused(429, "TooManyRequests").header("retry-after"), seconds);
}

#[tokio::test]
async fn thirty_failures_a_minute_from_ones_own_address() {
    let app = TestApp::start_with(behind_a_proxy).await;
    let ada = app.person("ada").await;
    for _ in 0..30 {
        guess(&app, &ada.email, HOME).await.refused(401, "InvalidCredentials");
    }
    wait(guess(&app, &ada.email, HOME).await, "2");
    app.advance(TimeDelta::milliseconds(1999));
    // Also with the right password: telling them apart would cost a hash.
    wait(log_in(&app, &ada.email, HOME).await, "1");
    app.advance(TimeDelta::milliseconds(1));
    guess(&app, &ada.email, HOME).await.refused(401, "InvalidCredentials");
    wait(guess(&app, &ada.email, HOME).await, "2");
    app.advance(TimeDelta::seconds(2));
    log_in(&app, &ada.email, HOME).await.expect(200);
    log_in(&app, &ada.email, HOME).await.expect(200);
}

#[tokio::test]
async fn a_burst_of_guesses_is_paid_back() {
    let app = TestApp::start_with(|config| {
        behind_a_proxy(config);
        // One hash after the other, so that many guesses are let in before the thirtieth is counted.
        config.password.argon2_memory_kib = 8 * 1024;
        config.password.max_parallel_hashes = 1;
    })
    .await;
    let ada = app.person("ada").await;
    let answers = together((0..80).map(|_| guess(&app, &ada.email, HOME))).await;
    let failures = count(&answers, 401);
    assert!(failures > 30, "{failures}");
    // Each costs two seconds, and one may be a minute behind.
    wait(guess(&app, &ada.email, HOME).await, &(failures * 2 - 58).to_string());
    app.advance(TimeDelta::seconds(i64::try_from(failures).expect("few") * 2 - 58));
    guess(&app, &ada.email, HOME).await.refused(401, "InvalidCredentials");
    wait(guess(&app, &ada.email, HOME).await, "2");
}

#[tokio::test]
async fn fifty_right_passwords_at_the_same_moment_all_open_during_an_attack() {
    let app = TestApp::start_with(behind_a_proxy).await;
    let ada = app.person("ada").await;
    attack(&app, &ada.email, 20).await;
    // One short of the limit from the own address, too.
    for _ in 0..29 {
        guess(&app, &ada.email, HOME).await.refused(401, "InvalidCredentials");
    }
    let answers = together((0..50).map(|_| log_in(&app, &ada.email, HOME))).await;
    assert_eq!(count(&answers, 200), 50, "{answers:?}");
}

#[tokio::test]
async fn strangers_wait_longer_and_longer_from_the_twentieth_failure_on() {
    let app = TestApp::start_with(behind_a_proxy).await;
    let ada = app.person("ada").await;
    attack(&app, &ada.email, 19).await;
    // The twentieth is let in, and the wait begins behind it, wherever the next comes from.
    guess(&app, &ada.email, &stranger(19)).await.refused(401, "InvalidCredentials");
    for (number, seconds) in ["1", "2", "4", "8", "10", "10"].into_iter().enumerate() {
        let fresh = stranger(100 + number);
        let pause = TimeDelta::seconds(seconds.parse().expect("a number"));
        wait(guess(&app, &ada.email, &fresh).await, seconds);
        app.advance(pause - TimeDelta::milliseconds(1));
        wait(log_in(&app, &ada.email, &fresh).await, "1");
        app.advance(TimeDelta::milliseconds(1));
        guess(&app, &ada.email, &fresh).await.refused(401, "InvalidCredentials");
    }
}

#[tokio::test]
async fn an_attack_is_over_ten_minutes_after_its_failures() {
    let app = TestApp::start_with(behind_a_proxy).await;
    let ada = app.person("ada").await;
    attack(&app, &ada.email, 20).await;
    app.advance(TimeDelta::minutes(10) - TimeDelta::milliseconds(1));
    app.sweep().await;
    // Still counted: this one has waited long enough, and the next has to wait again.
    guess(&app, &ada.email, &stranger(1)).await.refused(401, "InvalidCredentials");
    wait(guess(&app, &ada.email, &stranger(1)).await, "2");

    attack(&app, "nobody", 20).await;
    app.advance(TimeDelta::minutes(10));
    attack(&app, "nobody", 20).await;
    wait(guess(&app, "nobody", &stranger(99)).await, "1");
}

#[tokio::test]
async fn of_a_crowd_of_strangers_one_may_try_in_each_wait() {
    let app = TestApp::start_with(behind_a_proxy).await;
    let ada = app.person("ada").await;
    attack(&app, &ada.email, 20).await;
    app.advance(TimeDelta::seconds(1));
    let crowd = (50..80).map(|number| guess(&app, &ada.email, &stranger(number)));
    let answers = together(crowd.collect::<Vec<_>>()).await;
    assert_eq!((count(&answers, 401), count(&answers, 429)), (1, 29));
}

#[tokio::test]
async fn an_owner_who_logged_in_within_30_days_is_not_held_up() {
    let app = TestApp::start_with(behind_a_proxy).await;
    let ada = app.person("ada").await;
    log_in(&app, &ada.email, "2001:db8:0:1::1").await.expect(200);
    app.advance(TimeDelta::days(30) - TimeDelta::milliseconds(1));
    attack(&app, &ada.email, 20).await;
    for name in [&ada.email, &ada.id, &ada.email.to_uppercase()] {
        log_in(&app, name, "2001:db8:0:1:ffff::9").await.expect(200);
    }
    log_in(&app, &ada.email, HOME).await.expect(200);
    wait(log_in(&app, &ada.email, "2001:db8:0:2::1").await, "1");
}

#[tokio::test]
async fn an_owner_from_elsewhere_waits_once_and_is_at_home_there() {
    let app = TestApp::start_with(behind_a_proxy).await;
    let ada = app.person("ada").await;
    app.advance(TimeDelta::days(30));
    attack(&app, &ada.email, 20).await;
    wait(log_in(&app, &ada.email, HOME).await, "1");
    app.advance(TimeDelta::seconds(1));
    log_in(&app, &ada.email, HOME).await.expect(200);
    let answers = together((0..20).map(|_| log_in(&app, &ada.email, HOME))).await;
    assert_eq!(count(&answers, 200), 20, "{answers:?}");
}

/// Status, code, message and seconds to wait of every try.
async fn refusals(app: &TestApp, name: &str) -> Vec<(u16, String, String, String)> {
    let mut seen = Vec::new();
    for number in 0..36 {
        let from = if number < 30 { stranger(7) } else { stranger(number) };
        let answer = guess(app, name, &from).await;
        if number % 5 == 4 {
            app.advance(TimeDelta::milliseconds(1300));
        }
        let (code, message) = (answer.field("code"), answer.field("message"));
        seen.push((answer.status, code, message, answer.header("retry-after").to_owned()));
    }
    seen
}

#[tokio::test]
async fn a_name_that_is_nobodys_is_refused_exactly_like_an_account() {
    let app = TestApp::start_with(behind_a_proxy).await;
    let ada = app.person("ada").await;
    let babbage = app.named("babbage", AccessLevel::Admin).await;
    let (invited, _) = app.invited(NewName::Name(LoginName::parse("menabrea").expect("a name"))).await;
    app.sign_up("bob@example.com").await;
    app.block(&ada.id, "admin").await;
    let unknown = "user-00000000-0000-4000-8000-000000000000";
    let expected = refusals(&app, "nobody@example.com").await;
    let throttled = expected.iter().filter(|(status, ..)| *status == 429).count();
    assert!((10..16).contains(&throttled), "{expected:?}");
    for name in [&ada.email, "nobody", unknown, "bob@example.com", &babbage.id, &invited] {
        app.advance(TimeDelta::minutes(1));
        assert_eq!(refusals(&app, name).await, expected, "{name}");
    }
    // What cannot be a name is one account for each client: the mistakes of others hold up nobody.
    app.advance(TimeDelta::minutes(1));
    assert_eq!(refusals(&app, "no name@").await[..30], expected[..30]);
}

#[tokio::test]
async fn a_name_spelled_in_three_ways_is_one_account() {
    let app = TestApp::start_with(behind_a_proxy).await;
    let ada = app.person("ada").await;
    let babbage = app.named("babbage", AccessLevel::Admin).await;
    for names in [
        ["ada@example.com", "ADA@Example.COM", &ada.id],
        ["babbage", "BABbage", &babbage.id.to_uppercase()],
        ["nobody@bücher.example", "NOBODY@xn--bcher-kva.example", "nobody@BÜCHER.example"],
    ] {
        for number in 0..20 {
            guess(&app, names[number % 3], &stranger(number)).await.refused(401, "InvalidCredentials");
        }
        for name in names {
            wait(guess(&app, name, &stranger(99)).await, "1");
        }
    }
}

#[tokio::test]
async fn signing_up_with_an_address_tells_nobody_whether_it_was_taken() {
    let app = TestApp::start_with(behind_a_proxy).await;
    app.person("ada").await;
    for email in ["ada@example.com", "nobody@example.com"] {
        attack(&app, email, 20).await;
        let id = app.post("/users").json(&sign_up_body(email)).await.expect(201).field("id");
        wait(guess(&app, email, &stranger(99)).await, "1");
        // The id that was shown is an account of its own, whether or not it is stored.
        guess(&app, &id, &stranger(99)).await.refused(401, "InvalidCredentials");
        wait(guess(&app, email, &stranger(99)).await, "1");
    }
}

#[tokio::test]
async fn the_right_password_of_an_unproved_sign_up_counts_like_a_wrong_one() {
    let app = TestApp::start_with(behind_a_proxy).await;
    app.sign_up("bob@example.com").await;
    for number in 0..20 {
        log_in(&app, "bob@example.com", &stranger(number)).await.refused(401, "InvalidCredentials");
    }
    wait(log_in(&app, "bob@example.com", &stranger(99)).await, "1");
}

#[tokio::test]
async fn guessing_an_activation_password_is_guessing_a_password() {
    let app = TestApp::start_with(behind_a_proxy).await;
    let (id, activation) = app.invited(NewName::Email(crate::harness::people::email("ada@example.com"))).await;
    for number in 0..10 {
        app.activate(&id, "wrong", STRONG).from(&stranger(number)).await.refused(401, "InvalidCredentials");
        guess(&app, "ada@example.com", &stranger(number)).await.refused(401, "InvalidCredentials");
    }
    wait(app.activate(&id, &activation, STRONG).from(&stranger(99)).await, "1");
    wait(guess(&app, &id, &stranger(99)).await, "1");
    app.advance(TimeDelta::seconds(1));
    app.activate(&id, &activation, STRONG).from(&stranger(99)).await.expect(200);
}

#[tokio::test]
async fn a_refused_guess_is_neither_hashed_nor_counted() {
    let app = TestApp::start_with(|config| {
        behind_a_proxy(config);
        config.password.max_failed_logins = 100;
    })
    .await;
    app.named("babbage", AccessLevel::Authorized).await;
    attack(&app, "babbage", 20).await;
    let failures = "select failed_login_attempts::bigint from users";
    assert_eq!(app.count(failures).await, 20);
    for number in 0..20 {
        wait(guess(&app, "babbage", &stranger(number)).await, "1");
    }
    assert_eq!(app.count(failures).await, 20);
    app.advance(TimeDelta::seconds(1));
    guess(&app, "babbage", &stranger(0)).await.refused(401, "InvalidCredentials");
    wait(guess(&app, "babbage", &stranger(99)).await, "2");

    // With room for one hash and none in the queue, whoever hashes meets the others.
    let crowded = |config: &mut Config| {
        config.password.max_parallel_hashes = 1;
        config.password.max_queued_hashes = 0;
        config.password.argon2_memory_kib = 32 * 1024;
        config.rate_limit.failed_log_ins = 1;
    };
    let app = app.replica_with(crowded).await;
    guess(&app, "nobody", HOME).await.refused(401, "InvalidCredentials");
    let answers = together((0..10).map(|_| guess(&app, "nobody", HOME))).await;
    assert_eq!(count(&answers, 429), 10, "{answers:?}");
}

#[tokio::test]
async fn the_event_of_a_refused_guess_is_the_named_users() {
    let app = TestApp::start_with(behind_a_proxy).await;
    let ada = app.person("ada").await;
    for (name, owner) in [(ada.email.as_str(), Some(ada.id.clone())), ("nobody@example.com", None)] {
        attack(&app, name, 20).await;
        let refused = guess(&app, name, &stranger(99)).await.refused(429, "TooManyRequests");
        assert_eq!(app.owner_of(&refused).await, owner, "{name}");
    }
}

#[tokio::test]
async fn an_account_without_email_blocks_itself_whoever_guesses() {
    let app = TestApp::start_with(behind_a_proxy).await;
    app.named("babbage", AccessLevel::Authorized).await;
    attack(&app, "babbage", 11).await;
    log_in(&app, "babbage", HOME).await.refused(403, "UserBlocked");
}

#[tokio::test]
async fn guesses_are_not_counted_where_limits_are_switched_off() {
    let app = TestApp::start_with(|config| {
        behind_a_proxy(config);
        config.rate_limit.enabled = false;
    })
    .await;
    let ada = app.person("ada").await;
    let answers = together((0..60).map(|_| guess(&app, &ada.email, HOME))).await;
    assert_eq!(count(&answers, 401), 60);
    log_in(&app, &ada.email, HOME).await.expect(200);
    log_in(&app, &ada.email, &stranger(1)).await.expect(200);
}

#[tokio::test]
async fn every_replica_counts_its_own_guesses() {
    let app = TestApp::start_with(behind_a_proxy).await;
    let ada = app.person("ada").await;
    let other = app.replica().await;
    attack(&app, &ada.email, 20).await;
    wait(guess(&app, &ada.email, &stranger(99)).await, "1");
    guess(&other, &ada.email, &stranger(99)).await.refused(401, "InvalidCredentials");
}

#[tokio::test]
async fn whoever_reads_the_owners_mail_is_no_stranger() {
    let app = TestApp::start_with(behind_a_proxy).await;
    let ada = app.person("ada").await;
    let elsewhere = "198.51.100.7";
    attack(&app, &ada.email, 20).await;
    wait(log_in(&app, &ada.email, elsewhere).await, "1");
    app.forget_password(&ada.email).await.expect(202);
    let token = app.mailed_token(&ada.email).await;
    app.reset_password(&ada.id, &token, STRONGER).from(elsewhere).await.expect(200);
    guess(&app, &ada.email, elsewhere).await.expect(200);
}

#[tokio::test]
async fn strangers_have_their_turns_in_the_order_in_which_they_came() {
    let app = TestApp::start_with(behind_a_proxy).await;
    let ada = app.person("ada").await;
    attack(&app, &ada.email, 20).await;
    let (thief, owner) = (stranger(90), stranger(91));
    app.advance(TimeDelta::seconds(1));
    guess(&app, &ada.email, &thief).await.refused(401, "InvalidCredentials");
    wait(log_in(&app, &ada.email, &owner).await, "2");
    // The thief is there at every moment, and at the end of the wait before the owner.
    for _ in 0..10 {
        wait(guess(&app, &ada.email, &thief).await, "2");
    }
    app.advance(TimeDelta::seconds(2));
    wait(guess(&app, &ada.email, &thief).await, "2");
    app.advance(TimeDelta::seconds(2));
    log_in(&app, &ada.email, &owner).await.expect(200);
}
