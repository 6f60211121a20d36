//! What an event takes on the disk.

use serde_json::Value;

use crate::harness::TestApp;

const CHROME: &str =
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36";

/// Two rows as the server wrote them, again and again under other ids: two hundred users, each request of another one.
const MANY: &str = "
    insert into events (id, user_id, service, started_at, ended_at, status, bytes_out, method, path, ip, user_agent, request_uuid,
        service_data)
    select (lpad(to_hex(1772600000000 + number * 40000), 12, '0') || '7' || substr(chance, 2, 3) || '8' || substr(chance, 5, 15))::uuid,
        ('00000000-0000-4000-8000-' || substr(md5((hashtext(chance) % 200)::text), 1, 12))::uuid,
        service, started_at, ended_at, status, bytes_out, method, path, ip, user_agent, gen_random_uuid(), service_data
    from generate_series(1, 20000) as number, md5(number::text) as chance,
        lateral (select * from written order by written.id offset number % 2 limit 1) as written";

#[tokio::test]
async fn an_event_takes_at_most_250_bytes_with_its_indexes() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    for agent in [CHROME, "curl/7.88.1"] {
        app.get("/users/me").bearer(&ada.token).header("user-agent", agent).await.expect(200);
    }
    let shown: Vec<Value> = app.events_of(&ada).await;
    let agents: Vec<_> = shown.iter().filter_map(|event| event["input"]["userAgent"].as_str()).collect();
    assert!(agents.contains(&CHROME) && agents.contains(&"curl/7.88.1"), "{agents:?}");

    app.execute("create table written as select * from events where path = '/users/me' order by id limit 2").await;
    app.execute("truncate events").await;
    app.execute(MANY).await;
    assert_eq!(app.count("select count(*) from events_2026_03").await, 20_000);
    let bytes = app.count("select pg_total_relation_size('events_2026_03')").await;
    assert!(bytes <= 250 * 20_000, "{} bytes an event", bytes / 20_000);
}
