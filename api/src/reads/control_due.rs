//! `GET /api/v1/control/due`
//!
//! What is due for a tenant without a ticket, as commands with their keys. It is computed from what
//! is on record at this moment, so asking twice does no harm, and neither does sending twice.

use std::{
    collections::{BTreeMap, BTreeSet},
    error::Error,
    time::Duration,
};

use chrono::{DateTime, Utc};
use contracts::{
    Command, Operation, Slug, TenantId,
    approval::Approval,
    autonomy::{ControlDue, DueCommand, StageSetting, StageTarget},
    command::{ApplyStageChange, DemoteStage, EraseTenant, RecordApprovalStep, ReleaseKillSwitch},
    rollout::StageChange,
    tenant::TenantState,
};
use domain::{
    Autonomy,
    rollout::{self, Breached, was_stopped},
};
use serde_json::json;
use store::read::ExpiredSwitch;
use tokio::time::{Instant, timeout};
use uuid::Uuid;

use super::{Endpoint, Failure, Json, ReadPermission, ReadRequest, get, rollout::standing};

/// How long all guardrails of a tenant may be looked at. Whoever asks waits for two seconds, and all
/// else that is due has to be told within them.
const GUARDRAILS: Duration = Duration::from_millis(1_200);

async fn handler(request: ReadRequest) -> Result<Json<ControlDue>, Failure> {
    request.query(&[])?;
    let (tenant, now) = (request.actor().tenant_id, request.received_at());
    let mut tx = request.open().await?;
    // Of a tenant that is not active nothing is due but its end.
    let stands = store::tenants::standing(&mut tx).await?;
    if let Some((state, erase_after)) = stands
        && state != TenantState::Active
    {
        let due = erase_after.filter(|at| *at <= now);
        let commands = due.map(|at| erased(tenant, at)).into_iter().collect();
        tx.commit().await?;
        return Ok(Json(ControlDue { commands }));
    }
    let (autonomy, rows, _) = standing(&request, &mut tx).await?;
    let set_at = rows.into_iter().map(|row| (row.setting.target, row.set_at));
    let set_at = set_at.collect();
    let steps = store::read::approval_steps_due(&mut tx, now).await?;
    let to_come = store::read::stage_changes_to_come(&mut tx).await?;
    let turned = store::read::turned_switches(&mut tx).await?;
    let expired = store::read::expired_switches(&mut tx, now).await?;
    tx.commit().await?;
    let guarded = guarded(&request, &autonomy, &set_at).await;
    // What goes back comes before what goes ahead: it makes the latter void.
    let mut commands = guarded.due;
    commands.extend(steps.iter().filter_map(|approval| step(tenant, approval)));
    let sender = &request.actor().id;
    let come = to_come.iter().filter(|change| {
        change.effective_at <= now
            && can_come(change, &autonomy)
            && !(goes_ahead(change) && guarded.unknown.contains(&change.target.operation))
            && !was_stopped(change, &turned, sender)
    });
    commands.extend(come.map(|change| applied(tenant, change)));
    commands.extend(expired.into_iter().map(|switch| released(tenant, switch)));
    Ok(Json(ControlDue { commands }))
}

/// When stages were set; those that come from the bundle never were.
type SetAt = BTreeMap<StageTarget, DateTime<Utc>>;

/// What the guardrails say.
#[derive(Default)]
struct Guarded {
    /// Stages whose guardrails do not hold go back by one.
    due: Vec<DueCommand>,
    /// Commands with a guardrail that could not be looked at: the next round does.
    unknown: BTreeSet<Operation>,
}

/// Looks at each guardrail for itself: one that cannot be read in its share of the time, or not at
/// all, keeps nothing else from being told.
async fn guarded(request: &ReadRequest, autonomy: &Autonomy, set_at: &SetAt) -> Guarded {
    // A mode that comes from the bundle has its guardrail too, since there is no saying when.
    let mut acting = autonomy.all_standing();
    acting.retain(|stage| rollout::acts(stage.mode));
    let (tenant, unread) = (request.actor().tenant_id, request.unread());
    let until = Instant::now() + GUARDRAILS;
    let mut guarded = Guarded::default();
    for (place, stage) in acting.iter().enumerate() {
        let left = until.saturating_duration_since(Instant::now());
        let others = u32::try_from(acting.len() - place).unwrap_or(u32::MAX);
        let share = left / others;
        let since = set_at.get(&stage.target).copied();
        let looked = breached(request, autonomy, (stage, since), share);
        let cause = match timeout(share, looked).await {
            Ok(Ok(breached)) => {
                unread.was_read(tenant, stage);
                let due = breached.map(|breached| demoted(tenant, stage, breached));
                guarded.due.extend(due);
                continue;
            }
            Ok(Err(error)) => Some(error),
            Err(_) => None,
        };
        tracing::error!(
            tenant_id = %tenant,
            stage = stage.target.key(),
            error = cause.as_ref().map(|error| error as &dyn Error),
            "a guardrail could not be looked at in time; the next round tries again"
        );
        guarded.unknown.insert(stage.target.operation);
        if unread.was_missed(tenant, stage) {
            let unreadable = rollout::unreadable(stage.mode);
            let due = unreadable.map(|unreadable| demoted(tenant, stage, unreadable));
            guarded.due.extend(due);
        }
    }
    guarded
}

