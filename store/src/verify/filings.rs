//! Filings: what the chains say was written of sites, assets, people, absences and the kill switch,
//! compared with the rows that are there.
//!
//! A thing may have been there before its first filing: a tenant's first rows are seeded, at
//! version 1. From its first filing on its versions follow each other without a gap, and its row is
//! what the last one wrote. Of a contact only what is not personal is looked at. Messages are
//! compared elsewhere.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, SubsecRound, Utc};
use contracts::{
    ApiKeyId, Operation, ServiceAccountId, TenantId,
    command::CommandClass,
    filing::{Filed, FilingReceipt},
    kill_switch::KillScope,
    masking::is_hidden,
};
use serde_json::{Value, json};
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

use super::{
    Findings, Invariant,
    approvals::{self, Approvals, Attempt},
};
use crate::{
    Error,
    audit::{AuditRow, actor_stream, filing_stream},
};

/// One kind of row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Site,
    Asset,
    Contact,
    Technician,
    Absence,
    KillSwitch,
    Tenant,
    ServiceAccount,
    ApiKey,
}

impl Kind {
    const ALL: [Self; 9] = [
        Self::Site,
        Self::Asset,
        Self::Contact,
        Self::Technician,
        Self::Absence,
        Self::KillSwitch,
        Self::Tenant,
        Self::ServiceAccount,
        Self::ApiKey,
    ];

    const fn table(self) -> &'static str {
        match self {
            Self::Site => "sites",
            Self::Asset => "assets",
            Self::Contact => "contacts",
            Self::Technician => "technicians",
            Self::Absence => "technician_absences",
            Self::KillSwitch => "kill_switches",
            Self::Tenant => "tenants",
            Self::ServiceAccount => "service_accounts",
            Self::ApiKey => "api_keys",
        }
    }

    /// All rows: tenant, key, version, document. Moments are whole microseconds, as text: one that
    /// never comes is a moment too.
    const fn rows(self) -> &'static str {
        match self {
            Self::Site => {
                "select tenant_id, id::text as key, version, jsonb_build_object('code', code,
                     'location', jsonb_build_object('lat_e6', lat_e6, 'lon_e6', lon_e6),
                     'active', active) as doc
                 from sites"
            }
            Self::Asset => {
                "select tenant_id, id::text as key, version, jsonb_build_object('code', code,
                     'site_id', wire_id('sit', site_id), 'kind', kind, 'active', active) as doc
                 from assets"
            }
            Self::Contact => {
                "select tenant_id, id::text as key, version, jsonb_build_object('code', code,
                     'site_id', wire_id('sit', site_id)) as doc
                 from contacts"
            }
            Self::Technician => {
                "select tenant_id, id::text as key, version, jsonb_build_object('code', code,
                     'contact_id', wire_id('con', contact_id), 'skills', to_jsonb(skills),
                     'home_base', jsonb_build_object('lat_e6', base_lat_e6, 'lon_e6', base_lon_e6),
                     'calendar', calendar, 'active', active) as doc
                 from technicians"
            }
            Self::Absence => {
                "select tenant_id, technician_id || '/' || trunc(extract(epoch from starts_at) * 1000000)
                     as key, 1::bigint as version, jsonb_build_object(
                     'end', trunc(extract(epoch from ends_at) * 1000000)::text, 'reason', reason) as doc
                 from technician_absences"
            }
            Self::KillSwitch => {
                // The one over everything is nobody's: any tenant may have turned it.
                "select tenant_id, scope as key, generation as version, jsonb_build_object(
                     'engaged', engaged, 'reason', reason, 'turned_by', turned_by,
                     'turned_at', trunc(extract(epoch from turned_at) * 1000000)::text,
                     'expires_at', trunc(extract(epoch from expires_at) * 1000000)::text,
                     'command_id', command_id) as doc
                 from (select tenant_id, scope, engaged, generation, reason, turned_by, turned_at,
                              expires_at, command_id from kill_switches
                       union all
                       select '00000000-0000-0000-0000-000000000000', 'everything', engaged,
                              generation, reason, turned_by, turned_at, expires_at, command_id
                         from kill_switch_of_everything) k"
            }
            Self::Tenant => {
                "select tenant_id, tenant_id::text as key, version, jsonb_build_object(
                     'slug', slug, 'state', state, 'command_id', command_id, 'erase_after',
                     trunc(extract(epoch from erase_after) * 1000000)::text) as doc
                 from tenants"
            }
            Self::ServiceAccount => {
                "select tenant_id, id::text as key, version, jsonb_build_object('code', code,
                     'kind', kind, 'roles', to_jsonb(roles), 'any_tenant', any_tenant,
                     'state', state, 'created_by', created_by) as doc
                 from service_accounts"
            }
            Self::ApiKey => {
                // Of its hash the chain has the hash, as JSON text.
                "select tenant_id, id::text as key, 1::bigint as version, jsonb_build_object(
                     'account', account_id, 'prefix', prefix, 'key_hash', jsonb_build_object('sha256',
                         encode(sha256(convert_to('\"' || encode(key_hash, 'hex') || '\"', 'UTF8')),
                                'hex')),
                     'scopes', to_jsonb(scopes),
                     'expires_at', trunc(extract(epoch from expires_at) * 1000000)::text,
                     'revoked_at', trunc(extract(epoch from revoked_at) * 1000000)::text,
                     'replaced_by', replaced_by, 'created_by', created_by,
                     'command_id', command_id) as doc
                 from api_keys"
            }
        }
    }
}

