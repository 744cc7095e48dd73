//! Tests of the whole system, one module per area, in one binary: they share one Postgres and one
//! Temporal server.

mod audit;
mod bad_input;
mod commands;
mod comms;
mod concurrency;
mod coverage;
mod day;
mod decisions;
mod documents;
mod flow;
mod idempotency;
mod infrastructure;
mod invariants;
mod model;
mod reads;
mod rules;
mod sender;
mod tenancy;
mod timeline;
mod tokens;
mod trace;
mod transaction;
