//! The figures that the starter's rules compare with: `data.quiet_hours`, `data.nte` and
//! `data.activation`.
//!
//! In Rego a misspelt figure is undefined and its rule never holds, so they are read here too. A bundle
//! whose rules do without one is free to leave it out.

use contracts::{Operation, TemplateId, schedule::QuietHours};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{error::BundleError, templates::Templates};

const MINUTES_OF_DAY: u16 = 24 * 60;

/// When customers are left in peace, by what, and on which jobs not: `data.quiet_hours`.
///
/// The program reads it too, for messages: what is queued by day may leave at night.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Peace {
    from_minute: u16,
    until_minute: u16,
    on_days_off: bool,
    exempt_templates: Vec<TemplateId>,
    operations: Vec<Operation>,
}

impl Peace {
    /// Whether it holds for this kind of command, on a job of this kind.
    pub fn binds(&self, operation: Operation, template: Option<&TemplateId>) -> bool {
        let exempt = template.is_some_and(|it| self.exempt_templates.contains(it));
        self.operations.contains(&operation) && !exempt
    }

    /// The hours of tenants that have none of their own.
    pub fn hours(&self) -> QuietHours {
        QuietHours {
            from_minute: self.from_minute,
            until_minute: self.until_minute,
        }
    }

    /// Whether the days off of a tenant's calendar are quiet as well.
    pub fn on_days_off(&self) -> bool {
        self.on_days_off
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nte {
    delta_cents: i64,
    delta_percent: i64,
    cumulative_percent: i64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "they are right when they are of their type")]
struct Activation {
    needs_approval: bool,
    require_report: bool,
    report_max_age_minutes: u32,
    /// None before the starter bundle 1.6.0.
    #[serde(default)]
    report_min_days: u32,
    #[serde(default)]
    report_min_decisions: u32,
}

/// Checks the figures, and reads those that the program needs.
pub(crate) fn parse(data: &Value, templates: &Templates) -> Result<Option<Peace>, BundleError> {
    let peace = read::<Peace>(data, "quiet_hours")?;
    if let Some(peace) = &peace {
        if peace.from_minute.max(peace.until_minute) >= MINUTES_OF_DAY {
            return Err(refused("quiet_hours", "a minute of the day is 0 to 1439"));
        }
        let unknown = peace
            .exempt_templates
            .iter()
            .find(|id| !templates.contains_key(*id));
        if let Some(template) = unknown {
            let reason = format!("`exempt_templates`: there is no template `{template}`");
            return Err(refused("quiet_hours", &reason));
        }
    }
    if let Some(nte) = read::<Nte>(data, "nte")? {
        let figures = [nte.delta_cents, nte.delta_percent, nte.cumulative_percent];
        if figures.iter().any(|figure| *figure < 0) {
            return Err(refused("nte", "a limit is negative"));
        }
    }
    read::<Activation>(data, "activation")?;
    Ok(peace)
}

fn read<T: DeserializeOwned>(data: &Value, name: &str) -> Result<Option<T>, BundleError> {
    let table = data.get(name).map(T::deserialize).transpose();
    table.map_err(|error| refused(name, &error.to_string()))
}

fn refused(name: &str, reason: &str) -> BundleError {
    BundleError::Data {
        path: format!("{name}/data.json"),
        reason: reason.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn starter() -> Value {
        let parse = |text| serde_json::from_str::<Value>(text).unwrap();
        let mut quiet = parse(include_str!("../bundle/quiet_hours/data.json"));
        quiet["exempt_templates"] = json!([]);
        json!({
            "quiet_hours": quiet,
            "nte": parse(include_str!("../bundle/nte/data.json")),
            "activation": parse(include_str!("../bundle/activation/data.json")),
        })
    }

    #[test]
    fn misspelt_or_odd_figures_are_refused() {
        let none = Templates::new();
        assert!(parse(&starter(), &none).is_ok());
        assert_eq!(parse(&json!({}), &none).unwrap(), None);
        for (table, key, value) in [
            ("quiet_hours", "from_minute", json!(1440)),
            ("quiet_hours", "until_minute", json!(1440)),
            ("quiet_hours", "until", json!(1)),
            ("quiet_hours", "operations", json!(["confirm"])),
            ("quiet_hours", "exempt_templates", json!(["nothing"])),
            ("nte", "delta_cents", json!(-1)),
            ("nte", "delta", json!(1)),
            ("activation", "needs_approval", json!("no")),
            ("activation", "report_min_days", json!(-1)),
            ("activation", "report_min_decision", json!(1)),
        ] {
            let mut spoilt = starter();
            spoilt[table][key] = value.clone();
            assert!(parse(&spoilt, &none).is_err(), "{table} {key} {value}");
        }
        let mut missing = starter();
        missing["nte"]
            .as_object_mut()
            .unwrap()
            .remove("delta_cents");
        assert!(parse(&missing, &none).is_err());
    }

    #[test]
    fn peace_binds_its_operations_on_all_jobs_but_the_exempt_ones() {
        let bundle = crate::Bundle::starter().unwrap();
        let peace = bundle.peace().expect("the starter has quiet hours");
        let hours = peace.hours();
        assert_eq!((hours.from_minute, hours.until_minute), (1320, 420));
        assert!(peace.on_days_off());
        let template = |name: &str| name.parse::<TemplateId>().unwrap();
        let install = template("scheduled_install");
        let glass = template("emergency_glass");
        let binds = |operation, template| peace.binds(operation, template);
        assert!(binds(Operation::CommsOutbound, Some(&install)));
        assert!(binds(Operation::CommsOutbound, None));
        assert!(!binds(Operation::CommsOutbound, Some(&glass)));
        assert!(!binds(Operation::Dispatch, Some(&install)));
    }
}
