//! What the sender counts, for Prometheus.

use std::time::Duration;

use contracts::comms::DeliveryState;
use prometheus::{
    Gauge, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, Opts, Registry, TextEncoder,
    core::Collector,
};
use store::sending::Backlog;

use crate::verdict::{Judgement, Next};

const SECONDS: [f64; 9] = [0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// All series, in a registry of their own.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    tries: IntCounterVec,
    seconds: HistogramVec,
    ended: IntCounterVec,
    queued: IntGauge,
    due: IntGauge,
    oldest: Gauge,
    without_endpoint: IntGauge,
    unknown: IntGauge,
}

impl Metrics {
    /// All at zero.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new_custom(Some("dispatch_comms".into()), None)?;
        let r = &registry;
        let gauge = |name: &str, help: &str| add(r, IntGauge::new(name, help)?);
        let metrics = Self {
            tries: add(
                r,
                IntCounterVec::new(
                    Opts::new("tries_total", "Tries, by endpoint and what is done next."),
                    &["endpoint", "next"],
                )?,
            )?,
            seconds: add(
                r,
                HistogramVec::new(
                    HistogramOpts::new("try_seconds", "How long endpoints take to answer.")
                        .buckets(SECONDS.into()),
                    &["endpoint"],
                )?,
            )?,
            ended: add(
                r,
                IntCounterVec::new(
                    Opts::new("messages_total", "Messages that ended, by how."),
                    &["state"],
                )?,
            )?,
            queued: gauge(
                "queued_messages",
                "Messages that wait, also for their time.",
            )?,
            due: gauge("due_messages", "Messages whose time has come.")?,
            oldest: add(
                r,
                Gauge::new(
                    "oldest_due_seconds",
                    "How long the oldest message that is due has waited.",
                )?,
            )?,
            without_endpoint: gauge(
                "messages_without_endpoint",
                "Messages that no endpoint takes.",
            )?,
            unknown: gauge(
                "unknown_outcomes",
                "Messages of the last day that may have arrived or not.",
            )?,
            registry,
        };
        for state in [
            DeliveryState::Sent,
            DeliveryState::Withdrawn,
            DeliveryState::Failed,
        ] {
            metrics.ended.with_label_values(&[state.to_string()]);
        }
        Ok(metrics)
    }

    /// A try has ended.
    pub fn tried(&self, endpoint: &str, verdict: &Judgement, took: Duration) {
        let next = match verdict.next {
            Next::Done => "done",
            Next::Again { .. } => "again",
            Next::GiveUp => "give_up",
            Next::Unknown => "unknown",
        };
        self.tries.with_label_values(&[endpoint, next]).inc();
        self.seconds
            .with_label_values(&[endpoint])
            .observe(took.as_secs_f64());
    }

    /// A message has ended.
    pub fn ended(&self, state: DeliveryState) {
        self.ended.with_label_values(&[state.to_string()]).inc();
    }

    /// How the queue stands.
    pub fn set_backlog(&self, backlog: &Backlog) {
        self.queued.set(signed(backlog.queued));
        self.due.set(signed(backlog.due));
        self.oldest.set(backlog.oldest_due_seconds);
        self.without_endpoint.set(signed(backlog.without_endpoint));
        self.unknown.set(signed(backlog.unknown));
    }

    /// The text that Prometheus scrapes.
    pub fn render(&self) -> Result<String, prometheus::Error> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}

fn add<C: Collector + Clone + 'static>(
    registry: &Registry,
    collector: C,
) -> Result<C, prometheus::Error> {
    registry.register(Box::new(collector.clone()))?;
    Ok(collector)
}

fn signed(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Reply,
        verdict::{Terms, judge},
    };

    #[test]
    fn tries_are_counted_by_endpoint_and_what_follows() {
        let metrics = Metrics::new().unwrap();
        let terms = Terms {
            keyed: true,
            on_unknown: crate::OnUnknown::GiveUp,
        };
        let verdict = judge(Reply::NoAnswer("timeout"), terms, false);
        metrics.tried("pager", &verdict, Duration::from_millis(20));
        metrics.ended(DeliveryState::Sent);
        metrics.set_backlog(&Backlog {
            queued: 3,
            oldest_due_seconds: 1.5,
            ..Backlog::default()
        });
        let text = metrics.render().unwrap();
        for line in [
            "dispatch_comms_tries_total{endpoint=\"pager\",next=\"again\"} 1",
            "dispatch_comms_try_seconds_bucket{endpoint=\"pager\",le=\"0.05\"} 1",
            "dispatch_comms_messages_total{state=\"sent\"} 1",
            "dispatch_comms_messages_total{state=\"failed\"} 0",
            "dispatch_comms_queued_messages 3",
            "dispatch_comms_oldest_due_seconds 1.5",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }
}
