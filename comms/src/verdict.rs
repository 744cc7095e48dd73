//! What a try's outcome means: pure, so that every answer has its test.
//!
//! An answer of the receiver settles whether it has the message: 2xx yes, 4xx no. A server error is
//! in between: the receiver, or something in front of it, failed at a moment that we cannot see, so
//! it counts as unknown, but for 503, by which a receiver says that it took nothing. So does 408, by
//! which something in front of it gave up waiting. By 409 a receiver that knows keys says that it
//! has this one.

use std::time::Duration;

use contracts::comms::DeliveryState;

use crate::{
    adapter::Reply,
    config::{Backoff, OnUnknown},
};

/// The result of a message whose last try may have arrived, and is not made again.
pub const UNKNOWN: &str = "unknown_outcome";
/// The result of a try that a crash cut off.
pub const CUT_OFF: &str = "cut_off";
/// More than this a receiver cannot ask for.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(3600);

/// What a try showed, for the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// As a word: `http_503`, `timeout` …
    pub result: String,
    /// The answer's status.
    pub http_status: Option<u16>,
    /// Whether the receiver may have taken it and we cannot tell.
    pub ambiguous: bool,
    /// What is to be done.
    pub next: Next,
}

/// What is to be done after a try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Nothing: the receiver has it.
    Done,
    /// Another try, not before this.
    Again {
        /// What the receiver asked for.
        at_least: Duration,
    },
    /// No other try would do better.
    GiveUp,
    /// Another try might be a second message: a person has to look.
    Unknown,
}

/// Whether a try with an unknown outcome may be made again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// The receiver acts on a key once.
    pub keyed: bool,
    /// What the endpoint says about the others.
    pub on_unknown: OnUnknown,
}

impl Terms {
    fn unknown(self) -> Next {
        match (self.keyed, self.on_unknown) {
            (true, _) | (false, OnUnknown::Retry) => Next::Again {
                at_least: Duration::ZERO,
            },
            (false, OnUnknown::GiveUp) => Next::Unknown,
        }
    }
}

/// Judges what a try met. `may_have_it`: an earlier try at this receiver may have arrived.
pub fn judge(reply: Reply, terms: Terms, may_have_it: bool) -> Judgement {
    let again = Next::Again {
        at_least: Duration::ZERO,
    };
    match reply {
        Reply::Status { code, retry_after } => {
            let at_least = retry_after.unwrap_or_default().min(LONGEST_RETRY_AFTER);
            let wanted = Next::Again { at_least };
            let (ambiguous, next) = match code {
                200..=299 => (false, Next::Done),
                409 if terms.keyed || may_have_it => (false, Next::Done),
                409 | 425 | 429 | 503 => (false, wanted),
                408 | 500..=599 => match terms.unknown() {
                    Next::Again { .. } => (true, wanted),
                    other => (true, other),
                },
                _ => (false, Next::GiveUp),
            };
            Judgement {
                result: format!("http_{code}"),
                http_status: Some(code),
                ambiguous,
                next,
            }
        }
        Reply::NotSent(why) => Judgement {
            result: why.to_owned(),
            http_status: None,
            ambiguous: false,
            next: again,
        },
        Reply::NoAnswer(why) => Judgement {
            result: why.to_owned(),
            http_status: None,
            ambiguous: true,
            next: terms.unknown(),
        },
    }
}

/// Judges a try that a crash cut off. `same_receiver`: the next one would go where it went; the key
/// means nothing to another receiver.
pub fn judge_cut_off(terms: Terms, same_receiver: bool) -> Judgement {
    let terms = Terms {
        keyed: terms.keyed && same_receiver,
        ..terms
    };
    Judgement {
        result: CUT_OFF.to_owned(),
        http_status: None,
        ambiguous: true,
        next: terms.unknown(),
    }
}

