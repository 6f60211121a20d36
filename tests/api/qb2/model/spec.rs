//! What may happen to an account, and to whom the doors say what: decisions.md sections 1 and 4 and qb2-account-service.md
//! section 4 once more, without a server. This is the specification; where the service differs, one of both is wrong.

use bloq_accounts::error::Code;
use bloq_accounts::tokens::Level;
use bloq_accounts::users::{AccessLevel, BlockCause, State};
use chrono::{DateTime, Days, NaiveTime, SubsecRound, TimeDelta, Utc};

/// Wrong passwords that an account without an e-mail takes before it blocks itself.
pub const MOST_FAILURES: u32 = 2;

/// A door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    Rest,
    Qb2,
}

/// What somebody types for a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Typed {
    Right,
    Wrong,
}

/// What an administrator changes about somebody.
#[derive(Clone, Copy, Debug)]
pub enum What {
    Name(&'static str),
    Level(AccessLevel),
    ReadOnly(bool),
    State(State),
    Failures(u32),
}

/// How much time passes.
#[derive(Clone, Copy, Debug)]
pub enum Pause {
    Minutes,
    UntilMidnight,
    TwoDays,
    Week,
}

/// What somebody does. `by` does it with the newest token of that door, `whom` and `key` are those that it is done to: their
/// numbers, in the order in which they were made, deleted ones as well.
#[derive(Clone, Copy, Debug)]
pub enum Act {
    Create {
        by: usize,
        at: Door,
        name: &'static str,
        level: AccessLevel,
        read_only: bool,
    },
    SignUp,
    Prove {
        whom: usize,
    },
    LogIn {
        whom: usize,
        at: Door,
        typed: Typed,
    },
    LogInByKey {
        key: usize,
    },
    LogOut {
        by: usize,
    },
    /// The activation of REST; at the other door it is a log-in and a change of password.
    Activate {
        whom: usize,
        typed: Typed,
    },
    ChangePassword {
        by: usize,
        at: Door,
        typed: Typed,
    },
    Change {
        by: usize,
        at: Door,
        whom: usize,
        what: What,
    },
    /// Of the own name, for which there is one door.
    Rename {
        by: usize,
        name: &'static str,
    },
    Block {
        by: usize,
        at: Door,
        whom: usize,
    },
    Reset {
        by: usize,
        at: Door,
        whom: usize,
    },
    /// `admin user reset`
    ResetByOperator {
        whom: usize,
    },
    Delete {
        by: usize,
        at: Door,
        whom: usize,
    },
    Leave {
        by: usize,
        typed: Typed,
    },
    CreateKey {
        by: usize,
        whom: Option<usize>,
        level: AccessLevel,
        read_only: bool,
    },
    DeleteKey {
        by: usize,
        key: usize,
    },
    Invalidate {
        by: usize,
    },
    Wait(Pause),
}

impl Act {
    /// Who does it, and at which door, where that takes a token.
    pub fn actor(&self) -> Option<(usize, Door)> {
        match *self {
            Self::Create { by, at, .. }
            | Self::ChangePassword { by, at, .. }
            | Self::Change { by, at, .. }
            | Self::Block { by, at, .. }
            | Self::Reset { by, at, .. }
            | Self::Delete { by, at, .. } => Some((by, at)),
            Self::LogOut { by } | Self::Leave { by, .. } => Some((by, Door::Rest)),
            Self::Rename { by, .. }
            | Self::CreateKey { by, .. }
            | Self::DeleteKey { by, .. }
            | Self::Invalidate { by } => Some((by, Door::Qb2)),
            _ => None,
        }
    }
}

/// Everything that there is.
#[derive(Debug)]
pub struct World {
    pub now: DateTime<Utc>,
    pub people: Vec<Somebody>,
    pub tokens: Vec<Token>,
    pub keys: Vec<Key>,
    session: u32,
    passwords: u32,
}

/// Somebody with an account, or who had one.
#[derive(Clone, Debug)]
pub struct Somebody {
    pub name: Option<String>,
    pub email: Option<String>,
    pub level: AccessLevel,
    pub read_only: bool,
    pub failures: u32,
    pub is_gone: bool,
    is_proved: bool,
    activation_ends: Option<DateTime<Utc>>,
    block: Option<BlockCause>,
    born: DateTime<Utc>,
    // What only the server knows before it is told.
    pub uuid: String,
    pub password: String,
    pub proof: String,
}

/// A token that was given to somebody.
#[derive(Clone, Debug)]
pub struct Token {
    pub whose: usize,
    pub door: Door,
    by_key: Option<usize>,
    /// It was got with an activation password.
    is_public: bool,
    session: u32,
    ends: DateTime<Utc>,
    is_dead: bool,
    pub text: String,
}

/// An application key.
#[derive(Clone, Debug)]
pub struct Key {
    whose: usize,
    level: AccessLevel,
    read_only: bool,
    is_gone: bool,
    pub id: String,
    pub secret: String,
}

/// What comes of an act.
pub type Outcome<T = ()> = Result<T, Code>;

impl Somebody {
    fn new(now: DateTime<Utc>, name: Option<&str>) -> Self {
        Self {
            name: name.map(str::to_owned),
            email: None,
            level: AccessLevel::Authorized,
            read_only: false,
            failures: 0,
            is_gone: false,
            is_proved: false,
            activation_ends: None,
            block: None,
            born: now,
            uuid: String::new(),
            password: String::new(),
            proof: String::new(),
        }
    }

