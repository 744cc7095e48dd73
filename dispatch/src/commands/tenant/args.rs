//! The flags of `dispatch tenant`.

use std::{path::PathBuf, str::FromStr};

use clap::{Args, Subcommand};
use contracts::{
    Slug, TemplateId, TenantId,
    schedule::QuietHours,
    tenant::TenantState,
    value::{Currency, Locale},
};

use crate::{commands::ticket::parse, desk::Connection};

/// What to do.
#[derive(Debug, Subcommand)]
pub enum TenantCommand {
    /// Makes a tenant; what is not said gets the usual value
    Create(CreateArgs),
    /// Changes how a tenant is set up; what is not said stays as it is
    Configure(ConfigureArgs),
    /// Sets how much a tenant may use; what is not said stays as it is
    Limit(LimitArgs),
    /// Which tenants there are, and where they stand
    List(ListArgs),
    /// How a tenant is set up, and where it stands
    Show(ShowArgs),
    /// Lets nothing of a tenant be changed any more; everything can be read
    Suspend(TurnArgs),
    /// Lets a suspended tenant work again
    Resume(TurnArgs),
    /// Copies everything that is kept of a tenant into a file, as JSON Lines
    Export(ExportArgs),
    /// Has a tenant erased when a time of grace is over; it is suspended at once
    ///
    /// The tenant's control erases it then by itself. `--now` erases it at once, and is refused before
    /// the time of grace is over. What is erased is gone: export first.
    Delete(DeleteArgs),
    /// Calls a deletion off; the tenant stays suspended until it is resumed
    Undelete(TurnArgs),
}

/// A tenant by its slug or its id.
#[derive(Debug, Clone)]
pub enum Named {
    /// By its name.
    Slug(Slug),
    /// By its id.
    Id(TenantId),
}

impl FromStr for Named {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let id = text.parse().map(Self::Id);
        let slug = || Slug::new(text).map(Self::Slug);
        id.or_else(|_| slug()).map_err(|_| {
            format!("`{text}` is no tenant: its slug, such as canal_glass, or its id, ten_…")
        })
    }
}

/// How a tenant is set up.
#[derive(Debug, Clone, Default, Args)]
pub struct SetUp {
    /// IANA time zone of its office: Europe/Amsterdam
    #[arg(long, value_name = "ZONE")]
    pub time_zone: Option<String>,

    /// When its office is open, the same each working day: Mon-Fri 08:00-17:30
    #[arg(long, value_name = "DAYS HOURS")]
    pub hours: Option<OfficeHours>,

    /// Days on which it is closed: 2026-12-25,2026-12-26
    #[arg(long, value_name = "DATE", value_delimiter = ',')]
    pub days_off: Option<Vec<chrono::NaiveDate>>,

    /// ISO 4217 code of all amounts: EUR
    #[arg(long, value_name = "CODE")]
    pub currency: Option<Currency>,

    /// Language, and region where that matters: nl or en-GB
    #[arg(long, value_name = "LOCALE")]
    pub locale: Option<Locale>,

    /// When customers are left in peace, such as 21:00-08:00; `bundle` for what the policy says
    #[arg(long, value_name = "TIMES")]
    pub quiet_hours: Option<Quiet>,

    /// Incident templates that new jobs may have: emergency_glass,emergency_door; `all` for those of the
    /// policy
    #[arg(long, value_name = "TEMPLATE")]
    pub templates: Option<Offered>,
}

/// Hours on some days of the week.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfficeHours {
    /// First and last day, Monday is 0.
    pub days: (usize, usize),
    /// Minutes after midnight.
    pub minutes: (u16, u16),
}

const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

impl FromStr for OfficeHours {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no office hours: Mon-Fri 08:00-17:30");
        let (days, hours) = text.split_once(' ').ok_or_else(wrong)?;
        let day = |name: &str| {
            let name = name.to_ascii_lowercase();
            DAYS.iter().position(|day| *day == name)
        };
        let (first, last) = days.split_once('-').unwrap_or((days, days));
        let days = day(first).zip(day(last)).ok_or_else(wrong)?;
        let minutes = times(hours.trim()).ok_or_else(wrong)?;
        match days.0 <= days.1 && minutes.0 < minutes.1 {
            true => Ok(Self { days, minutes }),
            false => Err(wrong()),
        }
    }
}

