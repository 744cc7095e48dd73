//! What there is to be had: a tenant whose callers try, another from which nothing may be seen, one
//! that is suspended and one that was erased.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use chrono::{DateTime, TimeDelta, Utc};
use client::{CallOptions, Client, draw_api_key};
use contracts::{
    ActorKind, ApiKeyId, ApiPermission, Operation, ReadPermission, Role, ServiceAccountId, Slug,
    TenantId, TicketState,
    actor::{TokenClaims, workflow_actor_id},
    command::{DisableServiceAccount, IssueApiKey, RevokeApiKey},
    filing::Filed,
    service_account::ApiKeyText,
};
use dispatch_tests::{
    document::Described,
    http::{key, patiently},
    job::Job,
    software::{account, bare_tenant, issue, worker_key},
    stack::Stack,
    wait,
    who::{Who, mint},
    world::Tenant,
};
use policy::Bundle;
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;
use strum::VariantArray;

use super::plan::Caller;

/// Tickets of the first tenant: attempts on one wait for each other.
const TICKETS: usize = 12;

/// The one thing that the key with a scope is for.
pub const SCOPE: ApiPermission = ApiPermission::Read(ReadPermission::Tickets);

/// More messages than a page of them has.
const MESSAGES: usize = 51;

/// Bytes of a text that is tried whole: more has an archive only.
const LONG: usize = 1_024;

/// Who does everything once in both tenants, so that there is one of everything.
pub const SEEDER: Caller = Caller {
    kind: ActorKind::Person,
    role: None,
};

/// What stands in the other tenant's personal fields, and nowhere else.
const WORDS: [&str; 3] = ["Zwaluwstaart", "+31205559977", "Ravensworth Passage 9"];

/// The same of the first tenant.
const OWN_WORDS: [&str; 3] = ["Quillfeather", "+31205550199", "Keizersgracht 1"];

/// The request id under which the seeder has sent a command in the other tenant.
pub fn seeded_key(id: &str) -> String {
    format!("seeded-{id}")
}

/// One of each kind of thing, by the letters of its id.
#[derive(Debug, Clone, Default)]
pub struct Things(BTreeMap<String, String>);

impl Things {
    /// The id of one of this kind.
    pub fn get(&self, kind: &str) -> Option<&str> {
        self.0.get(kind).map(String::as_str)
    }

    fn set(&mut self, id: impl ToString) {
        let id = id.to_string();
        let (kind, _) = id.split_once('_').expect("an id of ours");
        self.0.insert(kind.to_owned(), id);
    }

    /// Takes what is not known yet from an answer.
    fn learn(&mut self, answer: &Value) {
        match answer {
            Value::String(id) if is_id(id) => {
                self.0
                    .entry(id[..3].to_owned())
                    .or_insert_with(|| id.clone());
            }
            Value::Array(items) => items.iter().for_each(|item| self.learn(item)),
            Value::Object(members) => members.values().for_each(|member| self.learn(member)),
            _ => {}
        }
    }

    /// An example with these things in it.
    pub fn put_into(&self, example: &Value) -> Value {
        match example {
            Value::String(id) if is_id(id) => self.get(&id[..3]).unwrap_or(id).into(),
            // Who may is asked before what is long is looked at, which takes long, too.
            Value::String(long) if long.len() > LONG => long[..LONG].into(),
            Value::Array(items) => items.iter().map(|item| self.put_into(item)).collect(),
            Value::Object(members) => members
                .iter()
                .map(|(name, member)| (name.clone(), self.put_into(member)))
                .collect(),
            other => other.clone(),
        }
    }
}

fn is_id(text: &str) -> bool {
    text.len() == 36 && text.as_bytes()[3] == b'_' && ids_in(&text[4..]).len() == 1
}

/// All ids in a text: 32 hex digits in a row, or a UUID with its dashes.
pub fn ids_in(text: &str) -> BTreeSet<String> {
    let is_hex = |c: char| matches!(c, '0'..='9' | 'a'..='f');
    let dashed = text
        .split(|c| !is_hex(c) && c != '-')
        .filter(|word| word.len() >= 36);
    let dashed = dashed.flat_map(|word| {
        (0..=word.len() - 36).filter_map(|at| {
            let uuid = &word[at..at + 36];
            let dashes = uuid.match_indices('-').map(|(at, _)| at);
            dashes.eq([8, 13, 18, 23]).then(|| uuid.replace('-', ""))
        })
    });
    let plain = text.split(|c| !is_hex(c));
    // More digits than an id has are a hash.
    let plain = plain.filter(|word| word.len() == 32).map(str::to_owned);
    dashed.chain(plain).collect()
}

