//! Messages: where an inbound one belongs, what goes out, who may read them, and what of them stays
//! out of every other place.

use chrono::{DateTime, TimeDelta, Utc};
use client::CallOptions;
use contracts::{
    ErrorCode, MessageId, Operation, TicketId, TicketState,
    command::{AttachMessage, CommsInbound, CommsOutbound},
    comms::{
        Channel, CommsEnvelope, CommsFilter, DeliveryState, Direction, HoldReason, OnlyWhile,
        Purpose, Recipient, Routing,
    },
    filing::{Filed, FilingReceipt},
    value::{FreeText, MessageText, PeerAddress},
};
use dispatch_tests::{
    http::{Reply, key, patiently, pointers},
    job::Job,
    record::{Footprint, REFUSAL, attempt},
    stack::{ApiOptions, Stack, with_api, with_api_options},
    verify::violations,
    wait::{self, BOUND},
    who::Who,
    world::Tenant,
};
use futures::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;
use uuid::Uuid;

use crate::{kill_switch::set_stage, last_look};

/// The telephone of the tenant's one contact.
const OWNER: &str = "+31205550199";
/// Somebody nobody knows. A search for it finds every place where an address stands.
const STRANGER: &str = "+31687654321";
/// What stands in `comms_contents` and nowhere else.
const WORDS: &str = "Quillfeather says the pane at Keizersgracht 1 is broken";
const RAW: &str = "{\"From\":\"whatsapp:+31687654321\",\"Body\":\"raw Quillfeather\"}";

/// A message that a provider delivers.
fn message(peer: &str) -> Value {
    json!({
        "channel": "sms", "provider": "voxbridge", "provider_message_id": key(), "peer": peer,
        "provider_time": "2026-11-21T08:00:00Z", "text": WORDS, "raw": RAW,
    })
}

fn with(mut body: Value, fields: Value) -> Value {
    let fields = fields.as_object().expect("an object").clone();
    body.as_object_mut().expect("an object").extend(fields);
    body
}

async fn delivers(stack: &Stack, body: &Value) -> Reply {
    let ask = stack.command(Who::Intake, Operation::CommsInbound, None, body);
    ask.send().await
}

#[track_caller]
fn filed(reply: &Reply) -> FilingReceipt {
    assert!(reply.status.is_success(), "{}", reply.text());
    serde_json::from_slice(&reply.body).expect("a receipt")
}

#[track_caller]
fn routed(receipt: &FilingReceipt) -> (MessageId, Routing) {
    match &receipt.filed {
        Filed::Message {
            message_id,
            routing,
        } => (*message_id, routing.clone()),
        other => panic!("not a message: {other:?}"),
    }
}

/// Takes it in and says where it went.
async fn route(stack: &Stack, body: &Value) -> (MessageId, Routing) {
    let reply = delivers(stack, body).await;
    let receipt = filed(&reply);
    let (id, routing) = routed(&receipt);
    let status = match routing {
        Routing::Created { .. } | Routing::Held { .. } => 201,
        Routing::Attached { .. } | Routing::Duplicate { .. } => 200,
    };
    assert_eq!(reply.status, status, "{}", reply.text());
    (id, routing)
}

#[track_caller]
fn ticket_of(routing: &Routing) -> TicketId {
    routing
        .ticket_id()
        .unwrap_or_else(|| panic!("no ticket: {routing:?}"))
}

fn held(reason: HoldReason, candidates: &[TicketId]) -> Routing {
    Routing::Held {
        reason,
        candidates: candidates.to_vec(),
    }
}

/// Somebody on record, as superuser.
async fn contact(stack: &Stack, tenant: &Tenant, phone: &str, site: Option<Uuid>) -> Uuid {
    let id = Uuid::now_v7();
    sqlx::query(
        "insert into contacts (tenant_id, id, site_id, phone, code) values ($1, $2, $3, $4, $5)",
    )
    .bind(tenant.id.as_uuid())
    .bind(id)
    .bind(site)
    .bind(phone)
    .bind(format!("c{}", id.simple()))
    .execute(stack.admin())
    .await
    .unwrap();
    id
}

/// Another site, as superuser.
async fn site(stack: &Stack, active: bool) -> Uuid {
    let id = Uuid::now_v7();
    sqlx::query(
        "insert into sites (tenant_id, id, code, lat_e6, lon_e6, active) values ($1, $2, $3, 0, 0, $4)",
    )
    .bind(stack.tenant().id.as_uuid())
    .bind(id)
    .bind(format!("s{}", id.simple()))
    .bind(active)
    .execute(stack.admin())
    .await
    .unwrap();
    id
}

fn site_id(id: Uuid) -> String {
    contracts::SiteId::from_uuid(id).to_string()
}

/// A ticket at that site, opened by hand.
async fn ticket_at(stack: &Stack, site: Uuid) -> TicketId {
    let body = json!({
        "site_id": site_id(site), "contact_id": stack.tenant().contact,
        "template": "emergency_glass",
    });
    let ask = stack.command(Who::Dispatcher, Operation::CreateTicket, None, &body);
    ask.send().await.receipt().ticket.id
}

async fn read(stack: &Stack, id: MessageId) -> CommsEnvelope {
    let client = stack.client(stack.tenant(), Who::Dispatcher);
    client.message(id).await.expect("it is there")
}

#[test]
fn a_known_peer_opens_a_ticket_and_their_next_message_joins_it() {
    with_api(async |stack| {
        let (first, routing) = route(&stack, &message(OWNER)).await;
        let ticket = ticket_of(&routing);
        assert_eq!(routing, Routing::Created { ticket_id: ticket });
        let client = stack.client(stack.tenant(), Who::Dispatcher);
        let opened = client.ticket(ticket).await.unwrap();
        assert_eq!(opened.state, TicketState::New);
        assert_eq!(opened.site_id, stack.tenant().site);
        assert_eq!(opened.contact_id, Some(stack.tenant().contact));
        assert_eq!(
            opened.template.as_str(),
            "emergency_glass",
            "the rules' own"
        );

        // Another channel of the same telephone, spelt differently.
        let again = with(
            message("0031-20-555.01.99"),
            json!({ "channel": "whatsapp" }),
        );
        let (second, routing) = route(&stack, &again).await;
        assert_eq!(routing, Routing::Attached { ticket_id: ticket });
        assert_eq!(
            client.ticket(ticket).await.unwrap(),
            opened,
            "a record beside it"
        );

        let page = client.ticket_messages(ticket, None).await.unwrap();
        let ids: Vec<_> = page.items.iter().map(|message| message.id).collect();
        assert_eq!(ids, [first, second], "oldest first");
        for message in &page.items {
            assert_eq!(
                message.peer.as_ref().unwrap().as_str(),
                OWNER,
                "one spelling"
            );
            assert_eq!(message.contact_id, Some(stack.tenant().contact));
        }
    });
}