    /// Derived from the facts; a block wins.
    pub fn state(&self) -> State {
        match self.block {
            Some(_) => State::Blocked,
            None if self.activation_ends.is_some() || !self.has_no_email_to_prove() => State::WaitingForActivation,
            None => State::Active,
        }
    }

    fn has_no_email_to_prove(&self) -> bool {
        self.email.is_none() || self.is_proved
    }

    /// Whether there is an e-mail to prove.
    pub fn is_unproved(&self) -> bool {
        !self.has_no_email_to_prove()
    }

    fn is_active_admin(&self) -> bool {
        !self.is_gone && self.level == AccessLevel::Admin && !self.read_only && self.state() == State::Active
    }
}

impl World {
    /// A world of these administrators, who are active.
    pub fn new(now: DateTime<Utc>, administrators: &[&str]) -> Self {
        let people = administrators
            .iter()
            .map(|name| Somebody { level: AccessLevel::Admin, ..Somebody::new(now, Some(name)) })
            .collect();
        Self { now, people, tokens: Vec::new(), keys: Vec::new(), session: 0, passwords: 0 }
    }

    /// What the next new password is.
    pub fn next_password(&self) -> String {
        format!("Analytical Engine {}", 1843 + self.passwords)
    }

    /// The token that somebody has for a door.
    pub fn newest(&self, whose: usize, door: Door) -> Option<usize> {
        self.tokens.iter().rposition(|token| token.whose == whose && token.door == door)
    }

    /// Whether a token is taken at its door.
    pub fn judge(&self, token: usize) -> Outcome {
        let token = &self.tokens[token];
        let owner = &self.people[token.whose];
        if token.ends <= self.now {
            return Err(Code::TokenExpired);
        }
        if token.is_dead || (token.door == Door::Qb2 && token.session != self.session) {
            return Err(Code::TokenInvalid);
        }
        // A block by failures bars log-in by password and nothing else.
        if owner.block == Some(BlockCause::Admin) { Err(Code::UserBlocked) } else { Ok(()) }
    }

    /// What a token allows at this moment: never more than account and key do.
    pub fn rights(&self, token: usize) -> (Level, bool) {
        let token = &self.tokens[token];
        let (owner, key) = (&self.people[token.whose], token.by_key.map(|key| &self.keys[key]));
        let level = Level::from(owner.level).min(key.map_or(Level::Admin, |key| key.level.into()));
        let read_only = owner.read_only || key.is_some_and(|key| key.read_only);
        (if token.is_public { Level::Public } else { level }, read_only)
    }

    /// The token with which somebody does something, and its rights.
    fn caller(&self, whose: usize, door: Door) -> Outcome<(usize, Level, bool)> {
        let token = self.newest(whose, door).ok_or(Code::Unauthorized)?;
        self.judge(token)?;
        let (level, read_only) = self.rights(token);
        Ok((token, level, read_only))
    }

    fn member(&self, whose: usize, door: Door) -> Outcome<(usize, Level, bool)> {
        self.caller(whose, door)
            .and_then(|caller| if caller.1 > Level::Public { Ok(caller) } else { Err(Code::Forbidden) })
    }

