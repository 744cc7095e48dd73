//! All settings there are.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::{self, Display},
    marker::PhantomData,
    net::SocketAddr,
    num::NonZeroU32,
    path::PathBuf,
    str::FromStr,
};

use api::identity::{Algorithm, ClaimName};
use contracts::{ActorKind, Role, Slug, TenantId, comms::Channel, event::AutonomyMode};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{DeserializeOwned, SeqAccess, Visitor, value::SeqAccessDeserializer},
};
use url::Url;

use crate::secret::Secret;

macro_rules! settings {
    ($($(#[$doc:meta])* $name:ident { $($(#[$field_meta:meta])* $field:ident: $ty:ty = $default:expr,)* })+) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Serialize, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct $name { $($(#[$field_meta])* pub $field: $ty,)* }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $default,)* }
            }
        }
    )+};
}

settings! {
    /// Everything.
    Settings {
        /// dispatch-api.
        api: Api = Api::default(),
        /// Tokens.
        auth: Auth = Auth::default(),
        /// Sealing of the audit log.
        audit: Audit = Audit::default(),
        /// How far software may go.
        autonomy: Autonomy = Autonomy::default(),
        /// The sender of messages.
        comms: Comms = Comms::default(),
        /// Postgres.
        database: Database = Database::default(),
        /// The policy bundle.
        policy: Policy = Policy::default(),
        /// How much each tenant may use.
        limits: Limits = Limits::default(),
        /// The outbox relay.
        relay: Relay = Relay::default(),
        /// What the installation is for.
        system: System = System::default(),
        /// Temporal, where the SDK's own configuration says nothing.
        temporal: Temporal = Temporal::default(),
        /// The Temporal worker.
        worker: Worker = Worker::default(),
    }
    /// dispatch-api.
    Api {
        /// Where it listens.
        listen: SocketAddr = SocketAddr::from(([127, 0, 0, 1], 8080)),
        /// Where its metrics are.
        metrics_listen: SocketAddr = SocketAddr::from(([127, 0, 0, 1], 9464)),
        /// Where others reach it, without `/api/v1`.
        url: Url = Url::parse("http://127.0.0.1:8080").expect("a constant URL"),
        /// The bearer token of whoever uses `dispatch ticket`, `dispatch import` and the like.
        token: Option<Secret> = None,
        /// The key that signs the cursors of lists; without it one derived from `audit.seal_key`.
        cursor_key: Option<Secret> = None,
        /// The one before it, while its cursors may still be about.
        earlier_cursor_key: Option<Secret> = None,
        /// Connections to Postgres at most.
        #[serde(deserialize_with = "plain")]
        pool: u32 = 16,
    }
    /// Who may say who calls: JSON web tokens, RFC 7519.
    Auth {
        /// The secret that signs our own tokens (HS256), at least 32 bytes.
        jwt_secret: Option<Secret> = None,
        /// Who issues our own.
        issuer: String = "real-dispatch".to_owned(),
        /// Whom our own are for.
        audience: String = "dispatch-api".to_owned(),
        /// How far clocks may differ from ours, 300 at most.
        #[serde(deserialize_with = "plain")]
        leeway_seconds: u32 = 30,
        /// Who else issues tokens, mostly OpenID providers: `[[auth.issuers]]` in the file, a JSON
        /// list in the variable.
        #[serde(deserialize_with = "list")]
        issuers: Vec<AuthIssuer> = Vec::new(),
    }
    /// Sealing of the audit log.
    Audit {
        /// The key that signs checkpoints, at least 32 bytes.
        seal_key: Option<Secret> = None,
    }
    /// How far software may go.
    Autonomy {
        /// The most that software may do by itself here, whatever is promoted: `OFF`, `SHADOW`,
        /// `APPROVE`, `CANARY` or `AUTO`.
        ceiling: AutonomyMode = AutonomyMode::Auto,
    }
    /// The sender of messages.
    Comms {
        /// Where messages go, by channel: `[[comms.endpoints]]` in the file, a JSON list in the
        /// variable. The first that takes a message gets it; what none takes waits.
        #[serde(deserialize_with = "list")]
        endpoints: Vec<CommsEndpoint> = Vec::new(),
        /// How often an idle sender looks for messages.
        #[serde(deserialize_with = "plain")]
        poll_ms: NonZeroU32 = NonZeroU32::new(1000).expect("1000 is not 0"),
        /// How many messages are sent beside each other.
        #[serde(deserialize_with = "plain")]
        batch: NonZeroU32 = NonZeroU32::new(16).expect("16 is not 0"),
        /// How long a message waits after its first failed try; each wait is twice the last, up to
        /// ten minutes.
        #[serde(deserialize_with = "plain")]
        retry_ms: NonZeroU32 = NonZeroU32::new(5000).expect("5000 is not 0"),
        /// How long after its time a message is still worth sending.
        #[serde(deserialize_with = "plain")]
        max_age_hours: NonZeroU32 = NonZeroU32::new(24).expect("24 is not 0"),
        /// How soon after a try should have ended another sender takes over from one that died.
        #[serde(deserialize_with = "plain")]
        lease_seconds: NonZeroU32 = NonZeroU32::new(30).expect("30 is not 0"),
        /// Where its metrics are.
        metrics_listen: SocketAddr = SocketAddr::from(([127, 0, 0, 1], 9467)),
        /// Where `dispatch doctor` finds them when that is another machine, with `/metrics`.
        metrics_url: Option<Url> = None,
    }
    /// Postgres, one login per purpose.
    Database {
        /// A superuser, for `dispatch migrate --bootstrap` only.
        admin_url: Option<Secret> = None,
        /// Owns the tables: for `dispatch migrate`.
        owner_url: Option<Secret> = None,
        /// Of dispatch-api: row-level security applies.
        app_url: Option<Secret> = None,
        /// Of the relay: outbox and leases.
        relay_url: Option<Secret> = None,
        /// Of the sender of messages: queue, texts and addresses.
        comms_url: Option<Secret> = None,
        /// Reads all tenants: for `verify`, `doctor` and the sealer.
        maintenance_url: Option<Secret> = None,
        /// Reads what was recorded, of all tenants: for `shadow replay` and `policy diff`.
        reader_url: Option<Secret> = None,
        /// `on`, or `off`: dispatch-api then uses a login that row-level security does not bind, and
        /// any read may show any tenant's rows. For development; refused in production.
        rls: RowLevelSecurity = RowLevelSecurity::On,
    }
    /// The policy bundle.
    Policy {
        /// A folder with a bundle; the starter bundle without it.
        bundle_dir: Option<PathBuf> = None,
        /// A folder with public ed25519 keys (`ID.pem`): only bundles that one of them signed may
        /// decide, but for the one of the program. Without it any may.
        keys_dir: Option<PathBuf> = None,
    }
    /// How much each tenant may use, unless `dispatch tenant limit` set something else for it. Rates are
    /// those of each dispatch-api: once for people and integrations, again for agents, and again for
    /// workflows.
    Limits {
        /// Commands that a tenant may go on sending each second.
        #[serde(deserialize_with = "plain")]
        commands_per_second: NonZeroU32 = NonZeroU32::new(200).expect("200 is not 0"),
        /// Commands that may come at once.
        #[serde(deserialize_with = "plain")]
        command_burst: NonZeroU32 = NonZeroU32::new(1000).expect("1000 is not 0"),
        /// Reads that a tenant may go on sending each second.
        #[serde(deserialize_with = "plain")]
        reads_per_second: NonZeroU32 = NonZeroU32::new(500).expect("500 is not 0"),
        /// Reads that may come at once.
        #[serde(deserialize_with = "plain")]
        read_burst: NonZeroU32 = NonZeroU32::new(2500).expect("2500 is not 0"),
        /// Tickets of a tenant that are open at the same time.
        #[serde(deserialize_with = "plain")]
        open_tickets: u64 = 100_000,
        /// Bytes of a tenant's kept messages and uploaded policy bundles.
        #[serde(deserialize_with = "plain")]
        storage_bytes: u64 = 10 << 30,
        /// Requests of a tenant that wait at the same time (`Prefer: wait`).
        #[serde(deserialize_with = "plain")]
        subscribers: u32 = 32,
    }
    /// The outbox relay.
    Relay {
        /// `deliver-to-temporal`, or `log-only`.
        mode: Mode = Mode::DeliverToTemporal,
        /// Where its metrics are.
        metrics_listen: SocketAddr = SocketAddr::from(([127, 0, 0, 1], 9465)),
        /// Where `dispatch doctor` finds them when that is another machine, with `/metrics`.
        metrics_url: Option<Url> = None,
        /// Starts workflows with time skipping; refused in production.
        #[serde(deserialize_with = "plain")]
        time_skipping: bool = false,
        /// How soon another relay takes over from one that died.
        #[serde(deserialize_with = "plain")]
        lease_seconds: NonZeroU32 = NonZeroU32::new(10).expect("10 is not 0"),
    }
    /// What the installation is for.
    System {
        /// `production`, `development` or `test`.
        environment: Environment = Environment::Production,
        /// Arms the failpoint that DISPATCH_FAILPOINT names; for tests only.
        #[serde(deserialize_with = "plain")]
        failpoints: bool = false,
    }
    /// Temporal, where the SDK's own configuration (TEMPORAL_ADDRESS, TEMPORAL_NAMESPACE,
    /// a profile in temporal.toml …) says nothing.
    Temporal {
        /// `host:port`.
        address: Option<String> = None,
        /// Namespace.
        namespace: Option<String> = None,
        /// Of the Web UI, for links.
        ui_url: Option<Url> = None,
    }
    /// The Temporal worker.
    Worker {
        /// What it calls dispatch-api with: an API key (`rdk_…`) of an account of kind `workflow` that
        /// acts in any tenant.
        api_key: Option<Secret> = None,
        /// A file that the key stands in, instead.
        api_key_file: Option<PathBuf> = None,
        /// Build id for worker versioning; without it the program's version and a hash of the
        /// workflow code.
        build_id: Option<String> = None,
        /// Where its metrics are.
        metrics_listen: SocketAddr = SocketAddr::from(([127, 0, 0, 1], 9466)),
        /// Where `dispatch doctor` finds them when that is another machine, with `/metrics`.
        metrics_url: Option<Url> = None,
    }
}