/// What a guardrail says of a stage and since when it is set, in a transaction of its own: what fails
/// here ends no other.
async fn breached(
    request: &ReadRequest,
    autonomy: &Autonomy,
    (stage, set_at): (&StageSetting, Option<DateTime<Utc>>),
    lasts: Duration,
) -> Result<Option<Breached>, store::Error> {
    let rules = &autonomy.rules.guardrails;
    let now = request.received_at();
    let operation = stage.target.operation;
    let since = rollout::window(rules, set_at, now);
    let mut tx = request.open_again().await?;
    // The database gives up as well: else the connection would be gone until it is done.
    tx.allow(lasts.max(Duration::from_millis(1))).await?;
    let facts = store::read::deeds(&mut tx, operation, (since, now)).await?;
    tx.commit().await?;
    let figures = rollout::ledger(operation, &facts.governed_by(&stage.target, autonomy));
    Ok(rollout::breached(rules, stage.mode, &figures))
}

fn demoted(tenant: TenantId, stage: &StageSetting, breached: Breached) -> DueCommand {
    let about = format!("{}/{}", stage.target.key(), breached.reason);
    let body = DemoteStage {
        target: stage.target.clone(),
        to: breached.to,
        percent: None,
        reason: breached.reason,
    };
    command(tenant, "demote", &about, stage.version, body)
}

/// Whether it leads somewhere now: to a class that the bundle has, and no farther than the environment
/// allows.
fn can_come(change: &StageChange, autonomy: &Autonomy) -> bool {
    autonomy.has_class_of(&change.target) && change.to <= autonomy.ceiling
}

/// Whether software may do as much or more by it: not while nobody knows how it does.
fn goes_ahead(change: &StageChange) -> bool {
    change.to >= change.from
}

fn step(tenant: TenantId, approval: &Approval) -> Option<DueCommand> {
    let next = approval.steps.first()?;
    let about = format!(
        "{}/{}/{}",
        approval.id,
        next.step,
        next.at.timestamp_micros()
    );
    let body = RecordApprovalStep {
        approval_id: approval.id,
        version: approval.version,
        step: next.step,
        at: next.at,
        applied_seq: 0,
    };
    Some(command(
        tenant,
        "approval_step",
        &about,
        approval.version.into(),
        body,
    ))
}

fn applied(tenant: TenantId, change: &StageChange) -> DueCommand {
    let body = ApplyStageChange {
        change: change.command_id,
    };
    command(tenant, "apply", &change.command_id.to_string(), 1, body)
}

fn released(tenant: TenantId, switch: ExpiredSwitch) -> DueCommand {
    let about = switch.scope.key();
    let body = ReleaseKillSwitch {
        reason: Slug::new("expired").expect("a lowercase word"),
        scope: switch.scope,
    };
    command(tenant, "release", &about, switch.generation, body)
}

/// Its time of grace is over.
fn erased(tenant: TenantId, after: DateTime<Utc>) -> DueCommand {
    let body = EraseTenant { tenant_id: tenant };
    let about = after.timestamp_micros().to_string();
    command(tenant, "erase", &about, 1, body)
}

/// Its key follows from what it is about and which version of that: the same reason, the same key.
fn command(
    tenant: TenantId,
    purpose: &str,
    about: &str,
    version: u64,
    body: impl Into<Command>,
) -> DueCommand {
    let name = format!("{tenant}/control/{purpose}/{about}/{version}");
    let command = body.into();
    let document = json!(command);
    DueCommand {
        request_id: Uuid::new_v5(&Uuid::NAMESPACE_URL, name.as_bytes()).to_string(),
        operation: command.operation(),
        body: document["body"].clone(),
    }
}

pub(super) fn endpoint() -> Endpoint {
    Endpoint::read::<ControlDue>("get_control_due", "/control/due", get(handler))
        .needs(ReadPermission::Machinery)
        .summary("What is due for a tenant without a ticket")
        .description(
            "Stages whose guardrails do not hold, steps of approvals, changes of stages and ends of \
             kill switches whose time has come: as commands that the tenant's control is to send. \
             Of a tenant that is not active nothing is due but its erasure, once its time of grace is over. \
             A change that a kill switch stopped when its time came is not among them, then or later. \
             A guardrail that cannot be read in time keeps back only changes that go ahead; one that \
             cannot be read for long takes its stage back.",
        )
}

