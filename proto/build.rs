//! Stamps the binary with the commit it was built from, for `--version`, and compiles the Qb2 contract beside this file,
//! without protoc.

use std::error::Error;
use std::path::Path;
use std::process::Command;

/// The services of the contract; what they import is found from here.
const SERVICES: [&str; 4] = ["account", "application_key", "authentication", "session"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=migrations");
    println!("cargo::rerun-if-changed=proto");
    for path in ["HEAD", "logs/HEAD"].iter().filter_map(|name| git(&["rev-parse", "--git-path", name])) {
        println!("cargo::rerun-if-changed={path}");
    }
    // A source archive has no repository: that is worth saying, not worth failing.
    let commit = git(&["rev-parse", "--short=12", "HEAD"]).unwrap_or_else(|| "unknown".into());
    // Cargo also gives this to a program that it runs: a name of ours would be one of its configuration.
    println!("cargo::rustc-env=BUILT_FROM_COMMIT={commit}");
    contract()
}

/// The messages and the servers in Rust, and the descriptors of everything for those who ask what there is.
fn contract() -> Result<(), Box<dyn Error>> {
    let mut compiler = protox::Compiler::new(["proto"])?;
    // Comments as well: they are the reference of whoever looks with a reflection client.
    compiler.include_imports(true).include_source_info(true);
    compiler.open_files(SERVICES.map(|name| format!("blickfeld/secure/services/{name}.proto")))?;
    // As the library wrote them, custom options and all.
    let folder = std::env::var("OUT_DIR")?;
    std::fs::write(Path::new(&folder).join("contract.bin"), compiler.encode_file_descriptor_set())?;
    tonic_prost_build::configure()
        .btree_map(".")
        .build_client(false)
        .build_transport(false)
        .codec_path("crate::grpc::codec::Codec")
        .include_file("contract.rs")
        .compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (output.status.success() && !text.is_empty()).then_some(text)
}
