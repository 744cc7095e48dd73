//! The life of a tenant: made, set up, suspended, resumed, deleted after a time of grace.
//!
//! ```text
//! create ─► active ◄── resume ── suspended ◄── undelete ── deleting ── erase ─► erased
//!              └─── suspend ──────►  └────── delete ─────────►
//!              └─────────────────────────── delete ──────────►
//! ```
//!
//! A deletion that is called off leaves the tenant suspended: nothing starts again by itself. Its row
//! is what the audit log tells of it, so whatever is written stands in the change or the body.

use std::ops::RangeInclusive;

use chrono::TimeDelta;
use contracts::{
    Slug, TemplateId, TenantId,
    command::{
        CancelTenantDeletion, ConfigureTenant, CreateTenant, LimitTenant, Operation,
        RecordTenantExport, RequestTenantDeletion, SuspendTenant,
    },
    filing::Filed,
    schedule::{QuietHours, TenantSettings, WorkCalendar},
    tenant::{ExportStep, TenantState, usual_calendar, usual_currency, usual_locale},
    value::{Currency, Locale},
};
use serde_json::{Value, json};
use strum::VariantArray;

use super::{Filing, FilingFacts, TenantFacts, check};
use crate::Rejection;

/// A tenant of one job a day needs no more.
const MOST_TEMPLATES: usize = 100;
const LONGEST_GRACE: u16 = 365;
/// Nothing of what may be set is meant to be without end.
const MOST_PER_SECOND: u64 = 100_000;
const MOST_AT_ONCE: u64 = 1_000_000;
const MOST_TICKETS: u64 = 100_000_000;
const MOST_BYTES: u64 = 1_000_000_000_000_000;
const MOST_SUBSCRIBERS: u64 = 100_000;

pub(super) fn create(body: &CreateTenant, facts: &FilingFacts) -> Result<Filing, Rejection> {
    check::expected_version(facts, 0)?;
    if facts.taken {
        return Err(Rejection::SlugTaken);
    }
    let usual = || usual_calendar("UTC");
    let row = set_up(SetUp {
        calendar: &body.calendar.clone().unwrap_or_else(usual),
        currency: &body.currency.clone().unwrap_or_else(usual_currency),
        quiet_hours: body.quiet_hours,
        locale: &body.locale.clone().unwrap_or_else(usual_locale),
        templates: body.templates.as_deref(),
    })?;
    let tenant = TenantFacts {
        id: TenantId::from_uuid(facts.fresh),
        slug: body.slug.clone(),
        state: TenantState::Active,
        version: 0,
        erase_after: None,
    };
    Ok(written(&tenant, row, None))
}

pub(super) fn configure(body: &ConfigureTenant, facts: &FilingFacts) -> Result<Filing, Rejection> {
    use TenantState::{Active, Suspended};
    let tenant = standing(facts, Operation::ConfigureTenant, &[Active, Suspended])?;
    let row = set_up(SetUp {
        calendar: &body.calendar,
        currency: &body.currency,
        quiet_hours: body.quiet_hours,
        locale: &body.locale,
        templates: body.templates.as_deref(),
    })?;
    Ok(written(tenant, row, None))
}

/// The whole of what is set apart: what is left out is as usual again.
pub(super) fn limit(body: &LimitTenant, facts: &FilingFacts) -> Result<Filing, Rejection> {
    use TenantState::{Active, Suspended};
    let tenant = standing(facts, Operation::LimitTenant, &[Active, Suspended])?;
    let limits = &body.limits;
    within(
        limits.commands_per_second,
        1..=MOST_PER_SECOND,
        "commands_per_second",
    )?;
    within(limits.command_burst, 1..=MOST_AT_ONCE, "command_burst")?;
    within(
        limits.reads_per_second,
        1..=MOST_PER_SECOND,
        "reads_per_second",
    )?;
    within(limits.read_burst, 1..=MOST_AT_ONCE, "read_burst")?;
    within(limits.open_tickets, 0..=MOST_TICKETS, "open_tickets")?;
    within(limits.storage_bytes, 0..=MOST_BYTES, "storage_bytes")?;
    within(limits.subscribers, 0..=MOST_SUBSCRIBERS, "subscribers")?;
    Ok(written(tenant, json!({ "limits": limits }), None))
}

fn within<N: Copy + Into<u64>>(
    value: Option<N>,
    range: RangeInclusive<u64>,
    member: &str,
) -> Result<(), Rejection> {
    match value.is_none_or(|value| range.contains(&value.into())) {
        true => Ok(()),
        false => Err(Rejection::invalid(
            format!("/limits/{member}"),
            format!(
                "must be {} to {}; leave it out for what is usual here",
                range.start(),
                range.end()
            ),
        )),
    }
}

pub(super) fn suspend(body: &SuspendTenant, facts: &FilingFacts) -> Result<Filing, Rejection> {
    let tenant = standing(facts, Operation::SuspendTenant, &[TenantState::Active])?;
    let state = TenantState::Suspended;
    Ok(turned(tenant, state, Some(&body.reason), facts, json!({})))
}

pub(super) fn resume(facts: &FilingFacts) -> Result<Filing, Rejection> {
    let tenant = standing(facts, Operation::ResumeTenant, &[TenantState::Suspended])?;
    Ok(turned(tenant, TenantState::Active, None, facts, json!({})))
}

