//! `dispatch tenant`: the life of a tenant.

mod args;
mod export;
mod show;

use client::CallOptions;
use contracts::{
    Role, TenantId,
    command::{
        CancelTenantDeletion, ConfigureTenant, CreateTenant, EraseTenant, LimitTenant,
        RequestTenantDeletion, ResumeTenant, SuspendTenant,
    },
    filing::FilingReceipt,
    schedule::WorkCalendar,
    tenant::{TenantLimits, TenantSummary, usual_calendar},
    value::Currency,
};

pub use args::TenantCommand;
use args::{
    Allowed, ConfigureArgs, CreateArgs, DeleteArgs, LimitArgs, Named, Offered, Quiet, SetUp,
};

use crate::{cli::Global, desk::Desk, exit::Failure};

/// Tenants read at once.
const PAGE: u32 = 1000;

/// Does it.
pub async fn run(global: &Global, command: TenantCommand) -> Result<(), Failure> {
    let connection = match &command {
        TenantCommand::Create(args) => &args.connection,
        TenantCommand::Configure(args) => &args.connection,
        TenantCommand::Limit(args) => &args.connection,
        TenantCommand::List(args) => &args.connection,
        TenantCommand::Show(args) => &args.connection,
        TenantCommand::Suspend(args)
        | TenantCommand::Resume(args)
        | TenantCommand::Undelete(args) => &args.connection,
        TenantCommand::Export(args) => &args.connection,
        TenantCommand::Delete(args) => &args.connection,
    };
    let desk = Desk::open(global, connection, Role::PlatformAdmin)?;
    let result = act(&desk, &command).await;
    desk.ended(result)
}

async fn act(desk: &Desk, command: &TenantCommand) -> Result<(), Failure> {
    let options = CallOptions::default();
    let api = &desk.api;
    match command {
        TenantCommand::Create(args) => create(desk, args).await,
        TenantCommand::Configure(args) => configure(desk, args).await,
        TenantCommand::Limit(args) => limit(desk, args).await,
        TenantCommand::List(args) => show::list(desk, args.state).await,
        TenantCommand::Show(args) => {
            let tenant_id = resolve(desk, &args.of).await?;
            show::one(desk, tenant_id).await
        }
        TenantCommand::Suspend(args) => {
            let body = SuspendTenant {
                tenant_id: resolve(desk, &args.of).await?,
                reason: args.reason.clone(),
            };
            told(
                desk,
                api.suspend_tenant(&body, &options).await?,
                body.tenant_id,
            )
            .await
        }
        TenantCommand::Resume(args) => {
            let body = ResumeTenant {
                tenant_id: resolve(desk, &args.of).await?,
                reason: args.reason.clone(),
            };
            told(
                desk,
                api.resume_tenant(&body, &options).await?,
                body.tenant_id,
            )
            .await
        }
        TenantCommand::Undelete(args) => {
            let body = CancelTenantDeletion {
                tenant_id: resolve(desk, &args.of).await?,
                reason: args.reason.clone(),
            };
            let receipt = api.cancel_tenant_deletion(&body, &options).await?;
            told(desk, receipt, body.tenant_id).await
        }
        TenantCommand::Export(args) => {
            let tenant_id = resolve(desk, &args.of).await?;
            export::run(desk, tenant_id, &args.out).await
        }
        TenantCommand::Delete(args) => delete(desk, args).await,
    }
}

async fn create(desk: &Desk, args: &CreateArgs) -> Result<(), Failure> {
    let set_up = &args.set_up;
    let body = CreateTenant {
        slug: args.slug.clone(),
        calendar: Some(calendar(set_up, usual_calendar("UTC"))),
        currency: set_up.currency.clone(),
        quiet_hours: match set_up.quiet_hours {
            Some(Quiet::Hours(hours)) => Some(hours),
            Some(Quiet::OfBundle) | None => None,
        },
        locale: set_up.locale.clone(),
        templates: match &set_up.templates {
            Some(Offered::Only(names)) => Some(names.clone()),
            Some(Offered::All) | None => None,
        },
    };
    let options = CallOptions::default();
    let receipt = desk.api.create_tenant(&body, &options).await?;
    let tenant_id = show::tenant_of(&receipt)?;
    told(desk, receipt, tenant_id).await
}

async fn configure(desk: &Desk, args: &ConfigureArgs) -> Result<(), Failure> {
    let tenant_id = resolve(desk, &args.of).await?;
    let standing = desk.api.tenant(tenant_id).await?;
    let set_up = &args.set_up;
    let currency = Currency::new(&standing.currency).map_err(Failure::failed);
    let body = ConfigureTenant {
        tenant_id,
        calendar: calendar(set_up, standing.calendar),
        currency: match &set_up.currency {
            Some(currency) => currency.clone(),
            None => currency?,
        },
        quiet_hours: match set_up.quiet_hours {
            Some(Quiet::Hours(hours)) => Some(hours),
            Some(Quiet::OfBundle) => None,
            None => standing.quiet_hours,
        },
        locale: set_up.locale.clone().unwrap_or(standing.locale),
        templates: match &set_up.templates {
            Some(Offered::Only(names)) => Some(names.clone()),
            Some(Offered::All) => None,
            None => standing.templates,
        },
    };
    // Somebody else may have changed what was just read.
    let options = CallOptions::default().expecting(standing.version);
    let receipt = desk.api.configure_tenant(&body, &options).await?;
    told(desk, receipt, tenant_id).await
}