#[cfg(test)]
mod tests {
    use contracts::{
        approval::{Approval, ApprovalStep, StepKind},
        event::AutonomyMode,
        kill_switch::KillScope,
    };
    use domain::rollout::TurnedSwitch;

    use super::*;

    const TENANT: TenantId = TenantId::from_uuid(Uuid::from_u128(1));

    fn at(minute: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(minute * 60, 0).expect("a moment")
    }

    fn approval(version: u32) -> Approval {
        let mut approval: Approval = serde_json::from_value(json!({
            "id": format!("apr_{}", "0".repeat(32)), "kind": "promotion", "state": "pending",
            "requested_by": "usr_a", "required_roles": ["tenant_admin"], "request_sha256": "",
            "request": {}, "requested_at": at(0), "decided_by": null, "decided_at": null,
            "reason": null, "version": version,
        }))
        .expect("an approval");
        approval.steps = [(StepKind::Reminder, 5), (StepKind::Expiry, 9)]
            .map(|(step, minute)| ApprovalStep {
                at: at(minute),
                step,
                roles: Vec::new(),
            })
            .to_vec();
        approval
    }

    #[test]
    fn the_next_step_of_an_approval_is_sent_as_its_plan_names_it() {
        let due = step(TENANT, &approval(2)).unwrap();
        assert_eq!(due.operation, Operation::RecordApprovalStep);
        assert_eq!(due.body["at"], json!(at(5)));
        assert_eq!(
            (&due.body["step"], &due.body["version"]),
            (&json!("reminder"), &json!(2))
        );
        assert_eq!(
            due,
            step(TENANT, &approval(2)).unwrap(),
            "the same key each time"
        );
        let mut later = approval(2);
        later.steps.remove(0);
        assert_ne!(due.request_id, step(TENANT, &later).unwrap().request_id);
        assert_ne!(
            due.request_id,
            step(TENANT, &approval(3)).unwrap().request_id
        );
        later.steps.clear();
        assert_eq!(step(TENANT, &later), None);
    }

    #[test]
    fn a_change_that_was_stopped_when_its_time_came_does_not_come() {
        let change = StageChange {
            command_id: "cmd_00000000000000000000000000000001".parse().unwrap(),
            target: StageTarget {
                operation: Operation::Dispatch,
                risk: None,
            },
            from: AutonomyMode::Shadow,
            to: AutonomyMode::Approve,
            percent: None,
            report_sha256: None,
            reason: Slug::new("good_figures").unwrap(),
            decided_by: "usr_a".to_owned(),
            decided_at: at(0),
            effective_at: at(5),
            applied_at: None,
            stage_version: 1,
            superseded: false,
            superseded_by: None,
        };
        let stopped = |scope: &str, until| {
            let scope = scope.to_owned();
            was_stopped(&change, &[TurnedSwitch { scope, until }], "svc_flow")
        };
        for scope in [
            "everything",
            "tenant",
            "operation:apply_stage_change",
            "operation:dispatch",
            "agent:svc_flow",
        ] {
            assert!(stopped(scope, None), "{scope}: it stands");
            assert!(stopped(scope, Some(at(5))), "{scope}: released after it");
            assert!(!stopped(scope, Some(at(4))), "{scope}: released before");
        }
        for scope in ["operation:triage", "channel:sms", "agent:svc_other"] {
            assert!(!stopped(scope, None), "{scope}: about something else");
        }
        assert!(!was_stopped(&change, &[], "svc_flow"));
        assert!(goes_ahead(&change), "and not while a guardrail is unknown");
        let back = StageChange {
            from: AutonomyMode::Auto,
            ..change
        };
        assert!(!goes_ahead(&back), "going back is never kept waiting");
        let mut autonomy = Autonomy {
            at: at(5),
            stages: Vec::new(),
            switches: Vec::new(),
            ceiling: AutonomyMode::Approve,
            rules: policy::Bundle::starter().unwrap().autonomy().clone(),
        };
        assert!(can_come(&back, &autonomy));
        autonomy.ceiling = AutonomyMode::Shadow;
        assert!(!can_come(&back, &autonomy), "the environment allows less");
    }

    #[test]
    fn an_expired_switch_is_released_once_for_each_turn() {
        let switch = |generation| ExpiredSwitch {
            scope: KillScope::Operation {
                operation: Operation::Dispatch,
            },
            generation,
            expires_at: at(1),
        };
        let due = released(TENANT, switch(3));
        assert_eq!(due.operation, Operation::ReleaseKillSwitch);
        assert_eq!(due.body["reason"], "expired");
        assert_eq!(due.request_id, released(TENANT, switch(3)).request_id);
        assert_ne!(due.request_id, released(TENANT, switch(5)).request_id);
    }
}
