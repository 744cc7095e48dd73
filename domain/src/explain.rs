//! What happened, in a sentence for people.
//!
//! An explanation is made from what the audit row holds and from nothing else, so it can be made
//! again at any time and cannot leak what the row does not have: no names, no addresses, no text
//! that somebody wrote. Times are in the tenant's time zone, amounts in its currency, ids in their
//! short form.

use std::fmt::Write as _;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use contracts::{
    ErrorCode, Operation, TicketEvent, TicketState,
    approval::{StepKind, Verdict},
    comms::Routing,
    event::TicketChange,
    policy::Reason,
    schedule::{TenantSettings, TimeWindow},
    sla::{ClockPhase, SlaClock, SlaRecordKind},
    value::Slug,
};
use strum::VariantArray;

use crate::ticket::table::next_state;

/// How a tenant reads times and amounts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    zone: Tz,
    currency: String,
}

impl Place {
    /// That of a tenant; times are in UTC when its time zone is none.
    pub fn of(settings: &TenantSettings) -> Self {
        Self {
            zone: settings.calendar.time_zone.parse().unwrap_or(Tz::UTC),
            currency: settings.currency.clone(),
        }
    }

    fn time(&self, at: DateTime<Utc>) -> String {
        let at = at.with_timezone(&self.zone);
        at.format("%-d %b %Y %H:%M %Z").to_string()
    }

    fn window(&self, window: TimeWindow) -> String {
        let (start, end) = (
            window.start.with_timezone(&self.zone),
            window.end.with_timezone(&self.zone),
        );
        match start.date_naive() == end.date_naive() {
            true => format!(
                "{} to {}",
                start.format("%-d %b %Y %H:%M"),
                end.format("%H:%M %Z")
            ),
            false => format!("{} to {}", self.time(window.start), self.time(window.end)),
        }
    }

    /// An amount in the smallest unit of the currency (ISO 4217 says how many make one).
    fn money(&self, amount: i64) -> String {
        let digits = match self.currency.as_str() {
            "BIF" | "CLP" | "DJF" | "GNF" | "ISK" | "JPY" | "KMF" | "KRW" | "PYG" | "RWF"
            | "UGX" | "UYI" | "VND" | "VUV" | "XAF" | "XOF" | "XPF" => 0,
            "BHD" | "IQD" | "JOD" | "KWD" | "LYD" | "OMR" | "TND" => 3,
            _ => 2,
        };
        let unit = 10_u64.pow(digits);
        let sign = if amount < 0 { "-" } else { "" };
        let (whole, rest) = (amount.unsigned_abs() / unit, amount.unsigned_abs() % unit);
        match digits {
            0 => format!("{} {sign}{whole}", self.currency),
            _ => format!(
                "{} {sign}{whole}.{rest:0width$}",
                self.currency,
                width = digits as usize
            ),
        }
    }
}

/// One attempt, as its audit row and its decision hold it.
#[derive(Debug, Clone, Copy)]
pub struct Attempt<'a> {
    /// What was attempted.
    pub operation: Operation,
    /// The refusal, when it was one.
    pub refused: Option<ErrorCode>,
    /// State before.
    pub before: Option<TicketState>,
    /// The policy's reasons.
    pub reasons: &'a [Reason],
    /// What happened, in order.
    pub changes: &'a [TicketChange],
}

/// What happened and, for a refusal, what would have passed.
pub fn explain(attempt: &Attempt<'_>, place: &Place) -> String {
    match attempt.refused {
        Some(code) => refusal(attempt, code),
        None => acceptance(attempt, place),
    }
}

fn acceptance(attempt: &Attempt<'_>, place: &Place) -> String {
    let sentences: Vec<_> = attempt
        .changes
        .iter()
        .map(|change| event(&change.event, place))
        .collect();
    let mut text = match sentences.is_empty() {
        true => format!("Allowed: {}. Nothing changed.", intent(attempt.operation)),
        false => sentences.join(" "),
    };
    let clocks = attempt.changes.iter().rev().find_map(|c| c.sla.as_deref());
    if let Some(clocks) = clocks.and_then(|clocks| promises(clocks, place)) {
        text.push(' ');
        text.push_str(&clocks);
    }
    text
}

