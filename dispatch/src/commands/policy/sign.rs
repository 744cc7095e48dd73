//! `dispatch policy sign`.

use std::path::PathBuf;

use clap::Args;
use policy::SigningKey;

use super::{open, read, refused, write};
use crate::{commands::print, exit::Failure};

/// `dispatch policy sign`.
#[derive(Debug, Args)]
pub struct SignArgs {
    /// The archive, from `dispatch policy build`
    #[arg(value_name = "ARCHIVE")]
    pub archive: PathBuf,

    /// The private key: ed25519, PEM
    #[arg(long, value_name = "FILE")]
    pub key: PathBuf,

    /// Under which id the public key is known where the bundle is used
    #[arg(long, value_name = "ID")]
    pub kid: String,

    /// Where to write the signed archive [default: in place]
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// Puts a signature over all files into the archive; an earlier one is replaced.
pub fn run(args: &SignArgs) -> Result<(), Failure> {
    if args.archive.is_dir() {
        return Err(Failure::usage(format!(
            "{} is a folder; pack it first: dispatch policy build {0} -o bundle.tar.gz",
            args.archive.display()
        )));
    }
    let key = SigningKey::from_pem(&args.kid, &read(&args.key)?);
    let key = key.map_err(|error| refused(&error))?;
    let signed = open(&args.archive)?
        .sign(&key)
        .map_err(|error| refused(&error))?;
    let archive = signed.to_archive().map_err(|error| refused(&error))?;
    let output = args.output.as_ref().unwrap_or(&args.archive);
    write(output, &archive)?;
    print(&format!(
        "signed {} with key {}\nsha256 {}\n",
        output.display(),
        args.kid,
        signed.sha256()
    ))
}