/// API keys of the first tenant's accounts, and one of the installation's.
pub struct Keys {
    pub revoked: ApiKeyText,
    pub expired: ApiKeyText,
    pub disabled: ApiKeyText,
    /// For [`SCOPE`] alone.
    pub scoped: ApiKeyText,
    /// Of an account that acts in any tenant.
    pub anywhere: ApiKeyText,
}

pub struct World {
    pub bundle: Bundle,
    pub tenant: Tenant,
    pub keys: Keys,
    own: Vec<Things>,
    pub other: Things,
    pub suspended: (Tenant, Things),
    pub erased: (Tenant, Things),
    /// Cursors of the other tenant, by operation.
    pub cursors: BTreeMap<String, String>,
    /// Every id on record of the other tenant.
    pub secret_ids: HashSet<String>,
    pub id_of_other: String,
    /// What the other tenant's people are called and wrote.
    pub secret_words: Vec<&'static str>,
    /// What the first tenant's people are called and wrote.
    pub personal_words: Vec<&'static str>,
}

impl World {
    /// Makes it, by the examples of the document among others: what a new command makes is there.
    pub async fn make(stack: &Stack, served: &[Described]) -> Self {
        let (tenant, other) = (stack.tenant(), stack.other());
        sqlx::query("update contacts set name = $2, phone = $3, street = $4 where tenant_id = $1")
            .bind(other.id.as_uuid())
            .bind(WORDS[0])
            .bind(WORDS[1])
            .bind(WORDS[2])
            .execute(stack.admin())
            .await
            .expect("the superuser may");
        let keys = keys(stack).await;
        let mut own = things(stack, tenant).await;
        let mut theirs = things(stack, other).await;
        seed(stack, tenant, &mut own, served, |_| key()).await;
        seed(stack, other, &mut theirs, served, seeded_key).await;
        // The examples have ended the first job.
        own.0.extend(about_a_job(stack, tenant).await.0);
        theirs.0.extend(about_a_job(stack, other).await.0);
        speak(stack, tenant, &mut own, &OWN_WORDS).await;
        speak(stack, other, &mut theirs, &WORDS).await;
        more_than_a_page(stack, other, &theirs).await;
        let mut owns = vec![own.clone()];
        for _ in 1..TICKETS {
            let mut another = own.clone();
            another.0.extend(about_a_job(stack, tenant).await.0);
            owns.push(another);
        }
        let suspended = Tenant::seed(stack.admin()).await;
        // Each read goes on there, so there is one of everything.
        let mut still = things(stack, &suspended).await;
        seed(stack, &suspended, &mut still, served, |_| key()).await;
        still.0.extend(about_a_job(stack, &suspended).await.0);
        speak(stack, &suspended, &mut still, &OWN_WORDS).await;
        let suspended = (suspended, still);
        let erased = Tenant::seed(stack.admin()).await;
        let gone = things(stack, &erased).await;
        let erased = (erased, gone);
        turn(stack, &suspended.0, Operation::SuspendTenant).await;
        turn(stack, &erased.0, Operation::RequestTenantDeletion).await;
        sqlx::query(
            "update tenants set erase_after = now() - interval '1 second' where tenant_id = $1",
        )
        .bind(erased.0.id.as_uuid())
        .execute(stack.admin())
        .await
        .expect("the superuser may");
        turn(stack, &erased.0, Operation::EraseTenant).await;

        let cursors = cursors(stack, other, &theirs, served).await;
        let (keys, expired) = keys;
        wait::until("the end of a key", wait::BOUND, async || {
            let left = expired - Utc::now();
            (left < TimeDelta::zero()).then_some(()).ok_or(left)
        })
        .await;
        let of = |tenant: TenantId| ids_of(stack, tenant);
        let (mut secret_ids, known) = (of(other.id).await, of(tenant.id).await);
        secret_ids.retain(|id| !known.contains(id));
        assert!(
            secret_ids.len() > 100,
            "{} ids of the other tenant",
            secret_ids.len()
        );
        Self {
            bundle: Bundle::starter().expect("the starter bundle is valid"),
            tenant: tenant.clone(),
            keys,
            own: owns,
            id_of_other: other.id.as_uuid().simple().to_string(),
            other: theirs,
            suspended,
            erased,
            cursors,
            secret_ids,
            secret_words: WORDS.to_vec(),
            personal_words: OWN_WORDS.to_vec(),
        }
    }

