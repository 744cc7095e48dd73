//! What is tried: the product of operations, callers and ways to ask.

use std::{collections::BTreeSet, fmt, sync::Arc};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use chrono::{DateTime, TimeDelta, Utc};
use contracts::{
    ActorKind, Role,
    actor::{TokenClaims, workflow_actor_id},
    service_account::{ApiKeyText, TENANT_HEADER},
};
use dispatch_tests::{
    document::Described,
    http::{Ask, Http, key},
    who::{Who, mint},
    world::Tenant,
};
use serde_json::{Value, json};
use strum::VariantArray;

use super::world::{SCOPE, SEEDER, Things, World, seeded_key};

/// How an attempt is not what it should be.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, strum::VariantArray, strum::Display,
)]
pub enum Class {
    #[strum(to_string = "without a token")]
    Anonymous,
    #[strum(to_string = "with what is no token")]
    Malformed,
    #[strum(to_string = "with a token that has expired")]
    Expired,
    #[strum(to_string = "with a token that is not valid yet")]
    Early,
    #[strum(to_string = "with a token for somebody else")]
    WrongAudience,
    #[strum(to_string = "with a token of another issuer")]
    WrongIssuer,
    #[strum(to_string = "with a token of another key")]
    WrongKey,
    #[strum(to_string = "with a token whose tenant was changed")]
    Altered,
    #[strum(to_string = "with an API key that was revoked")]
    RevokedKey,
    #[strum(to_string = "with an API key that has expired")]
    ExpiredKey,
    #[strum(to_string = "with an API key of a disabled account")]
    DisabledKey,
    #[strum(to_string = "of a tenant that is not there")]
    NoTenant,
    #[strum(to_string = "with an API key of all tenants, for one that is not there")]
    NobodysTenant,
    #[strum(to_string = "with an API key that is for something else")]
    OutOfScope,
    #[strum(to_string = "by each kind and role")]
    Role,
    #[strum(to_string = "by each of them, who claim more in headers")]
    Claimed,
    #[strum(to_string = "by each of them, who name another tenant in a header")]
    NamesTenant,
    #[strum(to_string = "another tenant's and nobody's id in the path")]
    PathOfAnother,
    #[strum(to_string = "another tenant's and nobody's id in body or query")]
    PlaceOfAnother,
    #[strum(to_string = "under another tenant's request id")]
    KeyOfAnother,
    #[strum(to_string = "with another tenant's cursor")]
    CursorOfAnother,
    #[strum(to_string = "of a suspended tenant")]
    Suspended,
    #[strum(to_string = "of an erased tenant")]
    Erased,
}

impl Class {
    /// Whether the credential is no good.
    pub fn is_nobody(self) -> bool {
        self < Self::NoTenant
    }

    /// Who asks, when the credential alone says so.
    fn holder(self) -> Option<Caller> {
        let kind = match self {
            Self::RevokedKey | Self::ExpiredKey | Self::DisabledKey | Self::OutOfScope => {
                ActorKind::Integration
            }
            Self::NobodysTenant => ActorKind::Workflow,
            _ => return None,
        };
        Some(Caller { kind, role: None })
    }
}

/// How many callers ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Breadth {
    /// One or two for each operation and class.
    Few,
    /// All of them.
    All,
}

/// Somebody of a kind with a role or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    pub kind: ActorKind,
    pub role: Option<Role>,
}

impl Caller {
    fn all() -> impl Iterator<Item = Self> {
        let roles = || {
            [None]
                .into_iter()
                .chain(Role::VARIANTS.iter().copied().map(Some))
        };
        let kinds = ActorKind::VARIANTS.iter().copied();
        kinds.flat_map(move |kind| roles().map(move |role| Self { kind, role }))
    }

    fn roles(self) -> BTreeSet<Role> {
        self.role.into_iter().collect()
    }

    fn claims(self, tenant: &Tenant, now: DateTime<Utc>) -> TokenClaims {
        let mut claims = Who::Dispatcher.claims(tenant, now);
        claims.sub = match (self.kind, self.role) {
            (ActorKind::Workflow, _) => workflow_actor_id(tenant.id),
            (kind, Some(role)) => format!("usr_{kind}_{role}"),
            (kind, None) => format!("usr_{kind}"),
        };
        claims.kind = self.kind;
        claims.roles = self.roles();
        let sent = self.role == Some(Role::Technician);
        claims.technician_id = sent.then_some(tenant.technicians[0]);
        claims
    }

    /// Whether the tables of the bundle name the caller for this.
    fn is_named(self, of: &Described, world: &World) -> bool {
        let Some(permission) = of.permission else {
            return true;
        };
        let holders = world.bundle.holders(permission);
        holders.include(self.kind, &self.roles())
    }

