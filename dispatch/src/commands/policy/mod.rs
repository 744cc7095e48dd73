//! `dispatch policy`: from a folder of rules to a signed bundle, and what a bundle decides.
//!
//! One file per subcommand. `list`, `activate` and `rollback` ask dispatch-api, `diff` reads the
//! record; the others work on files alone.

mod activate;
mod build;
mod check;
mod diff;
mod explain;
mod init;
mod list;
mod show;
mod sign;
mod test;
mod who_may;

use std::{
    fs,
    io::Write,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use clap::{Args, Subcommand};
use policy::{Bundle, BundleError, BundleFiles, Trust, VerificationKeys};

use crate::{
    cli::Global,
    exit::{Failure, chain},
};

/// What to do.
#[derive(Debug, Subcommand)]
pub enum PolicyCommand {
    /// Writes the starter bundle into a folder, to be changed there
    Init(init::InitArgs),
    /// Checks a bundle as it is checked before it may decide: rules, data, its tests, a trial
    Check(check::CheckArgs),
    /// Runs the tests that a bundle brings along
    Test(test::TestArgs),
    /// Checks a folder and packs it into an archive; the same files give the same bytes
    Build(build::BuildArgs),
    /// Signs an archive with an ed25519 key
    ///
    /// A key pair: openssl genpkey -algorithm ed25519 -out key.pem, and its public half: openssl
    /// pkey -in key.pem -pubout -out key.pub
    Sign(sign::SignArgs),
    /// Shows what is in a bundle: version, hash, files, rules, who signed it
    Show(show::ShowArgs),
    /// Tells who has a permission, by the tables of a bundle
    WhoMay(who_may::WhoMayArgs),
    /// Decides about an input and says each condition that failed, and what would pass
    Explain(explain::ExplainArgs),
    /// Lists the bundles of an installation, or which decided when
    List(list::ListArgs),
    /// Uploads a bundle, if need be, and lets it decide from the next command on, everywhere
    Activate(activate::ActivateArgs),
    /// Lets the bundle decide again that decided before
    Rollback(activate::RollbackArgs),
    /// Decides everything that was decided again under a candidate, and says what would be different
    ///
    /// Reads the record as a login that cannot write. Recorded inputs of older versions are decided
    /// as they are.
    Diff(diff::DiffArgs),
}

/// Whose bundles are taken.
#[derive(Debug, Args)]
pub struct TrustArgs {
    /// Takes only what is signed with this public key, by its id: 2026-1=key.pub (repeatable)
    #[arg(long = "verification-key", value_name = "ID=FILE", value_parser = parse_key)]
    pub keys: Vec<(String, PathBuf)>,
}

fn parse_key(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((id, file)) if !id.is_empty() && !file.is_empty() => {
            Ok((id.to_owned(), PathBuf::from(file)))
        }
        _ => Err("give an id and a file: 2026-1=key.pub".to_owned()),
    }
}

impl TrustArgs {
    fn trust(&self) -> Result<Trust, Failure> {
        if self.keys.is_empty() {
            return Ok(Trust::Anybody);
        }
        let keys = self.keys.iter().map(|(id, file)| (id.as_str(), file));
        VerificationKeys::from_files(keys)
            .map(Trust::SignedBy)
            .map_err(|error| refused(&error))
    }

    /// The bundle at the path, if it is trusted; without a path the one of the program.
    fn bundle(&self, path: Option<&Path>) -> Result<Bundle, Failure> {
        let bundle = match path {
            Some(path) => self.trust()?.accept(open(path)?).and_then(Bundle::load),
            None => Bundle::starter(),
        };
        bundle.map_err(|error| refused(&error))
    }
}

/// Does it.
pub async fn run(global: &Global, command: PolicyCommand) -> Result<(), Failure> {
    match command {
        PolicyCommand::Init(args) => init::run(&args),
        PolicyCommand::Check(args) => check::run(&args),
        PolicyCommand::Test(args) => test::run(&args),
        PolicyCommand::Build(args) => build::run(&args),
        PolicyCommand::Sign(args) => sign::run(&args),
        PolicyCommand::Show(args) => show::run(&args),
        PolicyCommand::WhoMay(args) => who_may::run(&args),
        PolicyCommand::Explain(args) => explain::run(&args),
        PolicyCommand::List(args) => list::run(global, &args).await,
        PolicyCommand::Activate(args) => activate::run(global, &args).await,
        PolicyCommand::Rollback(args) => activate::rollback(global, &args).await,
        PolicyCommand::Diff(args) => diff::run(global, &args).await,
    }
}

/// The files of a folder or an archive.
fn open(path: &Path) -> Result<BundleFiles, Failure> {
    BundleFiles::open(path).map_err(|error| refused(&error))
}

/// What was given cannot be used (exit code 2), or the bundle is refused (1).
fn refused(error: &BundleError) -> Failure {
    let text = chain(error);
    match error {
        BundleError::Io { .. } | BundleError::Key { .. } => Failure::usage(text),
        _ => Failure::failed(text),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(path)
        .map_err(|error| Failure::usage(format!("cannot read {}: {error}", path.display())))
}

/// Writes a file as a whole or not at all.
fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let written = || {
        let mut file = tempfile::Builder::new()
            .permissions(fs::Permissions::from_mode(0o644))
            .tempfile_in(folder)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        Ok(())
    };
    written().map_err(|error: std::io::Error| {
        Failure::usage(format!("cannot write {}: {error}", path.display()))
    })
}
