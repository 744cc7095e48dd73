//! What a request leaves in the log. In a process of its own, because a log has one reader.

use std::{
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::body::Body;
use chrono::Utc;
use contracts::{ActorKind, TenantId, actor::TokenClaims};
use dispatch_api::{
    App, CursorKeys, Limits, PREFIX, Secret, TokenConfig, Watched,
    bundles::Bundles,
    identity::{Authenticator, mint},
    pipeline::{Pipeline, PipelineOptions},
    router,
};
use http::Request;
use policy::{StarterBundles, Trust};
use serde_json::{Value, json};
use sqlx::postgres::PgPoolOptions;
use store::OutboxWaker;
use tower::ServiceExt;

const SECRET: &str = "0123456789abcdef0123456789abcdef";

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

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
    let now = Utc::now().timestamp();
    let claims = TokenClaims {
        iss: "issuer".into(),
        aud: "audience".into(),
        sub: "usr_1".into(),
        iat: now,
        nbf: now,
        exp: now + 600,
        tenant: TenantId::from_uuid(uuid::Uuid::from_u128(7)),
        kind: ActorKind::Person,
        roles: [].into(),
        technician_id: None,
    };
    mint(SECRET, &claims).unwrap()
}

#[tokio::test]
async fn the_line_names_the_request_and_holds_nothing_of_its_content() {
    let log = Log::default();
    let writer = log.clone();
    tracing_subscriber::fmt()
        .json()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .init();
    let token = token();
    let body = json!({
        "site_id": "sit_00000000000000000000000000000001",
        "template": "emergency_glass",
        "description": "canary in the body",
    });
    let request = Request::post(format!("{PREFIX}/tickets?dry_run=false"))
        .header("authorization", format!("Bearer {token}"))
        .header("content-type", "application/json")
        .header("idempotency-key", "k1")
        .header("x-correlation-id", "case-7")
        .body(Body::from(body.to_string()))
        .unwrap();
    router(app()).oneshot(request).await.unwrap();

    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(!text.contains("canary") && !text.contains(&token), "{text}");
    let line = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .find(|line| line["fields"]["route"].is_string())
        .expect("one line about the request");
    let fields = &line["fields"];
    for (name, value) in [
        ("method", json!("POST")),
        ("route", json!("/api/v1/tickets")),
        ("status", json!(503)),
        ("code", json!("UNAVAILABLE")),
        ("request_id", json!("k1")),
        ("correlation_id", json!("case-7")),
        ("tenant", json!("ten_00000000000000000000000000000007")),
        ("actor_id", json!("usr_1")),
    ] {
        assert_eq!(fields[name], value, "{name} in {line}");
    }
    assert_eq!(fields["trace_id"].as_str().map(str::len), Some(32));
    assert!(fields["ms"].is_u64());
}
