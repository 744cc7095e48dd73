//! The rules for messages: `data.comms`.

use contracts::comms::CommsRules;
use serde::Deserialize;
use serde_json::Value;

use crate::{error::BundleError, templates::Templates};

/// Reads the rules; ones that cannot be used refuse the bundle.
pub(crate) fn parse(data: &Value, templates: &Templates) -> Result<CommsRules, BundleError> {
    let refused = |reason: String| BundleError::Comms { reason };
    let rules = data
        .get("comms")
        .ok_or_else(|| refused("`data.comms` is missing".into()))?;
    let rules = CommsRules::deserialize(rules).map_err(|error| refused(error.to_string()))?;
    if !templates.contains_key(&rules.intake_template) {
        return Err(refused(format!(
            "`intake_template`: there is no template `{}`",
            rules.intake_template
        )));
    }
    Ok(rules)
}
