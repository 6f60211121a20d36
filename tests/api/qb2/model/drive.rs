//! Two servers on one database that live through what the model lives through, and are asked after each step.

use std::collections::BTreeMap;

use bloq_accounts::error::Error;
use bloq_accounts::grpc::contract::blickfeld::secure::config::{Account, ApplicationKey};
use bloq_accounts::grpc::contract::blickfeld::secure::services::AccountStoreRequest;
use bloq_accounts::tokens::Level;
use bloq_accounts::users::password::Password;
use bloq_accounts::users::{AccessLevel, By, LoginName, NewName, NewUser, State, UserId};
use proptest::prelude::*;
use serde_json::{Value, json};
use tonic::Status;

use super::spec::{Act, Door, MOST_FAILURES, Somebody, Typed, What, World};
use crate::harness::qb2::{ACTIVE, ADMIN, AUTHORIZED, BLOCKED, Qb2, WAITING, code_of};
use crate::harness::{Answer, Call, TestApp, sign_up_body};

/// What a server tells that no model can know.
enum Learned {
    Nothing,
    Person { uuid: String, password: Option<String>, proof: String },
    Password(String),
    Token(String),
    Key { id: String, secret: String },
}

/// The model and the servers.
pub struct Drive {
    pub world: World,
    servers: [(TestApp, Qb2); 2],
    steps: usize,
}

/// A person as doors show one: name, level, read-only flag, state and failures.
type Shown = (String, AccessLevel, bool, State, u32);

impl Drive {
    pub async fn start() -> Self {
        let app = TestApp::start_with(|config| {
            config.rate_limit.enabled = false;
            config.password.max_failed_logins = i32::try_from(MOST_FAILURES).expect("a few");
            config.database.max_connections = 5;
        })
        .await;
        let other = app.replica().await;
        let names = ["root", "second"];
        let mut world = World::new(app.now(), &names);
        for (person, name) in world.people.iter_mut().zip(names) {
            let name = NewName::Name(LoginName::parse(name).expect("a name"));
            person.password = "Difference Engine No 2".into();
            let password = Some(Password::new(person.password.as_str()));
            let new = NewUser { name, level: AccessLevel::Admin, read_only: false, password };
            let (user, _) = app.app.users.create(new, By::Operator).await.expect("an administrator");
            person.uuid = user.id.0.to_string();
        }
        let servers = [app, other].map(|app| {
            let door = app.qb2();
            (app, door)
        });
        Self { world, servers, steps: 0 }
    }

    /// The server that does this step.
    fn here(&self) -> &(TestApp, Qb2) {
        &self.servers[self.steps % 2]
    }

    /// The one that is asked afterwards.
    fn there(&self) -> &(TestApp, Qb2) {
        &self.servers[(self.steps + 1) % 2]
    }

    /// Does something; what comes of it is what the model says, and so is everything else then.
    pub async fn step(&mut self, act: Act) -> Result<(), TestCaseError> {
        let told = self.perform(act).await;
        let before: Vec<_> = (0..self.world.tokens.len()).map(|token| self.world.judge(token)).collect();
        let expected = self.world.act(act);
        let outcome = told.as_ref().map(|_| ()).map_err(Clone::clone);
        let expected = expected.map_err(|code| format!("{code:?}"));
        prop_assert_eq!(&outcome, &expected, "{:?}", act);
        if let Ok(learned) = told {
            self.learn(act, learned);
        }
        self.look_around().await?;
        // What this has ended, revived or made, and one of the others in turn.
        let tokens = self.world.tokens.len();
        for token in 0..tokens {
            if before.get(token) != Some(&self.world.judge(token)) || token == self.steps % tokens {
                self.look_with(token).await?;
            }
        }
        self.steps += 1;
        Ok(())
    }

    fn learn(&mut self, act: Act, learned: Learned) {
        let last = "the model has it, too";
        match learned {
            Learned::Nothing => {}
            Learned::Person { uuid, password, proof } => {
                let person = self.world.people.last_mut().expect(last);
                (person.uuid, person.proof) = (uuid, proof);
                person.password = password.unwrap_or_else(|| person.password.clone());
            }
            Learned::Password(activation) => {
                if let Act::Reset { whom, .. } | Act::ResetByOperator { whom } = act {
                    self.world.people[whom].password = activation;
                }
            }
            Learned::Token(text) => self.world.tokens.last_mut().expect(last).text = text,
            Learned::Key { id, secret } => {
                let key = self.world.keys.last_mut().expect(last);
                (key.id, key.secret) = (id, secret);
            }
        }
    }

