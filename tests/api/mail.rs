//! What arrives in a mailbox, and that it arrives once.

mod relay;

use bloq_accounts::mail::{State, Unsent};
use chrono::TimeDelta;

use crate::harness::{TestApp, sign_up_body};

/// A server behind a proxy on this machine.
async fn behind_a_proxy() -> TestApp {
    TestApp::start_with(|config| config.server.trusted_proxies = vec!["127.0.0.0/8".parse().expect("a network")]).await
}

#[tokio::test]
async fn the_verification_mail_says_all_that_is_needed() {
    let app = TestApp::start().await;
    let id = app.sign_up("Ada@example.com").await;
    assert_eq!(app.deliver_mail().await, 1);
    let letter = app.mailbox().last_to("Ada@example.com");
    let token = letter.token();
    assert_eq!(letter.user_id(), id);
    assert!(!letter.subject.is_empty());
    let curl = format!("curl -X PUT https://accounts.example/users/{id}/token/{token}");
    let bcl = format!("bcl verify -u {id} -t {token}");
    // Some slashes travel as character references, which every reader of HTML turns back.
    let html = letter.html.replace("&#x2f;", "/");
    for line in [&curl, &bcl] {
        assert!(letter.text.lines().any(|found| found.trim() == line), "{line} in {}", letter.text);
        assert!(html.contains(line.as_str()), "{line} in {html}");
    }
    for text in [&letter.text, &letter.html] {
        assert!(text.contains("2026-03-05 12:00 UTC") && text.contains("127.0.0.1"), "time and address in {text}");
    }
}

/// Developers read the files of the `file` transport with `sed`: the HTML part must not say it once more in the same way.
#[tokio::test]
async fn whoever_looks_for_the_token_in_the_file_of_a_mail_finds_it_once() {
    let app = TestApp::start().await;
    app.sign_up("ada@example.com").await;
    app.deliver_mail().await;
    let folder = std::fs::read_dir(app.config.data_dir.join("mail")).expect("the mail folder");
    let file = folder.flatten().next().expect("a mail").path();
    let raw = std::fs::read_to_string(file).expect("text");
    for label in ["Token:", "User id:"] {
        assert_eq!(raw.lines().filter(|line| line.starts_with(label)).count(), 1, "{raw}");
    }
}

#[tokio::test]
async fn the_mail_names_the_address_behind_the_proxy() {
    let app = behind_a_proxy().await;
    let call = app.post("/users").json(&sign_up_body("ada@example.com"));
    call.header("x-forwarded-for", "1.2.3.4, 203.0.113.9").await.expect(201);
    app.deliver_mail().await;
    let letter = app.mailbox().last_to("ada@example.com");
    assert!(letter.text.contains("from 203.0.113.9") && !letter.text.contains("1.2.3.4"), "{}", letter.text);
}

/// decisions.md section 1: "The mail names the time and address of the sign-up." The reader decides by them whether the
/// sign-up was the own one; the address of whoever asked for another mail would vouch for a stranger's account.
#[tokio::test]
async fn a_repeated_mail_names_the_address_of_the_sign_up_and_not_of_the_repetition() {
    let app = behind_a_proxy().await;
    let call = app.post("/users").json(&sign_up_body("ada@example.com"));
    let mallorys = call.header("x-forwarded-for", "203.0.113.66").await.expect(201).field("id");
    app.deliver_mail().await;
    app.advance(TimeDelta::hours(1));
    let call = app.post("/users/ada@example.com/token").header("x-forwarded-for", "198.51.100.7");
    call.await.expect(202);
    app.deliver_mail().await;
    let letter = app.mailbox().last_to("ada@example.com");
    assert_eq!(letter.user_id(), mallorys);
    assert!(letter.text.contains("2026-03-05 12:00 UTC"), "the time of the sign-up in {}", letter.text);
    assert!(letter.text.contains("from 203.0.113.66"), "the address of the sign-up in {}", letter.text);
}

#[tokio::test]
async fn what_a_stranger_types_is_not_markup_in_a_mail() {
    let app = TestApp::start().await;
    let mut body = sign_up_body("ada@example.com");
    body["displayName"] = "<a href=https://evil.example>Win</a>".into();
    app.post("/users").json(&body).await.expect(201);
    app.deliver_mail().await;
    let letter = app.mailbox().last_to("ada@example.com");
    assert!(!letter.html.contains("evil.example") && !letter.text.contains("evil.example"), "{letter:?}");
}

#[tokio::test]
async fn a_mail_waits_for_the_next_start() {
    let app = TestApp::start().await;
    app.sign_up("ada@example.com").await;
    let app = app.restart().await;
    assert_eq!(app.deliver_mail().await, 1);
    assert_eq!(app.deliver_mail().await, 0);
    assert_eq!(app.restart().await.deliver_mail().await, 0, "and is not sent again");
}

#[tokio::test]
async fn two_couriers_never_send_one_mail_twice() {
    let app = TestApp::start().await;
    for number in 0..10 {
        app.sign_up(&format!("ada{number}@example.com")).await;
    }
    let replica = app.replica().await;
    let (ours, theirs) = tokio::join!(app.deliver_mail(), replica.deliver_mail());
    assert_eq!((ours + theirs, app.mailbox().len()), (10, 10));
    assert_eq!(app.count("select count(*) from outbox where attempts = 1 and sent_at is not null").await, 10);
}

