//! A service calls only services to its right, so there is never a circle.
//!
//! Precisely: outside its doors, a room may name of a room to its **left** only types that are values (`UserId`, `User`,
//! `EmailAddress`, …): not the service, which bears the name of the room (`users` → `Users`), and no function, module or
//! constant. From rooms to its right, and from the plumbing, it may take anything that is public. A door (`http.rs`,
//! `grpc.rs`, `layer.rs`) may call every service. The list of rooms is in `sources.rs`.

use super::sources::{ROOMS, Source};
use super::{holds, judge};

fn order(source: &Source) -> Vec<String> {
    let Some(own) = source.room().filter(|_| !source.is_room_door()) else { return Vec::new() };
    let rank = |room: &str| ROOMS.iter().position(|known| *known == room);
    let is_broken = |path: &Vec<String>| match path.as_slice() {
        [room, .., last] if rank(room).is_some() && rank(room) < rank(own) => !is_value(room, last),
        [room] => rank(room).is_some() && rank(room) < rank(own),
        _ => false,
    };
    let paths = paths(source.code());
    paths.into_iter().filter(is_broken).map(|path| format!("crate::{} is to the left", path.join("::"))).collect()
}

/// A type that is not the room's service.
fn is_value(room: &str, name: &str) -> bool {
    let service: String = room.split('_').map(|word| format!("{}{}", word[..1].to_uppercase(), &word[1..])).collect();
    name.starts_with(|first: char| first.is_ascii_uppercase())
        && name != service
        && name.contains(|letter: char| letter.is_ascii_lowercase())
}

/// Every path that begins with `crate::`, trees taken apart; each ends at its first type or at its last name.
fn paths(code: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for (at, start) in code.match_indices("crate::") {
        let rest = &code[at + start.len()..];
        branch(rest, &[], &mut found);
    }
    for path in &mut found {
        if let Some(end) = path.iter().position(|name| name.starts_with(|first: char| first.is_ascii_uppercase())) {
            path.truncate(end + 1);
        }
    }
    found
}

/// Reads one branch of a tree; answers what follows it.
fn branch<'a>(text: &'a str, trunk: &[String], found: &mut Vec<Vec<String>>) -> &'a str {
    let text = text.trim_start();
    if let Some(mut rest) = text.strip_prefix('{') {
        loop {
            rest = branch(rest, trunk, found).trim_start();
            match rest.strip_prefix(',') {
                Some(next) if !next.trim_start().starts_with('}') => rest = next,
                _ => break,
            }
        }
        return rest.split_once('}').map_or("", |(_, after)| after);
    }
    let end = text.find(|character: char| !character.is_alphanumeric() && character != '_').unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    let mut path = trunk.to_vec();
    if name != "self" && !name.is_empty() {
        path.push(name.to_owned());
    }
    match rest.strip_prefix("::") {
        Some(next) if next.starts_with(|first: char| first.is_alphabetic() || first == '{' || first == '_') => {
            branch(next, &path, found)
        }
        _ => {
            found.push(path);
            rest
        }
    }
}

#[test]
fn a_service_calls_only_services_to_its_right() {
    holds(order);
    for (path, snippet, broken) in [
        ("tokens/service.rs", "use crate::users::Users;", 1),
        ("tokens/service.rs", "use crate::users::{User, UserId};", 0),
        ("tokens/service.rs", "use crate::{clock::Clock, users::{UserId, Users}};", 1),
        ("tokens/service.rs", "use crate::users::password::check;", 1),
        ("tokens/service.rs", "use crate::users;", 1),
        ("tokens/service.rs", "let limit = crate::users::LONGEST;", 1),
        ("tokens/service.rs", "crate::auth::Auth::new(x)", 1),
        ("tokens/service.rs", "use crate::signing_keys::{self, SigningKeys};", 0),
        ("events/store.rs", "use crate::client_keys::ClientKeys;", 1),
        ("events/writer.rs", "use crate::mail::Mail;", 1),
        ("mail/courier.rs", "use crate::verification::{\n    Purpose,\n    Verification,\n};", 1),
        ("users/service.rs", "use crate::tokens::Tokens; use crate::mail::{Letter, Mail};", 0),
        ("users/http.rs", "use crate::auth::Auth;", 0),
        ("sweeper.rs", "use crate::users::Users;", 0),
    ] {
        assert_eq!(judge(order, path, snippet), broken, "{path}: {snippet}");
    }
}
