//! Waiting on levels, never on time: a condition is asked until it holds, with a bound.

use std::{
    fmt::Debug,
    future::Future,
    time::{Duration, Instant},
};

/// How often a condition is asked.
const EVERY: Duration = Duration::from_millis(20);

/// Long enough for anything on a machine that is busy with something else, short enough to wait for.
pub const BOUND: Duration = Duration::from_secs(30);

/// Asks until the answer is `Ok`; panics with `what` and the last refusal when the bound is over.
pub async fn until<T, E: Debug, F>(what: &str, bound: Duration, mut ask: impl FnMut() -> F) -> T
where
    F: Future<Output = Result<T, E>>,
{
    let begun = Instant::now();
    loop {
        let refusal = match ask().await {
            Ok(answer) => return answer,
            Err(refusal) => refusal,
        };
        assert!(
            begun.elapsed() < bound,
            "{what} did not happen within {bound:?}: {refusal:?}"
        );
        tokio::time::sleep(EVERY).await;
    }
}

/// Waits for something that must end by itself; panics with `what` when the bound is over.
pub async fn within<T>(what: &str, bound: Duration, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(bound, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what} did not end within {bound:?}"),
    }
}
