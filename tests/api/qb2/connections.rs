//! How connections of the gRPC door end.

use std::time::Duration;

use crate::harness::TestApp;

#[tokio::test]
async fn a_stop_waits_for_no_connection_that_does_nothing() {
    let app = TestApp::start_with(|config| config.server.shutdown_grace_seconds = 60).await;
    let caller = app.qb2();
    caller.nonce().await.expect("a nonce");
    tokio::time::timeout(Duration::from_secs(20), app.stop()).await.expect("long before the grace is over");
    drop(caller);
}
