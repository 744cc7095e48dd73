//! Progress on the screen: one line per step when it is done, with the time it took, and a sign of
//! life while a slow one runs.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::task::AbortHandle;

/// After how long, and how often, a running step says that it still runs.
const SIGN_OF_LIFE: Duration = Duration::from_secs(10);

/// Prints to stderr, so that stdout holds only what was asked for.
#[derive(Debug, Clone, Default)]
pub struct Progress {
    started: Arc<Mutex<Option<Instant>>>,
}

/// A step that runs; says nothing more when dropped unfinished.
#[derive(Debug)]
pub struct Step {
    name: &'static str,
    started: Instant,
    ticker: AbortHandle,
    doing: Arc<Mutex<String>>,
}

impl Progress {
    /// Starts a step.
    pub fn step(&self, name: &'static str) -> Step {
        self.started
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert_with(Instant::now);
        let started = Instant::now();
        let doing = Arc::new(Mutex::new(String::from("starting")));
        let said = Arc::clone(&doing);
        let ticker = tokio::spawn(async move {
            loop {
                tokio::time::sleep(SIGN_OF_LIFE).await;
                let doing = said.lock().unwrap_or_else(PoisonError::into_inner).clone();
                line(name, &format!("{doing} …"), started.elapsed());
            }
        });
        Step {
            name,
            started,
            ticker: ticker.abort_handle(),
            doing,
        }
    }

    /// Time since the first step.
    pub fn elapsed(&self) -> Duration {
        self.started
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .map_or(Duration::ZERO, |started| started.elapsed())
    }
}

impl Step {
    /// Says the end of the step.
    pub fn done(self, what: &str) {
        line(self.name, what, self.started.elapsed());
    }

    /// Lets `embedded` speak in this step's name.
    pub fn embedded(&self) -> embedded::Progress {
        let (name, started, doing) = (self.name, self.started, Arc::clone(&self.doing));
        embedded::Progress::new(move |text| {
            line(name, text, started.elapsed());
            text.clone_into(&mut doing.lock().unwrap_or_else(PoisonError::into_inner));
        })
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        self.ticker.abort();
    }
}

fn line(name: &str, what: &str, elapsed: Duration) {
    tracing::info!(step = name, seconds = elapsed.as_secs_f64(), "{what}");
    eprintln!("  {:>6.1} s  {name:<18} {what}", elapsed.as_secs_f64());
}