    /// Who runs the installation may know that other tenants are there, and turn them.
    pub fn runs_installation(self) -> bool {
        (self.kind, self.role) == (ActorKind::Person, Some(Role::PlatformAdmin))
    }

    /// Software.
    pub fn is_software(self) -> bool {
        matches!(self.kind, ActorKind::Agent | ActorKind::Workflow)
    }
}

/// One request, and what is known about it.
#[derive(Debug, Clone)]
pub struct Trial {
    pub of: Arc<Described>,
    pub class: Class,
    pub caller: Caller,
    /// Whether the tables name the caller for it.
    pub named: bool,
    /// Ids of others that the request holds.
    pub sent: Vec<String>,
    pub authorization: Option<String>,
    pub path: String,
    pub body: Option<Value>,
    pub key: String,
    pub claims_more: bool,
    pub names_tenant: Option<String>,
    pub keeps_still: bool,
}

impl fmt::Display for Trial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Caller { kind, role } = self.caller;
        let (id, class) = (&self.of.id, self.class);
        write!(
            f,
            "{id} {class} ({kind} {role:?}, named: {}) {}",
            self.named, self.path
        )
    }
}

/// A version that nothing has: who may is refused by it, after everybody else was refused by the
/// rules, and the world stays as it is.
const NO_VERSION: &str = "\"999999999\"";

impl Trial {
    /// The request.
    pub fn ask(&self, http: &Http) -> Ask {
        let mut ask = http.bare(self.of.method.clone(), &self.path);
        if let Some(authorization) = &self.authorization {
            ask = ask.header("authorization", authorization);
        }
        if self.claims_more {
            for (name, value) in [
                ("x-roles", "platform_admin"),
                ("x-role", "platform_admin"),
                ("x-actor-kind", "person"),
                ("x-tenant-id", &*self.sent[0]),
                ("x-forwarded-user", "usr_platform"),
            ] {
                ask = ask.header(name, value);
            }
        }
        if let Some(tenant) = &self.names_tenant {
            ask = ask.header(TENANT_HEADER, tenant);
        }
        if let Some(body) = &self.body {
            ask = ask.key(&self.key).json(body);
            if self.keeps_still {
                ask = ask.header("if-match", NO_VERSION);
            }
        }
        ask
    }
}

/// All trials, in units whose answers belong together; or why some operation cannot be tried.
pub fn trials(
    world: &World,
    served: &[Described],
    breadth: Breadth,
) -> Result<Vec<Vec<Trial>>, Vec<String>> {
    let now = Utc::now();
    let mut plan = Plan {
        world,
        breadth,
        now,
        units: Vec::new(),
        seeded: BTreeSet::new(),
    };
    let mut missing = Vec::new();
    for (at, of) in served.iter().enumerate() {
        missing.extend(plan.try_all(at, &Arc::new(of.clone())).err());
    }
    match missing.is_empty() {
        true => Ok(plan.units),
        false => Err(missing),
    }
}

struct Plan<'a> {
    world: &'a World,
    breadth: Breadth,
    now: DateTime<Utc>,
    units: Vec<Vec<Trial>>,
    /// Operations that were tried under a seeded request id: a second time it would be their own.
    seeded: BTreeSet<String>,
}

