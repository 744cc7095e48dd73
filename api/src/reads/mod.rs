//! The reads, one file each.
//!
//! A read is a question of one tenant at one moment: row-level security shows the caller's own rows
//! and nothing else, so another tenant's ticket does not exist here (404). Any authenticated caller
//! of the tenant may ask about its tickets; what the workflow alone needs is narrower.

mod advisor_input;
mod get_comms;
mod get_ticket;
mod health;
mod list_comms;
mod list_tickets;
mod openapi;
mod proposals;
mod snapshot;
mod ticket_comms;
mod ticket_status;
mod timeline;

use crate::{
    App,
    endpoint::Endpoint,
    problem::Failure,
    request::{PathId, ReadRequest, TicketPath, missing},
};
use axum::{Json, response::Response, routing::get};

/// All reads.
pub(crate) fn endpoints() -> Vec<Endpoint> {
    let mut all = vec![
        list_tickets::endpoint(),
        get_ticket::endpoint(),
        ticket_status::endpoint(),
        timeline::endpoint(),
        proposals::endpoint(),
        snapshot::endpoint(),
        advisor_input::endpoint(),
        list_comms::endpoint(),
        ticket_comms::endpoint(),
        openapi::endpoint(),
    ];
    all.extend(get_comms::endpoints());
    all.extend(health::endpoints());
    all
}
