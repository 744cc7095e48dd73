//! `dispatch comms`.

use crate::{cli::Global, exit::Failure, parts, shutdown};

/// Runs the sender of messages until Ctrl-C.
pub async fn run(global: &Global) -> Result<(), Failure> {
    let settings = super::load(global, Vec::new())?.settings;
    parts::comms(&settings, shutdown::on_signal())?.await
}
