//! What a sender is started with.

use std::{fmt, net::SocketAddr, time::Duration};

use contracts::{TenantId, comms::Channel, value::Slug};
use url::{Host, Url};

/// A value that prints masked.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps the text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// What is done when nobody knows whether a try arrived and the receiver does not honour keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnUnknown {
    /// It is made again: rather twice than not at all.
    Retry,
    /// The message is given up, and a person looks: rather not at all than twice.
    #[default]
    GiveUp,
}

/// A receiver of messages.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// Its name in the ledger, in metrics and in logs.
    pub name: Slug,
    /// Where requests go.
    pub url: Url,
    /// Signs them: `whsec_…` of Standard Webhooks.
    pub secret: Secret,
    /// What it takes.
    pub channels: Vec<Channel>,
    /// Whose messages it takes; empty: everybody's.
    pub tenants: Vec<TenantId>,
    /// Whether it remembers `webhook-id` and acts once on each.
    pub keyed: bool,
    /// What is done when the outcome of a try is unknown and it is not keyed.
    pub on_unknown: OnUnknown,
    /// How long one try may take.
    pub timeout: Duration,
    /// Plain HTTP to another machine.
    pub allow_http: bool,
}

/// An endpoint cannot be used as it is configured.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("endpoint `{name}`: {what}")]
pub struct InvalidEndpoint {
    /// Which.
    pub name: String,
    /// What is wrong, and what would be right.
    pub what: String,
}

impl Endpoint {
    /// Whether it takes this message.
    pub fn takes(&self, channel: Channel, tenant: TenantId) -> bool {
        self.channels.contains(&channel)
            && (self.tenants.is_empty() || self.tenants.contains(&tenant))
    }

    /// Refuses what would leak or never work.
    pub fn check(&self) -> Result<(), InvalidEndpoint> {
        let wrong = |what: &str| {
            Err(InvalidEndpoint {
                name: self.name.to_string(),
                what: what.to_owned(),
            })
        };
        match self.url.scheme() {
            "https" => {}
            "http" if self.allow_http || is_loopback(&self.url) => {}
            "http" => {
                return wrong(
                    "messages would travel in the clear; use https, or set allow_http = true for a \
                     network that you trust",
                );
            }
            _ => return wrong("`url` must begin with https://"),
        }
        if !self.url.username().is_empty() || self.url.password().is_some() {
            return wrong("`url` must hold no password: requests are signed with `secret`");
        }
        if standardwebhooks::Webhook::new(self.secret.expose()).is_err()
            || !self.secret.expose().starts_with("whsec_")
        {
            return wrong("`secret` must be whsec_ and base64, as the receiver knows it");
        }
        if self.channels.is_empty() {
            return wrong("`channels` must name at least one channel");
        }
        if self.timeout.is_zero() {
            return wrong("`timeout_ms` must not be 0");
        }
        Ok(())
    }
}

/// Whether a URL stays on this machine.
pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}

/// Everything a sender needs to know.
#[derive(Clone)]
pub struct CommsConfig {
    /// Postgres as the sender's login.
    pub database_url: String,
    /// Where messages go; the first that takes a message gets it.
    pub endpoints: Vec<Endpoint>,
    /// Where `/metrics` and `/health` listen; port 0 takes a free one.
    pub metrics_listen: SocketAddr,
    /// Arms the failpoint that the environment names ([`store::failpoint`]). For tests only.
    pub failpoints: bool,
    /// Times and amounts.
    pub tuning: Tuning,
}

impl fmt::Debug for CommsConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CommsConfig")
            .field("endpoints", &self.endpoints)
            .field("metrics_listen", &self.metrics_listen)
            .field("tuning", &self.tuning)
            .finish_non_exhaustive()
    }
}

