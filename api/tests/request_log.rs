//! What a request leaves in the log: its own line with fields of a fixed list, whatever was sent, and
//! nothing anywhere of what people wrote or of what opens a door, as JSON and as text. In a process of
//! its own, because a log has one reader; at the level at which most is said.

use std::{
    collections::BTreeSet,
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Router, body::Body};
use chrono::Utc;
use contracts::{
    ActorKind, ErrorCode,
    actor::TokenClaims,
    service_account::{ApiKeyText, SECRET_CHARS},
};
use dispatch_api::{
    App, CursorKeys, Limits, PREFIX, Secret, TokenConfig, Watched,
    bundles::Bundles,
    identity::{Authenticator, mint},
    operations,
    pipeline::{Pipeline, PipelineOptions},
    router,
};
use futures::{StreamExt, stream};
use http::Request;
use policy::{StarterBundles, Trust};
use serde_json::{Value, json};
use sqlx::postgres::PgPoolOptions;
use store::OutboxWaker;
use tower::ServiceExt;
use tracing_subscriber::{filter::LevelFilter, fmt, prelude::*};

const SECRET: &str = "0123456789abcdef0123456789abcdef";
const TENANT: &str = "ten_00000000000000000000000000000007";

/// What callers write in these tests, wherever they can write something.
const CANARY: &str = "canary";

/// What a line about a request may say.
const FIELDS: [&str; 12] = [
    "actor_id",
    "api_key",
    "code",
    "correlation_id",
    "message",
    "method",
    "ms",
    "request_id",
    "route",
    "status",
    "tenant",
    "trace_id",
];

