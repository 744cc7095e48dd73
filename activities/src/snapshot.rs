//! Reads the truth about a ticket.

use contracts::ErrorCode;
use workflows::activity::{SnapshotCall, SnapshotOutcome};

use crate::{Bookkeeper, failure::Later};

/// Every failure but "no such ticket" is tried again: without the truth the workflow can do
/// nothing else.
pub(crate) async fn take(api: &Bookkeeper, call: &SnapshotCall) -> Result<SnapshotOutcome, Later> {
    let desk = api.of(call.tenant_id, call.ticket_id, call.cause.as_ref());
    match desk.snapshot().await {
        Ok(snapshot) => Ok(SnapshotOutcome::Found {
            snapshot: Box::new(snapshot),
        }),
        Err(error) if error.code() == Some(ErrorCode::NotFound) => Ok(SnapshotOutcome::Gone),
        Err(error) => Err(error.into()),
    }
}
