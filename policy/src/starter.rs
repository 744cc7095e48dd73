//! The starter bundle, compiled into the program, and the names of those that came before it.

use std::sync::LazyLock;

use crate::{error::BundleError, files::BundleFiles};

/// Version and SHA-256 of each that was shipped, a line.
const SHIPPED: &str = include_str!("../starters.txt");

static TODAYS: LazyLock<Option<String>> = LazyLock::new(|| Some(files().ok()?.sha256()));

/// Whether this is the content of a starter bundle of this program or of an earlier one. Whoever
/// trusts the program trusts them: an upgrade finds the former one active, and a rollback goes back to
/// it, in an installation that takes signed bundles only.
pub(crate) fn was_shipped(sha256: &str) -> bool {
    let mut former = SHIPPED
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once(' '));
    TODAYS.as_deref() == Some(sha256) || former.any(|(_, known)| known == sha256)
}

macro_rules! embedded {
    ($($path:literal),+ $(,)?) => {
        [$(($path, include_str!(concat!("../bundle/", $path)))),+]
    };
}

pub(crate) fn files() -> Result<BundleFiles, BundleError> {
    BundleFiles::from_texts(embedded![
        ".manifest",
        "activation/data.json",
        "approvals/data.json",
        "autonomy/data.json",
        "comms/data.json",
        "dispatch/activation.rego",
        "dispatch/activation_test.rego",
        "dispatch/approvals.rego",
        "dispatch/approvals_test.rego",
        "dispatch/assignment.rego",
        "dispatch/assignment_test.rego",
        "dispatch/autonomy.rego",
        "dispatch/autonomy_test.rego",
        "dispatch/billing.rego",
        "dispatch/billing_test.rego",
        "dispatch/caps.rego",
        "dispatch/caps_test.rego",
        "dispatch/decision.rego",
        "dispatch/details.rego",
        "dispatch/details_test.rego",
        "dispatch/evidence.rego",
        "dispatch/evidence_test.rego",
        "dispatch/fixtures_test.rego",
        "dispatch/holds.rego",
        "dispatch/holds_test.rego",
        "dispatch/kill_switch.rego",
        "dispatch/kill_switch_test.rego",
        "dispatch/money.rego",
        "dispatch/nte.rego",
        "dispatch/nte_test.rego",
        "dispatch/quiet_hours.rego",
        "dispatch/quiet_hours_test.rego",
        "dispatch/roles.rego",
        "dispatch/roles_test.rego",
        "dispatch/rollout.rego",
        "dispatch/rollout_test.rego",
        "dispatch/templates.rego",
        "dispatch/templates_test.rego",
        "dispatch/triage.rego",
        "dispatch/triage_test.rego",
        "dispatch/visits.rego",
        "dispatch/visits_test.rego",
        "nte/data.json",
        "quiet_hours/data.json",
        "reads/data.json",
        "roles/data.json",
        "templates/data.json",
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_the_directory_is_embedded() {
        let dir = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/bundle"));
        assert_eq!(files().unwrap(), BundleFiles::read(dir).unwrap());
    }
}
