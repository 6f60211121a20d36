//! The work a password costs: never more of it at once than configured, always with today's parameters.

use bloq_accounts::config::Config;

use crate::harness::{Call, STRONG, STRONGER, TestApp, count, together};

/// Room for one hash and nobody in the queue. The hash is slow, or eight of them would never meet.
fn crowded(config: &mut Config) {
    config.password.argon2_memory_kib = 32 * 1024;
    config.password.argon2_iterations = 2;
    config.password.max_parallel_hashes = 1;
    config.password.max_queued_hashes = 0;
}

#[tokio::test]
async fn a_hash_with_old_parameters_is_upgraded_at_the_next_log_in() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let hash = || app.text("select password_hash from users");
    let old = hash().await;
    assert!(old.starts_with("$argon2id$v=19$m=64,t=1,p=1$"), "{old}");
    let stronger = app.replica_with(|config| config.password.argon2_memory_kib = 128).await;
    stronger.post("/auth").basic(&ada.email, STRONGER).await.refused(401, "InvalidCredentials");
    assert_eq!(hash().await, old, "a wrong password upgrades nothing");

    stronger.log_in(&ada.email, STRONG).await;
    let new = hash().await;
    assert!(new.starts_with("$argon2id$v=19$m=128,t=1,p=1$"), "{new}");
    stronger.log_in(&ada.email, STRONG).await;
    assert_eq!(hash().await, new, "once");
    app.me(&ada.token).await.expect(200);
    let me = app.me(&ada.token).await.json();
    assert_eq!(me["createdAt"], me["updatedAt"], "nothing that the user can see");
}

#[tokio::test]
async fn the_default_parameters_are_owasps() {
    let nothing = std::iter::empty();
    let config =
        Config::load_from(&bloq_accounts::config::Overrides::default(), nothing).expect("the defaults").password;
    let found = (config.argon2_memory_kib, config.argon2_iterations, config.argon2_parallelism, config.min_entropy);
    assert_eq!(found, (19456, 2, 1, 95));
}

#[tokio::test]
async fn a_crowd_beyond_the_queue_is_asked_to_come_back() {
    let app = TestApp::start_with(crowded).await;
    let answers = together((0..8).map(|_| app.post("/auth").basic("nobody", STRONG))).await;
    assert!(count(&answers, 503) >= 1 && count(&answers, 401) >= 1, "{answers:?}");
    for answer in answers.into_iter().filter(|answer| answer.status != 401) {
        let answer = answer.refused(503, "Overloaded");
        assert!(answer.header("retry-after").parse::<u32>().is_ok_and(|seconds| seconds >= 1), "{answer:?}");
    }
    app.post("/auth").basic("nobody", STRONG).await.refused(401, "InvalidCredentials");
}

#[tokio::test]
async fn nobody_waits_for_a_hash_beyond_the_deadline() {
    let app = TestApp::start_with(|config| {
        crowded(config);
        config.password.max_queued_hashes = 100;
        config.password.queue_deadline_ms = 1;
    })
    .await;
    let answers = together((0..8).map(|_| app.post("/auth").basic("nobody", STRONG))).await;
    assert!(count(&answers, 503) >= 1 && count(&answers, 401) >= 1, "{answers:?}");
    for answer in answers.into_iter().filter(|answer| answer.status != 401) {
        answer.refused(503, "Overloaded");
    }
}

#[tokio::test]
async fn a_password_of_more_than_1024_bytes_is_refused_without_hashing() {
    let app = TestApp::start_with(crowded).await;
    let short = (0..8).map(|_| app.post("/auth").basic("nobody", STRONG));
    let long = (0..8).map(|_| app.post("/auth").basic("nobody", &"ä".repeat(513)));
    let calls: Vec<Call> = short.zip(long).flat_map(|(short, long)| [short, long]).collect();
    let answers = together(calls).await;
    let (short, long): (Vec<_>, Vec<_>) = answers.into_iter().enumerate().partition(|(number, _)| number % 2 == 0);
    assert!(short.iter().any(|(_, answer)| answer.status == 503), "the queue was full");
    for (_, answer) in long {
        answer.refused(401, "InvalidCredentials");
    }
}

#[tokio::test]
async fn a_full_queue_stops_only_what_needs_a_hash() {
    let app = TestApp::start_with(|config| {
        crowded(config);
        // This test is about those who do not hash while somebody does; a person needs two hashes to come in.
        config.password.max_queued_hashes = 8;
    })
    .await;
    let ada = app.person("ada").await;
    let key = app.client_key(&ada).await;
    let hashing = (0..6).map(|_| app.post("/auth").basic("nobody", STRONG));
    let others = [app.me(&ada.token), app.grant_by_keys(&key.0, &key.1), app.get("/health/ready")];
    let answers = together(hashing.chain(others)).await;
    for answer in answers.into_iter().skip(6) {
        answer.expect(200);
    }
}
