//! Checks that several commands share. Each names the field and the rule.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use contracts::{
    Slug,
    schedule::TimeWindow,
    ticket::{EvidenceRef, Ticket, Visit},
    value::DetailValue,
};

use crate::{Facts, Rejection};

/// A window that is offered to a customer is at most this long …
const LONGEST_WINDOW: TimeDelta = TimeDelta::days(31);
/// … and ends at most this far ahead. Both keep arithmetic on it cheap and catch wrong years.
const FARTHEST_WINDOW: TimeDelta = TimeDelta::days(731);
/// Details come one by one over many triages; they travel with every decision.
const MOST_DETAILS: usize = 64;

pub(super) fn expected_version(ticket: Option<&Ticket>, facts: &Facts) -> Result<(), Rejection> {
    let actual = ticket.map_or(0, |ticket| ticket.version);
    match facts.expected_version {
        Some(expected) if expected != actual => {
            Err(Rejection::VersionConflict { expected, actual })
        }
        Some(_) | None => Ok(()),
    }
}

/// A field whose id must exist.
pub(crate) fn known(is_known: bool, pointer: &str, what: &str) -> Result<(), Rejection> {
    if is_known {
        return Ok(());
    }
    Err(Rejection::invalid(
        pointer,
        format!("names no {what} of yours"),
    ))
}

/// A window on offer: not empty, not over, not absurdly long or far.
pub(super) fn window(window: &TimeWindow, now: DateTime<Utc>) -> Result<(), Rejection> {
    let wrong = |pointer, message| Err(Rejection::invalid(pointer, message));
    if window.end <= window.start {
        return wrong("/window/end", "must be after `/window/start`");
    }
    if window.end <= now {
        return wrong("/window/end", "must lie ahead: the window is over");
    }
    if window.end - window.start > LONGEST_WINDOW {
        return wrong(
            "/window/end",
            "must be at most 31 days after `/window/start`",
        );
    }
    if window.end - now > FARTHEST_WINDOW {
        return wrong("/window/end", "must be within two years from now");
    }
    Ok(())
}

/// An expected arrival: not before now.
pub(super) fn eta(eta: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Result<(), Rejection> {
    match eta {
        Some(eta) if eta < now => Err(Rejection::invalid("/eta", "must not lie in the past")),
        Some(eta) if eta - now > FARTHEST_WINDOW => Err(Rejection::invalid(
            "/eta",
            "must be within two years from now",
        )),
        Some(_) | None => Ok(()),
    }
}

/// A number with bounds.
pub(super) fn within<T: PartialOrd + std::fmt::Display>(
    value: T,
    (least, most): (T, T),
    pointer: impl FnOnce() -> String,
) -> Result<(), Rejection> {
    if value < least || value > most {
        return Err(Rejection::invalid(
            pointer(),
            format!("must be {least} to {most}"),
        ));
    }
    Ok(())
}

/// The details of a ticket after a command.
pub(super) fn details(details: &BTreeMap<Slug, DetailValue>) -> Result<(), Rejection> {
    if details.len() > MOST_DETAILS {
        return Err(Rejection::invalid(
            "/details",
            format!(
                "would make {} details; a ticket has at most {MOST_DETAILS}",
                details.len()
            ),
        ));
    }
    Ok(())
}

/// The hash of a file.
pub(super) fn sha256(text: &str, pointer: impl FnOnce() -> String) -> Result<(), Rejection> {
    let is_hex = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
    if text.len() != 64 || !text.bytes().all(is_hex) {
        return Err(Rejection::invalid(
            pointer(),
            "must be 64 lowercase hex digits",
        ));
    }
    Ok(())
}

/// Evidence: the hash must be one, and nothing is handed in twice.
pub(super) fn evidence(evidence: &[EvidenceRef]) -> Result<(), Rejection> {
    for (i, item) in evidence.iter().enumerate() {
        sha256(&item.sha256, || format!("/evidence/{i}/sha256"))?;
        if evidence[..i].contains(item) {
            return Err(Rejection::invalid(
                format!("/evidence/{i}"),
                "is in the list already",
            ));
        }
    }
    Ok(())
}

/// The current visit; every ticket has one since its creation.
pub(super) fn visit(ticket: &Ticket) -> Result<&Visit, Rejection> {
    ticket.current_visit().ok_or(Rejection::Broken {
        what: "the ticket's current visit",
    })
}

/// A number that a workflow can only have learnt from us.
pub(super) fn not_ahead(what: &'static str, given: u64, current: u64) -> Result<(), Rejection> {
    if given > current {
        return Err(Rejection::AheadOfDatabase {
            what,
            given,
            current,
        });
    }
    Ok(())
}
