//! What a relay is started with.

use std::{fmt, net::SocketAddr, str::FromStr, time::Duration};

use crate::{delivery::Backoff, temporal::TemporalConfig};

/// What becomes of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// They are logged and then count as delivered: the log is where they go. No workflow hears of
    /// them; when the mode is changed, the reconciler starts the workflows of all open tickets.
    LogOnly,
    /// They are sent to the tickets' workflows.
    #[default]
    DeliverToTemporal,
}

impl FromStr for Mode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "log-only" => Ok(Self::LogOnly),
            "deliver-to-temporal" => Ok(Self::DeliverToTemporal),
            other => Err(format!(
                "relay mode `{other}` is unknown: use `deliver-to-temporal` or `log-only`"
            )),
        }
    }
}

/// What the installation is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Environment {
    /// Real customers.
    #[default]
    Production,
    /// One person's machine.
    Development,
    /// A test run.
    Test,
}

/// Everything a relay needs to know.
#[derive(Clone)]
pub struct RelayConfig {
    /// Postgres as the relay login. A direct connection: LISTEN does not work through a
    /// transaction pooler.
    pub database_url: String,
    /// What becomes of events.
    pub mode: Mode,
    /// Where Temporal is.
    pub temporal: TemporalConfig,
    /// Where `/metrics` and `/health` listen; port 0 takes a free one.
    pub metrics_listen: SocketAddr,
    /// What the installation is for.
    pub environment: Environment,
    /// Starts workflows with time skipping: timers fire as soon as nothing else happens. Refused in
    /// production.
    pub time_skipping: bool,
    /// Arms the failpoint that the environment names ([`store::failpoint`]). For tests only.
    pub failpoints: bool,
    /// Times and amounts.
    pub tuning: Tuning,
}

impl fmt::Debug for RelayConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RelayConfig")
            .field("mode", &self.mode)
            .field("temporal", &self.temporal.connection.target.as_str())
            .field("namespace", &self.temporal.namespace)
            .field("metrics_listen", &self.metrics_listen)
            .field("environment", &self.environment)
            .field("time_skipping", &self.time_skipping)
            .field("tuning", &self.tuning)
            .finish_non_exhaustive()
    }
}

/// Times and amounts that rarely need a change.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tuning {
    /// Signals under way at once.
    pub concurrency: usize,
    /// The outbox is looked at least this often.
    pub poll: Duration,
    /// How long a lease lasts without renewal: how soon another relay takes over from a dead one.
    pub lease_ttl: Duration,
    /// Time for one call to Temporal.
    pub call_timeout: Duration,
    /// How long a ticket waits after a signal that failed.
    pub ticket_backoff: Backoff,
    /// How long everybody waits while Temporal cannot be used.
    pub breaker_backoff: Backoff,
    /// Tries until an event that will not be accepted is parked.
    pub max_attempts: u32,
    /// How often workflows that were broken off lately are looked for.
    pub reconcile_interval: Duration,
    /// How often all open tickets are compared with all running workflows.
    pub reconcile_full_interval: Duration,
    /// How old a ticket's newest event must be before its workflow is missed.
    pub reconcile_grace: Duration,
    /// How often it is looked for what is due for a tenant without a ticket; never without it. What
    /// a schedule was once made with stays.
    pub control_interval: Option<Duration>,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            concurrency: 32,
            poll: Duration::from_secs(1),
            lease_ttl: Duration::from_secs(10),
            call_timeout: Duration::from_secs(5),
            ticket_backoff: Backoff {
                first: Duration::from_millis(250),
                most: Duration::from_secs(15),
            },
            breaker_backoff: Backoff {
                first: Duration::from_millis(200),
                most: Duration::from_secs(5),
            },
            max_attempts: 5,
            reconcile_interval: Duration::from_secs(10),
            reconcile_full_interval: Duration::from_secs(300),
            reconcile_grace: Duration::from_secs(5),
            control_interval: Some(Duration::from_secs(15)),
        }
    }
}

/// The setting contradicts itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidConfig {
    /// Time skipping in production.
    #[error(
        "time_skipping makes SLA timers fire at once: it is refused unless the environment is \
         development or test"
    )]
    TimeSkippingInProduction,
}

impl RelayConfig {
    /// Refuses what must not be combined.
    pub fn check(&self) -> Result<(), InvalidConfig> {
        if self.time_skipping && self.environment == Environment::Production {
            return Err(InvalidConfig::TimeSkippingInProduction);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use temporalio_client::{ConnectionOptions, Url};

    fn config(environment: Environment, time_skipping: bool) -> RelayConfig {
        let target = Url::parse("http://127.0.0.1:1").unwrap();
        RelayConfig {
            database_url: "postgres://relay:geheim@db/dispatch".into(),
            mode: Mode::default(),
            temporal: TemporalConfig {
                connection: ConnectionOptions::new(target).build(),
                namespace: "default".into(),
            },
            metrics_listen: ([127, 0, 0, 1], 0).into(),
            environment,
            time_skipping,
            failpoints: false,
            tuning: Tuning::default(),
        }
    }

    #[test]
    fn time_is_skipped_in_development_and_tests_only() {
        let refused = Err(InvalidConfig::TimeSkippingInProduction);
        assert_eq!(config(Environment::Production, true).check(), refused);
        assert_eq!(config(Environment::Production, false).check(), Ok(()));
        assert_eq!(config(Environment::Development, true).check(), Ok(()));
        assert_eq!(config(Environment::Test, true).check(), Ok(()));
    }

    #[test]
    fn a_password_is_not_printed() {
        let text = format!("{:?}", config(Environment::Test, false));
        assert!(
            !text.contains("geheim") && text.contains("DeliverToTemporal"),
            "{text}"
        );
    }

    #[test]
    fn modes_have_names() {
        assert_eq!("log-only".parse(), Ok(Mode::LogOnly));
        assert_eq!("deliver-to-temporal".parse(), Ok(Mode::DeliverToTemporal));
        assert!("deliver".parse::<Mode>().is_err());
    }
}
