//! Several servers on one database.

use sqlx::{Connection, PgConnection};

use super::Place;
use crate::harness::database::Database;
use crate::harness::people::sign_up_body;
use crate::harness::program::{Program, free_address};

const REPLICAS: usize = 10;

/// A server on an external database; not waited for.
async fn start(place: &Place, database: &Database) -> Program {
    let address = free_address();
    let mut command = place.command(&["serve", "--database-url", &database.url, "--listen", &address.to_string()]);
    command.env("BLOQ_ACCOUNTS_DATABASE__MAX_CONNECTIONS", "3");
    Program::start(command, address).await
}

#[tokio::test]
async fn ten_servers_started_at_once_share_one_signing_key() {
    let (place, database) = (Place::new(), Database::empty().await);
    let mut servers = Vec::new();
    for _ in 0..REPLICAS {
        servers.push(start(&place, &database).await);
    }
    for server in &servers {
        server.becomes_ready().await;
    }

    let mut connection = PgConnection::connect(&database.url).await.expect("it answers");
    let keys: i64 = sqlx::query_scalar("select count(*) from signing_keys")
        .fetch_one(&mut connection)
        .await
        .expect("the table is there");
    assert_eq!(keys, 1);
    let mut rings = Vec::new();
    for server in &servers {
        rings.push(server.get("/.well-known/jwks.json").await.expect(200).text);
    }
    rings.dedup();
    assert_eq!(rings.len(), 1, "{rings:?}");
    servers[0].post("/users").json(&sign_up_body("ada@example.com")).await.expect(201);
    assert!(place.processes().is_empty() || !place.data_dir().join("postgres").exists(), "no private Postgres");

    for server in &mut servers {
        assert_eq!(server.terminate().await.0, Some(0), "{}", server.said());
    }
}

#[tokio::test]
async fn a_replica_with_another_master_key_refuses_to_start() {
    let (first, second, database) = (Place::new(), Place::new(), Database::empty().await);
    let mut server = start(&first, &database).await;
    server.becomes_ready().await;

    let mut stranger = second.command(&["serve", "--listen", "127.0.0.1:0", "--database-url", &database.url]);
    stranger.env("BLOQ_ACCOUNTS_SERVER__MASTER_KEY", "cd".repeat(32));
    crate::harness::program::finish(stranger).await.complains(&["server.master_key"]);

    let without = ["serve", "--listen", "127.0.0.1:0", "--database-url", &database.url];
    second.run(&without).await.complains(&["server.master_key", "BLOQ_ACCOUNTS_SERVER__MASTER_KEY"]);
    assert!(!second.data_dir().join("master.key").exists(), "a key made now could open nothing");
    server.get("/health/ready").await.expect(200);
    server.terminate().await;
}
