//! What a candidate would have decided about everything that was decided.
//!
//! Decisions are read part by part in the order of their ids, evaluated on all processors while the
//! next part is read, and counted in their order: memory does not depend on how many there are, and
//! the report not on how many processors. The report names everything that it depends on, and its
//! canonical hash names the report: an activation can be bound to it.

use std::{collections::BTreeMap, sync::Arc};

use chrono::{DateTime, Utc};
use contracts::{
    DecisionId, TenantId, TicketId,
    canonical::{canonical_json, canonical_sha256},
    policy::{BundleRef, DenyClass, PolicyResult},
};
use policy::{Bundle, EvaluationError};
use serde::{Deserialize, Serialize};
use sqlx::PgPool;

use crate::{
    DecisionChange, Error, Range, Snapshot,
    decisions::approval,
    evaluate::{Answer, evaluate},
    record::Decision,
};

/// Decisions that are looked at together: what is held in memory, twice.
const PART: i64 = 2_000;
/// Examples that each group keeps: the latest.
const EXAMPLES: usize = 3;
/// A bundle that makes up codes as it goes has no more groups than this.
const MOST_GROUPS: usize = 1_000;
/// The rule of what does not fit into these.
const OTHER_RULES: &str = "OTHER_RULES";

/// The report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiffReport {
    /// Shape of this document; 1.
    pub v: u16,
    /// `policy_diff`.
    pub kind: String,
    /// What decided again: version of the program.
    pub code_version: String,
    /// Under which bundle.
    pub candidate: BundleRef,
    /// What was asked for.
    pub range: Range,
    /// How many decisions were looked at.
    pub total: u64,
    /// The first of them in the order of ids.
    pub first: Option<DecisionId>,
    /// The last of them.
    pub last: Option<DecisionId>,
    /// When the latest of them was made.
    pub last_at: Option<DateTime<Utc>>,
    /// The bundles that had decided them.
    pub decided_by: Vec<DecidedBy>,
    /// How many there are of each sort.
    pub decisions: BTreeMap<DecisionChange, u64>,
    /// What differs, by rule and operation.
    pub groups: Vec<Group>,
}

/// A bundle that had decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DecidedBy {
    /// Which.
    pub bundle: BundleRef,
    /// How many of the decisions.
    pub decisions: u64,
}

/// Decisions that differ for the same rule. One that differs for several stands in several groups.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// How they differ.
    pub change: DecisionChange,
    /// The code of the rule: that of the candidate for what it would refuse, that of then for what
    /// it would let pass. What cannot be evaluated has `BUDGET`, `FAILED`, `INPUT` or `OUTPUT`.
    pub rule: String,
    /// What was attempted.
    pub operation: String,
    /// How many.
    pub count: u64,
    /// The latest of them, the newest first.
    pub examples: Vec<Example>,
}

/// A decision that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Example {
    /// Which.
    pub decision_id: DecisionId,
    /// Whose.
    pub tenant_id: TenantId,
    /// About which ticket.
    pub ticket_id: Option<TicketId>,
    /// When.
    pub at: DateTime<Utc>,
    /// What was decided.
    pub was: PolicyResult,
    /// What would be.
    pub would_be: Option<PolicyResult>,
    /// The rule's sentence.
    pub message: String,
    /// What would make it pass; empty where that is not the rule's to say.
    pub to_pass: String,
}

impl DiffReport {
    /// The hash that names it.
    ///
    /// # Errors
    /// Never for a report: all of it can be written as JSON.
    pub fn sha256(&self) -> serde_json::Result<String> {
        canonical_sha256(self)
    }

    /// The bytes of which [`Self::sha256`] is the hash.
    ///
    /// # Errors
    /// As [`Self::sha256`].
    pub fn bytes(&self) -> serde_json::Result<String> {
        canonical_json(self)
    }

    /// How many decisions there are of a sort.
    pub fn count(&self, change: DecisionChange) -> u64 {
        self.decisions.get(&change).copied().unwrap_or_default()
    }
}

