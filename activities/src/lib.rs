//! The ticket workflow's activities: thin calls of dispatch-api.
//!
//! There are three, and in shadow mode none of them changes a ticket: their only way to
//! dispatch-api is [`Bookkeeper`], which has no other command. Each may run any number of times:
//! its command's key follows from what is asked for, so a second run finds the first one's effect.
//!
//! Whether a failure is worth another attempt is decided here, where the API's error code is
//! known. What is final comes back as a value; an activity fails only when trying again can help.
#![expect(
    missing_debug_implementations,
    reason = "the SDK's macro makes a marker type of each activity"
)]

mod advise;
mod bookkeeper;
mod failure;
mod record_sla;
mod snapshot;
mod token;

use std::sync::Arc;

pub use bookkeeper::Bookkeeper;
pub use token::TokenSource;

use temporalio_macros::activities;
use temporalio_sdk::activities::{ActivityContext, ActivityError};
use workflows::activity::{
    AdviseCall, Outcome, RecordSlaCall, SnapshotCall, SnapshotOutcome, TicketActivity,
};

/// Implements the definitions of [`workflows::activity`].
#[derive(Debug)]
pub struct TicketActivities {
    api: Bookkeeper,
}

impl TicketActivities {
    /// Activities that call dispatch-api.
    pub fn new(api: Bookkeeper) -> Self {
        Self { api }
    }
}

#[activities]
impl TicketActivities {
    /// Reads the truth about a ticket.
    #[activity(definition = workflows::activity::TakeSnapshot)]
    pub async fn ticket_snapshot(
        self: Arc<Self>,
        _ctx: ActivityContext,
        call: SnapshotCall,
    ) -> Result<SnapshotOutcome, ActivityError> {
        snapshot::take(&self.api, &call)
            .await
            .map_err(|error| failure::retryable(workflows::activity::TakeSnapshot::NAME, error))
    }

    /// Asks the advisors and records what they say.
    #[activity(definition = workflows::activity::Advise)]
    pub async fn advise(
        self: Arc<Self>,
        _ctx: ActivityContext,
        call: AdviseCall,
    ) -> Result<Outcome, ActivityError> {
        advise::record(&self.api, &call)
            .await
            .map_err(|error| failure::retryable(workflows::activity::Advise::NAME, error))
    }

    /// Records an SLA warning or breach.
    #[activity(definition = workflows::activity::RecordSla)]
    pub async fn record_sla(
        self: Arc<Self>,
        _ctx: ActivityContext,
        call: RecordSlaCall,
    ) -> Result<Outcome, ActivityError> {
        record_sla::record(&self.api, &call)
            .await
            .map_err(|error| failure::retryable(workflows::activity::RecordSla::NAME, error))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use workflows::activity::ALL;

    /// The definitions say what each activity sends, and a test there that it is bookkeeping; here:
    /// the implementations are those and no others, and reach nothing else.
    #[test]
    fn only_the_defined_activities_exist_and_they_reach_only_bookkeeping() {
        let markers = include_str!("lib.rs")
            .lines()
            .filter(|line| line.trim_start().starts_with("#[activity("));
        let markers: BTreeSet<_> = markers.map(str::trim).collect();
        assert_eq!(markers.len(), ALL.len(), "{markers:?}");
        let defined = "#[activity(definition = workflows::activity::";
        assert!(
            markers.iter().all(|m| m.starts_with(defined)),
            "{markers:?}"
        );

        let reached: BTreeSet<_> = include_str!("bookkeeper.rs")
            .split("self.client.")
            .skip(1)
            .filter_map(|rest| rest.split('(').next())
            .collect();
        let allowed = [
            "advisor_input",
            "escalation_input",
            "record_proposal",
            "record_sla",
            "snapshot",
        ];
        assert_eq!(reached, BTreeSet::from(allowed));
    }
}
