//! Small checked values that many messages share.

use std::{fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize};

/// Whether the text is a SHA-256 as it is written everywhere: 64 lowercase hex digits.
pub fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

macro_rules! checked_string {
    ($(#[$doc:meta])* $name:ident, $check:expr, $rule:literal, $schema:tt) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Checks the text; the error says the rule.
            pub fn new(text: impl Into<String>) -> Result<Self, InvalidValue> {
                let text = text.into();
                let check: fn(&str) -> bool = $check;
                if check(&text) { Ok(Self(text)) } else { Err(InvalidValue { rule: $rule }) }
            }

            /// The text itself.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = InvalidValue;

            fn from_str(text: &str) -> Result<Self, InvalidValue> {
                Self::new(text)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Self::new(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        }
    };
}

/// A value that breaks its rule; the text is safe to show to the caller.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{rule}")]
pub struct InvalidValue {
    /// The rule, as a sentence part.
    pub rule: &'static str,
}

fn is_slug(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

fn is_locale(text: &str) -> bool {
    let mut parts = text.split('-').peekable();
    let lower = |part: &str| part.bytes().all(|b| b.is_ascii_lowercase());
    let language = parts
        .next()
        .is_some_and(|it| (2..=3).contains(&it.len()) && lower(it));
    let script = |part: &&str| {
        part.len() == 4
            && part.starts_with(|c: char| c.is_ascii_uppercase())
            && part.get(1..).is_some_and(lower)
    };
    parts.next_if(script);
    let region = parts.next().is_none_or(|part| {
        part.len() == 2 && part.bytes().all(|b| b.is_ascii_uppercase())
            || part.len() == 3 && part.bytes().all(|b| b.is_ascii_digit())
    });
    language && region && parts.next().is_none()
}

checked_string! {
    /// A machine word such as a reason, a skill or an evidence kind: never a sentence about a
    /// person, so it may appear in audit rows, events and workflow histories.
    Slug, is_slug,
    "must be 1 to 64 characters a-z, 0-9 or _ and begin with a letter",
    { "type": "string", "pattern": "^[a-z][a-z0-9_]{0,63}$" }
}

checked_string! {
    /// The name of an incident template in the policy bundle, for example `emergency_glass`.
    TemplateId, is_slug,
    "must be 1 to 64 characters a-z, 0-9 or _ and begin with a letter",
    { "type": "string", "pattern": "^[a-z][a-z0-9_]{0,63}$" }
}

checked_string! {
    /// An ISO 4217 code.
    Currency, |text| text.len() == 3 && text.bytes().all(|b| b.is_ascii_uppercase()),
    "must be an ISO 4217 code such as EUR",
    { "type": "string", "pattern": "^[A-Z]{3}$" }
}

checked_string! {
    /// A language, with a region where that matters (BCP 47): `nl`, `en-GB`, `zh-Hant-TW`.
    Locale, is_locale,
    "must be a language with an optional script and region, such as nl or en-GB",
    { "type": "string", "pattern": "^[a-z]{2,3}(-[A-Z][a-z]{3})?(-([A-Z]{2}|[0-9]{3}))?$" }
}

checked_string! {
    /// What a person wrote. It may hold personal data, so it is stored as a note and referenced
    /// by id; it never reaches audit payloads, events, policy inputs or histories.
    FreeText, |text| !text.trim().is_empty() && text.chars().count() <= 4000 && !text.contains('\0'),
    "must be 1 to 4000 characters and not blank",
    { "type": "string", "minLength": 1, "maxLength": 4000 }
}

checked_string! {
    /// Where a message comes from or goes to on its channel: a telephone number, an e-mail address,
    /// a chat handle. Personal data.
    PeerAddress, |text| (1..=254).contains(&text.len()) && !text.chars().any(|c| c.is_control() || c.is_whitespace()),
    "must be 1 to 254 bytes without spaces or control characters",
    { "type": "string", "minLength": 1, "maxLength": 254 }
}

checked_string! {
    /// A provider's own name for a message: opaque, the same in each delivery of it.
    ProviderMessageId, |text| (1..=200).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic()),
    "must be 1 to 200 visible ASCII characters",
    { "type": "string", "minLength": 1, "maxLength": 200 }
}

checked_string! {
    /// A media type without parameters, for example `image/jpeg`.
    MediaType, |text| text.len() <= 127 && text.split_once('/').is_some_and(|(kind, rest)| {
        [kind, rest].iter().all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b".+-".contains(&b)))
    }),
    "must be a lowercase media type such as image/jpeg",
    { "type": "string", "pattern": "^[a-z0-9.+-]+/[a-z0-9.+-]+$", "maxLength": 127 }
}