    /// Things of the first tenant; others for each turn.
    pub fn own(&self, turn: usize) -> &Things {
        &self.own[turn % self.own.len()]
    }

    /// The seeder's namesake in the first tenant.
    pub fn seeder_here(&self, now: DateTime<Utc>) -> TokenClaims {
        seeder(&self.tenant, now)
    }
}

/// With every role but the one that reaches beyond the tenant.
fn seeder(tenant: &Tenant, now: DateTime<Utc>) -> TokenClaims {
    let mut claims = Who::Dispatcher.claims(tenant, now);
    claims.sub = "usr_seeder".into();
    let roles = Role::VARIANTS.iter().copied();
    claims.roles = roles.filter(|role| *role != Role::PlatformAdmin).collect();
    claims.technician_id = Some(tenant.technicians[0]);
    claims
}

/// A job with all that hangs on it.
async fn about_a_job(stack: &Stack, tenant: &Tenant) -> Things {
    let mut job = Job::at(stack, tenant, TicketState::ChangeRequested).await;
    job.does(Operation::AddNote).await;
    job.does(Operation::AddEvidence).await;
    let mut things = Things::default();
    things.set(job.id());
    things.set(job.approval());
    things
}

/// A service account with a key: no two keys are alike, so an example cannot make them.
async fn a_key(stack: &Stack, tenant: &Tenant, code: &str, things: &mut Things) {
    let token = Who::TenantAdmin.token(tenant);
    let account = json!({ "code": code, "name": "Machine", "kind": "integration" });
    let drawn = draw_api_key();
    let ends = Utc::now() + TimeDelta::days(30);
    let mut make = async |operation: Operation, body: Value| {
        let ask = stack.http().post(operation.path()).token(&token).key(key());
        let reply = ask.json(&body).send().await;
        assert!(reply.status.is_success(), "{operation}: {}", reply.text());
        things.learn(&reply.json());
        things.get("sva").expect("the account was made").to_owned()
    };
    let id = make(Operation::UpsertServiceAccount, account).await;
    let issue = json!({
        "service_account_id": id, "prefix": drawn.prefix(), "key_hash": drawn.hash(),
        "expires_at": ends,
    });
    make(Operation::IssueApiKey, issue).await;
}

async fn things(stack: &Stack, tenant: &Tenant) -> Things {
    let mut things = about_a_job(stack, tenant).await;
    a_key(stack, tenant, "machine", &mut things).await;
    things.set(tenant.id);
    things.set(tenant.site);
    things.set(tenant.asset);
    things.set(tenant.contact);
    things.set(tenant.technicians[0]);
    things
}

/// Sends the example of every command, whether it can be done or not, and reads every read: what
/// that makes and tells of is known afterwards.
async fn seed(
    stack: &Stack,
    tenant: &Tenant,
    things: &mut Things,
    served: &[Described],
    key: impl Fn(&str) -> String,
) {
    let now = Utc::now();
    let mut workflow = seeder(tenant, now);
    workflow.sub = workflow_actor_id(tenant.id);
    workflow.kind = ActorKind::Workflow;
    workflow.roles.clear();
    let tokens = [mint(&seeder(tenant, now)), mint(&workflow)];
    // Under both prefixes there is the same.
    let once = served.iter().filter(|of| of.path.starts_with(api::PREFIX));
    let (commands, reads): (Vec<_>, Vec<_>) = once.partition(|of| of.is_command());
    for of in commands.into_iter().chain(reads) {
        if of.permission.is_none()
            || of
                .names
                .as_ref()
                .is_some_and(|kind| things.get(kind).is_none())
        {
            continue;
        }
        for token in &tokens {
            let id = of
                .names
                .as_ref()
                .and_then(|kind| things.get(kind))
                .unwrap_or_default();
            let path = of.path.replace("{id}", id);
            let body = of.body.as_ref().map(|example| things.put_into(example));
            let key = key(&of.id);
            let reply = patiently(|| {
                let mut ask = stack.http().bare(of.method.clone(), &path).token(token);
                for (name, value) in &of.required {
                    ask = ask.query(name, value);
                }
                match &body {
                    Some(body) => ask.key(&key).json(body),
                    None => ask,
                }
            })
            .await;
            if let Ok(answer) = serde_json::from_slice(&reply.body)
                && reply.status.is_success()
            {
                things.learn(&answer);
            }
        }
    }
}

