//! Tests of the whole system, one module per area, in one binary: they share one Postgres and one
//! Temporal server.

mod adversary;
mod approvals;
mod audit;
mod bad_input;
mod bundles;
mod cli;
mod commands;
mod comms;
mod concurrency;
mod coverage;
mod day;
mod decisions;
mod directory;
mod documents;
mod evidence;
mod flow;
mod idempotency;
mod infrastructure;
mod invariants;
mod kill_race;
mod kill_switch;
mod model;
mod proposals;
mod reads;
mod rollout;
mod rules;
mod sender;
mod tenancy;
mod time_machine;
mod timeline;
mod tokens;
mod trace;
mod transaction;
