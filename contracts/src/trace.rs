//! Trace context (W3C Trace Context, <https://www.w3.org/TR/trace-context/>) and correlation id.
//!
//! Both travel with a command through audit, decision, outbox, signal and activity, and back into
//! dispatch-api on the workflow's own calls. The span part changes at every hop; the trace id does
//! not. The correlation id names one business conversation and is kept as the caller gave it.

use std::{fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use crate::value::InvalidValue;

/// Header of the correlation id.
pub const CORRELATION_HEADER: &str = "x-correlation-id";
/// Header of the trace context.
pub const TRACEPARENT_HEADER: &str = "traceparent";
/// Header of the vendors' part of the trace context.
pub const TRACESTATE_HEADER: &str = "tracestate";
/// What callers sent before W3C trace context: mapped to a trace id when no `traceparent` came.
pub const LEGACY_TRACE_HEADER: &str = "x-trace-id";

/// A parsed `traceparent` with its `tracestate`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TraceContext {
    /// `00-<32 hex trace id>-<16 hex span id>-<2 hex flags>`.
    pub traceparent: String,
    /// Passed on unread, at most 512 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tracestate: Option<String>,
}

impl TraceContext {
    /// Reads the headers; `None` when `traceparent` is malformed (the standard: start anew).
    pub fn parse(traceparent: &str, tracestate: Option<&str>) -> Option<Self> {
        let mut parts = traceparent.trim().split('-');
        let (version, trace, span, flags) =
            (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let hex = |s: &str, n: usize| {
            s.len() == n && s.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        };
        let valid = hex(version, 2)
            && version != "ff"
            && (version != "00" || parts.next().is_none())
            && hex(trace, 32)
            && hex(span, 16)
            && hex(flags, 2)
            && trace.bytes().any(|b| b != b'0')
            && span.bytes().any(|b| b != b'0');
        valid.then(|| Self {
            traceparent: format!("00-{trace}-{span}-{flags}"),
            tracestate: tracestate
                .filter(|s| !s.is_empty() && s.len() <= 512)
                .map(Into::into),
        })
    }

    /// A new root from 24 random bytes that the caller drew.
    pub fn root(random: [u8; 24]) -> Self {
        let (trace, span) = random.split_at(16);
        Self::from_parts(&hex::encode(trace), &hex::encode(span))
    }

    /// Maps a legacy `x-trace-id`: 32 hex digits (hyphens allowed) are the trace id itself,
    /// 16 are padded on the left as OpenTelemetry does; anything else is `None`.
    pub fn from_legacy(trace_id: &str, span: [u8; 8]) -> Option<Self> {
        let hex: String = trace_id.trim().chars().filter(|c| *c != '-').collect();
        let hex = hex.to_ascii_lowercase();
        let trace = match hex.len() {
            32 => hex,
            16 => format!("{hex:0>32}"),
            _ => return None,
        };
        Self::parse(&format!("00-{trace}-{}-01", hex::encode(span)), None)
    }

    /// The same trace seen from a new span.
    #[must_use]
    pub fn child(&self, span: [u8; 8]) -> Self {
        let mut next = Self::from_parts(self.trace_id(), &hex::encode(span));
        next.tracestate.clone_from(&self.tracestate);
        next
    }

    /// The 32 hex digits that stay the same through all hops.
    pub fn trace_id(&self) -> &str {
        self.traceparent.get(3..35).unwrap_or_default()
    }

    fn from_parts(trace: &str, span: &str) -> Self {
        Self {
            traceparent: format!("00-{trace}-{span}-01"),
            tracestate: None,
        }
    }
}

/// The caller's name for a conversation: 1 to 128 visible ASCII characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, JsonSchema)]
#[serde(transparent)]
pub struct CorrelationId(#[schemars(regex(pattern = r"^[!-~]{1,128}$"))] String);

impl CorrelationId {
    /// Checks the text.
    pub fn new(text: impl Into<String>) -> Result<Self, InvalidValue> {
        let text = text.into();
        let good = (1..=128).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
        good.then_some(Self(text)).ok_or(InvalidValue {
            rule: "must be 1 to 128 visible ASCII characters",
        })
    }

    /// The text itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CorrelationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for CorrelationId {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        Self::new(text)
    }
}

impl<'de> Deserialize<'de> for CorrelationId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_child_keeps_the_trace_and_the_state() {
        let parent = TraceContext::parse(PARENT, Some("vendor=1")).unwrap();
        let child = parent.child([7; 8]);
        assert_eq!(child.trace_id(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_ne!(child.traceparent, parent.traceparent);
        assert_eq!(child.tracestate.as_deref(), Some("vendor=1"));
    }

    #[test]
    fn malformed_parents_are_refused() {
        for bad in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-extra",
        ] {
            assert_eq!(TraceContext::parse(bad, None), None, "{bad}");
        }
    }

    #[test]
    fn a_later_version_is_read_as_ours() {
        let later = PARENT.replacen("00", "01", 1) + "-more";
        assert_eq!(
            TraceContext::parse(&later, None).unwrap().traceparent,
            PARENT
        );
    }

    #[test]
    fn a_legacy_trace_id_becomes_a_trace() {
        let from = |id| TraceContext::from_legacy(id, [1; 8]);
        let uuid = from("4BF92F35-77B3-4DA6-A3CE-929D0E0E4736").unwrap();
        assert_eq!(uuid.trace_id(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(
            from("a3ce929d0e0e4736").unwrap().trace_id(),
            "0000000000000000a3ce929d0e0e4736"
        );
        assert_eq!(from("req-77"), None);
    }
}
