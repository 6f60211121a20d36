//! What a mail server may do to us, word by word, and what becomes of the mail.

use bloq_accounts::mail::{Queued, State};
use chrono::TimeDelta;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::harness::TestApp;

/// A mail server whose answers a test writes.
struct Relay(TcpListener);

impl Relay {
    async fn open() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").await.expect("a free port"))
    }

    /// The service with this as its mail server.
    async fn app(&self, credentials: &str) -> TestApp {
        let url = format!("smtp://{credentials}{}", self.0.local_addr().expect("an address"));
        TestApp::start_with(|config| {
            config.mail.transport = bloq_accounts::config::MailTransport::Smtp;
            config.mail.smtp_url = url.into();
            config.mail.timeout_seconds = 2;
        })
        .await
    }

    /// Talks to one client until it goes, or until an answer is empty, which hangs up.
    async fn talk(&self, answer: impl Fn(&str) -> &'static str) {
        let (stream, _) = self.0.accept().await.expect("the courier");
        let mut connection = BufReader::new(stream);
        say(&mut connection, "220 mail.example").await;
        let (mut is_data, mut line) = (false, String::new());
        loop {
            line.clear();
            if connection.read_line(&mut line).await.is_ok_and(|read| read > 0) {
                let words = line.trim_end();
                if is_data && words != "." {
                    continue;
                }
                let answer = answer(words);
                is_data = answer.starts_with("354");
                if !answer.is_empty() {
                    say(&mut connection, answer).await;
                    continue;
                }
            }
            return;
        }
    }
}

async fn say(connection: &mut BufReader<TcpStream>, answer: &str) {
    // A client that is gone already misses it.
    let _ = connection.write_all(format!("{answer}\r\n").as_bytes()).await;
}

/// A server that takes everything.
fn friendly(words: &str) -> &'static str {
    match words {
        "DATA" => "354 go on",
        "QUIT" => "221 bye",
        words if words.starts_with("EHLO") => "250-mail.example\r\n250 AUTH PLAIN",
        words if words.starts_with("AUTH") => "235 welcome",
        _ => "250 ok",
    }
}

async fn only_mail(app: &TestApp) -> Queued {
    app.app.mail.list_queued(None, None, 10).await.expect("a list").pop().expect("a mail")
}

#[tokio::test]
async fn what_a_server_says_decides_whether_a_mail_waits_or_is_given_up() {
    let relay = Relay::open().await;
    let app = relay.app("ada:secret@").await;
    app.sign_up("ada@example.com").await;
    let refusals: [(&str, &str, State); 6] = [
        ("AUTH", "535 5.7.8 wrong password", State::Waiting),
        ("AUTH", "554 no", State::Waiting),
        ("RCPT", "451 4.7.1 later", State::Waiting),
        ("DATA", "", State::Waiting),
        (".", "", State::Waiting),
        ("RCPT", "550 5.1.1 <ada@example.com>:\r\u{1b}[31m nobody of that name", State::Failed),
    ];
    for (stage, words, state) in refusals {
        let answer = |line: &str| if line.starts_with(stage) { words } else { friendly(line) };
        let (tried, ()) = tokio::join!(app.deliver_mail(), relay.talk(answer));
        let mail = only_mail(&app).await;
        assert_eq!((tried, mail.state), (1, state), "{stage} {words}: {mail:?}");
        let error = mail.last_error.expect("why");
        assert!(!error.contains(char::is_control) && !error.contains("secret"), "{error}");
        assert!(error.contains(words.split(' ').next().unwrap_or_default()), "{words}: {error}");
        app.advance(TimeDelta::hours(6));
    }
    assert_eq!(app.app.mail.retry_failed().await.expect("a retry"), 1);
    let (sent, ()) = tokio::join!(app.deliver_mail(), relay.talk(friendly));
    assert_eq!((sent, only_mail(&app).await.state), (1, State::Sent));
}

