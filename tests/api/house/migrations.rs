//! Every constraint has a name of ours: names are what code and operators see when one is violated.

use std::path::Path;

/// The constraints of a migration that have no name, each with the words around it.
fn unnamed(sql: &str) -> Vec<String> {
    let text: String =
        sql.lines().map(|line| line.split("--").next().unwrap_or_default()).collect::<Vec<_>>().join("\n");
    let text = text.to_lowercase().replace('(', " ( ").replace(')', " ) ").replace(',', " , ");
    let words: Vec<&str> = text.split_whitespace().collect();
    let word = |at: Option<usize>| at.and_then(|at| words.get(at)).copied().unwrap_or_default();
    let mut unnamed = Vec::new();
    for (at, name) in words.iter().enumerate() {
        let (before, next) = (at.checked_sub(1), word(Some(at + 1)));
        let is_constraint = match *name {
            "primary" | "foreign" => next == "key",
            "check" | "exclude" => true,
            "unique" => word(before) != "create",
            // The references of a table's foreign key are part of it.
            "references" => word(before) != ")",
            _ => false,
        };
        let is_named = at.checked_sub(2).is_some_and(|at| words[at] == "constraint");
        if is_constraint && !is_named {
            unnamed.push(words[at.saturating_sub(4)..words.len().min(at + 3)].join(" "));
        }
    }
    unnamed
}

#[test]
fn every_constraint_has_a_name() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
    let files = std::fs::read_dir(folder).expect("the migrations").map(|entry| entry.expect("an entry").path());
    let mut read = 0;
    for path in files.filter(|path| path.extension().is_some_and(|end| end == "sql")) {
        let sql = std::fs::read_to_string(&path).expect("text");
        assert_eq!(unnamed(&sql), Vec::<String>::new(), "{}", path.display());
        assert!(sql.starts_with("--"), "{} says why first", path.display());
        read += 1;
    }
    assert!(read >= 7, "{read}");
}

#[test]
fn a_constraint_without_a_name_is_seen() {
    for (sql, count) in [
        ("create table a (id uuid primary key);", 1),
        ("create table a (id uuid constraint a_pkey primary key);", 0),
        ("create table a (b uuid not null references b on delete cascade);", 1),
        ("create table a (b uuid not null constraint a_b_fkey references b);", 0),
        ("create table a (b text check (b <> ''), c text unique);", 2),
        ("create table a (b text, constraint a_b_check check (b <> ''), foreign key (b) references b (id));", 1),
        ("create table a (b text, constraint a_b_fkey foreign key (b) references b (id));", 0),
        ("alter table a add unique (b);", 1),
        ("create unique index a_b_key on a (b); -- unique, check", 0),
    ] {
        assert_eq!(unnamed(sql).len(), count, "{sql}: {:?}", unnamed(sql));
    }
}
