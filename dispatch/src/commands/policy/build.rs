//! `dispatch policy build`.

use std::path::PathBuf;

use clap::Args;
use policy::{Bundle, Trust};

use super::{open, refused, write};
use crate::{
    cli::JsonArgs,
    commands::{print, print_json},
    exit::Failure,
};

/// `dispatch policy build`.
#[derive(Debug, Args)]
pub struct BuildArgs {
    /// The folder
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,

    /// The archive, by custom named *.tar.gz; what stands there is replaced
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,

    #[command(flatten)]
    pub json: JsonArgs,
}

/// Checks the folder as a whole and packs it. An archive begins unsigned.
pub fn run(args: &BuildArgs) -> Result<(), Failure> {
    let files = open(&args.dir)?.unsigned();
    let archive = files.to_archive().map_err(|error| refused(&error))?;
    let bundle = Bundle::admit(files, &Trust::Anybody).map_err(|error| refused(&error))?;
    write(&args.output, &archive)?;
    let reference = bundle.reference();
    if args.json.json {
        return print_json(&serde_json::json!({
            "bundle": reference, "archive": args.output, "bytes": archive.len(),
        }));
    }
    print(&format!(
        "wrote {} ({} bytes): bundle {}\nsha256 {}\n",
        args.output.display(),
        archive.len(),
        reference.version,
        reference.sha256
    ))
}
