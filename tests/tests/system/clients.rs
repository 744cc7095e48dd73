//! The typed client is complete: each operation of the document is reached by a method of it, and it
//! reaches nothing that is not there. Every method is called once, at a server that only listens.
//!
//! Pages for a browser need no client: what is public and answers no JSON is left out.

use std::{
    collections::BTreeSet,
    fs,
    sync::{Arc, Mutex},
};

use axum::{Router, extract::State, http::Request, response::IntoResponse};
use client::{CallOptions, Client, RetryPolicy};
use contracts::{
    Command, Operation, Slug, TicketId, autonomy::StageTarget, proposal::ProposalKind,
    read::TimelineFilter,
};
use dispatch_tests::servers;
use reqwest::{Method, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::net::TcpListener;
use url::Url;

type Heard = Arc<Mutex<BTreeSet<(Method, String)>>>;

async fn listen<B>(State(heard): State<Heard>, request: Request<B>) -> impl IntoResponse {
    let called = (request.method().clone(), request.uri().path().to_owned());
    heard.lock().expect("no holder panicked").insert(called);
    StatusCode::IM_A_TEAPOT
}

fn file(name: &str) -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../api/");
    let text = fs::read(format!("{path}{name}")).expect("a file of the API");
    serde_json::from_slice(&text).expect("JSON")
}

/// The example of a body; what its path says stands in it.
fn body<T: DeserializeOwned>(id: &str) -> T {
    let mut body = file("examples.json")[id]["request"].clone();
    let path = id.parse::<Operation>().map_or("", Operation::path);
    for (about, member, kind) in [
        ("/approvals/{id}", "approval_id", "apr"),
        ("/tenants/{id}", "tenant_id", "ten"),
    ] {
        if path.starts_with(about) {
            body[member] = format!("{kind}_{}", "0".repeat(32)).into();
        }
    }
    serde_json::from_value(body).unwrap_or_else(|error| panic!("the example of {id}: {error}"))
}

/// An id that has the right form.
fn id<T: std::str::FromStr<Err: std::fmt::Debug>>(kind: &str) -> T {
    format!("{kind}_{}", "0".repeat(32)).parse().expect("an id")
}

/// Calls each method. What it makes of the answer is of no account here.
async fn call_everything(client: &Client) {
    let options = &CallOptions::default();
    let ticket: TicketId = id("tkt");
    // One command under three names and two paths.
    macro_rules! about_a_ticket {
        ($($method:ident),+ $(,)?) => {
            $(let _ = client.$method(ticket, &body(stringify!($method)), options).await;)+
        };
    }
    macro_rules! about_something_else {
        ($($method:ident),+ $(,)?) => {
            $(let _ = client.$method(&body(stringify!($method)), options).await;)+
        };
    }
    macro_rules! one {
        ($($method:ident($kind:literal)),+ $(,)?) => {
            $(let _ = client.$method(id($kind)).await;)+
        };
    }
    macro_rules! all {
        ($($method:ident),+ $(,)?) => {
            $(let _ = client.$method(&Default::default()).await;)+
        };
    }
    macro_rules! alone {
        ($($method:ident),+ $(,)?) => {
            $(let _ = client.$method().await;)+
        };
    }
    about_a_ticket!(
        triage,
        propose_schedule,
        confirm_schedule,
        reschedule,
        dispatch,
        unassign,
        en_route,
        check_in,
        no_access,
        request_change,
        decide_approval,
        return_visit,
        complete,
        qa_verify,
        qa_reject,
        generate_invoice,
        close,
        reopen,
        cancel,
        merge,
        customer_await,
        customer_resume,
        add_note,
        record_proposal,
        record_sla,
        add_evidence,
        attach_message,
        set_ticket_autonomy,
    );
    about_something_else!(
        create_ticket,
        claim_approval,
        release_approval,
        take_over_approval,
        amend_approval,
        withdraw_approval,
        comment_approval,
        change_approval_due,
        record_approval_step,
        execute_approval,
        delegate_approvals,
        revoke_delegation,
        comms_inbound,
        comms_outbound,
        upsert_site,
        upsert_asset,
        upsert_contact,
        upsert_technician,
        record_absence,
        cancel_absence,
        engage_kill_switch,
        release_kill_switch,
        record_drill,
        record_gate_report,
        promote_stage,
        demote_stage,
        apply_stage_change,
        upload_bundle,
        activate_bundle,
        create_tenant,
        configure_tenant,
        limit_tenant,
        suspend_tenant,
        resume_tenant,
        request_tenant_deletion,
        cancel_tenant_deletion,
        erase_tenant,
        record_tenant_export,
        upsert_service_account,
        disable_service_account,
        issue_api_key,
        rotate_api_key,
        revoke_api_key,
    );
    let _ = client.decide(&body("decide_approval"), options).await;
    let _ = client.decide_many(&body("decide_approvals"), options).await;
    let note = Command::AddNote(body("add_note"));
    let _ = client.try_command(ticket, &note, options).await;
    one!(
        ticket("tkt"),
        ticket_status("tkt"),
        proposals("tkt"),
        snapshot("tkt"),
        evidence("tkt"),
        approval("apr"),
        site("sit"),
        asset("ast"),
        contact("con"),
        technician("tec"),
        message("msg"),
        raw_message("msg"),
        decision("dec"),
        tenant("ten"),
        export_tenant("ten"),
        service_account("sva"),
    );
    all!(
        tickets,
        decisions,
        export_decisions,
        approvals,
        messages,
        sites,
        assets,
        contacts,
        technicians,
        proposal_agreement,
    );
    alone!(
        delegations,
        kill_switch,
        kill_switch_drills,
        policy_bundles,
        policy_activations,
        rollout,
        control_due,
        health,
        live,
        ready,
        openapi,
    );
    let _ = client.advisor_input(ticket, ProposalKind::Triage).await;
    let clock = Slug::new("response").expect("a word");
    let _ = client.escalation_input(ticket, &clock).await;
    let _ = client.ticket_if_changed(ticket, Some(1)).await;
    let _ = client.timeline(ticket, None).await;
    let _ = client
        .timeline_where(ticket, &TimelineFilter::default())
        .await;
    let _ = client.ticket_messages(ticket, None).await;
    let _ = client.technician_calendar(id("tec"), None, None).await;
    let _ = client.rollout_history(None).await;
    let target: StageTarget = serde_json::from_value(serde_json::json!({ "operation": "triage" }))
        .expect("a kind of command");
    let _ = client.rollout_ledger(&target, None, None).await;
    let _ = client.kept_report("none").await;
    let _ = client.tenants(None, None, None).await;
    let _ = client.service_accounts(None, None).await;
    let _ = client.api_keys(None, None, None, None).await;
}

