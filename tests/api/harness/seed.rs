//! A data folder that `initdb` made once, to be copied by tests that are not about making one: copies cost a tenth.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use bloq_accounts::db::embedded::{Embedded, Holder, Settings};

use super::database::PREFIX;

/// Makes `data_dir` a data folder whose Postgres was stopped in order.
pub fn fill(data_dir: &Path) {
    static SEED: OnceLock<PathBuf> = OnceLock::new();
    let seed = SEED.get_or_init(|| std::thread::spawn(make).join().expect("a seed is made"));
    std::fs::create_dir_all(data_dir).expect("a data folder");
    let mode = if nix::unistd::geteuid().is_root() { 0o711 } else { 0o700 };
    std::fs::set_permissions(data_dir, PermissionsExt::from_mode(mode)).expect("our own folder");
    let copied = Command::new("cp").arg("-a").args([&seed.join("postgres"), data_dir]).status();
    assert!(copied.expect("cp is everywhere").success());
}

/// On a thread of its own, because a test's runtime is at work on this one.
fn make() -> PathBuf {
    let data_dir = std::env::temp_dir().join(format!("{PREFIX}{}-seed", std::process::id()));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let settings =
            Settings { data_dir: data_dir.clone(), postgres_bin: None, max_connections: 12, is_durable: true };
        Embedded::start(settings, Holder::Server).await.expect("a first start").stop().await;
    });
    data_dir
}
