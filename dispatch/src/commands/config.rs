//! `dispatch config show`.

use crate::{
    cli::{Global, JsonArgs},
    config,
    exit::Failure,
    temporal::Temporal,
};

/// Prints every value with its source.
pub fn run(global: &Global, args: &JsonArgs) -> Result<(), Failure> {
    let config = super::load(global, Vec::new())?;
    let mut text = Vec::new();
    let temporal = Temporal::new(&config.settings.temporal)?;
    config::show(&config, &temporal, args.json, &mut text).map_err(Failure::failed)?;
    super::print(&String::from_utf8_lossy(&text))
}