#[test]
fn what_came_and_from_where_can_be_read() {
    with_api(async |stack| {
        let body = message(OWNER);
        let ask = stack.command(Who::Intake, Operation::CommsInbound, None, &body);
        let before = Utc::now();
        let reply = ask.header("x-correlation-id", "call-77").send().await;
        let receipt = filed(&reply);
        let (id, routing) = routed(&receipt);
        let message = read(&stack, id).await;
        assert!(message.received_at >= before && message.received_at <= Utc::now());
        let expected = CommsEnvelope {
            id,
            ticket_id: routing.ticket_id(),
            direction: Direction::Inbound,
            channel: Channel::Sms,
            purpose: None,
            provider: Some("voxbridge".parse().unwrap()),
            provider_message_id: serde_json::from_value(body["provider_message_id"].clone()).ok(),
            peer: PeerAddress::new(OWNER).ok(),
            contact_id: Some(stack.tenant().contact),
            recipient: None,
            text: MessageText::new(WORDS).ok(),
            routing: Some(routing.clone()),
            provider_time: Some("2026-11-21T08:00:00Z".parse().unwrap()),
            received_at: message.received_at,
            has_raw: true,
            correlation_id: contracts::CorrelationId::new("call-77").unwrap(),
            command_id: receipt.command_id,
            only_while: None,
            delivery: None,
        };
        assert_eq!(message, expected);

        // The conversation goes on to the ticket's events.
        let events: Vec<(String, String)> = sqlx::query_as(
            "select event_type, correlation_id from outbox_events where command_id = $1 order by id",
        )
        .bind(receipt.command_id.as_uuid())
        .fetch_all(stack.admin())
        .await
        .unwrap();
        let expected = ["ticket.created", "message.received"];
        assert_eq!(
            events,
            expected.map(|kind| (kind.to_owned(), "call-77".to_owned()))
        );

        let raw = stack.ask(Who::TenantAdmin, Method::GET, format!("/comms/{id}/raw"));
        let raw = raw.send().await;
        assert_eq!((raw.status.as_u16(), raw.text().as_str()), (200, RAW));
        assert_eq!(
            raw.header("content-type"),
            Some("text/plain; charset=utf-8")
        );
        assert_eq!(raw.header("x-content-type-options"), Some("nosniff"));
    });
}

#[test]
fn the_same_message_is_taken_once_whatever_its_key() {
    with_api(async |stack| {
        for peer in [OWNER, STRANGER] {
            let body = message(peer);
            let key = key();
            let send = || {
                let ask = stack.command(Who::Intake, Operation::CommsInbound, None, &body);
                ask.key(&key).send()
            };
            let first = send().await;
            let (id, routing) = routed(&filed(&first));

            let before = Footprint::take(stack.admin()).await;
            let replayed = send().await;
            assert_eq!(replayed.body, first.body);
            assert_eq!(replayed.status, first.status);
            assert_eq!(replayed.header("idempotent-replayed"), Some("true"));
            assert_eq!(before.changes(stack.admin()).await, [""; 0]);

            // The provider delivers it again: another request, the same message.
            let again = delivers(&stack, &body).await;
            assert_eq!(again.status, 200, "{}", again.text());
            let receipt = filed(&again);
            let duplicate = Routing::Duplicate {
                first: id,
                ticket_id: routing.ticket_id(),
            };
            assert_eq!(routed(&receipt), (id, duplicate.clone()));
            assert_eq!(receipt.ticket, None);
            assert_eq!(
                before.changes(stack.admin()).await,
                REFUSAL,
                "only the attempt"
            );
            let row = attempt(stack.admin(), receipt.command_id).await.unwrap();
            assert_eq!((row.refused, row.ticket_id), (None, None));
            assert_eq!(row.changes[0]["data"]["routing"], json!(duplicate));

            // Another provider may use the same name for another message.
            let other = with(body.clone(), json!({ "provider": "textline" }));
            assert_ne!(route(&stack, &other).await.0, id);
        }
    });
}

#[test]
fn one_key_stands_for_one_message() {
    with_api(async |stack| {
        let key = key();
        let send = |body: Value| {
            let ask = stack.command(Who::Intake, Operation::CommsInbound, None, &body);
            ask.key(&key).send()
        };
        filed(&send(message(OWNER)).await);
        let reply = send(message(OWNER)).await;
        reply.problem(ErrorCode::IdempotencyMismatch);
    });
}

#[test]
fn several_open_tickets_are_for_a_person_to_choose_from() {
    with_api(async |stack| {
        let here = stack.tenant().site.as_uuid();
        let one = ticket_at(&stack, here).await;
        let two = ticket_at(&stack, here).await;
        let (id, routing) = route(&stack, &message(OWNER)).await;
        assert_eq!(routing, held(HoldReason::SeveralTickets, &[two, one]));
        assert_eq!(read(&stack, id).await.ticket_id, None);

        // The site that is said decides, where it can.
        let there = site(&stack, true).await;
        let third = ticket_at(&stack, there).await;
        let said = with(message(OWNER), json!({ "site_id": site_id(there) }));
        let (_, routing) = route(&stack, &said).await;
        assert_eq!(routing, Routing::Attached { ticket_id: third });
        let said = with(message(OWNER), json!({ "site_id": site_id(here) }));
        let (_, routing) = route(&stack, &said).await;
        assert_eq!(routing, held(HoldReason::SeveralTickets, &[two, one]));
    });
}