/// People of the tenant write these words, and are written to; and there is a report.
async fn speak(stack: &Stack, tenant: &Tenant, things: &mut Things, words: &[&str; 3]) {
    let text = words.join(", ");
    let ticket = things.get("tkt").expect("a job").to_owned();
    let inbound = json!({
        "channel": "sms", "provider": "text_gateway", "peer": words[1], "text": text, "raw": text,
        "provider_message_id": format!("of-{}", tenant.id),
    });
    let outbound = json!({
        "ticket_id": ticket, "contact_id": tenant.contact, "channel": "sms", "text": text,
    });
    for (who, path, body) in [
        (
            Who::Dispatcher,
            format!("/tickets/{ticket}/notes"),
            json!({ "text": text }),
        ),
        (Who::Dispatcher, "/comms/outbound".to_owned(), outbound),
        (Who::Intake, "/comms/inbound".to_owned(), inbound),
    ] {
        let token = who.token(tenant);
        let ask = stack.http().request(Method::POST, path).token(token);
        let reply = ask.key(key()).json(&body).send().await;
        assert!(reply.status.is_success(), "{}", reply.text());
        // What a provider sent is kept of what came in.
        if let Some(id) = reply.json()["filed"]["data"]["message_id"].as_str() {
            things.set(id);
        }
    }
    let report: String =
        sqlx::query_scalar("select sha256 from reports where tenant_id = $1 limit 1")
            .bind(tenant.id.as_uuid())
            .fetch_one(stack.admin())
            .await
            .expect("an example makes one");
    things.0.insert("sha256".to_owned(), report);
}

async fn turn(stack: &Stack, tenant: &Tenant, operation: Operation) {
    let mut claims = Who::TenantAdmin.claims(tenant, Utc::now());
    claims.sub = "usr_platform".into();
    claims.roles = [Role::PlatformAdmin].into();
    claims.tenant = stack.tenant().id;
    let path = operation.path().replace("{id}", &tenant.id.to_string());
    let body = match operation {
        Operation::RequestTenantDeletion => json!({ "reason": "left", "grace_days": 7 }),
        Operation::EraseTenant => json!({}),
        _ => json!({ "reason": "tests" }),
    };
    let ask = stack.http().post(path).token(mint(&claims)).key(key());
    let reply = ask.json(&body).send().await;
    assert!(reply.status.is_success(), "{operation}: {}", reply.text());
}

/// Second pages of the lists that would else have one: approvals that wait, keys, and messages about a
/// ticket.
async fn more_than_a_page(stack: &Stack, tenant: &Tenant, things: &Things) {
    about_a_job(stack, tenant).await;
    // An example has disabled the first account.
    a_key(stack, tenant, "another", &mut Things::default()).await;
    let token = Who::Dispatcher.token(tenant);
    let message = json!({
        "ticket_id": things.get("tkt"), "contact_id": tenant.contact, "channel": "sms",
        "text": "We come at nine.",
    });
    for _ in 0..MESSAGES {
        let ask = stack
            .http()
            .post("/comms/outbound")
            .token(&token)
            .key(key());
        let reply = ask.json(&message).send().await;
        assert!(reply.status.is_success(), "{}", reply.text());
    }
}

