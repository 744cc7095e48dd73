//! `auth`: what it costs to know who calls, of what a command costs under the load of R1. A command's
//! CPU is that of dispatch-api and Postgres, as R1b counts it. Authentication's is that of one thread
//! which asks the program's own `Authenticator` beside the same load, with a token of our own and with
//! those of two issuers whose keys are published on this machine.
//!
//! Callers send one token for minutes, and the fact that a key signed it is remembered, so the figure is
//! that of a token which was seen before; what the first time costs stands beside it.

use std::{
    collections::BTreeMap,
    hint::black_box,
    sync::{Arc, mpsc},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use api::{
    Secret, TokenConfig,
    identity::{Algorithm, Authenticator, ClaimNames, IssuerConfig, KeysAt, Tenants, mint},
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use chrono::Utc;
use contracts::{ActorKind, Role, Slug, TenantId, actor::TokenClaims};
use futures::executor::block_on;
use jsonwebtoken::{EncodingKey, crypto::sign, jwk::Jwk};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    runtime::Handle,
};
use url::Url;
use uuid::Uuid;

use crate::{
    bench::Bench,
    cpu,
    life::{self, Step},
    load,
    report::{Good, Line, number},
    service::Service,
    stats::interleaved,
};

const CLIENTS: usize = 32;
const SECRET: &str = "bench-only-0123456789abcdef0123456789abcdef";
const AUDIENCE: &str = "bench";
/// Tokens of each kind in a batch, and how often each is shown once it is known.
const TOKENS: usize = 16;
const AGAIN: usize = 50;
/// Between two batches, so that the thread takes little from the load that it shares the cores with.
const PAUSE: Duration = Duration::from_millis(50);

/// Who signs.
#[derive(Clone, Copy)]
enum Signer {
    Own,
    Rsa,
    Elliptic,
}

const SIGNERS: [Signer; 3] = [Signer::Own, Signer::Rsa, Signer::Elliptic];

impl Signer {
    fn name(self) -> &'static str {
        match self {
            Self::Own => "HS256 of our own",
            Self::Rsa => "RS256, seen before",
            Self::Elliptic => "ES256, seen before",
        }
    }

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

/// Who is trusted, and what each calls itself.
struct Known {
    authenticator: Authenticator,
    issuers: [String; 3],
}

impl Known {
    async fn start() -> Result<Self> {
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
        })?;
        let issuers = issuers.try_into().ok().context("three issuers")?;
        let known = Self {
            authenticator,
            issuers,
        };
        // The first of each has its keys fetched.
        for (signer, issuer) in SIGNERS.iter().zip(&known.issuers) {
            let token = signer.token(issuer)?;
            let found = known.authenticator.authenticate(&token, Utc::now()).await;
            found.with_context(|| format!("a token of {issuer}"))?;
        }
        Ok(known)
    }

    fn ask(&self, token: &str) -> Result<()> {
        black_box(block_on(
            self.authenticator
                .authenticate(black_box(token), Utc::now()),
        )?);
        Ok(())
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

/// CPU microseconds of one authentication by each signer: seen before, and the first time.
struct Cost {
    seen: [f64; 3],
    first: [f64; 3],
}

/// Measures it.
pub async fn run(bench: &Bench) -> Result<Vec<Line>> {
    let life = Arc::new(life::short(Utc::now())?);
    let known = Arc::new(Known::start().await?);
    let database = bench.database("auth").await?;
    let postgres = bench.servers.postgres_pid()?;
    let service = Service::start(&database, CLIENTS as u32).await?;
    let time = bench.settings.round_time();
    load::play(service.address, &life, CLIENTS, time).await?;
    let mut first = [0.0; 3];
    let rounds = interleaved(
        "auth (CPU µs: HS256, RS256, ES256; a command)",
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
            Ok([all / done.commands as f64 * 1e6; 3])
        },
    )
    .await?;
    service.stop().await?;
    database.close().await;
    let lines = SIGNERS.iter().zip(&rounds).zip(first);
    let lines = lines.map(|((signer, rounds), first)| Line {
        id: "auth",
        what: format!(
            "authentication's share of a command's CPU, {}",
            signer.name()
        ),
        ours: format!("{} µs", number(rounds.ours())),
        baseline: format!("dispatch-api + Postgres {} µs", number(rounds.baseline())),
        figure: rounds.ratio(),
        unit: "",
        good: Good::AtMost,
        floor: 0.05,
        goal: 0.05,
        notes: match signer {
            Signer::Own => Vec::new(),
            Signer::Rsa | Signer::Elliptic => vec![format!(
                "once for each token its signature is checked: {} µs, {} of a command",
                number(first),
                number(first / rounds.baseline()),
            )],
        },
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
    let (stop, stopped) = mpsc::channel::<()>();
    let handle = Handle::current();
    let thread = tokio::task::spawn_blocking(move || -> Result<Cost> {
        // Keys that have grown old are renewed on the runtime.
        let _entered = handle.enter();
        let (mut seen, mut first, mut batches) = ([0.0; 3], [0.0; 3], 0_u32);
        // Until the sender is gone.
        while stopped.recv_timeout(PAUSE) == Err(mpsc::RecvTimeoutError::Timeout) {
            for (at, signer) in SIGNERS.iter().enumerate() {
                let tokens = (0..TOKENS).map(|_| signer.token(&known.issuers[at]));
                let tokens = tokens.collect::<Result<Vec<_>>>()?;
                let begun = cpu::of_thread()?;
                for token in &tokens {
                    known.ask(token)?;
                }
                let all_known = cpu::of_thread()?;
                for token in (0..AGAIN).flat_map(|_| &tokens) {
                    known.ask(token)?;
                }
                first[at] += all_known - begun;
                seen[at] += cpu::of_thread()? - all_known;
            }
            batches += 1;
        }
        ensure!(batches > 0, "the load ended before the first batch");
        let each = |seconds: f64, times: usize| {
            seconds / (f64::from(batches) * (TOKENS * times) as f64) * 1e6
        };
        Ok(Cost {
            seen: seen.map(|seconds| each(seconds, AGAIN)),
            first: first.map(|seconds| each(seconds, 1)),
        })
    });
    let played = load::play(service.address, life, CLIENTS, time).await;
    drop(stop);
    let measured = thread.await??;
    played?;
    Ok(measured)
}
