//! The `bloq-accounts` binary: reads the command line and leaves everything else to [`bloq_accounts::cli`].

use std::process::ExitCode;

/// Requests allocate in one thread and free in another, which glibc's allocator pays for with locks and fragments.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    bloq_accounts::cli::main()
}