/// How a path is named in the document: by itself, or with an id in it.
fn name<'a>(
    templates: &'a BTreeSet<(Method, String)>,
    called: &(Method, String),
) -> Option<&'a str> {
    let (method, path) = called;
    let fits = |template: &str| {
        let parts: Vec<_> = template.split('/').collect();
        let given: Vec<_> = path.split('/').collect();
        let pairs = || parts.iter().zip(&given);
        parts.len() == given.len() && pairs().all(|(part, given)| *part == "{id}" || part == given)
    };
    let of_method = templates.iter().filter(|(known, _)| known == method);
    let fitting = of_method.filter(|(_, template)| fits(template));
    // The one that says more itself.
    let best = fitting.min_by_key(|(_, template)| template.matches("{id}").count());
    best.map(|(_, template)| template.as_str())
}

#[test]
fn each_operation_is_reached_by_a_method_and_no_other() {
    servers::run(async || {
        let heard = Heard::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let base = format!("http://{}", listener.local_addr().expect("an address"));
        let service = Router::new().fallback(listen).with_state(heard.clone());
        let serving = tokio::spawn(async move { axum::serve(listener, service).await });
        let base = Url::parse(&base).expect("an address");
        let client = Client::new(&base, "no token").expect("no TLS is needed");
        call_everything(&client.with_retry(RetryPolicy::once())).await;
        serving.abort();

        let document = file("openapi.json");
        let mut templates = BTreeSet::new();
        let mut for_browsers = BTreeSet::new();
        for (path, item) in document["paths"].as_object().expect("paths") {
            for (method, operation) in item.as_object().expect("operations") {
                let method: Method = method.to_ascii_uppercase().parse().expect("a method");
                let entry = (method, path.clone());
                let public = operation["x-permission"].is_null();
                let json = &operation["responses"]["200"]["content"]["application/json"];
                if public && json.is_null() {
                    for_browsers.insert(entry.clone());
                }
                templates.insert(entry);
            }
        }
        let heard = heard.lock().expect("no holder panicked");
        let reached: BTreeSet<_> = heard
            .iter()
            .map(|called| {
                let name = name(&templates, called);
                let name = name.unwrap_or_else(|| panic!("the client asks for {called:?}"));
                (called.0.clone(), name.to_owned())
            })
            .collect();
        let missing: Vec<_> = templates
            .difference(&reached)
            .filter(|entry| !for_browsers.contains(*entry))
            .collect();
        assert!(
            missing.is_empty(),
            "no method of the client reaches these, or it is not called here: {missing:#?}"
        );
        assert!(reached.len() > 100, "{}", reached.len());
    });
}
