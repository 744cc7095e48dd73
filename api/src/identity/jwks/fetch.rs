//! Asks an issuer for its keys. Where they are comes from the configuration, or from the discovery
//! document at the configured issuer, and never from a token.

use std::time::Duration;

use http::header::CACHE_CONTROL;
use reqwest::{Client, Response, redirect::Policy};
use serde_json::Value;
use url::{Host, Url};

use super::{super::IssuerConfig, SetError};
use crate::request::json;

const CONNECT_BOUND: Duration = Duration::from_secs(2);
const ANSWER_BOUND: Duration = Duration::from_secs(5);
const MAX_BYTES: usize = 256 * 1024;
const MAX_DEPTH: usize = 16;
const WELL_KNOWN: &str = ".well-known/openid-configuration";

/// Where an issuer's keys are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeysAt {
    /// Where its discovery document says (OpenID Connect Discovery 1.0).
    Discovery,
    /// Here.
    Url(Url),
}

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// A place that nothing is fetched from.
    #[error("{0} is neither https nor http on this machine")]
    Place(String),
    /// The client cannot be made.
    #[error("TLS cannot be set up")]
    Client(#[source] reqwest::Error),
    /// No answer.
    #[error("{url} does not answer")]
    Unreachable {
        /// What was asked for.
        url: Url,
        /// Why not.
        source: reqwest::Error,
    },
    /// Another answer than 200; redirects are not followed.
    #[error("{url} answers {status}")]
    Status {
        /// What was asked for.
        url: Url,
        /// The answer.
        status: u16,
    },
    /// Too much, or no JSON object.
    #[error("{url} answers with something else than a JSON document of at most {MAX_BYTES} bytes")]
    Document {
        /// What was asked for.
        url: Url,
    },
    /// The discovery document is somebody else's.
    #[error("{url} is about another issuer, or names no `jwks_uri`")]
    Discovery {
        /// What was asked for.
        url: Url,
    },
    /// The keys are none.
    #[error("the set of keys cannot be used: {0}")]
    Set(#[from] SetError),
}

/// Asks one issuer.
#[derive(Debug)]
pub(super) struct Fetcher {
    http: Client,
    issuer: String,
    start: Url,
    discovers: bool,
}

impl Fetcher {
    /// The process has chosen its TLS implementation before.
    pub(super) fn new(config: &IssuerConfig) -> Result<Self, FetchError> {
        let (start, discovers) = match &config.keys {
            KeysAt::Url(url) => (url.clone(), false),
            KeysAt::Discovery => (well_known(&config.issuer)?, true),
        };
        if !is_fit(&start, is_loopback(&start)) {
            return Err(FetchError::Place(start.to_string()));
        }
        let mut builder = Client::builder()
            .user_agent(concat!("real-dispatch/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_BOUND)
            .timeout(ANSWER_BOUND)
            .redirect(Policy::none());
        if is_loopback(&start) {
            // No proxy can reach our own machine's loopback for us.
            builder = builder.no_proxy();
        }
        Ok(Self {
            http: builder.build().map_err(FetchError::Client)?,
            issuer: config.issuer.clone(),
            start,
            discovers,
        })
    }

    /// The set of keys as it is published, and for how long its publisher says it holds.
    pub(super) async fn fetch(&self) -> Result<(Value, Option<Duration>), FetchError> {
        if !self.discovers {
            return self.document(&self.start).await;
        }
        let (document, _) = self.document(&self.start).await?;
        let text = |name: &str| document.get(name).and_then(Value::as_str);
        let keys = text("jwks_uri").and_then(|text| Url::parse(text).ok());
        let (Some(keys), true) = (keys, text("issuer") == Some(&self.issuer)) else {
            return Err(FetchError::Discovery {
                url: self.start.clone(),
            });
        };
        // A provider elsewhere has no business on our own machine.
        if !is_fit(&keys, is_loopback(&self.start)) {
            return Err(FetchError::Place(keys.to_string()));
        }
        self.document(&keys).await
    }

    async fn document(&self, url: &Url) -> Result<(Value, Option<Duration>), FetchError> {
        let unreachable = |source| FetchError::Unreachable {
            url: url.clone(),
            source,
        };
        let request = self.http.get(url.clone());
        let mut response = request.send().await.map_err(unreachable)?;
        if response.status() != 200 {
            return Err(FetchError::Status {
                url: url.clone(),
                status: response.status().as_u16(),
            });
        }
        let lasts = max_age(&response);
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
            if bytes.len() + chunk.len() > MAX_BYTES {
                return Err(FetchError::Document { url: url.clone() });
            }
            bytes.extend_from_slice(&chunk);
        }
        match json::parse(&bytes, MAX_DEPTH) {
            Ok(document @ Value::Object(_)) => Ok((document, lasts)),
            _ => Err(FetchError::Document { url: url.clone() }),
        }
    }
}

fn well_known(issuer: &str) -> Result<Url, FetchError> {
    // An issuer's path is kept: its document is below it, not at the root (Discovery 1.0 §4.1).
    let base = issuer.trim_end_matches('/');
    Url::parse(&format!("{base}/{WELL_KNOWN}"))
        .ok()
        .filter(|url| url.query().is_none() && url.fragment().is_none())
        .ok_or_else(|| FetchError::Place(issuer.to_owned()))
}

/// https; or, where that is allowed, http on this machine.
fn is_fit(url: &Url, loopback_allowed: bool) -> bool {
    match url.scheme() {
        "https" => true,
        "http" => loopback_allowed && is_loopback(url),
        _ => false,
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

/// `Cache-Control: max-age` (RFC 9111 §5.2.2.1); zero for what is not to be kept.
fn max_age(response: &Response) -> Option<Duration> {
    let values = response.headers().get_all(CACHE_CONTROL).iter();
    let mut found = None;
    for directive in values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|text| text.split(','))
    {
        let directive = directive.trim().to_ascii_lowercase();
        if directive == "no-store" || directive == "no-cache" {
            return Some(Duration::ZERO);
        }
        if let Some(seconds) = directive.strip_prefix("max-age=") {
            found = seconds.parse().ok().map(Duration::from_secs);
        }
    }
    found
}