type Key = (TenantId, Kind, String);

/// What the chains told so far.
#[derive(Debug, Default)]
pub(super) struct Filings {
    told: BTreeMap<Key, Told>,
    /// Absences that were cancelled and not recorded again.
    cancelled: BTreeSet<Key>,
    /// The turns of each kill switch. They stand on more than one chain: an approval releases it too.
    turns: BTreeMap<Key, BTreeSet<u64>>,
    /// Approvals without a ticket.
    approvals: Approvals,
}

#[derive(Debug)]
struct Told {
    version: u64,
    doc: Value,
}

impl Filings {
    /// Takes an accepted attempt that has no ticket.
    pub(super) fn add(
        &mut self,
        attempt: Attempt<'_>,
        receipt: Option<&str>,
        found: &mut Findings,
    ) {
        let Attempt { place, row, .. } = attempt;
        let operation = row.operation.parse::<Operation>();
        let about_approval = row.changes[0]["type"] == "approval.changed";
        if operation.map(Operation::class) != Ok(CommandClass::Filing) && !about_approval {
            let what = "an accepted attempt without its ticket";
            found.add(Invariant::I2, place, what);
            return;
        }
        let filed = match serde_json::from_value::<[Filed; 1]>(row.changes.clone()) {
            Ok([filed]) => filed,
            Err(error) => {
                let what = format!("its changes cannot be read: {error}");
                found.add(Invariant::I3, place, what);
                return;
            }
        };
        if filing_stream(&filed).unwrap_or_else(|| actor_stream(&row.actor_id)) != row.stream {
            found.add(Invariant::I9, place, "the row is on another thing's chain");
        }
        self.approvals.filed(attempt, &filed, found);
        if receipt.is_some_and(|body| !self.tells(body, attempt, &filed)) {
            let what = "a stored answer that does not tell what was filed";
            found.add(Invariant::I1, place, what);
        }
        match filed {
            // What the last yes carried out.
            Filed::ApprovalChanged {
                executed: Some(executed),
                ..
            } => self.write(place, row, *executed, true, found),
            filed => self.write(place, row, filed, false, found),
        }
    }

