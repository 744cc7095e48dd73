//! Whose fault is a failed call: decides what waits, and whether a try is used up.
//!
//! Three classes, because three things can be done about an error. When Temporal itself cannot be
//! used, everybody waits and nobody is blamed. When one workflow cannot take a signal right now,
//! its ticket waits. Only when the event itself will never be accepted does a try count, and only
//! then may the ticket be parked. In doubt a ticket waits: parking needs a person, waiting does not.

use std::error::Error as _;

use temporalio_client::tonic::{Code, Status};
use temporalio_common::protos::{
    temporal::api::{
        enums::v1::ResourceExhaustedCause, errordetails::v1::ResourceExhaustedFailure,
    },
    utilities::decode_status_detail,
};

/// What an error says about who has to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ErrorClass {
    /// Temporal cannot be used: unreachable, overloaded, misconfigured, not permitted.
    Systemic,
    /// This workflow cannot take a signal now.
    Busy,
    /// This event will not be accepted however often it is sent.
    Event,
}

impl ErrorClass {
    /// All classes, for metrics that begin at zero.
    pub const ALL: [Self; 3] = [Self::Systemic, Self::Busy, Self::Event];

    /// The label in metrics and logs.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Systemic => "systemic",
            Self::Busy => "busy",
            Self::Event => "event",
        }
    }
}

/// A call to Temporal that did not succeed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Temporal answered {code:?}: {message}")]
pub struct TemporalError {
    /// Whose fault it is.
    pub class: ErrorClass,
    /// The gRPC status code.
    pub code: Code,
    /// The server's words.
    pub message: String,
}

impl From<Status> for TemporalError {
    fn from(status: Status) -> Self {
        Self {
            class: classify(&status),
            code: status.code(),
            message: status.message().to_owned(),
        }
    }
}

impl TemporalError {
    /// Whether Temporal itself cannot be used.
    pub fn is_systemic(&self) -> bool {
        self.class == ErrorClass::Systemic
    }

    /// A failure before any server answered.
    pub fn unreachable(message: impl Into<String>) -> Self {
        Self {
            class: ErrorClass::Systemic,
            code: Code::Unavailable,
            message: message.into(),
        }
    }
}

/// Limits of one workflow that the server reports as if the request were wrong. The run that hit
/// them ends by itself (it continues as new), so the ticket waits.
const WORKFLOW_LIMITS: [&str; 4] = [
    "limit for signal events",
    "history size exceeds limit",
    "history count exceeds limit",
    "mutable state size exceeds limit",
];

/// Requests that are wrong because the cluster is not set up for them: the same for every ticket.
const CLUSTER_SETUP: [&str; 3] = ["search attribute", "time skipping", "time-skipping"];

/// The class of a gRPC status.
pub fn classify(status: &Status) -> ErrorClass {
    let message = status.message().to_ascii_lowercase();
    let says = |parts: &[&str]| parts.iter().any(|part| message.contains(part));
    match status.code() {
        Code::Unavailable
        | Code::DeadlineExceeded
        | Code::Cancelled
        | Code::PermissionDenied
        | Code::Unauthenticated
        | Code::Unimplemented => ErrorClass::Systemic,
        Code::InvalidArgument if says(&WORKFLOW_LIMITS) => ErrorClass::Busy,
        Code::InvalidArgument if says(&CLUSTER_SETUP) => ErrorClass::Systemic,
        Code::InvalidArgument => ErrorClass::Event,
        Code::ResourceExhausted if says(&["larger than max"]) => ErrorClass::Event,
        Code::ResourceExhausted if busy_workflow(status) => ErrorClass::Busy,
        Code::ResourceExhausted => ErrorClass::Systemic,
        // Namespace not found, not active, in handover.
        Code::NotFound | Code::FailedPrecondition if says(&["namespace"]) => ErrorClass::Systemic,
        // A status with a source was made on our side of the wire: the connection broke.
        Code::Unknown | Code::Internal if status.source().is_some() => ErrorClass::Systemic,
        Code::NotFound
        | Code::FailedPrecondition
        | Code::AlreadyExists
        | Code::Aborted
        | Code::OutOfRange
        | Code::Internal
        | Code::Unknown
        | Code::DataLoss
        | Code::Ok => ErrorClass::Busy,
    }
}

