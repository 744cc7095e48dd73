//! What the relay counts, for Prometheus.

use std::time::Duration;

use chrono::TimeDelta;
use prometheus::{
    Gauge, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry,
    TextEncoder, core::Collector,
};
use store::{control::ControlLag, outbox::Lag};

use crate::delivery::ErrorClass;

/// From one commit to its signal: milliseconds when all is well, minutes after an outage.
const AGE_BUCKETS: [f64; 12] = [
    0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0, 30.0, 120.0, 600.0,
];

/// All series, in a registry of their own.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    pending: IntGauge,
    oldest: Gauge,
    parked: IntGauge,
    delivered: IntCounter,
    signals: IntCounter,
    coalescing: Gauge,
    errors: IntCounterVec,
    age: Histogram,
    breaker: IntGauge,
    leases: IntGauge,
    relays: IntGauge,
    resyncs: IntCounter,
    control_waiting: IntGauge,
    control_oldest: Gauge,
    control_told: IntCounter,
}

impl Metrics {
    /// All at zero.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new_custom(Some("dispatch_relay".into()), None)?;
        let r = &registry;
        let metrics = Self {
            pending: add(
                r,
                IntGauge::new(
                    "pending_events",
                    "Outbox rows that wait, parked ones included.",
                )?,
            )?,
            oldest: add(
                r,
                Gauge::new(
                    "oldest_pending_seconds",
                    "Age of the oldest row that waits and is not parked.",
                )?,
            )?,
            parked: add(
                r,
                IntGauge::new(
                    "parked_tickets",
                    "Tickets held back by an event that was put aside.",
                )?,
            )?,
            delivered: add(
                r,
                IntCounter::new(
                    "delivered_events_total",
                    "Events that this relay delivered.",
                )?,
            )?,
            signals: add(
                r,
                IntCounter::new("signals_total", "Signals that carried them.")?,
            )?,
            coalescing: add(
                r,
                Gauge::new("coalescing_ratio", "Events per signal since the start.")?,
            )?,
            errors: add(
                r,
                IntCounterVec::new(
                    Opts::new("errors_total", "Signals that were not accepted, by class."),
                    &["class"],
                )?,
            )?,
            age: add(
                r,
                Histogram::with_opts(
                    HistogramOpts::new(
                        "delivery_age_seconds",
                        "From an event's moment to its delivery.",
                    )
                    .buckets(AGE_BUCKETS.into()),
                )?,
            )?,
            breaker: add(
                r,
                IntGauge::new("breaker_open", "1 while Temporal cannot be used.")?,
            )?,
            leases: add(
                r,
                IntGauge::new("leases_held", "Partitions that this relay delivers.")?,
            )?,
            relays: add(
                r,
                IntGauge::new("live_relays", "Relays that share the partitions.")?,
            )?,
            resyncs: add(
                r,
                IntCounter::new(
                    "resyncs_total",
                    "Workflows that the reconciler asked to take a snapshot.",
                )?,
            )?,
            control_waiting: add(
                r,
                IntGauge::new(
                    "control_events_waiting",
                    "Turns of a kill switch, stages and bundles that not all workflows know yet.",
                )?,
            )?,
            control_oldest: add(
                r,
                Gauge::new("oldest_control_event_seconds", "Age of the oldest of them.")?,
            )?,
            control_told: add(
                r,
                IntCounter::new("control_signals_total", "Workflows that were told of them.")?,
            )?,
            registry,
        };
        for class in ErrorClass::ALL {
            metrics.errors.with_label_values(&[class.label()]);
        }
        Ok(metrics)
    }

    /// One signal was accepted; `ages` has one entry per event it carried.
    pub fn delivered(&self, ages: impl Iterator<Item = TimeDelta>) {
        for age in ages {
            self.delivered.inc();
            self.age.observe(age.as_seconds_f64().max(0.0));
        }
        self.signals.inc();
        self.coalescing
            .set(self.delivered.get() as f64 / self.signals.get() as f64);
    }

    /// A signal was not accepted.
    pub fn failed(&self, class: ErrorClass) {
        self.errors.with_label_values(&[class.label()]).inc();
    }

    /// The reconciler asked a workflow to take a snapshot.
    pub fn resynced(&self) {
        self.resyncs.inc();
    }

    /// Workflows were told of a control event.
    pub fn told(&self, workflows: u32) {
        self.control_told.inc_by(workflows.into());
    }

    /// How many control events wait.
    pub fn set_control_lag(&self, lag: &ControlLag) {
        self.control_waiting.set(signed(lag.waiting));
        self.control_oldest.set(lag.oldest_seconds);
    }

    /// How much waits.
    pub fn set_lag(&self, lag: &Lag) {
        self.pending.set(signed(lag.pending));
        self.parked.set(signed(lag.parked));
        self.oldest
            .set(lag.oldest.unwrap_or(Duration::ZERO).as_secs_f64());
    }

    /// What is ours.
    pub fn set_leases(&self, held: usize, live: usize) {
        self.leases.set(signed(held as u64));
        self.relays.set(signed(live as u64));
    }

    /// Whether Temporal can be used.
    pub fn set_breaker(&self, open: bool) {
        self.breaker.set(open.into());
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

    #[test]
    fn the_ratio_counts_events_per_signal() {
        let metrics = Metrics::new().unwrap();
        metrics.delivered([TimeDelta::milliseconds(7); 3].into_iter());
        metrics.delivered([TimeDelta::milliseconds(-2); 1].into_iter());
        metrics.failed(ErrorClass::Busy);
        let text = metrics.render().unwrap();
        for line in [
            "dispatch_relay_coalescing_ratio 2",
            "dispatch_relay_delivered_events_total 4",
            "dispatch_relay_errors_total{class=\"busy\"} 1",
            "dispatch_relay_errors_total{class=\"systemic\"} 0",
            "dispatch_relay_delivery_age_seconds_bucket{le=\"0.01\"} 4",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }
}
