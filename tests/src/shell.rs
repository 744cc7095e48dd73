//! The real program, run to its end with nothing in its environment but what a test gives it.

use std::{path::Path, process::Stdio, time::Duration};

use tokio::process::Command;

use crate::{fleet::program, wait};

/// How it ended.
#[derive(Debug)]
pub struct Ended {
    /// The exit code.
    pub code: Option<i32>,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

/// Runs it in this folder.
pub async fn run(folder: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Ended {
    let mut command = Command::new(program());
    command
        .args(arguments)
        .current_dir(folder)
        .env_clear()
        // Nobody listens there.
        .env("TEMPORAL_ADDRESS", "127.0.0.1:1")
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = wait::within("the program", Duration::from_secs(60), command.output());
    let output = output.await.expect("the program can be started");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ended {
        code: output.status.code(),
        out: text(output.stdout),
        err: text(output.stderr),
    }
}
