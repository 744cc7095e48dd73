//! The one extractor of all commands: from an authenticated request to a [`Call`] of the pipeline.
//!
//! Steps that need less come first, so that a request which cannot be meant for us is refused
//! before its body is read: content type, path, query, headers, then the body (bounded in time and
//! size, parsed strictly), its two members that belong to the request rather than to the command,
//! and the command's own body. Nothing before [`CommandRequest::execute`] is an attempt: it leaves
//! metrics and a log line, no audit row.

use std::{sync::Arc, time::Duration};

use axum::{
    RequestPartsExt,
    body::{Body, HttpBody},
    extract::{FromRequest, MatchedPath, Request},
    http::{HeaderMap, request::Parts},
    response::{IntoResponse, Response},
};
use contracts::{
    ApprovalId, Command, CommandId, ErrorCode, Problem, TenantId, TicketId,
    actor::TOOL_NAME_HEADER, canonical::canonical_sha256, command::CommandBody,
    kill_switch::KILL_SWITCH_HEADER,
};
use futures::StreamExt;
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use store::TenantTx;
use tokio::task::JoinError;
use tracing::Instrument;

use super::{
    Caller, LetIn, PathId, Query, TicketPath,
    context::header as text,
    decode::{decode, whole},
    json,
    wait::{PREFERENCE_APPLIED, Waiting, preferred, until_ended},
};
use crate::{
    App,
    config::Limits,
    pipeline::{Answer, Call},
    problem::Failure,
};

/// Header of the request id.
pub const REQUEST_ID_HEADER: &str = "idempotency-key";
/// The member of a body that is the request id.
pub const REQUEST_ID_MEMBER: &str = "request_id";
/// The member of a body that is the expected version.
pub const EXPECTED_VERSION_MEMBER: &str = "expected_version";
/// The member of a body that is the approval, where the path does not name it.
pub const APPROVAL_MEMBER: &str = "approval_id";
/// The member of a body that is the tenant, where the path does not name it.
pub const TENANT_MEMBER: &str = "tenant_id";
/// The query parameter of a trial.
pub const DRY_RUN: &str = "dry_run";

/// A request for the command with body `B`, read and checked; all that is left is to do it.
#[derive(Debug)]
pub struct CommandRequest<B> {
    app: App,
    under_way: Arc<LetIn>,
    call: Call,
    wait: Option<Waiting>,
    body: std::marker::PhantomData<fn(B)>,
}

impl<B: CommandBody> FromRequest<App> for CommandRequest<B> {
    type Rejection = Failure;

    async fn from_request(request: Request, app: &App) -> Result<Self, Failure> {
        let envelope = Envelope::read(request, app).await?;
        let (named, mut members) = (envelope.named, envelope.members);
        let caller = &envelope.of.caller;
        let wait = envelope.wait.map(|(time, headers)| Waiting {
            time,
            caller: caller.clone(),
            headers,
        });
        match named {
            Named::Approval(id) => about(APPROVAL_MEMBER, "approval", &id, &mut members)?,
            Named::Tenant(id) => about(TENANT_MEMBER, "tenant", &id, &mut members)?,
            Named::Nothing | Named::Ticket(_) => {}
        }
        let command: Command = decode::<B>(&Value::Object(members))?.into();

        Ok(Self {
            app: app.clone(),
            under_way: Arc::clone(&envelope.of.caller.under_way),
            call: Call {
                ticket_id: named.ticket().or(command.ticket_id()),
                ..envelope.of.call(command)?
            },
            wait,
            body: std::marker::PhantomData,
        })
    }
}

