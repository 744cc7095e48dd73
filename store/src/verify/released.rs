//! The decisions on what a last yes released: an approval without a ticket is carried out by the yes
//! itself, and a change order takes effect with it, judged anew where another bundle had let it be
//! asked for. And the decisions on what was amended, which want people to be asked about that. The audit
//! row of the yes, or of the amendment, names that decision with its hash. The chain covers the row, so
//! it covers the decision too.

use serde_json::Value;
use sqlx::{FromRow, PgConnection, types::Json};
use uuid::Uuid;

use super::{Findings, Invariant, MOST_PER_CHECK};
use crate::{Error, audit::decision_sha256};

/// Yeses after which such an approval was carried out or void, and amendments, with the decision that
/// they name. Of before version 0.3 no demands of a change order are on record, and it was not judged
/// anew; nor were the decisions on amendments on record in its beginning.
const BESIDE: &str = "
    select a.command_id,
           a.operation = 'amend_approval' as amends,
           coalesce(a.changes #>> '{0,data,state}' = 'executed',
                    a.changes #>> '{0,event,data,verdict}' = 'approve', false) as executed,
           a.named ->> 'decision_sha256' as sha256, d.input, d.result,
           a.named ->> 'operation' = d.operation and a.at = d.at
               and a.bundle_sha256 = d.bundle_sha256 and a.ticket_id is not distinct from d.ticket_id
               and a.correlation_id = d.correlation_id and a.trace_id = d.trace_id as belongs,
           case when d.id is not null then jsonb_build_object(
               'result', d.result, 'reasons', d.reasons, 'obligations', d.obligations,
               'bundle', jsonb_build_object('version', d.bundle_version, 'sha256', d.bundle_sha256))
               || case when d.approval is null then '{}'
                       else jsonb_build_object('approval', d.approval) end
           end as decision
      from (select a.*, coalesce(a.payload -> 'released', a.payload -> 'amended') as named
              from audit_events a
             where a.refused is null and a.operation in ('decide_approval', 'amend_approval')) a
      left join policy_decisions d on d.tenant_id = a.tenant_id and d.command_id = a.command_id
       and wire_id('dec', d.id) = a.named ->> 'decision_id'
     where a.named is not null
        or a.operation = 'decide_approval'
       and (a.ticket_id is null and a.changes #>> '{0,type}' = 'approval.changed'
               and a.changes #>> '{0,data,state}' in ('executed', 'stale')
            or a.changes #>> '{0,event,type}' = 'change.decided' and exists (
                select from approvals p
                  join audit_events q on q.tenant_id = p.tenant_id and q.command_id = p.command_id
                 where p.tenant_id = a.tenant_id and p.id = row_id(a.payload ->> 'approval_id')
                   and p.decided_command_id = a.command_id and p.kind = 'change_order' and p.state in ('approved', 'stale')
                   and p.demands <> '[]' and q.bundle_sha256 <> a.bundle_sha256))";

#[derive(Debug, FromRow)]
struct Row {
    command_id: Uuid,
    amends: bool,
    executed: bool,
    sha256: Option<String>,
    input: Option<String>,
    result: Option<String>,
    belongs: Option<bool>,
    decision: Option<Json<Value>>,
}

impl Row {
    /// What is wrong with it.
    fn fault(&self) -> Option<(Invariant, &'static str)> {
        let (Some(Json(decision)), Some(input)) = (&self.decision, &self.input) else {
            return Some((
                Invariant::I2,
                match self.amends {
                    false => "a yes without the decision on what it released",
                    true => "an amendment without the decision on what it asks for",
                },
            ));
        };
        if Some(decision_sha256(decision, input)) != self.sha256 {
            return Some((
                Invariant::I9,
                match self.amends {
                    false => "the decision on what was released is not the one of the chain",
                    true => "the decision on what was amended is not the one of the chain",
                },
            ));
        }
        if self.belongs != Some(true) {
            return Some((
                Invariant::I2,
                match self.amends {
                    false => "a decision on something else than what was released",
                    true => "a decision on something else than what was amended",
                },
            ));
        }
        let (needs, what) = match (self.amends, self.executed) {
            (true, _) => (
                "REQUIRE_APPROVAL",
                "people are asked about an amendment that the policy did not hold",
            ),
            (false, true) => (
                "ALLOW",
                "something was carried out that the policy did not allow",
            ),
            // It came to nothing.
            (false, false) => return None,
        };
        (self.result.as_deref() != Some(needs)).then_some((Invariant::I1, what))
    }
}

pub(super) async fn check(tx: &mut PgConnection, found: &mut Findings) -> Result<(), Error> {
    let rows: Vec<Row> = sqlx::query_as(BESIDE).fetch_all(&mut *tx).await?;
    let faults = rows.iter().filter_map(|row| Some((row, row.fault()?)));
    for (row, (invariant, what)) in faults.take(MOST_PER_CHECK) {
        found.add(invariant, format!("audit_events {}", row.command_id), what);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn row() -> Row {
        let decision = json!({ "result": "ALLOW" });
        Row {
            command_id: Uuid::nil(),
            amends: false,
            executed: true,
            sha256: Some(decision_sha256(&decision, "{}")),
            input: Some("{}".into()),
            result: Some("ALLOW".into()),
            belongs: Some(true),
            decision: Some(Json(decision)),
        }
    }

    #[test]
    fn what_was_released_is_what_the_yes_names() {
        let fault = |row: Row| row.fault().map(|(invariant, _)| invariant);
        assert_eq!(fault(row()), None);
        let missing = Row {
            decision: None,
            ..row()
        };
        assert_eq!(fault(missing), Some(Invariant::I2));
        let other = Row {
            belongs: None,
            ..row()
        };
        assert_eq!(fault(other), Some(Invariant::I2));
        let changed = Row {
            input: Some("[]".into()),
            ..row()
        };
        assert_eq!(fault(changed), Some(Invariant::I9));
        let denied = || {
            let decision = json!({ "result": "DENY" });
            Row {
                sha256: Some(decision_sha256(&decision, "{}")),
                result: Some("DENY".into()),
                decision: Some(Json(decision)),
                ..row()
            }
        };
        assert_eq!(fault(denied()), Some(Invariant::I1));
        let void = Row {
            executed: false,
            ..denied()
        };
        assert_eq!(fault(void), None);
        let amended = Row {
            amends: true,
            ..denied()
        };
        assert_eq!(fault(amended), Some(Invariant::I1));
    }
}
