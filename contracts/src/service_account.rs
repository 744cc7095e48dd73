//! Service accounts, which software calls with, and their keys.
//!
//! A key is text of one form, `rdk_<prefix>_<secret>_<checksum>`, so that scanners for leaked secrets
//! find it wherever it lies. Whoever asks for one makes it; dispatch-api is told its prefix and its
//! hash and never sees it before it is used.

use std::{collections::BTreeSet, fmt};

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{
    actor::{ActorKind, Role, workflow_actor_id},
    ids::*,
    permission::ApiPermission,
    read::Page,
    value::{AccountName, KeyHash, KeyPrefix, Slug},
};

/// The header in which an account that acts in any tenant names the one that it means.
pub const TENANT_HEADER: &str = "dispatch-tenant";

/// The header of answers to calls with a key: when the key ends.
pub const KEY_EXPIRES_HEADER: &str = "api-key-expires";

/// Whoever holds a key is warned when fewer days of it are left.
pub const KEY_WARNING_DAYS: i64 = 30;

/// Begins every key.
pub const KEY_MARK: &str = "rdk_";

/// Letters and digits of the secret part: 256 bits.
pub const SECRET_CHARS: usize = 43;

const CHECKSUM_CHARS: usize = 8;

/// Begins the actor ids of service accounts.
pub const ACCOUNT_ACTOR: &str = "service";

/// Whether an account's keys are good.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Serialize,
    Deserialize,
    JsonSchema,
    strum::Display,
    strum::EnumString,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum AccountState {
    /// As long as each lasts.
    Active,
    /// None of them is.
    Disabled,
}

/// A service account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ServiceAccountSummary {
    /// Its id.
    pub id: ServiceAccountId,
    /// Its name in files and records, for ever.
    pub code: Slug,
    /// What it is called; absent after its tenant was erased.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<AccountName>,
    /// What it is, for ever.
    pub kind: ActorKind,
    /// What it may do.
    pub roles: BTreeSet<Role>,
    /// Whether it acts in any tenant.
    pub any_tenant: bool,
    /// Whether its keys are good.
    pub state: AccountState,
    /// Rises with each command about it and its keys.
    pub version: u64,
    /// Who made it.
    pub created_by: String,
    /// When.
    pub created_at: DateTime<Utc>,
}

/// A service account with its keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ServiceAccountView {
    /// The account.
    #[serde(flatten)]
    pub account: ServiceAccountSummary,
    /// Its latest keys, newest first, at most 100.
    pub keys: Vec<ApiKeyRecord>,
}

/// Service accounts, by their code.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ServiceAccountPage {
    /// The rows.
    pub items: Vec<ServiceAccountSummary>,
    /// Ask with `after` for those that follow; absent at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_after: Option<Slug>,
}

/// A key, as far as it may be shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ApiKeyRecord {
    /// Its id.
    pub id: ApiKeyId,
    /// Whose.
    pub service_account_id: ServiceAccountId,
    /// The part of it that may be shown: `rdk_<prefix>_…`.
    pub prefix: KeyPrefix,
    /// What it is good for; for all that its account may do without any.
    pub scopes: BTreeSet<ApiPermission>,
    /// When it ends, or ended.
    pub expires_at: DateTime<Utc>,
    /// Who made it.
    pub created_by: String,
    /// When.
    pub created_at: DateTime<Utc>,
    /// When it was taken back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<DateTime<Utc>>,
    /// The key that took its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaced_by: Option<ApiKeyId>,
    /// When it was used last, to within a minute or two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used_at: Option<DateTime<Utc>>,
}

/// A page of keys, newest first.
pub type ApiKeyPage = Page<ApiKeyRecord>;

impl ApiKeyRecord {
    /// Whether it is good at this moment, as far as its account is.
    pub fn is_good(&self, at: DateTime<Utc>) -> bool {
        self.revoked_at.is_none() && at < self.expires_at
    }
}

/// Who acts with a key: the account, or for a workflow's account the tenant's workflow, so that records
/// and requests mean the same whichever account it calls with.
pub fn account_actor_id(kind: ActorKind, code: &Slug, tenant: TenantId) -> String {
    match kind {
        ActorKind::Workflow => workflow_actor_id(tenant),
        ActorKind::Person | ActorKind::Agent | ActorKind::Integration => {
            format!("{ACCOUNT_ACTOR}:{code}")
        }
    }
}

/// A whole key, for whoever holds it. It prints masked.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKeyText(String);

/// It is no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is no API key: one is `rdk_`, 10 characters, `_`, 43 characters, `_` and their checksum")]
pub struct NoApiKey;