/// Times and amounts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tuning {
    /// How often an idle sender asks.
    pub poll: Duration,
    /// How many messages it sends beside each other; endpoints share them equally.
    pub batch: u32,
    /// How much longer than the slowest endpoint's timeout it keeps them.
    pub lease_margin: Duration,
    /// How long a message waits after a try that failed.
    pub backoff: Backoff,
    /// How long after its time a message is still worth sending.
    pub max_age: Duration,
    /// How often it is asked whether there is an endpoint by now.
    pub no_endpoint_wait: Duration,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            poll: Duration::from_secs(1),
            batch: 16,
            lease_margin: Duration::from_secs(30),
            backoff: Backoff {
                first: Duration::from_secs(5),
                most: Duration::from_secs(600),
            },
            max_age: Duration::from_secs(24 * 3600),
            no_endpoint_wait: Duration::from_secs(30),
        }
    }
}

/// Waiting longer after each failure in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// After the first.
    pub first: Duration,
    /// At most.
    pub most: Duration,
}

impl Backoff {
    /// How long to wait after so many failures (from 1); `jitter` in 0..1 spreads senders that failed
    /// together over the second half of it.
    pub fn after(&self, failures: u32, jitter: f64) -> Duration {
        let doublings = failures.saturating_sub(1).min(31);
        let whole = self.first.saturating_mul(1 << doublings).min(self.most);
        whole.mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(url: &str) -> Endpoint {
        Endpoint {
            name: Slug::new("pager").unwrap(),
            url: Url::parse(url).unwrap(),
            secret: Secret::new("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"),
            channels: vec![Channel::Operations],
            tenants: Vec::new(),
            keyed: true,
            on_unknown: OnUnknown::GiveUp,
            timeout: Duration::from_secs(10),
            allow_http: false,
        }
    }

    #[test]
    fn plain_http_stays_on_this_machine_unless_allowed() {
        for good in [
            "https://hooks.example/x",
            "http://127.0.0.1:9/x",
            "http://[::1]:9/x",
            "http://localhost/x",
        ] {
            assert_eq!(endpoint(good).check(), Ok(()), "{good}");
        }
        for bad in [
            "http://hooks.example/x",
            "ftp://hooks.example/x",
            "https://u:p@hooks.example/",
        ] {
            assert!(endpoint(bad).check().is_err(), "{bad}");
        }
        let mut allowed = endpoint("http://hooks.example/x");
        allowed.allow_http = true;
        assert_eq!(allowed.check(), Ok(()));
    }

    #[test]
    fn a_secret_is_checked_and_never_printed() {
        let mut endpoint = endpoint("https://hooks.example/x");
        assert!(!format!("{endpoint:?}").contains("C2FV"));
        for bad in ["whsec_*", "C2FVsBQIhrscChlQIMV+b5sSYspob7oD", ""] {
            endpoint.secret = Secret::new(bad);
            let error = endpoint.check().unwrap_err();
            assert!(error.to_string().contains("`secret`"), "{error}");
        }
    }

    #[test]
    fn an_endpoint_takes_its_channels_and_tenants() {
        let ours = TenantId::from_uuid(uuid::Uuid::from_u128(1));
        let other = TenantId::from_uuid(uuid::Uuid::from_u128(2));
        let mut endpoint = endpoint("https://hooks.example/x");
        assert!(endpoint.takes(Channel::Operations, other));
        assert!(!endpoint.takes(Channel::Sms, ours));
        endpoint.tenants = vec![ours];
        assert!(endpoint.takes(Channel::Operations, ours));
        assert!(!endpoint.takes(Channel::Operations, other));
    }

    #[test]
    fn waits_double_up_to_the_most_and_are_spread() {
        let backoff = Tuning::default().backoff;
        let whole = |failures| backoff.after(failures, 1.0).as_secs();
        assert_eq!([1, 2, 3, 8, 40].map(whole), [5, 10, 20, 600, 600]);
        assert_eq!(backoff.after(1, 0.0), Duration::from_millis(2500));
        assert_eq!(backoff.after(u32::MAX, 0.5), Duration::from_secs(450));
    }
}
