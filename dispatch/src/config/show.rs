//! `dispatch config show`.

use std::io::Write;

use crate::temporal::Temporal;

use super::{Config, RowLevelSecurity, settings::flatten};

/// Prints every value with its source; secrets masked.
pub fn show(
    config: &Config,
    temporal: &Temporal,
    json: bool,
    out: &mut impl Write,
) -> std::io::Result<()> {
    let rows = flatten(&config.settings)
        .into_iter()
        .map(|(key, value)| {
            let source = config.source(&key);
            (key, value, source)
        })
        .collect::<Vec<_>>();
    // What is used in the end: the SDK's own configuration is over our keys.
    let target = temporal.connection.target.as_str();
    if json {
        let mut rows: serde_json::Map<_, _> = rows
            .into_iter()
            .map(|(key, value, source)| {
                (key, serde_json::json!({ "value": value, "source": source }))
            })
            .collect();
        rows.insert(
            "temporal".to_owned(),
            serde_json::json!({ "target": target, "namespace": temporal.namespace }),
        );
        return writeln!(out, "{}", serde_json::Value::Object(rows));
    }
    for (key, value, source) in rows {
        let value = match value {
            serde_json::Value::Null => "(not set)".to_owned(),
            serde_json::Value::String(text) => text,
            other => other.to_string(),
        };
        writeln!(out, "{key:<26} {value:<52} {source}")?;
    }
    if config.settings.database.rls == RowLevelSecurity::Off {
        writeln!(
            out,
            "\nWARNING: `database.rls` is off: tenants are not separated; refused in production"
        )?;
    }
    writeln!(
        out,
        "\nTemporal: {target}, namespace {} (TEMPORAL_* variables and profiles come first)",
        temporal.namespace
    )
}