/// Headers that somebody may read, or a proxy or a collector may write.
const HEADERS: [&str; 34] = [
    "accept",
    "accept-language",
    "authorization",
    "baggage",
    "content-encoding",
    "content-type",
    "cookie",
    "dispatch-tenant",
    "forwarded",
    "from",
    "host",
    "idempotency-key",
    "if-match",
    "if-none-match",
    "origin",
    "prefer",
    "proxy-authorization",
    "referer",
    "tracestate",
    "traceparent",
    "user-agent",
    "via",
    "x-actor",
    "x-api-key",
    "x-correlation-id",
    "x-forwarded-for",
    "x-forwarded-user",
    "x-real-ip",
    "x-request-id",
    "x-roles",
    "x-tenant-id",
    "x-tool-name",
    "x-trace-id",
    "x-whatever",
];

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn read(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn app() -> App {
    let config = TokenConfig {
        secret: Secret::new(SECRET),
        issuer: "issuer".into(),
        audience: "audience".into(),
        leeway: Duration::from_secs(5),
        issuers: Vec::new(),
    };
    // Port 1 is nobody's: the command ends in a 503, which is logged like any other answer.
    let pool = PgPoolOptions::new()
        .acquire_timeout(Duration::from_millis(200))
        .connect_lazy("postgres://nobody@127.0.0.1:1/none")
        .unwrap();
    let starter = Arc::new(StarterBundles::new().unwrap());
    let bundles = Arc::new(Bundles::new(starter, Trust::Anybody));
    let waker = OutboxWaker::start((*pool.connect_options()).clone());
    let options = PipelineOptions::default();
    let pipeline = Pipeline::new(pool.clone(), bundles.clone(), waker, options);
    let authenticator = Authenticator::new(&config).unwrap();
    let (limits, watched) = (Limits::default(), Watched::default());
    let keys = CursorKeys::new(&config.secret, []);
    App::new(
        pipeline,
        pool,
        bundles,
        authenticator,
        limits,
        keys,
        watched,
    )
}

fn token() -> String {
    mint(SECRET, &claims_of("usr_1")).unwrap()
}

/// A good request but for the database, and for these headers in the place of its own.
fn request(method: &str, path: &str, body: &str, headers: &[(&str, &str)]) -> Request<Body> {
    let bearer = format!("Bearer {}", token());
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header("authorization", bearer)
        .header("content-type", "application/json")
        .header("idempotency-key", "k1")
        .header("x-correlation-id", "case-7")
        .body(Body::from(body.to_owned()))
        .unwrap();
    for (name, value) in headers {
        let name: http::HeaderName = name.parse().unwrap();
        request.headers_mut().insert(name, value.parse().unwrap());
    }
    request
}

/// Every string in it is what callers write; or, where nothing is refused for it, what people do.
fn written(body: &Value, everywhere: bool) -> Value {
    const PROSE: [&str; 7] = [
        "description",
        "name",
        "note",
        "phone",
        "raw",
        "street",
        "text",
    ];
    match body {
        Value::String(_) if everywhere => CANARY.into(),
        Value::Array(items) => items.iter().map(|it| written(it, everywhere)).collect(),
        Value::Object(members) => members
            .iter()
            .map(|(name, member)| {
                let prose = PROSE.contains(&name.as_str()) && member.is_string();
                let member = match prose {
                    true => format!("A {CANARY} sings.").into(),
                    false => written(member, everywhere),
                };
                (name.clone(), member)
            })
            .collect(),
        other => other.clone(),
    }
}

/// Bodies of all commands with what people write in them; good ones, and ones that are refused.
fn bodies() -> Vec<Request<Body>> {
    let examples: Value = serde_json::from_str(include_str!("../examples.json")).unwrap();
    let mut all = Vec::new();
    for operation in operations() {
        let below = operation.path.strip_prefix(PREFIX).unwrap();
        let kind = match below.split('/').nth(1) {
            Some("approvals") => "apr",
            Some("tenants") => "ten",
            _ => "tkt",
        };
        let id = format!("{kind}_{}", "0".repeat(32));
        let path = operation.path.replace("{id}", &id);
        let body = &examples[&operation.id]["request"];
        if operation.command.is_none() || !body.is_object() {
            continue;
        }
        let mut unknown = body.clone();
        unknown[CANARY] = CANARY.into();
        for body in [written(body, false), written(body, true), unknown] {
            all.push(request("POST", &path, &body.to_string(), &[]));
        }
    }
    assert!(all.len() > 100, "{} bodies", all.len());
    all
}

/// What else a caller writes.
fn elsewhere() -> Vec<Request<Body>> {
    let tickets = format!("{PREFIX}/tickets");
    let good =
        json!({ "site_id": "sit_00000000000000000000000000000001", "template": "emergency_glass" });
    let good = good.to_string();
    let mut all = Vec::new();
    for name in HEADERS {
        // The blank makes it no id: what is a good id of a request or a conversation is for the log.
        let value = format!("a {CANARY}");
        all.push(request("POST", &tickets, &good, &[(name, &value)]));
        all.push(request("GET", &tickets, "", &[(name, &value)]));
    }
    let key = ApiKeyText::assemble(
        &"CanaryCana".parse().unwrap(),
        &CANARY.repeat(8)[..SECRET_CHARS],
    );
    let key = key.unwrap();
    let parts: Vec<_> = token().split('.').map(str::to_owned).collect();
    let signed = mint("another secret that is long enough", &claims_of(CANARY)).unwrap();
    for credential in [
        format!("Bearer {}", key.expose()),
        format!("Bearer rdk_{CANARY}"),
        format!("Bearer {}.{}.{CANARY}", parts[0], parts[1]),
        format!("Bearer {signed}"),
        format!("Basic {CANARY}"),
        CANARY.to_owned(),
    ] {
        all.push(request(
            "GET",
            &tickets,
            "",
            &[("authorization", &credential)],
        ));
    }
    for (method, path) in [
        ("GET", format!("{tickets}?{CANARY}=1")),
        ("GET", format!("{tickets}?limit={CANARY}")),
        ("GET", format!("{tickets}?cursor={CANARY}")),
        ("GET", format!("{tickets}/{CANARY}")),
        ("GET", format!("{tickets}/{CANARY}/timeline?q={CANARY}")),
        ("GET", format!("{tickets}?access_token={CANARY}")),
        ("GET", format!("/{CANARY}")),
        ("GET", format!("{PREFIX}/problems/{CANARY}")),
        ("GET", format!("{PREFIX}/docs/{CANARY}")),
        ("DELETE", tickets.clone()),
        ("CANARY", tickets.clone()),
        ("CANARY", format!("/{CANARY}")),
    ] {
        all.push(request(method, &path, "", &[]));
    }
    for body in [
        CANARY.to_owned(),
        format!("{{\"{CANARY}\": 1, \"{CANARY}\": 2}}"),
        format!("\"{CANARY}\""),
        format!("{{\"request_id\": \"a {CANARY}\"}}"),
        format!("{{\"expected_version\": \"{CANARY}\"}}"),
    ] {
        all.push(request("POST", &tickets, &body, &[]));
    }
    all
}

fn claims_of(sub: &str) -> TokenClaims {
    let now = Utc::now().timestamp();
    TokenClaims {
        iss: "issuer".into(),
        aud: "audience".into(),
        sub: sub.into(),
        iat: now,
        nbf: now,
        exp: now + 600,
        tenant: TENANT.parse().unwrap(),
        kind: ActorKind::Person,
        roles: [].into(),
        technician_id: None,
    }
}

async fn send_all(router: &Router, all: Vec<Request<Body>>) {
    stream::iter(all)
        .for_each_concurrent(32, async |request| {
            router.clone().oneshot(request).await.unwrap();
        })
        .await;
}

#[tokio::test]
async fn the_line_names_the_request_and_holds_nothing_of_its_content() {
    let (json, text) = (Log::default(), Log::default());
    let (to_json, to_text) = (json.clone(), text.clone());
    tracing_subscriber::registry()
        .with(LevelFilter::TRACE)
        .with(fmt::layer().json().with_writer(move || to_json.clone()))
        .with(
            fmt::layer()
                .with_ansi(false)
                .with_writer(move || to_text.clone()),
        )
        .init();
    let router = router(app());
    let good = json!({
        "site_id": "sit_00000000000000000000000000000001", "template": "emergency_glass",
        "description": "A canary in the body.",
    });
    let path = format!("{PREFIX}/tickets?dry_run=false");
    send_all(
        &router,
        vec![request("POST", &path, &good.to_string(), &[])],
    )
    .await;
    let line = lines(&json).pop().expect("one line about the request");
    for (name, value) in [
        ("method", json!("POST")),
        ("route", json!("/api/v1/tickets")),
        ("status", json!(503)),
        ("code", json!("UNAVAILABLE")),
        ("request_id", json!("k1")),
        ("correlation_id", json!("case-7")),
        ("tenant", json!(TENANT)),
        ("actor_id", json!("usr_1")),
    ] {
        assert_eq!(line[name], value, "{name} in {line}");
    }
    assert_eq!(line["trace_id"].as_str().map(str::len), Some(32));
    assert!(line["ms"].is_u64());

    let (bodies, elsewhere) = (bodies(), elsewhere());
    let sent = bodies.len() + elsewhere.len() + 1;
    let mut secrets: Vec<_> = [&bodies, &elsewhere]
        .into_iter()
        .flatten()
        .filter_map(|request| request.headers()["authorization"].to_str().ok())
        .flat_map(|credential| credential.split([' ', '.', '_']))
        .filter(|part| part.len() > 20)
        .map(str::to_owned)
        .collect();
    secrets.push(SECRET.to_owned());
    send_all(&router, bodies).await;
    send_all(&router, elsewhere).await;

    for log in [&json, &text] {
        let log = log.read();
        let told = log.lines().find(|line| {
            let lower = line.to_lowercase();
            lower.contains(CANARY) || secrets.iter().any(|secret| line.contains(secret))
        });
        assert_eq!(told, None);
    }
    let lines = lines(&json);
    assert_eq!(lines.len(), sent, "each request has its line");
    let in_text = text.read();
    let in_text = in_text.lines().filter(|line| line.contains(" route="));
    assert_eq!(in_text.count(), sent);
    let routes: BTreeSet<_> = operations().into_iter().map(|it| it.path).collect();
    for line in &lines {
        for name in line.as_object().unwrap().keys() {
            assert!(FIELDS.contains(&name.as_str()), "{name} in {line}");
        }
        let said = |name: &str| line[name].as_str();
        let route = said("route").unwrap();
        assert!(routes.contains(route) || route == "unmatched", "{line}");
        let methods = [Some("GET"), Some("POST"), Some("DELETE"), Some("other")];
        assert!(methods.contains(&said("method")), "{line}");
        assert!(
            said("tenant").is_none_or(|tenant| tenant == TENANT),
            "{line}"
        );
        assert!(
            said("actor_id").is_none_or(|actor| actor == "usr_1"),
            "{line}"
        );
        let given = |id: &str| id == "k1" || uuid::Uuid::parse_str(id).is_ok();
        assert!(said("request_id").is_none_or(given), "{line}");
        assert!(said("api_key").is_none(), "no key was good: {line}");
        assert_eq!(said("trace_id").map(str::len), Some(32), "{line}");
        let code = said("code").map(str::parse::<ErrorCode>);
        assert!(code.is_none_or(|code| code.is_ok()), "{line}");
    }
}

/// The lines about requests.
fn lines(log: &Log) -> Vec<Value> {
    let log = log.read();
    let lines = log.lines();
    let lines = lines.map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines
        .map(|mut line| line["fields"].take())
        .filter(|fields| fields["route"].is_string())
        .collect()
}