#[tokio::test]
async fn a_server_that_says_nothing_is_left_alone_after_the_time_limit() {
    let relay = Relay::open().await;
    let app = relay.app("").await;
    app.sign_up("ada@example.com").await;
    // The system takes the connection, and that is all that ever happens.
    assert_eq!(app.deliver_mail().await, 1);
    let mail = only_mail(&app).await;
    assert_eq!(mail.state, State::Waiting);
    assert!(mail.last_error.as_deref().is_some_and(|error| error.contains("longer than 2s")), "{mail:?}");
}

#[tokio::test]
async fn a_server_that_hangs_after_it_took_the_mail_has_taken_the_mail() {
    let relay = Relay::open().await;
    let app = relay.app("").await;
    app.sign_up("ada@example.com").await;
    let conversation = relay.talk(|line| if line == "QUIT" { "250 not yet" } else { friendly(line) });
    let (sent, ()) = tokio::join!(app.deliver_mail(), conversation);
    assert_eq!((sent, only_mail(&app).await.state), (1, State::Sent));
}

#[tokio::test]
async fn a_mail_in_hand_is_not_given_to_a_second_courier() {
    let relay = Relay::open().await;
    let app = relay.app("").await;
    app.sign_up("ada@example.com").await;
    let meanwhile = async {
        let (stream, _) = relay.0.accept().await.expect("the courier");
        let mail = only_mail(&app).await;
        assert_eq!(mail.state, State::Sending);
        assert!(app.app.mail.retry(&[mail.id]).await.expect("a retry").is_empty());
        // It hangs up without a word.
        drop(stream);
    };
    let (tried, ()) = tokio::join!(app.deliver_mail(), meanwhile);
    let mail = only_mail(&app).await;
    assert_eq!((tried, mail.state), (1, State::Waiting));
    assert_eq!(app.app.mail.retry(&[mail.id]).await.expect("a retry"), [mail.id]);
}

#[tokio::test]
async fn a_slow_recipient_does_not_hold_up_the_mail_of_others() {
    let relay = Relay::open().await;
    let app = relay.app("").await;
    app.sign_up("slow@example.com").await;
    app.sign_up("ada@example.com").await;
    let others = async {
        let (_slow, _) = relay.0.accept().await.expect("the first courier");
        let (sent, ()) = tokio::join!(app.deliver_mail(), relay.talk(friendly));
        assert_eq!(sent, 1);
        let states = app.app.mail.list_queued(None, None, 10).await.expect("a list");
        assert_eq!([states[0].state, states[1].state], [State::Sending, State::Sent]);
    };
    tokio::join!(app.deliver_mail(), others);
}

#[tokio::test]
async fn a_mail_that_waits_for_its_note_longer_than_its_lease_is_not_sent_again() {
    let relay = Relay::open().await;
    let app = relay.app("").await;
    app.sign_up("ada@example.com").await;
    let meanwhile = async {
        let (stream, _) = relay.0.accept().await.expect("the courier");
        app.advance(TimeDelta::minutes(6));
        assert_eq!(app.deliver_mail().await, 0, "somebody here still holds it");
        drop(stream);
    };
    let (tried, ()) = tokio::join!(app.deliver_mail(), meanwhile);
    assert_eq!((tried, only_mail(&app).await.state), (1, State::Waiting));
}

#[tokio::test]
async fn what_a_slow_courier_says_late_does_not_unsend_a_mail() {
    let relay = Relay::open().await;
    let app = relay.app("").await;
    app.sign_up("ada@example.com").await;
    let replica = app.replica().await;
    let meanwhile = async {
        let (stream, _) = relay.0.accept().await.expect("the courier");
        app.advance(TimeDelta::minutes(6));
        // Another server takes over what seems to be left behind.
        let (sent, ()) = tokio::join!(replica.deliver_mail(), relay.talk(friendly));
        assert_eq!(sent, 1);
        drop(stream);
    };
    let (tried, ()) = tokio::join!(app.deliver_mail(), meanwhile);
    assert_eq!((tried, only_mail(&app).await.state), (1, State::Sent));
}
