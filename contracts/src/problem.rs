//! Problems: what a caller gets instead of a result (RFC 9457, `application/problem+json`).

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{ids::*, policy::Reason};

/// Where dispatch-api serves the documentation page of each code.
pub const PROBLEM_PAGES: &str = "/problems";

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $status:literal, $title:literal;)+) => {
        /// Stable codes. Each has a page in `docs/errors/`; a test holds the two together.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
            JsonSchema, strum::Display, strum::EnumString, strum::VariantArray)]
        pub enum ErrorCode {
            $($(#[$doc])* #[serde(rename = $code)] #[strum(serialize = $code)] $name,)+
        }

        impl ErrorCode {
            /// The HTTP status.
            pub const fn status(self) -> u16 {
                match self { $(Self::$name => $status,)+ }
            }

            /// The documentation page, in Markdown.
            pub const fn page(self) -> &'static str {
                match self {
                    $(Self::$name => include_str!(concat!("../../docs/errors/", $code, ".md")),)+
                }
            }

            /// The title, the same for each occurrence.
            pub const fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)+ }
            }
        }
    };
}

codes! {
    /// The body is not JSON of the documented shape.
    Malformed = "MALFORMED", 400, "The request cannot be read";
    /// A path or query parameter cannot be read.
    InvalidParameter = "INVALID_PARAMETER", 400, "A parameter cannot be read";
    /// A command came without a request id.
    RequestIdMissing = "REQUEST_ID_MISSING", 400, "A command needs a request id";
    /// No valid token.
    Unauthenticated = "UNAUTHENTICATED", 401, "Authentication failed";
    /// The caller has no right to this operation.
    Forbidden = "FORBIDDEN", 403, "Not permitted";
    /// The key that it was sent with is for other things.
    OutOfScope = "OUT_OF_SCOPE", 403, "The key is not for this";
    /// A rule of the business is not met.
    PolicyDenied = "POLICY_DENIED", 403, "Denied by policy";
    /// The kill switch is engaged.
    KillSwitch = "KILL_SWITCH", 403, "Stopped by the kill switch";
    /// The autonomy stage forbids software to do this by itself.
    Stage = "STAGE", 403, "Not allowed at this autonomy stage";
    /// The tenant is suspended, is being deleted, or was erased.
    TenantSuspended = "TENANT_SUSPENDED", 403, "The tenant is suspended";
    /// There is no such thing, or it is not yours.
    NotFound = "NOT_FOUND", 404, "Not found";
    /// The path exists, the method does not.
    MethodNotAllowed = "METHOD_NOT_ALLOWED", 405, "Method not allowed";
    /// `expected_version` is not the ticket's version.
    VersionConflict = "VERSION_CONFLICT", 409, "The ticket has changed";
    /// The command does not lead from the ticket's state anywhere.
    IllegalTransition = "ILLEGAL_TRANSITION", 409, "Not possible in this state";
    /// There is another one of this name.
    AlreadyExists = "ALREADY_EXISTS", 409, "It is there already";
    /// The request id was used for another request.
    IdempotencyMismatch = "IDEMPOTENCY_MISMATCH", 409, "Request id used for another request";
    /// The same request, or another one on this ticket, is being worked on.
    InFlight = "IN_FLIGHT", 409, "Being worked on";
    /// The facts under an approval changed.
    ApprovalStale = "APPROVAL_STALE", 409, "The approval is stale";
    /// Somebody else works on the approval.
    ApprovalClaimed = "APPROVAL_CLAIMED", 409, "Somebody else works on it";
    /// The same command waits for an approval already.
    AlreadyHeld = "ALREADY_HELD", 409, "Held already";
    /// The approval was decided before.
    AlreadyDecided = "ALREADY_DECIDED", 409, "Already decided";
    /// The workflow knows more than the database: it must take a snapshot.
    AheadOfDatabase = "AHEAD_OF_DATABASE", 409, "The caller is ahead of the database";
    /// The time for this is over.
    Expired = "EXPIRED", 410, "Expired";
    /// The body is too large.
    TooLarge = "TOO_LARGE", 413, "The body is too large";
    /// The path with its query is too long.
    UriTooLong = "URI_TOO_LONG", 414, "The address is too long";
    /// The body is not JSON.
    UnsupportedMediaType = "UNSUPPORTED_MEDIA_TYPE", 415, "Unsupported content type";
    /// A value is of the right shape but not valid.
    InvalidField = "INVALID_FIELD", 422, "A value is not valid";
    /// A policy bundle cannot be used.
    InvalidBundle = "INVALID_BUNDLE", 422, "The policy bundle cannot be used";
    /// Too many requests.
    RateLimited = "RATE_LIMITED", 429, "Too many requests";
    /// The tenant uses as much as it may.
    QuotaExceeded = "QUOTA_EXCEEDED", 429, "A quota is used up";
    /// Our fault; the request id is in our logs.
    Internal = "INTERNAL", 500, "Internal error";
    /// A part that is needed is not there; try again.
    Unavailable = "UNAVAILABLE", 503, "Temporarily unavailable";
    /// No valid policy bundle: nothing can be decided.
    PolicyUnavailable = "POLICY_UNAVAILABLE", 503, "No policy can decide";
}

/// The body of every answer that is not a success.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// Address of the code's documentation page, relative to the server. Answers that were stored
    /// before version 0.4 hold `urn:real-dispatch:error:` and the code; `code` is the same in both.
    #[serde(rename = "type")]
    pub type_uri: String,
    /// The code's title.
    pub title: String,
    /// HTTP status.
    pub status: u16,
    /// What is wrong here and how to mend it.
    pub detail: String,
    /// `urn:uuid:` of this occurrence: the same in our logs.
    pub instance: String,
    /// Stable code.
    pub code: ErrorCode,
    /// The request id of the command; for a request without one, the one that was assigned to it.
    /// Our log line of the request has the same. Absent from answers stored before version 0.4.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// Where in the body, one entry per wrong field.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
    /// The failed conditions of a denial.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<Reason>,
    /// The recorded attempt, when there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command_id: Option<CommandId>,
    /// The recorded decision, when there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision_id: Option<DecisionId>,
    /// Facts for programs, by code: `{"expected": 3, "actual": 4}` …
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    #[schemars(with = "std::collections::BTreeMap<String, Value>")]
    pub meta: Map<String, Value>,
    /// When.
    pub at: DateTime<Utc>,
}

/// What is wrong with one field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FieldError {
    /// JSON pointer (RFC 6901) into the body; empty for the whole body.
    pub pointer: String,
    /// What is wrong.
    pub message: String,
}

impl ErrorCode {
    /// Address of the documentation page: a path on the server that answers, the same behind every
    /// host name and prefix (RFC 9457 §3.1.1 allows a relative reference).
    pub fn type_uri(self) -> String {
        format!("{PROBLEM_PAGES}/{self}")
    }
}
