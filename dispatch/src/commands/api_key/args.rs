//! The flags of `dispatch service-account` and `dispatch api-key`.

use std::{collections::BTreeSet, path::PathBuf, str::FromStr};

use chrono::TimeDelta;
use clap::{Args, Subcommand};
use contracts::{
    ActorKind, ApiKeyId, ApiPermission, Role, ServiceAccountId, Slug,
    service_account::{KEY_MARK, KEY_WARNING_DAYS},
    value::{AccountName, KeyPrefix},
};

use crate::{cli::parse_role, desk::Connection, token::parse_ttl};

/// What to do with an account.
#[derive(Debug, Subcommand)]
pub enum AccountCommand {
    /// Writes an account: a new one, or the one with this code
    Create(CreateAccountArgs),
    /// Which accounts there are
    List(ListAccountsArgs),
    /// An account with its keys
    Show(ShowAccountArgs),
    /// Makes none of an account's keys good any more; `create … --active true` takes it back
    Disable(DisableArgs),
}

/// What to do with a key.
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Makes a key and shows it, once: nobody can show it again
    Create(CreateKeyArgs),
    /// Which keys there are, when each ends and when it was used last
    List(ListKeysArgs),
    /// Makes a key in the place of one, which goes on for a while
    Rotate(RotateArgs),
    /// Takes a key back; within five seconds it is refused everywhere
    Revoke(RevokeArgs),
}

/// An account by its code or its id.
#[derive(Debug, Clone)]
pub enum NamedAccount {
    /// By its name.
    Code(Slug),
    /// By its id.
    Id(ServiceAccountId),
}

impl FromStr for NamedAccount {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let id = text.parse().map(Self::Id);
        let code = || Slug::new(text).map(Self::Code);
        id.or_else(|_| code()).map_err(|_| {
            format!("`{text}` is no service account: its code, such as erp_sync, or its id, sva_…")
        })
    }
}

/// A key by its prefix or its id.
#[derive(Debug, Clone)]
pub enum NamedKey {
    /// By the part of it that is shown.
    Prefix(KeyPrefix),
    /// By its id.
    Id(ApiKeyId),
}

impl FromStr for NamedKey {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let id = text.parse().map(Self::Id);
        let prefix = || KeyPrefix::new(text.trim_start_matches(KEY_MARK)).map(Self::Prefix);
        // What was typed may be a whole key: it is not repeated.
        id.or_else(|_| prefix()).map_err(|_| {
            "that is no name of a key: the ten characters after `rdk_`, or its id, key_…; never the \
             whole key"
                .to_owned()
        })
    }
}

/// Which account, and what it may do.
#[derive(Debug, Args)]
pub struct CreateAccountArgs {
    /// Its name in files and records, for ever: erp_sync
    pub code: Slug,

    /// What it is called, for people [default: the code]
    #[arg(long, value_name = "TEXT")]
    pub name: Option<AccountName>,

    /// What it is: integration (another system), agent or workflow
    #[arg(long, value_name = "KIND", default_value = "integration")]
    pub kind: ActorKind,

    /// A role that it has; may be said several times
    #[arg(long = "role", value_name = "ROLE", value_parser = parse_role)]
    pub roles: Vec<Role>,

    /// It acts in any tenant, which it names with each request: for the worker
    #[arg(long)]
    pub any_tenant: bool,

    /// Whether its keys are good; as it is without it, and true for a new one
    #[arg(long, value_name = "BOOL")]
    pub active: Option<bool>,

    #[command(flatten)]
    pub connection: Connection,
}

/// All of them.
#[derive(Debug, Args)]
pub struct ListAccountsArgs {
    #[command(flatten)]
    pub connection: Connection,
}

/// One of them.
#[derive(Debug, Args)]
pub struct ShowAccountArgs {
    /// Its code or its id
    #[arg(value_name = "ACCOUNT")]
    pub of: NamedAccount,

    #[command(flatten)]
    pub connection: Connection,
}

/// Which, and why.
#[derive(Debug, Args)]
pub struct DisableArgs {
    /// Its code or its id
    #[arg(value_name = "ACCOUNT")]
    pub of: NamedAccount,

