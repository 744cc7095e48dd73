//! A part of the system that runs inside the test process and can be stopped or killed.
//!
//! Each part has a runtime of its own, so that killing it takes all of its tasks with it, wherever
//! they wait: the nearest thing to `kill -9` that a process can do to a piece of itself. (What only
//! a process can show, tests show with the real binary.)

use std::{future::Future, time::Duration};

use tokio::{
    runtime::{Builder, Runtime},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use crate::wait;

/// A running part.
#[derive(Debug)]
pub struct RunningPart {
    name: &'static str,
    // `None` only after the end.
    runtime: Option<Runtime>,
    shutdown: CancellationToken,
    task: JoinHandle<Result<(), String>>,
}

impl RunningPart {
    /// Starts a part: `run` gets the token that asks it to stop.
    pub fn start<F>(name: &'static str, run: impl FnOnce(CancellationToken) -> F) -> Self
    where
        F: Future<Output = Result<(), String>> + Send + 'static,
    {
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .thread_stack_size(8 << 20)
            .thread_name(name)
            .enable_all()
            .build()
            .expect("a runtime can be built");
        let shutdown = CancellationToken::new();
        let task = runtime.spawn(run(shutdown.clone()));
        Self {
            name,
            runtime: Some(runtime),
            shutdown,
            task,
        }
    }

    /// Asks it to stop and waits until it has; it must end without an error.
    pub async fn stop(mut self) {
        self.shutdown.cancel();
        let ended = wait::within(self.name, Duration::from_secs(30), &mut self.task).await;
        let result = ended.unwrap_or_else(|error| panic!("{}: {error}", self.name));
        result.unwrap_or_else(|error| panic!("{}: {error}", self.name));
    }

    /// Ends it where it stands, without a word.
    pub fn kill(self) {}

    /// Whether it still runs.
    pub fn is_running(&self) -> bool {
        !self.task.is_finished()
    }
}

impl Drop for RunningPart {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
