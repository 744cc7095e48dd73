//! The routed commands, one file each, in the order of a ticket's life.
//!
//! To add one: its body in `contracts::command`, its rules in `domain::ticket`, a file here, and
//! its line in [`endpoints`]. Route, id, request schema and the whole way from bytes to a typed
//! body follow from the body's type; the file says what the operation is and what it can refuse.

mod activate_bundle;
mod add_evidence;
mod add_note;
mod amend_approval;
mod apply_stage_change;
mod attach_message;
mod cancel;
mod cancel_absence;
mod cancel_tenant_deletion;
mod change_approval_due;
mod check_in;
mod claim_approval;
mod close;
mod comment_approval;
mod comms_inbound;
mod comms_outbound;
mod complete;
mod configure_tenant;
mod confirm_schedule;
mod create_tenant;
mod create_ticket;
mod customer_await;
mod customer_resume;
mod decide_approval;
mod decide_many;
mod delegate_approvals;
mod demote_stage;
mod disable_service_account;
mod dispatch;
mod en_route;
mod engage_kill_switch;
mod erase_tenant;
mod execute_approval;
mod generate_invoice;
mod issue_api_key;
mod limit_tenant;
mod merge;
mod no_access;
mod promote_stage;
mod propose_schedule;
mod qa_reject;
mod qa_verify;
mod record_absence;
mod record_approval_step;
mod record_drill;
mod record_gate_report;
mod record_proposal;
mod record_sla;
mod record_tenant_export;
mod release_approval;
mod release_kill_switch;
mod reopen;
mod request_change;
mod request_tenant_deletion;
mod reschedule;
mod resume_tenant;
mod return_visit;
mod revoke_api_key;
mod revoke_delegation;
mod rotate_api_key;
mod set_ticket_autonomy;
mod suspend_tenant;
mod take_over_approval;
mod triage;
mod unassign;
mod upload_bundle;
mod upsert_asset;
mod upsert_contact;
mod upsert_service_account;
mod upsert_site;
mod upsert_technician;
mod withdraw_approval;

use contracts::ErrorCode;

use crate::{endpoint::Endpoint, problem::Failure, request::CommandRequest};
use axum::{Json, response::Response, routing::post};

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
        decide_approval::of_ticket(),
        decide_many::endpoint(),
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
        set_ticket_autonomy::endpoint(),
        amend_approval::endpoint(),
        withdraw_approval::endpoint(),
        change_approval_due::endpoint(),
        record_approval_step::endpoint(),
        execute_approval::endpoint(),
        claim_approval::endpoint(),
        release_approval::endpoint(),
        take_over_approval::endpoint(),
        comment_approval::endpoint(),
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
        delegate_approvals::endpoint(),
        revoke_delegation::endpoint(),
        engage_kill_switch::endpoint(),
        release_kill_switch::endpoint(),
        record_gate_report::endpoint(),
        promote_stage::endpoint(),
        demote_stage::endpoint(),
        apply_stage_change::endpoint(),
        record_drill::endpoint(),
        upload_bundle::endpoint(),
        activate_bundle::endpoint(),
        create_tenant::endpoint(),
        configure_tenant::endpoint(),
        limit_tenant::endpoint(),
        suspend_tenant::endpoint(),
        resume_tenant::endpoint(),
        request_tenant_deletion::endpoint(),
        cancel_tenant_deletion::endpoint(),
        erase_tenant::endpoint(),
        upsert_service_account::endpoint(),
        disable_service_account::endpoint(),
        issue_api_key::endpoint(),
        rotate_api_key::endpoint(),
        revoke_api_key::endpoint(),
        record_tenant_export::endpoint(),
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
/// What can be wrong with an approval.
const ABOUT: &[ErrorCode] = &[
    ErrorCode::NotFound,
    ErrorCode::VersionConflict,
    ErrorCode::AlreadyDecided,
    ErrorCode::ApprovalStale,
    ErrorCode::Expired,
];
/// Somebody may work on it besides.
const CLAIMS: &[ErrorCode] = &[
    ErrorCode::NotFound,
    ErrorCode::VersionConflict,
    ErrorCode::AlreadyDecided,
    ErrorCode::ApprovalStale,
    ErrorCode::Expired,
    ErrorCode::ApprovalClaimed,
];
/// Of something that is no ticket.
const FILINGS: &[ErrorCode] = &[ErrorCode::VersionConflict];
/// Of a service account that is there.
const ACCOUNTS: &[ErrorCode] = &[ErrorCode::NotFound, ErrorCode::VersionConflict];
/// Of a new key.
const KEYS: &[ErrorCode] = &[
    ErrorCode::NotFound,
    ErrorCode::VersionConflict,
    ErrorCode::AlreadyExists,
];
/// Of a tenant.
const TENANTS: &[ErrorCode] = &[
    ErrorCode::NotFound,
    ErrorCode::VersionConflict,
    ErrorCode::IllegalTransition,
];
/// Of the kill switch.
const TURNS: &[ErrorCode] = &[ErrorCode::VersionConflict, ErrorCode::IllegalTransition];