/// An issuer of tokens with published keys.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuthIssuer {
    /// What it is called here; begins the ids of its actors, so it stays for ever.
    pub name: Slug,
    /// What `iss` says in its tokens, letter by letter.
    pub issuer: String,
    /// What `aud` may say.
    pub audiences: Vec<String>,
    /// The one algorithm: `RS256`, `ES256` or `EdDSA`.
    pub algorithm: Algorithm,
    /// Where its keys are; without it where `<issuer>/.well-known/openid-configuration` says.
    #[serde(default)]
    pub jwks_url: Option<Url>,
    /// The tenant of all its actors.
    #[serde(default)]
    pub tenant: Option<TenantId>,
    /// Its tenants: what its claim says, and our id.
    #[serde(default)]
    pub tenants: BTreeMap<String, TenantId>,
    /// Whether its claim may name any tenant, by our id.
    #[serde(default)]
    pub any_tenant: bool,
    /// Which kinds of actors it may speak for.
    #[serde(default = "persons")]
    pub kinds: BTreeSet<ActorKind>,
    /// The kind of whoever has none in their token.
    #[serde(default = "person")]
    pub default_kind: ActorKind,
    /// What its roles or groups mean here; others mean nothing.
    #[serde(default)]
    pub roles: BTreeMap<String, Vec<Role>>,
    /// Where it puts what: names of claims, or JSON pointers (`/realm_access/roles`).
    #[serde(default)]
    pub claims: AuthClaims,
    /// How long its tokens may live.
    #[serde(default = "a_day")]
    pub max_lifetime_seconds: NonZeroU32,
}

