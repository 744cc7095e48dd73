//! `dispatch policy check`.

use std::path::PathBuf;

use clap::Args;
use policy::Bundle;
use serde_json::json;

use super::{TrustArgs, open, refused};
use crate::{
    cli::JsonArgs,
    commands::{print, print_json},
    exit::{Failure, Kind},
};

/// `dispatch policy check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// The bundle: a folder or an archive
    #[arg(value_name = "PATH")]
    pub path: PathBuf,

    #[command(flatten)]
    pub trust: TrustArgs,

    #[command(flatten)]
    pub output: JsonArgs,
}

/// Says whether the bundle could be activated, or why not.
pub fn run(args: &CheckArgs) -> Result<(), Failure> {
    let trust = args.trust.trust()?;
    let checked = open(&args.path)
        .and_then(|files| Bundle::admit(files, &trust).map_err(|error| refused(&error)));
    match checked {
        Ok(bundle) if args.output.json => print_json(&json!({
            "ok": true,
            "bundle": bundle.reference(),
            "signed_by": bundle.signer(),
            "notes": bundle.notes(),
        })),
        Ok(bundle) => {
            let reference = bundle.reference();
            let signed = bundle
                .signer()
                .map_or_else(String::new, |key| format!(", signed with key {key}"));
            let notes: String = bundle
                .notes()
                .iter()
                .map(|note| format!("note: {note}\n"))
                .collect();
            print(&format!(
                "ok: bundle {}{signed}\nsha256 {}\n{notes}",
                reference.version, reference.sha256
            ))
        }
        Err(failure) if args.output.json && failure.kind == Kind::Failed => {
            print_json(&json!({ "ok": false, "error": failure.message }))?;
            Err(Failure::reported())
        }
        Err(failure) => Err(failure),
    }
}