#[test]
fn an_old_or_ended_ticket_gets_no_message() {
    with_api(async |stack| {
        let (_, routing) = route(&stack, &message(OWNER)).await;
        let first = ticket_of(&routing);
        let cancel = json!({ "reason": "customer_request" });
        let ask = stack.command(Who::Dispatcher, Operation::Cancel, first, &cancel);
        ask.send().await.receipt();
        let (_, routing) = route(&stack, &message(OWNER)).await;
        let second = ticket_of(&routing);
        assert_eq!(routing, Routing::Created { ticket_id: second });
        assert_ne!(first, second);
        stack.verify().await;

        // Time is made to have passed behind the program's back.
        let old =
            "update tickets set doc = jsonb_set(doc, '{updated_at}', '\"2026-01-01T00:00:00Z\"')";
        sqlx::query(old).execute(stack.admin()).await.unwrap();
        let body = message(OWNER);
        let ask = || stack.command(Who::Intake, Operation::CommsInbound, None, &body);
        let would = ask().dry_run().send().await;
        let (_, routing) = routed(&filed(&would));
        let expected = Routing::Attached { ticket_id: second };
        assert_eq!(routing, expected, "its last message is recent");
        let old = "update comms_messages set received_at = received_at - interval '73 hours'";
        sqlx::query(old).execute(stack.admin()).await.unwrap();
        let (_, routing) = routed(&filed(&ask().send().await));
        let third = ticket_of(&routing);
        assert_eq!(routing, Routing::Created { ticket_id: third });
        assert_ne!(second, third);
        mend(&stack).await;
    });
}

/// Undoes what a test did behind the program's back, so that the checker at its end finds what the
/// program wrote.
async fn mend(stack: &Stack) {
    sqlx::raw_sql(
        "update tickets t set doc = jsonb_set(doc, '{updated_at}', to_jsonb(
             (select max(change ->> 'at') from audit_events a
               cross join lateral jsonb_path_query(a.changes, '$[*]') change
              where a.tenant_id = t.tenant_id and a.ticket_id = t.id
                and a.produced_version > a.applied_to_version)));
         update comms_messages m set received_at = a.at from audit_events a
          where a.tenant_id = m.tenant_id and a.command_id = m.command_id;",
    )
    .execute(stack.admin())
    .await
    .unwrap();
}

#[test]
fn a_message_on_a_merged_ticket_goes_on_in_the_one_that_stays() {
    with_api(async |stack| {
        // The sender is no contact: only what was said before tells whose tickets these are.
        let at = json!({ "site_id": stack.tenant().site });
        let (_, routing) = route(&stack, &with(message(STRANGER), at)).await;
        let merged = ticket_of(&routing);
        let stays = ticket_at(&stack, stack.tenant().site.as_uuid()).await;
        let into = json!({ "into": stays });
        let ask = stack.command(Who::Dispatcher, Operation::Merge, merged, &into);
        ask.send().await.receipt();
        let (_, routing) = route(&stack, &message(STRANGER)).await;
        assert_eq!(routing, Routing::Attached { ticket_id: stays });
    });
}

/// A ticket of nobody on record, opened by hand.
async fn ticket_of_nobody(stack: &Stack) -> TicketId {
    let body = json!({ "site_id": stack.tenant().site, "template": "emergency_glass" });
    let ask = stack.command(Who::Dispatcher, Operation::CreateTicket, None, &body);
    ask.send().await.receipt().ticket.id
}

#[test]
fn a_message_of_somebody_whose_ticket_was_merged_goes_on_in_the_one_that_stays() {
    with_api(async |stack| {
        // Nothing was said on it yet, and the one that stays is nobody's: it is found as the one
        // that theirs was merged into.
        let merged = ticket_at(&stack, stack.tenant().site.as_uuid()).await;
        let between = ticket_of_nobody(&stack).await;
        let stays = ticket_of_nobody(&stack).await;
        for (ticket, into) in [(merged, between), (between, stays)] {
            let into = json!({ "into": into });
            let ask = stack.command(Who::Dispatcher, Operation::Merge, ticket, &into);
            ask.send().await.receipt();
        }
        let (_, routing) = route(&stack, &message(OWNER)).await;
        assert_eq!(routing, Routing::Attached { ticket_id: stays });
    });
}

/// So many in this database wait for a row's lock.
async fn wait_for_a_row(stack: &Stack, many: i64) {
    wait::until("locks that are waited for", BOUND, async || {
        let waiting: i64 = sqlx::query_scalar(
            "select count(distinct l.pid) from pg_locks l join pg_stat_activity a using (pid)
             where not l.granted and l.locktype in ('transactionid', 'tuple')
               and a.datname = current_database()",
        )
        .fetch_one(stack.admin())
        .await
        .unwrap();
        (waiting == many).then_some(()).ok_or(waiting)
    })
    .await;
}

#[test]
fn a_ticket_that_is_merged_while_a_message_waits_for_it_is_followed() {
    let options = ApiOptions {
        pool_size: 8,
        ..ApiOptions::default()
    };
    with_api_options(options, async |stack| {
        let merged = ticket_at(&stack, stack.tenant().site.as_uuid()).await;
        let stays = ticket_of_nobody(&stack).await;
        // The ticket's row is held: first the merge waits for it, then the message behind the merge.
        let mut row = stack.admin().begin().await.unwrap();
        sqlx::query("select from tickets where id = $1 for update")
            .bind(merged.as_uuid())
            .execute(&mut *row)
            .await
            .unwrap();
        let merge = {
            let stack = stack.clone();
            tokio::spawn(async move {
                let into = json!({ "into": stays });
                let ask = stack.command(Who::Dispatcher, Operation::Merge, merged, &into);
                ask.send().await
            })
        };
        wait_for_a_row(&stack, 1).await;
        let inbound = {
            let stack = stack.clone();
            tokio::spawn(async move { route(&stack, &message(OWNER)).await })
        };
        wait_for_a_row(&stack, 2).await;
        row.rollback().await.unwrap();

        merge.await.unwrap().receipt();
        let (_, routing) = inbound.await.unwrap();
        assert_eq!(routing, Routing::Attached { ticket_id: stays });
    });
}