impl ApiKeyText {
    /// Puts a key together; its parts are random, its maker's choice.
    pub fn assemble(prefix: &KeyPrefix, secret: &str) -> Result<Self, NoApiKey> {
        let begin = format!("{KEY_MARK}{prefix}_{secret}");
        Self::parse(&format!("{begin}_{:08x}", crc32(begin.as_bytes())))
    }

    /// Reads a key. A slip of the pen, or a piece that was not copied, is found by the checksum.
    pub fn parse(text: &str) -> Result<Self, NoApiKey> {
        let rest = text.strip_prefix(KEY_MARK).ok_or(NoApiKey)?;
        let mut parts = rest.split('_');
        let (Some(prefix), Some(secret), Some(checksum), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(NoApiKey);
        };
        let plain = |part: &str| part.bytes().all(|b| b.is_ascii_alphanumeric());
        let formed = KeyPrefix::new(prefix).is_ok()
            && secret.len() == SECRET_CHARS
            && plain(secret)
            && checksum.len() == CHECKSUM_CHARS;
        if !formed {
            return Err(NoApiKey);
        }
        let begin = &text[..text.len() - CHECKSUM_CHARS - 1];
        match format!("{:08x}", crc32(begin.as_bytes())) == checksum {
            true => Ok(Self(text.to_owned())),
            false => Err(NoApiKey),
        }
    }

    /// The part that may be shown.
    pub fn prefix(&self) -> KeyPrefix {
        let begin = KEY_MARK.len();
        KeyPrefix::new(&self.0[begin..begin + 10]).expect("a key was parsed")
    }

    /// SHA-256 over all of it. The secret part is random and long, so nothing slower is needed.
    pub fn digest(&self) -> [u8; 32] {
        Sha256::digest(&self.0).into()
    }

    /// The same as dispatch-api is told it.
    pub fn hash(&self) -> KeyHash {
        KeyHash::new(hex::encode(self.digest())).expect("a hash in hex")
    }

    /// The key itself: for an Authorization header, and for whoever it is made for.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ApiKeyText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApiKeyText({KEY_MARK}{}_…)", self.prefix())
    }
}

/// The checksum of zip and Ethernet (IEEE 802.3), bit by bit: for seventy bytes that is fast enough.
fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            let low = crc & 1;
            crc = (crc >> 1) ^ (low * 0xedb8_8320);
        }
    }
    !crc
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> ApiKeyText {
        let prefix = KeyPrefix::new("Ab3dEf7h9J").unwrap();
        ApiKeyText::assemble(&prefix, &"s3".repeat(22)[..SECRET_CHARS]).unwrap()
    }

    #[test]
    fn the_checksum_is_the_usual_one() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn a_key_reads_back_and_shows_its_prefix_alone() {
        let key = key();
        assert_eq!(key.expose().len(), 67);
        assert_eq!(ApiKeyText::parse(key.expose()), Ok(key.clone()));
        assert_eq!(key.prefix().as_str(), "Ab3dEf7h9J");
        assert_eq!(
            key.hash().as_str(),
            hex::encode(Sha256::digest(key.expose()))
        );
        assert_eq!(format!("{key:?}"), "ApiKeyText(rdk_Ab3dEf7h9J_…)");
    }

    #[test]
    fn what_was_cut_changed_or_lengthened_is_no_key() {
        let key = key();
        let good = key.expose();
        for at in 0..good.len() {
            assert_eq!(ApiKeyText::parse(&good[..at]), Err(NoApiKey), "{at}");
            let mut bytes = good.as_bytes().to_vec();
            bytes[at] = match bytes[at] {
                b'0' => b'1',
                _ => b'0',
            };
            let changed = String::from_utf8(bytes).unwrap();
            assert_eq!(ApiKeyText::parse(&changed), Err(NoApiKey), "{changed}");
        }
        for bad in [
            format!("{good}0"),
            format!("{good}_"),
            format!(" {good}"),
            good.to_uppercase(),
            good.replace('_', "-"),
            format!("rdk__{}", &good[4..]),
        ] {
            assert_eq!(ApiKeyText::parse(&bad), Err(NoApiKey), "{bad}");
        }
    }

    #[test]
    fn a_workflow_is_the_tenants_and_others_are_themselves() {
        let (code, tenant) = (
            Slug::new("erp").unwrap(),
            TenantId::from_uuid(uuid::Uuid::max()),
        );
        let id = |kind| account_actor_id(kind, &code, tenant);
        assert_eq!(id(ActorKind::Workflow), workflow_actor_id(tenant));
        assert_eq!(id(ActorKind::Integration), "service:erp");
    }
}
