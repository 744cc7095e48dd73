//! The routed commands, one file each, in the order of a ticket's life.
//!
//! To add one: its body in `contracts::command`, its rules in `domain::ticket`, a file here, and
//! its line in [`endpoints`]. Route, id, request schema and the whole way from bytes to a typed
//! body follow from the body's type; the file says what the operation is and what it can refuse.

mod add_evidence;
mod add_note;
mod attach_message;
mod cancel;
mod cancel_absence;
mod check_in;
mod close;
mod comms_inbound;
mod comms_outbound;
mod complete;
mod confirm_schedule;
mod create_ticket;
mod customer_await;
mod customer_resume;
mod decide_approval;
mod dispatch;
mod en_route;
mod engage_kill_switch;
mod generate_invoice;
mod merge;
mod no_access;
mod propose_schedule;
mod qa_reject;
mod qa_verify;
mod record_absence;
mod record_proposal;
mod record_sla;
mod release_kill_switch;
mod reopen;
mod request_change;
mod reschedule;
mod return_visit;
mod triage;
mod unassign;
mod upsert_asset;
mod upsert_contact;
mod upsert_site;
mod upsert_technician;

use contracts::ErrorCode;

use crate::{endpoint::Endpoint, problem::Failure, request::CommandRequest};
use axum::{response::Response, routing::post};

/// All commands that have a route.
pub(crate) fn endpoints() -> Vec<Endpoint> {
    vec![
        create_ticket::endpoint(),
        triage::endpoint(),
        propose_schedule::endpoint(),
        confirm_schedule::endpoint(),
        reschedule::endpoint(),
        dispatch::endpoint(),
        unassign::endpoint(),
        en_route::endpoint(),
        check_in::endpoint(),
        no_access::endpoint(),
        request_change::endpoint(),
        decide_approval::endpoint(),
        return_visit::endpoint(),
        complete::endpoint(),
        qa_verify::endpoint(),
        qa_reject::endpoint(),
        generate_invoice::endpoint(),
        close::endpoint(),
        reopen::endpoint(),
        cancel::endpoint(),
        merge::endpoint(),
        customer_await::endpoint(),
        customer_resume::endpoint(),
        add_note::endpoint(),
        record_proposal::endpoint(),
        record_sla::endpoint(),
        comms_inbound::endpoint(),
        comms_outbound::endpoint(),
        attach_message::endpoint(),
        add_evidence::endpoint(),
        upsert_site::endpoint(),
        upsert_asset::endpoint(),
        upsert_contact::endpoint(),
        upsert_technician::endpoint(),
        record_absence::endpoint(),
        cancel_absence::endpoint(),
        engage_kill_switch::endpoint(),
        release_kill_switch::endpoint(),
    ]
}

/// A change of a ticket.
const CHANGES: &[ErrorCode] = &[
    ErrorCode::NotFound,
    ErrorCode::VersionConflict,
    ErrorCode::IllegalTransition,
];
/// A record about a ticket.
const RECORDS: &[ErrorCode] = &[ErrorCode::NotFound, ErrorCode::VersionConflict];
/// Of something that is no ticket.
const FILINGS: &[ErrorCode] = &[ErrorCode::VersionConflict];
/// Of the kill switch.
const TURNS: &[ErrorCode] = &[ErrorCode::VersionConflict, ErrorCode::IllegalTransition];
