//! Every read, by every kind of caller with every role: answered if and only if the table of the
//! active bundle names them. And nothing of another tenant is there, whatever the roles.

use std::collections::{BTreeMap, BTreeSet};

use api::{OperationInfo, PREFIX, operations};
use chrono::Utc;
use contracts::{
    ActorKind, ApiPermission, ErrorCode, Operation, ReadPermission, Role, TicketState,
    actor::{TokenClaims, workflow_actor_id},
    filing::{Filed, FilingReceipt},
    read::DecisionFilter,
};
use dispatch_tests::{
    http::Reply,
    job::Job,
    software::account,
    stack::{Stack, with_api},
    who::{Who, mint},
    world::Tenant,
};
use futures::{StreamExt, stream};
use policy::Bundle;
use serde_json::json;
use strum::VariantArray;

/// How many ask at once.
const AT_ONCE: usize = 6;

/// All reads that need a permission.
fn reads() -> Vec<(OperationInfo, ReadPermission)> {
    let reads = operations()
        .into_iter()
        .filter_map(|read| match read.permission {
            Some(ApiPermission::Read(permission)) => Some((read, permission)),
            _ => None,
        });
    reads.collect()
}

/// A caller of this kind with these roles; a technician is the one that the samples send.
fn claims(tenant: &Tenant, kind: ActorKind, roles: &[Role]) -> TokenClaims {
    let mut claims = Who::Dispatcher.claims(tenant, Utc::now());
    claims.sub = match kind {
        ActorKind::Workflow => workflow_actor_id(tenant.id),
        kind => format!("usr_{kind}"),
    };
    claims.kind = kind;
    claims.roles = roles.iter().copied().collect();
    let sent = roles.contains(&Role::Technician);
    claims.technician_id = sent.then_some(tenant.technicians[0]);
    claims
}

/// One of everything that a path can name, by the path before its `{id}`.
async fn things(stack: &Stack) -> BTreeMap<&'static str, String> {
    let job = Job::at(stack, stack.tenant(), TicketState::ChangeRequested).await;
    let said = json!({
        "channel": "sms", "provider": "voxbridge", "provider_message_id": "pm-1",
        "peer": "+31205550199", "provider_time": "2026-11-21T08:00:00Z",
        "text": "Quillfeather says the pane is broken", "raw": "raw Quillfeather",
    });
    let ask = stack.command(Who::Intake, Operation::CommsInbound, None, &said);
    let reply = ask.send().await;
    assert!(reply.status.is_success(), "{}", reply.text());
    let receipt: FilingReceipt = serde_json::from_slice(&reply.body).unwrap();
    let Filed::Message { message_id, .. } = receipt.filed else {
        panic!("not a message: {receipt:?}");
    };
    let client = stack.client(stack.tenant(), Who::Auditor);
    let decisions = client.decisions(&DecisionFilter::default()).await.unwrap();
    let tenant = stack.tenant();
    let admin = stack.client(tenant, Who::TenantAdmin);
    let software = account(&admin, "erp", ActorKind::Integration, &[], false).await;
    [
        ("/service-accounts/", software.to_string()),
        ("/tickets/", job.id().to_string()),
        ("/approvals/", job.approval().to_string()),
        ("/sites/", tenant.site.to_string()),
        ("/assets/", tenant.asset.to_string()),
        ("/contacts/", tenant.contact.to_string()),
        ("/technicians/", tenant.technicians[0].to_string()),
        ("/comms/", message_id.to_string()),
        ("/tenants/", tenant.id.to_string()),
        ("/decisions/", decisions.items[0].id.to_string()),
    ]
    .into()
}

/// The address of a read about these things.
fn path(read: &OperationInfo, things: &BTreeMap<&'static str, String>) -> String {
    let below = read.path.strip_prefix(PREFIX).unwrap();
    let query = match below {
        "/tickets/{id}/advisor-input" => "?kind=triage",
        "/rollout/ledger" => "?operation=triage",
        "/rollout/reports" => "?sha256=none",
        _ => "",
    };
    let Some((before, _)) = below.split_once("{id}") else {
        return format!("{below}{query}");
    };
    let id = things.get(before);
    let id = id.unwrap_or_else(|| panic!("add one of {before}… to the things"));
    format!("{}{query}", below.replace("{id}", id))
}

async fn ask(stack: &Stack, claims: &TokenClaims, path: &str) -> Reply {
    stack.http().get(path).token(mint(claims)).send().await
}