/// `08:00-17:30`
fn times(text: &str) -> Option<(u16, u16)> {
    let minute = |time: &str| {
        let (hour, minute) = time.split_once(':')?;
        let (hour, minute): (u16, u16) = (hour.parse().ok()?, minute.parse().ok()?);
        let whole = hour * 60 + minute;
        (hour <= 24 && minute < 60 && whole <= 24 * 60).then_some(whole)
    };
    let (from, until) = text.split_once('-')?;
    Some((minute(from)?, minute(until)?))
}

/// When customers are left in peace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quiet {
    /// As the bundle says.
    OfBundle,
    /// At these times.
    Hours(QuietHours),
}

impl FromStr for Quiet {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "bundle" {
            return Ok(Self::OfBundle);
        }
        let times = times(text).filter(|(from, until)| *from < 24 * 60 && *until < 24 * 60);
        let (from_minute, until_minute) =
            times.ok_or_else(|| format!("`{text}` is no time of day: 21:00-08:00, or bundle"))?;
        Ok(Self::Hours(QuietHours {
            from_minute,
            until_minute,
        }))
    }
}

/// Incident templates that new jobs may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Offered {
    /// All of the bundle.
    All,
    /// These.
    Only(Vec<TemplateId>),
}

impl FromStr for Offered {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "all" {
            return Ok(Self::All);
        }
        let names = text.split(',').map(TemplateId::new);
        let names: Result<Vec<_>, _> = names.collect();
        names.map(Self::Only).map_err(|rule| {
            format!("`{text}` are no templates: each {rule}; separate them with commas, or say all")
        })
    }
}

/// `dispatch tenant create`.
#[derive(Debug, Args)]
pub struct CreateArgs {
    /// Its name in files and commands, for ever: canal_glass
    #[arg(value_name = "SLUG")]
    pub slug: Slug,

    #[command(flatten)]
    pub set_up: SetUp,

    #[command(flatten)]
    pub connection: Connection,
}

/// `dispatch tenant configure`.
#[derive(Debug, Args)]
pub struct ConfigureArgs {
    /// Which: its slug or its id
    #[arg(value_name = "TENANT")]
    pub of: Named,

    #[command(flatten)]
    pub set_up: SetUp,

    #[command(flatten)]
    pub connection: Connection,
}

/// `dispatch tenant limit`.
#[derive(Debug, Args)]
pub struct LimitArgs {
    /// Which: its slug or its id
    #[arg(value_name = "TENANT")]
    pub of: Named,

    /// Commands that it may go on sending each second; `usual` for what the installation says, here and
    /// below
    #[arg(long, value_name = "N")]
    pub commands_per_second: Option<Allowed>,

    /// Commands that may come at once; five seconds' worth without it
    #[arg(long, value_name = "N")]
    pub command_burst: Option<Allowed>,

    /// Reads that it may go on sending each second
    #[arg(long, value_name = "N")]
    pub reads_per_second: Option<Allowed>,

    /// Reads that may come at once; five seconds' worth without it
    #[arg(long, value_name = "N")]
    pub read_burst: Option<Allowed>,

    /// Tickets that are open at the same time
    #[arg(long, value_name = "N")]
    pub open_tickets: Option<Allowed>,

    /// Bytes of kept messages and uploaded policy bundles: 20GiB
    #[arg(long, value_name = "SIZE")]
    pub storage: Option<Allowed>,

    /// Requests that wait at the same time
    #[arg(long, value_name = "N")]
    pub subscribers: Option<Allowed>,

    /// Why: a word such as larger_plan
    #[arg(long, value_name = "WORD")]
    pub reason: Slug,

    #[command(flatten)]
    pub connection: Connection,
}

/// How much of something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Allowed {
    /// As the installation says.
    Usual,
    /// So much.
    Most(u64),
}

impl FromStr for Allowed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "usual" {
            return Ok(Self::Usual);
        }
        let units = [("KiB", 10), ("MiB", 20), ("GiB", 30), ("TiB", 40)];
        let unit = units.iter().find_map(|(unit, shift)| {
            let number = text.strip_suffix(unit)?;
            Some((number.trim_end(), 1_u64 << shift))
        });
        let (number, unit) = unit.unwrap_or((text, 1));
        let number: Option<u64> = number.parse().ok();
        number
            .and_then(|number| number.checked_mul(unit))
            .map(Self::Most)
            .ok_or_else(|| {
                format!("`{text}` is no amount: a number, a size such as 20GiB, or usual")
            })
    }
}

