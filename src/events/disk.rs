//! The watch over the disk that events fill: an alarm while there is still room, and nothing else. Whoever is refused
//! because the disk *might* be full was refused for nothing.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use bytesize::ByteSize;
use nix::sys::statvfs::statvfs;

use crate::config::Config;
use crate::error::Result;
use crate::metrics::Space;
use crate::worker::Worker;

/// How often to look.
const POLL: Duration = Duration::from_secs(30);

/// The file system of the private Postgres; cheap to clone.
#[derive(Clone)]
pub struct Disk(Arc<State>);

struct State {
    folder: PathBuf,
    least: u64,
    is_low: AtomicBool,
}

impl Disk {
    /// The disk of this server's Postgres; `None` when that is elsewhere, on a disk that cannot be seen.
    pub fn of(config: &Config) -> Option<Self> {
        let is_ours = config.database_url().is_none();
        is_ours.then(|| Self::new(config.data_dir.clone(), config.events.min_free_disk.as_u64()))
    }

    fn new(folder: PathBuf, least: u64) -> Self {
        Self(Arc::new(State { folder, least, is_low: AtomicBool::default() }))
    }

    /// What is left and what should be; `None` when it cannot be seen, of which the worker tells the log.
    pub fn space(&self) -> Option<Space> {
        self.free().ok().map(|free| Space { free, least: self.0.least })
    }

    /// Bytes left for others than root.
    fn free(&self) -> anyhow::Result<u64> {
        let folder = &self.0.folder;
        let found =
            statvfs(folder).with_context(|| format!("cannot see how much space is left in {}", folder.display()))?;
        // Of 32 bits on some systems, of 64 on others.
        let bytes = u128::from(found.blocks_available()) * u128::from(found.fragment_size());
        Ok(bytes.try_into().unwrap_or(u64::MAX))
    }

    /// Tells the log when an alarm begins or ends; answers whether there is one.
    fn judge(&self, free: u64) -> bool {
        let is_low = free < self.0.least;
        let was_low = self.0.is_low.swap(is_low, Ordering::Relaxed);
        let (left, least) = (ByteSize(free), ByteSize(self.0.least));
        if is_low && !was_low {
            tracing::warn!(%left, %least, "the disk fills up: less is left than `events.min_free_disk`");
        } else if was_low && !is_low {
            tracing::info!(%left, %least, "the disk has room again");
        }
        is_low
    }
}

impl Worker for Disk {
    const NAME: &'static str = "disk";

    async fn step(&self) -> Result<Duration> {
        self.judge(self.free()?);
        Ok(POLL)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alarm_ends_when_there_is_room_again() {
        let disk = Disk::new(std::env::temp_dir(), 1000);
        assert_eq!([1000, 999, 0, 1000, 999].map(|free| disk.judge(free)), [false, true, true, false, true]);
        let off = Disk::new(std::env::temp_dir(), 0);
        assert!(!off.judge(0));
    }

    #[test]
    fn a_disk_is_seen_and_one_that_is_not_there_has_no_space() {
        let disk = Disk::new(std::env::temp_dir(), 5);
        assert!(disk.space().is_some_and(|space| space.free > 0 && space.least == 5));
        let missing = Disk::new("/nowhere/at/all".into(), 5);
        assert_eq!(missing.space(), None);
        assert!(missing.free().is_err_and(|error| error.to_string().contains("/nowhere/at/all")));
    }
}