    fn administrator(&self, whose: usize, door: Door) -> Outcome {
        match self.caller(whose, door)? {
            (_, Level::Admin, false) => Ok(()),
            _ => Err(Code::Forbidden),
        }
    }

    fn existing(&self, whom: usize) -> Outcome {
        if self.people[whom].is_gone { Err(Code::NotFound) } else { Ok(()) }
    }

    fn is_other_active_admin(&self, whom: usize) -> bool {
        self.people.iter().enumerate().any(|(number, other)| number != whom && other.is_active_admin())
    }

    /// There is always an active administrator.
    fn refuse_last_admin(&self, whom: usize) -> Outcome {
        let is_last = self.people[whom].is_active_admin() && !self.is_other_active_admin(whom);
        if is_last { Err(Code::LastAdmin) } else { Ok(()) }
    }

    fn refuse_taken(&self, name: &str, by: Option<usize>) -> Outcome {
        let has_it =
            |other: &Somebody| !other.is_gone && other.name.as_ref().is_some_and(|it| it.eq_ignore_ascii_case(name));
        let is_taken = self.people.iter().enumerate().any(|(number, other)| Some(number) != by && has_it(other));
        if is_taken { Err(Code::NameTaken) } else { Ok(()) }
    }

    fn end_tokens(&mut self, whose: usize, but: Option<usize>) {
        for (number, token) in self.tokens.iter_mut().enumerate() {
            token.is_dead |= token.whose == whose && Some(number) != but;
        }
    }

    fn issue(&mut self, whose: usize, door: Door, by_key: Option<usize>, is_public: bool) {
        let midnight = self.now.date_naive().and_time(NaiveTime::MIN).and_utc() + Days::new(1);
        // A JWT counts in whole seconds (RFC 7519).
        let ends = if door == Door::Qb2 { midnight } else { self.now.trunc_subsecs(0) + TimeDelta::hours(12) };
        let (session, is_dead, text) = (self.session, false, String::new());
        self.tokens.push(Token { whose, door, by_key, is_public, session, ends, is_dead, text });
    }

    /// A wrong password of somebody.
    fn fail(&mut self, whom: usize) -> Code {
        let is_spared = self.people[whom].level == AccessLevel::Admin && !self.is_other_active_admin(whom);
        let person = &mut self.people[whom];
        if person.email.is_none() && !person.is_gone {
            person.failures += 1;
            if person.failures > MOST_FAILURES && person.block.is_none() && !is_spared {
                person.block = Some(BlockCause::Failures);
            }
        }
        Code::InvalidCredentials
    }

    fn set_password(&mut self, whom: usize, keep: Option<usize>) {
        self.end_tokens(whom, keep);
        let password = self.next_password();
        self.passwords += 1;
        let person = &mut self.people[whom];
        (person.password, person.activation_ends, person.failures) = (password, None, 0);
    }

    fn reset(&mut self, whom: usize) {
        self.end_tokens(whom, None);
        let now = self.now;
        let person = &mut self.people[whom];
        (person.activation_ends, person.block, person.failures) = (Some(now + TimeDelta::days(7)), None, 0);
    }

    fn erase(&mut self, whom: usize) {
        self.end_tokens(whom, None);
        self.people[whom].is_gone = true;
        self.keys.iter_mut().filter(|key| key.whose == whom).for_each(|key| key.is_gone = true);
    }

    fn change(&mut self, whom: usize, what: What) -> Outcome {
        let mut after = self.people[whom].clone();
        match what {
            What::Name(name) => after.name = Some(name.to_owned()),
            What::Level(level) => after.level = level,
            What::ReadOnly(read_only) => after.read_only = read_only,
            What::Failures(failures) => after.failures = failures,
            What::State(state) if state == after.state() => {}
            What::State(State::Blocked) => after.block = Some(BlockCause::Admin),
            What::State(state) => {
                (after.block, after.failures) = (None, 0);
                // Nobody but the owner activates an account, and only a reset takes it back.
                if state != State::Active || after.state() != State::Active {
                    return Err(Code::InvalidState);
                }
            }
        }
        if !after.is_active_admin() {
            self.refuse_last_admin(whom)?;
        }
        if let What::Name(name) = what {
            self.refuse_taken(name, Some(whom))?;
        }
        self.people[whom] = after;
        Ok(())
    }