checked_string! {
    /// What a provider sent, byte for byte. It may hold personal data, so it is kept apart.
    RawPayload, |text| (1..=65_536).contains(&text.len()) && !text.contains('\0'),
    "must be 1 to 65536 bytes without NUL",
    { "type": "string", "minLength": 1, "maxLength": 65536 }
}

checked_string! {
    /// What a message says: a whole mail or the transcript of a call. Personal data, kept apart like
    /// [`FreeText`].
    MessageText, |text| !text.trim().is_empty() && text.len() <= 65_536 && !text.contains('\0'),
    "must be 1 to 65536 bytes and not blank",
    { "type": "string", "minLength": 1, "maxLength": 65536 }
}

checked_string! {
    /// What a piece of software is called, for people. Somebody may put a person's name there.
    AccountName, |text| !text.trim().is_empty() && text.chars().count() <= 100 && !text.chars().any(char::is_control),
    "must be 1 to 100 characters, not blank, without control characters",
    { "type": "string", "minLength": 1, "maxLength": 100 }
}

checked_string! {
    /// The part of an API key that may be shown: it names the key to people.
    KeyPrefix, |text| text.len() == 10 && text.bytes().all(|b| b.is_ascii_alphanumeric()),
    "must be 10 characters A-Z, a-z or 0-9",
    { "type": "string", "pattern": "^[0-9A-Za-z]{10}$" }
}

checked_string! {
    /// SHA-256 over an API key, which nobody can go back from.
    KeyHash, is_sha256,
    "must be 64 lowercase hex digits",
    { "type": "string", "pattern": "^[0-9a-f]{64}$" }
}

/// A structured detail of an incident (`pane_count: 2`, `public_hazard: true`): no free text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(
    untagged,
    expecting = "must be true or false, a whole number, or a word (a-z, 0-9, _)"
)]
pub enum DetailValue {
    /// Yes or no.
    Flag(bool),
    /// A count or a measure in the unit that its name says.
    Number(i64),
    /// One of a set of words.
    Word(Slug),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slug_is_a_machine_word() {
        for good in ["a", "customer_request", "v2"] {
            assert!(Slug::new(good).is_ok(), "{good}");
        }
        for bad in ["", "2x", "Has Space", "naïve", &"a".repeat(65)] {
            assert!(Slug::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_locale_is_a_language_with_a_script_and_a_region() {
        for good in ["nl", "en-GB", "zh-Hant-TW", "es-419", "gsw"] {
            assert!(Locale::new(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "n",
            "NL",
            "en-gb",
            "en_GB",
            "en-GB-x",
            "Quillfeather",
            "nl-",
        ] {
            assert!(Locale::new(bad).is_err(), "{bad}");
        }
        assert!(Currency::new("EUR").is_ok() && Currency::new("eur").is_err());
    }

    #[test]
    fn a_bad_detail_is_told_what_is_good() {
        for good in ["true", "-3", "\"sliding\""] {
            assert!(serde_json::from_str::<DetailValue>(good).is_ok(), "{good}");
        }
        for bad in ["null", "1.5", "\"Anna Jansen\"", "[]"] {
            let error = serde_json::from_str::<DetailValue>(bad).unwrap_err();
            assert!(error.to_string().contains("a whole number, or a word"));
        }
    }

    #[test]
    fn blank_text_is_not_text() {
        assert!(FreeText::new("  \n").is_err());
        assert!(FreeText::new("x".repeat(4001)).is_err());
        assert!(FreeText::new("Pane is cracked.").is_ok());
    }
}
