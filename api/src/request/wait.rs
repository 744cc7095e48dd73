//! `Prefer: wait=n` (RFC 7240): an answer that tells how it ended, if it ends soon.
//!
//! A command that was held, and a yes that releases one, are answered at once; what becomes of them
//! is for people and the workflow to say. Who asks to wait is kept until the approval has ended or
//! the time is over, and gets the same receipt as of that moment, under the same status: clients of
//! before know no other. The command itself is done before, under
//! its request id: whoever goes away meanwhile changes nothing, and asking again with the same id
//! waits again. How it ended is told as a read would tell it: to whom may read approvals at that moment,
//! and what became of the ticket to whom may read tickets. To others the answer stays the stored one.
//!
//! Waiting holds no connection to Postgres between two looks. It is bounded in time below the time
//! of a request, in number so that those who wait cannot fill the house, and ends when the process
//! is asked to stop.

use std::time::Duration;

use contracts::{
    ApprovalId, ReadPermission,
    approval::{Approval, ApprovalKind, ApprovalState},
    command::{CommandReceipt, HeldReceipt},
    ticket::Ticket,
};
use http::HeaderMap;
use serde::Serialize;
use tokio::time::{Instant, sleep_until};

use super::{Caller, context::header, guard::still_known, read::judged};
use crate::{App, limits::LimitedBy, pipeline::Answer, problem::Failure};

/// The request header.
pub const PREFER: &str = "prefer";
/// The header of an answer that waited.
pub const PREFERENCE_APPLIED: &str = "preference-applied";
/// The longest that anybody waits: with [`MARGIN`] within the time of a request, and within the half
/// minute after which proxies give up.
pub const MOST: Duration = Duration::from_secs(25);

/// What is left of a request's time for everything but the waiting.
const MARGIN: Duration = Duration::from_secs(5);
/// Between the first two looks; each pause is twice the last, up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// Whoever would wait.
#[derive(Debug)]
pub(super) struct Waiting {
    /// For how long.
    pub time: Duration,
    /// Who.
    pub caller: Caller,
    /// What they showed for it: it has to be good still when they are told.
    pub headers: HeaderMap,
}

/// How long the caller would wait; what is no number of seconds is no preference (RFC 7240 §2).
pub(super) fn preferred(headers: &HeaderMap) -> Option<Duration> {
    let preferences = header(headers, PREFER)?;
    let mut values = preferences.split(',').filter_map(|preference| {
        let (name, value) = preference.split(';').next()?.split_once('=')?;
        let is_wait = name.trim().eq_ignore_ascii_case("wait");
        is_wait.then(|| value.trim().trim_matches('"').to_owned())
    });
    // The first of a name counts.
    let seconds: u64 = values.next()?.parse().ok()?;
    (seconds > 0).then(|| Duration::from_secs(seconds).min(MOST))
}

/// An answer whose end is still to come.
enum Open {
    Held(HeldReceipt),
    Released(CommandReceipt),
}

impl Open {
    fn of(answer: &Answer) -> Option<Self> {
        match answer.status {
            202 => serde_json::from_str(&answer.body).ok().map(Self::Held),
            200 => {
                let receipt: CommandReceipt = serde_json::from_str(&answer.body).ok()?;
                let released = receipt.approval_state == Some(ApprovalState::Approved);
                released.then_some(Self::Released(receipt))
            }
            _ => None,
        }
        .filter(|open| !open.is_trial())
    }

    fn is_trial(&self) -> bool {
        match self {
            Self::Held(receipt) => receipt.dry_run,
            Self::Released(receipt) => receipt.dry_run,
        }
    }

    fn approval(&self) -> Option<ApprovalId> {
        match self {
            Self::Held(receipt) => Some(receipt.approval.id),
            Self::Released(receipt) => receipt.approval_id,
        }
    }

    /// The same receipt as of the end.
    fn ended(self, end: End) -> String {
        match self {
            Self::Held(receipt) => text(&HeldReceipt {
                approval: end.approval,
                ..receipt
            }),
            Self::Released(receipt) => text(&CommandReceipt {
                approval_state: Some(end.approval.state),
                ticket: end.ticket.unwrap_or(receipt.ticket),
                ..receipt
            }),
        }
    }
}

fn text(receipt: &impl Serialize) -> String {
    serde_json::to_string(receipt).expect("receipts hold strings and integers only")
}

/// What an approval came to, and what its ticket is now.
struct End {
    approval: Approval,
    ticket: Option<Ticket>,
}