async fn limit(desk: &Desk, args: &LimitArgs) -> Result<(), Failure> {
    let tenant_id = resolve(desk, &args.of).await?;
    let standing = desk.api.tenant(tenant_id).await?;
    let was = standing.limits;
    let wide = |said: Option<Allowed>, was: Option<u64>| match said {
        Some(Allowed::Most(most)) => Some(most),
        Some(Allowed::Usual) => None,
        None => was,
    };
    let narrow = |said: Option<Allowed>, was: Option<u32>, flag: &str| {
        let most = wide(said, was.map(u64::from))
            .map(u32::try_from)
            .transpose();
        most.map_err(|_| Failure::usage(format!("`--{flag}` is too much")))
    };
    let body = LimitTenant {
        tenant_id,
        limits: TenantLimits {
            commands_per_second: narrow(
                args.commands_per_second,
                was.commands_per_second,
                "commands-per-second",
            )?,
            command_burst: narrow(args.command_burst, was.command_burst, "command-burst")?,
            reads_per_second: narrow(
                args.reads_per_second,
                was.reads_per_second,
                "reads-per-second",
            )?,
            read_burst: narrow(args.read_burst, was.read_burst, "read-burst")?,
            open_tickets: wide(args.open_tickets, was.open_tickets),
            storage_bytes: wide(args.storage, was.storage_bytes),
            subscribers: narrow(args.subscribers, was.subscribers, "subscribers")?,
        },
        reason: args.reason.clone(),
    };
    // Somebody else may have changed what was just read.
    let options = CallOptions::default().expecting(standing.version);
    let receipt = desk.api.limit_tenant(&body, &options).await?;
    told(desk, receipt, tenant_id).await
}

/// The calendar with what was said of it.
fn calendar(set_up: &SetUp, mut calendar: WorkCalendar) -> WorkCalendar {
    if let Some(zone) = &set_up.time_zone {
        calendar.time_zone.clone_from(zone);
    }
    if let Some(hours) = &set_up.hours {
        let open = |day| (hours.days.0..=hours.days.1).contains(&day);
        let week = (0..7).map(|day| match open(day) {
            true => vec![hours.minutes],
            false => Vec::new(),
        });
        calendar.week = week.collect();
    }
    if let Some(days_off) = &set_up.days_off {
        calendar.days_off.clone_from(days_off);
    }
    calendar
}

async fn delete(desk: &Desk, args: &DeleteArgs) -> Result<(), Failure> {
    let tenant_id = resolve(desk, &args.of).await?;
    let options = CallOptions::default();
    let receipt = match &args.reason {
        None => {
            let body = EraseTenant { tenant_id };
            desk.api.erase_tenant(&body, &options).await?
        }
        Some(reason) => {
            let body = RequestTenantDeletion {
                tenant_id,
                reason: reason.clone(),
                grace_days: args.grace_days,
            };
            desk.api.request_tenant_deletion(&body, &options).await?
        }
    };
    told(desk, receipt, tenant_id).await
}

/// Says where the tenant stands after a command, or what was answered.
async fn told(desk: &Desk, receipt: FilingReceipt, tenant: TenantId) -> Result<(), Failure> {
    match desk.json {
        true => desk.print_json(&receipt),
        false => show::one(desk, tenant).await,
    }
}

/// The tenant that was named, among those that the caller may know of.
async fn resolve(desk: &Desk, named: &Named) -> Result<TenantId, Failure> {
    let slug = match named {
        Named::Id(id) => return Ok(*id),
        Named::Slug(slug) => slug,
    };
    let all = all(desk, None).await?;
    let found = all.iter().find(|tenant| tenant.slug == *slug);
    found.map(|tenant| tenant.tenant_id).ok_or_else(|| {
        Failure::failed(format!(
            "there is no tenant `{slug}`, or it is not yours; `dispatch tenant list` shows those that \
             there are, and only a platform administrator sees all"
        ))
    })
}

/// All tenants that the caller may know of.
async fn all(
    desk: &Desk,
    state: Option<contracts::tenant::TenantState>,
) -> Result<Vec<TenantSummary>, Failure> {
    let mut all = Vec::new();
    let mut after = None;
    loop {
        let page = desk.api.tenants(after.as_ref(), state, Some(PAGE)).await?;
        all.extend(page.items);
        match page.next_after {
            Some(next) => after = Some(next),
            None => return Ok(all),
        }
    }
}