/// `dispatch tenant list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Only those that stand here: active, suspended, deleting or erased
    #[arg(long, value_name = "STATE", value_parser = parse::<TenantState>)]
    pub state: Option<TenantState>,

    #[command(flatten)]
    pub connection: Connection,
}

/// `dispatch tenant show`.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// Which: its slug or its id
    #[arg(value_name = "TENANT")]
    pub of: Named,

    #[command(flatten)]
    pub connection: Connection,
}

/// `dispatch tenant suspend`, `resume` and `undelete`.
#[derive(Debug, Args)]
pub struct TurnArgs {
    /// Which: its slug or its id
    #[arg(value_name = "TENANT")]
    pub of: Named,

    /// Why: a word such as unpaid
    #[arg(long, value_name = "WORD")]
    pub reason: Slug,

    #[command(flatten)]
    pub connection: Connection,
}

/// `dispatch tenant export`.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// Which: its slug or its id
    #[arg(value_name = "TENANT")]
    pub of: Named,

    /// Into this file, or into SLUG.ndjson in this folder; a file that is there is not overwritten
    #[arg(long, value_name = "PATH")]
    pub out: PathBuf,

    #[command(flatten)]
    pub connection: Connection,
}

/// `dispatch tenant delete`.
#[derive(Debug, Args)]
pub struct DeleteArgs {
    /// Which: its slug or its id
    #[arg(value_name = "TENANT")]
    pub of: Named,

    /// Why: a word such as contract_ended
    #[arg(long, value_name = "WORD", required_unless_present = "now")]
    pub reason: Option<Slug>,

    /// In how many days it may be erased
    #[arg(
        long,
        value_name = "DAYS",
        default_value_t = 30,
        conflicts_with = "now"
    )]
    pub grace_days: u16,

    /// Its time of grace is over: erase what is personal of it, for good
    #[arg(long, conflicts_with = "reason")]
    pub now: bool,

    #[command(flatten)]
    pub connection: Connection,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn office_hours_are_read_as_people_write_them() {
        let hours: OfficeHours = "Mon-Fri 08:00-17:30".parse().unwrap();
        assert_eq!((hours.days, hours.minutes), ((0, 4), (480, 1_050)));
        let one: OfficeHours = "sat 09:00-24:00".parse().unwrap();
        assert_eq!((one.days, one.minutes), ((5, 5), (540, 1_440)));
        for wrong in [
            "Mon-Fri",
            "Fri-Mon 08:00-17:00",
            "Mon 17:00-08:00",
            "Mon 8-17",
        ] {
            assert!(wrong.parse::<OfficeHours>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn amounts_are_numbers_sizes_or_usual() {
        assert_eq!("usual".parse(), Ok(Allowed::Usual));
        assert_eq!("0".parse(), Ok(Allowed::Most(0)));
        assert_eq!("20GiB".parse(), Ok(Allowed::Most(20 << 30)));
        assert_eq!("1 KiB".parse(), Ok(Allowed::Most(1_024)));
        for wrong in ["", "GiB", "-1", "20GB", "1.5MiB", "99999999999TiB"] {
            assert!(wrong.parse::<Allowed>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_can_be_left_to_the_bundle_is_said_so() {
        assert_eq!("bundle".parse(), Ok(Quiet::OfBundle));
        let night = QuietHours {
            from_minute: 1_260,
            until_minute: 480,
        };
        assert_eq!("21:00-08:00".parse(), Ok(Quiet::Hours(night)));
        assert!("21:00-24:00".parse::<Quiet>().is_err());
        assert_eq!("all".parse(), Ok(Offered::All));
        assert!(matches!("a,b".parse(), Ok(Offered::Only(two)) if two.len() == 2));
        assert!("A".parse::<Offered>().is_err());
    }

    #[test]
    fn a_tenant_is_named_by_its_slug_or_its_id() {
        let id = format!("ten_{}", "0".repeat(32));
        assert!(matches!(id.parse(), Ok(Named::Id(_))));
        assert!(matches!("canal_glass".parse(), Ok(Named::Slug(_))));
        assert!("Canal Glass".parse::<Named>().is_err());
    }
}
