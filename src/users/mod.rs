//! The one table of users, and the rules of what may happen to one. The room that every other room copies.
//!
//! Routes: `POST /users`, `GET`, `PATCH` and `DELETE /users/me`, `PUT /users/me/password`, `PUT /users/{userId}/activation`,
//! `POST /users/password-reset`, `PUT /users/{userId}/password/{token}`, `PUT /users/me/email`,
//! `PUT /users/{userId}/email/{token}`; for administrators `GET /users`, `POST /users/invitations`, `GET`, `PATCH` and `DELETE
//! /users/{userId}`, `POST /users/{userId}/block` and `/reset`.
//! Table: `users`. What it refuses: to say to strangers whether a user exists, to store a password that a store could print, to
//! leave the service without an active administrator.

pub mod grpc;
pub mod http;
pub mod password;

mod email;
mod login;
mod password_rule;
mod profile;
mod search;
mod service;
mod store;

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::error::{Code, Result};

pub use email::EmailAddress;
pub use login::{Login, LoginName};
pub use profile::{
    BillingAddress, BillingAddressChange, Country, DisplayName, Notifications, NotificationsChange, ProfileChange,
    ShortText,
};
pub use search::{Found, Place, Search, SearchText, Way};
pub use service::{By, Entrant, NewName, NewUser, PasswordUpdate, SignUp, UserChange, Users};

/// A user's id: shown as `user-<uuid v4>` by REST and as the bare UUID by gRPC (decisions.md section 1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, sqlx::Type)]
#[sqlx(transparent)]
pub struct UserId(pub Uuid);

impl fmt::Display for UserId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "user-{}", self.0.as_hyphenated())
    }
}

impl FromStr for UserId {
    type Err = ();

    /// Reads `user-<uuid>` without regard to case, as the vendor's client does.
    fn from_str(text: &str) -> Result<Self, ()> {
        let (prefix, uuid) = text.split_at_checked(5).ok_or(())?;
        if !prefix.eq_ignore_ascii_case("user-") || uuid.len() != 36 {
            return Err(());
        }
        Uuid::try_parse(uuid).map(Self).map_err(|_| ())
    }
}

/// A user, as the row says.
#[derive(Clone, Debug)]
pub struct User {
    /// The id, for ever.
    pub id: UserId,
    /// The e-mail as it was typed.
    pub email: Option<String>,
    /// The form on which e-mails are compared.
    pub email_canonical: Option<String>,
    /// Whether the e-mail is this user's alone.
    pub email_held: bool,
    /// When the e-mail was proved.
    pub email_verified_at: Option<DateTime<Utc>>,
    /// From which address an unproved sign-up came.
    pub signed_up_from: Option<IpAddr>,
    /// The login name, unique without regard to case.
    pub login_name: Option<String>,
    /// The name to show; see [`User::shown_name`].
    pub display_name: Option<String>,
    /// A person or a company.
    pub entity_type: EntityType,
    /// Where bills go.
    pub billing_address: Option<BillingAddress>,
    /// Which notices are wanted.
    pub notifications: Notifications,
    /// The password, hashed.
    pub password_hash: password::PasswordHash,
    /// Until when the password is an activation password; `None` when it is a real one.
    pub activation_expires_at: Option<DateTime<Utc>>,
    /// When the first real password was set.
    pub activated_at: Option<DateTime<Utc>>,
    /// Who or what blocked the user.
    pub block_cause: Option<BlockCause>,
    /// Wrong passwords since the last right one; counted for users without e-mail.
    pub failed_login_attempts: i32,
    /// Rights.
    pub access_level: AccessLevel,
    /// Whether only reading is allowed.
    pub read_only: bool,
    /// Account tokens of an older version are dead.
    pub token_version: i64,
    /// Drawn anew by whatever an answer about the user may depend on, also by a new token or client key, or the end of one.
    /// Two are the same or not; none is newer.
    pub version: i64,
    /// When the user was made.
    pub created_at: DateTime<Utc>,
    /// When the row last changed in a way that the user can see.
    pub updated_at: DateTime<Utc>,
}

/// What a user is, in one word (decisions.md section 1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, sqlx::Type, utoipa::ToSchema, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
#[schema(as = UserState)]
pub enum State {
    /// An e-mail not yet proved, or an activation password in place.
    WaitingForActivation,
    /// Everything works.
    Active,
    /// Wins over everything.
    Blocked,
}

impl State {
    /// The wire's word.
    pub fn word(self) -> &'static str {
        match self {
            Self::WaitingForActivation => "waiting_for_activation",
            Self::Active => "active",
            Self::Blocked => "blocked",
        }
    }

    /// Reads the wire's word.
    ///
    /// # Errors
    /// What is wrong, in words for the person who sent it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let all = [Self::WaitingForActivation, Self::Active, Self::Blocked];
        let found = all.into_iter().find(|state| state.word() == text);
        found.ok_or_else(|| "must be waiting_for_activation, active or blocked".into())
    }
}

impl User {
    /// Refuses a read-only user, who may read, log in and out, and change the own password.
    ///
    /// # Errors
    /// `Forbidden`.
    pub fn may_change(&self) -> Result<()> {
        if self.read_only { Err(Code::Forbidden.into()) } else { Ok(()) }
    }

