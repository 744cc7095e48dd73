//! `dispatch proposals`: what is known of them over all tickets.

use chrono::Utc;
use clap::{Args, Subcommand};
use contracts::{
    Role,
    proposal::{Agreement, AgreementFilter, OutcomeCounts, ProposalKind},
};

use super::ticket::{Instant, parse, parse_instant};
use crate::{
    cli::Global,
    desk::{Connection, Desk},
    exit::Failure,
    table::{Screen, Table},
};

/// What to look at.
#[derive(Debug, Subcommand)]
pub enum ProposalsCommand {
    /// How far people did what software would have done, kind by kind
    ///
    /// Counted apart for those who had read the proposal before they acted: what they did may have
    /// been copied from it.
    Agreement(AgreementArgs),
}

/// `dispatch proposals agreement`.
#[derive(Debug, Args)]
pub struct AgreementArgs {
    /// Only about this: triage, technician, slot …
    #[arg(long, value_name = "KIND", value_parser = parse::<ProposalKind>)]
    pub kind: Option<ProposalKind>,

    /// Only proposals from this time on: 2026-11-21T18:00:00Z, or 7d ago
    #[arg(long, value_name = "TIME", value_parser = parse_instant)]
    pub from: Option<Instant>,

    /// Only proposals before this time
    #[arg(long, value_name = "TIME", value_parser = parse_instant)]
    pub to: Option<Instant>,

    #[command(flatten)]
    pub connection: Connection,
}

/// Looks at proposals.
pub async fn run(global: &Global, command: ProposalsCommand) -> Result<(), Failure> {
    let ProposalsCommand::Agreement(args) = command;
    let desk = Desk::open(global, &args.connection, Role::Dispatcher)?;
    let result = agreement(&desk, &args).await;
    desk.ended(result)
}

async fn agreement(desk: &Desk, args: &AgreementArgs) -> Result<(), Failure> {
    let now = Utc::now();
    let filter = AgreementFilter {
        kind: args.kind,
        from: args.from.map(|from| from.before(now)),
        to: args.to.map(|to| to.before(now)),
    };
    let agreement = desk.api.proposal_agreement(&filter).await?;
    if desk.json {
        return desk.print_json(&agreement);
    }
    desk.print(&text(&agreement, desk.screen))
}

fn text(agreement: &Agreement, screen: Screen) -> String {
    let mut table = Table::new(&[
        "KIND",
        "AGREED",
        "SAME",
        "EQUIVALENT",
        "DIFFERENT",
        "NOTHING",
        "OPEN",
        "UNSEEN AGREED",
        "SEEN AGREED",
    ]);
    for kind in &agreement.kinds {
        let all = &kind.all;
        table.row([
            kind.kind.to_string(),
            share(all),
            all.same.to_string(),
            all.equivalent.to_string(),
            all.different.to_string(),
            all.nothing.to_string(),
            kind.open.to_string(),
            share(&kind.unseen),
            share(&kind.seen),
        ]);
    }
    table.render(screen, &[0, 1])
}

fn share(counts: &OutcomeCounts) -> String {
    match counts.agreement_permille {
        Some(permille) => format!("{}.{} %", permille / 10, permille % 10),
        None => "–".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use contracts::proposal::{KindAgreement, PairingOutcome};

    use super::*;

    #[test]
    fn agreement_is_a_share_of_the_acts() {
        let mut all = OutcomeCounts::default();
        all.add(PairingOutcome::Same, 2);
        all.add(PairingOutcome::Different, 1);
        all.add(PairingOutcome::Nothing, 4);
        let agreement = Agreement {
            kinds: vec![KindAgreement {
                kind: ProposalKind::Triage,
                open: 5,
                all,
                seen: OutcomeCounts::default(),
                unseen: all,
            }],
        };
        let text = text(&agreement, Screen::PIPE);
        let row: Vec<_> = text.lines().nth(1).unwrap().split_whitespace().collect();
        assert_eq!(
            row,
            [
                "triage", "66.6", "%", "2", "0", "1", "4", "5", "66.6", "%", "–"
            ]
        );
    }
}
