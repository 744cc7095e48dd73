//! What cannot be read is no attempt: the documented problem, its place, and nothing on record.

use contracts::{ApprovalId, ErrorCode, Operation, TicketState};
use dispatch_tests::{
    http::{Ask, key, pointers},
    job::{FILINGS, Job, ROUTED},
    record::Footprint,
    stack::{Stack, with_api},
    who::Who,
};
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

/// Sends requests that are not attempts: nothing may be on record afterwards.
async fn no_attempts(stack: &Stack, asks: Vec<(&str, Ask, ErrorCode, &[&str])>) {
    let before = Footprint::take(stack.admin()).await;
    for (what, ask, code, places) in asks {
        let reply = ask.send().await;
        assert_eq!(
            reply.status.as_u16(),
            code.status(),
            "{what}: {}",
            reply.text()
        );
        let problem = reply.no_attempt(code);
        assert_eq!(pointers(&problem), places, "{what}: {}", reply.text());
        assert!(reply.header("x-correlation-id").is_some(), "{what}");
        assert!(reply.header("traceparent").is_some(), "{what}");
    }
    assert_eq!(before.changes(stack.admin()).await, [""; 0]);
}

fn create(stack: &Stack) -> Ask {
    let token = Who::Dispatcher.token(stack.tenant());
    stack.http().post("/tickets").token(token).key(key())
}

