//! The real router, in process. No database answers, so whatever gets as far as one is a 503: that
//! is how these tests see that a request passed all checks before it.

use std::{collections::BTreeSet, sync::Arc};

use axum::body::{Body, to_bytes};
use chrono::{DateTime, Utc};
use contracts::{Operation, Problem, ReadPermission, Role, actor::TokenClaims};
use http::{HeaderMap, Request, StatusCode, header};
use policy::{StarterBundles, Trust};
use serde_json::{Value, json};
use sqlx::postgres::PgPoolOptions;
use store::OutboxWaker;
use strum::VariantArray;
use tower::ServiceExt;

use super::*;
use crate::{
    PLAIN_PREFIX,
    bundles::Bundles,
    config::{Limits, Secret, Watched},
    cursor::CursorKeys,
    identity::{
        Authenticator, mint,
        tests::{SECRET, claims, config},
    },
    operations,
    pipeline::{Pipeline, PipelineOptions},
    request::ReadRequest,
};

const TICKET: &str = "tkt_00000000000000000000000000000001";
const SITE: &str = "sit_00000000000000000000000000000001";

fn app(limits: Limits) -> App {
    // Port 1 is nobody's: the connection is refused at once.
    let pool = PgPoolOptions::new()
        .acquire_timeout(std::time::Duration::from_millis(200))
        .connect_lazy("postgres://nobody@127.0.0.1:1/none")
        .unwrap();
    let starter = Arc::new(StarterBundles::new().unwrap());
    let bundles = Arc::new(Bundles::new(starter, Trust::Anybody));
    let waker = OutboxWaker::start((*pool.connect_options()).clone());
    let pipeline = Pipeline::new(
        pool.clone(),
        Arc::clone(&bundles),
        waker,
        PipelineOptions::default(),
    );
    App::new(
        pipeline,
        pool,
        bundles,
        Authenticator::new(&config()).unwrap(),
        limits,
        CursorKeys::new(&Secret::new(SECRET), []),
        Watched::default(),
    )
}

fn token(change: impl FnOnce(&mut TokenClaims, DateTime<Utc>)) -> String {
    let now = Utc::now();
    let mut claims = claims(now);
    change(&mut claims, now);
    mint(SECRET, &claims).unwrap()
}

struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Reply {
    fn problem(&self) -> Problem {
        assert_eq!(
            self.headers[header::CONTENT_TYPE],
            "application/problem+json"
        );
        let problem: Problem = serde_json::from_slice(&self.body).unwrap();
        assert_eq!(problem.status, self.status.as_u16());
        assert_eq!(problem.status, problem.code.status());
        assert_eq!(problem.type_uri, problem.code.type_uri());
        problem
    }

    fn code(&self) -> ErrorCode {
        self.problem().code
    }

    fn pointer(&self) -> String {
        self.problem().errors[0].pointer.clone()
    }
}

async fn send(router: Router, request: Request<Body>) -> Reply {
    let response = router.oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    Reply {
        status: parts.status,
        headers: parts.headers,
        body: to_bytes(body, usize::MAX).await.unwrap().to_vec(),
    }
}

async fn call(request: http::request::Builder, body: impl Into<Body>) -> Reply {
    send(
        router(app(Limits::default())),
        request.body(body.into()).unwrap(),
    )
    .await
}

fn get(path: &str) -> http::request::Builder {
    Request::get(path).header("authorization", format!("Bearer {}", token(|_, _| {})))
}

/// A good command but for its body.
fn post(path: &str) -> http::request::Builder {
    Request::post(format!("{PREFIX}{path}"))
        .header("authorization", format!("Bearer {}", token(|_, _| {})))
        .header("content-type", "application/json")
        .header("idempotency-key", "k1")
}

fn create() -> Value {
    json!({ "site_id": SITE, "template": "emergency_glass" })
}

fn path_of(template: &str) -> String {
    let id = match template {
        path if path.contains("/approvals/{id}") => TICKET.replace("tkt_", "apr_"),
        path if path.contains("/tenants/{id}") => TICKET.replace("tkt_", "ten_"),
        _ => TICKET.to_owned(),
    };
    template.replace("{id}", &id)
}