#[test]
fn an_unknown_peer_waits_for_a_person_and_then_has_a_ticket() {
    with_api(async |stack| {
        let (first, routing) = route(&stack, &message(STRANGER)).await;
        assert_eq!(routing, held(HoldReason::UnknownPeer, &[]));
        let (second, routing) = route(&stack, &message(STRANGER)).await;
        assert_eq!(routing, held(HoldReason::UnknownPeer, &[]));
        let client = stack.client(stack.tenant(), Who::Dispatcher);
        let inbox = CommsFilter {
            held: Some(true),
            limit: Some(1),
            ..CommsFilter::default()
        };
        let page = client.messages(&inbox).await.unwrap();
        assert_eq!(page.items[0].id, first, "oldest first");
        let next = CommsFilter {
            cursor: page.next_cursor,
            ..inbox.clone()
        };
        let page = client.messages(&next).await.unwrap();
        assert_eq!((page.items[0].id, page.next_cursor), (second, None));

        let job = Job::at(&stack, stack.tenant(), TicketState::Triaged).await;
        let before = job.ticket().await;
        let attach = AttachMessage { message_id: first };
        let options = CallOptions::default();
        let receipt = client.attach_message(job.id(), &attach, &options).await;
        let receipt = receipt.unwrap();
        assert_eq!(receipt.message_id, Some(first));
        assert_eq!(receipt.ticket, before, "a record beside the ticket");
        assert_eq!(read(&stack, first).await.ticket_id, Some(job.id()));
        let entries = job.timeline().await;
        let change = &entries.last().unwrap().changes[0];
        let told = contracts::event::TicketEvent::MessageAttached { message_id: first };
        assert_eq!(change.event, told);
        let page = client.messages(&inbox).await.unwrap();
        assert_eq!(page.items[0].id, second, "the other one still waits");

        // From now on they are known by what they wrote.
        let (_, routing) = route(&stack, &message(STRANGER)).await;
        let expected = Routing::Attached {
            ticket_id: job.id(),
        };
        assert_eq!(routing, expected);
    });
}

#[test]
fn a_named_site_opens_a_ticket_for_anybody() {
    with_api(async |stack| {
        let body = with(
            message(STRANGER),
            json!({ "site_id": stack.tenant().site, "template": "emergency_door" }),
        );
        let (_, routing) = route(&stack, &body).await;
        let ticket = ticket_of(&routing);
        assert_eq!(routing, Routing::Created { ticket_id: ticket });
        let client = stack.client(stack.tenant(), Who::Dispatcher);
        let ticket = client.ticket(ticket).await.unwrap();
        assert_eq!(ticket.template.as_str(), "emergency_door", "what was said");
        assert_eq!(ticket.contact_id, None, "nobody knows who it was");
    });
}

#[test]
fn an_unclear_site_waits_for_a_person() {
    with_api(async |stack| {
        let tenant = stack.tenant();
        let (here, there) = (tenant.site.as_uuid(), site(&stack, true).await);
        let given_up = site(&stack, false).await;
        contact(&stack, tenant, "+31201000001", Some(here)).await;
        contact(&stack, tenant, "+31201000001", Some(there)).await;
        contact(&stack, tenant, "+31201000002", None).await;
        contact(&stack, tenant, "+31201000003", Some(given_up)).await;
        for peer in ["+31201000001", "+31201000002", "+31201000003"] {
            let (_, routing) = route(&stack, &message(peer)).await;
            assert_eq!(routing, held(HoldReason::SiteUnclear, &[]), "{peer}");
        }
        let said = with(message(OWNER), json!({ "site_id": site_id(given_up) }));
        let (_, routing) = route(&stack, &said).await;
        assert_eq!(routing, held(HoldReason::SiteUnclear, &[]));
    });
}

#[test]
fn a_handle_means_somebody_only_with_its_provider() {
    with_api(async |stack| {
        let web = |provider: &str, fields: Value| {
            let channel = json!({ "channel": "web", "provider": provider });
            with(with(message("visitor-7"), channel), fields)
        };
        let at = json!({ "site_id": stack.tenant().site });
        let (_, routing) = route(&stack, &web("chat_one", at)).await;
        let ticket = ticket_of(&routing);
        let (_, routing) = route(&stack, &web("chat_one", json!({}))).await;
        assert_eq!(routing, Routing::Attached { ticket_id: ticket });
        let (_, routing) = route(&stack, &web("chat_two", json!({}))).await;
        assert_eq!(routing, held(HoldReason::UnknownPeer, &[]));
        // Nor is somebody who calls themselves by a number the one who has it.
        let claims = with(message(OWNER), json!({ "channel": "web" }));
        let (_, routing) = route(&stack, &claims).await;
        assert_eq!(routing, held(HoldReason::UnknownPeer, &[]));
    });
}

#[test]
fn an_answer_finds_the_ticket_that_was_written_about() {
    with_api(async |stack| {
        let tenant = stack.tenant();
        // Not the ticket's own contact, and at no site.
        let phone = "+31201000009";
        let other = contact(&stack, tenant, phone, None).await;
        let job = Job::at(&stack, tenant, TicketState::Triaged).await;
        let body = json!({
            "ticket_id": job.id(), "contact_id": contracts::ContactId::from_uuid(other),
            "channel": "sms", "text": "Is the door open?",
        });
        let ask = stack.command(Who::Dispatcher, Operation::CommsOutbound, None, &body);
        ask.send().await.receipt();
        let (_, routing) = route(&stack, &message(phone)).await;
        let expected = Routing::Attached {
            ticket_id: job.id(),
        };
        assert_eq!(routing, expected);
    });
}

#[test]
fn what_cannot_be_used_is_refused_by_field() {
    with_api(async |stack| {
        let nowhere = site_id(Uuid::now_v7());
        let theirs = stack.other().site;
        for (fields, pointer) in [
            (json!({ "peer": "0205550199" }), "/peer"),
            (json!({ "peer": "anna@example.com" }), "/peer"),
            (json!({ "channel": "email" }), "/peer"),
            (json!({ "channel": "operations" }), "/channel"),
            (json!({ "site_id": nowhere }), "/site_id"),
            (json!({ "site_id": theirs }), "/site_id"),
        ] {
            let before = Footprint::take(stack.admin()).await;
            let reply = delivers(&stack, &with(message(OWNER), fields.clone())).await;
            let problem = reply.problem(ErrorCode::InvalidField);
            assert_eq!(pointers(&problem), [pointer], "{fields}");
            assert_eq!(before.changes(stack.admin()).await, REFUSAL, "{fields}");
        }
        let reply = delivers(
            &stack,
            &with(message(OWNER), json!({ "template": "flood" })),
        )
        .await;
        let problem = reply.problem(ErrorCode::PolicyDenied);
        assert_eq!(pointers(&problem), ["/template"]);
        let reply = delivers(&stack, &with(message(OWNER), json!({ "colour": 1 }))).await;
        assert!(reply.status.is_client_error(), "{}", reply.text());
    });
}