/// What the clocks say after a change of them.
fn promises(clocks: &[SlaClock], place: &Place) -> Option<String> {
    let next = clocks
        .iter()
        .filter_map(|clock| Some((clock.due_at()?, &clock.name)))
        .min();
    let paused = || {
        let mut phases = clocks.iter().map(|clock| clock.phase);
        phases.any(|phase| matches!(phase, ClockPhase::Paused { .. }))
    };
    match next {
        Some((due_at, clock)) => Some(format!("Next deadline: `{clock}`, {}.", place.time(due_at))),
        None if paused() => Some("The clocks are paused.".to_owned()),
        None => None,
    }
}

fn refusal(attempt: &Attempt<'_>, code: ErrorCode) -> String {
    let mut text = format!("Refused ({code}): {}. ", intent(attempt.operation));
    let by_policy = match code {
        ErrorCode::Forbidden
        | ErrorCode::PolicyDenied
        | ErrorCode::Stage
        | ErrorCode::KillSwitch => true,
        ErrorCode::IllegalTransition => {
            text.push_str(&obstacle(attempt));
            false
        }
        other => {
            text.push_str(why(other));
            false
        }
    };
    if by_policy {
        for reason in attempt.reasons {
            // The rules' own sentences; writing to a string cannot fail.
            let _ = write!(text, "{} ", sentence(&reason.message));
            if !reason.to_pass.is_empty() {
                let _ = write!(text, "To pass: {} ", sentence(&reason.to_pass));
            }
        }
        if attempt.reasons.is_empty() {
            text.push_str("No rule lets it pass.");
        }
    }
    text.trim_end().to_owned()
}

fn sentence(text: &str) -> String {
    match text.ends_with(['.', '!', '?']) {
        true => text.to_owned(),
        false => format!("{text}."),
    }
}

/// Why a command led nowhere.
fn obstacle(attempt: &Attempt<'_>) -> String {
    let operation = attempt.operation;
    let possible = |state: &TicketState| next_state(operation, *state).is_some();
    if attempt.before.is_some_and(|state| possible(&state)) {
        let text = match operation {
            Operation::CustomerAwait => {
                "The customer was awaited already; it passes once they have resumed."
            }
            Operation::CustomerResume => "The customer was not awaited; it passes while they are.",
            Operation::Dispatch => {
                "The template lets nobody be sent without a confirmed window at this priority; it \
                 passes once a window is confirmed."
            }
            Operation::RecordSla => {
                "The clock was paused or stopped and had not come that far; it passes for a \
                 deadline that the clock reached."
            }
            _ => "Something besides the state stood in the way.",
        };
        return text.to_owned();
    }
    let states: Vec<_> = TicketState::VARIANTS
        .iter()
        .filter(|state| possible(state))
        .map(ToString::to_string)
        .collect();
    let from = match attempt.before {
        Some(state) => format!("It leads nowhere from {state}"),
        None => "It leads nowhere from where the ticket stood".to_owned(),
    };
    match states.is_empty() {
        true => format!("{from}, nor from any other state."),
        false => format!("{from}; it passes from {}.", states.join(", ")),
    }
}