    /// Refuses tokens to a user whom an administrator blocked, or who waits for activation: whatever else opens the door (a client
    /// key, an application key, a wallet), it does not open more than the own password would. A block by failures bars the password
    /// alone.
    ///
    /// # Errors
    /// `UserBlocked`, `ActivationRequired`.
    pub fn may_be_granted(&self) -> Result<()> {
        self.refuse_blocked()?;
        let waits = self.activation_expires_at.is_some() || !self.is_email_proved();
        if waits { Err(Code::ActivationRequired.into()) } else { Ok(()) }
    }

    /// Refuses a user whom an administrator blocked: that ends everything at once, where a block by failures bars password log-in
    /// only.
    ///
    /// # Errors
    /// `UserBlocked`.
    pub fn refuse_blocked(&self) -> Result<()> {
        match self.block_cause {
            Some(BlockCause::Admin) => Err(Code::UserBlocked.into()),
            Some(BlockCause::Failures) | None => Ok(()),
        }
    }

    /// Life of a sign-up that nobody proves.
    pub const UNPROVED_LIFETIME: TimeDelta = TimeDelta::hours(48);

    /// A user who was just made: authorized, active, and nobody yet.
    pub(crate) fn new(id: UserId, password_hash: password::PasswordHash, now: DateTime<Utc>) -> Self {
        Self {
            id,
            email: None,
            email_canonical: None,
            email_held: false,
            email_verified_at: None,
            signed_up_from: None,
            login_name: None,
            display_name: None,
            entity_type: EntityType::default(),
            billing_address: None,
            notifications: Notifications::default(),
            password_hash,
            activation_expires_at: None,
            activated_at: Some(now),
            block_cause: None,
            failed_login_attempts: 0,
            access_level: AccessLevel::Authorized,
            read_only: false,
            token_version: 0,
            version: 0,
            created_at: now,
            updated_at: now,
        }
    }

    /// The state, derived from the facts.
    pub fn state(&self) -> State {
        if self.block_cause.is_some() {
            State::Blocked
        } else if self.activation_expires_at.is_some() || !self.is_email_proved() {
            State::WaitingForActivation
        } else {
            State::Active
        }
    }

    /// Where to mail to, whoever's it is.
    pub fn mailbox(&self) -> Option<String> {
        Some(email::mailbox(self.email.as_deref()?, self.email_canonical.as_deref()?))
    }

    /// Where to mail to, as far as it is known to be the user's.
    pub fn proved_mailbox(&self) -> Option<String> {
        self.mailbox().filter(|_| self.email_verified_at.is_some())
    }

    /// Whether there is no e-mail left to prove.
    pub fn is_email_proved(&self) -> bool {
        self.email.is_none() || self.email_verified_at.is_some()
    }

    /// A sign-up whose e-mail was never proved, not blocked and not Reset: the only kind of user that dies by itself.
    pub fn is_unproved_sign_up(&self) -> bool {
        self.email.is_some() && !self.email_held && self.block_cause.is_none() && self.activation_expires_at.is_none()
    }

    /// When an unproved sign-up dies.
    pub fn dies_at(&self) -> Option<DateTime<Utc>> {
        self.is_unproved_sign_up().then(|| self.created_at + Self::UNPROVED_LIFETIME)
    }

    /// Whether the user is as good as deleted: expiry holds at once, not when the sweep comes by.
    pub fn is_dead(&self, now: DateTime<Utc>) -> bool {
        self.dies_at().is_some_and(|end| end <= now)
    }

    /// `verifiedAt`: when the e-mail was proved or, without e-mail, when the user was first activated.
    pub fn verified_at(&self) -> Option<DateTime<Utc>> {
        if self.email.is_some() { self.email_verified_at } else { self.activated_at }
    }

    /// The display name; a user without one is shown by login name, e-mail or id.
    pub fn shown_name(&self) -> String {
        self.display_name
            .clone()
            .or_else(|| self.login_name.clone())
            .or_else(|| self.email.clone())
            .unwrap_or_else(|| self.id.to_string())
    }

    /// Whether this is an administrator.
    pub fn is_admin(&self) -> bool {
        self.access_level == AccessLevel::Admin
    }

    /// Whether this is an administrator who can do everything right now: one of those of whom the last one stays.
    pub fn is_active_admin(&self) -> bool {
        self.is_admin() && !self.read_only && self.state() == State::Active
    }
}

/// A person or a company.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, sqlx::Type, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
#[sqlx(type_name = "text", rename_all = "lowercase")]
pub enum EntityType {
    /// A person.
    #[default]
    Individual,
    /// A company.
    Business,
}

impl EntityType {
    /// Reads the wire's word.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text {
            "individual" => Ok(Self::Individual),
            "business" => Ok(Self::Business),
            _ => Err("must be individual or business".into()),
        }
    }
}

/// Rights of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, sqlx::Type, utoipa::ToSchema, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
#[sqlx(type_name = "text", rename_all = "lowercase")]
pub enum AccessLevel {
    /// The own account.
    Authorized,
    /// Every account.
    Admin,
}

impl AccessLevel {
    /// Reads the wire's word.
    ///
    /// # Errors
    /// What is wrong, in words for the person who sent it.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text {
            "authorized" => Ok(Self::Authorized),
            "admin" => Ok(Self::Admin),
            _ => Err("must be authorized or admin".into()),
        }
    }
}

/// Who or what blocked a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, sqlx::Type, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
#[sqlx(type_name = "text", rename_all = "lowercase")]
pub enum BlockCause {
    /// An administrator: ends everything at once.
    Admin,
    /// Too many wrong passwords: bars password log-in only.
    Failures,
}
