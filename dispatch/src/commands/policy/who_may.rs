//! `dispatch policy who-may`.

use std::path::PathBuf;

use clap::Args;
use contracts::{ActorKind, ApiPermission};
use policy::Held;
use serde_json::{Map, Value, json};
use strum::VariantArray;

use super::TrustArgs;
use crate::{
    cli::JsonArgs,
    commands::{print, print_json},
    exit::Failure,
};

/// `dispatch policy who-may`.
#[derive(Debug, Args)]
pub struct WhoMayArgs {
    /// The permission: command:dispatch, read:contacts; docs/permissions.md lists them all
    #[arg(value_name = "PERMISSION")]
    pub permission: ApiPermission,

    /// The bundle: a folder or an archive [default: the one that comes with this program]
    #[arg(value_name = "PATH")]
    pub path: Option<PathBuf>,

    #[command(flatten)]
    pub trust: TrustArgs,

    #[command(flatten)]
    pub output: JsonArgs,
}

/// Tells who has it by the bundle's tables; the rules may ask for more.
pub fn run(args: &WhoMayArgs) -> Result<(), Failure> {
    let bundle = args.trust.bundle(args.path.as_deref())?;
    let holders = bundle.holders(args.permission);
    if !args.output.json {
        return print(&format!("{}: {holders}\n", args.permission));
    }
    let kinds = ActorKind::VARIANTS.iter().filter_map(|kind| {
        let roles = match holders.of(*kind)? {
            Held::Anybody => json!(["any"]),
            Held::Roles(roles) => json!(roles),
        };
        Some((kind.to_string(), roles))
    });
    let holders: Map<String, Value> = kinds.collect();
    print_json(&json!({
        "permission": args.permission.to_string(),
        "holders": holders,
        "bundle": bundle.reference(),
    }))
}