    /// Whether the body is the receipt of this attempt.
    fn tells(&mut self, body: &str, attempt: Attempt<'_>, filed: &Filed) -> bool {
        let row = attempt.row;
        match filed {
            Filed::Held { approval_id, .. } => self
                .approvals
                .get_mut(row.tenant_id, *approval_id)
                .is_some_and(|told| told.is_receipt(body, row, attempt.decision)),
            filed => tells(body, row, filed),
        }
    }

    fn write(
        &mut self,
        place: &str,
        row: &AuditRow,
        filed: Filed,
        approved: bool,
        found: &mut Findings,
    ) {
        if let Some((generation, scope, doc)) = turn(row, &filed) {
            let tenant = match scope {
                KillScope::Everything => TenantId::from_uuid(Uuid::nil()),
                _ => row.tenant_id,
            };
            let leads = generation == row.produced_version
                && row.produced_version == row.applied_to_version + 1;
            if !leads {
                found.add(Invariant::I3, place, LEADS_ELSEWHERE);
            }
            let key = (tenant, Kind::KillSwitch, scope.key());
            let turns = self.turns.entry(key.clone()).or_default();
            if !turns.insert(generation) {
                found.add(
                    Invariant::I3,
                    place,
                    "a turn of a kill switch that was made before",
                );
            }
            if turns.last() == Some(&generation) {
                let version = generation;
                self.told.insert(key, Told { version, doc });
            }
            return;
        }
        // It may be made in another tenant's records, whose chain may come later.
        if let Filed::Tenant {
            tenant_id,
            slug,
            state,
            erase_after,
        } = &filed
        {
            if row.produced_version != row.applied_to_version + 1 {
                found.add(Invariant::I3, place, LEADS_ELSEWHERE);
            }
            let creates = row.operation == Operation::CreateTenant.to_string();
            if creates != (row.applied_to_version == 0) || !creates && *tenant_id != row.tenant_id {
                let what = "a command about a tenant in another one's records";
                found.add(Invariant::I10, place, what);
            }
            let key = (*tenant_id, Kind::Tenant, tenant_id.as_uuid().to_string());
            let turns = self.turns.entry(key.clone()).or_default();
            if !turns.insert(row.produced_version) {
                let what = "a version of a tenant that was made before";
                found.add(Invariant::I3, place, what);
            }
            if turns.last() == Some(&row.produced_version) {
                let doc = json!({
                    "slug": slug, "state": state, "command_id": row.command_id.as_uuid(),
                    "erase_after": erase_after.map(micros),
                });
                let version = row.produced_version;
                self.told.insert(key, Told { version, doc });
            }
            return;
        }
        if self.of_account(place, row, &filed, found) {
            return;
        }
        let body = |members: &[&str]| -> Value {
            let named = members
                .iter()
                .map(|name| ((*name).to_owned(), row.payload[*name].clone()));
            Value::Object(named.collect())
        };
        let absence = |technician: Uuid, start: DateTime<Utc>| {
            let key = format!("{technician}/{}", micros(start));
            (row.tenant_id, Kind::Absence, key)
        };
        let (operation, kind, id, doc) = match filed {
            Filed::Site { site_id, code } => (
                Operation::UpsertSite,
                Kind::Site,
                site_id.as_uuid().to_string(),
                with(body(&["location", "active"]), "code", json!(code)),
            ),
            Filed::Asset { asset_id, code } => (
                Operation::UpsertAsset,
                Kind::Asset,
                asset_id.as_uuid().to_string(),
                with(body(&["site_id", "kind", "active"]), "code", json!(code)),
            ),
            Filed::Contact { contact_id, code } => (
                Operation::UpsertContact,
                Kind::Contact,
                contact_id.as_uuid().to_string(),
                with(body(&["site_id"]), "code", json!(code)),
            ),
            Filed::Technician {
                technician_id,
                code,
            } => {
                let members = ["contact_id", "skills", "home_base", "calendar", "active"];
                (
                    Operation::UpsertTechnician,
                    Kind::Technician,
                    technician_id.as_uuid().to_string(),
                    with(body(&members), "code", json!(code)),
                )
            }
            Filed::AbsenceRecorded {
                technician_id,
                window,
            } => {
                let key = absence(technician_id.as_uuid(), window.start);
                self.cancelled.remove(&key);
                let doc = json!({ "end": micros(window.end), "reason": row.payload["reason"] });
                (Operation::RecordAbsence, Kind::Absence, key.2, doc)
            }
            Filed::AbsenceCancelled {
                technician_id,
                window,
            } => {
                let key = absence(technician_id.as_uuid(), window.start);
                self.told.remove(&key);
                self.cancelled.insert(key);
                return;
            }
            Filed::Tenant { .. }
            | Filed::ServiceAccount { .. }
            | Filed::ApiKeyIssued { .. }
            | Filed::ApiKeyRotated { .. }
            | Filed::ApiKeyRevoked { .. }
            | Filed::TenantExport { .. }
            | Filed::KillSwitchEngaged { .. }
            | Filed::KillSwitchReleased { .. }
            | Filed::Message { .. }
            | Filed::Drilled { .. }
            | Filed::Delegated { .. }
            | Filed::DelegationRevoked { .. }
            | Filed::Report { .. }
            | Filed::StageSet { .. }
            | Filed::BundleUploaded { .. }
            | Filed::BundleActivated { .. }
            | Filed::Held { .. }
            | Filed::ApprovalChanged { .. } => return,
        };
        if row.operation != operation.to_string() && !approved {
            let what = "a filing of something else than its command";
            found.add(Invariant::I1, place, what);
        }
        let key = (row.tenant_id, kind, id);
        let before = self.told.get(&key).map(|told| told.version);
        let follows = match (kind, before) {
            (Kind::Absence, _) => row.applied_to_version == 0,
            (_, None) => row.applied_to_version <= 1,
            (_, Some(version)) => row.applied_to_version == version,
        };
        if !follows {
            let what = "it was not applied to the version that was there";
            found.add(Invariant::I3, place, what);
        }
        if row.produced_version != row.applied_to_version + 1 {
            found.add(Invariant::I3, place, LEADS_ELSEWHERE);
        }
        let version = row.produced_version;
        self.told.insert(key, Told { version, doc });
    }