    /// Whether something is a change at all: what was shown may come back.
    fn is_news(&self, whom: usize, what: What) -> bool {
        let person = &self.people[whom];
        match what {
            What::Name(name) => person.name.as_deref() != Some(name),
            What::Level(level) => person.level != level,
            What::ReadOnly(read_only) => person.read_only != read_only,
            What::State(state) => person.state() != state,
            What::Failures(failures) => person.failures != failures,
        }
    }

    /// Whether a change is allowed at the gRPC door, which lets administrators store, and read-only ones their own name.
    fn may_store(&self, by: usize, whom: usize, what: What) -> Outcome<bool> {
        let (_, level, read_only) = self.member(by, Door::Qb2)?;
        if level < Level::Admin || (read_only && by != whom) {
            return Err(Code::Forbidden);
        }
        self.existing(whom)?;
        match what {
            What::Name(_) => Ok(true),
            _ if !read_only || !self.is_news(whom, what) => Ok(!read_only),
            // The wire cannot tell this from a flag that was left out.
            What::ReadOnly(false) => Ok(false),
            _ => Err(Code::Forbidden),
        }
    }

    /// Does something, and says what comes of it.
    pub fn act(&mut self, act: Act) -> Outcome {
        match act {
            Act::Create { by, at, name, level, read_only } => {
                self.administrator(by, at)?;
                self.refuse_taken(name, None)?;
                let activation_ends = Some(self.now + TimeDelta::days(7));
                let new = Somebody { level, read_only, activation_ends, ..Somebody::new(self.now, Some(name)) };
                self.people.push(new);
            }
            Act::SignUp => {
                let email = Some(format!("person-{}@example.com", self.people.len()));
                self.people.push(Somebody { email, ..Somebody::new(self.now, None) });
                let (last, password) = (self.people.len() - 1, self.next_password());
                self.passwords += 1;
                self.people[last].password = password;
            }
            Act::Prove { whom } => {
                let now = self.now;
                let person = &mut self.people[whom];
                if person.is_gone || person.born + TimeDelta::hours(48) <= now {
                    return Err(Code::InvalidToken);
                }
                person.is_proved = true;
            }
            Act::LogIn { whom, at, typed } => return self.log_in(whom, at, typed),
            Act::LogInByKey { key } => {
                let Key { whose, is_gone, .. } = self.keys[key];
                let owner = &self.people[whose];
                if is_gone {
                    return Err(Code::NotFound);
                }
                if owner.block == Some(BlockCause::Admin) {
                    return Err(Code::UserBlocked);
                }
                if owner.activation_ends.is_some() || owner.is_unproved() {
                    return Err(Code::ActivationRequired);
                }
                self.issue(whose, Door::Qb2, Some(key), false);
            }
            Act::LogOut { by } => {
                let (token, ..) = self.caller(by, Door::Rest)?;
                self.tokens[token].is_dead = true;
            }
            Act::Activate { whom, typed } => {
                let now = self.now;
                let person = &self.people[whom];
                if person.is_gone || typed == Typed::Wrong {
                    return Err(self.fail(whom));
                }
                if person.activation_ends.is_none_or(|end| end <= now) {
                    return Err(Code::InvalidCredentials);
                }
                if person.state() == State::Blocked {
                    return Err(Code::UserBlocked);
                }
                self.set_password(whom, None);
            }
            Act::ChangePassword { by, at, typed } => {
                let (token, level, _) = self.caller(by, at)?;
                if level == Level::Public && self.people[by].state() == State::Blocked {
                    return Err(Code::UserBlocked);
                }
                let is_over = self.people[by].activation_ends.is_some_and(|end| end <= self.now);
                if typed == Typed::Wrong || is_over {
                    return Err(Code::InvalidPassword);
                }
                // A token that was got with an activation password has done its work.
                self.set_password(by, (level > Level::Public).then_some(token));
            }
            Act::Change { by, at: Door::Rest, whom, what } => {
                self.administrator(by, Door::Rest)?;
                self.existing(whom)?;
                self.change(whom, what)?;
            }
            Act::Change { by, at: Door::Qb2, whom, what } => {
                if self.may_store(by, whom, what)? {
                    self.change(whom, what)?;
                }
            }
            Act::Rename { by, name } => {
                self.member(by, Door::Qb2)?;
                self.change(by, What::Name(name))?;
            }
            Act::Block { by, at, whom } => {
                self.administrator(by, at)?;
                self.existing(whom)?;
                self.refuse_last_admin(whom)?;
                self.people[whom].block = Some(BlockCause::Admin);
            }
            Act::Reset { by, at, whom } => {
                self.administrator(by, at)?;
                self.existing(whom)?;
                self.refuse_last_admin(whom)?;
                self.reset(whom);
            }
            Act::ResetByOperator { whom } => {
                self.existing(whom)?;
                self.reset(whom);
            }
            Act::Delete { by, at, whom } => {
                self.administrator(by, at)?;
                self.existing(whom)?;
                self.refuse_last_admin(whom)?;
                self.erase(whom);
            }
            Act::Leave { by, typed } => {
                let (_, _, read_only) = self.caller(by, Door::Rest)?;
                if read_only {
                    return Err(Code::Forbidden);
                }
                if typed == Typed::Wrong {
                    return Err(Code::InvalidPassword);
                }
                self.refuse_last_admin(by)?;
                self.erase(by);
            }
            Act::CreateKey { by, whom, level, read_only } => {
                let (_, own_level, own_read_only) = self.member(by, Door::Qb2)?;
                let is_above = own_level < Level::Admin && (level == AccessLevel::Admin || whom.is_some());
                if is_above || (own_read_only && whom.is_some_and(|whom| whom != by)) {
                    return Err(Code::Forbidden);
                }
                let whose = whom.unwrap_or(by);
                self.existing(whose)?;
                let (id, secret) = (String::new(), String::new());
                let read_only = read_only || own_read_only;
                self.keys.push(Key { whose, level, read_only, is_gone: false, id, secret });
            }
            Act::DeleteKey { by, key } => {
                let (_, level, read_only) = self.member(by, Door::Qb2)?;
                let is_anybodys = level == Level::Admin && !read_only;
                if self.keys[key].is_gone || (self.keys[key].whose != by && !is_anybodys) {
                    return Err(Code::NotFound);
                }
                self.keys[key].is_gone = true;
                self.tokens.iter_mut().filter(|token| token.by_key == Some(key)).for_each(|token| token.is_dead = true);
            }
            Act::Invalidate { by } => {
                self.administrator(by, Door::Qb2)?;
                self.session += 1;
            }
            Act::Wait(pause) => self.wait(pause),
        }
        Ok(())
    }

