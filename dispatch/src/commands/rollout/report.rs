//! `dispatch rollout report`.

use chrono::{TimeDelta, Utc};
use client::CallOptions;
use contracts::{
    canonical::canonical_json,
    command::RecordGateReport,
    filing::Filed,
    rollout::{GateReport, KeptReport},
};

use domain::autonomy::kind_of;

use super::{
    args::ReportArgs,
    ledger::{details, figures, percent},
    show::mode,
};
use crate::{
    desk::Desk,
    exit::Failure,
    table::{Mark, Screen, Table},
    words,
};

/// What is looked at unless something else is asked for.
const DEFAULT: TimeDelta = TimeDelta::days(28);

pub(super) async fn make(desk: &Desk, args: &ReportArgs) -> Result<(), Failure> {
    let now = Utc::now();
    let body = RecordGateReport {
        target: args.stage.0.clone(),
        since: args.since.map_or(now - DEFAULT, |at| at.before(now)),
        until: now,
    };
    let receipt = desk
        .api
        .record_gate_report(&body, &CallOptions::default())
        .await?;
    let Filed::Report { sha256 } = &receipt.filed else {
        return Err(Failure::failed("dispatch-api kept no report"));
    };
    let kept = desk.api.kept_report(sha256).await?;
    if let Some(path) = &args.out {
        let document = canonical_json(&kept.document).map_err(Failure::failed)?;
        std::fs::write(path, document)
            .map_err(|error| Failure::failed(format!("{}: {error}", path.display())))?;
    }
    if desk.json {
        return desk.print_json(&kept);
    }
    let report: GateReport =
        serde_json::from_value(kept.document.clone()).map_err(Failure::failed)?;
    desk.print(&text(&kept, &report, desk.screen))
}

fn text(kept: &KeptReport, report: &GateReport, screen: Screen) -> String {
    let mut table = Table::new(&["GATE", "FIGURE", "REPORT", "NEEDED", ""]);
    for (to, checks) in &report.gates {
        for check in checks {
            let bound = match check.code.as_str() {
                "GATE_WINDOW" | "GATE_SAMPLE" | "GATE_AGREEMENT" => "at least",
                _ => "at most",
            };
            let figure = |figure: u64| match check.code.as_str() {
                "GATE_WINDOW" => format!("{figure} d"),
                "GATE_SAMPLE" | "GATE_BREACHES" => figure.to_string(),
                _ => percent(figure),
            };
            table.row([
                to.to_string(),
                check.code.clone(),
                figure(check.figure),
                format!("{bound} {}", figure(check.needed)),
                match check.met {
                    true => "met".to_owned(),
                    false => Mark::Bad.on("NOT MET"),
                },
            ]);
        }
    }
    let unadvised = match kind_of(report.target.operation) {
        Some(_) => String::new(),
        None => format!(
            "no advisor speaks of {}: its sample is 0 for ever, and waiting does not help; only a \
             bundle whose rule GATE_SAMPLE does not count {} lets it through\n",
            report.target.operation, report.target.operation
        ),
    };
    format!(
        "{} at {}, {} to {}\n{}{}\n{}{unadvised}\nreport {}\n",
        report.target.key(),
        mode(report.from, report.percent),
        words::time(report.since),
        words::time(report.until),
        figures(&report.figures, screen),
        details(&report.figures, screen),
        table.render(screen, &[0, 1]),
        kept.sha256
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use chrono::DateTime;
    use contracts::{Operation, autonomy::StageTarget, event::AutonomyMode};
    use serde_json::Value;

    use super::*;

    #[test]
    fn a_command_that_no_advisor_speaks_of_is_said_to_be_one() {
        let said = |operation| {
            let report = GateReport {
                v: 1,
                target: StageTarget {
                    operation,
                    risk: None,
                },
                from: AutonomyMode::Shadow,
                percent: None,
                stage_version: 0,
                since: DateTime::UNIX_EPOCH,
                until: DateTime::UNIX_EPOCH,
                figures: Default::default(),
                gates: BTreeMap::new(),
            };
            let kept = KeptReport {
                sha256: "ab".repeat(32),
                kind: "gate".to_owned(),
                subject: report.target.key(),
                made_at: DateTime::UNIX_EPOCH,
                document: Value::Null,
            };
            text(&kept, &report, Screen::PIPE)
        };
        let unadvised = "no advisor speaks of comms_outbound: its sample is 0 for ever";
        let of_messages = said(Operation::CommsOutbound);
        assert!(of_messages.contains(unadvised), "{of_messages}");
        assert!(!said(Operation::Triage).contains("no advisor"));
    }
}
