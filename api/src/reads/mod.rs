//! The reads, one file each.
//!
//! A read is a question of one tenant at one moment: row-level security shows the caller's own rows
//! and nothing else, so another tenant's ticket does not exist here (404). Each needs a permission,
//! which is said beside its route and is the active bundle's to give; `docs/permissions.md` has them
//! all. What depends on the row besides (a technician's own jobs, say) stands in the read.

mod advisor_input;
mod agreement;
mod control_due;
mod decisions;
mod evidence;
mod get_approval;
mod get_asset;
mod get_comms;
mod get_contact;
mod get_site;
mod get_technician;
mod get_ticket;
mod health;
mod kill_switch;
mod ledger;
mod lines;
mod list_approvals;
mod list_assets;
mod list_comms;
mod list_contacts;
mod list_delegations;
mod list_sites;
mod list_technicians;
mod list_tickets;
mod openapi;
mod pages;
mod policy_bundles;
mod proposals;
mod rollout;
mod service_accounts;
mod snapshot;
mod technician_calendar;
mod tenants;
mod ticket_comms;
mod ticket_status;
mod timeline;

use crate::{
    App,
    endpoint::Endpoint,
    problem::Failure,
    request::{PathId, ReadRequest, TicketPath, missing},
};
use axum::{
    Json,
    response::{IntoResponse, Response},
    routing::get,
};
use contracts::{ReadPermission, directory::DirectoryFilter};
use http::{StatusCode, header};
use serde::Serialize;

/// All reads.
pub(crate) fn endpoints() -> Vec<Endpoint> {
    let mut all = vec![
        list_tickets::endpoint(),
        get_ticket::endpoint(),
        ticket_status::endpoint(),
        timeline::endpoint(),
        proposals::endpoint(),
        agreement::endpoint(),
        snapshot::endpoint(),
        advisor_input::endpoint(),
        evidence::endpoint(),
        list_approvals::endpoint(),
        get_approval::endpoint(),
        list_delegations::endpoint(),
        list_sites::endpoint(),
        get_site::endpoint(),
        list_assets::endpoint(),
        get_asset::endpoint(),
        list_contacts::endpoint(),
        get_contact::endpoint(),
        list_technicians::endpoint(),
        get_technician::endpoint(),
        technician_calendar::endpoint(),
        list_comms::endpoint(),
        ticket_comms::endpoint(),
        openapi::endpoint(),
    ];
    all.extend(get_comms::endpoints());
    all.extend(decisions::endpoints());
    all.extend(kill_switch::endpoints());
    all.extend(policy_bundles::endpoints());
    all.extend(rollout::endpoints());
    all.push(ledger::endpoint());
    all.extend(tenants::endpoints());
    all.extend(service_accounts::endpoints());
    all.push(control_due::endpoint());
    all.extend(pages::endpoints());
    all.extend(health::endpoints());
    all
}

/// What has a version, with it as its ETag; nothing but that when the caller knows it (RFC 9110 §13.1.2).
fn versioned(request: &ReadRequest, version: &str, body: impl Serialize) -> Response {
    let etag = format!("\"{version}\"");
    let known = request.header(header::IF_NONE_MATCH).unwrap_or_default();
    let unchanged = known
        .split(',')
        .map(|tag| tag.trim().trim_start_matches("W/"))
        .any(|tag| tag == etag || tag == "*");
    match unchanged {
        true => (StatusCode::NOT_MODIFIED, [(header::ETAG, etag)]).into_response(),
        false => ([(header::ETAG, etag)], Json(body)).into_response(),
    }
}

/// The filter of a list of the directory: `code`, what the list filters by besides, and the page.
fn directory_filter(
    request: &ReadRequest,
    besides: &[&'static str],
) -> Result<DirectoryFilter, Failure> {
    const MAX_LIMIT: u32 = 200;
    let query = request.query(&[&["code", "cursor", "limit"], besides].concat())?;
    let filter = DirectoryFilter {
        code: query.get("code")?,
        site_id: query.get("site_id")?,
        skill: query.get("skill")?,
        active: query.get("active")?,
        cursor: request.cursor(&query)?,
        limit: query.get("limit")?,
    };
    match filter.limit {
        Some(limit) if !(1..=MAX_LIMIT).contains(&limit) => Err(Failure::parameter(
            "limit",
            format!("`limit` must be from 1 to {MAX_LIMIT}."),
        )),
        Some(_) | None => Ok(filter),
    }
}