    fn log_in(&mut self, whom: usize, at: Door, typed: Typed) -> Outcome {
        let (now, person) = (self.now, &mut self.people[whom]);
        if person.is_gone || typed == Typed::Wrong {
            return Err(self.fail(whom));
        }
        match (person.state(), person.activation_ends) {
            (State::Blocked, _) => return Err(Code::UserBlocked),
            (_, Some(end)) if end <= now => return Err(Code::InvalidCredentials),
            (_, Some(_)) if at == Door::Rest => return Err(Code::ActivationRequired),
            (_, Some(_)) => self.issue(whom, at, None, true),
            (State::WaitingForActivation, None) => return Err(Code::InvalidCredentials),
            (State::Active, None) => {
                person.failures = 0;
                self.issue(whom, at, None, false);
            }
        }
        Ok(())
    }

    fn wait(&mut self, pause: Pause) {
        let midnight = self.now.date_naive().and_time(NaiveTime::MIN).and_utc() + Days::new(1);
        self.now = match pause {
            Pause::Minutes => self.now + TimeDelta::minutes(10),
            Pause::UntilMidnight => midnight,
            Pause::TwoDays => self.now + TimeDelta::days(2),
            Pause::Week => self.now + TimeDelta::days(7),
        };
        // A sign-up that nobody proves, blocks or resets dies by itself.
        let is_forgotten = |person: &Somebody| {
            person.is_unproved() && person.state() == State::WaitingForActivation && person.activation_ends.is_none()
        };
        for number in 0..self.people.len() {
            let person = &self.people[number];
            if is_forgotten(person) && person.born + TimeDelta::hours(48) <= self.now {
                self.erase(number);
            }
        }
    }
}