/// Whether nothing more will become of it by itself.
fn has_ended(approval: &Approval) -> bool {
    match approval.state {
        ApprovalState::Pending => false,
        // What was held is carried out next; a change order took effect with the last yes.
        ApprovalState::Approved => approval.kind != ApprovalKind::HeldCommand,
        ApprovalState::Rejected
        | ApprovalState::Withdrawn
        | ApprovalState::Expired
        | ApprovalState::Stale
        | ApprovalState::Executed => true,
    }
}

/// The answer as of its end, if that comes in time; else as it is. With it, for how long was waited
/// at most: `None` when there is nothing to wait for or no room to wait in.
pub(super) async fn until_ended(
    app: &App,
    waiting: &Waiting,
    answer: Answer,
) -> (Answer, Option<Duration>) {
    let Some((open, id)) = Open::of(&answer).and_then(|open| {
        let id = open.approval()?;
        Some((open, id))
    }) else {
        return (answer, None);
    };
    let Ok(_room) = app.waiting_room().try_acquire() else {
        app.limiter().count(LimitedBy::Subscribers);
        return (answer, None);
    };
    let Some(_subscribed) = app.limiter().subscribe(waiting.caller.actor.tenant_id) else {
        return (answer, None);
    };
    let most = app.limits().request_timeout.saturating_sub(MARGIN);
    let wait = waiting.time.min(most);
    let end = look_until(app, waiting, id, Instant::now() + wait).await;
    let answer = match end {
        Seen::NotTheirs => return (answer, None),
        Seen::Ended(end) => Answer {
            body: open.ended(*end),
            // It is not the stored one any more.
            replayed: false,
            ..answer
        },
        Seen::Open => answer,
    };
    (answer, Some(wait))
}

/// What a look found.
enum Seen {
    /// It is not the caller's to read, or not any more.
    NotTheirs,
    Open,
    Ended(Box<End>),
}

async fn look_until(app: &App, waiting: &Waiting, id: ApprovalId, deadline: Instant) -> Seen {
    let mut pause = FIRST_PAUSE;
    loop {
        match look(app, waiting, id).await {
            Ok(Seen::Open) => {}
            Ok(seen) => return seen,
            // The command is done: its answer is worth more than the news that waiting failed.
            Err(failure) => {
                tracing::warn!(code = %failure.code(), "a caller does not wait any longer");
                return Seen::Open;
            }
        }
        let now = Instant::now();
        if now >= deadline {
            return Seen::Open;
        }
        let next = (now + pause).min(deadline);
        tokio::select! {
            () = sleep_until(next) => {}
            () = app.stopping().cancelled() => return Seen::Open,
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

async fn look(app: &App, waiting: &Waiting, id: ApprovalId) -> Result<Seen, Failure> {
    let Waiting {
        caller, headers, ..
    } = waiting;
    still_known(app, caller, headers).await?;
    let (mut tx, rights) = judged(app, caller).await?;
    if !rights.may(ReadPermission::Approvals) {
        return Ok(Seen::NotTheirs);
    }
    let found = store::read::approval(&mut tx, id).await?;
    let ended = found.map(|row| row.approval).filter(has_ended);
    let ticket = match ended.as_ref().and_then(|approval| approval.ticket_id) {
        Some(ticket) if rights.may(ReadPermission::Tickets) => {
            store::read::ticket(&mut tx, ticket).await?
        }
        _ => None,
    };
    tx.commit().await?;
    Ok(ended.map_or(Seen::Open, |approval| {
        Seen::Ended(Box::new(End { approval, ticket }))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(values: &[&str]) -> Option<u64> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(PREFER, value.parse().unwrap());
        }
        preferred(&headers).map(|time| time.as_secs())
    }

    #[test]
    fn a_preference_is_bounded_and_what_cannot_be_read_is_none() {
        assert_eq!(wait(&["wait=10"]), Some(10));
        assert_eq!(wait(&["respond-async, Wait = \"10\"; foo=1"]), Some(10));
        assert_eq!(wait(&["return=minimal", "wait=7"]), Some(7));
        assert_eq!(wait(&["wait=7, wait=9"]), Some(7));
        assert_eq!(wait(&["wait=25"]), Some(25));
        assert_eq!(wait(&["wait=30"]), Some(25));
        for none in ["wait=0", "wait=-1", "wait=soon", "wait", "waiting=3", ""] {
            assert_eq!(wait(&[none]), None, "{none}");
        }
        assert_eq!(wait(&[]), None);
        let request = crate::config::Limits::default().request_timeout;
        assert!(MOST + MARGIN <= request && request <= Duration::from_secs(30));
    }
}