impl<B> CommandRequest<B> {
    /// Runs the command. It runs in a task of its own: once begun it is finished, whether or not
    /// its caller waits for it, and the process does not stop before (within its grace time).
    ///
    /// Who prefers to wait is told how it ended, if that comes in time.
    pub async fn execute(self) -> Result<Response, Failure> {
        let Self {
            app,
            under_way,
            call,
            wait,
            ..
        } = self;
        let doing = app.clone();
        let run = async move {
            let answer = doing.pipeline().execute(call).await;
            drop(under_way);
            answer
        };
        let answer = app.commands().spawn(run.in_current_span()).await;
        let answer = answer.map_err(cut_off)?;
        let (answer, waited) = match wait {
            Some(waiting) => until_ended(&app, &waiting, answer).await,
            None => (answer, None),
        };
        let mut response = reply(answer)?;
        if let Some(waited) = waited {
            let applied = HeaderValue::try_from(format!("wait={}", waited.as_secs()));
            let applied = applied.map_err(Failure::internal)?;
            response.headers_mut().insert(PREFERENCE_APPLIED, applied);
        }
        Ok(response)
    }
}

/// Everything of a request but the command's own body.
#[derive(Debug)]
struct Envelope {
    named: Named,
    members: Map<String, Value>,
    /// For how long who is let in with these headers would wait.
    wait: Option<(Duration, HeaderMap)>,
    of: Sender,
}

/// Who asks, under which name, in which conversation.
#[derive(Debug)]
struct Sender {
    caller: Caller,
    request_id: String,
    tool_name: Option<String>,
    expected_version: Option<u64>,
    dry_run: bool,
}

impl Envelope {
    async fn read(request: Request, app: &App) -> Result<Self, Failure> {
        let (mut parts, body) = request.into_parts();
        let caller: Caller = parts.extract_with_state(app).await?;
        json_only(&parts.headers)?;
        let named = Named::by(&mut parts, app).await?;
        let dry_run = Query::read(&parts, &[DRY_RUN])?.get(DRY_RUN)?;
        let tool_name = tool_name(&parts.headers)?;
        let header_id = request_id_header(&parts.headers)?;
        if let Some(id) = &header_id {
            caller.context.set_request_id(id);
        }
        let if_match = if_match(&parts.headers)?;
        let wait = preferred(&parts.headers).map(|time| (time, parts.headers.clone()));

        let bytes = receive(body, app.limits()).await?;
        let mut members = match json::parse(&bytes, app.limits().json_depth)? {
            Value::Object(members) => members,
            _ => {
                return Err(Failure::new(
                    ErrorCode::Malformed,
                    "The body must be a JSON object; `{}` for a command without members.",
                ));
            }
        };
        let request_id = request_id(header_id, &mut members)?;
        caller.context.set_request_id(&request_id);
        let expected_version = expected_version(if_match, &mut members)?;
        Ok(Self {
            named,
            members,
            wait,
            of: Sender {
                caller,
                request_id,
                tool_name,
                expected_version,
                dry_run: dry_run.unwrap_or(false),
            },
        })
    }
}

impl Sender {
    fn call(&self, command: Command) -> Result<Call, Failure> {
        let context = &self.caller.context;
        Ok(Call {
            actor: (*self.caller.actor).clone(),
            scopes: self.caller.scopes.clone(),
            request_id: self.request_id.clone(),
            correlation_id: context.correlation_id()?.clone(),
            trace: context.trace.clone(),
            tool_name: self.tool_name.clone(),
            of_list: None,
            home: None,
            taken: false,
            untold: false,
            ticket_id: None,
            expected_version: self.expected_version,
            dry_run: self.dry_run,
            received_at: context.received_at,
            command,
        })
    }
}

/// A request for several commands at once, each with its own outcome.
///
/// The first one holds the request id for all of them: it comes under an id that follows from that alone,
/// and its audit row names the list that it came in. So no other list is carried out under the same id,
/// not even where it asks for other things: that is found before any of them is tried.
#[derive(Debug)]
pub struct BulkRequest<B> {
    app: App,
    of: Sender,
    /// What is asked for.
    pub body: B,
    /// SHA-256 of that, in hex.
    sha256: String,
}

impl<B: DeserializeOwned + Serialize + Send> FromRequest<App> for BulkRequest<B> {
    type Rejection = Failure;

    async fn from_request(request: Request, app: &App) -> Result<Self, Failure> {
        let Envelope { members, of, .. } = Envelope::read(request, app).await?;
        if of.expected_version.is_some() {
            return Err(Failure::parameter(
                EXPECTED_VERSION_MEMBER,
                "One version cannot be that of several things; name each one's own.",
            ));
        }
        let body = decode::<B>(&Value::Object(members))?;
        Ok(Self {
            app: app.clone(),
            of,
            sha256: canonical_sha256(&body).map_err(Failure::internal)?,
            body,
        })
    }
}

