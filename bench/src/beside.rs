//! What a piece of work takes on a thread beside a load: caches and cores are shared with it as they
//! are in the service.

use std::{sync::mpsc, time::Duration};

use anyhow::{Result, ensure};
use tokio::runtime::Handle;

/// Between two batches, so that the thread takes little from the load that it shares the cores with.
const PAUSE: Duration = Duration::from_millis(50);

/// Does batch after batch while the load goes on, one at least: what the parts of a batch took, each the
/// mean of all of them.
pub async fn beside<T, const N: usize>(
    load: impl Future<Output = Result<T>>,
    mut batch: impl FnMut() -> Result<[f64; N]> + Send + 'static,
) -> Result<[f64; N]> {
    let (stop, stopped) = mpsc::channel::<()>();
    let handle = Handle::current();
    let thread = tokio::task::spawn_blocking(move || -> Result<[f64; N]> {
        // What a batch leaves to do goes on on the runtime.
        let _entered = handle.enter();
        let (mut sums, mut batches) = ([0.0; N], 0_u32);
        // Until the sender is gone.
        while stopped.recv_timeout(PAUSE) == Err(mpsc::RecvTimeoutError::Timeout) {
            for (sum, part) in sums.iter_mut().zip(batch()?) {
                *sum += part;
            }
            batches += 1;
        }
        ensure!(batches > 0, "the load ended before the first batch");
        Ok(sums.map(|sum| sum / f64::from(batches)))
    });
    let loaded = load.await;
    drop(stop);
    let measured = thread.await??;
    loaded?;
    Ok(measured)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_part_is_the_mean_of_all_batches() {
        let (told, mut heard) = tokio::sync::mpsc::unbounded_channel();
        let load = async {
            for _ in 0..3 {
                heard.recv().await;
            }
            Ok(())
        };
        let mut n = 0.0;
        let batch = move || {
            n += 1.0;
            // The load may have ended.
            let _ = told.send(());
            Ok([n, 7.0])
        };
        let [mean, same] = beside(load, batch).await.unwrap();
        assert!(mean >= 2.0 && same == 7.0, "{mean} {same}");
    }

    #[tokio::test]
    async fn a_load_or_a_batch_that_fails_is_told() {
        let batch = || Ok([1.0]);
        let load = async { anyhow::bail!("the load") };
        let failed: Result<[f64; 1]> = beside::<(), 1>(load, batch).await;
        failed.unwrap_err();
        let (told, mut heard) = tokio::sync::mpsc::unbounded_channel::<()>();
        let load = async {
            heard.recv().await;
            Ok(())
        };
        let batch = move || {
            told.send(())?;
            anyhow::bail!("the batch")
        };
        let failed: Result<[f64; 1]> = beside(load, batch).await;
        assert_eq!(failed.unwrap_err().to_string(), "the batch");
    }
}
