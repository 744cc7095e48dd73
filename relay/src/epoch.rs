//! The epoch of the database, as last read.
//!
//! It rises when the database was set back to an earlier copy (`new_epoch`). Every signal carries
//! it, so that a workflow that knows more than the restored database takes a snapshot.

use std::sync::atomic::{AtomicU64, Ordering};

/// Shared by the pump, which sends it, and the lease keeper, which reads it again and again.
#[derive(Debug)]
pub struct Epoch(AtomicU64);

impl Epoch {
    /// Begins with what was read at the start.
    pub fn new(epoch: u64) -> Self {
        Self(AtomicU64::new(epoch))
    }

    /// The epoch.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Takes note of what was read; true when it rose.
    pub fn observe(&self, read: u64) -> bool {
        self.0.fetch_max(read, Ordering::Relaxed) < read
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_only_rises() {
        let epoch = Epoch::new(3);
        assert!(epoch.observe(4) && !epoch.observe(4) && !epoch.observe(2));
        assert_eq!(epoch.get(), 4);
    }
}