impl Plan<'_> {
    fn try_all(&mut self, at: usize, of: &Arc<Described>) -> Result<(), String> {
        let world = self.world;
        let things = world.own(at);
        let own = |at| world.own(at);
        // Whatever the path or the body names, both tenants have one of.
        for kind in of
            .names
            .iter()
            .chain(of.body_ids.iter().map(|(_, kind)| kind))
        {
            for (whose, things) in [
                ("nobody here has", things),
                ("the other tenant has no", &world.other),
            ] {
                if things.get(kind).is_none() {
                    return Err(format!(
                        "{}: {whose} `{kind}_…`: make one in matrix/world.rs, or let an example \
                         of a command do so",
                        of.id
                    ));
                }
            }
        }
        let all: Vec<_> = Caller::all().collect();
        if of.permission.is_none() {
            let trial = self.of(of, Class::Anonymous, all[at % all.len()], None, own(at));
            self.units.push(vec![trial]);
            return Ok(());
        }
        for (n, class) in Class::VARIANTS.iter().enumerate() {
            let callers = self.callers(of, *class, at + n);
            for (m, caller) in callers.into_iter().enumerate() {
                self.try_one(of, *class, caller, at + m);
            }
        }
        Ok(())
    }

    /// Who asks: everybody, or one or two, others for each operation.
    fn callers(&self, of: &Described, class: Class, turn: usize) -> Vec<Caller> {
        if let Some(holder) = class.holder() {
            return vec![holder];
        }
        let (named, others): (Vec<_>, Vec<_>) =
            Caller::all().partition(|caller| caller.is_named(of, self.world));
        let one = |list: &[Caller], n: usize| list.get(n % list.len().max(1)).copied();
        let few = || {
            one(&named, turn)
                .into_iter()
                .chain(one(&others, turn))
                .collect()
        };
        match (self.breadth, class) {
            // What they answer does not depend on who the caller is not.
            (Breadth::All, Class::PlaceOfAnother) => {
                let mut some = named.clone();
                some.extend((0..3).filter_map(|n| one(&others, turn + n * 7)));
                some
            }
            (Breadth::All, _) => named.into_iter().chain(others).collect(),
            // Everybody who may read goes on reading.
            (Breadth::Few, Class::Suspended) if !of.is_command() => {
                let other = one(&others, turn);
                named.into_iter().chain(other).collect()
            }
            (Breadth::Few, class) if class.is_nobody() => one(&others, turn)
                .or(one(&named, turn))
                .into_iter()
                .collect(),
            (Breadth::Few, _) => few(),
        }
    }

    fn try_one(&mut self, of: &Arc<Described>, class: Class, caller: Caller, at: usize) {
        let world = self.world;
        let own = world.own(at);
        match class {
            Class::PathOfAnother => {
                let Some(kind) = &of.names else { return };
                if kind == "ten" && caller.runs_installation() {
                    return;
                }
                let at_path = |id: String| {
                    let mut trial = self.of(of, class, caller, None, own);
                    trial.path = address(of, own, Some(&id));
                    // A body that says it too says the same.
                    let same = of.body_ids.iter().filter(|(_, named)| named == kind);
                    for (place, _) in same {
                        if let Some(said) = trial.body.as_mut().and_then(|it| it.pointer_mut(place))
                        {
                            *said = id.clone().into();
                        }
                    }
                    trial.sent.push(id);
                    trial
                };
                let theirs = world.other.get(kind).expect("looked for before").to_owned();
                let unit = vec![at_path(theirs), at_path(nobodys(kind))];
                self.units.push(unit);
            }
            Class::PlaceOfAnother => {
                let in_body = of.body_ids.iter().map(|place| (true, place));
                let in_query = of.query_ids.iter().map(|place| (false, place));
                for (is_body, (place, kind)) in in_body.chain(in_query) {
                    let Some(theirs) = world.other.get(kind) else {
                        continue;
                    };
                    let put = |id: String| {
                        let mut trial = self.of(of, class, caller, None, own);
                        // What is named comes after the version: it has to be looked at.
                        trial.keeps_still = false;
                        match (is_body, &mut trial.body) {
                            (true, Some(body)) => set(body, place, &id),
                            _ => trial.path = with_query(trial.path, place, &id),
                        }
                        trial.sent.push(id);
                        trial
                    };
                    let unit = vec![put(theirs.to_owned()), put(nobodys(kind))];
                    self.units.push(unit);
                }
            }
            Class::KeyOfAnother => {
                if of.is_command() && self.seeded.insert(of.id.clone()) {
                    let mut trial = self.of(of, class, caller, None, own);
                    trial.authorization = Some(bearer(&world.seeder_here(self.now)));
                    trial.named = true;
                    trial.caller = SEEDER;
                    trial.key = seeded_key(&of.id);
                    self.units.push(vec![trial]);
                }
            }
            Class::CursorOfAnother => {
                if let Some(cursor) = world.cursors.get(&of.id) {
                    let mut trial = self.of(of, class, caller, None, own);
                    trial.path = with_query(trial.path, "cursor", cursor);
                    self.units.push(vec![trial]);
                }
            }
            Class::OutOfScope if of.permission == Some(SCOPE) => {}
            Class::Suspended | Class::Erased => {
                let (tenant, things) = match class {
                    Class::Suspended => &world.suspended,
                    _ => &world.erased,
                };
                let trial = self.of(of, class, caller, Some(tenant), things);
                self.units.push(vec![trial]);
            }
            _ => {
                let trial = self.of(of, class, caller, None, own);
                self.units.push(vec![trial]);
            }
        }
    }

    /// A request as it should be, but for its class.
    fn of(
        &self,
        of: &Arc<Described>,
        class: Class,
        caller: Caller,
        tenant: Option<&Tenant>,
        things: &Things,
    ) -> Trial {
        let world = self.world;
        let tenant = tenant.unwrap_or(&world.tenant);
        let theirs = world
            .other
            .get("ten")
            .expect("a tenant has an id")
            .to_owned();
        let body = of.body.as_ref().map(|example| things.put_into(example));
        Trial {
            of: Arc::clone(of),
            class,
            caller,
            named: caller.is_named(of, world),
            sent: match class {
                Class::Claimed => vec![theirs.clone()],
                _ => Vec::new(),
            },
            names_tenant: match class {
                Class::NamesTenant => Some(theirs),
                Class::NobodysTenant => Some(nobodys("ten")),
                _ => None,
            },
            authorization: self.authorization(class, caller, tenant),
            path: address(of, things, None),
            // Of a list of commands each has its own version, or none.
            keeps_still: of.takes_version,
            body,
            key: key(),
            claims_more: class == Class::Claimed,
        }
    }

    fn authorization(&self, class: Class, caller: Caller, tenant: &Tenant) -> Option<String> {
        let now = self.now;
        let claims = |at| caller.claims(tenant, at);
        let with = |change: &dyn Fn(&mut TokenClaims)| {
            let mut claims = claims(now);
            change(&mut claims);
            bearer(&claims)
        };
        Some(match class {
            Class::Anonymous => return None,
            Class::Malformed => {
                let good = mint(&claims(now));
                let unsigned = json!({ "alg": "none", "typ": "JWT" }).to_string();
                let unsigned = BASE64_URL_SAFE_NO_PAD.encode(unsigned);
                let payload = good.split('.').nth(1).expect("three parts");
                match self.units.len() % 5 {
                    0 => format!("Bearer {}", &good[..good.len() - 2]),
                    1 => format!("Bearer {unsigned}.{payload}."),
                    2 => format!("Basic {}", BASE64_URL_SAFE_NO_PAD.encode("usr:secret")),
                    3 => format!("Bearer {good} {good}"),
                    _ => "Bearer null".to_owned(),
                }
            }
            Class::Expired => bearer(&claims(now - TimeDelta::hours(2))),
            Class::Early => bearer(&claims(now + TimeDelta::minutes(30))),
            Class::WrongAudience => with(&|claims| claims.aud = "another-api".into()),
            Class::WrongIssuer => with(&|claims| claims.iss = "https://elsewhere.test".into()),
            Class::WrongKey => {
                let token = api::identity::mint(&"w".repeat(40), &claims(now));
                format!("Bearer {}", token.expect("the secret is long enough"))
            }
            Class::Altered => {
                let good = mint(&claims(now));
                let parts: Vec<_> = good.split('.').collect();
                let mut payload = serde_json::to_value(claims(now)).expect("claims are JSON");
                payload["tenant"] = self.world.other.get("ten").into();
                let payload = BASE64_URL_SAFE_NO_PAD.encode(payload.to_string());
                format!("Bearer {}.{payload}.{}", parts[0], parts[2])
            }
            Class::RevokedKey => with_key(&self.world.keys.revoked),
            Class::ExpiredKey => with_key(&self.world.keys.expired),
            Class::DisabledKey => with_key(&self.world.keys.disabled),
            Class::OutOfScope => with_key(&self.world.keys.scoped),
            Class::NobodysTenant => with_key(&self.world.keys.anywhere),
            Class::NoTenant => {
                let id = contracts::TenantId::from_uuid(uuid::Uuid::now_v7());
                with(&|claims| claims.tenant = id)
            }
            _ => bearer(&claims(now)),
        })
    }
}

