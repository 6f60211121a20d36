//! The gRPC door of the real binary.

use std::net::TcpListener;

use super::Place;
use crate::harness::program::until;

/// The address that nobody has to choose.
const USUAL: &str = "127.0.0.1:50051";

#[tokio::test]
async fn the_usual_address_is_served_and_a_second_server_does_without_it_and_says_so() {
    // Whoever else has it: then there is no first server to be, and the second one is the same.
    let taken = TcpListener::bind(USUAL);
    let place = Place::filled();
    let server = place.serve_with(|command| command.env_remove("BLOQ_ACCOUNTS_GRPC__LISTEN")).await;
    until("it says that there is no such door", async || server.said().contains("there is no gRPC door")).await;
    assert!(server.said().contains("grpc.listen"), "{}", server.said());
    assert!(!server.greeting().contains("gRPC"), "{}", server.greeting());
    drop(taken);
}

#[tokio::test]
async fn a_server_says_where_its_doors_are() {
    let place = Place::filled();
    let server = place.serve().await;
    let greeting = server.greeting();
    assert!(greeting.contains(&format!("listens on http://{}, gRPC on 127.0.0.1:", server.address)), "{greeting}");
    let none = place.command(&["config"]).env("BLOQ_ACCOUNTS_GRPC__LISTEN", "").output().await.expect("it runs");
    assert!(String::from_utf8_lossy(&none.stdout).contains("listen = \"\""), "no door is a choice");
}

#[tokio::test]
async fn an_address_that_somebody_chose_and_that_is_taken_is_a_clear_message() {
    let place = Place::new();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("an address").to_string();
    let output = place
        .command(&["serve", "--listen", "127.0.0.1:0"])
        .env("BLOQ_ACCOUNTS_GRPC__LISTEN", &address)
        .output()
        .await
        .expect("it ends");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("grpc.listen") && said.contains(&address), "{said}");
}
