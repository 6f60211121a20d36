//! `/users`, `/users/invitations` and `/users/{userId}…`: what administrators do, and what nobody else does.

use bloq_accounts::users::{AccessLevel, LoginName, NewName, UserChange};
use chrono::TimeDelta;
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::people::email;
use crate::harness::{Answer, Call, Person, STRONG, STRONGER, TestApp, count, link, together};

impl TestApp {
    /// Somebody who can do everything.
    async fn root(&self) -> Person {
        self.named("root", AccessLevel::Admin).await
    }

    fn change(&self, admin: &Person, user: &str, patch: &Value) -> Call {
        self.patch(&format!("/users/{user}")).bearer(&admin.token).json(patch)
    }

    async fn found(&self, admin: &Person, query: &str) -> Vec<String> {
        names(&self.get(&format!("/users{query}")).bearer(&admin.token).await.expect(200))
    }
}

/// What the users of a page are called.
fn names(page: &Answer) -> Vec<String> {
    let page = page.json();
    let users = page.as_array().expect("a bare array").iter();
    users.map(|user| user["displayName"].as_str().expect("a name").to_owned()).collect()
}

fn name(text: &str) -> NewName {
    NewName::Name(LoginName::parse(text).expect("a login name"))
}

/// Every way to manage a user; those that change something first.
fn ways(app: &TestApp, user: &str) -> [Call; 7] {
    [
        app.post("/users/invitations").json(&json!({"name": "new"})),
        app.patch(&format!("/users/{user}")).json(&json!({"name": "new"})),
        app.delete(&format!("/users/{user}")),
        app.post(&format!("/users/{user}/block")),
        app.post(&format!("/users/{user}/reset")),
        app.get("/users"),
        app.get(&format!("/users/{user}")),
    ]
}

#[tokio::test]
async fn an_administrator_sees_all_there_is_to_know_of_a_user() {
    let app = TestApp::start().await;
    let (root, ada) = (app.root().await, app.person("ada").await);
    let expected = json!({
        "id": ada.id,
        "email": "ada@example.com",
        "displayName": "Somebody",
        "entityType": "individual",
        "billingAddress": null,
        "notifications": {"passwordChanged": true, "emailChanged": true, "newClientKey": true, "newLogIn": true},
        "createdAt": "2026-03-05T12:00:00.123Z",
        "updatedAt": "2026-03-05T12:00:00.123Z",
        "verifiedAt": "2026-03-05T12:00:00.123Z",
        "name": null,
        "level": "authorized",
        "readOnly": false,
        "state": "active",
        "blockedBy": null,
        "failedLoginAttempts": 0,
        "activationExpiresAt": null,
    });
    for user in [&ada.id, "ADA@example.com"] {
        let shown = app.get(&format!("/users/{user}")).bearer(&root.token).await.expect(200);
        assert_eq!(shown.json(), expected);
    }
    let shown = app.get("/users/ROOT").bearer(&root.token).await.expect(200).json();
    assert_eq!((&shown["name"], &shown["level"]), (&json!("root"), &json!("admin")));
    let (id, _) = app.invited(name("bob")).await;
    let shown = app.get(&format!("/users/{id}")).bearer(&root.token).await.expect(200).json();
    assert_eq!(shown["state"], "waiting_for_activation");
    assert_eq!(shown["activationExpiresAt"], "2026-03-12T12:00:00.123Z");
}

#[tokio::test]
async fn whoever_brings_no_token_is_asked_for_one() {
    let app = TestApp::start().await;
    let root = app.root().await;
    for call in ways(&app, &root.id) {
        let answer = call.await.refused(401, "Unauthorized");
        assert!(answer.header("www-authenticate").starts_with("Bearer "), "{answer:?}");
    }
}