impl<B> BulkRequest<B> {
    /// Lets so many commands in besides the one that every request is, all or none.
    pub fn admit_more(&self, more: usize) -> Result<(), Failure> {
        let more = u32::try_from(more).unwrap_or(u32::MAX);
        self.app.limiter().admit_more(&self.of.caller.actor, more)
    }

    /// The request id of one of the commands but the first: the same for the same whole and the same
    /// part, so that a repetition of the whole repeats each part.
    pub fn part_id(&self, part: &str) -> String {
        bulk_id(&format!("{} {part}", self.of.request_id))
    }

    /// Runs the first of the commands under its own request id, as [`BulkRequest::run`] does; or says
    /// how the whole is answered, because the request id stands for no list by that, or for another.
    pub async fn run_first(&self, command: Command) -> Result<(String, Answer), Response> {
        let request_id = bulk_id(&self.of.request_id);
        let ran = self.run(request_id.clone(), command).await;
        let answer = ran.map_err(IntoResponse::into_response)?;
        // A trial holds nothing.
        if self.of.dry_run {
            return Ok((request_id, answer));
        }
        if !answer.kept {
            return Err(reply(answer).unwrap_or_else(Failure::into_response));
        }
        if let Some(first) = answer.command_id.filter(|_| answer.replayed) {
            let list = self.list_of(first).await;
            let list = list.map_err(IntoResponse::into_response)?;
            if list.as_ref() != Some(&self.sha256) {
                return Err(self.mismatch(first, list).into_response());
            }
        }
        Ok((request_id, answer))
    }

    /// The list that an attempt of before came in.
    async fn list_of(&self, first: CommandId) -> Result<Option<String>, Failure> {
        let tenant = self.of.caller.actor.tenant_id;
        let pass = self.app.limiter().turnstile().pass(tenant, false).await;
        let mut tx = TenantTx::begin_read(self.app.pool(), tenant).await?;
        tx.keep(pass);
        let list = store::read::list_of(&mut tx, first).await?;
        tx.commit().await?;
        Ok(list)
    }

    fn mismatch(&self, first: CommandId, list: Option<String>) -> Failure {
        Failure::new(
            ErrorCode::IdempotencyMismatch,
            "This request id was used for another list. Use a new one; to repeat the earlier request, send \
             exactly what was sent then.",
        )
        .fact("request_id", self.of.request_id.clone())
        .fact("expected_sha256", list)
        .fact("got_sha256", self.sha256.clone())
        .fact("first_command_id", first.to_string())
    }

    /// Runs one of the commands under its own request id, to its end, as if it had come alone.
    pub async fn run(&self, request_id: String, command: Command) -> Result<Answer, Failure> {
        let call = Call {
            request_id,
            of_list: Some(self.sha256.clone()),
            ..self.of.call(command)?
        };
        let (app, under_way) = (self.app.clone(), Arc::clone(&self.of.caller.under_way));
        let run = async move {
            let answer = app.pipeline().execute(call).await;
            drop(under_way);
            answer
        };
        let answer = self.app.commands().spawn(run.in_current_span()).await;
        answer.map_err(cut_off)
    }
}

/// A request id that follows from another one.
fn bulk_id(of: &str) -> String {
    let digest = Sha256::digest(of);
    format!("bulk-{}", hex::encode(&digest[..16]))
}

/// A command that did not come to its end: it panicked, or the process was stopped under it.
fn cut_off(error: JoinError) -> Failure {
    match error.is_cancelled() {
        true => Failure::unavailable(
            "The process was stopped while it worked on this. Send it again with the same request id: \
             it takes effect once.",
        ),
        false => Failure::internal(error),
    }
}

/// What the path names.
#[derive(Debug, Clone, Copy)]
enum Named {
    Nothing,
    Ticket(TicketId),
    Approval(ApprovalId),
    Tenant(TenantId),
}

