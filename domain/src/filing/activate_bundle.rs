//! Lets another policy bundle decide, from the next transaction on, everywhere.

use chrono::{DateTime, Utc};
use contracts::{command::ActivateBundle, filing::Filed, policy::DiffSummary, value::is_sha256};
use serde_json::json;
use uuid::Uuid;

use super::{Filing, FilingFacts};
use crate::Rejection;

pub(super) fn plan(body: &ActivateBundle, facts: &FilingFacts) -> Result<Filing, Rejection> {
    let control = &facts.control;
    let bundle = control
        .bundle
        .as_ref()
        .ok_or_else(|| Rejection::invalid("/sha256", "names no bundle that was uploaded"))?;
    if control.active_bundle.as_ref() == Some(&bundle.sha256) {
        return Err(Rejection::invalid(
            "/sha256",
            "names the bundle that decides already",
        ));
    }
    if let Some(report) = &body.report {
        check_report(report, &bundle.sha256, facts.now)?;
    }
    let row = json!({
        "sha256": bundle.sha256,
        "version": bundle.version,
        "previous": control.active_bundle,
        "reason": body.reason,
    });
    let filed = Filed::BundleActivated {
        bundle: bundle.clone(),
        previous: control.active_bundle.clone(),
    };
    Ok(Filing {
        row: Some(row),
        ..Filing::written(filed, Uuid::nil(), 0)
    })
}

/// The figures are the caller's word, and the report's hash names the file that bears it out. What
/// cannot be true of any report is no word to rely on.
fn check_report(
    report: &DiffSummary,
    candidate: &str,
    now: DateTime<Utc>,
) -> Result<(), Rejection> {
    if !is_sha256(&report.report_sha256) {
        return Err(Rejection::invalid(
            "/report/report_sha256",
            "must be 64 lowercase hex digits",
        ));
    }
    if report.candidate_sha256 != candidate {
        return Err(Rejection::invalid(
            "/report/candidate_sha256",
            "must be the bundle that is to be activated",
        ));
    }
    if report.until > now {
        return Err(Rejection::invalid(
            "/report/until",
            "must not lie in the future: it is when the last decision was made that was looked at",
        ));
    }
    if report.since.is_some_and(|since| since > report.until) {
        return Err(Rejection::invalid(
            "/report/since",
            "must not lie after `until`: it is from when on decisions were looked at",
        ));
    }
    let named = [
        report.newly_allowed,
        report.newly_denied,
        report.newly_held,
        report.undecided,
    ];
    if named.into_iter().map(u64::from).sum::<u64>() > report.decisions.into() {
        return Err(Rejection::invalid(
            "/report/decisions",
            "must be no fewer than those that would be decided otherwise, or not at all",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use contracts::policy::BundleRef;

    use super::*;
    use crate::{filing::tests::facts, testing::slug};

    #[test]
    fn a_report_that_cannot_be_is_refused_by_its_field() {
        let mut facts = facts();
        let candidate = "ab".repeat(32);
        facts.control.bundle = Some(BundleRef {
            version: "1".into(),
            sha256: candidate.clone(),
        });
        let good = DiffSummary {
            report_sha256: "cd".repeat(32),
            candidate_sha256: candidate.clone(),
            since: None,
            until: facts.now,
            decisions: 10,
            newly_allowed: 4,
            newly_denied: 3,
            newly_held: 2,
            undecided: 1,
        };
        let answer = |report: DiffSummary| {
            let body = ActivateBundle {
                sha256: candidate.clone(),
                report: Some(report),
                reason: slug("rules"),
            };
            match plan(&body, &facts) {
                Ok(_) => String::new(),
                Err(Rejection::InvalidField { pointer, .. }) => pointer,
                Err(other) => panic!("{other:?}"),
            }
        };
        assert_eq!(answer(good.clone()), "");
        let wrong = [
            (
                "/report/report_sha256",
                DiffSummary {
                    report_sha256: "CD".repeat(32),
                    ..good.clone()
                },
            ),
            (
                "/report/candidate_sha256",
                DiffSummary {
                    candidate_sha256: "ef".repeat(32),
                    ..good.clone()
                },
            ),
            (
                "/report/until",
                DiffSummary {
                    until: facts.now + TimeDelta::microseconds(1),
                    ..good.clone()
                },
            ),
            (
                "/report/since",
                DiffSummary {
                    since: Some(facts.now + TimeDelta::microseconds(1)),
                    ..good.clone()
                },
            ),
            (
                "/report/decisions",
                DiffSummary {
                    undecided: 2,
                    ..good.clone()
                },
            ),
        ];
        for (pointer, report) in wrong {
            assert_eq!(answer(report), pointer);
        }
    }
}