#[tokio::test]
async fn whoever_is_no_administrator_manages_nobody() {
    let app = TestApp::start().await;
    let (root, ada) = (app.root().await, app.person("ada").await);
    let key = app.client_key(&root).await;
    let (client, _) = app.grant(&key).await;
    let before = app.text("select string_agg(u::text, ' ' order by id) from users u").await;
    for user in [&ada.id, &root.id, "user-00000000-0000-4000-8000-000000000000"] {
        for token in [&ada.token, &client] {
            for call in ways(&app, user) {
                call.bearer(token).await.refused(403, "Forbidden");
            }
        }
    }
    // Nor is anybody told what a right body would be.
    let call = app.patch(&format!("/users/{}", root.id)).bearer(&ada.token).json(&json!({"x": 1}));
    call.await.refused(403, "Forbidden");
    assert_eq!(app.text("select string_agg(u::text, ' ' order by id) from users u").await, before);
}

#[tokio::test]
async fn an_administrator_who_may_only_read_only_reads() {
    let app = TestApp::start().await;
    let (root, eve) = (app.root().await, app.named("eve", AccessLevel::Admin).await);
    app.change(&root, "eve", &json!({"readOnly": true})).await.expect(200);
    let [invite, patch, delete, block, reset, list, show] = ways(&app, &root.id).map(|call| call.bearer(&eve.token));
    for call in [invite, patch, delete, block, reset] {
        call.await.refused(403, "Forbidden");
    }
    for call in [list, show] {
        call.await.expect(200);
    }
}

#[tokio::test]
async fn a_demoted_administrator_has_no_rights_at_once_on_every_server() {
    let app = TestApp::start().await;
    let other = app.replica().await;
    let (root, eve) = (app.root().await, app.named("eve", AccessLevel::Admin).await);
    for server in [&app, &other] {
        server.get("/users").bearer(&eve.token).await.expect(200);
    }
    app.change(&root, "eve", &json!({"level": "authorized"})).await.expect(200);
    for server in [&other, &app] {
        for call in ways(server, &root.id) {
            call.bearer(&eve.token).await.refused(403, "Forbidden");
        }
    }
    app.change(&root, "eve", &json!({"level": "admin"})).await.expect(200);
    other.get("/users").bearer(&eve.token).await.expect(200);
}

#[tokio::test]
async fn an_administrator_invites_somebody_by_name() {
    let app = TestApp::start().await;
    let root = app.root().await;
    let invite = |body: &Value| app.post("/users/invitations").bearer(&root.token).json(body);
    let body = json!({"name": "ada", "level": "admin", "readOnly": true});
    let made = invite(&body).header("accept-encoding", "gzip").await.expect(201);
    assert_eq!(made.header("content-encoding"), "");
    let view = made.json();
    assert_eq!((&view["level"], &view["readOnly"], &view["email"]), (&json!("admin"), &json!(true), &json!(null)));
    let activation = made.text_of("activationPassword");
    assert_eq!(activation.len(), 16);
    let shown = app.get("/users/ada").bearer(&root.token).await.expect(200);
    assert!(!shown.text.contains("activationPassword"), "{shown:?}");
    app.activate("ada", &activation, STRONG).await.expect(200);
    let token = app.log_in("ada", STRONG).await;
    app.get("/users").bearer(&token).await.expect(200);
    invite(&json!({"name": "ADA"})).await.refused(409, "NameTaken");
    let event = app.row_of(&made).await;
    assert_eq!((&event["path"], &event["user_id"]), (&json!("/users/invitations"), &json!(&root.id[5..])));
    assert_eq!(event["service_data"]["user"], view["id"]);
    assert!(!event.to_string().contains(&activation), "{event}");
}

#[tokio::test]
async fn an_administrator_invites_somebody_by_mail() {
    let app = TestApp::start().await;
    let root = app.root().await;
    let invite = |address: &str| {
        app.post("/users/invitations").bearer(&root.token).json(&json!({"email": address, "level": "admin"}))
    };
    let made = invite("ada@example.com").await.expect(201);
    assert_eq!(made.json().get("activationPassword"), None);
    assert_eq!(made.text_of("state"), "waiting_for_activation");
    let token = app.mailed_token("ada@example.com").await;
    app.reset_password(&made.text_of("id"), &token, STRONG).await.expect(200);
    let token = app.log_in("ada@example.com", STRONG).await;
    app.get("/users").bearer(&token).await.expect(200);
    invite("ADA@example.com").await.refused(409, "EmailTaken");
    for _ in 0..3 {
        invite("bob@example.com").await.expect(201);
        app.delete("/users/bob@example.com").bearer(&root.token).await.expect(204);
    }
    let enough = invite("bob@example.com").await.refused(429, "TooManyRequests");
    assert_eq!(enough.header("retry-after"), "3600");
}

