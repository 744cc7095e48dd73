//! The harness of the tests of the whole system.
//!
//! Nothing of ours is mocked: a test runs the real dispatch-api, relay and worker in its own
//! process against a real Postgres and a real Temporal server, which all tests of a run share
//! ([`servers`]). A test takes a [`stack::Stack`], drives it as callers would (typed by
//! [`stack::Stack::client`], byte by byte by [`http`], to any state by [`job`]), and ends with the
//! checker of `dispatch verify` over its database.

pub mod agreement;
pub mod database;
pub mod document;
pub mod filing;
pub mod fleet;
pub mod flow;
pub mod gate;
pub mod http;
pub mod job;
pub mod namespace;
pub mod part;
pub mod pooler;
pub mod proxy;
pub mod record;
pub mod schema;
pub mod servers;
pub mod shell;
pub mod software;
pub mod stack;
pub mod verify;
pub mod wait;
pub mod who;
pub mod world;
