//! `dispatch verify`.

mod workflows;

use crate::{
    cli::{Global, VerifyArgs},
    exit::Failure,
    parts,
    temporal::Temporal,
};

/// Checks the invariants; exit code 1 on any violation.
pub async fn run(global: &Global, args: &VerifyArgs) -> Result<(), Failure> {
    let settings = super::load(global, Vec::new())?.settings;
    let url = settings.database.maintenance_url.as_ref();
    let pool = parts::pool("database.maintenance_url", url).await?;
    let mut violations: Vec<String> = Vec::new();
    let mut workflows = None;
    if args.temporal {
        let client = Temporal::new(&settings.temporal)?.connect().await?;
        let report = workflows::compare(&pool, &client).await?;
        violations.extend(report.violations.clone());
        workflows = Some(report);
    }
    let ok = violations.is_empty();
    if args.output.json {
        super::print_json(&serde_json::json!({
            "ok": ok,
            "violations": violations,
            "workflows": workflows.map(|report| serde_json::json!({
                "tickets": report.tickets, "forgotten": report.forgotten,
            })),
        }))?;
    } else {
        let mut text: String = violations.iter().map(|what| format!("{what}\n")).collect();
        if let Some(report) = workflows {
            text += &format!(
                "workflows: {} tickets compared, {} of them ended and past Temporal's retention\n",
                report.tickets, report.forgotten
            );
        }
        text += &match violations.len() {
            0 => "all invariants hold\n".to_owned(),
            n => format!("{n} violations\n"),
        };
        super::print(&text)?;
    }
    if ok { Ok(()) } else { Err(Failure::reported()) }
}