#[tokio::test]
async fn every_operation_but_the_public_ones_asks_for_a_token() {
    let router = router(app(Limits::default()));
    let mut public = BTreeSet::new();
    for operation in operations() {
        let request = Request::builder()
            .method(operation.method.clone())
            .uri(path_of(&operation.path))
            .body(Body::empty())
            .unwrap();
        let reply = send(router.clone(), request).await;
        if operation.public {
            public.insert(operation.path.trim_start_matches(PREFIX).to_owned());
            assert_ne!(reply.status, 401, "{operation:?}");
        } else {
            assert_eq!(reply.code(), ErrorCode::Unauthenticated, "{operation:?}");
            assert_eq!(
                reply.headers["www-authenticate"],
                r#"Bearer realm="real-dispatch""#
            );
        }
    }
    assert_eq!(
        public,
        PUBLIC.iter().map(|path| (*path).to_owned()).collect()
    );
}

#[tokio::test]
async fn what_is_answered_behind_the_guard_is_for_its_caller_alone() {
    let router = router(app(Limits::default()));
    let mut guarded = 0;
    for operation in operations().into_iter().filter(|it| !it.public) {
        for authorization in [
            None,
            Some("Bearer nobody".to_owned()),
            Some(format!("Bearer {}", token(|_, _| {}))),
        ] {
            let mut request = Request::builder()
                .method(operation.method.clone())
                .uri(path_of(&operation.path));
            if let Some(authorization) = &authorization {
                request = request.header("authorization", authorization);
            }
            let reply = send(router.clone(), request.body(Body::empty()).unwrap()).await;
            for (name, value) in [
                ("cache-control", "no-store"),
                ("vary", "authorization, dispatch-tenant"),
                ("x-content-type-options", "nosniff"),
            ] {
                let said: Vec<_> = reply.headers.get_all(name).iter().collect();
                assert_eq!(said, [value], "{name} of {operation:?}, {}", reply.status);
            }
        }
        guarded += 1;
    }
    assert!(guarded > 80, "{guarded}");
}

#[tokio::test]
async fn every_operation_is_the_same_under_both_prefixes() {
    let router = router(app(Limits::default()));
    for operation in operations() {
        let below = path_of(operation.path.strip_prefix(PREFIX).unwrap());
        for authorization in [None, Some(format!("Bearer {}", token(|_, _| {})))] {
            let ask = async |prefix: &str| {
                let mut request = Request::builder()
                    .method(operation.method.clone())
                    .uri(format!("{prefix}{below}"));
                if let Some(authorization) = &authorization {
                    request = request.header("authorization", authorization);
                }
                let reply = send(router.clone(), request.body(Body::empty()).unwrap()).await;
                let code = (!reply.status.is_success() && !operation.public).then(|| reply.code());
                (reply.status, code)
            };
            let (versioned, plain) = (ask(PREFIX).await, ask(PLAIN_PREFIX).await);
            assert_eq!(versioned, plain, "{operation:?}");
            assert_ne!(plain.0, StatusCode::METHOD_NOT_ALLOWED, "{operation:?}");
            // What answers 404 here has no such id; what is no route says so.
            assert_ne!(plain.1, Some(ErrorCode::NotFound), "{operation:?}");
        }
    }
    for nowhere in [
        "/api/nowhere",
        "/api/v1/nowhere",
        "/api",
        "/api/v1",
        "/tickets",
    ] {
        let reply = call(get(nowhere), "").await;
        assert_eq!(reply.code(), ErrorCode::NotFound, "{nowhere}");
    }
}

#[tokio::test]
async fn each_prefix_has_the_document_of_its_own_paths() {
    let document = async |prefix: &str| -> Value {
        let reply = call(Request::get(format!("{prefix}/openapi.json")), "").await;
        serde_json::from_slice(&reply.body).unwrap()
    };
    let (mut versioned, mut plain) = (document(PREFIX).await, document(PLAIN_PREFIX).await);
    assert_eq!(document("").await, versioned);
    let paths = |document: &mut Value, prefix: &str| {
        let paths = document["paths"].take();
        let Value::Object(paths) = paths else {
            panic!("paths are an object");
        };
        let below = |path: String| path.strip_prefix(prefix).unwrap().to_owned();
        let paths = paths.into_iter().map(|(path, item)| (below(path), item));
        paths.collect::<std::collections::BTreeMap<_, _>>()
    };
    assert_eq!(
        paths(&mut versioned, PREFIX),
        paths(&mut plain, PLAIN_PREFIX)
    );
    assert_eq!(versioned, plain, "all but the paths");
}

