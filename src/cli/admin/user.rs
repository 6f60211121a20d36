//! `admin user …`

use anyhow::{Context, anyhow, ensure};
use clap::{Args, Subcommand};

use super::{PAGE, first_line_of_stdin, plain};
use crate::cli::output;
use crate::clock::Timestamp;
use crate::users::password::Password;
use crate::users::{
    AccessLevel, EmailAddress, Login, LoginName, NewName, NewUser, Place, Search, State, User, UserChange, Users, Way,
};

#[derive(Subcommand)]
pub enum Command {
    /// Make a user; without --password-stdin an activation password is printed
    Create(Create),
    /// Take the e-mail of a user as proved
    Verify {
        /// User id, e-mail or login name
        user: String,
    },
    /// List all users
    List,
    /// Give or take rights
    SetLevel {
        /// User id, e-mail or login name
        user: String,
        /// The new level
        #[arg(value_enum)]
        level: AccessLevel,
        /// Allow only reading
        #[arg(long)]
        read_only: bool,
    },
}

#[derive(Args)]
pub struct Create {
    #[command(flatten)]
    name: Name,
    /// Give the rights of an administrator
    #[arg(long)]
    admin: bool,
    /// Read the password from the first line of stdin
    #[arg(long)]
    password_stdin: bool,
}

#[derive(Args)]
#[group(required = true, multiple = false)]
struct Name {
    /// E-mail of the new user, who gets a mail to prove it
    #[arg(long)]
    email: Option<String>,
    /// Login name of the new user
    #[arg(long)]
    name: Option<String>,
}

/// Does one command.
pub async fn run(users: &Users, command: Command) -> anyhow::Result<()> {
    match command {
        Command::Create(create) => self::create(users, create).await,
        Command::Verify { user } => {
            let user = named(users, &user).await?;
            ensure!(user.email.is_some(), "{} has no e-mail to verify", user.id);
            let user = users.verify_by_operator(user.id).await.map_err(plain)?;
            output::note(format_args!("{} is verified", user.id));
            Ok(())
        }
        Command::List => list(users).await,
        Command::SetLevel { user, level, read_only } => {
            let user = named(users, &user).await?;
            let change = UserChange { level: Some(level), read_only: Some(read_only), ..UserChange::default() };
            let user = users.change(user.id, &change).await.map_err(plain)?;
            output::note(format_args!("{} is now {}", user.id, level_name(&user)));
            Ok(())
        }
    }
}

async fn create(users: &Users, create: Create) -> anyhow::Result<()> {
    let refused = |option: &'static str| move |reason: String| anyhow!("{option} {reason}");
    let name = match (&create.name.email, &create.name.name) {
        (Some(email), _) => NewName::Email(EmailAddress::parse(email).map_err(refused("--email"))?),
        (None, name) => {
            NewName::Name(LoginName::parse(name.as_deref().unwrap_or_default()).map_err(refused("--name"))?)
        }
    };
    let password = if create.password_stdin {
        Some(Password::new(first_line_of_stdin(Password::LONGEST, "password")?))
    } else {
        None
    };
    let level = if create.admin { AccessLevel::Admin } else { AccessLevel::Authorized };
    let (user, activation) = users.create(NewUser { name, level, read_only: false, password }).await.map_err(plain)?;
    output::note(format_args!("made {} ({})", user.id, level_name(&user)));
    if user.email.is_some() {
        output::note("a mail that asks for the proof of the e-mail is queued; `admin user verify` does without");
    }
    if let Some(password) = activation {
        output::note(format_args!("to be exchanged within 7 days: PUT /users/{}/activation", user.id));
        output::line(format_args!("activation password: {}", password.expose()))
            .with_context(|| format!("nobody has read the activation password of {}: make another user", user.id))?;
    }
    Ok(())
}

async fn list(users: &Users) -> anyhow::Result<()> {
    output::line(format_args!("{:<41}  {:<10}  {:<22}  {:<24}  NAME", "ID", "LEVEL", "STATE", "CREATED"))?;
    let mut next = Some(Place::BEGINNING);
    while let Some(place) = next {
        let page = users.page(&Search::default(), Way::After(place), PAGE).await.map_err(plain)?;
        for user in &page.users {
            let state = match user.state() {
                State::WaitingForActivation => "waiting_for_activation",
                State::Active => "active",
                State::Blocked => "blocked",
            };
            let name = user.email.clone().or_else(|| user.login_name.clone()).unwrap_or_default();
            let created = Timestamp(user.created_at);
            let (id, level) = (user.id.to_string(), level_name(user));
            output::line(format_args!("{id:<41}  {level:<10}  {state:<22}  {created:<24}  {name}"))?;
        }
        next = page.newer;
    }
    Ok(())
}

async fn named(users: &Users, text: &str) -> anyhow::Result<User> {
    users.find_named(&Login::parse(text)).await.map_err(plain)?.with_context(|| format!("there is no user {text:?}"))
}

fn level_name(user: &User) -> &'static str {
    match (user.access_level, user.read_only) {
        (AccessLevel::Admin, false) => "admin",
        (AccessLevel::Admin, true) => "admin-ro",
        (AccessLevel::Authorized, false) => "authorized",
        (AccessLevel::Authorized, true) => "read-only",
    }
}