    /// Why: unused, leaked …
    #[arg(long, value_name = "WORD")]
    pub reason: Slug,

    #[command(flatten)]
    pub connection: Connection,
}

/// Where a new key goes, and how long it lives.
#[derive(Debug, Args)]
pub struct NewKey {
    /// How long it is good: 30d, 12h; at most 366d
    #[arg(long, value_name = "TIME", default_value = "90d", value_parser = parse_ttl)]
    pub expires: TimeDelta,

    /// Writes the key into this new file, which its owner alone may read, instead of showing it
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,

    /// Keeps the key that FILE has as long as it is good there and does not end soon (within a third of
    /// TIME, and at most thirty days); else replaces it: for what runs at each start
    #[arg(long, requires = "out")]
    pub keep: bool,
}

impl NewKey {
    /// How long a key that is kept has to last.
    pub fn least(&self) -> TimeDelta {
        (self.expires / 3).min(TimeDelta::days(KEY_WARNING_DAYS))
    }
}

/// Whose key, and what for.
#[derive(Debug, Args)]
pub struct CreateKeyArgs {
    /// The account's code or its id
    #[arg(value_name = "ACCOUNT")]
    pub of: NamedAccount,

    /// A permission that it is good for, such as read:tickets or command:create_ticket; may be said
    /// several times [default: all that the account may do]
    #[arg(long = "scope", value_name = "PERMISSION")]
    pub scopes: Vec<ApiPermission>,

    #[command(flatten)]
    pub new: NewKey,

    #[command(flatten)]
    pub connection: Connection,
}

impl CreateKeyArgs {
    /// Each once.
    pub fn scopes(&self) -> BTreeSet<ApiPermission> {
        self.scopes.iter().copied().collect()
    }
}

/// Which keys.
#[derive(Debug, Args)]
pub struct ListKeysArgs {
    /// Only of this account: its code or its id
    #[arg(long = "of", value_name = "ACCOUNT")]
    pub of: Option<NamedAccount>,

    #[command(flatten)]
    pub connection: Connection,
}

/// Which key is replaced.
#[derive(Debug, Args)]
pub struct RotateArgs {
    /// Its prefix (the ten characters after `rdk_`) or its id
    #[arg(value_name = "KEY")]
    pub key: NamedKey,

    /// How long the old one is still good: 24h; 0s ends it at once, at most 7d
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = parse_overlap)]
    pub overlap: TimeDelta,

    #[command(flatten)]
    pub new: NewKey,

    #[command(flatten)]
    pub connection: Connection,
}

/// Which key, and why.
#[derive(Debug, Args)]
pub struct RevokeArgs {
    /// Its prefix (the ten characters after `rdk_`) or its id
    #[arg(value_name = "KEY")]
    pub key: NamedKey,

    /// Why: leaked, unused …
    #[arg(long, value_name = "WORD")]
    pub reason: Slug,

    #[command(flatten)]
    pub connection: Connection,
}

/// As for other times, and none at all.
fn parse_overlap(text: &str) -> Result<TimeDelta, String> {
    match text {
        "0" | "0s" => Ok(TimeDelta::zero()),
        text => parse_ttl(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_named_by_what_is_shown_of_it_and_never_repeated() {
        for good in ["Ab3dEf7h9J", "rdk_Ab3dEf7h9J"] {
            assert!(matches!(good.parse(), Ok(NamedKey::Prefix(_))), "{good}");
        }
        let whole = client::draw_api_key();
        let error = whole.expose().parse::<NamedKey>().unwrap_err();
        assert!(!error.contains(whole.prefix().as_str()), "{error}");
        assert!(matches!("erp_sync".parse(), Ok(NamedAccount::Code(_))));
        assert!("ERP".parse::<NamedAccount>().is_err());
    }

    #[test]
    fn an_overlap_may_be_none() {
        assert_eq!(parse_overlap("0s"), Ok(TimeDelta::zero()));
        assert_eq!(parse_overlap("2h"), Ok(TimeDelta::hours(2)));
        assert!(parse_overlap("soon").is_err());
    }
}