#[tokio::test]
async fn a_bad_token_is_refused_with_a_challenge_and_nothing_more() {
    let expired = token(|claims, now| {
        claims.iat = now.timestamp() - 900;
        claims.exp = now.timestamp() - 300;
    });
    for (authorization, error) in [
        (format!("Bearer {expired}"), "invalid_token"),
        ("Bearer x.y.z".to_owned(), "invalid_token"),
        ("Bearer ".to_owned(), "invalid_token"),
        ("Basic dTpw".to_owned(), "invalid_request"),
        ("Bearer".to_owned(), "invalid_request"),
    ] {
        let request =
            Request::post(format!("{PREFIX}/tickets")).header("authorization", &authorization);
        let reply = call(request, "not even JSON").await;
        assert_eq!(reply.code(), ErrorCode::Unauthenticated, "{authorization}");
        let challenge = reply.headers["www-authenticate"].to_str().unwrap();
        assert!(
            challenge.starts_with(&format!("Bearer error=\"{error}\"")),
            "{challenge}"
        );
    }
    let twice = get("/api/v1/tickets").header("authorization", "Bearer x.y.z");
    assert_eq!(call(twice, "").await.code(), ErrorCode::Unauthenticated);
}

#[tokio::test]
async fn a_good_request_gets_as_far_as_the_database() {
    for reply in [
        call(post("/tickets"), create().to_string()).await,
        call(
            post("/tickets").uri(format!("{PREFIX}/tickets?dry_run=true")),
            create().to_string(),
        )
        .await,
        call(post(&format!("/tickets/{TICKET}/tech/check-in")), "{}").await,
        call(get(&format!("{PREFIX}/tickets/{TICKET}")), "").await,
        call(get(&format!("{PREFIX}/tickets?state=NEW&limit=200")), "").await,
    ] {
        assert_eq!(reply.code(), ErrorCode::Unavailable);
        assert!(reply.headers.contains_key("retry-after"));
        let text = String::from_utf8(reply.body).unwrap();
        assert!(
            !text.contains("127.0.0.1") && !text.contains("refused"),
            "{text}"
        );
    }
}

