//! One operation: its route, its handler and its description, side by side.
//!
//! The router and the OpenAPI document are both made from the same list of endpoints, so neither
//! can know an operation that the other does not. [`operations`] is that list for the tests which
//! demand that every operation is covered.

use std::{borrow::Cow, collections::BTreeSet};

use axum::routing::MethodRouter;
use contracts::{
    ApiPermission, ApprovalId, ErrorCode, Operation, ReadPermission, TenantId,
    approval::ApprovalKind,
    command::{CommandBody, CommandReceipt},
    filing::FilingReceipt,
};
use http::Method;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Value, json};

use crate::{App, limits};

/// Where all operations are.
pub const PREFIX: &str = "/api/v1";

/// Where all of them are too, for callers that name no version: it leads to the newest.
pub const PLAIN_PREFIX: &str = "/api";

/// All places.
pub const PREFIXES: [&str; 2] = [PREFIX, PLAIN_PREFIX];

/// What almost all operations answer.
const JSON: &str = "application/json";

/// What an export answers.
pub(crate) const NDJSON: &str = "application/x-ndjson";

type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

#[cfg(any(test, feature = "fuzz"))]
type Parse = fn(&Value) -> Result<contracts::Command, crate::problem::Failure>;

/// An operation with its handler.
#[derive(Debug, Clone)]
pub struct Endpoint {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) id: String,
    pub(crate) command: Option<Operation>,
    /// What its callers need; public operations need nothing.
    pub(crate) permission: Option<ApiPermission>,
    pub(crate) summary: &'static str,
    pub(crate) description: &'static str,
    /// What `{id}` in the path is, when it is no ticket.
    pub(crate) path_id: Option<PathParameter>,
    pub(crate) parameters: Vec<Parameter>,
    pub(crate) request: Option<SchemaOf>,
    pub(crate) success: Success,
    pub(crate) problems: BTreeSet<ErrorCode>,
    pub(crate) route: MethodRouter<App>,
    /// How a command's body is read.
    #[cfg(any(test, feature = "fuzz"))]
    pub(crate) parse: Option<Parse>,
}

/// The id that a path names.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PathParameter {
    pub description: &'static str,
    pub schema: SchemaOf,
}

/// A query parameter.
#[derive(Debug, Clone)]
pub(crate) struct Parameter {
    pub name: &'static str,
    pub description: &'static str,
    pub required: bool,
    pub schema: SchemaOf,
}

/// The answer when all is well.
#[derive(Debug, Clone)]
pub(crate) struct Success {
    pub description: &'static str,
    pub schema: SchemaOf,
    pub media_type: &'static str,
    pub etag: bool,
    /// What was made comes with 201.
    pub creates: bool,
    /// The same document comes with 503 when something is wrong.
    pub health: bool,
}

/// What every guarded operation can answer.
const ALWAYS: &[ErrorCode] = &[
    ErrorCode::InvalidParameter,
    ErrorCode::UriTooLong,
    ErrorCode::Unauthenticated,
    ErrorCode::RateLimited,
    ErrorCode::Internal,
    ErrorCode::Unavailable,
];

/// What everything that is read under a permission can answer besides.
const READ: &[ErrorCode] = &[
    ErrorCode::Forbidden,
    ErrorCode::OutOfScope,
    // Of a tenant that was erased there is nothing.
    ErrorCode::NotFound,
    ErrorCode::PolicyUnavailable,
];

/// What everything with a body can answer besides.
const PARSED: &[ErrorCode] = &[
    ErrorCode::Malformed,
    ErrorCode::RequestIdMissing,
    ErrorCode::TooLarge,
    ErrorCode::UnsupportedMediaType,
    ErrorCode::InvalidField,
];

/// What every command can answer besides.
const COMMAND: &[ErrorCode] = &[
    ErrorCode::Forbidden,
    ErrorCode::OutOfScope,
    ErrorCode::PolicyDenied,
    ErrorCode::KillSwitch,
    ErrorCode::Stage,
    ErrorCode::TenantSuspended,
    ErrorCode::VersionConflict,
    ErrorCode::IdempotencyMismatch,
    ErrorCode::InFlight,
    ErrorCode::PolicyUnavailable,
];

/// Whether the path's id is an approval.
pub(crate) fn is_about_approval(path: &str) -> bool {
    path.contains("/approvals/{id}")
}

/// Whether the path's id is a tenant.
pub(crate) fn is_about_tenant(path: &str) -> bool {
    path.contains("/tenants/{id}")
}