/// Where an issuer of tokens puts what.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AuthClaims {
    /// A stable id; `sub` without it.
    pub subject: Option<ClaimName>,
    /// The tenant; `tenant` without it.
    pub tenant: Option<ClaimName>,
    /// The kind of actor, in our words.
    pub kind: Option<ClaimName>,
    /// Roles or groups.
    pub roles: Option<ClaimName>,
    /// A technician's id, in our form.
    pub technician: Option<ClaimName>,
}

fn persons() -> BTreeSet<ActorKind> {
    [person()].into()
}

const fn person() -> ActorKind {
    ActorKind::Person
}

const fn a_day() -> NonZeroU32 {
    NonZeroU32::new(86_400).expect("86,400 is not 0")
}

/// A receiver of messages: signed requests by Standard Webhooks.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommsEndpoint {
    /// Its name in the ledger, in metrics and in logs.
    pub name: Slug,
    /// Where requests go: https, or http on this machine.
    pub url: Url,
    /// Signs them: `whsec_` and base64.
    pub secret: Secret,
    /// Which channels it takes.
    pub channels: Vec<Channel>,
    /// Whose messages it takes; everybody's without it.
    #[serde(default)]
    pub tenants: Vec<TenantId>,
    /// Whether it remembers `webhook-id` and acts once on each.
    pub keyed: bool,
    /// What is done when nobody knows whether a try arrived and it is not keyed.
    #[serde(default)]
    pub on_unknown: OnUnknown,
    /// How long one try may take.
    #[serde(default = "endpoint_timeout")]
    pub timeout_ms: NonZeroU32,
    /// Plain HTTP to another machine.
    #[serde(default)]
    pub allow_http: bool,
}

