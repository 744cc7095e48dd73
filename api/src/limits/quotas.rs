//! How much a tenant may use: what is usual in the installation, and what was set for one.

use contracts::tenant::{Rate, TenantLimits};

/// How much a tenant may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quotas {
    /// Commands of its people and integrations; as many again of its agents and workflows.
    pub commands: Rate,
    /// Reads, likewise.
    pub reads: Rate,
    /// Tickets that are open at the same time.
    pub open_tickets: u64,
    /// Bytes of kept messages and uploaded policy bundles.
    pub storage_bytes: u64,
    /// Requests that wait at the same time.
    pub subscribers: u32,
}

/// How many seconds' worth may come at once where a rate is set and its burst is not.
const USUAL_BURST_SECONDS: u32 = 5;

impl Default for Quotas {
    fn default() -> Self {
        Self {
            commands: Rate {
                per_second: 200,
                burst: 1_000,
            },
            reads: Rate {
                per_second: 500,
                burst: 2_500,
            },
            open_tickets: 100_000,
            storage_bytes: 10 << 30,
            subscribers: 32,
        }
    }
}

impl Quotas {
    /// So much that nothing on one machine reaches it: for measuring what else there is.
    pub fn boundless() -> Self {
        let rate = Rate {
            per_second: 1_000_000,
            burst: 1_000_000,
        };
        Self {
            commands: rate,
            reads: rate,
            open_tickets: u64::MAX,
            storage_bytes: u64::MAX,
            subscribers: u32::MAX,
        }
    }

    /// What holds for a tenant for which this was set.
    #[must_use]
    pub fn with(self, set: &TenantLimits) -> Self {
        Self {
            commands: rate(self.commands, set.commands_per_second, set.command_burst),
            reads: rate(self.reads, set.reads_per_second, set.read_burst),
            open_tickets: set.open_tickets.unwrap_or(self.open_tickets),
            storage_bytes: set.storage_bytes.unwrap_or(self.storage_bytes),
            subscribers: set.subscribers.unwrap_or(self.subscribers),
        }
    }
}

fn rate(usual: Rate, per_second: Option<u32>, burst: Option<u32>) -> Rate {
    let usual_burst = per_second.map_or(usual.burst, |set| set.saturating_mul(USUAL_BURST_SECONDS));
    Rate {
        per_second: per_second.unwrap_or(usual.per_second),
        burst: burst.unwrap_or(usual_burst),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_holds_and_the_rest_is_as_usual() {
        let usual = Quotas::default();
        assert_eq!(usual.with(&TenantLimits::default()), usual);
        let set = usual.with(&TenantLimits {
            commands_per_second: Some(7),
            read_burst: Some(9),
            open_tickets: Some(0),
            ..TenantLimits::default()
        });
        // Seven a second and a thousand at once was never meant.
        assert_eq!((set.commands.per_second, set.commands.burst), (7, 35));
        assert_eq!((set.reads.per_second, set.reads.burst), (500, 9));
        assert_eq!((set.open_tickets, set.storage_bytes), (0, 10 << 30));
    }
}