#[test]
fn who_may_not_takes_nothing_in() {
    with_api(async |stack| {
        for who in [Who::Technician, Who::Auditor, Who::Workflow, Who::Agent] {
            for peer in [OWNER, STRANGER, "020"] {
                let body = message(peer);
                let ask = stack.command(who, Operation::CommsInbound, None, &body);
                let reply = ask.send().await;
                assert_eq!(reply.status, 403, "{who:?}: {}", reply.text());
            }
        }
        let messages: i64 = sqlx::query_scalar("select count(*) from comms_messages")
            .fetch_one(stack.admin())
            .await
            .unwrap();
        assert_eq!(messages, 0);
        let body = message(OWNER);
        let ask = stack.command(Who::Dispatcher, Operation::CommsInbound, None, &body);
        filed(&ask.send().await);
    });
}

#[test]
fn another_tenant_is_told_nothing() {
    with_api(async |stack| {
        let body = message(OWNER);
        let (id, routing) = route(&stack, &body).await;
        let ticket = ticket_of(&routing);
        let stranger = Who::Intake.token(stack.other());
        let theirs = stack.http().command(Operation::CommsInbound, None, &body);
        let reply = theirs.token(&stranger).send().await;
        let (other, routing) = routed(&filed(&reply));
        assert_ne!(
            other, id,
            "their own, though its provider calls it the same"
        );
        assert_ne!(routing.ticket_id(), Some(ticket));
        let dispatcher = Who::Dispatcher.token(stack.other());
        for path in [
            format!("/comms/{id}"),
            format!("/tickets/{ticket}/comms"),
            format!("/comms/{}", MessageId::from_uuid(Uuid::now_v7())),
        ] {
            let reply = stack.http().get(&path).token(&dispatcher).send().await;
            reply.no_attempt(ErrorCode::NotFound);
        }
        let admin = Who::TenantAdmin.token(stack.other());
        let raw = stack.http().get(format!("/comms/{id}/raw")).token(admin);
        raw.send().await.no_attempt(ErrorCode::NotFound);
        let filter = CommsFilter {
            ticket_id: Some(ticket),
            ..CommsFilter::default()
        };
        let page = stack.client(stack.other(), Who::Dispatcher);
        assert_eq!(page.messages(&filter).await.unwrap().items, []);

        // A held message of theirs is none of ours.
        let (held_by_us, _) = route(&stack, &message(STRANGER)).await;
        let attach = json!({ "message_id": held_by_us });
        let job = Job::at(&stack, stack.other(), TicketState::New).await;
        let ask = stack
            .http()
            .command(Operation::AttachMessage, Some(job.id()), &attach);
        let reply = ask.token(&dispatcher).send().await;
        let problem = reply.problem(ErrorCode::InvalidField);
        assert_eq!(pointers(&problem), ["/message_id"]);
    });
}

#[test]
fn a_trial_says_where_it_would_go_and_takes_nothing() {
    with_api(async |stack| {
        let body = message(OWNER);
        let ask = || stack.command(Who::Intake, Operation::CommsInbound, None, &body);
        let before = Footprint::take(stack.admin()).await;
        let would = ask().dry_run().send().await;
        let receipt = filed(&would);
        assert!(receipt.dry_run);
        assert!(matches!(routed(&receipt).1, Routing::Created { .. }));
        let client = stack.client(stack.tenant(), Who::Dispatcher);
        let all = CommsFilter::default();
        assert_eq!(client.messages(&all).await.unwrap().items, []);
        assert_eq!(before.changes(stack.admin()).await, [""; 0]);
        let expecting = ask().expecting(7).send().await;
        expecting.problem(ErrorCode::VersionConflict);
        assert!(matches!(
            route(&stack, &body).await.1,
            Routing::Created { .. }
        ));
    });
}

#[test]
fn eight_messages_of_one_peer_at_once_open_one_ticket() {
    let options = ApiOptions {
        pool_size: 12,
        ..ApiOptions::default()
    };
    with_api_options(options, async |stack| {
        for round in 0..5 {
            let peer = format!("+3120200000{round}");
            let here = Some(stack.tenant().site.as_uuid());
            contact(&stack, stack.tenant(), &peer, here).await;
            let messages: Vec<_> = (0..8).map(|_| message(&peer)).collect();
            let replies = join_all(messages.iter().map(|body| {
                let key = key();
                let stack = stack.clone();
                patiently(move || {
                    let ask = stack.command(Who::Intake, Operation::CommsInbound, None, body);
                    ask.key(&key)
                })
            }))
            .await;
            let routes: Vec<_> = replies.iter().map(|r| routed(&filed(r)).1).collect();
            let created = |routing: &&Routing| matches!(routing, Routing::Created { .. });
            assert_eq!(routes.iter().filter(created).count(), 1, "{routes:?}");
            let ticket = ticket_of(&routes[0]);
            assert!(routes.iter().all(|r| r.ticket_id() == Some(ticket)));
        }
    });
}

#[test]
fn one_message_delivered_eight_times_at_once_is_taken_once() {
    let options = ApiOptions {
        pool_size: 12,
        ..ApiOptions::default()
    };
    with_api_options(options, async |stack| {
        for _ in 0..5 {
            let body = message(OWNER);
            let replies = join_all((0..8).map(|_| {
                let key = key();
                let (stack, body) = (stack.clone(), &body);
                patiently(move || {
                    let ask = stack.command(Who::Intake, Operation::CommsInbound, None, body);
                    ask.key(&key)
                })
            }))
            .await;
            let routes: Vec<_> = replies.iter().map(|r| routed(&filed(r))).collect();
            let first = routes[0].0;
            assert!(routes.iter().all(|(id, _)| *id == first), "{routes:?}");
            let again =
                |(_, routing): &&(MessageId, Routing)| matches!(routing, Routing::Duplicate { .. });
            assert_eq!(routes.iter().filter(again).count(), 7, "{routes:?}");
        }
    });
}

#[test]
fn a_ticket_does_not_end_under_a_message() {
    with_api(async |stack| {
        for _ in 0..8 {
            let (_, routing) = route(&stack, &message(OWNER)).await;
            let ticket = ticket_of(&routing);
            let (body, cancel) = (message(OWNER), json!({ "reason": "customer_request" }));
            let inbound = stack.command(Who::Intake, Operation::CommsInbound, None, &body);
            let ended = stack.command(Who::Dispatcher, Operation::Cancel, ticket, &cancel);
            let (inbound, ended) = futures::join!(inbound.send(), ended.send());
            ended.receipt();
            let (id, routing) = routed(&filed(&inbound));
            let positions: Vec<String> = sqlx::query_scalar(
                "select operation from audit_events where ticket_id = $1 and refused is null
                 order by position",
            )
            .bind(ticket.as_uuid())
            .fetch_all(stack.admin())
            .await
            .unwrap();
            match routing {
                // It came first.
                Routing::Attached { ticket_id } => {
                    assert_eq!(ticket_id, ticket);
                    assert_eq!(positions.last().unwrap(), "cancel");
                }
                // It came later, and began anew.
                Routing::Created { ticket_id } => {
                    assert_ne!(ticket_id, ticket);
                    let cancel = json!({ "reason": "duplicate" });
                    let ask = stack.command(Who::Dispatcher, Operation::Cancel, ticket_id, &cancel);
                    ask.send().await.receipt();
                }
                other => panic!("{id}: {other:?}"),
            }
        }
    });
}

