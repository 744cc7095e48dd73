//! `dispatch tenant list` and `show`, and what the other commands say in the end.

use std::fmt::Write;

use chrono::{DateTime, Utc};
use contracts::{
    TenantId,
    filing::{Filed, FilingReceipt},
    schedule::WorkCalendar,
    tenant::{
        QuotaUse, Rate, TenantLimits, TenantPage, TenantQuotas, TenantState, TenantSummary,
        TenantView,
    },
};

use crate::{
    desk::Desk,
    exit::Failure,
    table::{Mark, Table},
    words,
};

const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

pub(super) async fn list(desk: &Desk, state: Option<TenantState>) -> Result<(), Failure> {
    let items = super::all(desk, state).await?;
    if desk.json {
        return desk.print_json(&TenantPage {
            items,
            next_after: None,
        });
    }
    if items.is_empty() {
        return desk.print("no tenant stands there\n");
    }
    let mut table = Table::new(&["TENANT", "STATE", "SINCE", "WHY", "ERASED AFTER", "ID"]);
    for tenant in &items {
        let nothing = || "–".to_owned();
        table.row([
            tenant.slug.to_string(),
            stands(tenant),
            words::minute(tenant.since),
            tenant
                .reason
                .as_ref()
                .map_or_else(nothing, ToString::to_string),
            tenant.erase_after.map_or_else(nothing, words::minute),
            tenant.tenant_id.to_string(),
        ]);
    }
    desk.print(&table.render(desk.screen, &[0, 1, 5]))
}

pub(super) async fn one(desk: &Desk, id: TenantId) -> Result<(), Failure> {
    let tenant = desk.api.tenant(id).await?;
    match desk.json {
        true => desk.print_json(&tenant),
        false => desk.print(&desk.screen.paint(&text(&tenant, Utc::now()))),
    }
}

/// The tenant that a receipt is about.
pub(super) fn tenant_of(receipt: &FilingReceipt) -> Result<TenantId, Failure> {
    match receipt.filed {
        Filed::Tenant { tenant_id, .. } => Ok(tenant_id),
        _ => Err(Failure::failed("the answer is about something else")),
    }
}

fn stands(tenant: &TenantSummary) -> String {
    let word = tenant.state.to_string();
    match tenant.state {
        TenantState::Active => word,
        TenantState::Suspended => Mark::Warn.on(&word),
        TenantState::Deleting | TenantState::Erased => Mark::Bad.on(&word),
    }
}

fn text(tenant: &TenantView, now: DateTime<Utc>) -> String {
    let about = &tenant.summary;
    let mut text = format!(
        "{}: {} since {} ({})",
        about.slug,
        stands(about),
        words::time(about.since),
        words::ago(about.since, now),
    );
    if let Some(reason) = &about.reason {
        let _ = write!(text, ", for {reason}");
    }
    text += "\n";
    if let Some(after) = about.erase_after {
        let _ = writeln!(text, "  erased      after {}", words::time(after));
    }
    let _ = writeln!(text, "  id          {}", about.tenant_id);
    let _ = writeln!(text, "  version     {}", tenant.version);
    let _ = writeln!(text, "  office      {}", office(&tenant.calendar));
    let _ = writeln!(text, "  time zone   {}", tenant.calendar.time_zone);
    let _ = writeln!(text, "  currency    {}", tenant.currency);
    let _ = writeln!(text, "  locale      {}", tenant.locale);
    let quiet = tenant.quiet_hours.map_or_else(
        || "as the policy says".to_owned(),
        |hours| {
            format!(
                "{} – {}",
                clock(hours.from_minute),
                clock(hours.until_minute)
            )
        },
    );
    let _ = writeln!(text, "  quiet hours {quiet}");
    let templates = tenant.templates.as_ref().map_or_else(
        || "all of the policy".to_owned(),
        |names| {
            let names: Vec<_> = names.iter().map(ToString::to_string).collect();
            names.join(", ")
        },
    );
    let _ = writeln!(text, "  templates   {templates}");
    if let Some(quotas) = &tenant.quotas {
        text += &limits(quotas, &tenant.limits);
    }
    let next = match about.state {
        TenantState::Active => None,
        TenantState::Suspended => Some(format!(
            "`dispatch tenant resume {} --reason WORD` lets it work again",
            about.slug
        )),
        TenantState::Deleting => Some(format!(
            "`dispatch tenant undelete {} --reason WORD` calls it off; `dispatch tenant export` keeps \
             a copy",
            about.slug
        )),
        TenantState::Erased => {
            Some("what is left proves what was done; `dispatch verify` checks it".to_owned())
        }
    };
    if let Some(next) = next {
        let _ = writeln!(text, "{next}");
    }
    text
}