/// What a command's path names, when it is no ticket.
fn path_id(path: &str) -> Option<PathParameter> {
    if is_about_approval(path) {
        return Some(PathParameter {
            description: "The approval.",
            schema: |generator| generator.subschema_for::<ApprovalId>(),
        });
    }
    is_about_tenant(path).then_some(PathParameter {
        description: "The tenant.",
        schema: |generator| generator.subschema_for::<TenantId>(),
    })
}

fn dry_run() -> Parameter {
    Parameter {
        name: "dry_run",
        description: "`true`: change nothing, record nothing, only say what would happen.",
        required: false,
        schema: |generator| generator.subschema_for::<bool>(),
    }
}

/// What a command on an approval answers: what its ticket is now, or what became of an approval
/// that has none.
#[derive(Debug, JsonSchema)]
#[schemars(untagged)]
#[expect(
    dead_code,
    reason = "it is the shape of two answers, and is never made"
)]
enum AboutApproval {
    OfTicket(Box<CommandReceipt>),
    OfNone(Box<FilingReceipt>),
}

impl Endpoint {
    /// A command. Path, id and body follow from `B`.
    pub(crate) fn command<B: CommandBody>(route: MethodRouter<App>) -> Self {
        let operation = B::OPERATION;
        Self {
            method: Method::POST,
            path: format!("{PREFIX}{}", operation.path()),
            id: operation.to_string(),
            command: Some(operation),
            permission: Some(ApiPermission::Command(operation)),
            summary: "",
            description: "",
            path_id: path_id(operation.path()),
            parameters: vec![dry_run()],
            request: Some(|generator| generator.root_schema_for::<B>()),
            success: Success {
                description: "Done, or it was done before under this request id.",
                schema: |generator| match is_about_approval(B::OPERATION.path()) {
                    true => generator.subschema_for::<AboutApproval>(),
                    false => generator.subschema_for::<B::Receipt>(),
                },
                media_type: JSON,
                etag: false,
                creates: false,
                health: false,
            },
            problems: ALWAYS
                .iter()
                .chain(PARSED)
                .chain(COMMAND)
                .copied()
                .chain(ApprovalKind::of_held(operation).map(|_| ErrorCode::AlreadyHeld))
                .collect(),
            route,
            #[cfg(any(test, feature = "fuzz"))]
            parse: Some(|tree| crate::request::decode::decode::<B>(tree).map(Into::into)),
        }
    }

    /// A read that answers a `T`.
    pub(crate) fn read<T: JsonSchema>(
        id: &'static str,
        path: &str,
        route: MethodRouter<App>,
    ) -> Self {
        Self {
            method: Method::GET,
            path: format!("{PREFIX}{path}"),
            id: id.to_owned(),
            command: None,
            permission: None,
            summary: "",
            description: "",
            path_id: None,
            parameters: Vec::new(),
            request: None,
            success: Success {
                description: "As it is now.",
                schema: |generator| generator.subschema_for::<T>(),
                media_type: JSON,
                etag: false,
                creates: false,
                health: false,
            },
            problems: ALWAYS.iter().copied().collect(),
            route,
            #[cfg(any(test, feature = "fuzz"))]
            parse: None,
        }
    }

    /// What its callers need: the router tells the handler, and [`crate::request::ReadRequest`] opens
    /// nothing without it.
    pub(crate) fn needs(mut self, permission: ReadPermission) -> Self {
        self.permission = Some(ApiPermission::Read(permission));
        self.problems(READ)
    }

    pub(crate) fn summary(mut self, summary: &'static str) -> Self {
        self.summary = summary;
        self
    }

    pub(crate) fn description(mut self, description: &'static str) -> Self {
        self.description = description;
        self
    }

    /// Served at another path too, under another id.
    pub(crate) fn at(mut self, path: &str, id: &'static str) -> Self {
        self.path = format!("{PREFIX}{path}");
        self.id = id.to_owned();
        self.path_id = None;
        self
    }

    /// Several commands of one kind in one request; each is one of the list, so this is none itself.
    pub(crate) fn bulk<B: JsonSchema, T: JsonSchema>(
        each: Operation,
        id: &'static str,
        path: &str,
        route: MethodRouter<App>,
    ) -> Self {
        let read = Self::read::<T>(id, path, route);
        Self {
            method: Method::POST,
            permission: Some(ApiPermission::Command(each)),
            parameters: vec![dry_run()],
            request: Some(|generator| generator.root_schema_for::<B>()),
            problems: read.problems.iter().chain(PARSED).copied().collect(),
            ..read
        }
    }

    /// What it can answer besides what all of its kind can.
    pub(crate) fn problems(mut self, codes: &[ErrorCode]) -> Self {
        self.problems.extend(codes);
        self
    }

    /// Only these: for operations that nobody guards.
    pub(crate) fn only_problems(mut self, codes: &[ErrorCode]) -> Self {
        self.problems = codes.iter().copied().collect();
        self
    }

