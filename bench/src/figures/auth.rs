//! `auth`: what it costs to know who calls, of what a command costs under the load of R1. A command's
//! CPU is that of dispatch-api and Postgres, as R1b counts it. Authentication's is that of one thread
//! which asks the program's own `Authenticator` beside the same load, with a token of our own, with
//! those of two issuers whose keys are published on this machine, and with an API key.
//!
//! Callers send one token for minutes, and the fact that a key signed it is remembered; an API key is
//! remembered for four seconds. So the figure is that of a credential which was seen before; what the
//! first time costs stands beside it. An API key's is that of the look into the database without
//! Postgres's part of it, which is among all that Postgres does under the load.

use std::{
    collections::BTreeMap,
    hint::black_box,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result};
use api::{
    Secret, TokenConfig,
    identity::{
        Algorithm, Authenticator, ClaimNames, IssuerConfig, KeysAt, NamedTenant, StoredKeys,
        Tenants, mint,
    },
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use chrono::{DateTime, TimeDelta, Utc};
use contracts::{ActorKind, Role, Slug, TenantId, actor::TokenClaims, service_account::ApiKeyText};
use futures::executor::block_on;
use jsonwebtoken::{EncodingKey, crypto::sign, jwk::Jwk};
use serde_json::{Value, json};
use sqlx::PgPool;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use url::Url;
use uuid::Uuid;

use crate::{
    bench::Bench,
    beside::beside,
    cpu, key,
    life::{self, Step},
    load,
    report::{Good, Line, number},
    servers::pool,
    service::Service,
    stats::interleaved,
};

const CLIENTS: usize = 32;
const SECRET: &str = "bench-only-0123456789abcdef0123456789abcdef";
const AUDIENCE: &str = "bench";
/// Tokens of each kind in a batch, or API keys, and how often each is shown once it is known.
const TOKENS: usize = 16;
const AGAIN: usize = 50;
/// Later than an API key is remembered: so much lies between two batches for whoever looks at keys.
const FORGOTTEN: TimeDelta = TimeDelta::seconds(5);

/// What callers show.
const CREDENTIALS: [&str; 4] = [
    "HS256 of our own",
    "RS256, seen before",
    "ES256, seen before",
    "API key, seen before",
];

/// Who signs.
#[derive(Clone, Copy)]
enum Signer {
    Own,
    Rsa,
    Elliptic,
}

const SIGNERS: [Signer; 3] = [Signer::Own, Signer::Rsa, Signer::Elliptic];

impl Signer {
    fn key(self) -> Result<EncodingKey> {
        Ok(match self {
            Self::Own => EncodingKey::from_secret(SECRET.as_bytes()),
            Self::Rsa => EncodingKey::from_rsa_pem(include_bytes!(
                "../../../api/src/identity/tests/keys/rsa_1.pem"
            ))?,
            Self::Elliptic => EncodingKey::from_ec_pem(include_bytes!(
                "../../../api/src/identity/tests/keys/p256_1.pem"
            ))?,
        })
    }

    fn algorithm(self) -> jsonwebtoken::Algorithm {
        match self {
            Self::Own => jsonwebtoken::Algorithm::HS256,
            Self::Rsa => jsonwebtoken::Algorithm::RS256,
            Self::Elliptic => jsonwebtoken::Algorithm::ES256,
        }
    }

    /// A token that was not seen before.
    fn token(self, issuer: &str) -> Result<String> {
        let now = Utc::now().timestamp();
        let sub = format!("usr_{}", Uuid::now_v7().simple());
        if let Self::Own = self {
            let claims = TokenClaims {
                iss: issuer.to_owned(),
                aud: AUDIENCE.into(),
                sub,
                iat: now,
                nbf: now,
                exp: now + 600,
                tenant: tenant(),
                kind: ActorKind::Person,
                roles: [Role::Dispatcher].into(),
                technician_id: None,
            };
            return Ok(mint(SECRET, &claims)?);
        }
        let header = json!({ "alg": self.algorithm(), "kid": "k1", "typ": "at+jwt" });
        let claims = json!({
            "iss": issuer, "aud": AUDIENCE, "sub": sub, "iat": now, "exp": now + 600,
            "roles": ["desk"], "scope": "openid profile email", "azp": "bench",
        });
        let part = |json: &Value| BASE64_URL_SAFE_NO_PAD.encode(json.to_string());
        let message = format!("{}.{}", part(&header), part(&claims));
        let signature = sign(message.as_bytes(), &self.key()?, self.algorithm())?;
        Ok(format!("{message}.{signature}"))
    }
}

fn tenant() -> TenantId {
    TenantId::from_uuid(Uuid::from_u128(7))
}

/// Who is trusted, what each calls itself, and the keys of an account.
struct Known {
    authenticator: Authenticator,
    issuers: [String; 3],
    keys: Vec<ApiKeyText>,
    batches: AtomicU32,
}

impl Known {
    async fn start(service: &Service, keys_in: PgPool) -> Result<Self> {
        let mut issuers = vec!["https://bench.test".to_owned()];
        let mut configs = Vec::new();
        for (signer, name, algorithm) in [
            (Signer::Rsa, "rsa", Algorithm::Rs256),
            (Signer::Elliptic, "elliptic", Algorithm::Es256),
        ] {
            let at = publish(signer).await?;
            let issuer = at.as_str().trim_end_matches('/').to_owned();
            issuers.push(issuer.clone());
            configs.push(IssuerConfig {
                name: Slug::new(name)?,
                issuer,
                audiences: vec![AUDIENCE.into()],
                algorithm,
                keys: KeysAt::Url(at),
                tenants: Tenants::One(tenant()),
                kinds: [ActorKind::Person].into(),
                default_kind: ActorKind::Person,
                roles: BTreeMap::from([("desk".to_owned(), vec![Role::Dispatcher])]),
                claims: ClaimNames::default(),
                max_lifetime: Duration::from_secs(86_400),
            });
        }
        let authenticator = Authenticator::new(&TokenConfig {
            secret: Secret::new(SECRET),
            issuer: issuers[0].clone(),
            audience: AUDIENCE.into(),
            leeway: Duration::from_secs(5),
            issuers: configs,
        })?
        .with_keys(Arc::new(StoredKeys::new(keys_in)));
        let account = json!({
            "code": "erp", "name": "Accounting", "kind": "integration", "roles": ["dispatcher"],
        });
        let issuers = issuers.try_into().ok().context("three issuers")?;
        let known = Self {
            authenticator,
            issuers,
            keys: key::keys(service.address, &account, TOKENS).await?,
            batches: AtomicU32::new(0),
        };
        // The first of each has its keys fetched.
        for (signer, issuer) in SIGNERS.iter().zip(&known.issuers) {
            let token = signer.token(issuer)?;
            let found = known.authenticator.authenticate(&token, Utc::now()).await;
            found.with_context(|| format!("a token of {issuer}"))?;
        }
        Ok(known)
    }

    fn ask(&self, credential: &str, now: DateTime<Utc>) -> Result<()> {
        let identify = self
            .authenticator
            .identify(black_box(credential), NamedTenant::None, now);
        black_box(block_on(identify)?);
        Ok(())
    }

    /// CPU seconds of showing these for the first time, and of all the times after.
    fn show(&self, credentials: &[&str], now: impl Fn() -> DateTime<Utc>) -> Result<[f64; 2]> {
        let begun = cpu::of_thread()?;
        for credential in credentials {
            self.ask(credential, now())?;
        }
        let all_known = cpu::of_thread()?;
        for credential in (0..AGAIN).flat_map(|_| credentials) {
            self.ask(credential, now())?;
        }
        Ok([all_known - begun, cpu::of_thread()? - all_known])
    }

    /// The same of each credential: first times, then all others.
    fn batch(&self) -> Result<[f64; 8]> {
        let mut parts = [0.0; 8];
        let mut put =
            |at: usize, [first, seen]: [f64; 2]| (parts[at], parts[4 + at]) = (first, seen);
        for (at, signer) in SIGNERS.iter().enumerate() {
            let tokens = (0..TOKENS).map(|_| signer.token(&self.issuers[at]));
            let tokens = tokens.collect::<Result<Vec<_>>>()?;
            let tokens: Vec<_> = tokens.iter().map(String::as_str).collect();
            put(at, self.show(&tokens, Utc::now)?);
        }
        let batches = self.batches.fetch_add(1, Ordering::Relaxed);
        let now = Utc::now() + FORGOTTEN * i32::try_from(batches)?;
        let keys: Vec<_> = self.keys.iter().map(ApiKeyText::expose).collect();
        put(SIGNERS.len(), self.show(&keys, || now)?);
        Ok(parts)
    }
}

/// Publishes a signer's keys on this machine for as long as the process runs.
async fn publish(signer: Signer) -> Result<Url> {
    let jwk = Jwk::from_encoding_key(&signer.key()?, signer.algorithm())?;
    let mut jwk = serde_json::to_value(jwk)?;
    jwk["kid"] = "k1".into();
    jwk["use"] = "sig".into();
    let body = json!({ "keys": [jwk] }).to_string();
    let answer = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncache-control: max-age=3600\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = [0; 4096];
            // Whoever asks is answered the same; one that has gone needs no answer.
            let _ = stream.read(&mut head).await;
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    Ok(Url::parse(&format!("http://{address}/"))?)
}

/// CPU microseconds of one authentication by each credential: seen before, and the first time.
struct Cost {
    seen: [f64; 4],
    first: [f64; 4],
}

/// Measures it.
pub async fn run(bench: &Bench) -> Result<Vec<Line>> {
    let life = Arc::new(life::short(Utc::now())?);
    let database = bench.database("auth").await?;
    let postgres = bench.servers.postgres_pid()?;
    let service = Service::start(&database, CLIENTS as u32).await?;
    let keys_in = pool(&database.addresses.app, 2).await?;
    let known = Arc::new(Known::start(&service, keys_in.clone()).await?);
    let time = bench.settings.round_time();
    load::play(service.address, &life, CLIENTS, time).await?;
    let mut first = [0.0; 4];
    let rounds = interleaved(
        "auth (CPU µs: HS256, RS256, ES256, API key; a command)",
        bench.settings.rounds,
        async |_| {
            let cost = under_load(&service, &life, time, &known).await?;
            first = cost.first;
            Ok(cost.seen)
        },
        async |_| {
            let own = || cpu::of_process(service.pid);
            let (own_before, before) = (own()?, cpu::of_family(postgres)?);
            let done = load::play(service.address, &life, CLIENTS, time).await?;
            let all = own()? - own_before + cpu::of_family(postgres)? - before;
            Ok([all / done.commands as f64 * 1e6; 4])
        },
    )
    .await?;
    service.stop().await?;
    keys_in.close().await;
    database.close().await;
    let lines = CREDENTIALS.iter().zip(&rounds).zip(first);
    let lines = lines.enumerate().map(|(at, ((name, rounds), first))| {
        let what = match at {
            0 => None,
            3 => Some("once in four seconds it is looked up: Postgres's part left out,"),
            _ => Some("once for each token its signature is checked:"),
        };
        let cost = number(first);
        let share = number(first / rounds.baseline());
        Line {
            id: "auth",
            what: format!("authentication's share of a command's CPU, {name}"),
            ours: format!("{} µs", number(rounds.ours())),
            baseline: format!("dispatch-api + Postgres {} µs", number(rounds.baseline())),
            figure: rounds.ratio(),
            unit: "",
            good: Good::AtMost,
            floor: 0.05,
            goal: 0.05,
            notes: what
                .map(|what| format!("{what} {cost} µs, {share} of a command"))
                .into_iter()
                .collect(),
        }
    });
    Ok(lines.collect())
}

/// What a thread beside the load needs.
async fn under_load(
    service: &Service,
    life: &Arc<Vec<Step>>,
    time: Duration,
    known: &Arc<Known>,
) -> Result<Cost> {
    let known = Arc::clone(known);
    let load = load::play(service.address, life, CLIENTS, time);
    let parts = beside(load, move || known.batch()).await?;
    let each = |at: usize, times: usize| parts[at] / (TOKENS * times) as f64 * 1e6;
    Ok(Cost {
        seen: std::array::from_fn(|at| each(4 + at, AGAIN)),
        first: std::array::from_fn(|at| each(at, 1)),
    })
}