/// The keys, and when the one that ends has done so.
async fn keys(stack: &Stack) -> (Keys, DateTime<Utc>) {
    let admin = stack.client(stack.tenant(), Who::TenantAdmin);
    let (kind, roles) = (ActorKind::Integration, [Role::Dispatcher]);
    let used = account(&admin, "used", kind, &roles, false).await;
    let stopped = account(&admin, "stopped", kind, &roles, false).await;
    let later = Utc::now() + TimeDelta::days(30);
    let soon = Utc::now() + TimeDelta::seconds(10);
    let (expired, _) = issued(&admin, used, &[], soon).await;
    let (scoped, _) = issued(&admin, used, &[SCOPE], later).await;
    let (revoked, id) = issued(&admin, used, &[], later).await;
    let revoke = RevokeApiKey {
        api_key_id: id,
        reason: Slug::new("leaked").expect("a slug"),
    };
    let options = CallOptions::default();
    let done = admin.revoke_api_key(&revoke, &options).await;
    done.expect("the caller may");
    let disabled = issue(&admin, stopped).await;
    let disable = DisableServiceAccount {
        service_account_id: stopped,
        reason: Slug::new("unused").expect("a slug"),
    };
    let done = admin.disable_service_account(&disable, &options).await;
    done.expect("the caller may");
    let home = bare_tenant(stack.admin()).await;
    let anywhere = worker_key(&admin, home).await;
    let keys = Keys {
        revoked,
        expired,
        disabled,
        scoped,
        anywhere,
    };
    (keys, soon)
}

async fn issued(
    admin: &Client,
    account: ServiceAccountId,
    scopes: &[ApiPermission],
    expires_at: DateTime<Utc>,
) -> (ApiKeyText, ApiKeyId) {
    let drawn = draw_api_key();
    let body = IssueApiKey {
        service_account_id: account,
        prefix: drawn.prefix(),
        key_hash: drawn.hash(),
        scopes: scopes.iter().copied().collect(),
        expires_at,
    };
    let made = admin.issue_api_key(&body, &CallOptions::default()).await;
    match made.expect("the caller may").filed {
        Filed::ApiKeyIssued { api_key_id, .. } => (drawn, api_key_id),
        other => panic!("{other:?}"),
    }
}

/// Where the other tenant's second pages begin, of every list that has pages.
async fn cursors(
    stack: &Stack,
    tenant: &Tenant,
    things: &Things,
    served: &[Described],
) -> BTreeMap<String, String> {
    let token = mint(&seeder(tenant, Utc::now()));
    let mut cursors = BTreeMap::new();
    for of in served.iter().filter(|of| of.has_pages) {
        let kind = of.names.as_ref();
        let id = kind.and_then(|kind| things.get(kind)).unwrap_or_default();
        let path = of.path.replace("{id}", id);
        let mut ask = stack.http().bare(of.method.clone(), &path).token(&token);
        if of.takes_limit {
            ask = ask.query("limit", "1");
        }
        let reply = ask.send().await;
        let page: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
        let cursor = page["next_cursor"].as_str().unwrap_or_else(|| {
            panic!(
                "{} has no second page: make more in matrix/world.rs: {}",
                of.id,
                reply.text()
            )
        });
        cursors.insert(of.id.clone(), cursor.to_owned());
    }
    assert!(cursors.len() > 10, "{cursors:?}");
    cursors
}

async fn tenant_tables(stack: &Stack) -> Vec<String> {
    sqlx::query_scalar(
        "select c.relname::text from pg_class c
         join pg_attribute a on a.attrelid = c.oid and a.attname = 'tenant_id' and not a.attisdropped
         where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p')",
    )
    .fetch_all(stack.admin())
    .await
    .expect("the superuser may")
}

/// Every id in any row of a tenant.
async fn ids_of(stack: &Stack, tenant: TenantId) -> HashSet<String> {
    let mut ids = HashSet::new();
    for table in tenant_tables(stack).await {
        let sql = format!("select to_jsonb(t)::text from \"{table}\" t where tenant_id = $1");
        let rows: Vec<String> = sqlx::query_scalar(AssertSqlSafe(sql))
            .bind(tenant.as_uuid())
            .fetch_all(stack.admin())
            .await
            .expect("the superuser may");
        ids.extend(rows.iter().flat_map(|row| ids_in(row)));
    }
    ids
}

/// A digest of all rows of a tenant, table by table.
pub async fn digest(stack: &Stack, tenant: TenantId) -> BTreeMap<String, String> {
    let mut digests = BTreeMap::new();
    for table in tenant_tables(stack).await {
        let sql = format!(
            "select coalesce(md5(string_agg(to_jsonb(t)::text, '|' order by to_jsonb(t)::text)), '')
               from \"{table}\" t where tenant_id = $1"
        );
        let rows: String = sqlx::query_scalar(AssertSqlSafe(sql))
            .bind(tenant.as_uuid())
            .fetch_one(stack.admin())
            .await
            .expect("the superuser may");
        digests.insert(table, rows);
    }
    digests
}