/// Why a command was refused by anything but the policy and the state table, and what would pass.
const fn why(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::NotFound => {
            "There was no such ticket for this tenant; it passes with the id of one."
        }
        ErrorCode::VersionConflict => {
            "The ticket had changed since the caller read it; it passes with the version that the \
             ticket has."
        }
        ErrorCode::IdempotencyMismatch => {
            "Its request id had been used for another request; it passes with one of its own."
        }
        ErrorCode::ApprovalStale => {
            "What would take effect was no longer what the approver saw; it passes with a new \
             approval."
        }
        ErrorCode::ApprovalClaimed => {
            "Somebody else worked on it; it passes when their claim ends or is taken over."
        }
        ErrorCode::AlreadyHeld => {
            "The same command of the same caller waited for an approval already; it passes once that \
             one has ended."
        }
        ErrorCode::TenantSuspended => {
            "The tenant was not active; it passes once a platform administrator lets it work again."
        }
        ErrorCode::OutOfScope => {
            "The API key that it was sent with is for other things; it passes with a key that has the \
             scope."
        }
        ErrorCode::AlreadyExists => "The name was taken; it passes with another one.",
        ErrorCode::InvalidBundle => {
            "The policy bundle could not be used; it passes with one that `dispatch policy check` \
             accepts."
        }
        ErrorCode::AlreadyDecided => {
            "It had been decided or recorded before: nothing was left to do."
        }
        ErrorCode::AheadOfDatabase => {
            "The caller knew of more than the database had; it passes after the caller took a \
             snapshot."
        }
        ErrorCode::Expired => {
            "The time for it was over: the window, the reopening period or the promise had ended."
        }
        ErrorCode::InvalidField => {
            "A value was not valid; it passes once the field that the answer named is corrected."
        }
        ErrorCode::PolicyUnavailable => {
            "The active policy bundle could not decide it; it passes once a bundle that can is \
             active."
        }
        ErrorCode::Unavailable
        | ErrorCode::InFlight
        | ErrorCode::RateLimited
        | ErrorCode::QuotaExceeded => {
            "A part that is needed was not there; it passes when it is tried again."
        }
        ErrorCode::Internal => "The service failed; the log has the reason.",
        // The policy's, which come with their own reasons, and what the state table refuses.
        ErrorCode::Forbidden
        | ErrorCode::PolicyDenied
        | ErrorCode::Stage
        | ErrorCode::KillSwitch
        | ErrorCode::IllegalTransition => "It was not permitted.",
        // Refused before they are an attempt.
        ErrorCode::Malformed
        | ErrorCode::InvalidParameter
        | ErrorCode::RequestIdMissing
        | ErrorCode::Unauthenticated
        | ErrorCode::MethodNotAllowed
        | ErrorCode::TooLarge
        | ErrorCode::UriTooLong
        | ErrorCode::UnsupportedMediaType => "The request could not be read.",
    }
}

/// What a command is meant to do.
const fn intent(operation: Operation) -> &'static str {
    match operation {
        Operation::CreateTicket => "open a ticket",
        Operation::Triage => "triage",
        Operation::ProposeSchedule => "offer a window",
        Operation::ConfirmSchedule => "confirm the window",
        Operation::Reschedule => "offer another window",
        Operation::Dispatch => "send a technician",
        Operation::Unassign => "take the technician off",
        Operation::EnRoute => "set out",
        Operation::CheckIn => "check in",
        Operation::NoAccess => "report that nobody could get in",
        Operation::RequestChange => "ask for more work than agreed",
        Operation::DecideApproval => "decide an approval",
        Operation::ReturnVisit => "end the visit with another one needed",
        Operation::Complete => "report the work as done",
        Operation::QaVerify => "verify the work",
        Operation::QaReject => "reject the work",
        Operation::GenerateInvoice => "charge for the work",
        Operation::Close => "close the ticket",
        Operation::Reopen => "open the ticket again",
        Operation::Cancel => "call the job off",
        Operation::Merge => "merge the ticket into another",
        Operation::CustomerAwait => "wait for the customer",
        Operation::CustomerResume => "go on after the customer's answer",
        Operation::AddNote => "write a note",
        Operation::RecordProposal => "record a proposal",
        Operation::RecordSla => "record a warning or breach",
        Operation::AddEvidence => "record evidence",
        Operation::CommsInbound => "take a message in",
        Operation::CommsOutbound => "queue a message",
        Operation::AttachMessage => "say where a message belongs",
        Operation::UpsertSite => "write a site",
        Operation::UpsertAsset => "write an asset",
        Operation::UpsertContact => "write a contact",
        Operation::UpsertTechnician => "write a technician",
        Operation::RecordAbsence => "record an absence",
        Operation::CancelAbsence => "cancel an absence",
        Operation::EngageKillSwitch => "engage the kill switch",
        Operation::ReleaseKillSwitch => "release the kill switch",
        Operation::SetTicketAutonomy => "say whether software may act on the ticket",
        Operation::AmendApproval => "amend what an approval asks for",
        Operation::WithdrawApproval => "withdraw an approval",
        Operation::ChangeApprovalDue => "move the end of an approval",
        Operation::RecordApprovalStep => "remind, escalate or end an approval",
        Operation::ExecuteApproval => "carry out what was approved",
        Operation::ClaimApproval => "claim an approval",
        Operation::ReleaseApproval => "release an approval",
        Operation::TakeOverApproval => "take an approval over",
        Operation::CommentApproval => "comment on an approval",
        Operation::RecordDrill => "keep the report of a drill",
        Operation::DelegateApprovals => "lend the right to decide approvals",
        Operation::RevokeDelegation => "take a lent right back",
        Operation::RecordGateReport => "keep a gate report",
        Operation::PromoteStage => "let software do more by itself",
        Operation::DemoteStage => "let software do less by itself",
        Operation::ApplyStageChange => "apply a change of a stage",
        Operation::UploadBundle => "keep a policy bundle",
        Operation::ActivateBundle => "activate a policy bundle",
        Operation::CreateTenant => "make a tenant",
        Operation::ConfigureTenant => "set a tenant up",
        Operation::SuspendTenant => "suspend a tenant",
        Operation::ResumeTenant => "let a suspended tenant work again",
        Operation::RequestTenantDeletion => "have a tenant deleted",
        Operation::CancelTenantDeletion => "keep a tenant that was to be deleted",
        Operation::EraseTenant => "erase what is personal of a tenant",
        Operation::LimitTenant => "set how much a tenant may use",
        Operation::RecordTenantExport => "put the export of a tenant on record",
        Operation::UpsertServiceAccount => "write a service account",
        Operation::DisableServiceAccount => "disable a service account",
        Operation::IssueApiKey => "give a service account a key",
        Operation::RotateApiKey => "replace a key",
        Operation::RevokeApiKey => "take a key back",
    }
}

