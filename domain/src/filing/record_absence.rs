//! A technician will be away. An absence has no version: it is there or not, so it is written at 0
//! and cancelled at 1. One that is not active may be away too: long leave is often why.

use chrono::TimeDelta;
use contracts::{command::RecordAbsence, filing::Filed};

use super::{Filing, FilingFacts, check};
use crate::{Rejection, ticket::check::known};

/// The two keep arithmetic on an absence cheap and catch wrong years.
const LONGEST: TimeDelta = TimeDelta::days(366);
const FARTHEST: TimeDelta = TimeDelta::days(731);

pub(super) fn plan(body: &RecordAbsence, facts: &FilingFacts) -> Result<Filing, Rejection> {
    check::expected_version(facts, 0)?;
    known(facts.known.is_some(), "/technician_id", "technician")?;
    let window = check::kept(&body.window);
    let wrong = |message| Err(Rejection::invalid("/window/end", message));
    if window.end <= window.start {
        return wrong("must be after `/window/start`");
    }
    if window.end <= facts.now {
        return wrong("must lie ahead: the window is over");
    }
    if window.end - window.start > LONGEST {
        return wrong("must be at most 366 days after `/window/start`");
    }
    if window.end - facts.now > FARTHEST {
        return wrong("must be within two years from now");
    }
    if facts.absences.iter().any(|other| other.overlaps(&window)) {
        return Err(Rejection::invalid(
            "/window",
            "overlaps an absence on record: cancel that one first",
        ));
    }
    let filed = Filed::AbsenceRecorded {
        technician_id: body.technician_id,
        window,
    };
    Ok(Filing::written(filed, body.technician_id.as_uuid(), 0))
}
