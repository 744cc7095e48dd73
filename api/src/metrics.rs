//! What an operator watches, in the Prometheus text format, on a listener of its own.
//!
//! Every label has a bounded set of values: routes are templates, methods and codes are from fixed
//! lists. Nothing a caller writes becomes a label.

use std::{collections::BTreeMap, time::Duration};

use axum::response::Response;
use contracts::{ErrorCode, Operation};
use http::Method;
use prometheus::{
    Encoder, Gauge, Histogram, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec,
    Opts, Registry, TextEncoder,
};
use sqlx::PgPool;

use crate::unread::Unread;

/// All metrics of one process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    latency: HistogramVec,
    outcomes: IntCounterVec,
    in_flight: IntGauge,
    pool: IntGaugeVec,
    unread: Gauge,
    commands: BTreeMap<String, Operation>,
}

/// Counts a request as in flight until it is dropped.
#[derive(Debug)]
pub struct InFlight(IntGauge);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Metrics {
    /// `commands`: which route is which command; `limited`: what limits refused.
    pub fn new(
        commands: BTreeMap<String, Operation>,
        limited: IntCounterVec,
    ) -> Result<Self, prometheus::Error> {
        let metrics = Self {
            registry: Registry::new(),
            requests: IntCounterVec::new(
                Opts::new("dispatch_http_requests_total", "Requests answered."),
                &["route", "method", "status"],
            )?,
            latency: HistogramVec::new(
                HistogramOpts::new("dispatch_http_request_seconds", "Time until the answer.")
                    .buckets(prometheus::exponential_buckets(0.001, 2.0, 15)?),
                &["route", "method"],
            )?,
            outcomes: IntCounterVec::new(
                Opts::new(
                    "dispatch_commands_total",
                    "Commands by outcome: OK, REPLAYED or an error code.",
                ),
                &["operation", "code"],
            )?,
            in_flight: IntGauge::new("dispatch_http_in_flight", "Requests being worked on.")?,
            pool: IntGaugeVec::new(
                Opts::new("dispatch_db_connections", "Connections to Postgres."),
                &["state"],
            )?,
            unread: Gauge::new(
                "dispatch_guardrail_unread_seconds",
                "How long the guardrail that was not read for longest has not been; 0: all are read.",
            )?,
            commands,
        };
        let registry = &metrics.registry;
        registry.register(Box::new(metrics.requests.clone()))?;
        registry.register(Box::new(metrics.latency.clone()))?;
        registry.register(Box::new(metrics.outcomes.clone()))?;
        registry.register(Box::new(metrics.in_flight.clone()))?;
        registry.register(Box::new(metrics.pool.clone()))?;
        registry.register(Box::new(metrics.unread.clone()))?;
        registry.register(Box::new(limited))?;
        Ok(metrics)
    }

    /// A request begins.
    pub fn begin(&self) -> InFlight {
        self.in_flight.inc();
        InFlight(self.in_flight.clone())
    }

    /// A request was answered.
    pub fn finish(&self, method: &Method, route: &str, response: &Response, elapsed: Duration) {
        let label = method_label(method);
        let status = response.status();
        self.requests
            .with_label_values(&[route, label, status.as_str()])
            .inc();
        self.latency(route, label).observe(elapsed.as_secs_f64());
        if let (&Method::POST, Some(operation)) = (method, self.commands.get(route)) {
            let code = match response.extensions().get::<ErrorCode>() {
                Some(code) => code.to_string(),
                None if response.headers().contains_key("idempotent-replayed") => "REPLAYED".into(),
                None => "OK".into(),
            };
            self.outcomes
                .with_label_values(&[operation.to_string(), code])
                .inc();
        }
    }

    fn latency(&self, route: &str, method: &str) -> Histogram {
        self.latency.with_label_values(&[route, method])
    }

    /// The text that Prometheus reads.
    pub fn render(&self, pool: &PgPool, unread: &Unread) -> Result<String, prometheus::Error> {
        self.unread.set(unread.longest().as_secs_f64());
        let idle = pool.num_idle() as i64;
        self.pool.with_label_values(&["idle"]).set(idle);
        self.pool
            .with_label_values(&["in_use"])
            .set((i64::from(pool.size()) - idle).max(0));
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }
}

/// The method, of a fixed list.
pub fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}
