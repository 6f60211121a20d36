//! The Qb2 service Account (qb2-account-service.md 2.4 and section 4).

use std::collections::BTreeMap;
use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::{
    AccessLevel, LoginName, NewName, NewUser, PasswordUpdate, Place, Search, State, User, UserChange, Users, Way,
};
use crate::app::App;
use crate::auth::Qb2Caller;
use crate::error::{Code, Error, Problem, Result};
use crate::grpc::call::{Call, Whom};
use crate::grpc::contract::blickfeld::secure::config::Account as WireAccount;
use crate::grpc::contract::blickfeld::secure::config::account::State as WireState;
use crate::grpc::contract::blickfeld::secure::services::account_server::{Account, AccountServer};
use crate::grpc::contract::blickfeld::secure::services::{
    AccountBlockRequest, AccountCreateRequest, AccountCreateResponse, AccountDeleteRequest, AccountGetRequest,
    AccountGetResponse, AccountListResponse, AccountResetRequest, AccountResetResponse, AccountStoreRequest,
};
use crate::grpc::fields::{self, Fields};
use crate::ratelimit::{Action, Network, Quotas};
use crate::tokens::Level;

/// Accounts of one answer. A longer one would not fit the 32 MiB that the vendor's clients take, nor our memory.
const MOST: usize = 100_000;

/// Sign-ups of one answer that nobody has proved. Anybody can make more, and must not keep administrators from seeing the accounts.
const MOST_STRANGERS: usize = 1000;

/// Accounts of one look into the table.
const PAGE: i64 = 1000;

/// Answers the calls.
pub struct Door {
    users: Users,
    quotas: Quotas,
}

/// The service.
pub fn service(app: &App) -> AccountServer<Door> {
    AccountServer::new(Door { users: app.users.clone(), quotas: app.quotas.clone() })
}

#[tonic::async_trait]
impl Account for Door {
    async fn list(&self, _: Request<()>) -> Result<Response<AccountListResponse>, Status> {
        let (mut account, mut place) = (BTreeMap::new(), Some(Place::BEGINNING));
        let (mut settled, mut strangers) = (0, 0);
        while let Some(from) = place {
            let found = self.users.page(&Search::default(), Way::After(from), PAGE).await?;
            for user in &found.users {
                let (count, most) =
                    if user.is_unproved_sign_up() { (&mut strangers, MOST_STRANGERS) } else { (&mut settled, MOST) };
                *count += 1;
                if *count <= most {
                    account.insert(uuid(user), view(user));
                }
            }
            if settled > MOST {
                return Err(Code::TooManyAccounts.into());
            }
            place = found.newer;
        }
        Ok(Response::new(AccountListResponse { account }))
    }

    async fn create(&self, request: Request<AccountCreateRequest>) -> Result<Response<AccountCreateResponse>, Status> {
        let call = Call::of(&request)?;
        let wanted = request.into_inner().account.unwrap_or_default();
        let mut fields = Fields::default();
        let name = fields.read("account.name", LoginName::parse(&wanted.name));
        let level = fields.read("account.access_level", fields::level(wanted.access_level)).flatten();
        fields.finish()?;
        let new = NewUser {
            name: NewName::Name(name.ok_or(Code::ValidationFailed)?),
            level: level.unwrap_or(AccessLevel::Authorized),
            read_only: wanted.access_read_only,
            password: None,
        };
        let (user, activation) = self.users.create(new, call.by()?).await?;
        call.touched(user.id);
        let activation_password = activation.map(|password| password.expose().to_owned()).unwrap_or_default();
        Ok(Response::new(AccountCreateResponse { activation_password, uuid: uuid(&user) }))
    }

    async fn block(&self, request: Request<AccountBlockRequest>) -> Result<Response<()>, Status> {
        let call = Call::of(&request)?;
        let id = call.named("uuid", &request.get_ref().uuid)?;
        self.users.block(id, call.by()?).await?;
        Ok(Response::new(()))
    }

    async fn reset(&self, request: Request<AccountResetRequest>) -> Result<Response<AccountResetResponse>, Status> {
        let call = Call::of(&request)?;
        let id = call.named("uuid", &request.get_ref().uuid)?;
        let (_, activation) = self.users.reset(id, call.by()?).await?;
        Ok(Response::new(AccountResetResponse { activation_password: activation.expose().to_owned() }))
    }

    async fn delete(&self, request: Request<AccountDeleteRequest>) -> Result<Response<()>, Status> {
        let call = Call::of(&request)?;
        let id = call.account("uuid", &request.get_ref().uuid, Whom::ToChange)?;
        self.users.remove(id, call.by()?, &call.origin).await?;
        Ok(Response::new(()))
    }

    async fn get(&self, request: Request<AccountGetRequest>) -> Result<Response<AccountGetResponse>, Status> {
        let call = Call::of(&request)?;
        let id = call.account("uuid", &request.get_ref().uuid, Whom::ToSee)?;
        let user = self.users.find(id).await?.ok_or(Code::NotFound)?;
        Ok(Response::new(AccountGetResponse { account: Some(view(&user)), uuid: uuid(&user) }))
    }

