//! `dispatch policy show`.

use std::path::PathBuf;

use clap::Args;
use policy::Bundle;
use serde_json::json;

use super::{TrustArgs, refused};
use crate::{
    cli::JsonArgs,
    commands::{print, print_json},
    exit::Failure,
    table::{Facts, Screen, Table, clean},
};

/// `dispatch policy show`.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// The bundle: a folder or an archive [default: the one that comes with this program]
    #[arg(value_name = "PATH")]
    pub path: Option<PathBuf>,

    #[command(flatten)]
    pub trust: TrustArgs,

    #[command(flatten)]
    pub output: JsonArgs,
}

/// Shows it.
pub fn run(args: &ShowArgs) -> Result<(), Failure> {
    let bundle = args.trust.bundle(args.path.as_deref())?;
    let signature = signature(&bundle)?;
    let tests = bundle.run_tests().map_err(|error| refused(&error))?;
    let templates: Vec<_> = bundle.templates().map(|t| t.id.to_string()).collect();
    if args.output.json {
        let files: Vec<_> = bundle
            .files()
            .iter()
            .map(|(path, text)| json!({ "path": path, "bytes": text.len() }))
            .collect();
        return print_json(&json!({
            "bundle": bundle.reference(),
            "roots": bundle.roots(),
            "signature": signature,
            "templates": templates,
            "rules": bundle.rules(),
            "tests": tests.outcomes.len(),
            "files": files,
        }));
    }
    let screen = Screen::of_stdout();
    let mut facts = Facts::default();
    facts.add("version", clean(&bundle.reference().version));
    facts.add("sha256", bundle.reference().sha256.clone());
    facts.add("signature", signature.text());
    facts.add("roots", bundle.roots().join(", "));
    facts.add("templates", templates.join(", "));
    facts.add("tests", tests.outcomes.len().to_string());
    let mut table = Table::new(&["BYTES", "FILE"]);
    for (path, text) in bundle.files().iter() {
        table.row([text.len().to_string(), path.to_owned()]);
    }
    print(&format!(
        "{}\nrules:\n  {}\n\n{}",
        facts.render(screen),
        bundle.rules().join("\n  "),
        table.render(screen, &[0, 1])
    ))
}

/// Who stands for the bundle, and whether that was verified.
#[derive(serde::Serialize)]
struct Signature {
    signed_by: Option<String>,
    verified: bool,
}

fn signature(bundle: &Bundle) -> Result<Signature, Failure> {
    let claimed = bundle
        .files()
        .claimed_signer()
        .map_err(|error| refused(&error))?;
    Ok(Signature {
        verified: bundle.signer().is_some(),
        signed_by: claimed,
    })
}

impl Signature {
    fn text(&self) -> String {
        match &self.signed_by {
            None => "none".to_owned(),
            Some(key) if self.verified => format!("of key {}, verified", clean(key)),
            Some(key) => format!(
                "claims to be of key {}; not verified: give --verification-key ID=FILE",
                clean(key)
            ),
        }
    }
}