#[test]
fn a_body_of_the_wrong_shape_is_refused_with_its_place() {
    with_api(async |stack| {
        let good = Job::new(&stack, stack.tenant())
            .body(Operation::CreateTicket)
            .await;
        let with = |field: &str, value: Value| {
            let mut body = good.clone();
            body[field] = value;
            create(&stack).json(&body)
        };
        let without = |field: &str| {
            let mut body = good.clone();
            body.as_object_mut().unwrap().remove(field);
            create(&stack).json(&body)
        };
        use ErrorCode::{InvalidField, Malformed};
        let ticket_for_site = stack.tenant().site.to_string().replacen("sit_", "tkt_", 1);
        let twice = good
            .to_string()
            .replacen('{', r#"{"template":"emergency_door","#, 1);
        no_attempts(
            &stack,
            vec![
                (
                    "unknown field",
                    with("colour", json!("red")),
                    Malformed,
                    &["/colour"],
                ),
                (
                    "wrong type",
                    with("site_id", json!(7)),
                    Malformed,
                    &["/site_id"],
                ),
                (
                    "null",
                    with("template", json!(null)),
                    Malformed,
                    &["/template"],
                ),
                (
                    "an array for a map",
                    with("details", json!([])),
                    Malformed,
                    &["/details"],
                ),
                (
                    "missing field",
                    without("template"),
                    Malformed,
                    &["/template"],
                ),
                (
                    "another kind of id",
                    with("site_id", json!(ticket_for_site)),
                    InvalidField,
                    &["/site_id"],
                ),
                (
                    "no id at all",
                    with("asset_id", json!("ast_1")),
                    InvalidField,
                    &["/asset_id"],
                ),
                (
                    "unknown word",
                    with("priority", json!("P9")),
                    InvalidField,
                    &["/priority"],
                ),
                (
                    "no slug",
                    with("details", json!({ "pane": "Not A Slug" })),
                    InvalidField,
                    &["/details/pane"],
                ),
                (
                    "blank text",
                    with("description", json!(" \n")),
                    InvalidField,
                    &["/description"],
                ),
                (
                    "long text",
                    with("description", json!("x".repeat(4001))),
                    InvalidField,
                    &["/description"],
                ),
                (
                    "nul in text",
                    with("description", json!("a\u{0}b")),
                    InvalidField,
                    &["/description"],
                ),
                (
                    "duplicate key",
                    create(&stack).text(twice),
                    Malformed,
                    &["/template"],
                ),
                (
                    "an array",
                    create(&stack).json(&json!([good])),
                    Malformed,
                    &[],
                ),
                (
                    "a string",
                    create(&stack).json(&json!("create")),
                    Malformed,
                    &[],
                ),
                ("nothing", create(&stack).text(""), Malformed, &[]),
                (
                    "half a body",
                    create(&stack).text(r#"{"site_id":"#),
                    Malformed,
                    &[],
                ),
                (
                    "no UTF-8",
                    create(&stack).text(b"{\"template\":\"\xff\"}".to_vec()),
                    Malformed,
                    &[],
                ),
                ("two documents", create(&stack).text("{}{}"), Malformed, &[]),
            ],
        )
        .await;
    });
}

#[test]
fn a_huge_or_deep_body_is_refused_unread() {
    with_api(async |stack| {
        let huge = format!(r#"{{"template":"{}"}}"#, "x".repeat(300 * 1024));
        let deep = format!(r#"{{"details":{}{}}}"#, "[".repeat(64), "]".repeat(64));
        let bottomless = "[".repeat(200_000);
        let before = Footprint::take(stack.admin()).await;
        let reply = create(&stack).text(huge).send().await;
        let problem = reply.no_attempt(ErrorCode::TooLarge);
        assert_eq!(problem.meta["limit_bytes"], 256 * 1024);
        for text in [deep, bottomless] {
            create(&stack)
                .text(text)
                .send()
                .await
                .no_attempt(ErrorCode::Malformed);
        }
        assert_eq!(before.changes(stack.admin()).await, [""; 0]);
    });
}

#[test]
fn only_json_is_taken() {
    with_api(async |stack| {
        let good = Job::new(&stack, stack.tenant())
            .body(Operation::CreateTicket)
            .await;
        let of = |content_type| create(&stack).body(content_type, good.to_string());
        let code = ErrorCode::UnsupportedMediaType;
        no_attempts(
            &stack,
            vec![
                ("none", of(None), code, &[]),
                ("text", of(Some("text/plain")), code, &[]),
                (
                    "a form",
                    of(Some("application/x-www-form-urlencoded")),
                    code,
                    &[],
                ),
                (
                    "another charset",
                    of(Some("application/json; charset=latin1")),
                    code,
                    &[],
                ),
                (
                    "compressed",
                    of(Some("application/json")).header("content-encoding", "gzip"),
                    code,
                    &[],
                ),
            ],
        )
        .await;
        of(Some("Application/JSON; charset=UTF-8"))
            .send()
            .await
            .receipt();
    });
}

#[test]
fn a_command_needs_one_request_id() {
    with_api(async |stack| {
        let good = Job::new(&stack, stack.tenant())
            .body(Operation::CreateTicket)
            .await;
        let with = |id: Value| {
            let mut body = good.clone();
            body["request_id"] = id;
            body
        };
        let token = Who::Dispatcher.token(stack.tenant());
        let post = || stack.http().post("/tickets").token(&token);
        use ErrorCode::{InvalidField, InvalidParameter, Malformed, RequestIdMissing};
        no_attempts(
            &stack,
            vec![
                ("none", post().json(&good), RequestIdMissing, &[]),
                (
                    "two",
                    post().key("a").json(&with(json!("b"))),
                    InvalidParameter,
                    &[],
                ),
                ("empty", post().key("").json(&good), InvalidParameter, &[]),
                (
                    "with a space",
                    post().key("a b").json(&good),
                    InvalidParameter,
                    &[],
                ),
                (
                    "too long",
                    post().key("x".repeat(129)).json(&good),
                    InvalidParameter,
                    &[],
                ),
                (
                    "a number",
                    post().json(&with(json!(7))),
                    Malformed,
                    &["/request_id"],
                ),
                (
                    "a line",
                    post().json(&with(json!("a\nb"))),
                    InvalidField,
                    &["/request_id"],
                ),
            ],
        )
        .await;
        // Header and member are the same key.
        let first = post().json(&with(json!("same"))).send().await;
        first.receipt();
        let second = post().key("same").json(&good).send().await;
        assert_eq!(second.body, first.body);
        post()
            .key("both")
            .json(&with(json!("both")))
            .send()
            .await
            .receipt();
    });
}

#[test]
fn versions_paths_and_parameters_are_read_strictly() {
    with_api(async |stack| {
        let job = Job::at(&stack, stack.tenant(), TicketState::New).await;
        let id = job.id().to_string();
        let body = job.body(Operation::Triage).await;
        let token = Who::Dispatcher.token(stack.tenant());
        let triage = |id: &str| {
            let path = format!("/tickets/{id}/triage");
            stack.http().post(path).token(&token).key(key()).json(&body)
        };
        let with_version = |version: Value| {
            let mut body = body.clone();
            body["expected_version"] = version;
            stack
                .http()
                .post(format!("/tickets/{id}/triage"))
                .token(&token)
                .key(key())
                .json(&body)
        };
        let get = |path: &str| stack.ask(Who::Dispatcher, Method::GET, path);
        let workflow = |path: String| stack.ask(Who::Workflow, Method::GET, path);
        use ErrorCode::{InvalidParameter, Malformed, MethodNotAllowed, NotFound};
        let version = &["/expected_version"];
        no_attempts(
            &stack,
            vec![
                ("no id", triage("tkt_1"), InvalidParameter, &[]),
                (
                    "another kind of id",
                    triage(&id.replacen("tkt_", "sit_", 1)),
                    InvalidParameter,
                    &[],
                ),
                (
                    "capitals",
                    triage(&id.to_uppercase()),
                    InvalidParameter,
                    &[],
                ),
                ("a sentence", triage("%20or%201=1"), InvalidParameter, &[]),
                ("no UTF-8", triage("%ff%fe"), InvalidParameter, &[]),
                (
                    "If-Match without quotes",
                    triage(&id).header("if-match", "1"),
                    InvalidParameter,
                    &[],
                ),
                (
                    "any version",
                    triage(&id).header("if-match", "*"),
                    InvalidParameter,
                    &[],
                ),
                (
                    "a negative version",
                    with_version(json!(-1)),
                    Malformed,
                    version,
                ),
                (
                    "a version in words",
                    with_version(json!("1")),
                    Malformed,
                    version,
                ),
                (
                    "two versions",
                    with_version(json!(2)).expecting(1),
                    InvalidParameter,
                    &[],
                ),
                (
                    "dry_run in words",
                    triage(&id).query("dry_run", "yes"),
                    InvalidParameter,
                    &[],
                ),
                (
                    "dry_run twice",
                    triage(&id).dry_run().dry_run(),
                    InvalidParameter,
                    &[],
                ),
                (
                    "unknown parameter",
                    triage(&id).query("force", "true"),
                    InvalidParameter,
                    &[],
                ),
                (
                    "bad correlation id",
                    triage(&id).header("x-correlation-id", "two words"),
                    InvalidParameter,
                    &[],
                ),
                (
                    "bad tool name",
                    triage(&id).header("x-tool-name", "two words"),
                    InvalidParameter,
                    &[],
                ),
                ("read: no id", get("/tickets/1"), InvalidParameter, &[]),
                (
                    "read: bad cursor",
                    get("/tickets?cursor=abc"),
                    InvalidParameter,
                    &[],
                ),
                (
                    "read: limit 0",
                    get("/tickets?limit=0"),
                    InvalidParameter,
                    &[],
                ),
                (
                    "read: limit 201",
                    get("/tickets?limit=201"),
                    InvalidParameter,
                    &[],
                ),
                (
                    "read: unknown state",
                    get("/tickets?state=LOST"),
                    InvalidParameter,
                    &[],
                ),
                (
                    "read: unknown parameter",
                    get("/tickets?colour=red"),
                    InvalidParameter,
                    &[],
                ),
                (
                    "timeline: bad cursor",
                    get(&format!("/tickets/{id}/timeline?cursor=%00")),
                    InvalidParameter,
                    &[],
                ),
                (
                    "advisor input: no kind",
                    workflow(format!("/tickets/{id}/advisor-input")),
                    InvalidParameter,
                    &[],
                ),
                (
                    "advisor input: unknown kind",
                    workflow(format!("/tickets/{id}/advisor-input?kind=lunch")),
                    InvalidParameter,
                    &[],
                ),
                ("no such path", get("/ticket"), NotFound, &[]),
                (
                    "a path of later",
                    stack
                        .ask(
                            Who::Dispatcher,
                            Method::POST,
                            format!("/tickets/{id}/archive"),
                        )
                        .key(key())
                        .json(&json!({})),
                    NotFound,
                    &[],
                ),
                (
                    "wrong method",
                    get(&format!("/tickets/{id}/triage")),
                    MethodNotAllowed,
                    &[],
                ),
                (
                    "no deletes",
                    stack.ask(Who::Dispatcher, Method::DELETE, format!("/tickets/{id}")),
                    MethodNotAllowed,
                    &[],
                ),
            ],
        )
        .await;
    });
}

#[test]
fn a_wrong_method_is_told_the_right_ones() {
    with_api(async |stack| {
        let id = "tkt_00000000000000000000000000000000";
        for (method, path, allowed) in [
            (Method::DELETE, format!("/tickets/{id}"), "GET"),
            (Method::PUT, "/tickets".to_owned(), "POST"),
            (Method::GET, format!("/tickets/{id}/close"), "POST"),
        ] {
            let reply = stack.ask(Who::Dispatcher, method, path).send().await;
            reply.no_attempt(ErrorCode::MethodNotAllowed);
            let allow = reply.header("allow").unwrap_or_default();
            assert!(allow.contains(allowed), "{allow:?}");
        }
    });
}

#[test]
fn every_command_reads_its_body_strictly() {
    with_api(async |stack| {
        let token = Who::Dispatcher.token(stack.tenant());
        let job = Job::at(&stack, stack.tenant(), TicketState::New).await;
        let before = Footprint::take(stack.admin()).await;
        let nobodys = ApprovalId::from_uuid(Uuid::now_v7()).to_string();
        for operation in ROUTED.iter().chain(FILINGS) {
            let named = match operation.path() {
                path if path.starts_with("/approvals/") => nobodys.clone(),
                path if path.starts_with("/tenants/") => stack.tenant().id.to_string(),
                _ => job.id().to_string(),
            };
            let path = operation.path().replace("{id}", &named);
            let ask = |body: &Value| {
                let post = stack.http().post(&path).token(&token);
                post.key(key()).json(body)
            };
            let unknown = ask(&json!({ "no_such_member": 1 })).send().await;
            let problem = unknown.no_attempt(ErrorCode::Malformed);
            assert!(!problem.errors.is_empty(), "{operation}");
            ask(&json!([]))
                .send()
                .await
                .no_attempt(ErrorCode::Malformed);
        }
        assert_eq!(before.changes(stack.admin()).await, [""; 0]);
    });
}
