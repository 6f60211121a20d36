//! `admin user …`

use anyhow::{Context, anyhow, ensure};
use clap::{Args, Subcommand};
use serde_json::Value;

use super::{PAGE, first_line_of_stdin, plain};
use crate::cli::output;
use crate::clock::Timestamp;
use crate::origin::Origin;
use crate::users::http::{InvitedView, UserView};
use crate::users::password::Password;
use crate::users::{
    AccessLevel, By, EmailAddress, Login, LoginName, NewName, NewUser, Place, Search, SearchText, State, User,
    UserChange, Users, Way,
};

#[derive(Subcommand)]
pub enum Command {
    /// Make a user; without --password-stdin an activation password is printed
    Create(Create),
    /// Take the e-mail of a user as proved
    Verify(Shown),
    /// List users, oldest first
    List(List),
    /// Show all there is to know of a user
    Show(Shown),
    /// Give or take rights
    SetLevel {
        #[command(flatten)]
        user: Shown,
        /// The new level
        #[arg(value_enum)]
        level: AccessLevel,
        /// Allow only reading, or with =false more than that; if not given, what was allowed stays
        #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
        read_only: Option<bool>,
    },
    /// Block a user, with everything that the password, tokens and client keys open
    Block(Shown),
    /// Let a user start over with an activation password, which is printed; lifts a block
    Reset(Shown),
    /// Delete a user, with everything that belongs to it
    Delete(Shown),
}