impl Named {
    async fn by(parts: &mut Parts, app: &App) -> Result<Self, Failure> {
        let route = parts
            .extensions
            .get::<MatchedPath>()
            .map(|matched| matched.as_str().to_owned())
            .unwrap_or_default();
        Ok(match route {
            route if route.contains("/tickets/{id}") => {
                Self::Ticket(parts.extract_with_state::<TicketPath, _>(app).await?.0)
            }
            route if route.contains("/approvals/{id}") => {
                Self::Approval(parts.extract_with_state::<PathId<_>, _>(app).await?.0)
            }
            route if route.contains("/tenants/{id}") => {
                Self::Tenant(parts.extract_with_state::<PathId<_>, _>(app).await?.0)
            }
            _ => Self::Nothing,
        })
    }

    const fn ticket(self) -> Option<TicketId> {
        match self {
            Self::Ticket(id) => Some(id),
            Self::Nothing | Self::Approval(_) | Self::Tenant(_) => None,
        }
    }
}

/// The path says which approval or tenant is meant; a body may say it too, but not another one.
fn about(
    member: &'static str,
    what: &str,
    id: &impl ToString,
    members: &mut Map<String, Value>,
) -> Result<(), Failure> {
    let id = id.to_string();
    match members.get(member) {
        None => {}
        Some(Value::String(said)) if *said == id => {}
        Some(_) => {
            let rule = format!("must be the {what} that the path names, or be left out");
            let detail = format!("`{member}` {rule}.");
            return Err(
                Failure::new(ErrorCode::InvalidField, detail).at(format!("/{member}"), rule)
            );
        }
    }
    members.insert(member.into(), id.into());
    Ok(())
}

pub(super) fn reply(answer: Answer) -> Result<Response, Failure> {
    let status = StatusCode::from_u16(answer.status).map_err(Failure::internal)?;
    let code = (!status.is_success())
        .then(|| serde_json::from_str::<Problem>(&answer.body).map(|problem| problem.code))
        .transpose()
        .map_err(Failure::internal)?;
    let mut response = (
        status,
        [(header::CONTENT_TYPE, answer.content_type)],
        answer.body,
    )
        .into_response();
    if let Some(code) = code {
        response.extensions_mut().insert(code);
    }
    let headers = response.headers_mut();
    let mut set = |name: &'static str, value: Option<String>| {
        // Ids, numbers and `true` are visible ASCII.
        if let Some(Ok(value)) = value.map(HeaderValue::try_from) {
            headers.insert(HeaderName::from_static(name), value);
        }
    };
    set("x-command-id", answer.command_id.map(|id| id.to_string()));
    set("x-decision-id", answer.decision_id.map(|id| id.to_string()));
    set(
        "retry-after",
        answer.retry_after_seconds.map(|s| s.to_string()),
    );
    set(
        "idempotent-replayed",
        answer.replayed.then(|| "true".into()),
    );
    set(
        KILL_SWITCH_HEADER,
        answer.kill.map(|state| state.to_string()),
    );
    Ok(response)
}

fn json_only(headers: &HeaderMap) -> Result<(), Failure> {
    let refuse = |detail: &'static str| {
        Err(Failure::new(ErrorCode::UnsupportedMediaType, detail).header(header::ACCEPT, JSON))
    };
    if headers.contains_key(header::CONTENT_ENCODING) {
        return refuse("Send the body as it is, without a Content-Encoding.");
    }
    let content_type = text(headers, header::CONTENT_TYPE.as_str()).unwrap_or_default();
    let mut parts = content_type.split(';').map(str::trim);
    let json = parts
        .next()
        .is_some_and(|essence| essence.eq_ignore_ascii_case(JSON));
    let utf8 = parts.all(|parameter| match parameter.split_once('=') {
        Some((name, value)) if name.eq_ignore_ascii_case("charset") => {
            value.trim_matches('"').eq_ignore_ascii_case("utf-8")
        }
        _ => true,
    });
    match json && utf8 {
        true => Ok(()),
        false => refuse("Send the body as `Content-Type: application/json` in UTF-8."),
    }
}

