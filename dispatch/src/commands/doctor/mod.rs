//! `dispatch doctor`: each part by itself, so that one answer says which one is ill.
//!
//! A part that needs another which is ill is reported as such, not as ill itself.

mod database;
mod issuers;
mod messages;
mod services;
mod temporal;

use serde::Serialize;

use crate::{
    cli::{Global, JsonArgs},
    exit::Failure,
};

/// What one check found.
#[derive(Debug, Serialize)]
pub struct Check {
    /// Which part.
    pub part: String,
    /// Whether it is well.
    pub ok: bool,
    /// What was seen.
    pub found: String,
    /// What to do; empty when it is well and stays so.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub to_do: String,
}

impl Check {
    fn ok(part: impl Into<String>, found: impl Into<String>) -> Self {
        Self {
            part: part.into(),
            ok: true,
            found: found.into(),
            to_do: String::new(),
        }
    }

    /// It is well and will not stay so.
    fn warning(
        part: impl Into<String>,
        found: impl Into<String>,
        to_do: impl Into<String>,
    ) -> Self {
        Self {
            ok: true,
            ..Self::ill(part, found, to_do)
        }
    }

    fn ill(part: impl Into<String>, found: impl Into<String>, to_do: impl Into<String>) -> Self {
        Self {
            part: part.into(),
            ok: false,
            found: found.into(),
            to_do: to_do.into(),
        }
    }

    fn from(
        part: impl Into<String>,
        result: Result<String, impl std::fmt::Display>,
        to_do: impl Into<String>,
    ) -> Self {
        match result {
            Ok(found) => Self::ok(part, found),
            Err(error) => Self::ill(part, error.to_string(), to_do),
        }
    }
}

/// Looks at everything; exit code 1 when something is ill.
pub async fn run(global: &Global, args: &JsonArgs) -> Result<(), Failure> {
    let settings = super::load(global, Vec::new())?.settings;
    let (database, temporal, services, issuers) = tokio::join!(
        database::check(&settings),
        temporal::check(&settings),
        services::check(&settings),
        issuers::check(&settings),
    );
    let checks: Vec<Check> = database
        .into_iter()
        .chain(temporal)
        .chain(services)
        .chain(issuers)
        .collect();
    let ill = checks.iter().filter(|check| !check.ok).count();
    if args.json {
        super::print_json(&serde_json::json!({ "ok": ill == 0, "checks": checks }))?;
    } else {
        super::print(&text(&checks, ill))?;
    }
    if ill == 0 {
        Ok(())
    } else {
        Err(Failure::reported())
    }
}

fn text(checks: &[Check], ill: usize) -> String {
    let mut text = String::new();
    for check in checks {
        let mark = match (check.ok, check.to_do.is_empty()) {
            (true, true) => "ok  ",
            (true, false) => "WARN",
            (false, _) => "FAIL",
        };
        text += &format!("{mark}  {:<26} {}\n", check.part, check.found);
        if !check.to_do.is_empty() {
            text += &format!("      {:<26} to do: {}\n", "", check.to_do);
        }
    }
    text += &match ill {
        0 => format!("\nall {} checks passed\n", checks.len()),
        ill => format!("\n{ill} of {} checks failed\n", checks.len()),
    };
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_check_says_what_to_do() {
        let checks = [
            Check::ok("a", "well"),
            Check::ill("b", "gone", "bring it back"),
            Check::warning("c", "ends soon", "make another one"),
        ];
        let text = text(&checks, 1);
        assert!(text.contains("ok    a "), "{text}");
        assert!(text.contains("FAIL  b "), "{text}");
        assert!(text.contains("to do: bring it back"), "{text}");
        assert!(text.contains("WARN  c "), "{text}");
        assert!(text.contains("1 of 3 checks failed"), "{text}");
    }
}
