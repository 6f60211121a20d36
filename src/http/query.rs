//! A query string taken apart parameter by parameter, so that a refusal lists every bad one at once; and put together again,
//! for the neighbours of a page.

use std::fmt::Display;

use axum::http::header::LINK;
use axum::http::{HeaderMap, HeaderValue};

use crate::error::{Error, Problem, Result};

/// The parameters that nobody has asked for yet, and what was wrong with those that somebody did.
pub struct Query {
    all: Vec<(String, String)>,
    asked: Vec<&'static str>,
    problems: Vec<Problem>,
}

impl Query {
    /// Takes the part of the URL behind the question mark.
    pub fn parse(query: Option<&str>) -> Self {
        let all = form_urlencoded::parse(query.unwrap_or_default().as_bytes()).into_owned().collect();
        Self { all, asked: Vec::new(), problems: Vec::new() }
    }

    /// A parameter that may be missing, read by `parse`. Given twice it is refused: nobody could say which one counts.
    pub fn take<T>(&mut self, name: &'static str, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        self.asked.push(name);
        let mut values = self.all.iter().filter(|(known, _)| known == name).map(|(_, value)| value);
        let parsed = match (values.next()?, values.next()) {
            (value, None) => parse(value),
            _ => Err("must be given once".into()),
        };
        parsed.map_err(|message| self.problems.push(Problem::new(name, message))).ok()
    }

    /// All parameters as they were given, if every one was asked for and good.
    pub fn finish(mut self) -> Result<Vec<(String, String)>> {
        for (name, _) in self.all.iter().filter(|(name, _)| !self.asked.contains(&name.as_str())) {
            let name: String = name.chars().take(100).collect();
            self.problems.push(Problem::new(name, "is not a parameter of this request"));
        }
        if self.problems.is_empty() { Ok(self.all) } else { Err(Error::invalid_fields(self.problems)) }
    }
}

/// `Link` (RFC 8288) to the neighbours of a page: the same query with another cursor. Where it has two, the way leads from
/// `after` to `before`, which stays.
pub fn links<T: Display>(path: &str, query: &[(String, String)], older: Option<T>, newer: Option<T>) -> HeaderMap {
    let has = |cursor: &str| query.iter().any(|(name, _)| name == cursor);
    let is_stretch = has("after") && has("before");
    let link = |relation: &str, cursor: &str, place: T| {
        let rest = query.iter().filter(|(name, _)| name != "after" && (name != "before" || is_stretch));
        let mut pairs = form_urlencoded::Serializer::new(String::new());
        pairs.extend_pairs(rest).append_pair(cursor, &place.to_string());
        format!("<{path}?{}>; rel=\"{relation}\"", pairs.finish())
    };
    let older = older.map(|place| link("prev", "before", place));
    let newer = newer.map(|place| link("next", "after", place));
    let links: Vec<String> = older.into_iter().chain(newer).collect();
    let value = HeaderValue::try_from(links.join(", ")).ok().filter(|value| !value.is_empty());
    value.into_iter().map(|value| (LINK, value)).collect()
}