const JSON: &str = "application/json";

fn tool_name(headers: &HeaderMap) -> Result<Option<String>, Failure> {
    let name = text(headers, TOOL_NAME_HEADER);
    match name.as_deref().is_none_or(is_key) {
        true => Ok(name),
        false => Err(Failure::parameter(
            TOOL_NAME_HEADER,
            format!("X-Tool-Name {KEY_RULE}."),
        )),
    }
}

const KEY_RULE: &str = "must be 1 to 128 visible ASCII characters";

fn is_key(text: &str) -> bool {
    (1..=128).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())
}

/// The header's value; the quotes of a structured field are not part of it.
fn request_id_header(headers: &HeaderMap) -> Result<Option<String>, Failure> {
    let Some(value) = text(headers, REQUEST_ID_HEADER) else {
        return Ok(None);
    };
    let unquoted = value
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
        .unwrap_or(&value);
    match is_key(unquoted) {
        true => Ok(Some(unquoted.to_owned())),
        false => Err(Failure::parameter(
            REQUEST_ID_HEADER,
            format!("Idempotency-Key {KEY_RULE}."),
        )),
    }
}

fn request_id(header: Option<String>, members: &mut Map<String, Value>) -> Result<String, Failure> {
    let member = match members.remove(REQUEST_ID_MEMBER) {
        None => None,
        Some(Value::String(id)) if is_key(&id) => Some(id),
        Some(Value::String(_)) => {
            return Err(
                Failure::new(ErrorCode::InvalidField, format!("`request_id` {KEY_RULE}."))
                    .at("/request_id", KEY_RULE),
            );
        }
        Some(_) => return Err(malformed_member(REQUEST_ID_MEMBER, "a string")),
    };
    match (header, member) {
        (Some(header), Some(member)) if header != member => Err(Failure::parameter(
            REQUEST_ID_HEADER,
            "Idempotency-Key and `request_id` differ; send one of them.",
        )),
        (Some(id), _) | (None, Some(id)) => Ok(id),
        (None, None) => Err(Failure::new(
            ErrorCode::RequestIdMissing,
            "Send an Idempotency-Key header or a `request_id`: a value of your own (a UUID, say), \
             new for each intent and the same for each repetition of it.",
        )),
    }
}

fn malformed_member(name: &str, expected: &str) -> Failure {
    Failure::new(
        ErrorCode::Malformed,
        format!("`{name}` must be {expected}."),
    )
    .at(format!("/{name}"), format!("must be {expected}"))
}

/// Digits of a version in `If-Match`: as many as any number of 64 bits may have.
const LONGEST_VERSION: usize = 19;

fn if_match(headers: &HeaderMap) -> Result<Option<u64>, Failure> {
    let Some(value) = text(headers, header::IF_MATCH.as_str()) else {
        return Ok(None);
    };
    let version = value
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
        // What an ETag says behind the version is of no account here.
        .map(|tag| match tag.split_once('.') {
            Some((version, mark)) if is_mark(mark) => version,
            _ => tag,
        })
        .filter(|digits| digits.len() <= LONGEST_VERSION)
        .filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()))
        .and_then(|digits| digits.parse().ok());
    match version {
        Some(version) => Ok(Some(version)),
        None => Err(Failure::parameter(
            header::IF_MATCH.as_str(),
            "If-Match must be one version in quotes, such as `\"3\"`: the ETag of the ticket. None has \
             more than 19 digits.",
        )),
    }
}