    /// A service account or one of its keys: they have one version. Nobody seeds them, so that a key
    /// that somebody put there past the API is found.
    fn of_account(
        &mut self,
        place: &str,
        row: &AuditRow,
        filed: &Filed,
        found: &mut Findings,
    ) -> bool {
        let Some((operation, account)) = about_account(row, filed) else {
            return false;
        };
        if row.operation != operation.to_string() {
            let what = "a filing of something else than its command";
            found.add(Invariant::I1, place, what);
        }
        let tenant = row.tenant_id;
        let key = (tenant, Kind::ServiceAccount, account.as_uuid().to_string());
        let told = self.told.entry(key).or_insert_with(|| Told {
            version: 0,
            doc: json!({ "created_by": row.actor_id }),
        });
        if row.applied_to_version != told.version {
            let what = "it was not applied to the version that was there";
            found.add(Invariant::I3, place, what);
        }
        if row.produced_version != row.applied_to_version + 1 {
            found.add(Invariant::I3, place, LEADS_ELSEWHERE);
        }
        told.version = row.produced_version;
        if let Filed::ServiceAccount { code, state, .. } = filed {
            told.doc["state"] = json!(state);
            if operation == Operation::UpsertServiceAccount {
                told.doc["code"] = json!(code);
                for member in ["kind", "roles", "any_tenant"] {
                    told.doc[member] = row.payload[member].clone();
                }
            }
        }
        self.of_key(place, row, (filed, account), found);
        true
    }

