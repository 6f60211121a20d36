//! The sources of the house, without comments and without their own tests.

use std::path::Path;

/// From one file to the lines that break a law.
pub type Law = fn(&Source) -> Vec<String>;

/// Every room, known or yet to come.
pub const ROOMS: [&str; 15] = [
    "export",
    "ethereum",
    "auth",
    "application_keys",
    "client_keys",
    "user_keys",
    "users",
    "log_ins",
    "verification",
    "mail",
    "tokens",
    "device_session",
    "signing_keys",
    "events",
    "ratelimit",
];

/// One file under `src/`.
pub struct Source {
    /// Below `src/`, with slashes.
    pub path: String,
    code: String,
}

impl Source {
    pub fn new(path: &str, text: &str) -> Self {
        let code = without_comments(text);
        // By custom the tests of a file are its last item.
        let code = code.split("#[cfg(test)]\nmod tests").next().unwrap_or_default().to_owned();
        Self { path: path.to_owned(), code }
    }

    pub fn code(&self) -> &str {
        &self.code
    }

    /// The name of the file.
    pub fn file(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }

    /// The room that the file is in, if it is in one.
    pub fn room(&self) -> Option<&str> {
        let (folder, _) = self.path.split_once('/')?;
        ROOMS.contains(&folder).then_some(folder)
    }

    /// Whether this is the store of a room, or a part of one that grew into a folder.
    pub fn is_store(&self) -> bool {
        let is_in_folder = self.path.split('/').nth(1) == Some("store");
        self.room().is_some() && (is_in_folder || self.file() == "store.rs")
    }

    /// Whether this is a door of a room, or a part of one that grew into a folder.
    pub fn is_room_door(&self) -> bool {
        let is_in_folder = self.path.split('/').nth(1) == Some("http");
        self.room().is_some() && (is_in_folder || ["http.rs", "grpc.rs", "layer.rs"].contains(&self.file()))
    }

    /// Whether this is a door, or what all doors share.
    pub fn is_door(&self) -> bool {
        let shared = ["cli/", "http/", "grpc/"];
        self.is_room_door() || shared.iter().any(|folder| self.path.starts_with(folder))
    }

    /// The lines with one of these words: not a part of a longer name.
    pub fn lines_with(&self, words: &[&str]) -> Vec<String> {
        let has = |line: &&str| words.iter().any(|word| names(line, word));
        self.code.lines().filter(has).map(|line| line.trim().to_owned()).collect()
    }

    /// What breaks a law here, with the name of the file.
    pub fn broken(&self, law: Law) -> Vec<String> {
        law(self).into_iter().map(|line| format!("src/{}: {line}", self.path)).collect()
    }
}

/// Whether a line names this: `word` stands there, and no letter continues it on a side where it ends in one.
fn names(line: &str, word: &str) -> bool {
    let is_name = |character: char| character.is_alphanumeric() || character == '_';
    line.match_indices(word).any(|(at, _)| {
        let (before, after) = (line[..at].chars().next_back(), line[at + word.len()..].chars().next());
        let is_cut =
            |inner: Option<char>, outer: Option<char>| inner.is_some_and(is_name) && outer.is_some_and(is_name);
        !is_cut(word.chars().next(), before) && !is_cut(word.chars().next_back(), after)
    })
}

/// Every file under `src/`.
pub fn all() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut sources = Vec::new();
    collect(&root, &root, &mut sources);
    sources
}

fn collect(root: &Path, folder: &Path, sources: &mut Vec<Source>) {
    for entry in std::fs::read_dir(folder).expect("a folder of sources") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            collect(root, &path, sources);
        } else if path.extension().is_some_and(|end| end == "rs") {
            let below = path.strip_prefix(root).expect("below the root").to_str().expect("text");
            sources.push(Source::new(below, &std::fs::read_to_string(&path).expect("text")));
        }
    }
}

/// The text without `//` and `/* */`; what is within a literal stays.
fn without_comments(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let taken = if rest.starts_with("//") {
            rest = &rest[rest.find('\n').unwrap_or(rest.len())..];
            continue;
        } else if rest.starts_with("/*") {
            rest = rest.find("*/").map_or("", |end| &rest[end + 2..]);
            continue;
        } else if let Some(hashes) = raw_literal(rest) {
            let end = format!("\"{}", "#".repeat(hashes));
            let open = hashes + 2;
            rest[open..].find(&end).map_or(rest.len(), |at| open + at + end.len())
        } else if next == '"' {
            literal_end(rest)
        } else if rest.starts_with("'\"'") || rest.starts_with("'/'") {
            3
        } else {
            next.len_utf8()
        };
        code.push_str(&rest[..taken]);
        rest = &rest[taken..];
    }
    code
}

/// The number of hashes when a raw literal begins here.
fn raw_literal(text: &str) -> Option<usize> {
    let rest = text.strip_prefix('r')?;
    let hashes = rest.bytes().take_while(|byte| *byte == b'#').count();
    rest[hashes..].starts_with('"').then_some(hashes)
}

fn literal_end(text: &str) -> usize {
    let mut is_escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}