/// What stands behind the version in the ETag of a ticket with open approvals.
fn is_mark(mark: &str) -> bool {
    mark.len() == 8 && mark.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

fn expected_version(
    header: Option<u64>,
    members: &mut Map<String, Value>,
) -> Result<Option<u64>, Failure> {
    let member = match members.remove(EXPECTED_VERSION_MEMBER) {
        None | Some(Value::Null) => None,
        Some(value) => {
            let whole = || u64::try_from(whole(value.as_f64()?)?).ok();
            let version = value.as_u64().or_else(whole);
            Some(version.ok_or_else(|| {
                malformed_member(EXPECTED_VERSION_MEMBER, "an integer from 0 to 2^64-1")
            })?)
        }
    };
    match (header, member) {
        (Some(header), Some(member)) if header != member => Err(Failure::parameter(
            header::IF_MATCH.as_str(),
            "If-Match and `expected_version` differ; send one of them.",
        )),
        (version, None) | (_, version) => Ok(version),
    }
}

/// The whole body, unless it is too large or too slow.
async fn receive(body: Body, limits: &Limits) -> Result<Vec<u8>, Failure> {
    let too_large = || {
        Failure::new(
            ErrorCode::TooLarge,
            format!("The body may have {} bytes.", limits.body_bytes),
        )
        .fact("limit_bytes", limits.body_bytes)
        .header(header::CONNECTION, "close")
    };
    let announced = body.size_hint().lower();
    if announced > limits.body_bytes as u64 {
        return Err(too_large());
    }
    let collect = async {
        let mut bytes = Vec::new();
        let mut chunks = body.into_data_stream();
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|error| {
                incomplete("The body broke off.", limits.body_timeout).caused_by(error)
            })?;
            if bytes.len() + chunk.len() > limits.body_bytes {
                return Err(too_large());
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    };
    tokio::time::timeout(limits.body_timeout, collect)
        .await
        .unwrap_or_else(|_| Err(incomplete("The body came too slowly.", limits.body_timeout)))
}

fn incomplete(what: &str, limit: Duration) -> Failure {
    Failure::new(
        ErrorCode::Malformed,
        format!("{what} All of it must arrive within {} s.", limit.as_secs()),
    )
    .header(header::CONNECTION, "close")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn headers(list: &[(&'static str, &str)]) -> HeaderMap {
        list.iter()
            .map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()))
            .collect()
    }

    fn members(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn only_plain_json_is_taken() {
        let check = |list: &[(&'static str, &str)]| json_only(&headers(list)).is_ok();
        for good in [
            "application/json",
            "Application/JSON; charset=UTF-8",
            "application/json;charset=\"utf-8\"",
        ] {
            assert!(check(&[("content-type", good)]), "{good}");
        }
        for bad in [
            "",
            "text/plain",
            "application/json; charset=latin1",
            "application/jsonl",
        ] {
            assert!(!check(&[("content-type", bad)]), "{bad}");
        }
        assert!(!check(&[]));
        assert!(!check(&[
            ("content-type", JSON),
            ("content-encoding", "gzip")
        ]));
    }

    #[test]
    fn the_request_id_comes_once() {
        let read = |header: Option<&str>, body: Value| {
            let list: Vec<_> = header
                .into_iter()
                .map(|id| (REQUEST_ID_HEADER, id))
                .collect();
            request_id_header(&headers(&list))
                .and_then(|header| request_id(header, &mut members(body)))
                .map_err(|failure| failure.code())
        };
        assert_eq!(read(Some("k1"), json!({})), Ok("k1".into()));
        assert_eq!(
            read(Some("\"k1\""), json!({"request_id": "k1"})),
            Ok("k1".into())
        );
        assert_eq!(read(None, json!({"request_id": "k1"})), Ok("k1".into()));
        assert_eq!(read(None, json!({})), Err(ErrorCode::RequestIdMissing));
        assert_eq!(
            read(Some("k1"), json!({"request_id": "k2"})),
            Err(ErrorCode::InvalidParameter)
        );
        assert_eq!(
            read(Some("k 1"), json!({})),
            Err(ErrorCode::InvalidParameter)
        );
        assert_eq!(read(Some(""), json!({})), Err(ErrorCode::InvalidParameter));
        assert_eq!(
            read(None, json!({"request_id": 7})),
            Err(ErrorCode::Malformed)
        );
        assert_eq!(
            read(None, json!({"request_id": null})),
            Err(ErrorCode::Malformed)
        );
        assert_eq!(
            read(None, json!({"request_id": "k\n1"})),
            Err(ErrorCode::InvalidField)
        );
    }

    #[test]
    fn the_expected_version_comes_once() {
        let read = |header: Option<&str>, body: Value| {
            let list: Vec<_> = header.into_iter().map(|etag| ("if-match", etag)).collect();
            if_match(&headers(&list))
                .and_then(|header| expected_version(header, &mut members(body)))
                .map_err(|failure| failure.code())
        };
        assert_eq!(read(None, json!({})), Ok(None));
        assert_eq!(read(Some("\"3\""), json!({})), Ok(Some(3)));
        assert_eq!(
            read(Some("\"3\""), json!({"expected_version": 3})),
            Ok(Some(3))
        );
        assert_eq!(read(None, json!({"expected_version": 4})), Ok(Some(4)));
        assert_eq!(read(None, json!({"expected_version": 4.0})), Ok(Some(4)));
        assert_eq!(
            read(None, json!({"expected_version": 4.5})),
            Err(ErrorCode::Malformed)
        );
        assert_eq!(
            read(None, json!({"expected_version": -4})),
            Err(ErrorCode::Malformed)
        );
        assert_eq!(
            read(Some("\"3\""), json!({"expected_version": 4})),
            Err(ErrorCode::InvalidParameter)
        );
        assert_eq!(read(Some("\"3.00ff00ff\""), json!({})), Ok(Some(3)));
        let longest = "9".repeat(LONGEST_VERSION);
        assert_eq!(
            read(Some(&format!("\"{longest}\"")), json!({})),
            Ok(Some(longest.parse().unwrap()))
        );
        assert_eq!(
            read(None, json!({ "expected_version": u64::MAX })),
            Ok(Some(u64::MAX))
        );
        let beyond: Value = serde_json::from_str("18446744073709551616").unwrap();
        assert_eq!(
            read(None, json!({ "expected_version": beyond })),
            Err(ErrorCode::Malformed)
        );
        for etag in [
            "3",
            "W/\"3\"",
            "*",
            "\"\"",
            "\"3\", \"4\"",
            "\"+3\"",
            "\"3.\"",
            "\"3.5\"",
            "\".00ff00ff\"",
            "\"3.00FF00FF\"",
            "\"18446744073709551616\"",
            "\"00000000000000000003\"",
        ] {
            assert_eq!(
                read(Some(etag), json!({})),
                Err(ErrorCode::InvalidParameter),
                "{etag}"
            );
        }
    }

    #[test]
    fn the_path_says_which_approval_is_meant() {
        let id: ApprovalId = format!("apr_{}", "1".repeat(32)).parse().unwrap();
        let read = |body: Value| {
            let mut members = members(body);
            about(APPROVAL_MEMBER, "approval", &id, &mut members)
                .map(|()| members[APPROVAL_MEMBER].clone())
                .map_err(|failure| failure.code())
        };
        assert_eq!(read(json!({})), Ok(json!(id)));
        assert_eq!(read(json!({ "approval_id": id })), Ok(json!(id)));
        let other = format!("apr_{}", "2".repeat(32));
        for wrong in [json!(other), json!(7), json!(null)] {
            let read = read(json!({ "approval_id": wrong }));
            assert_eq!(read, Err(ErrorCode::InvalidField));
        }
    }

    #[tokio::test]
    async fn a_body_is_bounded_whether_or_not_it_says_its_size() {
        let limits = Limits {
            body_bytes: 4,
            ..Limits::default()
        };
        let chunked = |n: usize| {
            let chunks = (0..n).map(|_| Ok::<_, std::io::Error>("x"));
            Body::from_stream(futures::stream::iter(chunks))
        };
        assert_eq!(receive(Body::from("xxxx"), &limits).await.unwrap(), b"xxxx");
        assert_eq!(receive(chunked(4), &limits).await.unwrap(), b"xxxx");
        for body in [Body::from("xxxxx"), chunked(5)] {
            assert_eq!(
                receive(body, &limits).await.unwrap_err().code(),
                ErrorCode::TooLarge
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_come_is_not_waited_for() {
        let never = Body::from_stream(futures::stream::pending::<Result<&str, std::io::Error>>());
        let failure = receive(never, &Limits::default()).await.unwrap_err();
        assert_eq!(failure.code(), ErrorCode::Malformed);
    }
}