    /// Somebody at the gRPC door, with the newest token if there is one.
    fn at_qb2(&self, by: usize) -> Qb2 {
        let (_, door) = self.here();
        let token = self.world.newest(by, Door::Qb2);
        token.map_or_else(|| door.bare(), |token| door.with(&self.world.tokens[token].text))
    }

    /// The same at the other door.
    fn at_rest(&self, by: usize, call: Call) -> Call {
        match self.world.newest(by, Door::Rest) {
            Some(token) => call.bearer(&self.world.tokens[token].text),
            None => call,
        }
    }

    async fn perform(&self, act: Act) -> Result<Learned, String> {
        let (app, door) = self.here();
        let people = &self.world.people;
        let path = |whom: usize| format!("/users/user-{}", people[whom].uuid);
        let typed = |whom: usize, typed: Typed| match typed {
            Typed::Right => people[whom].password.clone(),
            Typed::Wrong => "Something Else 1815".to_owned(),
        };
        let nothing = |()| Learned::Nothing;
        match act {
            Act::Create { by, at: Door::Rest, name, level, read_only } => {
                let body = json!({"name": name, "level": word(level), "readOnly": read_only});
                let made = json_of(self.at_rest(by, app.post("/users/invitations")).json(&body)).await?;
                let uuid = text(&made, "id").trim_start_matches("user-").to_owned();
                let password = Some(text(&made, "activationPassword"));
                Ok(Learned::Person { uuid, password, proof: String::new() })
            }
            Act::Create { by, at: Door::Qb2, name, level, read_only } => {
                let wanted = Account { access_level: number(level), access_read_only: read_only, ..named(name) };
                let (uuid, activation) = self.at_qb2(by).create_as(wanted).await.map_err(code)?;
                Ok(Learned::Person { uuid, password: Some(activation), proof: String::new() })
            }
            Act::SignUp => {
                let email = format!("person-{}@example.com", people.len());
                let mut body = sign_up_body(&email);
                body["password"] = json!(self.world.next_password());
                let id = text(&json_of(app.post("/users").json(&body)).await?, "id");
                let proof = app.mailed_token(&email).await;
                Ok(Learned::Person { uuid: id.trim_start_matches("user-").to_owned(), password: None, proof })
            }
            Act::Prove { whom } => done(app.put(&format!("{}/token/{}", path(whom), people[whom].proof))).await,
            Act::LogIn { whom, at: Door::Rest, typed: how } => {
                let call = app.post("/auth").basic(&login(&people[whom]), &typed(whom, how));
                json_of(call).await.map(|answer| Learned::Token(text(&answer, "accessToken")))
            }
            Act::LogIn { whom, at: Door::Qb2, typed: how } => {
                let token = door.login(&login(&people[whom]), &typed(whom, how)).await;
                token.map(Learned::Token).map_err(code)
            }
            Act::LogInByKey { key } => {
                door.login_with_key(&self.world.keys[key].secret).await.map(Learned::Token).map_err(code)
            }
            Act::LogOut { by } => done(self.at_rest(by, app.delete("/auth"))).await,
            Act::Activate { whom, typed: how } => {
                done(app.activate(&login(&people[whom]), &typed(whom, how), &self.world.next_password())).await
            }
            Act::ChangePassword { by, at: Door::Rest, typed: how } => {
                let body = json!({"oldPassword": typed(by, how), "newPassword": self.world.next_password()});
                done(self.at_rest(by, app.put("/users/me/password")).json(&body)).await
            }
            Act::ChangePassword { by, at: Door::Qb2, typed: how } => {
                let changed = self.at_qb2(by).update_password(&typed(by, how), &self.world.next_password()).await;
                changed.map(nothing).map_err(code)
            }
            Act::Change { by, at: Door::Rest, whom, what } => {
                let patch = match what {
                    What::Name(name) => json!({ "name": name }),
                    What::Level(level) => json!({ "level": word(level) }),
                    What::ReadOnly(read_only) => json!({ "readOnly": read_only }),
                    What::State(state) => json!({ "state": state }),
                    What::Failures(failures) => json!({ "failedLoginAttempts": failures }),
                };
                done(self.at_rest(by, app.patch(&path(whom))).json(&patch)).await
            }
            Act::Change { by, at: Door::Qb2, whom, what } => {
                let mut account = wire(&people[whom]);
                match what {
                    What::Name(name) => account.name = name.to_owned(),
                    What::Level(level) => account.access_level = number(level),
                    What::ReadOnly(read_only) => account.access_read_only = read_only,
                    What::State(state) => account.state = state_number(state),
                    What::Failures(failures) => account.failed_login_attempts = failures,
                }
                let (uuid, account) = (people[whom].uuid.clone(), Some(account));
                let request = AccountStoreRequest { uuid, account, password_update: None };
                self.at_qb2(by).store(request).await.map(nothing).map_err(code)
            }
            Act::Rename { by, name } => {
                let account = Some(Account { name: name.to_owned(), ..wire(&people[by]) });
                let request = AccountStoreRequest { account, ..AccountStoreRequest::default() };
                self.at_qb2(by).store(request).await.map(nothing).map_err(code)
            }
            Act::Block { by, at: Door::Rest, whom } => {
                done(self.at_rest(by, app.post(&format!("{}/block", path(whom))))).await
            }
            Act::Block { by, at: Door::Qb2, whom } => {
                self.at_qb2(by).block(&people[whom].uuid).await.map(nothing).map_err(code)
            }
            Act::Reset { by, at: Door::Rest, whom } => {
                let answer = json_of(self.at_rest(by, app.post(&format!("{}/reset", path(whom))))).await;
                answer.map(|answer| Learned::Password(text(&answer, "activationPassword")))
            }
            Act::Reset { by, at: Door::Qb2, whom } => {
                self.at_qb2(by).reset(&people[whom].uuid).await.map(Learned::Password).map_err(code)
            }
            Act::ResetByOperator { whom } => {
                let reset = app.app.users.reset(id(&people[whom]), By::Operator).await;
                let said = |error: Error| format!("{:?}", error.code());
                reset.map(|(_, activation)| Learned::Password(activation.expose().to_owned())).map_err(said)
            }
            Act::Delete { by, at: Door::Rest, whom } => done(self.at_rest(by, app.delete(&path(whom)))).await,
            Act::Delete { by, at: Door::Qb2, whom } => {
                self.at_qb2(by).delete(&people[whom].uuid).await.map(nothing).map_err(code)
            }
            Act::Leave { by, typed: how } => {
                done(self.at_rest(by, app.delete("/users/me")).json(&json!({"password": typed(by, how)}))).await
            }
            Act::CreateKey { by, whom, level, read_only } => {
                let owner = whom.map_or("", |whom| &people[whom].uuid);
                let (access_level, access_read_only) = (number(level), read_only);
                let wanted = ApplicationKey { access_level, access_read_only, ..ApplicationKey::default() };
                let made = self.at_qb2(by).create_key(owner, wanted).await;
                made.map(|(id, secret)| Learned::Key { id, secret }).map_err(code)
            }
            Act::DeleteKey { by, key } => {
                self.at_qb2(by).delete_key(&self.world.keys[key].id).await.map(nothing).map_err(code)
            }
            Act::Invalidate { by } => self.at_qb2(by).invalidate().await.map(nothing).map_err(code),
            Act::Wait(pause) => {
                let mut later = World::new(self.world.now, &[]);
                later.act(Act::Wait(pause)).expect("time passes");
                app.advance(later.now - self.world.now);
                app.sweep().await;
                Ok(Learned::Nothing)
            }
        }
    }

