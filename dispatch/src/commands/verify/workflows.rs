//! I7: every ticket's workflow knows what the database knows.
//!
//! Both move while we look. A difference counts only when it stays: the ticket is read again until
//! it agrees, or until the healing bound is over.

use std::time::Duration;

use contracts::signal::WorkflowView;
use futures::{StreamExt, TryStreamExt, stream};
use serde::Serialize;
use sqlx::PgPool;
use store::{
    heads::{self, Head},
    verify::{Invariant, Violation},
};
use temporalio_client::Client;
use tokio::time::{Instant, sleep};

use crate::{
    exit::Failure,
    parts::database,
    temporal::{WorkflowState, ask},
};

/// How long healing may take.
const BOUND: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(500);
const PAGE: u32 = 500;
/// Queries at once; each costs the worker a replay when the workflow is not in its cache.
const AT_ONCE: usize = 8;
const KEY: &str = "database.maintenance_url";

/// What the comparison found.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// Tickets looked at.
    pub tickets: usize,
    /// Ended tickets whose workflow Temporal has forgotten after its retention.
    pub forgotten: usize,
    /// What differs.
    pub violations: Vec<Violation>,
}

enum Comparison {
    Same,
    Forgotten,
    Different(Violation),
}

/// Compares all tickets.
pub async fn compare(pool: &PgPool, temporal: &Client) -> Result<Report, Failure> {
    let mut report = Report::default();
    let mut after = None;
    loop {
        let page = heads::page(pool, after, PAGE)
            .await
            .map_err(|error| database(KEY, &error))?;
        let Some(last) = page.last() else {
            return Ok(report);
        };
        after = Some((last.tenant_id, last.ticket_id));
        report.tickets += page.len();
        let compared: Vec<_> = stream::iter(page)
            .map(|head| patiently(pool, temporal, head))
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await?;
        for comparison in compared {
            match comparison {
                Comparison::Same => {}
                Comparison::Forgotten => report.forgotten += 1,
                Comparison::Different(what) => report.violations.push(what),
            }
        }
    }
}

async fn patiently(pool: &PgPool, temporal: &Client, head: Head) -> Result<Comparison, Failure> {
    let deadline = Instant::now() + BOUND;
    let mut head = head;
    loop {
        let state = ask(temporal, head.tenant_id, head.ticket_id).await?;
        let comparison = one(&head, &state);
        if !matches!(comparison, Comparison::Different(_)) || Instant::now() > deadline {
            return Ok(comparison);
        }
        sleep(POLL).await;
        let again = heads::one(pool, head.tenant_id, head.ticket_id).await;
        head = again
            .map_err(|error| database(KEY, &error))?
            .unwrap_or(head);
    }
}

fn one(head: &Head, state: &WorkflowState) -> Comparison {
    let ended = head.state.is_terminal();
    let differs = |what: String| {
        Comparison::Different(Violation {
            invariant: Invariant::I7,
            place: format!("workflow of {}", head.ticket_id),
            what: format!(
                "{what}; database {} v{} seq {}",
                head.state, head.version, head.seq
            ),
        })
    };
    let view = match state {
        WorkflowState::Missing if ended => return Comparison::Forgotten,
        WorkflowState::Missing => return differs("no workflow".to_owned()),
        WorkflowState::Ended(status) => return differs(format!("workflow ended as {status:?}")),
        WorkflowState::Running(_) if ended => return differs("workflow still runs".to_owned()),
        WorkflowState::Completed(_) if !ended => return differs("workflow has ended".to_owned()),
        WorkflowState::Running(view) | WorkflowState::Completed(view) => view,
    };
    if same(head, view) {
        return Comparison::Same;
    }
    let level = view.level.as_ref().map_or_else(
        || "nothing".to_owned(),
        |level| format!("{} v{}", level.state, level.version),
    );
    differs(format!(
        "workflow {level} seq {}, {} kept back",
        view.applied_seq,
        view.buffered.len()
    ))
}

fn same(head: &Head, view: &WorkflowView) -> bool {
    let level = view.level.as_ref();
    level.is_some_and(|level| (level.state, level.version) == (head.state, head.version))
        && view.applied_seq == head.seq
        && view.buffered.is_empty()
}

#[cfg(test)]
mod tests {
    use contracts::{
        Priority, TenantId, TicketId, TicketState,
        event::{AutonomyMode, TicketLevel, WaitingFor},
    };
    use temporalio_client::WorkflowExecutionStatus;
    use uuid::Uuid;

    use super::*;

    fn head(state: TicketState) -> Head {
        Head {
            tenant_id: TenantId::from_uuid(Uuid::from_u128(1)),
            ticket_id: TicketId::from_uuid(Uuid::from_u128(2)),
            state,
            version: 3,
            seq: 5,
        }
    }

    fn view(state: TicketState, applied_seq: u64) -> Box<WorkflowView> {
        Box::new(WorkflowView {
            epoch: 1,
            applied_seq,
            level: Some(TicketLevel {
                state,
                version: 3,
                template: "emergency_glass".parse().unwrap(),
                priority: Priority::P1,
                waiting_for: WaitingFor::Nothing,
                visit: 1,
                sla: vec![],
                open_approvals: vec![],
                autonomy: AutonomyMode::Shadow,
                kill_generation: 0,
                approvals: vec![],
                acts_on: vec![],
                silent_on: vec![],
                stopped: None,
            }),
            buffered: vec![],
            healed: 0,
            sla_recorded: vec![],
            escalated: vec![],
            proposed: vec![],
            trouble: None,
        })
    }

    #[test]
    fn every_difference_is_found() {
        use TicketState::{Closed, OnSite};
        use WorkflowState::{Completed, Ended, Missing, Running};
        let same = |state, workflow| matches!(one(&head(state), &workflow), Comparison::Same);
        assert!(same(OnSite, Running(view(OnSite, 5))));
        assert!(same(Closed, Completed(view(Closed, 5))));
        assert!(matches!(
            one(&head(Closed), &Missing),
            Comparison::Forgotten
        ));
        for (state, workflow) in [
            (OnSite, Missing),
            (OnSite, Running(view(OnSite, 4))),
            (OnSite, Running(view(Closed, 5))),
            (OnSite, Completed(view(OnSite, 5))),
            (Closed, Running(view(Closed, 5))),
            (OnSite, Ended(WorkflowExecutionStatus::Terminated)),
        ] {
            let comparison = one(&head(state), &workflow);
            assert!(
                matches!(comparison, Comparison::Different(_)),
                "{state} {workflow:?}"
            );
        }
    }
}
