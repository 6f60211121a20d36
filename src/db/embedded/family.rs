//! The processes below another one, and those without any, which only Linux tells (/proc); elsewhere a family is one process.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

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

/// Kills what is left of a Postgres whose main process is gone, and answers how many there were. They end by themselves as soon as
/// they notice; one that waits for another of them, which was killed, never does.
pub(super) fn kill_orphans(pgdata: &Path) -> usize {
    let Ok(pgdata) = fs::canonicalize(pgdata) else { return 0 };
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    // They work in the folder, where a person may be as well.
    let is_orphan = |process: &fs::DirEntry| {
        let read = |name: &str| fs::read_to_string(process.path().join(name)).unwrap_or_default();
        fs::read_link(process.path().join("cwd")).is_ok_and(|folder| folder == pgdata)
            && read("comm").trim() == "postgres"
    };
    let pids = processes.filter(is_orphan).filter_map(|process| process.file_name().to_str()?.parse().ok());
    pids.filter(|pid| kill(Pid::from_raw(*pid), Signal::SIGKILL).is_ok()).count()
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