/// What it may use and uses; what was set for it is marked.
fn limits(quotas: &TenantQuotas, set: &TenantLimits) -> String {
    let mut text = String::new();
    let mut line = |name: &str, what: String, is_set: bool| {
        let mark = if is_set { ", set for it" } else { "" };
        let _ = writeln!(text, "  {name:<11} {what}{mark}");
    };
    let rate = |rate: Rate| format!("{} per second, {} at once", rate.per_second, rate.burst);
    line(
        "commands",
        rate(quotas.commands),
        set.commands_per_second.is_some() || set.command_burst.is_some(),
    );
    line(
        "reads",
        rate(quotas.reads),
        set.reads_per_second.is_some() || set.read_burst.is_some(),
    );
    let amount = |of: QuotaUse| match of.used {
        Some(used) => format!("{used} of {}", of.limit),
        None => format!("at most {}", of.limit),
    };
    let (open, bytes) = (quotas.open_tickets, quotas.storage_bytes);
    line(
        "open",
        format!("{} tickets", amount(open)),
        set.open_tickets.is_some(),
    );
    line(
        "kept",
        format!("{} bytes", amount(bytes)),
        set.storage_bytes.is_some(),
    );
    line(
        "waiting",
        format!("{} requests", amount(quotas.subscribers)),
        set.subscribers.is_some(),
    );
    text
}

fn clock(minute: u16) -> String {
    format!("{:02}:{:02}", minute / 60, minute % 60)
}

/// `Mon 08:00-17:00, Tue …`; days with the same hours that follow each other in one.
fn office(calendar: &WorkCalendar) -> String {
    let mut parts: Vec<(usize, usize, String)> = Vec::new();
    for (day, open) in calendar.week.iter().enumerate().take(DAYS.len()) {
        if open.is_empty() {
            continue;
        }
        let hours = open
            .iter()
            .map(|(from, until)| format!("{}-{}", clock(*from), clock(*until)));
        let hours = hours.collect::<Vec<_>>().join(" ");
        match parts.last_mut() {
            Some((_, last, same)) if *last + 1 == day && *same == hours => *last = day,
            _ => parts.push((day, day, hours)),
        }
    }
    let mut text = match parts.is_empty() {
        true => "never open".to_owned(),
        false => {
            let parts = parts
                .iter()
                .map(|(first, last, hours)| match first == last {
                    true => format!("{} {hours}", DAYS[*first]),
                    false => format!("{}-{} {hours}", DAYS[*first], DAYS[*last]),
                });
            parts.collect::<Vec<_>>().join(", ")
        }
    };
    match calendar.days_off.len() {
        0 => {}
        1 => text += "; 1 day off",
        many => {
            let _ = write!(text, "; {many} days off");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use contracts::tenant::{usual_calendar, usual_locale};

    use super::*;
    use crate::table::Screen;

    fn tenant(state: TenantState) -> TenantView {
        TenantView {
            summary: TenantSummary {
                tenant_id: format!("ten_{}", "0".repeat(32)).parse().unwrap(),
                slug: "canal_glass".parse().unwrap(),
                state,
                since: Utc::now(),
                reason: Some("unpaid".parse().unwrap()),
                erase_after: (state == TenantState::Deleting).then(Utc::now),
            },
            version: 3,
            created_at: Utc::now(),
            calendar: usual_calendar("Europe/Amsterdam"),
            currency: "EUR".to_owned(),
            quiet_hours: None,
            locale: usual_locale(),
            templates: None,
            limits: TenantLimits {
                open_tickets: Some(50),
                ..TenantLimits::default()
            },
            quotas: Some(TenantQuotas {
                commands: Rate {
                    per_second: 200,
                    burst: 1_000,
                },
                reads: Rate {
                    per_second: 500,
                    burst: 2_500,
                },
                open_tickets: QuotaUse {
                    used: Some(7),
                    limit: 50,
                },
                storage_bytes: QuotaUse {
                    used: None,
                    limit: 1_024,
                },
                subscribers: QuotaUse {
                    used: Some(0),
                    limit: 32,
                },
            }),
        }
    }

    #[test]
    fn what_a_tenant_may_use_is_told_with_what_it_uses() {
        let told = Screen::PIPE.paint(&text(&tenant(TenantState::Active), Utc::now()));
        for line in [
            "  commands    200 per second, 1000 at once\n",
            "  open        7 of 50 tickets, set for it\n",
            "  kept        at most 1024 bytes\n",
            "  waiting     0 of 32 requests\n",
        ] {
            assert!(told.contains(line), "{told}");
        }
    }

    #[test]
    fn a_tenant_is_told_with_what_can_be_done_next() {
        let told = |state| Screen::PIPE.paint(&text(&tenant(state), Utc::now()));
        let active = told(TenantState::Active);
        assert!(active.starts_with("canal_glass: active since "), "{active}");
        assert!(active.contains("Mon-Fri 09:00-17:00\n"), "{active}");
        assert!(!active.contains("dispatch tenant"), "{active}");
        let suspended = told(TenantState::Suspended);
        assert!(suspended.contains(", for unpaid\n"), "{suspended}");
        assert!(
            suspended.contains("tenant resume canal_glass --reason"),
            "{suspended}"
        );
        let deleting = told(TenantState::Deleting);
        assert!(deleting.contains("  erased      after 20"), "{deleting}");
        assert!(
            deleting.contains("tenant undelete canal_glass"),
            "{deleting}"
        );
    }
}