#[test]
fn every_read_is_for_those_whom_the_table_names() {
    with_api(async |stack| {
        let things = things(&stack).await;
        let bundle = Bundle::starter().unwrap();
        let none = [vec![]].into_iter();
        let roles: Vec<Vec<Role>> = none
            .chain(Role::VARIANTS.iter().map(|r| vec![*r]))
            .collect();
        let mut cases = Vec::new();
        for (read, permission) in reads() {
            for kind in ActorKind::VARIANTS {
                for roles in &roles {
                    cases.push((path(&read, &things), permission, *kind, roles.clone()));
                }
            }
        }
        let (stack, bundle) = (&stack, &bundle);
        let outcomes = stream::iter(cases).map(async |(path, permission, kind, roles)| {
            let claims = claims(stack.tenant(), kind, &roles);
            let held: BTreeSet<_> = claims.roles.clone();
            let named = bundle
                .holders(ApiPermission::Read(permission))
                .include(kind, &held);
            let reply = ask(stack, &claims, &path).await;
            let what = format!("{path} by {kind} {roles:?}: {}", reply.text());
            match named {
                // What they read of it may depend on the thing; that they may is settled.
                true => assert!([200, 404, 409].contains(&reply.status.as_u16()), "{what}"),
                false if permission.is_barred(kind) => {
                    let problem = reply.no_attempt(ErrorCode::NotFound);
                    assert!(problem.meta.is_empty(), "{what}");
                }
                false => {
                    let problem = reply.no_attempt(ErrorCode::Forbidden);
                    let missing = ApiPermission::Read(permission).to_string();
                    assert_eq!(problem.meta["permission"], missing.as_str(), "{what}");
                    assert!(problem.detail.contains(&missing), "{what}");
                }
            }
            if permission.is_personal() && !reply.status.is_success() {
                assert!(!reply.text().contains("Quillfeather"), "{what}");
            }
            (named, reply.status.as_u16())
        });
        let outcomes: Vec<_> = outcomes.buffer_unordered(AT_ONCE).collect().await;
        let read = outcomes
            .iter()
            .filter(|(named, status)| *named && *status == 200)
            .count();
        let refused = outcomes.iter().filter(|(named, _)| !named).count();
        assert!(
            read > 500 && refused > 300,
            "{read} read, {refused} refused"
        );
    });
}

#[test]
fn what_is_another_tenants_is_not_there_whatever_the_roles() {
    with_api(async |stack| {
        let things = things(&stack).await;
        // Who runs the installation sees of other tenants that they are there; nobody else does.
        let roles = Role::VARIANTS
            .iter()
            .filter(|role| **role != Role::PlatformAdmin);
        let roles: Vec<_> = roles.copied().collect();
        let bundle = Bundle::starter().unwrap();
        for kind in [ActorKind::Person, ActorKind::Integration] {
            let own = claims(stack.tenant(), kind, &roles);
            let other = claims(stack.other(), kind, &roles);
            for (read, _) in reads()
                .iter()
                .filter(|(read, _)| read.path.contains("{id}"))
            {
                let path = path(read, &things);
                let may = bundle.holders(read.permission.unwrap());
                let may = may.include(kind, &own.roles);
                let theirs = ask(&stack, &other, &path).await;
                match may {
                    true => theirs.no_attempt(ErrorCode::NotFound),
                    false => theirs.no_attempt(ErrorCode::Forbidden),
                };
                for id in things.values() {
                    assert!(!theirs.text().contains(id), "{path}: {}", theirs.text());
                }
                let ours = ask(&stack, &own, &path).await;
                assert_eq!(ours.status == 403, !may, "{path}: {}", ours.text());
            }
        }
    });
}

#[test]
fn a_command_names_the_permission_that_is_missing() {
    with_api(async |stack| {
        let job = Job::at(&stack, stack.tenant(), TicketState::New).await;
        let body = job.body(Operation::Triage).await;
        let ask = stack.command(Who::Auditor, Operation::Triage, job.id(), &body);
        let problem = ask.send().await.problem(ErrorCode::Forbidden);
        assert_eq!(problem.meta["permission"], "command:triage");
        assert!(problem.reasons[0].to_pass.contains("dispatcher"));
        // Who has it and is refused for something else lacks no permission.
        let sent = Job::at(&stack, stack.tenant(), TicketState::Dispatched).await;
        let body = sent.body(Operation::CheckIn).await;
        let ask = stack.command(Who::OtherTechnician, Operation::CheckIn, sent.id(), &body);
        let problem = ask.send().await.problem(ErrorCode::Forbidden);
        assert!(problem.meta.is_empty(), "{:?}", problem.meta);
    });
}
