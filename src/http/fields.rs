//! A JSON object taken apart field by field, so that a refusal lists every bad field at once.
//!
//! A derived deserializer stops at the first mistake; people who fill in a form want to hear of all of them.

use serde_json::{Map, Value};

use crate::change::Change;
use crate::error::{Error, Problem};
use crate::users::password::Password;

/// The fields of a JSON object that nobody has asked for yet, and what was wrong with those that somebody did.
#[derive(Default)]
pub struct Fields {
    values: Map<String, Value>,
    prefix: String,
    problems: Vec<Problem>,
}

impl Fields {
    /// All fields of this object.
    pub fn new(values: Map<String, Value>) -> Self {
        Self { values, ..Self::default() }
    }

    /// A text that must be there, read by `parse`.
    pub fn required<T>(&mut self, name: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        if !self.values.contains_key(name) {
            self.note(name, Err("is required".into()));
        }
        self.take(name, parse)
    }

    /// A text that may be missing or null, read by `parse`.
    pub fn optional<T>(&mut self, name: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        if self.values.get(name).is_some_and(Value::is_null) {
            self.values.remove(name);
        }
        self.take(name, parse)
    }

    /// What a JSON merge patch says of a member that is a text, read by `parse`.
    pub fn change<T>(&mut self, name: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Change<T> {
        match self.values.get(name) {
            None => Change::Keep,
            Some(Value::Null) => {
                self.values.remove(name);
                Change::Remove
            }
            // What could not be read is noted, and the request refused for it.
            Some(_) => self.take(name, parse).map_or(Change::Keep, Change::Set),
        }
    }

    /// The same of a member that is true or false.
    pub fn change_flag(&mut self, name: &str) -> Change<bool> {
        match self.values.remove(name) {
            None => Change::Keep,
            Some(Value::Null) => Change::Remove,
            Some(Value::Bool(flag)) => Change::Set(flag),
            Some(_) => {
                self.note(name, Err("must be true or false".into()));
                Change::Keep
            }
        }
    }

    /// The same of a member that is a whole number, read by `parse`.
    pub fn change_number<T>(&mut self, name: &str, parse: impl FnOnce(i64) -> Result<T, String>) -> Change<T> {
        let parsed = match self.values.remove(name) {
            None => return Change::Keep,
            Some(Value::Null) => return Change::Remove,
            Some(value) => value.as_i64().ok_or_else(|| "must be a whole number".to_owned()).and_then(parse),
        };
        parsed.map_err(|message| self.note(name, Err(message))).map_or(Change::Keep, Change::Set)
    }

    /// What the patch sets a member to that is always there.
    pub fn staying<T>(&mut self, name: &str, change: Change<T>) -> Option<T> {
        match change {
            Change::Keep => None,
            Change::Set(value) => Some(value),
            Change::Remove => {
                self.note(name, Err("cannot be removed".into()));
                None
            }
        }
    }

    /// The same of a member that is an object, whose own members `parse` reads; see [`Fields::object`].
    pub fn change_object<T>(&mut self, name: &str, parse: impl FnOnce(&mut Self) -> T) -> Change<T> {
        match self.values.get(name) {
            None => Change::Keep,
            Some(Value::Null) => {
                self.values.remove(name);
                Change::Remove
            }
            Some(_) => self.object(name, parse).map_or(Change::Keep, Change::Set),
        }
    }

    /// Whether there is such a member that nobody has asked for yet, and it is not null.
    pub fn has(&self, name: &str) -> bool {
        self.values.get(name).is_some_and(|value| !value.is_null())
    }

    /// A password that must be there; what makes a good one is not asked here.
    pub fn password(&mut self, name: &str) -> Option<Password> {
        self.required(name, |text| Ok(Password::new(text)))
    }

    /// An object that may be missing or null, read by `parse`; its problems are named `name.field`.
    pub fn object<T>(&mut self, name: &str, parse: impl FnOnce(&mut Self) -> T) -> Option<T> {
        match self.values.remove(name)? {
            Value::Null => None,
            Value::Object(values) => {
                let prefix = format!("{}{name}.", self.prefix);
                let mut nested = Self { values, prefix, problems: Vec::new() };
                let parsed = parse(&mut nested);
                self.problems.append(&mut nested.all_problems());
                Some(parsed)
            }
            _ => {
                self.note(name, Err("must be an object".into()));
                None
            }
        }
    }

    /// Notes what is wrong with a field, if something is.
    pub fn note(&mut self, name: &str, judged: Result<(), String>) {
        if let Err(message) = judged {
            self.problems.push(Problem::new(format!("{}{name}", self.prefix), message));
        }
    }

    /// Whether every field was asked for and good.
    pub fn is_fine(&self) -> bool {
        self.problems.is_empty() && self.values.is_empty()
    }

    /// The refusal that lists everything.
    pub fn into_error(mut self) -> Error {
        Error::invalid_fields(self.all_problems())
    }

    fn take<T>(&mut self, name: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        let parsed = match self.values.remove(name)? {
            Value::String(text) if text.contains('\0') => Err("must not contain a NUL character".into()),
            Value::String(text) => parse(&text),
            _ => Err("must be a string".into()),
        };
        parsed.map_err(|message| self.note(name, Err(message))).ok()
    }

    fn all_problems(&mut self) -> Vec<Problem> {
        for name in std::mem::take(&mut self.values).into_iter().map(|(name, _)| name) {
            let name: String = name.chars().take(100).collect();
            self.note(&name, Err("is not a field of this request".into()));
        }
        std::mem::take(&mut self.problems)
    }
}