/// A message to the tenant's contact about this ticket.
fn outbound(stack: &Stack, ticket: TicketId) -> CommsOutbound {
    CommsOutbound {
        ticket_id: ticket,
        contact_id: stack.tenant().contact,
        channel: Channel::Sms,
        text: FreeText::new(WORDS).unwrap(),
        send_at: None,
        only_while: None,
    }
}

#[test]
fn a_message_to_a_customer_is_queued_once() {
    with_api(async |stack| {
        let job = Job::at(&stack, stack.tenant(), TicketState::Triaged).await;
        let before = job.ticket().await;
        let send_at = Utc::now() + TimeDelta::days(1);
        let send_at = DateTime::from_timestamp_micros(send_at.timestamp_micros()).unwrap();
        let body = CommsOutbound {
            send_at: Some(send_at),
            only_while: Some(OnlyWhile::TicketIn {
                states: vec![TicketState::Triaged],
            }),
            ..outbound(&stack, job.id())
        };
        let body = json!(body);
        let key = key();
        let send = || {
            let ask = stack.command(Who::AccountManager, Operation::CommsOutbound, None, &body);
            ask.key(&key).header("x-correlation-id", "case-9").send()
        };
        let first = send().await;
        let receipt = first.receipt();
        assert_eq!(receipt.ticket, before, "a record beside the ticket");
        let replayed = send().await;
        assert_eq!(replayed.body, first.body);

        let message = read(&stack, receipt.message_id.unwrap()).await;
        assert_eq!(message.ticket_id, Some(job.id()));
        assert_eq!(message.direction, Direction::Outbound);
        assert_eq!(message.purpose, Some(Purpose::Conversation));
        assert_eq!(message.text, MessageText::new(WORDS).ok());
        assert_eq!(message.peer, None, "looked up when it is sent");
        let contact_id = stack.tenant().contact;
        assert_eq!(message.recipient, Some(Recipient::Contact { contact_id }));
        assert_eq!(message.correlation_id.as_str(), "case-9");
        let delivery = message.delivery.unwrap();
        assert_eq!(delivery.state, DeliveryState::Queued);
        assert_eq!((delivery.due_at, delivery.attempts), (send_at, 0));

        let client = stack.client(stack.tenant(), Who::Dispatcher);
        for (state, found) in [(DeliveryState::Queued, 1), (DeliveryState::Sent, 0)] {
            let filter = CommsFilter {
                direction: Some(Direction::Outbound),
                state: Some(state),
                ticket_id: Some(job.id()),
                ..CommsFilter::default()
            };
            assert_eq!(client.messages(&filter).await.unwrap().items.len(), found);
        }
    });
}

/// The yes was to its words: who agrees a little after the moment that the message names lets it go then.
#[test]
fn a_message_that_is_approved_after_its_moment_leaves_at_once() {
    with_api(async |stack| {
        set_stage(&stack, "comms_outbound", "APPROVE").await;
        let job = Job::at(&stack, stack.tenant(), TicketState::Triaged).await;
        let send_at = Utc::now() + TimeDelta::seconds(5);
        let body = json!(CommsOutbound {
            send_at: Some(send_at),
            ..outbound(&stack, job.id())
        });
        let ask = stack.command(Who::Agent, Operation::CommsOutbound, None, &body);
        let held = ask.send().await;
        wait::until("its moment", BOUND, async || match Utc::now() {
            now if now > send_at => Ok(()),
            now => Err(now),
        })
        .await;
        let approved = Utc::now();
        let message = read(&stack, last_look::approved(&stack, &held).await).await;
        let delivery = message.delivery.unwrap();
        assert_eq!(delivery.state, DeliveryState::Queued);
        assert!(
            delivery.due_at > approved && delivery.due_at <= Utc::now(),
            "{}",
            delivery.due_at
        );
        assert_eq!(job.ticket().await.approvals, []);
        assert_eq!(violations(stack.database()).await, []);
    });
}

#[test]
fn a_message_that_cannot_go_out_is_refused_by_field() {
    with_api(async |stack| {
        let job = Job::at(&stack, stack.tenant(), TicketState::Triaged).await;
        let good = json!(outbound(&stack, job.id()));
        let nobody = contracts::ContactId::from_uuid(Uuid::now_v7());
        for (fields, pointer) in [
            (json!({ "contact_id": nobody }), "/contact_id"),
            (
                json!({ "contact_id": stack.other().contact }),
                "/contact_id",
            ),
            (json!({ "channel": "email" }), "/channel"),
            (json!({ "channel": "operations" }), "/channel"),
            (json!({ "channel": "web" }), "/channel"),
            (json!({ "send_at": "2020-01-01T00:00:00Z" }), "/send_at"),
            (json!({ "send_at": "2099-01-01T00:00:00Z" }), "/send_at"),
            (
                json!({ "only_while": { "only": "ticket_in", "states": [] } }),
                "/only_while/states",
            ),
            (
                json!({ "only_while": { "only": "kill_generation", "generation": 1 } }),
                "/only_while",
            ),
        ] {
            let body = with(good.clone(), fields.clone());
            let before = Footprint::take(stack.admin()).await;
            let ask = stack.command(Who::Dispatcher, Operation::CommsOutbound, None, &body);
            let problem = ask.send().await.problem(ErrorCode::InvalidField);
            assert_eq!(pointers(&problem), [pointer], "{fields}");
            assert_eq!(before.changes(stack.admin()).await, REFUSAL, "{fields}");
        }
        for (who, fields, code) in [
            (Who::Technician, json!({}), ErrorCode::Forbidden),
            (
                Who::Dispatcher,
                json!({ "ticket_id": TicketId::from_uuid(Uuid::now_v7()) }),
                ErrorCode::NotFound,
            ),
        ] {
            let body = with(good.clone(), fields);
            let ask = stack.command(who, Operation::CommsOutbound, None, &body);
            ask.send().await.problem(code);
        }
        let ask = stack.command(Who::Dispatcher, Operation::CommsOutbound, None, &good);
        let stale = ask.expecting(9).send().await;
        stale.problem(ErrorCode::VersionConflict);
        let before = Footprint::take(stack.admin()).await;
        let ask = stack.command(Who::Dispatcher, Operation::CommsOutbound, None, &good);
        assert!(ask.dry_run().send().await.receipt().dry_run);
        assert_eq!(before.changes(stack.admin()).await, [""; 0]);
        let queued: i64 = sqlx::query_scalar("select count(*) from comms_queue")
            .fetch_one(stack.admin())
            .await
            .unwrap();
        assert_eq!(queued, 0);
    });
}