pub(super) fn request_deletion(
    body: &RequestTenantDeletion,
    facts: &FilingFacts,
) -> Result<Filing, Rejection> {
    use TenantState::{Active, Suspended};
    let tenant = standing(
        facts,
        Operation::RequestTenantDeletion,
        &[Active, Suspended],
    )?;
    if !(1..=LONGEST_GRACE).contains(&body.grace_days) {
        return Err(Rejection::invalid(
            "/grace_days",
            "must be 1 to 365: there is always time to call it off",
        ));
    }
    let erase_after = check::kept_instant(facts.now + TimeDelta::days(body.grace_days.into()));
    let tenant = TenantFacts {
        erase_after: Some(erase_after),
        ..tenant.clone()
    };
    let row = json!({ "erase_after": erase_after });
    let state = TenantState::Deleting;
    Ok(turned(&tenant, state, Some(&body.reason), facts, row))
}

pub(super) fn cancel_deletion(
    body: &CancelTenantDeletion,
    facts: &FilingFacts,
) -> Result<Filing, Rejection> {
    let operation = Operation::CancelTenantDeletion;
    let tenant = standing(facts, operation, &[TenantState::Deleting])?;
    let row = json!({ "erase_after": null });
    let state = TenantState::Suspended;
    Ok(turned(tenant, state, Some(&body.reason), facts, row))
}

/// Whoever asks: the time of grace is over, or it is not.
pub(super) fn erase(facts: &FilingFacts) -> Result<Filing, Rejection> {
    let tenant = standing(facts, Operation::EraseTenant, &[TenantState::Deleting])?;
    let erase_after = tenant.erase_after.ok_or(Rejection::Broken {
        what: "the end of a tenant's time of grace",
    })?;
    if facts.now < erase_after {
        return Err(Rejection::GraceNotOver { erase_after });
    }
    let row = json!({ "erase_after": null });
    Ok(turned(tenant, TenantState::Erased, None, facts, row))
}

/// A copy of what is kept changes nothing of it: that it is made, and how that ended, stands on the
/// tenant's chain and nowhere else. An end names its beginning.
pub(super) fn record_export(
    body: &RecordTenantExport,
    facts: &FilingFacts,
) -> Result<Filing, Rejection> {
    let tenant = standing(facts, Operation::RecordTenantExport, TenantState::VARIANTS)?;
    let is_end = body.step != ExportStep::Begun;
    let of_an_end = |given: bool, member: &str| match (given, is_end) {
        (true, true) | (false, false) => Ok(()),
        (false, true) => Err(Rejection::invalid(member, "must be given with an end")),
        (true, false) => Err(Rejection::invalid(
            member,
            "must be left out with a beginning",
        )),
    };
    of_an_end(body.begun_by.is_some(), "/begun_by")?;
    of_an_end(body.rows.is_some(), "/rows")?;
    let filed = Filed::TenantExport {
        tenant_id: tenant.id,
        step: body.step,
        begun_by: body.begun_by,
        rows: body.rows,
    };
    Ok(Filing {
        produced_version: tenant.version,
        writes: false,
        ..Filing::written(filed, tenant.id.as_uuid(), tenant.version)
    })
}

/// The tenant, if the caller saw it as it is and it stands where the command leads on.
fn standing<'a>(
    facts: &'a FilingFacts,
    operation: Operation,
    from: &[TenantState],
) -> Result<&'a TenantFacts, Rejection> {
    let tenant = facts.tenant.as_ref().ok_or(Rejection::Broken {
        what: "the tenant that the command is about",
    })?;
    check::expected_version(facts, tenant.version)?;
    if !from.contains(&tenant.state) {
        return Err(Rejection::TenantState {
            operation,
            state: tenant.state,
        });
    }
    Ok(tenant)
}

struct SetUp<'a> {
    calendar: &'a WorkCalendar,
    currency: &'a Currency,
    quiet_hours: Option<QuietHours>,
    locale: &'a Locale,
    templates: Option<&'a [TemplateId]>,
}

fn set_up(wanted: SetUp<'_>) -> Result<Value, Rejection> {
    check::calendar(wanted.calendar)?;
    if let Some(quiet) = wanted.quiet_hours {
        let minute = |minute: u16, member: &str| match minute < 24 * 60 {
            true => Ok(()),
            false => Err(Rejection::invalid(
                format!("/quiet_hours/{member}"),
                "must be a minute of the day, 0 to 1439",
            )),
        };
        minute(quiet.from_minute, "from_minute")?;
        minute(quiet.until_minute, "until_minute")?;
    }
    if let Some(templates) = wanted.templates
        && !(1..=MOST_TEMPLATES).contains(&templates.len())
    {
        return Err(Rejection::invalid(
            "/templates",
            "must name 1 to 100 templates; leave it out for all of the bundle",
        ));
    }
    let settings = TenantSettings {
        calendar: wanted.calendar.clone(),
        currency: wanted.currency.to_string(),
        quiet_hours: wanted.quiet_hours,
    };
    Ok(json!({
        "settings": settings, "locale": wanted.locale, "templates": wanted.templates,
    }))
}

/// It stands elsewhere now.
fn turned(
    tenant: &TenantFacts,
    state: TenantState,
    reason: Option<&Slug>,
    facts: &FilingFacts,
    mut row: Value,
) -> Filing {
    row["reason"] = json!(reason);
    row["since"] = json!(check::kept_instant(facts.now));
    written(tenant, row, Some(state))
}

fn written(tenant: &TenantFacts, mut row: Value, turned: Option<TenantState>) -> Filing {
    let state = turned.unwrap_or(tenant.state);
    row["slug"] = json!(tenant.slug);
    row["state"] = json!(state);
    let filed = Filed::Tenant {
        tenant_id: tenant.id,
        slug: tenant.slug.clone(),
        state,
        erase_after: tenant
            .erase_after
            .filter(|_| state == TenantState::Deleting),
    };
    Filing {
        row: Some(row),
        ..Filing::written(filed, tenant.id.as_uuid(), tenant.version)
    }
}
