//! Tokens of a real OpenID provider, a certified one: what it issues opens what it was given, also
//! after its keys have changed, and while it is away.

use std::{collections::BTreeMap, time::Duration};

use api::identity::{Algorithm, ClaimName, ClaimNames, IssuerConfig, KeysAt, Tenants};
use contracts::{ActorKind, ErrorCode, Operation, Role, Slug, TenantId, TicketState};
use dispatch_tests::{
    job::Job,
    servers,
    stack::{ApiOptions, Stack},
};
use embedded::{Oidc, OidcProvider, OidcStart, process::free_port, required};
use serde_json::{Value, json};

const RESOURCE: &str = "https://dispatch.test/api";
const CLIENT: (&str, &str) = ("desk-7", "tests-only-0123456789abcdef0123456789abcdef");

struct Started {
    provider: OidcProvider,
    program: Oidc,
    algorithm: Algorithm,
    claims: String,
    log: tempfile::TempDir,
}

impl Started {
    async fn new(algorithm: Algorithm, port: u16, tenant: TenantId) -> Self {
        let program = servers::oidc().await;
        let log = tempfile::tempdir().unwrap();
        let claims = json!({ "org": tenant, "groups": ["field-desk", "everybody"] }).to_string();
        let provider = start(&program, algorithm, "first", port, &claims, &log).await;
        Self {
            provider,
            program,
            algorithm,
            claims,
            log,
        }
    }

    /// The same provider with another key: the one before is gone.
    async fn rotate(self) -> Self {
        let Self {
            provider,
            program,
            algorithm,
            claims,
            log,
        } = self;
        let port = provider.port();
        provider.shutdown().await;
        let provider = start(&program, algorithm, "second", port, &claims, &log).await;
        Self {
            provider,
            program,
            algorithm,
            claims,
            log,
        }
    }

    /// A token by client credentials (RFC 6749 §4.4) for our resource (RFC 8707).
    async fn token(&self) -> String {
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let issuer = self.provider.issuer();
        let document: Value = http
            .get(format!("{issuer}/.well-known/openid-configuration"))
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap();
        let resource: String = url::form_urlencoded::byte_serialize(RESOURCE.as_bytes()).collect();
        let answer: Value = http
            .post(document["token_endpoint"].as_str().unwrap())
            .basic_auth(CLIENT.0, Some(CLIENT.1))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(format!("grant_type=client_credentials&resource={resource}"))
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap();
        let token = answer["access_token"].as_str();
        token.unwrap_or_else(|| panic!("{answer}")).to_owned()
    }
}

async fn start(
    program: &Oidc,
    algorithm: Algorithm,
    kid: &str,
    port: u16,
    claims: &str,
    log: &tempfile::TempDir,
) -> OidcProvider {
    let start = OidcStart {
        algorithm: algorithm.as_ref(),
        kid,
        resource: RESOURCE,
        client: CLIENT,
        claims,
    };
    let log = log.path().join("provider.log");
    required(OidcProvider::start(program, &start, Some(port), &log).await)
}

/// How dispatch-api trusts a provider that will be at this port.
fn trusted(algorithm: Algorithm, port: u16) -> IssuerConfig {
    // As the program does; a second time is no matter.
    let _ = rustls::crypto::ring::default_provider().install_default();
    IssuerConfig {
        name: Slug::new("staff").unwrap(),
        issuer: format!("http://127.0.0.1:{port}"),
        audiences: vec![RESOURCE.to_owned()],
        algorithm,
        keys: KeysAt::Discovery,
        tenants: Tenants::Any,
        kinds: [ActorKind::Person].into(),
        default_kind: ActorKind::Person,
        roles: BTreeMap::from([("field-desk".to_owned(), vec![Role::Dispatcher])]),
        claims: ClaimNames {
            tenant: ClaimName::new("org"),
            roles: Some(ClaimName::new("groups")),
            ..ClaimNames::default()
        },
        max_lifetime: Duration::from_secs(3600),
    }
}

/// A system that trusts a provider, and the provider.
fn with_provider<F: Future<Output = ()>>(
    algorithm: Algorithm,
    test: impl FnOnce(Stack, Started) -> F + Send,
) {
    servers::run(async || {
        let port = free_port().unwrap();
        let options = ApiOptions {
            issuers: vec![trusted(algorithm, port)],
            ..ApiOptions::default()
        };
        let stack = Stack::api(options).await;
        let started = Started::new(algorithm, port, stack.tenant().id).await;
        test(stack.clone(), started).await;
        stack.verify().await;
        stack.end().await;
    });
}

async fn status(stack: &Stack, token: &str) -> u16 {
    let reply = stack.http().get("/tickets").token(token).send().await;
    reply.status.as_u16()
}

#[test]
fn a_person_of_a_provider_works_and_its_keys_rotate() {
    with_provider(Algorithm::Rs256, async |stack, started| {
        let job = Job::at(&stack, stack.tenant(), TicketState::New).await;
        let token = started.token().await;
        let body = job.body(Operation::Triage).await;
        let ask = stack
            .http()
            .command(Operation::Triage, Some(job.id()), &body);
        ask.token(&token).send().await.receipt();
        let kind: String = sqlx::query_scalar(
            "select actor_kind from audit_events where actor_id = 'staff:desk-7'",
        )
        .fetch_one(stack.admin())
        .await
        .unwrap();
        assert_eq!(kind, "person");

        // Another key, at once: the first token that names it finds it. What the old one signed is
        // no good any more.
        let started = started.rotate().await;
        let second = started.token().await;
        assert_eq!(status(&stack, &second).await, 200);
        assert_eq!(status(&stack, &token).await, 401);

        // The provider is away: who is known stays known.
        started.provider.shutdown().await;
        assert_eq!(status(&stack, &second).await, 200);
        // A process that never saw its keys cannot tell: that is no refusal.
        stack.stop_api().await;
        stack.start_api().await;
        let reply = stack.http().get("/tickets").token(&second).send().await;
        reply.problem(ErrorCode::Unavailable);
        assert!(reply.header("retry-after").is_some());
        assert!(reply.header("www-authenticate").is_none());
    });
}

#[test]
fn a_provider_signs_with_the_algorithm_that_it_is_pinned_to() {
    for algorithm in [Algorithm::Es256, Algorithm::EdDsa] {
        with_provider(algorithm, async |stack, started| {
            let token = started.token().await;
            assert_eq!(status(&stack, &token).await, 200, "{algorithm}");
        });
    }
    // One that signs with another than it is pinned to opens nothing.
    servers::run(async || {
        let port = free_port().unwrap();
        let options = ApiOptions {
            issuers: vec![trusted(Algorithm::Rs256, port)],
            ..ApiOptions::default()
        };
        let stack = Stack::api(options).await;
        let started = Started::new(Algorithm::Es256, port, stack.tenant().id).await;
        assert_eq!(status(&stack, &started.token().await).await, 401);
        stack.end().await;
    });
}