#[test]
fn a_held_message_is_placed_once() {
    with_api(async |stack| {
        let one = Job::at(&stack, stack.tenant(), TicketState::New).await;
        let two = Job::at(&stack, stack.tenant(), TicketState::New).await;
        let (id, _) = route(&stack, &message(STRANGER)).await;
        let body = json!({ "message_id": id });
        let attach = |who, ticket| stack.command(who, Operation::AttachMessage, ticket, &body);
        let refused = attach(Who::Technician, one.id()).send().await;
        refused.problem(ErrorCode::Forbidden);
        let nowhere = TicketId::from_uuid(Uuid::now_v7());
        let refused = attach(Who::Dispatcher, nowhere).send().await;
        refused.problem(ErrorCode::NotFound);
        let stale = attach(Who::Dispatcher, one.id()).expecting(9).send().await;
        stale.problem(ErrorCode::VersionConflict);
        let would = attach(Who::Dispatcher, one.id()).dry_run().send().await;
        assert!(would.receipt().dry_run);

        // Two people place it at once: one of them does.
        let (first, second) = futures::join!(
            attach(Who::Dispatcher, one.id()).send(),
            attach(Who::Dispatcher, two.id()).send(),
        );
        let done = [&first, &second].map(|reply| reply.status.is_success());
        assert_ne!(done[0], done[1], "{}\n{}", first.text(), second.text());
        let late = if done[0] { &second } else { &first };
        let problem = late.problem(ErrorCode::InvalidField);
        assert_eq!(pointers(&problem), ["/message_id"]);

        // Nor can one be placed that a rule has placed, or that went out.
        let at = json!({ "site_id": stack.tenant().site });
        let (placed, _) = route(&stack, &with(message("+31687000000"), at)).await;
        let body = json!(outbound(&stack, one.id()));
        let ask = stack.command(Who::Dispatcher, Operation::CommsOutbound, None, &body);
        let sent = ask.send().await.receipt().message_id.unwrap();
        for id in [placed, sent] {
            let body = json!({ "message_id": id });
            let ask = stack.command(Who::Dispatcher, Operation::AttachMessage, one.id(), &body);
            ask.send().await.problem(ErrorCode::InvalidField);
        }
    });
}

#[test]
fn messages_are_for_those_who_talk_to_customers() {
    with_api(async |stack| {
        let job = Job::at(&stack, stack.tenant(), TicketState::Dispatched).await;
        let (id, routing) = route(&stack, &message(OWNER)).await;
        assert_eq!(ticket_of(&routing), job.id());
        let status = async |who, path: &str| {
            let reply = stack.ask(who, Method::GET, path).send().await;
            if reply.status != 200 {
                reply.no_attempt(match who {
                    Who::Workflow | Who::Agent => ErrorCode::NotFound,
                    _ => ErrorCode::Forbidden,
                });
                assert!(!reply.text().contains("Quillfeather"));
            }
            reply.status.as_u16()
        };
        let one = format!("/comms/{id}");
        let raw = format!("/comms/{id}/raw");
        let thread = format!("/tickets/{}/comms", job.id());
        for (who, all, of_ticket, payload) in [
            (Who::Dispatcher, 200, 200, 403),
            (Who::AccountManager, 200, 200, 403),
            (Who::TenantAdmin, 200, 200, 200),
            (Who::Registry, 200, 200, 200),
            (Who::Intake, 403, 403, 403),
            (Who::Technician, 403, 200, 403),
            (Who::OtherTechnician, 403, 403, 403),
            (Who::Auditor, 403, 403, 403),
            (Who::Qa, 403, 403, 403),
            (Who::Billing, 403, 403, 403),
            (Who::Workflow, 404, 404, 404),
            (Who::Agent, 404, 404, 404),
        ] {
            assert_eq!(status(who, "/comms").await, all, "{who:?}");
            assert_eq!(status(who, &one).await, all, "{who:?}");
            assert_eq!(status(who, &thread).await, of_ticket, "{who:?}");
            assert_eq!(status(who, &raw).await, payload, "{who:?}");
        }
        let ask = |path: &str| stack.ask(Who::Dispatcher, Method::GET, path);
        for wrong in ["/comms?limit=0", "/comms?peer=x", "/comms?cursor=zz"] {
            ask(wrong)
                .send()
                .await
                .no_attempt(ErrorCode::InvalidParameter);
        }
    });
}

#[test]
fn who_brings_messages_in_reads_and_writes_nothing_about_people() {
    with_api(async |stack| {
        let (id, _) = route(&stack, &message(OWNER)).await;
        let contact = stack.tenant().contact;
        for path in [
            "/comms".to_owned(),
            format!("/comms/{id}"),
            format!("/comms/{id}/raw"),
            "/contacts".to_owned(),
            format!("/contacts/{contact}"),
        ] {
            let reply = stack.ask(Who::Intake, Method::GET, &path).send().await;
            reply.no_attempt(ErrorCode::Forbidden);
            let reply = stack.ask(Who::Registry, Method::GET, &path).send().await;
            assert_eq!(reply.status, 200, "{path}: {}", reply.text());
        }
        let body = json!({ "code": "a_neighbour", "phone": STRANGER });
        let files = async |who| {
            let ask = stack.command(who, Operation::UpsertContact, None, &body);
            ask.send().await
        };
        files(Who::Intake).await.problem(ErrorCode::Forbidden);
        assert_eq!(files(Who::Registry).await.status, 201);
    });
}