/// Evaluates every decision of the range under the candidate. `tell` hears how many are done, and of
/// how many.
///
/// # Errors
/// When the record cannot be read.
pub async fn diff(
    pool: &PgPool,
    candidate: &Arc<Bundle>,
    range: &Range,
    code_version: &str,
    mut tell: impl FnMut(u64, u64),
) -> Result<DiffReport, Error> {
    let mut snapshot = Snapshot::begin(pool).await?;
    let total = snapshot.count(range).await?;
    let mut tally = Tally::default();
    tell(0, total);
    for tenant in &range.tenants {
        let mut part = snapshot.decisions(*tenant, range, None, PART).await?;
        while let Some(last) = part.last().map(|decision| decision.id) {
            let inputs = part
                .iter_mut()
                .map(|decision| std::mem::take(&mut decision.input))
                .collect();
            let (answers, next) = tokio::join!(
                evaluate(candidate, inputs),
                snapshot.decisions(*tenant, range, Some(last), PART),
            );
            for (decision, answer) in part.iter().zip(&answers?) {
                tally.add(*tenant, decision, answer);
            }
            tell(tally.total, total);
            part = next?;
        }
    }
    snapshot.end().await?;
    Ok(tally.report(code_version, candidate.reference(), range))
}

/// What was counted so far.
#[derive(Default)]
struct Tally {
    total: u64,
    first: Option<DecisionId>,
    last: Option<DecisionId>,
    last_at: Option<DateTime<Utc>>,
    decided_by: BTreeMap<(String, String), u64>,
    decisions: BTreeMap<DecisionChange, u64>,
    groups: BTreeMap<(DecisionChange, String, String), (u64, Vec<Example>)>,
}

/// A rule for which a decision differs.
struct Rule<'a> {
    code: &'a str,
    /// Which error code a caller gets; `None` where it is not on record.
    class: Option<DenyClass>,
    message: &'a str,
    to_pass: &'a str,
}

impl Tally {
    fn add(&mut self, tenant_id: TenantId, decision: &Decision, answer: &Answer) {
        let change = decision.recorded.compare(answer);
        self.total += 1;
        self.first.get_or_insert(decision.id);
        self.last = Some(decision.id);
        self.last_at = self.last_at.max(Some(decision.at));
        let bundle = &decision.recorded.bundle;
        let by = (bundle.version.clone(), bundle.sha256.clone());
        *self.decided_by.entry(by).or_default() += 1;
        *self.decisions.entry(change).or_default() += 1;
        if change == DecisionChange::Same {
            return;
        }
        let error = answer.as_ref().err().map(ToString::to_string);
        for rule in rules(change, decision, answer, error.as_deref()) {
            let example = Example {
                decision_id: decision.id,
                tenant_id,
                ticket_id: decision.ticket_id,
                at: decision.at,
                was: decision.recorded.result,
                would_be: answer.as_ref().ok().map(|decision| decision.result),
                message: rule.message.to_owned(),
                to_pass: rule.to_pass.to_owned(),
            };
            self.group(change, rule.code, &decision.operation, example);
        }
    }

    fn group(&mut self, change: DecisionChange, rule: &str, operation: &str, example: Example) {
        let mut key = (change, rule.to_owned(), operation.to_owned());
        if self.groups.len() >= MOST_GROUPS && !self.groups.contains_key(&key) {
            key = (change, OTHER_RULES.to_owned(), String::new());
        }
        let (count, examples) = self.groups.entry(key).or_default();
        *count += 1;
        examples.insert(0, example);
        examples.truncate(EXAMPLES);
    }

    fn report(self, code_version: &str, candidate: &BundleRef, range: &Range) -> DiffReport {
        let mut decisions: BTreeMap<_, _> = DecisionChange::ALL.map(|change| (change, 0)).into();
        decisions.extend(self.decisions);
        let mut groups: Vec<_> = self
            .groups
            .into_iter()
            .map(|((change, rule, operation), (count, examples))| Group {
                change,
                rule,
                operation,
                count,
                examples,
            })
            .collect();
        // What matters most first: the sort keeps the order of the keys among equals.
        groups.sort_by_key(|group| (group.change, std::cmp::Reverse(group.count)));
        DiffReport {
            v: 1,
            kind: "policy_diff".to_owned(),
            code_version: code_version.to_owned(),
            candidate: candidate.clone(),
            range: range.clone(),
            total: self.total,
            first: self.first,
            last: self.last,
            last_at: self.last_at,
            decided_by: self
                .decided_by
                .into_iter()
                .map(|((version, sha256), decisions)| DecidedBy {
                    bundle: BundleRef { version, sha256 },
                    decisions,
                })
                .collect(),
            decisions,
            groups,
        }
    }
}

impl Rule<'_> {
    fn is(&self, other: &Rule<'_>) -> bool {
        let classes = self.class.zip(other.class);
        self.code == other.code && classes.is_none_or(|(one, other)| one == other)
    }
}