    /// Everybody is what the model says, in the eyes of both doors.
    async fn look_around(&self) -> Result<(), TestCaseError> {
        let (app, door) = self.there();
        let expected: BTreeMap<String, Shown> =
            self.living().map(|person| (person.uuid.clone(), shown(person))).collect();
        if let Some(token) = self.who_may_look(Door::Rest) {
            let people = json_of(app.get("/users?limit=1000").bearer(token)).await.map_err(TestCaseError::fail)?;
            let people = people.as_array().expect("a list").iter();
            let seen: BTreeMap<String, Shown> = people.map(read_json).collect();
            prop_assert_eq!(&seen, &expected, "GET /users");
        }
        if let Some(token) = self.who_may_look(Door::Qb2) {
            let accounts = door.with(token).list().await.map_err(|status| TestCaseError::fail(code(status)))?;
            let seen: BTreeMap<String, Shown> =
                accounts.into_iter().map(|(uuid, account)| (uuid, read_wire(&account))).collect();
            prop_assert_eq!(&seen, &expected, "Account.List");
        }
        Ok(())
    }

    fn living(&self) -> impl Iterator<Item = &Somebody> {
        self.world.people.iter().filter(|person| !person.is_gone)
    }

    fn who_may_look(&self, at: Door) -> Option<&str> {
        let may = |number: &usize| {
            self.world.tokens[*number].door == at
                && self.world.judge(*number).is_ok()
                && self.world.rights(*number).0 == Level::Admin
        };
        (0..self.world.tokens.len()).rev().find(may).map(|number| self.world.tokens[number].text.as_str())
    }

