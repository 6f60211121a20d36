//! Who is there? Rows 1, 2, 3 and 25 of the list: time, words, spellings and locks tell a stranger nothing.

use bloq_accounts::config::Config;

use crate::harness::{STRONG, STRONGER, TestApp, count, together};
use bloq_accounts::users::{AccessLevel, LoginName, NewName};

/// One slow hash at a time, so that whoever hashes is seen to.
fn one_slow_hash(config: &mut Config) {
    config.password.argon2_memory_kib = 32 * 1024;
    config.password.argon2_iterations = 2;
    config.password.max_parallel_hashes = 1;
    config.password.max_queued_hashes = 0;
}

#[tokio::test]
async fn an_unknown_user_costs_a_hash_like_a_known_one() {
    // Not a measurement, which a busy machine would spoil: with room for one hash a crowd is turned away exactly if
    // every one of them hashes.
    let app = TestApp::start_with(one_slow_hash).await;
    app.named("babbage", AccessLevel::Authorized).await;
    app.execute("update users set access_level = 'admin'").await;
    for name in ["nobody", "nobody@example.com", "user-00000000-0000-4000-8000-000000000000", "@@", "", "babbage"] {
        let answers = together((0..6).map(|_| app.post("/auth").basic(name, STRONGER))).await;
        assert!(count(&answers, 503) >= 1, "{name:?} did not hash");
        assert!(count(&answers, 401) >= 1, "{name:?}: {answers:?}");
    }
    let answers = together((0..6).map(|_| app.activate("nobody", "wrong", STRONG))).await;
    assert!(count(&answers, 503) >= 1, "an unknown activation did not hash");
}

#[tokio::test]
async fn the_decoy_of_an_unknown_user_is_as_slow_as_todays_parameters() {
    // Real time, and so a wide margin: a decoy that does not hash is a hundred times faster.
    let app = TestApp::start_with(|config| {
        one_slow_hash(config);
        config.password.max_queued_hashes = 10;
    })
    .await;
    app.named("babbage", AccessLevel::Authorized).await;
    app.execute("update users set access_level = 'admin'").await;
    let mut fastest = [f64::INFINITY; 2];
    for _ in 0..8 {
        // One after the other, so that whatever else the machine does slows down both.
        for (name, fastest) in ["babbage", "nobody@example.com"].into_iter().zip(&mut fastest) {
            let start = std::time::Instant::now();
            app.post("/auth").basic(name, STRONGER).await.refused(401, "InvalidCredentials");
            *fastest = fastest.min(start.elapsed().as_secs_f64());
        }
    }
    assert!((0.4..2.5).contains(&(fastest[1] / fastest[0])), "{fastest:?}");
}

#[tokio::test]
async fn a_block_is_told_only_to_the_bearer_of_the_right_password() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let (invited, _) = app.invited(NewName::Name(LoginName::parse("babbage").expect("a name"))).await;
    app.block(&ada.id, "admin").await;
    let mut answers = Vec::new();
    for name in [&ada.email, "nobody@example.com", &invited] {
        let call = app.post("/auth").basic(name, STRONGER).header("x-request-id", "one");
        answers.push(call.await.refused(401, "InvalidCredentials").text);
    }
    answers.dedup();
    assert_eq!(answers.len(), 1);
}

#[tokio::test]
async fn another_spelling_of_a_name_gives_no_further_guesses() {
    let app = TestApp::start().await;
    let babbage = app.named("babbage", AccessLevel::Authorized).await;
    for name in
        ["babbage", "Babbage", "BABBAGE", &babbage.id, &babbage.id.to_uppercase(), "bABBAGE"].iter().cycle().take(11)
    {
        app.post("/auth").basic(name, STRONGER).await.refused(401, "InvalidCredentials");
    }
    app.post("/auth").basic("babbage", STRONG).await.refused(403, "UserBlocked");
}

#[tokio::test]
async fn a_name_with_space_around_it_is_nobodys() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    for name in [format!("{} ", ada.email), format!(" {}", ada.email), format!("{}\u{a0}", ada.email)] {
        app.post("/auth").basic(&name, STRONG).await.refused(401, "InvalidCredentials");
    }
}

#[tokio::test]
async fn a_crowd_of_wrong_passwords_keeps_no_owner_out() {
    let app = TestApp::start().await;
    let ada = app.person("ada").await;
    let calls =
        (0..30).map(|number| app.post("/auth").basic(&ada.email, if number % 3 == 0 { STRONG } else { STRONGER }));
    let answers = together(calls).await;
    assert_eq!((count(&answers, 200), count(&answers, 401)), (10, 20));
}

#[tokio::test]
async fn what_a_person_sees_of_a_wish_for_an_address_does_not_tell_whether_it_is_taken() {
    let app = TestApp::start().await;
    let (ada, bob) = (app.person("ada").await, app.person("bob").await);
    let look = async |address: &str| {
        app.change_email(&ada.token, address, STRONG).await.expect(202);
        app.deliver_mail().await;
        let export = app.get("/users/me/export").bearer(&ada.token).await.expect(200).json();
        let newest = |list: &str| {
            let mut item = export[list].as_array().and_then(|items| items.last()).cloned().expect("an item");
            let item = item.as_object_mut().expect("an object");
            item.remove("email");
            item.values().map(ToString::to_string).collect::<Vec<_>>()
        };
        let counts = ["oneTimeTokens", "mails"].map(|list| export[list].as_array().map(Vec::len));
        (counts, newest("oneTimeTokens"), newest("mails"), app.mailbox().last_to(&ada.email).subject)
    };
    let (free, taken) = (look("free@example.com").await, look(&bob.email).await);
    assert_eq!(free.0[0], taken.0[0], "one wish at a time");
    assert_eq!(free.0[1].map(|mails| mails + 1), taken.0[1], "an announcement each");
    assert_eq!((free.1, free.2, free.3), (taken.1, taken.2, taken.3));
}
