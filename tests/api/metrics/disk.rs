//! The disk that events fill.

use bytesize::ByteSize;

use crate::harness::TestApp;
use crate::harness::database::Database;
use crate::harness::program::{Place, until};

const ALARM: &str = "less is left than `events.min_free_disk`";

#[tokio::test]
async fn the_space_that_is_left_is_measured_beside_what_should_be() {
    let app = TestApp::start_with(|config| config.events.min_free_disk = ByteSize::gib(3)).await;
    let page = app.metrics().await;
    assert!(page.value("disk_free_bytes") > 0.0);
    assert_eq!(page.value("disk_free_min_bytes"), f64::from(3u32 << 30));
}

#[tokio::test]
async fn a_disk_that_fills_up_is_told_and_everybody_is_served() {
    let place = Place::filled();
    let mut server = place.serve_with(|command| command.env("BLOQ_ACCOUNTS_EVENTS__MIN_FREE_DISK", "1 EiB")).await;
    until("the log tells", async || server.said().contains(ALARM)).await;
    server.get("/health/ready").await.expect(200);
    server.get("/users/me").await.expect(401);
    server.terminate().await;
    assert_eq!(server.said().matches(ALARM).count(), 1);
}

#[tokio::test]
async fn nothing_is_told_of_a_disk_elsewhere() {
    let (place, database) = (Place::new(), Database::empty().await);
    let variables = [("DATABASE_URL", database.url.as_str()), ("BLOQ_ACCOUNTS_EVENTS__MIN_FREE_DISK", "1 EiB")];
    let mut server = place.serve_with(|command| command.envs(variables)).await;
    let page = server.get("/metrics").await.expect(200);
    assert!(!page.text.contains("disk_free"), "{}", page.text);
    server.terminate().await;
    assert!(!server.said().contains(ALARM), "{}", server.said());
}