#[derive(Args)]
pub struct Shown {
    /// User id, e-mail or login name
    user: String,
    /// Print the user as JSON, as the REST API shows it
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub struct List {
    /// Only users whose e-mail, login name, display name or id holds this text
    #[arg(long, value_name = "TEXT")]
    search: Option<String>,
    /// Only users with this level
    #[arg(long, value_enum)]
    level: Option<AccessLevel>,
    /// Only users in this state
    #[arg(long, value_enum)]
    state: Option<State>,
    /// Only users who may only read, or with =false only the others
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    read_only: Option<bool>,
    /// Print a JSON array of users, as the REST API shows them
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub struct Create {
    #[command(flatten)]
    name: Name,
    /// Give the rights of an administrator
    #[arg(long)]
    admin: bool,
    /// Allow only reading
    #[arg(long)]
    read_only: bool,
    /// Read the password from the first line of stdin
    #[arg(long)]
    password_stdin: bool,
    /// Print the user as JSON, as the REST API shows it
    #[arg(long)]
    json: bool,
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
        Command::Verify(shown) => {
            let user = named(users, &shown.user).await?;
            ensure!(user.email.is_some(), "{} has no e-mail to verify", user.id);
            let user = users.verify_by_operator(user.id).await.map_err(plain)?;
            output::note(format_args!("{} is verified", user.id));
            shown.answer(&user)
        }
        Command::List(list) => self::list(users, list).await,
        Command::Show(shown) => {
            let user = named(users, &shown.user).await?;
            if shown.json { output::json(&UserView::from(&user)) } else { show(&user) }
        }
        Command::SetLevel { user: shown, level, read_only } => {
            let user = named(users, &shown.user).await?;
            let change = UserChange { level: Some(level), read_only, ..UserChange::default() };
            let user = users.change(user.id, &change, By::Operator).await.map_err(plain)?;
            output::note(format_args!("{} is now {}", user.id, level_name(&user)));
            shown.answer(&user)
        }
        Command::Block(shown) => {
            let user = named(users, &shown.user).await?;
            let user = users.block(user.id, By::Operator).await.map_err(plain)?;
            output::note(format_args!("{} is blocked", user.id));
            shown.answer(&user)
        }
        Command::Reset(shown) => {
            let user = named(users, &shown.user).await?;
            let (user, activation) = users.reset(user.id, By::Operator).await.map_err(plain)?;
            output::note(format_args!("reset {}", user.id));
            hand_over(&user, Some(&activation), shown.json, "reset it once more")
        }
        Command::Delete(shown) => {
            let user = named(users, &shown.user).await?;
            users.remove(user.id, By::Operator, &Origin::default()).await.map_err(plain)?;
            output::note(format_args!("deleted {}", user.id));
            shown.answer(&user)
        }
    }
}

/// The user whom an operator names.
pub(super) async fn named(users: &Users, name: &str) -> anyhow::Result<User> {
    let found = users.find_named(&Login::parse(name)).await.map_err(plain)?;
    found.with_context(|| format!("there is no user {name:?}"))
}

impl Shown {
    /// Prints the user if that was asked for.
    fn answer(&self, user: &User) -> anyhow::Result<()> {
        if self.json { output::json(&UserView::from(user)) } else { Ok(()) }
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
    let new = NewUser { name, level, read_only: create.read_only, password };
    let (user, activation) = users.create(new, By::Operator).await.map_err(plain)?;
    output::note(format_args!("made {} ({})", user.id, level_name(&user)));
    if user.email.is_some() {
        output::note("a mail that asks for the proof of the e-mail is queued; `admin user verify` does without");
    }
    hand_over(&user, activation.as_ref(), create.json, "make another user")
}

/// Prints what the user has to be given; who did not read it can do something else.
fn hand_over(user: &User, activation: Option<&Password>, as_json: bool, otherwise: &str) -> anyhow::Result<()> {
    let view = InvitedView::new(user, activation);
    let Some(password) = activation else { return if as_json { output::json(&view) } else { Ok(()) } };
    output::note(format_args!("to be exchanged within 7 days: PUT /users/{}/activation", user.id));
    let printed = if as_json {
        output::json(&view)
    } else {
        output::line(format_args!("activation password: {}", password.expose()))
    };
    printed.with_context(|| format!("nobody has read the activation password of {}: {otherwise}", user.id))
}

/// A line for each field, under the names of the REST API.
fn show(user: &User) -> anyhow::Result<()> {
    let Value::Object(fields) = serde_json::to_value(UserView::from(user))? else { return Ok(()) };
    for (name, value) in &fields {
        match value {
            Value::Null => output::line(format_args!("{name:<22}-"))?,
            Value::String(text) => output::line(format_args!("{name:<22}{text}"))?,
            value => output::line(format_args!("{name:<22}{value}"))?,
        }
    }
    Ok(())
}

async fn list(users: &Users, list: List) -> anyhow::Result<()> {
    let text = list.search.as_deref().map(SearchText::parse).transpose();
    let text = text.map_err(|reason| anyhow!("--search {reason}"))?;
    let search = Search { text, level: list.level, state: list.state, read_only: list.read_only };
    if !list.json {
        output::line(format_args!("{:<41}  {:<10}  {:<22}  {:<24}  NAME", "ID", "LEVEL", "STATE", "CREATED"))?;
    }
    let (mut next, mut array) = (Some(Place::BEGINNING), output::Array::default());
    while let Some(place) = next {
        let page = users.page(&search, Way::After(place), PAGE).await.map_err(plain)?;
        for user in &page.users {
            if list.json {
                array.push(&UserView::from(user))?;
            } else {
                let name = user.email.clone().or_else(|| user.login_name.clone()).unwrap_or_default();
                let (created, state) = (Timestamp(user.created_at), user.state().word());
                let (id, level) = (user.id.to_string(), level_name(user));
                output::line(format_args!("{id:<41}  {level:<10}  {state:<22}  {created:<24}  {name}"))?;
            }
        }
        next = page.newer;
    }
    if list.json { array.end() } else { Ok(()) }
}

fn level_name(user: &User) -> &'static str {
    match (user.access_level, user.read_only) {
        (AccessLevel::Admin, false) => "admin",
        (AccessLevel::Admin, true) => "admin-ro",
        (AccessLevel::Authorized, false) => "authorized",
        (AccessLevel::Authorized, true) => "read-only",
    }
}