    /// The owner of a token looks at the own account.
    async fn look_with(&self, number: usize) -> Result<(), TestCaseError> {
        let (app, door) = self.there();
        let token = &self.world.tokens[number];
        let owner = &self.world.people[token.whose];
        let expected = self.world.judge(number).map_err(|code| format!("{code:?}"));
        let seen = match token.door {
            Door::Rest => json_of(app.me(&token.text)).await.map(|profile| {
                assert_eq!(text(&profile, "id"), format!("user-{}", owner.uuid));
            }),
            Door::Qb2 if self.world.rights(number).0 == Level::Public => {
                door.with(&token.text).nonce().await.map(drop).map_err(code)
            }
            Door::Qb2 => door.with(&token.text).get("").await.map_err(code).map(|answer| {
                assert_eq!(answer.uuid, owner.uuid);
                assert_eq!(answer.account.as_ref().map(read_wire), Some(shown(owner)));
            }),
        };
        prop_assert_eq!(seen, expected, "token {}: {:?}", number, token);
        Ok(())
    }

    pub async fn stop(self) {
        for (app, _) in self.servers {
            app.stop().await;
        }
    }
}

fn id(person: &Somebody) -> UserId {
    UserId(person.uuid.parse().expect("a uuid"))
}

/// What somebody types to log in. The name of somebody who is gone may be somebody else's.
fn login(person: &Somebody) -> String {
    let by_id = || format!("user-{}", person.uuid);
    if person.is_gone { by_id() } else { person.name.clone().or(person.email.clone()).unwrap_or_else(by_id) }
}

fn shown(person: &Somebody) -> Shown {
    let name = person.name.clone().unwrap_or_else(|| format!("user-{}", person.uuid));
    (name, person.level, person.read_only, person.state(), person.failures)
}

fn named(name: &str) -> Account {
    Account { name: name.to_owned(), ..Account::default() }
}

/// The account as a client of the gRPC door was shown it.
fn wire(person: &Somebody) -> Account {
    let (name, level, access_read_only, state, failed_login_attempts) = shown(person);
    Account { name, access_level: number(level), failed_login_attempts, state: state_number(state), access_read_only }
}

fn read_wire(account: &Account) -> Shown {
    let level = if account.access_level == ADMIN { AccessLevel::Admin } else { AccessLevel::Authorized };
    let state = match account.state {
        ACTIVE => State::Active,
        BLOCKED => State::Blocked,
        _ => State::WaitingForActivation,
    };
    (account.name.clone(), level, account.access_read_only, state, account.failed_login_attempts)
}

fn read_json(user: &Value) -> (String, Shown) {
    let id = text(user, "id");
    let level = if user["level"] == "admin" { AccessLevel::Admin } else { AccessLevel::Authorized };
    let state = match user["state"].as_str() {
        Some("active") => State::Active,
        Some("blocked") => State::Blocked,
        _ => State::WaitingForActivation,
    };
    let failures = user["failedLoginAttempts"].as_u64().and_then(|count| u32::try_from(count).ok()).expect("a count");
    let name = user["name"].as_str().unwrap_or(&id).to_owned();
    let read_only = user["readOnly"].as_bool().expect("a flag");
    (id.trim_start_matches("user-").to_owned(), (name, level, read_only, state, failures))
}

fn word(level: AccessLevel) -> &'static str {
    if level == AccessLevel::Admin { "admin" } else { "authorized" }
}

fn number(level: AccessLevel) -> i32 {
    if level == AccessLevel::Admin { ADMIN } else { AUTHORIZED }
}

fn state_number(state: State) -> i32 {
    match state {
        State::WaitingForActivation => WAITING,
        State::Active => ACTIVE,
        State::Blocked => BLOCKED,
    }
}

fn text(answer: &Value, name: &str) -> String {
    answer[name].as_str().unwrap_or_else(|| panic!("no {name} in {answer}")).to_owned()
}

/// The public code of a refusal by the gRPC door.
fn code(status: Status) -> String {
    match code_of(&status) {
        "" => format!("{status:?}"),
        code => code.to_owned(),
    }
}

async fn send(call: Call) -> Result<Answer, String> {
    let answer = call.await;
    if answer.status < 400 { Ok(answer) } else { Err(answer.refusal().1) }
}

async fn done(call: Call) -> Result<Learned, String> {
    send(call).await.map(|_| Learned::Nothing)
}

async fn json_of(call: Call) -> Result<Value, String> {
    send(call).await.map(|answer| answer.json())
}