#[tokio::test]
async fn an_invitation_says_whom_it_is_for() {
    let app = TestApp::start().await;
    let root = app.root().await;
    let invite = |body: &Value| app.post("/users/invitations").bearer(&root.token).json(body);
    for (body, fields) in [
        (json!({}), &["email"][..]),
        (json!({"email": null, "name": null}), &["email"]),
        (json!({"email": "a@example.com", "name": "a"}), &["email"]),
        (json!({"email": "a", "level": "root", "readOnly": 1}), &["email", "level", "readOnly"]),
        (json!({"name": "a b", "password": STRONG}), &["name", "password"]),
        (json!({"name": "user-0b7c3f0e-90f1-4a8e-8d8a-6a2b1f0c9d11"}), &["name"]),
        (json!({"name": "a\0"}), &["name"]),
        (json!({"name": 7}), &["name"]),
    ] {
        let answer = invite(&body).await.refused(400, "ValidationFailed");
        assert_eq!(answer.bad_fields(), fields, "{body}");
    }
    invite(&json!([])).await.refused(400, "ValidationFailed");
    app.post("/users/invitations")
        .bearer(&root.token)
        .body("{")
        .header("content-type", "application/json")
        .await
        .refused(400, "MalformedBody");
    invite(&json!({"name": "a", "email": null, "level": null, "readOnly": null})).await.expect(201);
}

#[tokio::test]
async fn an_administrator_changes_a_user() {
    let app = TestApp::start().await;
    let (root, ada) = (app.root().await, app.person("ada").await);
    app.advance(TimeDelta::hours(1));
    let changed =
        app.change(&root, &ada.email, &json!({"name": "Countess", "readOnly": true})).await.expect(200).json();
    assert_eq!((&changed["name"], &changed["readOnly"]), (&json!("Countess"), &json!(true)));
    assert_eq!(changed["updatedAt"], "2026-03-05T13:00:00.123Z");
    app.change_profile(&ada.token, &json!({"displayName": "x"})).await.refused(403, "Forbidden");
    app.log_in("countess", STRONG).await;
    app.advance(TimeDelta::hours(1));
    for same in
        [json!({}), json!({"name": "Countess", "level": "authorized", "state": "active", "failedLoginAttempts": 0})]
    {
        assert_eq!(app.change(&root, "countess", &same).await.expect(200).json(), changed, "{same}");
    }
    app.change(&root, "countess", &json!({"name": "root"})).await.refused(409, "NameTaken");
    app.change(&root, "countess", &json!({"state": "waiting_for_activation"})).await.refused(409, "InvalidState");
    let blocked = app.change(&root, "countess", &json!({"state": "blocked"})).await.expect(200).json();
    assert_eq!((&blocked["state"], &blocked["blockedBy"]), (&json!("blocked"), &json!("admin")));
    app.me(&ada.token).await.refused(403, "UserBlocked");
    let failures = json!({"state": "active", "failedLoginAttempts": 3});
    let active = app.change(&root, "countess", &failures).await.expect(200).json();
    assert_eq!((&active["state"], &active["failedLoginAttempts"]), (&json!("active"), &json!(3)));
    app.me(&ada.token).await.expect(200);
}

