//! `dispatch completions`.

use clap::CommandFactory;
use clap_complete::{Shell, generate};

use crate::{cli::Cli, exit::Failure};

/// Prints the completion script of a shell.
pub fn run(shell: Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    generate(shell, &mut Cli::command(), "dispatch", &mut script);
    super::print(&String::from_utf8_lossy(&script))
}
