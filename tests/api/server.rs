//! A server whose parts fail: it does not go on as if it were well.

use bloq_accounts::app::App;
use bloq_accounts::clock::Clock;
use bloq_accounts::random::Random;
use bloq_accounts::server::{self, Door};
use bloq_accounts::stop::Stop;
use chrono::{DateTime, TimeDelta, Utc};
use tokio::net::TcpStream;

use crate::harness::TestApp;
use crate::harness::program::DEADLINE;

#[tokio::test]
async fn a_server_whose_courier_panics_stops_in_order_and_fails() {
    let app = TestApp::start().await;
    let build = async |clock| App::build(&app.config, app.database_url(), clock, Random::default()).await;
    let (app_of_this, mut workers) = build(app.clock.clone()).await.expect("it builds");
    // A clock of its own: what is done to it is done to no other worker.
    let clock = Clock::frozen(app.clock.now());
    workers.courier = build(clock.clone()).await.expect("it builds").1.courier;
    let stop = Stop::new(&app.config.server);
    let door = Door::open(&app.config, app.clock.clone(), stop.clone()).await.expect("a free port");
    let address = door.addresses().rest;
    let (opened, open) = tokio::sync::oneshot::channel();
    let serving = tokio::spawn(server::run(door, app_of_this, workers, |_| opened.send(()).expect("we listen")));
    open.await.expect("it serves");
    assert!(TcpStream::connect(address).await.is_ok());

    // No lease ends within time as we know it: the sum is a panic.
    clock.advance(DateTime::<Utc>::MAX_UTC - clock.now() - TimeDelta::minutes(1));
    tokio::time::timeout(DEADLINE, serving).await.expect("it stops").expect("in order");
    assert!(TcpStream::connect(address).await.is_err(), "the door is closed");
    let error = stop.outcome().expect_err("it must not look like a stop that somebody wanted");
    assert!(error.to_string().contains("courier"), "{error}");
}
