//! `dispatch policy explain`.

use std::{io::Read, path::PathBuf};

use clap::Args;
use contracts::policy::{PolicyDecision, PolicyInput, PolicyResult};
use policy::primary_code;
use serde_json::Value;

use super::{TrustArgs, read};
use crate::{
    cli::JsonArgs,
    commands::{print, print_json},
    exit::{Failure, chain},
    table::{Facts, Screen, clean},
};

/// `dispatch policy explain`.
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// The bundle: a folder or an archive [default: the one that comes with this program]
    #[arg(value_name = "PATH")]
    pub path: Option<PathBuf>,

    /// What the policy is asked, as JSON; `-` is standard input. The output of `dispatch decisions
    /// show ID --json` will do: it holds what was asked then
    #[arg(long, value_name = "FILE")]
    pub input: PathBuf,

    #[command(flatten)]
    pub trust: TrustArgs,

    #[command(flatten)]
    pub output: JsonArgs,
}

/// Decides, and says why.
pub fn run(args: &ExplainArgs) -> Result<(), Failure> {
    let input = input(args)?;
    let bundle = args.trust.bundle(args.path.as_deref())?;
    let decision = bundle
        .evaluate(&input)
        .map_err(|error| Failure::failed(format!("there is no decision: {}", chain(&error))))?;
    if args.output.json {
        return print_json(&decision);
    }
    print(&text(&input, &decision, Screen::of_stdout()))
}

fn input(args: &ExplainArgs) -> Result<PolicyInput, Failure> {
    let name = args.input.display();
    let bytes = if args.input.as_os_str() == "-" {
        let mut bytes = Vec::new();
        std::io::stdin()
            .read_to_end(&mut bytes)
            .map_err(|error| Failure::usage(format!("cannot read standard input: {error}")))?;
        bytes
    } else {
        read(&args.input)?
    };
    let unfit = |error: serde_json::Error| {
        Failure::usage(format!(
            "{name} is no policy input: {error}; its schema is contracts/schemas/policy/input.json"
        ))
    };
    let mut document: Value = serde_json::from_slice(&bytes).map_err(unfit)?;
    // A recorded decision stands around its input.
    if document.pointer("/input/operation").is_some() {
        document = document["input"].take();
    }
    serde_json::from_value(document).map_err(unfit)
}

fn text(input: &PolicyInput, decision: &PolicyDecision, screen: Screen) -> String {
    let mut facts = Facts::default();
    facts.add("result", decision.result.to_string());
    if decision.result == PolicyResult::Deny {
        facts.add("answered as", primary_code(decision).to_string());
    }
    facts.add("command", input.operation.to_string());
    facts.add(
        "by",
        format!("{} ({})", clean(&input.actor.id), input.actor.kind),
    );
    for reason in &decision.reasons {
        let place = match &reason.pointer {
            Some(pointer) => format!(" (at {})", clean(pointer)),
            None => String::new(),
        };
        facts.add(
            "failed",
            format!("{}{place}: {}", reason.code, clean(&reason.message)),
        );
        facts.add("", format!("to pass: {}", clean(&reason.to_pass)));
    }
    for need in decision.approval.iter() {
        for demand in &need.demands {
            let roles: Vec<_> = demand.roles.iter().map(ToString::to_string).collect();
            facts.add(
                "approval",
                format!(
                    "{}: {} of {}",
                    demand.code,
                    demand.count,
                    roles.join(" or ")
                ),
            );
        }
        facts.add(
            "",
            format!(
                "after {} min without a decision: {}",
                need.plan.expire_after_minutes, need.plan.on_expiry
            ),
        );
    }
    for obligation in &decision.obligations {
        facts.add("obligation", clean(obligation));
    }
    let bundle = &decision.bundle;
    facts.add(
        "bundle",
        format!("{}, sha256 {}", clean(&bundle.version), bundle.sha256),
    );
    facts.render(screen)
}
