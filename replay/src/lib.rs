//! What would have happened: recorded tickets and decisions, looked at again.
//!
//! Two questions are answered from the record. [`shadow::replay`] folds each ticket's timeline and
//! asks at each version what software would propose today, and what the policy would decide;
//! [`diff::diff`] asks only the latter, of a candidate, and fast. Both compare with what was
//! recorded and with what people did.
//!
//! Nothing is changed by it: the record is read as `dispatch_reader`, a login that cannot write, in
//! one read-only transaction. And the same record gives the same bytes: no clock and no randomness
//! is read here (a lint sees to it), everything has an order, and what is asked was stored with what
//! was answered. (An evaluation that ran out of time is tried again, so that a busy machine gives no
//! other answer than an idle one.)

pub mod artifact;
mod decisions;
pub mod diff;
mod error;
mod evaluate;
mod fold;
mod range;
mod record;
mod report;
pub mod s3;
pub mod shadow;
pub mod summary;

pub use decisions::{DecisionChange, DecisionLine, Recorded, RecordedReason};
pub use error::Error;
pub use fold::{AdviceChange, ProposalLine, RecordedAdvice, ReplayedAdvice};
pub use range::Range;
pub use record::{Snapshot, active_bundle, archive, tenant, tenant_names};
