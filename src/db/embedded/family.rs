//! The processes below another one, which only Linux tells (/proc); elsewhere a family is one process.

use std::collections::HashMap;
use std::fs;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Sends a signal to this process and to all below it: each process of Postgres has a group of its own.
pub(super) fn signal(ancestor: Pid, signal: Signal) {
    let mut family = vec![ancestor];
    let mut children = children();
    let mut next = 0;
    while let Some(parent) = family.get(next) {
        family.extend(children.remove(parent).unwrap_or_default());
        next += 1;
    }
    for process in family {
        // One which is gone already is what we want.
        let _ = kill(process, signal);
    }
}

/// The children of every process.
fn children() -> HashMap<Pid, Vec<Pid>> {
    let mut children: HashMap<Pid, Vec<Pid>> = HashMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let pid = entry.file_name().to_str().and_then(|name| name.parse().ok()).map(Pid::from_raw);
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        // proc(5): the parent is the second field after the name, which is in brackets and may hold anything.
        let parent = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1)?.parse().ok());
        if let (Some(pid), Some(parent)) = (pid, parent.map(Pid::from_raw)) {
            children.entry(parent).or_default().push(pid);
        }
    }
    children
}