#[tokio::test]
async fn a_mail_that_cannot_leave_is_tried_again_later_and_later() {
    let app = TestApp::start().await;
    app.sign_up("ada@example.com").await;
    let folder = app.config.data_dir.join("mail");
    std::fs::remove_dir_all(&folder).expect("the folder goes");
    let mut pauses = Vec::new();
    for _ in 0..4 {
        assert_eq!(app.deliver_mail().await, 1, "one try");
        assert_eq!(app.deliver_mail().await, 0, "and a pause");
        let now = app.now();
        let next = app.text("select next_attempt_at::text from outbox").await;
        let next = chrono::DateTime::parse_from_str(&next, "%Y-%m-%d %H:%M:%S%.f%#z").expect("a time");
        pauses.push(next.to_utc() - now);
        app.advance(next.to_utc() - now);
    }
    assert!(pauses.is_sorted_by(|earlier, later| earlier < later), "{pauses:?}");
    std::fs::create_dir(&folder).expect("the folder comes back");
    assert_eq!(app.deliver_mail().await, 1);
    app.mailbox().last_to("ada@example.com");
}

#[tokio::test]
async fn a_mail_that_can_never_leave_is_given_up_visibly() {
    let app = TestApp::start().await;
    app.sign_up("ada@example.com").await;
    std::fs::remove_dir_all(app.config.data_dir.join("mail")).expect("the folder goes");
    for _ in 0..100 {
        app.deliver_mail().await;
        app.advance(TimeDelta::hours(12));
    }
    assert_eq!(app.count("select count(*) from outbox where failed_at is not null and last_error <> ''").await, 1);
    let stays = "select count(*) from outbox where sealed_variables is not null";
    assert_eq!(app.count(stays).await, 1, "sealed, for an operator who tries again");
    app.sweep().await;
    assert_eq!(app.count("select count(*) from outbox").await, 0, "and not for ever");
}

#[tokio::test]
async fn a_mail_that_was_given_up_leaves_when_an_operator_tries_it_again() {
    let app = TestApp::start().await;
    app.sign_up("ada@example.com").await;
    let folder = app.config.data_dir.join("mail");
    std::fs::remove_dir_all(&folder).expect("the folder goes");
    while app.app.mail.list_queued(Some(Unsent::Failed), None, 1).await.expect("a list").is_empty() {
        app.deliver_mail().await;
        app.advance(TimeDelta::hours(1));
    }
    std::fs::create_dir(&folder).expect("the folder comes back");
    assert_eq!(app.deliver_mail().await, 0, "nobody tries by himself");
    assert_eq!(app.app.mail.retry_failed().await.expect("a retry"), 1);
    let mails = app.app.mail.list_queued(None, None, 10).await.expect("a list");
    assert_eq!((mails.len(), mails[0].state, mails[0].attempts), (1, State::Waiting, 0));
    assert_eq!(app.deliver_mail().await, 1);
    app.mailbox().last_to("ada@example.com");
    let mails = app.app.mail.list_queued(None, None, 10).await.expect("a list");
    assert_eq!((mails[0].state, mails[0].last_error.as_deref()), (State::Sent, None));
    let again = app.app.mail.retry(&[mails[0].id]).await.expect("a retry");
    assert!(again.is_empty(), "what was sent is not sent again");
    assert_eq!(app.app.mail.retry_failed().await.expect("a retry"), 0);
    assert_eq!(app.count("select count(*) from outbox where sealed_variables is not null").await, 0, "no secret stays");
}

#[tokio::test]
async fn a_mail_that_waits_is_tried_at_once_when_an_operator_says_so() {
    let app = TestApp::start().await;
    app.sign_up("ada@example.com").await;
    app.sign_up("bob@example.com").await;
    let folder = app.config.data_dir.join("mail");
    std::fs::remove_dir_all(&folder).expect("the folder goes");
    assert_eq!(app.deliver_mail().await, 2);
    std::fs::create_dir(&folder).expect("the folder comes back");
    let waiting = app.app.mail.list_queued(Some(Unsent::Waiting), None, 10).await.expect("a list");
    assert!(waiting.iter().all(|mail| mail.last_error.is_some() && mail.next_attempt_at > Some(app.now())));
    let (ada, unknown) = (waiting[0].id, app.app.host.random.uuid_v4());
    assert_eq!(app.app.mail.retry(&[ada, unknown]).await.expect("a retry"), [ada]);
    assert_eq!(app.deliver_mail().await, 1, "bob's waits on");
    let page = app.app.mail.list_queued(None, Some(ada), 10).await.expect("a list");
    assert_eq!((page.len(), page[0].recipient.as_str()), (1, "bob@example.com"));
}

#[tokio::test]
async fn a_sign_up_that_is_undone_sends_no_mail() {
    let app = TestApp::start().await;
    app.execute("alter table one_time_tokens rename to lost").await;
    app.post("/users").json(&sign_up_body("ada@example.com")).await.refused(500, "InternalError");
    assert_eq!(app.count("select (select count(*) from users) + (select count(*) from outbox)").await, 0);
}

#[tokio::test]
async fn a_mail_stays_for_a_week_after_it_was_given_up_whenever_it_was_queued() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    app.forget_password(&ada.email).await.expect(202);
    std::fs::remove_dir_all(app.config.data_dir.join("mail")).expect("the folder goes");
    app.advance(TimeDelta::days(6));
    for _ in 0..20 {
        app.deliver_mail().await;
        app.advance(TimeDelta::hours(6));
    }
    let failed = app.app.mail.list_queued(Some(Unsent::Failed), None, 1).await.expect("a list");
    assert_eq!(failed.len(), 1);
    app.sweep().await;
    assert_eq!(app.app.mail.retry_failed().await.expect("a retry"), 1, "there is a week for that");
}