    async fn store(&self, request: Request<AccountStoreRequest>) -> Result<Response<()>, Status> {
        let call = Call::of(&request)?;
        let caller = call.caller()?;
        let AccountStoreRequest { uuid, account, password_update } = request.into_inner();
        if caller.level < Level::Authorized {
            if !uuid.is_empty() || account.is_some() {
                return Err(Code::Forbidden.into());
            }
            // As where an activation password is exchanged without a token.
            if caller.user.state() == State::Blocked {
                return Err(Code::UserBlocked.into());
            }
        }
        let user = if uuid.is_empty() {
            caller.user.clone()
        } else {
            let id = call.account("uuid", &uuid, Whom::ToChange)?;
            Arc::new(self.users.find(id).await?.ok_or(Code::NotFound)?)
        };

        let mut fields = Fields::default();
        let change = account.map(|account| {
            let change = change(&mut fields, &user, account);
            allowed(caller, &user, change)
        });
        let password = password_update.map(|update| {
            let current = fields.read("password_update.current", fields::password(update.current));
            let new = fields.read("password_update.new", fields::password(update.new));
            current.zip(new)
        });
        let change = change.transpose()?.unwrap_or_default();
        fields.finish()?;
        let password = password.flatten().map(|(current, new)| {
            // The token with which an activation password was replaced has done its work.
            let keep = (user.id == caller.user.id && caller.level >= Level::Authorized).then_some(caller.token_id);
            PasswordUpdate { current, new, keep }
        });
        // A name that is taken tells that somebody has it.
        if password.is_some() || change.name.is_some() {
            self.quotas.ask(Action::Confirmation, Network::of_client(&call.origin))?;
        }
        self.users.store(&user, &change, password.as_ref(), caller.by(), &call.origin).await.map_err(in_our_words)?;
        Ok(Response::new(()))
    }
}

fn uuid(user: &User) -> String {
    user.id.0.as_hyphenated().to_string()
}

/// The name by which this door shows a user.
fn shown_name(user: &User) -> String {
    user.login_name.clone().unwrap_or_else(|| user.id.to_string())
}

fn view(user: &User) -> WireAccount {
    let state = match user.state() {
        State::WaitingForActivation => WireState::WaitingForActivation,
        State::Active => WireState::Active,
        State::Blocked => WireState::Blocked,
    };
    WireAccount {
        name: shown_name(user),
        access_level: fields::level_number(user.access_level),
        failed_login_attempts: user.failed_login_attempts.try_into().unwrap_or(0),
        state: state.into(),
        access_read_only: user.read_only,
    }
}

/// What is to become of a user by the account part of a message. It takes the place of name, level and read-only flag, and of the
/// rest where that is set. What was shown and comes back is no change.
fn change(fields: &mut Fields, user: &User, account: WireAccount) -> UserChange {
    let is_shown = account.name.eq_ignore_ascii_case(&user.id.to_string());
    let name = if is_shown { None } else { fields.read("account.name", LoginName::parse(&account.name)) };
    let level = fields.read("account.access_level", fields::level(account.access_level)).flatten();
    let state = fields.read("account.state", state(account.state)).flatten();
    let failures = i64::from(account.failed_login_attempts);
    let failures = fields.read("account.failed_login_attempts", UserChange::failures(failures));
    UserChange {
        name: name.filter(|name| Some(name.as_str()) != user.login_name.as_deref()),
        level: level.filter(|level| *level != user.access_level),
        read_only: Some(account.access_read_only).filter(|read_only| *read_only != user.read_only),
        state: state.filter(|state| *state != user.state()),
        failed_login_attempts: failures.filter(|count| *count != 0 && *count != user.failed_login_attempts),
    }
}

fn state(number: i32) -> Result<Option<State>, String> {
    match WireState::try_from(number) {
        Ok(WireState::Unspecified) => Ok(None),
        Ok(WireState::WaitingForActivation) => Ok(Some(State::WaitingForActivation)),
        Ok(WireState::Active) => Ok(Some(State::Active)),
        Ok(WireState::Blocked) => Ok(Some(State::Blocked)),
        Err(_) => Err("must be a state of the contract".into()),
    }
}

/// Everybody may change the own name; all else is for administrators who may do more than read.
fn allowed(caller: &Qb2Caller, user: &User, change: UserChange) -> Result<UserChange> {
    if caller.level >= Level::Admin && !caller.read_only {
        return Ok(change);
    }
    let UserChange { name, level, read_only, state, failed_login_attempts } = change;
    // A flag that is not set is no wish to get rid of it: the wire knows no difference.
    let is_about_rights =
        level.is_some() || read_only == Some(true) || state.is_some() || failed_login_attempts.is_some();
    if user.id != caller.user.id || is_about_rights {
        return Err(Code::Forbidden.into());
    }
    Ok(UserChange { name, ..UserChange::default() })
}

/// The same refusal with the names that fields have at this door.
fn in_our_words(error: Error) -> Error {
    let Error::Invalid { code, problems } = error else { return error };
    let rename = |Problem { field, message }| {
        let field = match field.as_str() {
            "oldPassword" => "password_update.current".to_owned(),
            "newPassword" => "password_update.new".to_owned(),
            _ => field,
        };
        Problem { field, message }
    };
    Error::Invalid { code, problems: problems.into_iter().map(rename).collect() }
}