#[tokio::test]
async fn every_command_refuses_what_is_not_its_body() {
    let router = router(app(Limits::default()));
    let commands: Vec<_> = operations()
        .into_iter()
        .filter(|o| o.command.is_some())
        .collect();
    // One may have two places; none has none.
    let distinct: BTreeSet<_> = commands.iter().filter_map(|o| o.command).collect();
    assert_eq!(distinct.len(), Operation::VARIANTS.len());
    for operation in commands {
        let path = path_of(operation.path.trim_start_matches(PREFIX));
        let unknown = post(&path)
            .body(Body::from(r#"{"no_such_member":1}"#))
            .unwrap();
        let reply = send(router.clone(), unknown).await;
        assert_eq!(reply.code(), ErrorCode::Malformed, "{path}");
        // A body that lacks members may be told so first.
        assert!(reply.pointer().starts_with('/'), "{path}");
        for body in ["", "[]", "null", "{", "{}{}"] {
            let reply = send(router.clone(), post(&path).body(Body::from(body)).unwrap()).await;
            assert_eq!(reply.code(), ErrorCode::Malformed, "{path} {body}");
        }
    }
}

#[tokio::test]
async fn bodies_are_bounded_in_size_depth_and_kind() {
    let huge = format!(r#"{{"site_id":"{}"}}"#, "x".repeat(300 * 1024));
    let reply = call(post("/tickets"), huge).await;
    assert_eq!(reply.code(), ErrorCode::TooLarge);
    assert_eq!(reply.problem().meta["limit_bytes"], 256 * 1024);

    let deep = format!(r#"{{"details":{}{}}}"#, "[".repeat(40), "]".repeat(40));
    assert_eq!(
        call(post("/tickets"), deep).await.code(),
        ErrorCode::Malformed
    );

    let twice = format!(r#"{{"site_id":"{SITE}","site_id":"{SITE}","template":"x"}}"#);
    let reply = call(post("/tickets"), twice).await;
    assert_eq!(
        (reply.code(), reply.pointer().as_str()),
        (ErrorCode::Malformed, "/site_id")
    );

    let plain = post("/tickets").header("content-type", "text/plain");
    assert_eq!(
        call(plain, "{}").await.code(),
        ErrorCode::UnsupportedMediaType
    );
    let zipped = post("/tickets").header("content-encoding", "gzip");
    assert_eq!(
        call(zipped, "{}").await.code(),
        ErrorCode::UnsupportedMediaType
    );
}

#[tokio::test]
async fn a_wrong_value_is_told_with_its_place() {
    let mut body = create();
    body["template"] = "No Slug".into();
    let reply = call(post("/tickets"), body.to_string()).await;
    assert_eq!(
        (reply.code(), reply.pointer().as_str()),
        (ErrorCode::InvalidField, "/template")
    );
}

#[tokio::test]
async fn paths_queries_and_headers_are_read_strictly() {
    let foreign_kind = format!("/tickets/{SITE}/tech/check-in");
    for request in [
        post(&foreign_kind),
        post("/tickets/%ff/tech/check-in"),
        post("/tickets?dry_run=1"),
        post("/tickets?dry=true"),
        post("/tickets?dry_run=true&dry_run=true"),
        post("/tickets").header("idempotency-key", "k1"),
        post("/tickets").header("if-match", "*"),
        post("/tickets").header("x-correlation-id", "two words"),
        post("/tickets").header("x-tool-name", ""),
        get("/api/v1/tickets?limit=0"),
        get("/api/v1/tickets?limit=201"),
        get("/api/v1/tickets?state=new"),
        get("/api/v1/tickets?site_id=1"),
        get("/api/v1/tickets?colour=red"),
        get("/api/v1/tickets/1"),
    ] {
        let reply = call(request, "{}").await;
        assert_eq!(reply.code(), ErrorCode::InvalidParameter);
    }
    let no_id = Request::post(format!("{PREFIX}/tickets"))
        .header("authorization", format!("Bearer {}", token(|_, _| {})))
        .header("content-type", "application/json");
    assert_eq!(
        call(no_id, create().to_string()).await.code(),
        ErrorCode::RequestIdMissing
    );
}

/// A handler that would tell rows to anybody.
async fn careless(request: ReadRequest) -> Result<String, Failure> {
    let tx = request.open().await?;
    tx.commit().await?;
    Ok("rows".to_owned())
}

#[tokio::test]
async fn a_read_whose_route_needs_nothing_opens_nothing() {
    let route = || axum::routing::get(careless);
    let (nothing, tickets) = ("/nothing", "/something");
    let endpoints = vec![
        Endpoint::read::<String>("nothing", nothing, route()),
        Endpoint::read::<String>("something", tickets, route()).needs(ReadPermission::Tickets),
    ];
    let router = assemble(app(Limits::default()), endpoints);
    for (path, code) in [
        (nothing, ErrorCode::Internal),
        // As far as the database, which says who may.
        (tickets, ErrorCode::Unavailable),
    ] {
        let request = get(&format!("{PREFIX}{path}")).body(Body::empty()).unwrap();
        assert_eq!(send(router.clone(), request).await.code(), code, "{path}");
    }
}

#[tokio::test]
async fn there_is_no_other_path_and_no_other_method() {
    for path in [
        "/",
        "/api/v1",
        "/api/v1/tickets/",
        "/api/v2/tickets",
        "/health/../api/v1/tickets",
        "//health",
    ] {
        assert_eq!(
            call(get(path), "").await.code(),
            ErrorCode::NotFound,
            "{path}"
        );
    }
    let reply = call(Request::delete(format!("{PREFIX}/tickets")), "").await;
    assert_eq!(reply.code(), ErrorCode::MethodNotAllowed);
    let allowed: BTreeSet<_> = reply.headers["allow"]
        .to_str()
        .unwrap()
        .split(',')
        .collect();
    assert_eq!(allowed, ["GET", "POST"].into());
    let reply = call(Request::post("/health"), "").await;
    assert_eq!(reply.code(), ErrorCode::MethodNotAllowed);
    assert_eq!(reply.headers["allow"], "GET,HEAD");
}

/// What was read would be on record as read, and nobody has seen it.
#[tokio::test]
async fn nothing_behind_the_guard_is_read_without_being_answered() {
    let router = router(app(Limits::default()));
    let head = async |path: &str| {
        let request = get(path).method("HEAD").body(Body::empty()).unwrap();
        send(router.clone(), request).await
    };
    let mut guarded = 0;
    for operation in operations() {
        if operation.method != Method::GET {
            continue;
        }
        let below = path_of(operation.path.strip_prefix(PREFIX).unwrap());
        for prefix in PREFIXES {
            let path = format!("{prefix}{below}");
            let reply = head(&path).await;
            assert_eq!(reply.body, b"", "{path}");
            if operation.public {
                assert_ne!(reply.status, StatusCode::METHOD_NOT_ALLOWED, "{path}");
                continue;
            }
            assert_eq!(reply.status, StatusCode::METHOD_NOT_ALLOWED, "{path}");
            let media_type = &reply.headers[header::CONTENT_TYPE];
            assert_eq!(media_type, "application/problem+json", "{path}");
            let allowed = reply.headers["allow"].to_str().unwrap();
            let mut allowed = allowed.split(',');
            assert!(allowed.clone().any(|method| method == "GET"), "{path}");
            assert!(allowed.all(|method| method != "HEAD"), "{path}");
            guarded += 1;
        }
    }
    assert!(guarded > 80, "{guarded}");
    assert_eq!(head("/health/live").await.status, 200);
    assert_eq!(head("/api/v1/openapi.json").await.status, 200);
}

#[tokio::test]
async fn every_answer_names_its_trace_and_conversation() {
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let request = get("/nowhere")
        .header("x-correlation-id", "case-7")
        .header("traceparent", format!("00-{trace}-00f067aa0ba902b7-01"));
    let reply = call(request, "").await;
    assert_eq!(reply.headers["x-correlation-id"], "case-7");
    assert!(
        reply.headers["traceparent"]
            .to_str()
            .unwrap()
            .contains(trace)
    );
    let reply = call(get("/nowhere"), "").await;
    assert_eq!(reply.headers["x-correlation-id"].len(), 36);
}

#[tokio::test]
async fn the_process_lives_without_a_database_but_is_not_ready() {
    for prefix in ["", PREFIX, PLAIN_PREFIX] {
        let ask = async |path: &str| {
            let reply = call(Request::get(format!("{prefix}{path}")), "").await;
            (
                reply.status.as_u16(),
                serde_json::from_slice::<Value>(&reply.body).unwrap(),
            )
        };
        assert_eq!(ask("/health/live").await.0, 200);
        for path in ["/health", "/health/ready"] {
            let (status, health) = ask(path).await;
            assert_eq!((status, &health["status"]), (503, &json!("unavailable")));
            assert_eq!(health["parts"]["database"], "cannot be reached");
        }
        assert_eq!(ask("/openapi.json").await.1["openapi"], "3.1.0");
    }
}

#[tokio::test]
async fn a_panic_is_an_internal_problem_and_says_nothing() {
    let app = app(Limits::default());
    let bomb = Endpoint::read::<String>("bomb", "/bomb", axum::routing::get(bomb));
    let reply = send(
        assemble(app, vec![bomb]),
        get("/api/v1/bomb").body(Body::empty()).unwrap(),
    )
    .await;
    assert_eq!(reply.code(), ErrorCode::Internal);
    assert!(!String::from_utf8(reply.body).unwrap().contains("secret"));
}

async fn bomb() -> &'static str {
    panic!("the secret cause")
}

#[tokio::test]
async fn a_full_house_sends_callers_away_but_answers_probes() {
    let limits = Limits {
        in_flight: 0,
        ..Limits::default()
    };
    let router = router(app(limits));
    let reply = send(
        router.clone(),
        get("/api/v1/tickets").body(Body::empty()).unwrap(),
    )
    .await;
    assert_eq!(reply.code(), ErrorCode::Unavailable);
    let probe = Request::get("/health/live").body(Body::empty()).unwrap();
    assert_eq!(send(router, probe).await.status, 200);
}

#[tokio::test]
async fn metrics_have_bounded_labels() {
    let app = app(Limits::default());
    let router = router(app.clone());
    for (method, path) in [
        ("BREW", "/coffee/1"),
        ("GET", "/coffee/2"),
        ("POST", "/api/v1/tickets"),
        ("POST", "/api/tickets"),
    ] {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .body(Body::empty())
            .unwrap();
        send(router.clone(), request).await;
    }
    let scrape = Request::get("/metrics").body(Body::empty()).unwrap();
    let text = String::from_utf8(send(metrics_router(app), scrape).await.body).unwrap();
    for line in [
        r#"dispatch_http_requests_total{method="other",route="unmatched",status="404"} 1"#,
        r#"dispatch_http_requests_total{method="GET",route="unmatched",status="404"} 1"#,
        r#"dispatch_http_requests_total{method="POST",route="/api/v1/tickets",status="401"} 2"#,
        r#"dispatch_commands_total{code="UNAUTHENTICATED",operation="create_ticket"} 2"#,
        "dispatch_http_in_flight 0",
        r#"dispatch_db_connections{state="in_use"} 0"#,
    ] {
        assert!(text.contains(line), "no `{line}` in\n{text}");
    }
    assert!(!text.contains("coffee"));
}

#[tokio::test]
async fn a_cursor_that_nobody_was_given_does_not_get_as_far_as_the_database() {
    let lists: Vec<_> = endpoints()
        .into_iter()
        .filter(|endpoint| endpoint.parameters.iter().any(|p| p.name == "cursor"))
        .collect();
    assert!(lists.len() >= 10, "{}", lists.len());
    let everybody = token(|claims, _| claims.roles = Role::VARIANTS.iter().copied().collect());
    for list in lists {
        let path = path_of(&list.path);
        // As `store` makes them; and as a caller would who had seen one.
        for cursor in ["7401020304", &"A".repeat(80)] {
            let request = Request::get(format!("{path}?cursor={cursor}"))
                .header("authorization", format!("Bearer {everybody}"));
            let reply = call(request, "").await;
            // Where a permission is asked of the database first, that is as good.
            if reply.code() != ErrorCode::Unavailable {
                assert_eq!(reply.code(), ErrorCode::InvalidParameter, "{path}");
                assert_eq!(reply.problem().meta["parameter"], "cursor", "{path}");
            }
        }
    }
}

#[tokio::test]
async fn an_address_is_bounded() {
    let long = "x".repeat(4 * 1024);
    for request in [
        get(&format!("/api/v1/tickets?q={long}")),
        get(&format!("/api/v1/{long}")),
        Request::get(format!("/health?{long}")),
    ] {
        let reply = call(request, "").await;
        assert_eq!(reply.code(), ErrorCode::UriTooLong);
        assert_eq!(reply.problem().meta["limit_bytes"], 4 * 1024);
    }
}

#[tokio::test]
async fn a_problem_names_its_request() {
    let given = call(post("/tickets"), create().to_string()).await;
    assert_eq!(given.problem().request_id.as_deref(), Some("k1"));
    let mut body = create();
    body["request_id"] = json!("k2");
    body["template"] = json!("No Slug");
    let in_body = Request::post(format!("{PREFIX}/tickets"))
        .header("authorization", format!("Bearer {}", token(|_, _| {})))
        .header("content-type", "application/json");
    let in_body = call(in_body, body.to_string()).await;
    assert_eq!(in_body.problem().request_id.as_deref(), Some("k2"));
    let assigned = async || {
        let reply = call(Request::get("/api/v1/nowhere"), "").await;
        reply.problem().request_id.unwrap()
    };
    assert_ne!(assigned().await, assigned().await);
    let head = Request::head("/api/v1/nowhere");
    let reply = call(head, "").await;
    assert_eq!((reply.status.as_u16(), reply.body.len()), (404, 0));
}

#[tokio::test]
async fn pages_for_people_are_at_every_prefix_and_load_nothing_from_elsewhere() {
    for prefix in ["", PREFIX, PLAIN_PREFIX] {
        let ask = async |path: &str| call(Request::get(format!("{prefix}{path}")), "").await;
        for path in ["/docs", "/problems", "/problems/VERSION_CONFLICT"] {
            let reply = ask(path).await;
            assert_eq!(reply.status, 200, "{path}");
            assert!(
                reply.headers["content-security-policy"]
                    .to_str()
                    .unwrap()
                    .starts_with("default-src 'none'")
            );
            assert!(
                !String::from_utf8(reply.body).unwrap().contains("://"),
                "{path}"
            );
        }
        for file in [
            "swagger-ui.css",
            "swagger-ui-bundle.js",
            "start.js",
            "page.css",
        ] {
            assert_eq!(ask(&format!("/docs/{file}")).await.status, 200, "{file}");
        }
        for nothing in ["/docs/x.js", "/docs/%ff", "/problems/version_conflict"] {
            assert_eq!(ask(nothing).await.code(), ErrorCode::NotFound, "{nothing}");
        }
    }
    // The page that a problem names is there.
    let problem = call(Request::get("/api/v1/tickets"), "").await.problem();
    assert_eq!(call(Request::get(problem.type_uri), "").await.status, 200);
}

#[tokio::test]
async fn an_answer_that_is_late_is_not_waited_for() {
    let limits = Limits {
        request_timeout: std::time::Duration::from_millis(20),
        ..Limits::default()
    };
    let never = Endpoint::read::<String>("never", "/never", axum::routing::get(never));
    let request = get("/api/v1/never").body(Body::empty()).unwrap();
    let reply = send(assemble(app(limits), vec![never]), request).await;
    assert_eq!(reply.code(), ErrorCode::Unavailable);
    assert!(reply.headers.contains_key("retry-after"));
}

async fn never() -> &'static str {
    std::future::pending().await
}