pub fn bearer(claims: &TokenClaims) -> String {
    format!("Bearer {}", mint(claims))
}

fn with_key(key: &ApiKeyText) -> String {
    format!("Bearer {}", key.expose())
}

/// An id of this kind that nobody has.
fn nobodys(kind: &str) -> String {
    format!("{kind}_{}", uuid::Uuid::now_v7().simple())
}

fn address(of: &Described, things: &Things, id: Option<&str>) -> String {
    let mut path = of.path.clone();
    if let Some(kind) = &of.names {
        let own = things
            .get(kind)
            .map_or_else(|| nobodys(kind), str::to_owned);
        path = path.replace("{id}", id.unwrap_or(&own));
    }
    let path = path.replace("{id}", "UNAUTHENTICATED");
    of.required.iter().fold(path, |path, (name, value)| {
        with_query(path, name, things.get(name).unwrap_or(value))
    })
}

fn with_query(path: String, name: &str, value: &str) -> String {
    let mark = if path.contains('?') { '&' } else { '?' };
    format!("{path}{mark}{name}={value}")
}

fn set(body: &mut Value, place: &str, id: &str) {
    match body.pointer_mut(place) {
        Some(found) => *found = id.into(),
        // A member at the top that the example does without.
        None => body[&place[1..]] = id.into(),
    }
}
