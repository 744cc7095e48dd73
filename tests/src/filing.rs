//! A good example of every filing: a command about something other than a ticket.

use chrono::{DateTime, TimeDelta, Utc};
use contracts::{Operation, filing::FilingReceipt};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{http::Reply, stack::Stack, who::Who};

/// Every filing that has an example: about the directory, the kill switch and reports, in an order
/// in which they can be done.
pub const DIRECTORY: &[Operation] = &[
    Operation::UpsertSite,
    Operation::UpsertAsset,
    Operation::UpsertContact,
    Operation::UpsertTechnician,
    Operation::RecordAbsence,
    Operation::CancelAbsence,
    Operation::RecordDrill,
    Operation::RecordGateReport,
    Operation::EngageKillSwitch,
    Operation::ReleaseKillSwitch,
];

/// Filings without an example, because they need a world of their own (a report to promote on, a
/// bundle to upload, somebody to lend a right to), and the file of `tests/system` that makes it.
pub const WALKED: &[(Operation, &str)] = &[
    (Operation::CommsInbound, "comms.rs"),
    (Operation::DelegateApprovals, "approvals.rs"),
    (Operation::RevokeDelegation, "approvals.rs"),
    (Operation::PromoteStage, "rollout.rs"),
    (Operation::DemoteStage, "rollout.rs"),
    (Operation::ApplyStageChange, "rollout.rs"),
    (Operation::UploadBundle, "bundles.rs"),
    (Operation::ActivateBundle, "bundles.rs"),
    (Operation::CreateTenant, "tenants.rs"),
    (Operation::ConfigureTenant, "tenants.rs"),
    (Operation::SuspendTenant, "tenants.rs"),
    (Operation::ResumeTenant, "tenants.rs"),
    (Operation::RequestTenantDeletion, "tenants.rs"),
    (Operation::CancelTenantDeletion, "tenants.rs"),
    (Operation::EraseTenant, "tenants.rs"),
    (Operation::UpsertServiceAccount, "api_keys.rs"),
    (Operation::DisableServiceAccount, "api_keys.rs"),
    (Operation::IssueApiKey, "api_keys.rs"),
    (Operation::RotateApiKey, "api_keys.rs"),
    (Operation::RevokeApiKey, "api_keys.rs"),
    (Operation::LimitTenant, "limits.rs"),
    (Operation::RecordTenantExport, "tenants.rs"),
];

/// Personal data of the example contact: it may stand in table `contacts` and nowhere else.
pub const PERSONAL: [&str; 4] = [
    "Aurelia Featherstonehaugh",
    "+31205550142",
    "aurelia@featherstonehaugh.example",
    "Prinsengracht 263",
];