    /// The path's `{id}` is a `T`, not a ticket.
    pub(crate) fn of<T: JsonSchema>(mut self, description: &'static str) -> Self {
        self.path_id = Some(PathParameter {
            description,
            schema: |generator| generator.subschema_for::<T>(),
        });
        self
    }

    pub(crate) fn query<T: JsonSchema>(
        mut self,
        name: &'static str,
        required: bool,
        description: &'static str,
    ) -> Self {
        self.parameters.push(Parameter {
            name,
            description,
            required,
            schema: |generator| generator.subschema_for::<T>(),
        });
        self
    }

    /// The answer is not JSON.
    pub(crate) fn media_type(mut self, media_type: &'static str) -> Self {
        self.success.media_type = media_type;
        self
    }

    /// The answer is text, not JSON.
    pub(crate) fn plain_text(self) -> Self {
        self.media_type("text/plain")
    }

    /// The answer is one JSON document a line.
    pub(crate) fn lines(self) -> Self {
        self.media_type(NDJSON)
    }

    pub(crate) fn etag(mut self) -> Self {
        self.success.etag = true;
        self
    }

    /// Success is a 201, a trial is still a 200.
    pub(crate) fn creates(mut self) -> Self {
        self.success.creates = true;
        self
    }

    pub(crate) fn health(mut self) -> Self {
        self.success.health = true;
        self
    }

    /// The path below the prefixes.
    pub(crate) fn below(&self) -> &str {
        self.path.strip_prefix(PREFIX).unwrap_or(&self.path)
    }

    /// Whether the answer may be of something that has yet to end: a command that can be held, and
    /// the decision that releases one.
    pub(crate) fn can_wait(&self) -> bool {
        self.command.is_some_and(|operation| {
            let released = operation == Operation::DecideApproval;
            released || ApprovalKind::of_held(operation).is_some()
        })
    }

    /// Whether a tenant's rate can refuse it. 429 is in the list of all that are guarded: of what is
    /// never refused by a rate there may be too many at once.
    pub(crate) fn is_limited(&self) -> bool {
        let urgent = match self.permission {
            Some(ApiPermission::Command(operation)) => limits::URGENT.contains(&operation),
            Some(ApiPermission::Read(_)) | None => false,
        };
        !self.is_public() && !urgent
    }

    /// Whether no token is asked for: the path, as routed, is on the list.
    pub(crate) fn is_public(&self) -> bool {
        crate::router::PUBLIC.contains(&self.below())
    }
}

/// The one name of a route, under whichever prefix it was matched.
pub(crate) fn route_name(matched: &str) -> Cow<'_, str> {
    let plain = || matched.strip_prefix(PLAIN_PREFIX)?.strip_prefix('/');
    match matched.starts_with(PREFIX) {
        true => matched.into(),
        false => plain().map_or(matched.into(), |below| format!("{PREFIX}/{below}").into()),
    }
}

/// A JSON document of no documented shape.
#[derive(Debug)]
pub(crate) struct AnyJson;

impl JsonSchema for AnyJson {
    fn schema_name() -> Cow<'static, str> {
        "AnyJson".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let schema: Value = json!({ "type": "object" });
        schema.try_into().expect("an object is a schema")
    }
}

/// All operations, in the order of a ticket's life.
pub fn endpoints() -> Vec<Endpoint> {
    let mut all = crate::commands::endpoints();
    all.extend(crate::reads::endpoints());
    all
}

/// An operation as a test that covers all of them sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperationInfo {
    /// HTTP method.
    pub method: Method,
    /// Path template under [`PREFIX`], `{id}` for a ticket or what else it names.
    pub path: String,
    /// OpenAPI operation id.
    pub id: String,
    /// The command, unless it is a read.
    pub command: Option<Operation>,
    /// What its callers need, unless it is public.
    pub permission: Option<ApiPermission>,
    /// Whether it needs no token.
    pub public: bool,
}

/// What operations there are.
pub fn operations() -> Vec<OperationInfo> {
    endpoints()
        .into_iter()
        .map(|endpoint| OperationInfo {
            public: endpoint.is_public(),
            method: endpoint.method,
            path: endpoint.path,
            id: endpoint.id,
            command: endpoint.command,
            permission: endpoint.permission,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_has_one_name() {
        for (matched, name) in [
            ("/api/v1/tickets/{id}", "/api/v1/tickets/{id}"),
            ("/api/tickets/{id}", "/api/v1/tickets/{id}"),
            ("/health", "/health"),
            ("unmatched", "unmatched"),
        ] {
            assert_eq!(route_name(matched), name);
        }
    }
}
