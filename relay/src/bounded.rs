//! A bound on every question to the database: a connection whose other end went away without a
//! word would otherwise hold the asker for as long as TCP believes in it.

use std::{io, time::Duration};

use tokio::time::timeout;

/// Far above what a healthy database takes, and below what an operator would wait.
const BOUND: Duration = Duration::from_secs(10);

/// Runs it, or gives it and its connection up.
pub async fn bounded<T>(
    question: impl Future<Output = Result<T, store::Error>>,
) -> Result<T, store::Error> {
    timeout(BOUND, question).await.unwrap_or_else(|_| {
        let silence = io::Error::new(io::ErrorKind::TimedOut, format!("no answer in {BOUND:?}"));
        Err(sqlx::Error::Io(silence).into())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn silence_is_an_outage() {
        let silent = bounded(std::future::pending::<Result<(), store::Error>>()).await;
        assert!(silent.is_err_and(|error| error.is_unavailable()));
        assert!(bounded(async { Ok(7) }).await.is_ok_and(|n| n == 7));
    }
}
