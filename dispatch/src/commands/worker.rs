//! `dispatch worker`.

use crate::{
    cli::{Global, WorkerCommand},
    exit::Failure,
    parts, shutdown,
};

/// Runs the worker until Ctrl-C, or makes its version current.
pub async fn run(global: &Global, command: Option<WorkerCommand>) -> Result<(), Failure> {
    let settings = super::load(global, Vec::new())?.settings;
    match command {
        None => parts::worker(&settings, shutdown::on_signal())?.await,
        Some(WorkerCommand::Promote) => {
            parts::promote(&settings).await?;
            let version = parts::version(&settings);
            super::print(&format!("{version} is current\n"))
        }
    }
}