const fn endpoint_timeout() -> NonZeroU32 {
    NonZeroU32::new(15_000).expect("15,000 is not 0")
}

/// What is done when nobody knows whether a try arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnUnknown {
    /// It is made again: rather twice than not at all.
    Retry,
    /// The message is given up, and a person looks.
    #[default]
    GiveUp,
}

/// What the installation is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Environment {
    /// Real customers.
    Production,
    /// One person's machine.
    Development,
    /// A test run.
    Test,
}

/// Whether row-level security binds dispatch-api.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RowLevelSecurity {
    /// It sees one tenant at a time.
    On,
    /// It sees all of them.
    Off,
}

/// What becomes of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// They are sent to the tickets' workflows.
    DeliverToTemporal,
    /// They are only logged.
    LogOnly,
}

/// A number or a flag, or text that is one.
fn plain<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + FromStr,
    T::Err: Display,
{
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either<T> {
        Plain(T),
        Text(String),
    }
    match Either::deserialize(deserializer)? {
        Either::Plain(plain) => Ok(plain),
        Either::Text(text) => text.trim().parse().map_err(serde::de::Error::custom),
    }
}

/// A list, or text that is one in JSON.
fn list<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: DeserializeOwned,
{
    struct ListOrText<T>(PhantomData<T>);

    impl<'de, T: DeserializeOwned> Visitor<'de> for ListOrText<T> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list of tables, or the same as JSON text")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Self::Value, A::Error> {
            Vec::deserialize(SeqAccessDeserializer::new(seq))
        }

        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
            serde_json::from_str(text).map_err(E::custom)
        }
    }

    deserializer.deserialize_any(ListOrText(PhantomData))
}

/// All keys, in the order of the file.
pub fn keys() -> Vec<String> {
    flatten(&Settings::default())
        .into_iter()
        .map(|(key, _)| key)
        .collect()
}

/// Key and value of each setting; secrets masked, unset ones `null`.
pub fn flatten(settings: &Settings) -> Vec<(String, serde_json::Value)> {
    let serde_json::Value::Object(tables) =
        serde_json::to_value(settings).expect("settings are tables of plain values")
    else {
        return Vec::new();
    };
    let mut all = Vec::new();
    for (table, values) in tables {
        if let serde_json::Value::Object(values) = values {
            all.extend(
                values
                    .into_iter()
                    .map(|(key, value)| (format!("{table}.{key}"), value)),
            );
        }
    }
    all
}
