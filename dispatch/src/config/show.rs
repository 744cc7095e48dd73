//! `dispatch config show`.

use std::io::Write;

use super::{Config, settings::flatten};

/// Prints every value with its source; secrets masked.
pub fn show(config: &Config, json: bool, out: &mut impl Write) -> std::io::Result<()> {
    let rows = flatten(&config.settings)
        .into_iter()
        .map(|(key, value)| {
            let source = config.source(&key);
            (key, value, source)
        })
        .collect::<Vec<_>>();
    if json {
        let rows: serde_json::Map<_, _> = rows
            .into_iter()
            .map(|(key, value, source)| {
                (key, serde_json::json!({ "value": value, "source": source }))
            })
            .collect();
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
    Ok(())
}