fn busy_workflow(status: &Status) -> bool {
    decode_status_detail::<ResourceExhaustedFailure>(status.details())
        .is_some_and(|detail| detail.cause() == ResourceExhaustedCause::BusyWorkflow)
}

#[cfg(test)]
mod tests {
    use super::*;
    use temporalio_common::protos::{
        google::rpc::Status as RpcStatus,
        utilities::{encode_status_details, pack_any},
    };

    fn exhausted(cause: ResourceExhaustedCause) -> Status {
        let detail = ResourceExhaustedFailure {
            cause: cause.into(),
            ..Default::default()
        };
        let any = pack_any(
            "type.googleapis.com/temporal.api.errordetails.v1.ResourceExhaustedFailure".into(),
            &detail,
        )
        .unwrap();
        let details = encode_status_details(&RpcStatus {
            code: Code::ResourceExhausted.into(),
            message: String::new(),
            details: vec![any],
        });
        Status::with_details(Code::ResourceExhausted, "exhausted", details.into())
    }

    #[test]
    fn each_status_has_a_class() {
        use ErrorClass::*;
        let table = [
            (Code::Unavailable, "", Systemic),
            (Code::DeadlineExceeded, "", Systemic),
            (Code::Cancelled, "Timeout expired", Systemic),
            (Code::PermissionDenied, "Request unauthorized.", Systemic),
            (Code::Unauthenticated, "", Systemic),
            (
                Code::Unimplemented,
                "unknown service WorkflowService",
                Systemic,
            ),
            (Code::NotFound, "Namespace dispatch is not found.", Systemic),
            (Code::NotFound, "workflow execution already completed", Busy),
            (
                Code::FailedPrecondition,
                "Namespace: dispatch is active in cluster: b",
                Systemic,
            ),
            (Code::FailedPrecondition, "", Busy),
            (Code::ResourceExhausted, "namespace rate limit", Systemic),
            (
                Code::ResourceExhausted,
                "grpc: received message larger than max (5 vs. 4)",
                Event,
            ),
            (
                Code::InvalidArgument,
                "exceeded workflow execution limit for signal events",
                Busy,
            ),
            (
                Code::InvalidArgument,
                "Namespace default has no mapping defined for search attribute TenantId",
                Systemic,
            ),
            (
                Code::InvalidArgument,
                "time skipping is not enabled for namespace default",
                Systemic,
            ),
            (
                Code::InvalidArgument,
                "Blob data size exceeds limit.",
                Event,
            ),
            (
                Code::InvalidArgument,
                "WorkflowId length exceeds limit.",
                Event,
            ),
            (Code::AlreadyExists, "", Busy),
            (Code::Aborted, "", Busy),
            (Code::OutOfRange, "", Busy),
            (Code::Internal, "", Busy),
            (Code::Unknown, "", Busy),
            (Code::DataLoss, "", Busy),
        ];
        for (code, message, class) in table {
            assert_eq!(
                classify(&Status::new(code, message)),
                class,
                "{code:?} {message}"
            );
        }
    }

    #[test]
    fn an_exhausted_resource_is_judged_by_its_cause() {
        let class = |cause| classify(&exhausted(cause));
        assert_eq!(
            class(ResourceExhaustedCause::BusyWorkflow),
            ErrorClass::Busy
        );
        assert_eq!(
            class(ResourceExhaustedCause::RpsLimit),
            ErrorClass::Systemic
        );
        assert_eq!(
            class(ResourceExhaustedCause::SystemOverloaded),
            ErrorClass::Systemic
        );
    }

    #[test]
    fn a_broken_connection_is_not_the_tickets_fault() {
        let broken = std::io::Error::from(std::io::ErrorKind::BrokenPipe);
        let mut status = Status::unknown("transport error");
        status.set_source(std::sync::Arc::new(broken));
        assert_eq!(classify(&status), ErrorClass::Systemic);
    }
}
