use std::{fmt, sync::Arc};

/// Receives one line for each slow step, for a person who waits.
#[derive(Clone)]
pub struct Progress(Arc<dyn Fn(&str) + Send + Sync>);

impl Progress {
    /// Calls `report` with each line.
    pub fn new(report: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self(Arc::new(report))
    }

    pub(crate) fn report(&self, line: &str) {
        (self.0)(line);
    }
}

/// Lines go to the log.
impl Default for Progress {
    fn default() -> Self {
        Self::new(|line| tracing::info!("{line}"))
    }
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Progress")
    }
}