/// The rules for which a decision differs; at least one.
fn rules<'a>(
    change: DecisionChange,
    decision: &'a Decision,
    answer: &'a Answer,
    error: Option<&'a str>,
) -> Vec<Rule<'a>> {
    let then: Vec<_> = decision
        .recorded
        .reasons
        .iter()
        .map(|reason| Rule {
            code: &reason.code,
            class: reason.class.as_ref().and_then(|word| word.parse().ok()),
            message: &reason.message,
            to_pass: &reason.to_pass,
        })
        .collect();
    let now: Vec<_> = match answer {
        Ok(answer) => answer
            .reasons
            .iter()
            .map(|reason| Rule {
                code: &reason.code,
                class: Some(reason.class),
                message: &reason.message,
                to_pass: &reason.to_pass,
            })
            .collect(),
        Err(failed) => {
            let code = match failed {
                EvaluationError::Input { .. } => "INPUT",
                EvaluationError::Budget { .. } | EvaluationError::Slow { .. } => "BUDGET",
                EvaluationError::Failed { .. } => "FAILED",
                EvaluationError::Output { .. } => "OUTPUT",
            };
            let message = error.unwrap_or_default();
            return vec![Rule {
                code,
                class: None,
                message,
                to_pass: "",
            }];
        }
    };
    let mut found = match change {
        DecisionChange::NewlyAllowed => then,
        DecisionChange::OtherReasons => {
            let (gone, new) = (without(&then, &now), without(&now, &then));
            gone.into_iter().chain(new).collect()
        }
        _ => match without(&now, &then) {
            // The same rules, with another result.
            none if none.is_empty() => now,
            new => new,
        },
    };
    // A rule may fail in several places.
    let mut seen = std::collections::BTreeSet::new();
    found.retain(|rule| seen.insert(rule.code));
    if found.is_empty() {
        let now = answer.as_ref().ok().and_then(approval);
        let (code, message) = match now == decision.recorded.approval {
            true => ("OBLIGATIONS", "Something else has to be done besides."),
            false => ("APPROVAL", "Others have to release it, or in another time."),
        };
        found.push(Rule {
            code,
            class: None,
            message,
            to_pass: "",
        });
    }
    found
}