    fn of_key(
        &mut self,
        place: &str,
        row: &AuditRow,
        (filed, account): (&Filed, ServiceAccountId),
        found: &mut Findings,
    ) {
        let key = |id: &ApiKeyId| (row.tenant_id, Kind::ApiKey, id.as_uuid().to_string());
        let (id, prefix, expires_at, replaces) = match filed {
            Filed::ApiKeyIssued {
                api_key_id,
                prefix,
                expires_at,
                ..
            } => (api_key_id, prefix, expires_at, None),
            Filed::ApiKeyRotated {
                api_key_id,
                prefix,
                expires_at,
                replaces,
                replaced_ends_at,
                ..
            } => {
                let before = Some((replaces, replaced_ends_at));
                (api_key_id, prefix, expires_at, before)
            }
            Filed::ApiKeyRevoked { api_key_id, .. } => {
                match self.told.get_mut(&key(api_key_id)) {
                    Some(told) => told.doc["revoked_at"] = micros(row.at).into(),
                    None => found.add(Invariant::I3, place, "a key taken back that nobody gave"),
                }
                return;
            }
            _ => return,
        };
        let mut scopes = row.payload["scopes"].clone();
        if let Some((replaced, ends_at)) = replaces {
            match self.told.get_mut(&key(replaced)) {
                Some(told) => {
                    told.doc["expires_at"] = micros(*ends_at).into();
                    told.doc["replaced_by"] = json!(id.as_uuid());
                    scopes = told.doc["scopes"].clone();
                }
                None => found.add(Invariant::I3, place, "a key that replaces none"),
            }
        }
        let doc = json!({
            "account": account.as_uuid(), "prefix": prefix, "key_hash": row.payload["key_hash"],
            "scopes": scopes, "expires_at": micros(*expires_at), "revoked_at": null,
            "replaced_by": null, "created_by": row.actor_id, "command_id": row.command_id.as_uuid(),
        });
        self.told.insert(key(id), Told { version: 1, doc });
    }

    /// Compares the rows that are there.
    pub(super) async fn compare(
        mut self,
        tx: &mut PgConnection,
        found: &mut Findings,
    ) -> Result<(), Error> {
        for (key, turns) in &self.turns {
            // A tenant may have been there before its first command.
            let first = match key.1 {
                Kind::Tenant => turns.first().copied().unwrap_or(1).min(2),
                _ => 1,
            };
            let whole = (first..).zip(turns).all(|(n, turn)| n == *turn);
            if !whole {
                let what = match key.1 {
                    Kind::Tenant => "a version of a tenant is missing",
                    _ => "a turn of a kill switch is missing",
                };
                found.add(Invariant::I3, name(key), what);
            }
        }
        for kind in Kind::ALL {
            let rows: Vec<Row> = sqlx::query_as(kind.rows()).fetch_all(&mut *tx).await?;
            for row in rows {
                let key = (TenantId::from_uuid(row.tenant_id), kind, row.key);
                if let Some((invariant, what)) = self.take(&key, row.version, &row.doc) {
                    found.add(invariant, name(&key), what);
                }
            }
        }
        for key in self.told.keys() {
            let what = "a row that a filing tells of is missing";
            found.add(Invariant::I1, name(key), what);
        }
        approvals::compare_rest(tx, self.approvals, found).await
    }

    /// Takes the row that is there out and says what is wrong with it.
    fn take(&mut self, key: &Key, version: i64, doc: &Value) -> Option<(Invariant, &'static str)> {
        let Some(told) = self.told.remove(key) else {
            let never = [Kind::KillSwitch, Kind::ServiceAccount, Kind::ApiKey];
            let seeded = !never.contains(&key.1) && version == 1;
            return (!seeded || self.cancelled.contains(key))
                .then_some((Invariant::I2, "a row that no filing tells of"));
        };
        let same = is_as_told(&told.doc, doc) && u64::try_from(version) == Ok(told.version);
        (!same).then_some((Invariant::I1, "a row that is not what its filing tells"))
    }
}

