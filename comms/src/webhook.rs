//! The webhook adapter: one signed POST per try, by [Standard Webhooks](https://www.standardwebhooks.com).
//!
//! Redirects are not followed: what is signed is for one receiver, and where it sends us next is not
//! ours to trust. The body of the answer is not read: the status is the answer.

use std::time::Duration;

use chrono::{DateTime, Utc};
use contracts::comms::WebhookMessage;
use futures::future::BoxFuture;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use standardwebhooks::{
    HEADER_WEBHOOK_ID, HEADER_WEBHOOK_SIGNATURE, HEADER_WEBHOOK_TIMESTAMP, WebhookError,
};
use url::Url;

use crate::{
    adapter::{Adapter, Reply},
    config::{Endpoint, is_loopback},
    with_causes,
};

/// For the connection alone: without one nothing has been sent.
const CONNECT_BOUND: Duration = Duration::from_secs(3);

/// Posts to one URL, signed with one secret.
pub struct Webhook {
    http: reqwest::Client,
    url: Url,
    signer: standardwebhooks::Webhook,
}

impl std::fmt::Debug for Webhook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Webhook").finish_non_exhaustive()
    }
}

/// Why a webhook cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum WebhookSetupError {
    /// The secret is not base64.
    #[error("the secret of an endpoint cannot be read")]
    Secret(#[from] WebhookError),
    /// TLS cannot be set up.
    #[error("the client of an endpoint cannot be made")]
    Client(#[from] reqwest::Error),
}

impl Webhook {
    /// For this endpoint. The process has chosen its TLS implementation before.
    pub fn new(endpoint: &Endpoint) -> Result<Self, WebhookSetupError> {
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("real-dispatch/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_BOUND)
            .redirect(reqwest::redirect::Policy::none());
        if is_loopback(&endpoint.url) {
            // No proxy can reach our own machine's loopback for us.
            builder = builder.no_proxy();
        }
        Ok(Self {
            http: builder.build()?,
            url: endpoint.url.clone(),
            signer: standardwebhooks::Webhook::new(endpoint.secret.expose())?,
        })
    }

    async fn post(&self, message: &WebhookMessage) -> Reply {
        let signed = match signed(&self.signer, message) {
            Ok(signed) => signed,
            Err(error) => {
                tracing::error!(message_id = %message.id, %error, "a message cannot be signed");
                return Reply::NotSent("unsigned");
            }
        };
        let (headers, body) = signed;
        let request = self.http.post(self.url.clone()).headers(headers).body(body);
        match request.send().await {
            Ok(response) => Reply::Status {
                code: response.status().as_u16(),
                retry_after: response
                    .headers()
                    .get(RETRY_AFTER)
                    .and_then(|value| value.to_str().ok())
                    .and_then(|text| retry_after(text, message.sent_at)),
            },
            Err(error) => {
                let reply = if error.is_connect() || error.is_builder() {
                    Reply::NotSent("connect")
                } else if error.is_timeout() {
                    Reply::NoAnswer("timeout")
                } else {
                    Reply::NoAnswer("connection_lost")
                };
                // A URL may hold more than its owner wants in a log.
                let error = error.without_url();
                tracing::debug!(message_id = %message.id, error = with_causes(&error), "no answer");
                reply
            }
        }
    }
}

impl Adapter for Webhook {
    fn send<'a>(&'a self, message: &'a WebhookMessage) -> BoxFuture<'a, Reply> {
        Box::pin(self.post(message))
    }
}

/// A message cannot be signed: a bug.
#[derive(Debug, thiserror::Error)]
enum SignError {
    #[error("not JSON: {0}")]
    Json(#[from] serde_json::Error),
    #[error("not signed: {0}")]
    Signature(#[from] WebhookError),
    #[error("not a header: {0}")]
    Header(#[from] reqwest::header::InvalidHeaderValue),
}

/// Headers and body of the request.
fn signed(
    signer: &standardwebhooks::Webhook,
    message: &WebhookMessage,
) -> Result<(HeaderMap, Vec<u8>), SignError> {
    let body = serde_json::to_vec(message)?;
    let (id, at) = (message.id.to_string(), message.sent_at.timestamp());
    let signature = signer.sign(&id, at, &body)?;
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(HEADER_WEBHOOK_ID, HeaderValue::from_str(&id)?);
    headers.insert(HEADER_WEBHOOK_TIMESTAMP, HeaderValue::from(at));
    headers.insert(HEADER_WEBHOOK_SIGNATURE, HeaderValue::from_str(&signature)?);
    Ok((headers, body))
}

/// `Retry-After`, RFC 9110: seconds, or a date.
fn retry_after(text: &str, now: DateTime<Utc>) -> Option<Duration> {
    if let Ok(seconds) = text.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = DateTime::parse_from_rfc2822(text.trim()).ok()?;
    Some((at.to_utc() - now).to_std().unwrap_or_default())
}

#[cfg(test)]
pub(crate) mod tests {
    use contracts::{
        MessageId, TenantId,
        comms::{Channel, OnlyWhile, Purpose, WebhookKind, WebhookRecipient},
    };
    use uuid::Uuid;

    use super::*;

    pub(crate) const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

    pub(crate) fn message(sent_at: DateTime<Utc>) -> WebhookMessage {
        WebhookMessage {
            kind: WebhookKind::MessageOutbound,
            id: MessageId::from_uuid(Uuid::from_u128(7)),
            tenant_id: TenantId::from_uuid(Uuid::from_u128(1)),
            ticket_id: None,
            channel: Channel::Sms,
            purpose: Purpose::Conversation,
            recipient: WebhookRecipient::Address {
                address: "+31205550199".parse().unwrap(),
            },
            text: Some("We are on our way.".parse().unwrap()),
            only_while: OnlyWhile::TicketOpen,
            due_at: sent_at,
            ticket: None,
            stage: None,
            correlation_id: "a-conversation".parse().unwrap(),
            sent_at,
        }
    }

    #[test]
    fn a_receiver_can_verify_what_we_sign() {
        let signer = standardwebhooks::Webhook::new(SECRET).unwrap();
        let message = message(Utc::now());
        let (headers, body) = signed(&signer, &message).unwrap();
        assert_eq!(headers["webhook-id"], message.id.to_string().as_str());
        signer.verify(&body, &headers).unwrap();
        assert_eq!(
            serde_json::from_slice::<WebhookMessage>(&body).unwrap(),
            message
        );
        let mut altered = body.clone();
        altered[10] ^= 1;
        assert!(signer.verify(&altered, &headers).is_err());
        let other = standardwebhooks::Webhook::new("whsec_AAAA").unwrap();
        assert!(other.verify(&body, &headers).is_err());
    }

    #[test]
    fn the_key_is_the_same_in_each_try() {
        let signer = standardwebhooks::Webhook::new(SECRET).unwrap();
        let now = Utc::now();
        let (first, _) = signed(&signer, &message(now)).unwrap();
        let (second, _) = signed(&signer, &message(now + chrono::TimeDelta::hours(1))).unwrap();
        assert_eq!(first["webhook-id"], second["webhook-id"]);
        assert_ne!(first["webhook-signature"], second["webhook-signature"]);
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = "2026-11-21T12:00:00Z".parse().unwrap();
        let of = |text| retry_after(text, now).map(|wait| wait.as_secs());
        assert_eq!(of("120"), Some(120));
        assert_eq!(of("Sat, 21 Nov 2026 12:01:00 GMT"), Some(60));
        assert_eq!(of("Sat, 21 Nov 2026 11:00:00 GMT"), Some(0));
        assert_eq!(of("soon"), None);
    }
}