/// The rules of one decision that the other does not name, or names in another class.
fn without<'a>(of: &[Rule<'a>], other: &[Rule<'_>]) -> Vec<Rule<'a>> {
    of.iter()
        .filter(|rule| !other.iter().any(|known| rule.is(known)))
        .map(|rule| Rule { ..*rule })
        .collect()
}

#[cfg(test)]
mod tests {
    use contracts::policy::{PolicyDecision, Reason};
    use serde_json::json;
    use uuid::Uuid;

    use super::*;
    use crate::{Recorded, record::RecordedReason};

    fn bundle() -> BundleRef {
        BundleRef {
            version: "1".into(),
            sha256: "0".repeat(64),
        }
    }

    fn recorded(number: u128, result: PolicyResult, codes: &[&str]) -> Decision {
        Decision {
            id: DecisionId::from_uuid(Uuid::from_u128(number)),
            ticket_id: None,
            operation: "close".into(),
            at: DateTime::UNIX_EPOCH,
            recorded: Recorded {
                result,
                reasons: codes
                    .iter()
                    .map(|code| RecordedReason {
                        code: (*code).to_owned(),
                        class: None,
                        message: format!("{code} then."),
                        to_pass: "then".into(),
                    })
                    .collect(),
                obligations: Vec::new(),
                approval: None,
                bundle: bundle(),
            },
            input: String::new(),
        }
    }

    fn now(result: PolicyResult, codes: &[&str]) -> Answer {
        let reasons: Vec<_> = codes
            .iter()
            .map(|code| Reason {
                code: (*code).to_owned(),
                class: DenyClass::PolicyDenied,
                message: format!("{code} now."),
                to_pass: "now".into(),
                pointer: None,
            })
            .collect();
        // By way of JSON: a decision may gain fields.
        let decision: PolicyDecision = serde_json::from_value(json!({
            "result": result, "reasons": reasons, "obligations": [], "bundle": bundle(),
        }))
        .unwrap();
        Ok(decision)
    }

    fn groups(pairs: Vec<(Decision, Answer)>) -> Vec<(DecisionChange, String, u64, String)> {
        let mut tally = Tally::default();
        for (decision, answer) in &pairs {
            tally.add(TenantId::from_uuid(Uuid::nil()), decision, answer);
        }
        let range = Range::new(Vec::new(), None, DateTime::UNIX_EPOCH, None);
        let report = tally.report("test", &bundle(), &range);
        assert_eq!(report.total, pairs.len() as u64);
        assert_eq!(report.decisions.values().sum::<u64>(), report.total);
        report
            .groups
            .into_iter()
            .map(|group| {
                let example = &group.examples[0].message;
                (group.change, group.rule, group.count, example.clone())
            })
            .collect()
    }

    #[test]
    fn what_is_new_is_grouped_by_the_rule_that_makes_it_so() {
        use DecisionChange::{NewlyAllowed, NewlyDenied, NewlyNeedsApproval, OtherReasons};
        use PolicyResult::{Allow, Deny, RequireApproval};
        let found = groups(vec![
            (recorded(1, Allow, &[]), now(Allow, &[])),
            (recorded(2, Deny, &["A"]), now(Deny, &["A"])),
            (recorded(3, Deny, &["A", "B"]), now(Allow, &[])),
            (recorded(4, Deny, &["A"]), now(Allow, &[])),
            (recorded(5, RequireApproval, &["A"]), now(Deny, &["A", "C"])),
            (recorded(6, RequireApproval, &["A"]), now(Deny, &["A"])),
            (recorded(7, Allow, &[]), now(RequireApproval, &["D"])),
            (recorded(8, Deny, &["A"]), now(Deny, &["B", "B"])),
        ]);
        let expected = [
            (NewlyAllowed, "A", 2, "A then."),
            (NewlyAllowed, "B", 1, "B then."),
            (NewlyDenied, "A", 1, "A now."),
            (NewlyDenied, "C", 1, "C now."),
            (NewlyNeedsApproval, "D", 1, "D now."),
            (OtherReasons, "A", 1, "A then."),
            (OtherReasons, "B", 1, "B now."),
        ];
        let found: Vec<_> = found
            .iter()
            .map(|(change, rule, count, example)| {
                (*change, rule.as_str(), *count, example.as_str())
            })
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn the_same_rule_in_another_class_is_another_reason() {
        let then = |class: Option<&str>| {
            let mut decision = recorded(1, PolicyResult::Deny, &["A"]);
            decision.recorded.reasons[0].class = class.map(str::to_owned);
            decision
        };
        let stage = || {
            let mut answer = now(PolicyResult::Deny, &["A"]).unwrap();
            answer.reasons[0].class = DenyClass::Stage;
            Ok(answer)
        };
        let found = groups(vec![(then(Some("POLICY_DENIED")), stage())]);
        let expected = (
            DecisionChange::OtherReasons,
            "A".into(),
            1,
            "A then.".into(),
        );
        assert_eq!(found, [expected]);
        // Old artifacts do not say which it was.
        for class in [Some("STAGE"), None] {
            let found = groups(vec![(then(class), stage())]);
            assert!(found.is_empty(), "{class:?}: {found:?}");
        }
    }

    #[test]
    fn what_gives_no_decision_is_told_apart() {
        let failed = || {
            Err(EvaluationError::Failed {
                reason: "no number".into(),
            })
        };
        let found = groups(vec![
            (recorded(1, PolicyResult::Allow, &[]), failed()),
            (recorded(2, PolicyResult::Deny, &["A"]), failed()),
        ]);
        assert_eq!(found.len(), 1);
        let (change, rule, count, example) = &found[0];
        assert_eq!((*change, *count), (DecisionChange::NotEvaluable, 2));
        assert_eq!(rule, "FAILED");
        assert!(example.contains("no number"), "{example}");
    }

    #[test]
    fn examples_and_groups_are_few_however_many_decisions_there_are() {
        let mut tally = Tally::default();
        for number in 0..3_000 {
            let code = format!("RULE_{}", number % 1_500);
            let decision = recorded(number, PolicyResult::Allow, &[]);
            let answer = now(PolicyResult::Deny, &[&code]);
            tally.add(TenantId::from_uuid(Uuid::nil()), &decision, &answer);
        }
        assert_eq!(tally.groups.len(), MOST_GROUPS + 1);
        let most = tally.groups.values().map(|(_, examples)| examples.len());
        assert_eq!(most.max(), Some(EXAMPLES));
        let all: u64 = tally.groups.values().map(|(count, _)| count).sum();
        assert_eq!(all, 3_000);
    }

    #[test]
    fn a_report_is_named_by_its_bytes() {
        let range = Range::new(Vec::new(), None, DateTime::UNIX_EPOCH, None);
        let report = Tally::default().report("test", &bundle(), &range);
        let bytes = report.bytes().unwrap();
        let read: DiffReport = serde_json::from_str(&bytes).unwrap();
        assert_eq!(read, report);
        let hash = <sha2::Sha256 as sha2::Digest>::digest(bytes.as_bytes());
        assert_eq!(report.sha256().unwrap(), hex::encode(hash));
    }
}