/// Whether the row is what its filing told. What is hidden on the chain may be anything in the row;
/// rows of a version that hid less are compared in full.
fn is_as_told(told: &Value, row: &Value) -> bool {
    match (told, row) {
        (Value::Object(told), Value::Object(row)) => {
            told.len() == row.len()
                && told.iter().all(|(name, value)| {
                    row.get(name)
                        .is_some_and(|there| is_hidden(value) || value == there)
                })
        }
        (told, row) => told == row,
    }
}

/// Which account a filing is about, and by which command it was written.
fn about_account(row: &AuditRow, filed: &Filed) -> Option<(Operation, ServiceAccountId)> {
    let disables = row.operation == Operation::DisableServiceAccount.to_string();
    Some(match filed {
        Filed::ServiceAccount {
            service_account_id, ..
        } if disables => (Operation::DisableServiceAccount, *service_account_id),
        Filed::ServiceAccount {
            service_account_id, ..
        } => (Operation::UpsertServiceAccount, *service_account_id),
        Filed::ApiKeyIssued {
            service_account_id, ..
        } => (Operation::IssueApiKey, *service_account_id),
        Filed::ApiKeyRotated {
            service_account_id, ..
        } => (Operation::RotateApiKey, *service_account_id),
        Filed::ApiKeyRevoked {
            service_account_id, ..
        } => (Operation::RevokeApiKey, *service_account_id),
        _ => return None,
    })
}

/// A turn of a kill switch: its generation, where, and the row that it writes.
fn turn<'a>(row: &AuditRow, filed: &'a Filed) -> Option<(u64, &'a KillScope, Value)> {
    let (engaged, generation, reason, scope, expires_at) = match filed {
        Filed::KillSwitchEngaged {
            generation,
            reason,
            scope,
            expires_at,
            warning: _,
        } => (true, *generation, reason, scope, *expires_at),
        Filed::KillSwitchReleased {
            generation,
            reason,
            scope,
        } => (false, *generation, reason, scope, None),
        _ => return None,
    };
    let doc = json!({
        "engaged": engaged,
        "reason": reason,
        "turned_by": row.actor_id,
        "turned_at": micros(row.at),
        "expires_at": expires_at.map(micros),
        "command_id": row.command_id.as_uuid(),
    });
    Some((generation, scope, doc))
}

const LEADS_ELSEWHERE: &str = "its changes do not lead to the version that it produced";

/// Whether the body is the receipt of this attempt.
fn tells(body: &str, row: &AuditRow, filed: &Filed) -> bool {
    let expected = FilingReceipt {
        command_id: row.command_id,
        decision_id: row.decision_id,
        applied_to_version: row.applied_to_version,
        produced_version: row.produced_version,
        dry_run: false,
        filed: filed.clone(),
        ticket: None,
    };
    serde_json::from_str::<FilingReceipt>(body).is_ok_and(|told| told == expected)
}

fn with(mut doc: Value, member: &str, value: Value) -> Value {
    doc[member] = value;
    doc
}

/// What Postgres keeps of a moment.
fn micros(at: DateTime<Utc>) -> String {
    at.round_subsecs(6).timestamp_micros().to_string()
}

#[derive(FromRow)]
struct Row {
    tenant_id: Uuid,
    key: String,
    version: i64,
    doc: Value,
}

fn name((tenant, kind, key): &Key) -> String {
    format!("{} {tenant} {key}", kind.table())
}

#[cfg(test)]
mod tests {
    use contracts::{AuditId, CommandId, DecisionId, SiteId};

    use super::*;

