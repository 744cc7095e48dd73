//! Named places where a test can kill the real process.
//!
//! `DISPATCH_FAILPOINT=after-commit-before-reply:abort:2` aborts the process (no destructors, no
//! flush, as `kill -9` would) the second time it passes that place. The variable alone does
//! nothing: the configuration must say `failpoints = true` too, so that a stray variable cannot
//! stop a production process. An unarmed place costs one atomic load.
//!
//! All places of all processes are named here, because `dispatch dev` is all of them in one.

use std::sync::{
    OnceLock,
    atomic::{AtomicU64, Ordering},
};

/// The variable that names a failpoint.
pub const VARIABLE: &str = "DISPATCH_FAILPOINT";
/// dispatch-api: the command is committed, its caller knows nothing yet.
pub const AFTER_COMMIT_BEFORE_REPLY: &str = "after-commit-before-reply";
/// dispatch-api: everything is written, nothing is committed.
pub const BEFORE_COMMIT: &str = "before-commit";
/// Relay: the workflow has the signal, the outbox does not say so.
pub const AFTER_SIGNAL_BEFORE_MARK: &str = "after-signal-before-mark";
/// Sender of messages: the try is in the ledger, nothing is sent.
pub const BEFORE_SEND: &str = "before-send";
/// Sender of messages: the receiver has it, the ledger does not say so.
pub const AFTER_SEND_BEFORE_RESULT: &str = "after-send-before-result";

const NAMES: [&str; 5] = [
    AFTER_COMMIT_BEFORE_REPLY,
    BEFORE_COMMIT,
    AFTER_SIGNAL_BEFORE_MARK,
    BEFORE_SEND,
    AFTER_SEND_BEFORE_RESULT,
];
static ARMED: OnceLock<Failpoint> = OnceLock::new();

/// The variable cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{VARIABLE}={0}: expected <name>:abort:<nth>, nth from 1, name one of {names}", names = NAMES.join(", "))]
pub struct InvalidFailpoint(String);

#[derive(Debug)]
struct Failpoint {
    name: &'static str,
    passes_left: AtomicU64,
}

impl Failpoint {
    fn parse(text: &str) -> Result<Self, InvalidFailpoint> {
        let mut parts = text.split(':');
        let (name, action, nth) = (parts.next(), parts.next(), parts.next());
        let name = NAMES.into_iter().find(|known| Some(*known) == name);
        let nth = nth.and_then(|nth| nth.parse().ok()).filter(|nth| *nth > 0);
        match (name, action, nth, parts.next()) {
            (Some(name), Some("abort"), Some(nth), None) => Ok(Self {
                name,
                passes_left: AtomicU64::new(nth),
            }),
            _ => Err(InvalidFailpoint(text.to_owned())),
        }
    }

    /// Whether this pass is the fatal one.
    fn pass(&self, name: &str) -> bool {
        let take = |left: u64| left.checked_sub(1);
        self.name == name
            && self
                .passes_left
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, take)
                == Ok(1)
    }
}

/// Arms the failpoint that the variable names, if any; once per process. Call it only when the
/// configuration allows failpoints.
///
/// # Errors
/// A text that is not a failpoint.
pub fn arm(value: Option<&str>) -> Result<(), InvalidFailpoint> {
    if let Some(text) = value {
        let failpoint = Failpoint::parse(text)?;
        // The second part of one process arms the same one.
        if ARMED.set(failpoint).is_ok() {
            tracing::warn!(failpoint = text, "failpoint armed: this process will abort");
        }
    }
    Ok(())
}

/// Passes a place; does not return when the place is armed and it is its turn.
pub fn hit(name: &'static str) {
    if ARMED.get().is_some_and(|failpoint| failpoint.pass(name)) {
        tracing::error!(failpoint = name, "failpoint reached: aborting");
        std::process::abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nth_pass_of_the_named_place_is_fatal() {
        let failpoint = Failpoint::parse("after-signal-before-mark:abort:2").unwrap();
        let places = [
            BEFORE_COMMIT,
            AFTER_SIGNAL_BEFORE_MARK,
            AFTER_SIGNAL_BEFORE_MARK,
            AFTER_SIGNAL_BEFORE_MARK,
        ];
        assert_eq!(
            places.map(|name| failpoint.pass(name)),
            [false, false, true, false]
        );
    }

    #[test]
    fn a_misspelt_failpoint_is_an_error() {
        for text in [
            "",
            "after-commit:abort:1",
            "before-commit:exit:1",
            "before-commit:abort:0",
            "before-commit:abort:1:x",
        ] {
            assert!(Failpoint::parse(text).is_err(), "{text}");
        }
    }
}