#[test]
fn what_a_message_says_stands_in_one_place() {
    with_api(async |stack| {
        route(&stack, &message(OWNER)).await;
        route(&stack, &message(STRANGER)).await;
        let again = message(STRANGER);
        route(&stack, &again).await;
        route(&stack, &again).await;
        let refused = with(message(STRANGER), json!({ "channel": "email" }));
        delivers(&stack, &refused)
            .await
            .problem(ErrorCode::InvalidField);
        let body = message(STRANGER);
        let ask = stack.command(Who::Auditor, Operation::CommsInbound, None, &body);
        ask.send().await.problem(ErrorCode::Forbidden);
        let ticket = ticket_at(&stack, stack.tenant().site.as_uuid()).await;
        let body = json!(outbound(&stack, ticket));
        let ask = stack.command(Who::Dispatcher, Operation::CommsOutbound, None, &body);
        ask.send().await.receipt();

        let tables: Vec<String> = sqlx::query_scalar(
            "select relname::text from pg_class
             where relkind in ('r', 'p') and relnamespace = 'public'::regnamespace order by 1",
        )
        .fetch_all(stack.admin())
        .await
        .unwrap();
        assert!(tables.len() > 15, "{tables:?}");
        for (words, holders) in [
            ("Quillfeather says", &["comms_contents"][..]),
            ("raw Quillfeather", &["comms_contents"]),
            ("31687654321", &["comms_contents"]),
            // The owner's number is on record as well.
            ("31205550199", &["comms_contents", "contacts"]),
        ] {
            let mut found = Vec::new();
            for table in &tables {
                let sql = format!("select exists (select from {table} t where t::text like $1)");
                let there: bool = sqlx::query_scalar(AssertSqlSafe(sql))
                    .bind(format!("%{words}%"))
                    .fetch_one(stack.admin())
                    .await
                    .unwrap();
                found.extend(there.then_some(table.as_str()));
            }
            assert_eq!(found, holders, "{words}");
        }
    });
}

/// The notices of a ticket, by purpose.
async fn notices(stack: &Stack, ticket: TicketId) -> Vec<CommsEnvelope> {
    let client = stack.client(stack.tenant(), Who::Dispatcher);
    let page = client.ticket_messages(ticket, None).await.unwrap();
    let mut items = page.items;
    items.sort_by_key(|message| message.purpose);
    items
}

fn roles(message: &CommsEnvelope) -> Vec<String> {
    match &message.recipient {
        Some(Recipient::Roles { roles }) => roles.iter().map(ToString::to_string).collect(),
        other => panic!("not for our own people: {other:?}"),
    }
}

#[test]
fn approvers_are_told_and_reminded() {
    with_api(async |stack| {
        let mut job = Job::at(&stack, stack.tenant(), TicketState::OnSite).await;
        let version = job.ticket().await.version;
        let receipt = job.does(Operation::RequestChange).await;
        assert_eq!(receipt.produced_version, version + 1);
        let approval_id = receipt.approval_id.unwrap();
        let [told] = &notices(&stack, job.id()).await[..] else {
            panic!("one notice");
        };
        assert_eq!(told.purpose, Some(Purpose::ApprovalWaiting));
        // The first step of the plan, taken as the ticket's workflow takes it.
        let ticket = job.ticket().await;
        let step = &ticket.approvals[0].steps[0];
        let body = json!({
            "approval_id": approval_id, "version": 1, "step": step.step, "at": step.at,
            "applied_seq": 0,
        });
        let taken = stack.command(Who::Workflow, Operation::RecordApprovalStep, None, &body);
        let taken = taken.send().await.receipt();
        let [told, reminder] = &notices(&stack, job.id()).await[..] else {
            panic!("two notices");
        };
        assert_eq!(reminder.purpose, Some(Purpose::ApprovalReminder));
        for (notice, command_id) in [(told, receipt.command_id), (reminder, taken.command_id)] {
            assert_eq!(notice.channel, Channel::Operations);
            assert_eq!(roles(notice), ["approver", "account_manager"]);
            let pending = OnlyWhile::ApprovalPending { approval_id };
            assert_eq!(notice.only_while, Some(pending));
            assert_eq!(notice.text, None);
            assert_eq!(notice.command_id, command_id);
        }
        let workflow_events: Vec<i64> = sqlx::query_scalar(
            "select seq from outbox_events where command_id = $1 and seq is not null",
        )
        .bind(receipt.command_id.as_uuid())
        .fetch_all(stack.admin())
        .await
        .unwrap();
        assert_eq!(
            workflow_events.len(),
            2,
            "the workflow hears of the change and of its approval, not of the notice"
        );
    });
}

#[test]
fn a_broken_promise_is_told_to_those_whom_the_rules_list() {
    with_api(async |stack| {
        let mut job = Job::at(&stack, stack.tenant(), TicketState::New).await;
        job.does(Operation::RecordSla).await;
        let [notice] = &notices(&stack, job.id()).await[..] else {
            panic!("one notice");
        };
        assert_eq!(notice.purpose, Some(Purpose::SlaBreach));
        assert_eq!(roles(notice), ["dispatcher", "account_manager"]);
        assert_eq!(notice.only_while, Some(OnlyWhile::TicketOpen));

        let ticket = job.ticket().await;
        let clock = &ticket.sla[0];
        let contracts::sla::ClockPhase::Running { warn_at, .. } = clock.phase else {
            panic!("it runs");
        };
        let warning = json!({
            "clock": clock.name, "kind": "warning", "revision": clock.revision,
            "effective_at": warn_at, "applied_seq": 1,
        });
        job.sends(Operation::RecordSla, &warning).await;
        let all = notices(&stack, job.id()).await;
        let warned = all
            .iter()
            .find(|notice| notice.purpose == Some(Purpose::SlaWarning))
            .expect("a warning");
        assert_eq!(roles(warned), ["dispatcher"]);
        let running = OnlyWhile::ClockRunning {
            clock: clock.name.clone(),
            revision: clock.revision,
        };
        assert_eq!(warned.only_while, Some(running));
    });
}

#[test]
fn the_typed_client_takes_a_message_in() {
    with_api(async |stack| {
        let body: CommsInbound = serde_json::from_value(message(OWNER)).unwrap();
        let client = stack.client(stack.tenant(), Who::Intake);
        let options = CallOptions::default();
        let receipt = client.comms_inbound(&body, &options).await.unwrap();
        let ticket = receipt.ticket.as_ref().unwrap().id;
        assert_eq!(routed(&receipt).1, Routing::Created { ticket_id: ticket });
        let manager = stack.client(stack.tenant(), Who::AccountManager);
        let queued = manager
            .comms_outbound(&outbound(&stack, ticket), &options)
            .await;
        assert!(queued.unwrap().message_id.is_some());
    });
}