    fn row(applied: u64, active: bool) -> AuditRow {
        let site = SiteId::from_uuid(Uuid::nil());
        AuditRow {
            id: AuditId::from_uuid(Uuid::nil()),
            tenant_id: TenantId::from_uuid(Uuid::nil()),
            stream: site.to_string(),
            ticket_id: None,
            command_id: CommandId::from_uuid(Uuid::nil()),
            decision_id: DecisionId::from_uuid(Uuid::nil()),
            decision_sha256: String::new(),
            bundle_sha256: String::new(),
            request_id: "r".into(),
            correlation_id: "c".into(),
            trace_id: "t".into(),
            actor_id: "usr_a".into(),
            actor_kind: "person".into(),
            actor_roles: json!([]),
            tool_name: None,
            operation: "upsert_site".into(),
            at: DateTime::UNIX_EPOCH,
            refused: None,
            before: None,
            after: None,
            applied_to_version: applied,
            produced_version: applied + 1,
            payload: json!({ "location": { "lat_e6": 1, "lon_e6": 2 }, "active": active }),
            changes: json!([{ "type": "site.upserted", "data": { "site_id": site, "code": "a" } }]),
        }
    }

    fn doc(active: bool) -> Value {
        json!({ "location": { "lat_e6": 1, "lon_e6": 2 }, "active": active, "code": "a" })
    }

    fn told(rows: &[AuditRow]) -> (Filings, Vec<String>) {
        let (mut filings, mut found) = (Filings::default(), Findings::default());
        for row in rows {
            let attempt = Attempt {
                place: "here",
                row,
                decision: None,
                input: None,
                named: None,
            };
            filings.add(attempt, None, &mut found);
        }
        (
            filings,
            found.violations.into_iter().map(|v| v.what).collect(),
        )
    }

    #[test]
    fn a_row_is_what_the_last_filing_wrote() {
        let key = (
            TenantId::from_uuid(Uuid::nil()),
            Kind::Site,
            Uuid::nil().to_string(),
        );
        let twice = || {
            let (filings, found) = told(&[row(1, true), row(2, false)]);
            assert_eq!(found, [""; 0]);
            filings
        };
        assert_eq!(twice().take(&key, 3, &doc(false)), None);
        assert!(twice().take(&key, 3, &doc(true)).is_some());
        assert!(twice().take(&key, 2, &doc(false)).is_some());
        assert_eq!(Filings::default().take(&key, 1, &doc(true)), None, "seeded");
        assert!(Filings::default().take(&key, 2, &doc(true)).is_some());
    }

    #[test]
    fn what_the_chain_hides_is_not_compared_and_the_rest_is() {
        let key = (
            TenantId::from_uuid(Uuid::nil()),
            Kind::Site,
            Uuid::nil().to_string(),
        );
        let take = |doc: &Value| {
            let mut hidden = row(1, true);
            hidden.payload["location"] = json!({ "hidden": true });
            told(&[hidden]).0.take(&key, 2, doc)
        };
        assert_eq!(take(&doc(true)), None);
        assert!(take(&doc(false)).is_some());
        let mut without = doc(true);
        without.as_object_mut().unwrap().remove("location");
        assert!(take(&without).is_some());
    }

    #[test]
    fn versions_follow_each_other() {
        for rows in [[row(2, true), row(3, true)], [row(0, true), row(2, true)]] {
            let (_, found) = told(&rows);
            assert_eq!(found.len(), 1, "{found:?}");
        }
        let mut leap = row(0, true);
        leap.produced_version = 2;
        assert_eq!(told(&[leap]).1.len(), 1);
    }

    #[test]
    fn an_attempt_that_is_no_filing_lacks_its_ticket() {
        let mut close = row(0, true);
        close.operation = "close".into();
        assert_eq!(told(&[close]).1, ["an accepted attempt without its ticket"]);
        let mut elsewhere = row(0, true);
        elsewhere.stream = "kill_switch".into();
        assert_eq!(
            told(&[elsewhere]).1,
            ["the row is on another thing's chain"]
        );
        let mut other = row(0, true);
        other.operation = "upsert_asset".into();
        assert_eq!(
            told(&[other]).1,
            ["a filing of something else than its command"]
        );
    }
}
