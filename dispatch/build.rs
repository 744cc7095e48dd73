//! Names the sources that this binary is made of: the commit, when they are those of a checkout. From
//! an archive of the sources it is the version alone. What says so is part of the binary, so the same
//! binary always says the same.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// Enough digits of a commit to find it.
const DIGITS: &str = "--short=12";

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=build.rs");
    let version = std::env::var("CARGO_PKG_VERSION").map_err(io::Error::other)?;
    let code = match commit()? {
        Some(commit) => format!("{version}+{commit}"),
        None => version,
    };
    println!("cargo::rustc-env=CODE_VERSION={code}");
    Ok(())
}

/// The commit, with `.modified` when the sources differ from it.
fn commit() -> io::Result<Option<String>> {
    // An archive may lie in somebody else's checkout.
    let tracked = git(&["ls-files", "--error-unmatch", "Cargo.toml"]);
    let Some(commit) = tracked.and_then(|_| git(&["rev-parse", DIGITS, "HEAD"])) else {
        return Ok(None);
    };
    // Another commit, or another state of the sources.
    for name in ["HEAD", "logs/HEAD"] {
        let path = git(&["rev-parse", "--git-path", name]).map(PathBuf::from);
        watch(path.as_deref());
    }
    for entry in fs::read_dir("..")? {
        let sources = entry?.path().join("src");
        watch(Some(&sources));
    }
    for path in ["../Cargo.lock", "../migrations", "../policy/bundle"] {
        watch(Some(Path::new(path)));
    }
    let modified = git(&["diff", "--quiet", "HEAD", "--", ".."]).is_none();
    let suffix = if modified { ".modified" } else { "" };
    Ok(Some(format!("{commit}{suffix}")))
}

/// What is not there would have this run again each time.
fn watch(path: Option<&Path>) {
    if let Some(path) = path.filter(|path| path.exists()) {
        println!("cargo::rerun-if-changed={}", path.display());
    }
}

/// What git answers; nothing when it is not there, or says no.
fn git(arguments: &[&str]) -> Option<String> {
    let Output { status, stdout, .. } = Command::new("git").args(arguments).output().ok()?;
    status.success().then_some(())?;
    Some(String::from_utf8(stdout).ok()?.trim().to_owned())
}