impl Judgement {
    /// What becomes of the message, and how long it waits, after so many tries.
    pub fn fate(
        &self,
        backoff: Backoff,
        tries: u32,
        jitter: f64,
    ) -> (DeliveryState, &str, Duration) {
        match self.next {
            Next::Done => (DeliveryState::Sent, &self.result, Duration::ZERO),
            Next::Again { at_least } => {
                let wait = backoff.after(tries, jitter).max(at_least);
                (DeliveryState::Queued, &self.result, wait)
            }
            Next::GiveUp => (DeliveryState::Failed, &self.result, Duration::ZERO),
            Next::Unknown => (DeliveryState::Failed, UNKNOWN, Duration::ZERO),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEYED: Terms = Terms {
        keyed: true,
        on_unknown: OnUnknown::GiveUp,
    };
    const UNKEYED: Terms = Terms {
        keyed: false,
        on_unknown: OnUnknown::GiveUp,
    };
    const DARING: Terms = Terms {
        keyed: false,
        on_unknown: OnUnknown::Retry,
    };
    const AGAIN: Next = Next::Again {
        at_least: Duration::ZERO,
    };

    fn status(code: u16) -> Reply {
        Reply::Status {
            code,
            retry_after: None,
        }
    }

    #[test]
    fn each_answer_has_one_meaning() {
        for (code, keyed, unkeyed) in [
            (200, Next::Done, Next::Done),
            (204, Next::Done, Next::Done),
            // Redirects are not followed: the signature is for one receiver.
            (301, Next::GiveUp, Next::GiveUp),
            (400, Next::GiveUp, Next::GiveUp),
            (401, Next::GiveUp, Next::GiveUp),
            (404, Next::GiveUp, Next::GiveUp),
            (410, Next::GiveUp, Next::GiveUp),
            (408, AGAIN, Next::Unknown),
            (425, AGAIN, AGAIN),
            (429, AGAIN, AGAIN),
            (500, AGAIN, Next::Unknown),
            (502, AGAIN, Next::Unknown),
            (503, AGAIN, AGAIN),
            (504, AGAIN, Next::Unknown),
        ] {
            assert_eq!(judge(status(code), KEYED, false).next, keyed, "{code}");
            assert_eq!(judge(status(code), UNKEYED, false).next, unkeyed, "{code}");
            assert_eq!(judge(status(code), DARING, false).next, keyed, "{code}");
            let verdict = judge(status(code), UNKEYED, false);
            assert_eq!(verdict.ambiguous, unkeyed == Next::Unknown, "{code}");
            assert_eq!(verdict.result, format!("http_{code}"));
        }
    }

    #[test]
    fn a_conflict_means_that_the_receiver_has_the_key() {
        for (terms, may_have_it, next) in [
            (KEYED, false, Next::Done),
            (KEYED, true, Next::Done),
            (DARING, true, Next::Done),
            (UNKEYED, true, Next::Done),
            (UNKEYED, false, AGAIN),
            (DARING, false, AGAIN),
        ] {
            let verdict = judge(status(409), terms, may_have_it);
            assert_eq!(verdict.next, next, "{terms:?} {may_have_it}");
            assert_eq!(
                (verdict.result.as_str(), verdict.ambiguous),
                ("http_409", false)
            );
        }
    }

    #[test]
    fn silence_is_repeated_only_where_it_does_no_harm() {
        for (reply, keyed, unkeyed) in [
            (Reply::NotSent("connect"), AGAIN, AGAIN),
            (Reply::NoAnswer("timeout"), AGAIN, Next::Unknown),
        ] {
            assert_eq!(judge(reply, KEYED, false).next, keyed);
            assert_eq!(judge(reply, DARING, false).next, keyed);
            let verdict = judge(reply, UNKEYED, false);
            assert_eq!(verdict.next, unkeyed);
            assert_eq!(verdict.ambiguous, unkeyed == Next::Unknown);
        }
        assert_eq!(judge_cut_off(KEYED, true).next, AGAIN);
        assert_eq!(judge_cut_off(KEYED, false).next, Next::Unknown);
        assert_eq!(judge_cut_off(UNKEYED, true).next, Next::Unknown);
        assert_eq!(judge_cut_off(DARING, true).next, AGAIN);
        assert!(judge_cut_off(KEYED, true).ambiguous);
    }

    #[test]
    fn a_receiver_may_ask_for_time_within_bounds() {
        let backoff = Backoff {
            first: Duration::from_secs(1),
            most: Duration::from_secs(60),
        };
        let wait = |code, seconds| {
            let reply = Reply::Status {
                code,
                retry_after: Some(Duration::from_secs(seconds)),
            };
            judge(reply, KEYED, false).fate(backoff, 1, 1.0).2.as_secs()
        };
        assert_eq!(wait(429, 120), 120);
        assert_eq!(wait(503, 0), 1);
        assert_eq!(wait(500, 30), 30);
        assert_eq!(wait(429, 1_000_000), 3600);
    }

    proptest! {
        /// Whatever comes, a try that may have arrived is never repeated at a receiver that would
        /// act twice, and only 2xx counts as sent, or a conflict with an earlier try.
        #[test]
        fn nothing_is_sent_twice_to_a_receiver_without_keys(code in 100..1000_u16, after in 0..10_000_u64, may_have_it: bool) {
            let reply = Reply::Status { code, retry_after: Some(Duration::from_secs(after)) };
            let verdict = judge(reply, UNKEYED, may_have_it);
            if verdict.ambiguous {
                prop_assert_eq!(verdict.next, Next::Unknown);
            }
            let taken = (200..300).contains(&code) || (code == 409 && may_have_it);
            prop_assert_eq!(verdict.next == Next::Done, taken);
            let (state, result, _) = verdict.fate(Backoff { first: Duration::ZERO, most: Duration::ZERO }, 1, 0.0);
            prop_assert!(contracts::Slug::new(result).is_ok());
            prop_assert_eq!(state == DeliveryState::Sent, verdict.next == Next::Done);
        }
    }
}
