//! The real binary and a mail server that takes its time.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::harness::people::sign_up_body;
use crate::harness::program::{Place, until};

/// Speaks as much SMTP (RFC 5321) as one mail needs, and stops before the last word: the mail is here, its sender does
/// not know it yet.
async fn take_all_but_the_last_word(connection: &mut BufReader<TcpStream>) -> String {
    let (mut mail, mut is_data, mut line) = (String::new(), false, String::new());
    connection.write_all(b"220 mail.example\r\n").await.expect("it listens");
    loop {
        line.clear();
        connection.read_line(&mut line).await.expect("a line");
        let answer: &[u8] = match line.trim_end() {
            "." if is_data => return mail,
            _ if is_data => {
                mail.push_str(&line);
                continue;
            }
            "DATA" => {
                is_data = true;
                b"354 go on\r\n"
            }
            command if command.starts_with("EHLO") => b"250 mail.example\r\n",
            _ => b"250 ok\r\n",
        };
        connection.write_all(answer).await.expect("it listens");
    }
}

#[tokio::test]
async fn a_mail_that_is_just_being_taken_when_the_server_stops_is_sent_once() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("smtp://{}", listener.local_addr().expect("an address"));
    let place = Place::filled();
    let variables = [
        ("BLOQ_ACCOUNTS_MAIL__TRANSPORT", "smtp"),
        ("BLOQ_ACCOUNTS_MAIL__SMTP_URL", &url),
        // On a busy machine the last word may take a while.
        ("BLOQ_ACCOUNTS_SERVER__SHUTDOWN_GRACE_SECONDS", "20"),
    ];
    let mut server = place.serve_with(|command| command.envs(variables)).await;
    server.post("/users").json(&sign_up_body("ada@example.com")).await.expect(201);

    let (stream, _) = listener.accept().await.expect("the courier");
    let mut connection = BufReader::new(stream);
    let mail = take_all_but_the_last_word(&mut connection).await;
    assert!(mail.contains("To: ada@example.com"), "{mail}");
    kill(Pid::from_raw(server.pid()), Signal::SIGTERM).expect("our own child");
    // The listener is closed first, so a refused connection tells that the stop is under way.
    until("the door is closed", async || TcpStream::connect(server.address).await.is_err()).await;
    connection.write_all(b"250 taken\r\n").await.expect("it listens");
    assert_eq!(server.ended().await, Some(0));

    let _again = place.serve().await;
    let sent: (i64, i32) = sqlx::query_as("select count(sent_at), max(attempts) from outbox")
        .fetch_one(&mut place.database().await)
        .await
        .expect("the outbox");
    assert_eq!(sent, (1, 1));
}

#[tokio::test]
async fn a_mail_that_is_taken_while_postgres_is_frozen_is_sent_once() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("smtp://{}", listener.local_addr().expect("an address"));
    let place = Place::filled();
    let variables = [("BLOQ_ACCOUNTS_MAIL__TRANSPORT", "smtp"), ("BLOQ_ACCOUNTS_MAIL__SMTP_URL", &url)];
    let mut server = place.serve_with(|command| command.envs(variables)).await;
    server.post("/users").json(&sign_up_body("ada@example.com")).await.expect(201);

    let (stream, _) = listener.accept().await.expect("the courier");
    let mut connection = BufReader::new(stream);
    take_all_but_the_last_word(&mut connection).await;
    place.freeze();
    connection.write_all(b"250 taken\r\n").await.expect("it listens");
    until("the server knows", async || server.get("/health/ready").await.status == 503).await;
    place.thaw();

    let mut look = place.database().await;
    until("what became of the mail is noted", async || {
        let query = "select count(sent_at), max(attempts) from outbox";
        let sent: (i64, i32) = sqlx::query_as(query).fetch_one(&mut look).await.expect("the outbox");
        sent == (1, 1)
    })
    .await;
    assert_eq!(server.terminate().await.0, Some(0), "{}", server.said());
}