#[tokio::test]
async fn a_bad_change_names_every_bad_field() {
    let app = TestApp::start().await;
    let (root, ada) = (app.root().await, app.person("ada").await);
    let all = ["failedLoginAttempts", "level", "name", "readOnly", "state"];
    for bad in [
        json!({"name": null, "level": null, "readOnly": null, "state": null, "failedLoginAttempts": null}),
        json!({"name": "a b", "level": "root", "readOnly": "no", "state": "Active", "failedLoginAttempts": -1}),
        json!({"name": 1, "level": 1, "readOnly": 1, "state": 1, "failedLoginAttempts": "1"}),
        json!({"name": "", "level": "", "readOnly": [], "state": {}, "failedLoginAttempts": 2_147_483_648_u64}),
    ] {
        let answer = app.change(&root, &ada.id, &bad).await.refused(400, "ValidationFailed");
        assert_eq!(answer.bad_fields(), all, "{bad}");
    }
    for bad in [json!(1_000_001), json!(1.5), json!(u64::MAX)] {
        let answer = app.change(&root, &ada.id, &json!({"failedLoginAttempts": bad})).await;
        assert_eq!(answer.refused(400, "ValidationFailed").bad_fields(), ["failedLoginAttempts"]);
    }
    let unknown = app.change(&root, &ada.id, &json!({"email": "eve@example.com", "password": STRONG})).await;
    assert_eq!(unknown.refused(400, "ValidationFailed").bad_fields(), ["email", "password"]);
    let path = format!("/users/{}", ada.id);
    app.patch(&path)
        .bearer(&root.token)
        .body("a=b")
        .header("content-type", "text/plain")
        .await
        .refused(415, "UnsupportedMediaType");
    app.patch(&path)
        .bearer(&root.token)
        .body(r#"{"readOnly":true}"#)
        .header("content-type", "application/merge-patch+json")
        .await
        .expect(200);
}

#[tokio::test]
async fn an_administrator_blocks_resets_and_deletes() {
    let app = TestApp::start().await;
    let (root, ada) = (app.root().await, app.person("ada").await);
    let act = |verb: &str| app.post(&format!("/users/{}/{verb}", ada.id)).bearer(&root.token);
    for _ in 0..2 {
        let blocked = act("block").await.expect(200).json();
        assert_eq!((&blocked["state"], &blocked["blockedBy"]), (&json!("blocked"), &json!("admin")));
    }
    app.me(&ada.token).await.refused(403, "UserBlocked");

    let reset = act("reset").header("accept-encoding", "gzip").await.expect(200);
    assert_eq!((reset.header("content-encoding"), reset.text_of("state").as_str()), ("", "waiting_for_activation"));
    assert_eq!(reset.json()["verifiedAt"], "2026-03-05T12:00:00.123Z");
    app.me(&ada.token).await.refused(401, "TokenInvalid");
    let activation = reset.text_of("activationPassword");
    app.activate(&ada.email, &activation, STRONGER).await.expect(200);
    let token = app.log_in(&ada.email, STRONGER).await;
    let event = app.row_of(&reset).await;
    assert_eq!(event["path"], json!(format!("/users/{}/reset", ada.id)));
    assert!(!event.to_string().contains(&activation), "{event}");

    let path = format!("/users/{}", ada.email);
    let deleted = app.delete(&path).bearer(&root.token).await.expect(204);
    let event = app.row_of(&deleted).await;
    assert_eq!((&event["path"], &event["service_data"]["user"]), (&json!("/users/{userId}"), &json!(ada.id)));
    app.me(&token).await.refused(401, "TokenInvalid");
    app.get(&path).bearer(&root.token).await.refused(404, "NotFound");
}

#[tokio::test]
async fn no_event_keeps_the_name_of_somebody_who_is_gone() {
    let app = TestApp::start().await;
    let (root, eve) = (app.root().await, app.named("eve", AccessLevel::Admin).await);
    app.invited(name("countess")).await;
    app.post("/users/invitations").bearer(&eve.token).json(&json!({"name": "bob"})).await.expect(201);
    app.get("/users/countess").bearer(&root.token).await.expect(200);
    app.post("/users/countess/block").bearer(&root.token).await.expect(200);
    for gone in ["countess", "eve"] {
        app.delete(&format!("/users/{gone}")).bearer(&root.token).await.expect(204);
    }
    app.erase().await;
    app.advance(TimeDelta::seconds(2));
    app.erase().await;
    assert_eq!(app.count("select count(*) from events where path ~ 'countess|eve'").await, 0);
    let concerned = "select count(*) from events where user_id = (select id from users where login_name = 'root')
                     and service_data ? 'user'";
    assert_eq!(app.count(concerned).await, 4, "whom they concerned is known by id");
    assert_eq!(app.count("select count(*) from events where path = '/users/invitations'").await, 1, "it is no name");
}

#[tokio::test]
async fn an_address_that_several_claim_names_none_of_them() {
    let app = TestApp::start().await;
    let root = app.root().await;
    let dee = app.sign_up("dee@example.com").await;
    app.get("/users/dee@example.com").bearer(&root.token).await.expect(200);
    let mallory = app.sign_up("dee@example.com").await;
    app.change(&root, "dee@example.com", &json!({"level": "admin"})).await.refused(409, "SeveralSignUps");
    for id in [&dee, &mallory] {
        let shown = app.get(&format!("/users/{id}")).bearer(&root.token).await.expect(200);
        assert_eq!(shown.json()["level"], "authorized");
    }
    let token = app.mailed_token("dee@example.com").await;
    app.verify(&mallory, &token).await.expect(200);
    let shown = app.get("/users/dee@example.com").bearer(&root.token).await.expect(200);
    assert_eq!(shown.field("id"), mallory, "its holder");
}

#[tokio::test]
async fn what_is_done_to_nobody_is_not_found() {
    let app = TestApp::start().await;
    let root = app.root().await;
    for nobody in
        ["user-00000000-0000-4000-8000-000000000000", "nobody", "nobody@example.com", "%00", "%ff", "a%20b", "'--"]
    {
        let [_, patch, delete, block, reset, _, show] = ways(&app, nobody).map(|call| call.bearer(&root.token));
        for call in [patch, delete, block, reset, show] {
            let answer = call.await.refused(404, "NotFound");
            assert!(answer.text.contains("no such path, user or key"), "{answer:?}");
        }
    }
    assert_eq!(app.count("select count(*) from users").await, 1);
}

#[tokio::test]
async fn the_last_active_administrator_stays_whatever_is_asked() {
    let app = TestApp::start().await;
    let root = app.root().await;
    for patch in [json!({"level": "authorized"}), json!({"readOnly": true}), json!({"state": "blocked"})] {
        app.change(&root, "root", &patch).await.refused(409, "LastAdmin");
    }
    app.post("/users/root/block").bearer(&root.token).await.refused(409, "LastAdmin");
    app.post("/users/root/reset").bearer(&root.token).await.refused(409, "LastAdmin");
    app.delete("/users/root").bearer(&root.token).await.refused(409, "LastAdmin");
    // Somebody who may only read is none who could help.
    let eve = app.named("eve", AccessLevel::Admin).await;
    app.change(&root, "eve", &json!({"readOnly": true})).await.expect(200);
    app.delete("/users/root").bearer(&root.token).await.refused(409, "LastAdmin");
    app.change(&root, "eve", &json!({"readOnly": false})).await.expect(200);
    app.delete("/users/root").bearer(&root.token).await.expect(204);
    app.get("/users").bearer(&eve.token).await.expect(200);
}

#[tokio::test]
async fn of_two_administrators_who_demote_each_other_at_the_same_moment_one_stays() {
    let app = TestApp::start().await;
    let people = [app.root().await, app.named("eve", AccessLevel::Admin).await];
    let [root, eve] = &people;
    for round in 0..5 {
        let demote = json!({"level": "authorized"});
        let answers = together([app.change(root, &eve.id, &demote), app.change(eve, &root.id, &demote)]).await;
        // The slower one has lost the right by then, or is told that it is the last.
        assert_eq!(count(&answers, 200), 1, "round {round}: {answers:?}");
        assert_eq!(count(&answers, 403) + count(&answers, 409), 1, "round {round}: {answers:?}");
        let change = UserChange { level: Some(AccessLevel::Admin), ..UserChange::default() };
        for person in &people {
            app.change_user(&person.id, change.clone()).await.expect("both are administrators again");
        }
    }
}

#[tokio::test]
async fn an_administrator_walks_through_all_users_without_gap_or_double() {
    let app = TestApp::start().await;
    let root = app.root().await;
    for number in 0..12 {
        // Of those made in the same millisecond the ids decide.
        app.advance(TimeDelta::milliseconds(number / 4 % 2));
        app.invited(name(&format!("user-{number}"))).await;
    }
    let everybody = app.found(&root, "").await;
    assert_eq!(everybody.len(), 13);
    for (begin, relation) in [
        ("/users?limit=5", "next"),
        ("/users?limit=5&before=9999999999999999-ffffffff-ffff-ffff-ffff-ffffffffffff", "prev"),
    ] {
        let (mut walked, mut next, mut pages) = (Vec::<String>::new(), Some(begin.to_owned()), 0);
        while let Some(path) = next {
            let page = app.get(&path).bearer(&root.token).await.expect(200);
            next = link(&page, relation);
            assert!(next.iter().all(|next| next.starts_with("/users?limit=5&")), "{next:?}");
            let place = if relation == "next" { walked.len() } else { 0 };
            walked.splice(place..place, names(&page));
            pages += 1;
        }
        assert_eq!((&walked, pages), (&everybody, 3), "{relation}");
    }
    let first = app.get("/users?limit=5").bearer(&root.token).await.expect(200);
    assert_eq!(link(&first, "prev"), None);
    let second = app.get(&link(&first, "next").expect("more")).bearer(&root.token).await.expect(200);
    let back = app.get(&link(&second, "prev").expect("the first")).bearer(&root.token).await.expect(200);
    assert_eq!(names(&back), names(&first));
    assert_eq!(app.get("/users?limit=13").bearer(&root.token).await.expect(200).header("link"), "");
}

#[tokio::test]
async fn the_way_goes_on_where_a_user_was_who_is_gone() {
    let app = TestApp::start().await;
    let root = app.root().await;
    for letter in ["a", "b", "c", "d"] {
        app.advance(TimeDelta::seconds(1));
        app.invited(name(letter)).await;
    }
    let page = app.get("/users?limit=3").bearer(&root.token).await.expect(200);
    assert_eq!(names(&page), ["root", "a", "b"]);
    app.delete("/users/b").bearer(&root.token).await.expect(204);
    let next = link(&page, "next").expect("more");
    assert_eq!(names(&app.get(&next).bearer(&root.token).await.expect(200)), ["c", "d"]);
}

#[tokio::test]
async fn an_administrator_finds_users_by_a_part_of_any_name() {
    let app = TestApp::start().await;
    let root = app.root().await;
    app.advance(TimeDelta::seconds(1));
    let ada = app.person("ada").await;
    app.change_profile(&ada.token, &json!({"displayName": "Ünsal O'Neill \"100%\" a_b\\c.*"})).await.expect(200);
    app.advance(TimeDelta::seconds(1));
    app.invited(name("a.b_c")).await;
    let all = "Ünsal O'Neill \"100%\" a_b\\c.*";
    for (text, expected) in [
        ("", &["root", all, "a.b_c"][..]),
        ("ROOT", &["root"]),
        ("EXAMPLE.com", &[all]),
        ("ünsal", &[all]),
        ("ÜNSAL O'NEILL", &[all]),
        ("100%", &[all]),
        ("%", &[all]),
        ("_", &[all, "a.b_c"]),
        ("a_b", &[all]),
        ("a.b", &["a.b_c"]),
        ("\\", &[all]),
        (".*", &[all]),
        ("\"", &[all]),
        ("'; drop table users; --", &[]),
        ("[", &[]),
        ("***:", &[]),
        ("(?i)root", &[]),
        ("日本", &[]),
        (&ada.id.to_uppercase(), &[all]),
        (&ada.id[9..20], &[all]),
    ] {
        let query: String = form_urlencoded::byte_serialize(text.as_bytes()).collect();
        assert_eq!(app.found(&root, &format!("?search={query}")).await, expected, "{text}");
    }
}

#[tokio::test]
async fn an_administrator_filters_by_rights_and_state() {
    let app = TestApp::start().await;
    let root = app.root().await;
    for text in ["waiting", "blocked", "active"] {
        app.advance(TimeDelta::seconds(1));
        match text {
            "waiting" => drop(app.invited(name(text)).await),
            _ => drop(app.named(text, AccessLevel::Authorized).await),
        }
    }
    app.advance(TimeDelta::seconds(1));
    app.invited(NewName::Email(email("mail@example.com"))).await;
    app.execute("update users set activation_expires_at = null where email is not null").await;
    app.change(&root, "active", &json!({"readOnly": true})).await.expect(200);
    app.post("/users/blocked/block").bearer(&root.token).await.expect(200);
    for (query, expected) in [
        ("?level=admin", &["root"][..]),
        ("?level=authorized&limit=2", &["waiting", "blocked"]),
        ("?state=waiting_for_activation", &["waiting", "mail@example.com"]),
        ("?state=blocked", &["blocked"]),
        ("?state=active", &["root", "active"]),
        ("?readOnly=true", &["active"]),
        ("?readOnly=false&state=active&search=o", &["root"]),
        ("?state=blocked&level=admin", &[]),
    ] {
        assert_eq!(app.found(&root, query).await, expected, "{query}");
    }
    let page = app.get("/users?level=authorized&limit=2").bearer(&root.token).await.expect(200);
    let next = link(&page, "next").expect("more");
    assert!(next.contains("level=authorized"), "{next}");
    assert_eq!(names(&app.get(&next).bearer(&root.token).await.expect(200)), ["active", "mail@example.com"]);
}

#[tokio::test]
async fn a_bad_question_names_every_bad_parameter() {
    let app = TestApp::start().await;
    let root = app.root().await;
    let ask = async |query: &str| {
        let answer = app.get(&format!("/users?{query}")).bearer(&root.token).await;
        answer.refused(400, "ValidationFailed").bad_fields()
    };
    let bad = "level=root&state=Active&readOnly=1&limit=0&after=x&before=y&q=z";
    assert_eq!(ask(bad).await, ["after", "before", "level", "limit", "q", "readOnly", "state"]);
    let place = "1-0b7c3f0e-90f1-4a8e-8d8a-6a2b1f0c9d11";
    assert_eq!(ask(&format!("after={place}&before={place}")).await, ["before"]);
    assert_eq!(ask("limit=1001&limit=5").await, ["limit"]);
    for search in ["%00", &"a".repeat(255)] {
        assert_eq!(ask(&format!("search={search}")).await, ["search"]);
    }
    for after in
        ["-1-0b7c3f0e-90f1-4a8e-8d8a-6a2b1f0c9d11", "9223372036854775807-0b7c3f0e-90f1-4a8e-8d8a-6a2b1f0c9d11", ""]
    {
        assert_eq!(ask(&format!("after={after}")).await, ["after"], "{after}");
    }
    app.found(&root, &format!("?search={}", "%E4%B8%AD".repeat(254))).await;
}

#[tokio::test]
async fn ones_own_routes_are_never_those_of_a_user_called_me() {
    let app = TestApp::start().await;
    let root = app.root().await;
    let (id, _) = app.invited(name("me")).await;
    assert_eq!(app.get("/users/me").bearer(&root.token).await.expect(200).text_of("id"), root.id);
    app.delete("/users/me")
        .bearer(&root.token)
        .json(&json!({"password": "wrong"}))
        .await
        .refused(400, "InvalidPassword");
    let own = app.patch("/users/me").bearer(&root.token).json(&json!({"level": "authorized"})).await;
    assert_eq!(own.refused(400, "ValidationFailed").bad_fields(), ["level"]);
    app.delete(&format!("/users/{id}")).bearer(&root.token).await.expect(204);
    for (method, path) in [(Method::GET, "/users/invitations"), (Method::DELETE, "/users/password-reset")] {
        app.call(method, path).bearer(&root.token).await.refused(405, "MethodNotAllowed");
    }
}
