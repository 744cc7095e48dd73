//! The incident templates `data.templates`: id → [`IncidentTemplate`].

use std::{
    collections::{BTreeMap, BTreeSet},
    str::FromStr,
};

use contracts::{
    Operation, TemplateId,
    template::{DetailKind, IncidentTemplate},
};
use serde::Deserialize;
use serde_json::Value;

use crate::error::BundleError;

pub(crate) type Templates = BTreeMap<TemplateId, IncidentTemplate>;

/// Reads all templates; one that cannot be used refuses the bundle.
pub(crate) fn parse(data: &Value) -> Result<Templates, BundleError> {
    let templates = data
        .get("templates")
        .and_then(Value::as_object)
        .filter(|templates| !templates.is_empty())
        .ok_or_else(|| refused("*", "`data.templates` must hold at least one template"))?;
    templates
        .iter()
        .map(|(key, value)| {
            let template = IncidentTemplate::deserialize(value)
                .map_err(|error| refused(key, &error.to_string()))?;
            check(key, &template).map_err(|reason| refused(key, &reason))?;
            Ok((template.id.clone(), template))
        })
        .collect()
}

fn check(key: &str, template: &IncidentTemplate) -> Result<(), String> {
    if template.id.as_str() != key {
        return Err(format!("its `id` is `{}`", template.id));
    }
    if template.title.trim().is_empty() {
        return Err("`title` is blank".into());
    }
    if template.nte_cents < 0 {
        return Err("`nte_cents` is negative".into());
    }
    if template.visit_minutes == 0 {
        return Err("`visit_minutes` is 0".into());
    }
    if let Some(detail) = template
        .required_details
        .iter()
        .find(|detail| !template.known_details.contains_key(*detail))
    {
        return Err(format!(
            "`required_details`: `{detail}` is not one of `known_details`"
        ));
    }
    let wordless =
        |kind: &DetailKind| matches!(kind, DetailKind::Word { one_of } if one_of.is_empty());
    if let Some((detail, _)) = template
        .known_details
        .iter()
        .find(|(_, kind)| wordless(kind))
    {
        return Err(format!("`known_details`: `{detail}` could be no word"));
    }
    if let Some(step) = template
        .evidence
        .keys()
        .find(|step| Operation::from_str(step).is_err())
    {
        return Err(format!("`evidence`: there is no operation `{step}`"));
    }
    if let Some(kind) = template
        .verified_evidence
        .iter()
        .find(|kind| !template.evidence.values().flatten().any(|k| k == *kind))
    {
        return Err(format!("`verified_evidence`: no step needs `{kind}`"));
    }
    let mut names = BTreeSet::new();
    for clock in &template.clocks {
        if !names.insert(&clock.name) {
            return Err(format!("clock `{}` is defined twice", clock.name));
        }
        if clock.minutes.is_empty() || clock.minutes.values().any(|minutes| *minutes == 0) {
            return Err(format!("clock `{}` promises no or 0 minutes", clock.name));
        }
        if clock.stops_at.is_empty() {
            return Err(format!("clock `{}` would never stop", clock.name));
        }
    }
    Ok(())
}

fn refused(id: &str, reason: &str) -> BundleError {
    BundleError::Template {
        id: id.to_owned(),
        reason: reason.to_owned(),
    }
}