/// A filing that is possible now.
#[derive(Debug, Clone)]
pub struct FilingExample {
    /// Who may do it.
    pub who: Who,
    /// A person who may not.
    pub not: Who,
    /// Its body.
    pub body: Value,
    /// The version that it is applied to.
    pub before: u64,
    /// Whether it makes a thing that was not there.
    pub creates: bool,
    /// The field that names a thing of the tenant, with what names none.
    pub names: Option<(&'static str, String)>,
}

/// The example of a filing, in the stack's first tenant, which is made ready for it. Things are new
/// each time: with a code of their own, an absence at a time of its own.
pub async fn example(stack: &Stack, operation: Operation) -> FilingExample {
    let tenant = stack.tenant();
    let unique = Uuid::now_v7().simple().to_string();
    let code = format!("c{unique}");
    let place = json!({ "lat_e6": 52_370_000, "lon_e6": 4_890_000 });
    let nowhere = |prefix: &str| format!("{prefix}_{unique}");
    let reason = json!({ "reason": "agent_misbehaves" });
    let mut example = FilingExample {
        who: Who::TenantAdmin,
        not: Who::Auditor,
        body: Value::Null,
        before: 0,
        creates: true,
        names: None,
    };
    match operation {
        Operation::UpsertSite => {
            example.body = json!({ "code": code, "location": place });
        }
        Operation::UpsertAsset => {
            example.body = json!({ "code": code, "site_id": tenant.site, "kind": "sliding_door" });
            example.names = Some(("site_id", nowhere("sit")));
        }
        Operation::UpsertContact => {
            let [name, phone, email, street] = PERSONAL;
            example.body = json!({
                "code": code, "site_id": tenant.site, "name": name, "phone": phone,
                "email": email, "street": street,
            });
            example.names = Some(("site_id", nowhere("sit")));
        }
        Operation::UpsertTechnician => {
            let day = json!([[480, 720], [780, 1020]]);
            example.body = json!({
                "code": code, "contact_id": tenant.contact, "skills": ["glazing"],
                "home_base": place,
                "calendar": {
                    "time_zone": "Europe/Amsterdam",
                    "week": [day, day, day, day, day, [], []],
                    "days_off": ["2030-12-25"],
                },
            });
            example.names = Some(("contact_id", nowhere("con")));
        }
        Operation::RecordAbsence => {
            example.body = absence(stack).await;
            example.names = Some(("technician_id", nowhere("tec")));
        }
        Operation::CancelAbsence => {
            let absence = absence(stack).await;
            done(stack, Operation::RecordAbsence, Who::TenantAdmin, &absence).await;
            example.body = json!({
                "technician_id": absence["technician_id"], "starts_at": absence["window"]["start"],
            });
            example.before = 1;
            example.creates = false;
            example.names = Some(("technician_id", nowhere("tec")));
        }
        Operation::RecordDrill => {
            example.body = json!({
                "scope": { "kind": "agent", "actor_id": code }, "clients": 2,
                "engaged_at": Utc::now(), "stop_millis": 3, "attempts": 9, "passed": 0,
            });
        }
        Operation::RecordGateReport => {
            let now = Utc::now();
            example.body = json!({
                "target": { "operation": Operation::Reschedule },
                "since": now - TimeDelta::days(1), "until": now,
            });
        }
        Operation::EngageKillSwitch | Operation::ReleaseKillSwitch => {
            let engaged = operation == Operation::ReleaseKillSwitch;
            let client = stack.client(tenant, Who::TenantAdmin);
            let mut switch = client.kill_switch().await.expect("anybody may ask");
            if switch.engaged != engaged {
                let other = match engaged {
                    true => Operation::EngageKillSwitch,
                    false => Operation::ReleaseKillSwitch,
                };
                done(stack, other, Who::TenantAdmin, &reason).await;
                switch = client.kill_switch().await.expect("anybody may ask");
            }
            example.body = reason;
            example.before = switch.generation;
            example.creates = false;
        }
        _ => panic!("{operation} is no filing of the directory"),
    }
    example
}

/// An absence of the first technician that overlaps none on record.
async fn absence(stack: &Stack) -> Value {
    let technician = stack.tenant().technicians[0];
    let last: Option<DateTime<Utc>> =
        sqlx::query_scalar("select max(ends_at) from technician_absences where technician_id = $1")
            .bind(technician.as_uuid())
            .fetch_one(stack.admin())
            .await
            .expect("the superuser may");
    let start = last.unwrap_or_else(Utc::now) + TimeDelta::hours(1);
    json!({
        "technician_id": technician, "reason": "leave",
        "window": { "start": start, "end": start + TimeDelta::hours(8) },
    })
}

/// Files it; it must succeed.
pub async fn done(stack: &Stack, operation: Operation, who: Who, body: &Value) -> FilingReceipt {
    receipt(&stack.command(who, operation, None, body).send().await)
}

/// The answer of a filing that was done.
#[track_caller]
pub fn receipt(reply: &Reply) -> FilingReceipt {
    assert!(
        reply.status.is_success(),
        "{}: {}",
        reply.status,
        reply.text()
    );
    assert_eq!(reply.header("content-type"), Some("application/json"));
    serde_json::from_slice(&reply.body).expect("a receipt")
}