fn why_of(reason: Option<&Slug>) -> String {
    reason.map_or_else(String::new, |reason| format!(" (`{reason}`)"))
}

fn event(event: &TicketEvent, place: &Place) -> String {
    match event {
        TicketEvent::Created {
            site_id,
            template,
            priority,
            nte_cents,
            ..
        } => format!(
            "Opened as {priority} `{template}` at site {}, not to exceed {}.",
            site_id.short(),
            place.money(*nte_cents)
        ),
        TicketEvent::Triaged {
            template,
            priority,
            nte_cents,
            ..
        } => format!(
            "Triaged as {priority} `{template}`, not to exceed {}.",
            place.money(*nte_cents)
        ),
        TicketEvent::ScheduleProposed { visit_id, window } => format!(
            "The customer was offered {} for visit {}.",
            place.window(*window),
            visit_id.short()
        ),
        TicketEvent::ScheduleConfirmed { visit_id } => {
            format!(
                "The customer took the window of visit {}.",
                visit_id.short()
            )
        }
        TicketEvent::Rescheduled {
            visit_id,
            window,
            reason,
        } => format!(
            "Visit {} was moved to {} (`{reason}`); whoever was assigned is free again.",
            visit_id.short(),
            place.window(*window)
        ),
        TicketEvent::Dispatched {
            technician_id, eta, ..
        } => format!(
            "Technician {} was sent{}.",
            technician_id.short(),
            expected(*eta, place)
        ),
        TicketEvent::Unassigned { visit_id, reason } => format!(
            "The technician was taken off visit {} (`{reason}`).",
            visit_id.short()
        ),
        TicketEvent::EnRoute { eta, .. } => {
            format!("The technician is under way{}.", expected(*eta, place))
        }
        TicketEvent::CheckedIn { visit_id } => {
            format!("The technician is there for visit {}.", visit_id.short())
        }
        TicketEvent::NoAccess {
            reason,
            next_visit_id,
            ..
        } => format!(
            "Nobody could get in (`{reason}`); visit {} is to be planned.",
            next_visit_id.short()
        ),
        TicketEvent::ChangeRequested {
            approval_id,
            scope,
            price_delta_cents,
            ..
        } => format!(
            "More work was asked for: `{scope}` for {}. Approval {} decides.",
            place.money(*price_delta_cents),
            approval_id.short()
        ),
        TicketEvent::ChangeDecided {
            approval_id,
            verdict,
            nte_cents,
            reason,
            void,
        } => format!(
            "Approval {} was {}{}; not to exceed {}.",
            approval_id.short(),
            match verdict {
                _ if *void => "given and does not count",
                Verdict::Approve => "given",
                Verdict::Reject => "refused",
            },
            because(reason.as_ref()),
            place.money(*nte_cents)
        ),
        TicketEvent::ReturnNeeded {
            reason,
            parts,
            evidence,
            next_visit_id,
            ..
        } => format!(
            "Another visit is needed (`{reason}`), with {} and {} on record; visit {} is to be \
             planned.",
            count(parts.len(), "part to order", "parts to order"),
            pieces(evidence.len()),
            next_visit_id.short()
        ),
        TicketEvent::Completed { evidence, .. } => format!(
            "The work was reported as done, with {}.",
            pieces(evidence.len())
        ),
        TicketEvent::Verified {} => "The work was verified.".to_owned(),
        TicketEvent::QaRejected {
            reasons,
            next_visit_id,
        } => {
            let reasons: Vec<_> = reasons.iter().map(|reason| format!("`{reason}`")).collect();
            format!(
                "The work was rejected ({}); visit {} is to be planned.",
                reasons.join(", "),
                next_visit_id.short()
            )
        }
        TicketEvent::Invoiced { invoice } => format!(
            "{} was charged with invoice {} ({}).",
            place.money(invoice.amount_cents),
            invoice.number,
            count(invoice.lines.len(), "line", "lines")
        ),
        TicketEvent::Closed { no_charge_reason } => match no_charge_reason {
            Some(reason) => format!("Closed without a charge (`{reason}`)."),
            None => "Closed.".to_owned(),
        },
        TicketEvent::Reopened {
            reason,
            credit_note,
            next_visit_id,
        } => format!(
            "Opened again (`{reason}`){}; visit {} is to be planned.",
            match credit_note {
                Some(number) => format!(", the invoice taken back with {number}"),
                None => String::new(),
            },
            next_visit_id.short()
        ),
        TicketEvent::Cancelled { reason } => format!("Called off (`{reason}`)."),
        TicketEvent::Merged { into } => format!("Merged into ticket {}.", into.short()),
        TicketEvent::CustomerAwaited { reason } => {
            format!("The customer has to do something first (`{reason}`).")
        }
        TicketEvent::CustomerResumed {} => "The customer did their part.".to_owned(),
        TicketEvent::AutonomySet {
            opt_out: true,
            reason,
        } => format!("Software only proposes on this ticket from now on (`{reason}`)."),
        TicketEvent::AutonomySet {
            opt_out: false,
            reason,
        } => format!("Software may act on this ticket as far as its stage lets it (`{reason}`)."),
        TicketEvent::ApprovalRequested {
            approval_id,
            operation,
            autonomous,
            steps,
            ..
        } => format!(
            "Approval {} waits for people: {}{}{}.",
            approval_id.short(),
            intent(*operation),
            match autonomous {
                true => ", as software proposes",
                false => "",
            },
            match steps.last() {
                Some(end) => format!(", by {}", place.time(end.at)),
                None => String::new(),
            }
        ),
        TicketEvent::ApprovalVoted {
            approval_id,
            verdict,
            ..
        } => format!(
            "One {verdict} for approval {}; more are needed.",
            approval_id.short()
        ),
        TicketEvent::ApprovalDecided {
            approval_id,
            verdict: Verdict::Approve,
            ..
        } => format!("Approval {} was given.", approval_id.short()),
        TicketEvent::ApprovalDecided {
            approval_id,
            verdict: Verdict::Reject,
            reason,
            ..
        } => format!(
            "Approval {} was refused{}.",
            approval_id.short(),
            why_of(reason.as_ref())
        ),
        TicketEvent::ApprovalAmended {
            approval_id,
            version,
            reason,
            ..
        } => format!(
            "What approval {} asks for was amended (`{reason}`): version {version}, pending again.",
            approval_id.short()
        ),
        TicketEvent::ApprovalWithdrawn {
            approval_id,
            reason,
        } => format!(
            "Approval {} was withdrawn (`{reason}`).",
            approval_id.short()
        ),
        TicketEvent::ApprovalStale {
            approval_id,
            reason,
        } => format!(
            "Approval {} is void (`{reason}`): what it was about is no longer so.",
            approval_id.short()
        ),
        TicketEvent::ApprovalStepTaken {
            approval_id,
            step: StepKind::Reminder,
            ..
        } => format!(
            "Nobody has decided approval {} yet: its approvers were reminded.",
            approval_id.short()
        ),
        TicketEvent::ApprovalStepTaken {
            approval_id, roles, ..
        } => {
            let roles: Vec<_> = roles.iter().map(ToString::to_string).collect();
            format!(
                "Nobody has decided approval {} yet: {} may decide it too.",
                approval_id.short(),
                roles.join(", ")
            )
        }
        TicketEvent::ApprovalDueChanged {
            approval_id,
            steps,
            reason,
        } => format!(
            "The end of approval {} was moved (`{reason}`){}.",
            approval_id.short(),
            match steps.last() {
                Some(end) => format!(" to {}", place.time(end.at)),
                None => String::new(),
            }
        ),
        TicketEvent::ApprovalExpired { approval_id } => format!(
            "Nobody decided approval {} in time: it is denied.",
            approval_id.short()
        ),
        TicketEvent::ApprovalExecuted {
            approval_id,
            operation,
            proposed_by,
            approved_by,
            kill_switch_override,
        } => format!(
            "So approval {} was carried out ({}): proposed by `{proposed_by}`, approved by `{}`{}.",
            approval_id.short(),
            intent(*operation),
            approved_by.join("`, `"),
            match kill_switch_override {
                Some(reason) => format!(", in spite of the kill switch (`{reason}`)"),
                None => String::new(),
            }
        ),
        TicketEvent::ApprovalClaimed {
            approval_id,
            until,
            reason,
        } => format!(
            "Somebody works on approval {} until {}{}.",
            approval_id.short(),
            place.time(*until),
            why_of(reason.as_ref())
        ),
        TicketEvent::ApprovalReleased { approval_id } => {
            format!("Nobody works on approval {} any more.", approval_id.short())
        }
        TicketEvent::ApprovalCommented { approval_id, .. } => {
            format!("A comment was written on approval {}.", approval_id.short())
        }
        TicketEvent::NoteAdded { note_id } => format!("Note {} was written.", note_id.short()),
        TicketEvent::ProposalRecorded {
            proposal_id,
            kind,
            based_on_version,
        } => format!(
            "Software said what it would do ({kind}, for version {based_on_version}): proposal {}.",
            proposal_id.short()
        ),
        TicketEvent::ProposalPaired {
            proposal_id,
            outcome,
            seen,
        } => format!(
            "Compared with proposal {} of software, which {}, that is: {outcome}.",
            proposal_id.short(),
            match seen {
                true => "they had seen",
                false => "they had not seen",
            }
        ),
        TicketEvent::SlaRecorded {
            clock,
            kind,
            effective_at,
            ..
        } => match kind {
            SlaRecordKind::Warning => format!(
                "The promise `{clock}` came near its end on {}.",
                place.time(*effective_at)
            ),
            SlaRecordKind::Breach => format!(
                "The promise `{clock}` was broken on {}.",
                place.time(*effective_at)
            ),
        },
        TicketEvent::EvidenceAdded { evidence_id, kind } => {
            format!("Evidence {} was recorded: `{kind}`.", evidence_id.short())
        }
        TicketEvent::MessageReceived {
            message_id,
            channel,
            routing,
        } => format!(
            "Message {} came in by {channel}{}.",
            message_id.short(),
            match routing {
                Routing::Attached { .. } => " and belongs to this ticket",
                Routing::Created { .. } => " and opened this ticket",
                Routing::Duplicate { .. } => " a second time",
                Routing::Held { .. } => " and waits for a person to say where it belongs",
            }
        ),
        TicketEvent::MessageAttached { message_id } => format!(
            "A person said that message {} belongs here.",
            message_id.short()
        ),
        TicketEvent::MessageQueued {
            message_id,
            channel,
            purpose,
            due_at,
        } => format!(
            "Message {} ({purpose}) is to go out by {channel}, not before {}.",
            message_id.short(),
            place.time(*due_at)
        ),
    }
}

fn expected(eta: Option<DateTime<Utc>>, place: &Place) -> String {
    eta.map(|eta| format!(" and expected at {}", place.time(eta)))
        .unwrap_or_default()
}

fn because(reason: Option<&Slug>) -> String {
    reason
        .map(|reason| format!(" (`{reason}`)"))
        .unwrap_or_default()
}

fn pieces(number: usize) -> String {
    count(number, "piece of evidence", "pieces of evidence")
}

fn count(number: usize, one: &str, more: &str) -> String {
    match number {
        0 => format!("no {more}"),
        1 => format!("1 {one}"),
        _ => format!("{number} {more}"),
    }
}

#[cfg(test)]
mod tests;
