//! Outbound messages on their way: the real sender against a receiver that verifies signatures as a
//! provider would, remembers keys or not, and misbehaves on request.

use std::{
    collections::{BTreeSet, VecDeque},
    net::SocketAddr,
    os::unix::process::ExitStatusExt,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Router, body::Bytes, extract::State, http::HeaderMap, routing::post};
use chrono::{DateTime, TimeDelta, Utc};
use comms::{Backoff, CommsConfig, Endpoint, OnUnknown, Secret, Tuning};
use contracts::{
    ApprovalId, MessageId, Operation, Role, Slug, TenantId, TicketId, TicketState,
    approval::ApprovalState,
    comms::{Channel, OnlyWhile, Purpose, Recipient, WebhookMessage, WebhookRecipient},
};
use dispatch_tests::{
    database::Database,
    fleet::{Fleet, ProcessRole, with_fleet},
    http::Http,
    job::Job,
    part::RunningPart,
    pooler::Pooler,
    servers,
    stack::{ApiOptions, Stack, with_api},
    verify::violations,
    wait::{self, BOUND},
    who::Who,
    world::Tenant,
};
use futures::future::join_all;
use reqwest::StatusCode;
use serde_json::json;
use sqlx::{AssertSqlSafe, FromRow};
use store::verify::Invariant;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
const TEXT: &str = "The glazier arrives at noon, says Quillfeather.";
const PHONE: &str = "+31205550199";
const SIGABRT: i32 = 6;

/// What a receiver does with a request, once.
#[derive(Debug, Clone, Copy)]
enum Mood {
    /// Answers with this status and does nothing.
    Refuse(u16),
    /// Acts, and never answers.
    TakeInSilence,
}

/// A receiver of webhooks.
#[derive(Debug, Clone)]
struct Receiver {
    address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Debug, Default)]
struct Seen {
    /// Whether it acts once on each key.
    keyed: bool,
    moods: VecDeque<Mood>,
    /// Verified, in the order of their arrival.
    requests: Vec<WebhookMessage>,
    /// What it did.
    effects: Vec<MessageId>,
}

impl Receiver {
    async fn start(keyed: bool, moods: &[Mood]) -> Self {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0)), keyed, moods).await
    }

    async fn start_at(address: SocketAddr, keyed: bool, moods: &[Mood]) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let receiver = Self {
            address: listener.local_addr().unwrap(),
            seen: Arc::new(Mutex::new(Seen {
                keyed,
                moods: moods.iter().copied().collect(),
                ..Seen::default()
            })),
        };
        let router = Router::new()
            .route("/hook", post(take))
            .with_state(receiver.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        receiver
    }

    fn endpoint(&self) -> Endpoint {
        endpoint_at(self.address, self.seen.lock().unwrap().keyed)
    }

    fn requests(&self) -> Vec<WebhookMessage> {
        self.seen.lock().unwrap().requests.clone()
    }

    fn effects(&self) -> Vec<MessageId> {
        self.seen.lock().unwrap().effects.clone()
    }
}

fn endpoint_at(address: SocketAddr, keyed: bool) -> Endpoint {
    Endpoint {
        name: Slug::new("provider").unwrap(),
        url: format!("http://{address}/hook").parse().unwrap(),
        secret: Secret::new(SECRET),
        channels: vec![Channel::Sms, Channel::Operations],
        tenants: Vec::new(),
        keyed,
        on_unknown: OnUnknown::GiveUp,
        timeout: Duration::from_secs(10),
        allow_http: false,
    }
}

/// As a real receiver: nothing is believed that is not signed.
async fn take(State(receiver): State<Receiver>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let verifier = standardwebhooks::Webhook::new(SECRET).unwrap();
    if verifier.verify(&body, &headers).is_err() {
        return StatusCode::UNAUTHORIZED;
    }
    let message: WebhookMessage = serde_json::from_slice(&body).unwrap();
    assert_eq!(headers["webhook-id"], message.id.to_string().as_str());
    let mood = {
        let mut seen = receiver.seen.lock().unwrap();
        let mood = seen.moods.pop_front();
        let known = seen.keyed && seen.effects.contains(&message.id);
        if !known && !matches!(mood, Some(Mood::Refuse(_))) {
            seen.effects.push(message.id);
        }
        seen.requests.push(message);
        mood
    };
    match mood {
        None => StatusCode::NO_CONTENT,
        Some(Mood::Refuse(status)) => StatusCode::from_u16(status).unwrap(),
        Some(Mood::TakeInSilence) => std::future::pending().await,
    }
}

/// Quick, because a test waits for it.
fn tuning() -> Tuning {
    Tuning {
        poll: Duration::from_millis(50),
        backoff: Backoff {
            first: Duration::from_millis(20),
            most: Duration::from_millis(100),
        },
        no_endpoint_wait: Duration::from_millis(100),
        ..Tuning::default()
    }
}

fn config(stack: &Stack, endpoint: Endpoint) -> CommsConfig {
    CommsConfig {
        database_url: stack.database().addresses.comms.clone(),
        endpoints: vec![endpoint],
        metrics_listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        failpoints: false,
        tuning: tuning(),
    }
}

fn start(stack: &Stack, endpoint: Endpoint) -> RunningPart {
    start_with(config(stack, endpoint))
}

fn start_with(config: CommsConfig) -> RunningPart {
    RunningPart::start("sender", |stop| async move {
        comms::run(config, stop)
            .await
            .map_err(|error| error.to_string())
    })
}

#[test]
fn senders_behind_a_pooler_send_each_message_once() {
    with_switches(async |stack| {
        let pooler = Pooler::start(2, &[("server_round_robin", "1")]).await;
        let receiver = Receiver::start(true, &[Mood::Refuse(503), Mood::Refuse(503)]).await;
        let database = stack.database();
        turn_switch(database, stack.tenant().id, 1).await;
        turn_switch(database, stack.other().id, 1).await;
        let mut messages = Vec::new();
        for tenant in [stack.tenant(), stack.other()] {
            for _ in 0..15 {
                messages.push(Draft::alone(tenant).queue(database).await);
            }
        }
        let through = || CommsConfig {
            database_url: pooler.through(&database.addresses.comms),
            ..config(&stack, receiver.endpoint())
        };
        // Two processes, of which each would have more connections than there are.
        let senders = [start_with(through()), start_with(through())];
        for message in &messages {
            assert_eq!(ended(database, *message).await, is("sent", "http_204"));
        }
        let connections: i64 = sqlx::query_scalar(
            "select count(*) from pg_stat_activity where datname = current_database()
                and usename = 'dispatch_comms'",
        )
        .fetch_one(&database.admin)
        .await
        .unwrap();
        assert!((1..=2).contains(&connections), "{connections}");
        for sender in senders {
            sender.stop().await;
        }
        let mut done = receiver.effects();
        assert_eq!(done.len(), messages.len());
        done.sort();
        messages.sort();
        assert_eq!(done, messages);
        for message in messages {
            forget(database, message).await;
        }
        pooler.end().await;

        let old = Pooler::start(1, &[("max_prepared_statements", "0")]).await;
        let through = CommsConfig {
            database_url: old.through(&database.addresses.comms),
            ..config(&stack, receiver.endpoint())
        };
        let refused = comms::run(through, CancellationToken::new()).await;
        let refused = format!("{:?}", refused.unwrap_err());
        assert!(refused.contains("max_prepared_statements"), "{refused}");
        old.end().await;
    });
}

/// While the tenant's switch is at its turn of this number.
fn kill_generation(generation: u64) -> OnlyWhile {
    OnlyWhile::KillGeneration {
        generation,
        scope: "tenant".to_owned(),
    }
}

/// A message to be queued.
struct Draft<'a> {
    tenant: &'a Tenant,
    ticket: Option<TicketId>,
    purpose: Purpose,
    recipient: Recipient,
    only_while: OnlyWhile,
    due_at: DateTime<Utc>,
}

impl<'a> Draft<'a> {
    /// A text to a person that depends on no ticket.
    fn alone(tenant: &'a Tenant) -> Self {
        Self {
            tenant,
            ticket: None,
            purpose: Purpose::KillSwitch,
            recipient: Recipient::Contact {
                contact_id: tenant.contact,
            },
            only_while: kill_generation(1),
            due_at: Utc::now(),
        }
    }

    /// A notice to our own people.
    fn notice(tenant: &'a Tenant, ticket: Option<TicketId>, only_while: OnlyWhile) -> Self {
        Self {
            tenant,
            ticket,
            purpose: Purpose::ApprovalReminder,
            recipient: Recipient::Roles {
                roles: vec![Role::Approver],
            },
            only_while,
            due_at: Utc::now(),
        }
    }

    /// Writes it as the command would, past it: what is sent and when is this file's matter, which
    /// command queues it is another's.
    async fn queue(self, database: &Database) -> MessageId {
        let id = Uuid::now_v7();
        let tenant = self.tenant.id.as_uuid();
        let (channel, text, contact) = match &self.recipient {
            Recipient::Contact { contact_id } => {
                (Channel::Sms, Some(TEXT), Some(contact_id.as_uuid()))
            }
            Recipient::Roles { .. } | Recipient::Concerned { .. } => {
                (Channel::Operations, None, None)
            }
        };
        let mut tx = database.admin.begin().await.unwrap();
        let command: Option<Uuid> = sqlx::query_scalar(
            "select command_id from audit_events where tenant_id = $1 and ticket_id = $2
             order by position desc limit 1",
        )
        .bind(tenant)
        .bind(self.ticket.map(|ticket| ticket.as_uuid()))
        .fetch_optional(&mut *tx)
        .await
        .unwrap();
        sqlx::query(
            "insert into comms_messages (tenant_id, id, ticket_id, direction, channel, purpose,
                 contact_id, recipient, only_while, due_at, received_at, correlation_id, traceparent,
                 command_id)
             values ($1, $2, $3, 'outbound', $4, $5, $6, $7, $8, $9, now(), 'a-conversation', '', $10)",
        )
        .bind(tenant)
        .bind(id)
        .bind(self.ticket.map(|ticket| ticket.as_uuid()))
        .bind(channel.to_string())
        .bind(self.purpose.to_string())
        .bind(contact)
        .bind(json!(self.recipient))
        .bind(json!(self.only_while))
        .bind(self.due_at)
        .bind(command.unwrap_or(id))
        .execute(&mut *tx)
        .await
        .unwrap();
        sqlx::query("insert into comms_contents (tenant_id, message_id, text) values ($1, $2, $3)")
            .bind(tenant)
            .bind(id)
            .bind(text)
            .execute(&mut *tx)
            .await
            .unwrap();
        sqlx::query(
            "insert into comms_queue (tenant_id, message_id, due_at, next_at) values ($1, $2, $3, $3)",
        )
        .bind(tenant)
        .bind(id)
        .bind(self.due_at)
        .execute(&mut *tx)
        .await
        .unwrap();
        tx.commit().await.unwrap();
        MessageId::from_uuid(id)
    }
}

/// Removes what no command wrote, before the checker asks which one did.
async fn forget(database: &Database, message: MessageId) {
    for sql in [
        "delete from comms_attempts where message_id = $1",
        "delete from comms_queue where message_id = $1",
        "delete from comms_contents where message_id = $1",
        "delete from comms_messages where id = $1",
    ] {
        sqlx::query(sql)
            .bind(message.as_uuid())
            .execute(&database.admin)
            .await
            .unwrap();
    }
}

/// Runs a test against a dispatch-api; the switches that it turned past every command are back when
/// the checker asks which command turned them.
fn with_switches<F: Future<Output = ()>>(test: impl FnOnce(Stack) -> F + Send) {
    with_api(async move |stack: Stack| {
        test(stack.clone()).await;
        turn_back(stack.database()).await;
    });
}

async fn turn_back(database: &Database) {
    sqlx::query("delete from kill_switches")
        .execute(&database.admin)
        .await
        .unwrap();
}

/// How far a message got.
#[derive(Debug, Clone, PartialEq, FromRow)]
struct Standing {
    state: String,
    attempts: i32,
    last_result: Option<String>,
    receiver_keyed: Option<bool>,
}

async fn standing(database: &Database, message: MessageId) -> Standing {
    sqlx::query_as(
        "select state, attempts, last_result, receiver_keyed from comms_queue where message_id = $1",
    )
    .bind(message.as_uuid())
    .fetch_one(&database.admin)
    .await
    .unwrap()
}

/// Waits for the end of a message; answers state and last result.
async fn ended(database: &Database, message: MessageId) -> (String, String) {
    wait::until("the end of a message", BOUND, async || {
        let standing = standing(database, message).await;
        if standing.state == "queued" {
            return Err(standing);
        }
        Ok((standing.state, standing.last_result.unwrap_or_default()))
    })
    .await
}

fn is(state: &str, result: &str) -> (String, String) {
    (state.to_owned(), result.to_owned())
}

/// Results of the tries, and whether each is ambiguous.
async fn ledger(database: &Database, message: MessageId) -> Vec<(String, bool)> {
    let rows: Vec<(Option<String>, Option<bool>, String)> = sqlx::query_as(
        "select result, ambiguous, key from comms_attempts where message_id = $1 order by attempt",
    )
    .bind(message.as_uuid())
    .fetch_all(&database.admin)
    .await
    .unwrap();
    rows.into_iter()
        .map(|(result, ambiguous, key)| {
            assert_eq!(key, message.to_string());
            (result.unwrap_or_default(), ambiguous.unwrap_or_default())
        })
        .collect()
}

fn tries<const N: usize>(expected: [(&str, bool); N]) -> Vec<(String, bool)> {
    expected
        .map(|(result, ambiguous)| (result.to_owned(), ambiguous))
        .to_vec()
}

/// The kill switch was turned so often.
async fn turn_switch(database: &Database, tenant: TenantId, generation: i64) {
    sqlx::query(
        "insert into kill_switches (tenant_id, engaged, generation, reason, turned_by, turned_at,
             command_id)
         values ($1, true, $2, 'drill', 'somebody', now(), $1)
         on conflict (tenant_id, scope) do update set generation = excluded.generation",
    )
    .bind(tenant.as_uuid())
    .bind(generation)
    .execute(&database.admin)
    .await
    .unwrap();
}

#[test]
fn a_message_goes_out_once_with_what_its_receiver_needs() {
    with_switches(async |stack| {
        let job = Job::at(&stack, stack.tenant(), TicketState::Triaged).await;
        let receiver = Receiver::start(true, &[]).await;
        let body = json!({
            "ticket_id": job.id(), "contact_id": stack.tenant().contact, "channel": "sms",
            "text": TEXT,
        });
        stack
            .command(Who::Dispatcher, Operation::CommsOutbound, None, &body)
            .send()
            .await
            .receipt();
        let message = about(&stack, job.id(), Purpose::Conversation).await;
        let sender = start(&stack, receiver.endpoint());
        assert_eq!(
            ended(stack.database(), message).await,
            is("sent", "http_204")
        );
        sender.stop().await;
        assert_eq!(receiver.effects(), [message]);
        let [request] = receiver.requests().try_into().unwrap();
        assert_eq!(request.tenant_id, stack.tenant().id);
        assert_eq!(request.ticket_id, Some(job.id()));
        assert_eq!(request.text.unwrap().as_str(), TEXT);
        let address = PHONE.parse().unwrap();
        assert_eq!(request.recipient, WebhookRecipient::Address { address });
        let ticket = request.ticket.unwrap();
        assert_eq!(ticket.state, TicketState::Triaged);
        assert_eq!(ticket.link, format!("/api/v1/tickets/{}", job.id()));
        assert_eq!(
            ledger(stack.database(), message).await,
            tries([("http_204", false)])
        );
        let standing = standing(stack.database(), message).await;
        assert_eq!(
            (standing.attempts, standing.receiver_keyed),
            (1, Some(true))
        );
    });
}

#[test]
fn a_notice_names_roles_and_no_person() {
    with_switches(async |stack| {
        let job = Job::at(&stack, stack.tenant(), TicketState::ChangeRequested).await;
        let receiver = Receiver::start(true, &[]).await;
        let only_while = OnlyWhile::ApprovalPending {
            approval_id: approval(&stack, job.id()).await,
        };
        let message = about(&stack, job.id(), Purpose::ApprovalWaiting).await;
        let sender = start(&stack, receiver.endpoint());
        assert_eq!(
            ended(stack.database(), message).await,
            is("sent", "http_204")
        );
        sender.stop().await;
        let requests = receiver.requests();
        let request = requests.iter().find(|r| r.id == message).unwrap();
        match &request.recipient {
            WebhookRecipient::Roles { roles } => assert!(!roles.is_empty()),
            other => panic!("not to roles: {other:?}"),
        }
        assert_eq!((&request.text, &request.only_while), (&None, &only_while));
    });
}

/// Whoever asked is named by the subject of their token when it leaves, and only while it is so.
#[test]
fn whoever_asked_is_told_what_was_decided() {
    with_switches(async |stack| {
        let mut job = Job::at(&stack, stack.tenant(), TicketState::ChangeRequested).await;
        let approval_id = approval(&stack, job.id()).await;
        job.does(Operation::DecideApproval).await;
        let message = about(&stack, job.id(), Purpose::ApprovalDecided).await;
        let tenant = stack.tenant();
        let concerned = |states: &[ApprovalState]| Draft {
            recipient: Recipient::Concerned { approval_id },
            ..Draft::notice(
                tenant,
                Some(job.id()),
                OnlyWhile::ApprovalIn {
                    approval_id,
                    states: states.to_vec(),
                },
            )
        };
        let stale = concerned(&[ApprovalState::Stale])
            .queue(stack.database())
            .await;
        // What nobody asked for or agreed to concerns nobody.
        let nobody = Draft {
            recipient: Recipient::Concerned {
                approval_id: ApprovalId::from_uuid(Uuid::now_v7()),
            },
            ..Draft::notice(tenant, Some(job.id()), OnlyWhile::Always)
        };
        let nobody = nobody.queue(stack.database()).await;
        let receiver = Receiver::start(true, &[]).await;
        let sender = start(&stack, receiver.endpoint());
        for (message, expected) in [
            (message, is("sent", "http_204")),
            (stale, is("withdrawn", "approval_moved_on")),
            (nobody, is("withdrawn", "nobody_concerned")),
        ] {
            assert_eq!(ended(stack.database(), message).await, expected);
        }
        sender.stop().await;
        let requests = receiver.requests();
        let request = requests.iter().find(|r| r.id == message).unwrap();
        let actor_ids = vec![Who::Technician.actor(tenant).id];
        assert_eq!(request.recipient, WebhookRecipient::Actors { actor_ids });
        forget(stack.database(), stale).await;
        forget(stack.database(), nobody).await;
    });
}

/// The message about a ticket with this purpose.
async fn about(stack: &Stack, ticket: TicketId, purpose: Purpose) -> MessageId {
    let id =
        sqlx::query_scalar("select id from comms_messages where ticket_id = $1 and purpose = $2")
            .bind(ticket.as_uuid())
            .bind(purpose.to_string())
            .fetch_one(stack.admin())
            .await
            .unwrap();
    MessageId::from_uuid(id)
}

async fn approval(stack: &Stack, ticket: TicketId) -> ApprovalId {
    let id =
        sqlx::query_scalar("select id from approvals where ticket_id = $1 and state = 'pending'")
            .bind(ticket.as_uuid())
            .fetch_one(stack.admin())
            .await
            .unwrap();
    ApprovalId::from_uuid(id)
}

#[test]
fn a_receiver_that_fails_is_asked_again_under_the_same_key() {
    with_switches(async |stack| {
        turn_switch(stack.database(), stack.tenant().id, 1).await;
        let moods = [Mood::Refuse(500), Mood::Refuse(500)];
        let receiver = Receiver::start(true, &moods).await;
        let message = Draft::alone(stack.tenant()).queue(stack.database()).await;
        let sender = start(&stack, receiver.endpoint());
        assert_eq!(
            ended(stack.database(), message).await,
            is("sent", "http_204")
        );
        sender.stop().await;
        assert_eq!(receiver.effects(), [message]);
        let keys: BTreeSet<_> = receiver.requests().iter().map(|r| r.id).collect();
        assert_eq!((receiver.requests().len(), keys.len()), (3, 1));
        assert_eq!(
            ledger(stack.database(), message).await,
            tries([("http_500", true), ("http_500", true), ("http_204", false)])
        );
    });
}

#[test]
fn a_receiver_that_refuses_for_good_is_left_alone() {
    with_switches(async |stack| {
        turn_switch(stack.database(), stack.tenant().id, 1).await;
        let receiver = Receiver::start(true, &[Mood::Refuse(404), Mood::Refuse(301)]).await;
        let sender = start(&stack, receiver.endpoint());
        for result in ["http_404", "http_301"] {
            let message = Draft::alone(stack.tenant()).queue(stack.database()).await;
            assert_eq!(ended(stack.database(), message).await, is("failed", result));
        }
        sender.stop().await;
        assert_eq!(receiver.requests().len(), 2);
        assert_eq!(receiver.effects(), []);
    });
}

#[test]
fn a_late_answer_is_no_second_message_where_the_receiver_knows_keys() {
    with_switches(async |stack| {
        turn_switch(stack.database(), stack.tenant().id, 1).await;
        let receiver = Receiver::start(true, &[Mood::TakeInSilence]).await;
        let endpoint = Endpoint {
            timeout: Duration::from_millis(300),
            ..receiver.endpoint()
        };
        let message = Draft::alone(stack.tenant()).queue(stack.database()).await;
        let sender = start(&stack, endpoint);
        assert_eq!(
            ended(stack.database(), message).await,
            is("sent", "http_204")
        );
        sender.stop().await;
        assert_eq!(receiver.requests().len(), 2);
        assert_eq!(receiver.effects(), [message]);
        assert_eq!(
            ledger(stack.database(), message).await,
            tries([("timeout", true), ("http_204", false)])
        );
    });
}

#[test]
fn a_late_answer_is_for_a_person_where_the_receiver_knows_no_keys() {
    with_switches(async |stack| {
        turn_switch(stack.database(), stack.tenant().id, 1).await;
        let receiver = Receiver::start(false, &[Mood::TakeInSilence, Mood::TakeInSilence]).await;
        let careful = Endpoint {
            timeout: Duration::from_millis(300),
            ..receiver.endpoint()
        };
        let first = Draft::alone(stack.tenant()).queue(stack.database()).await;
        let sender = start(&stack, careful.clone());
        assert_eq!(
            ended(stack.database(), first).await,
            is("failed", "unknown_outcome")
        );
        sender.stop().await;
        assert_eq!(receiver.effects(), [first]);
        assert_eq!(
            ledger(stack.database(), first).await,
            tries([("timeout", true)])
        );
        assert_eq!(
            standing(stack.database(), first).await.receiver_keyed,
            Some(false)
        );

        // Who would rather have two than none says so, and the ledger tells.
        let daring = Endpoint {
            on_unknown: OnUnknown::Retry,
            ..careful
        };
        let second = Draft::alone(stack.tenant()).queue(stack.database()).await;
        let sender = start(&stack, daring);
        assert_eq!(
            ended(stack.database(), second).await,
            is("sent", "http_204")
        );
        sender.stop().await;
        assert_eq!(receiver.effects(), [first, second, second]);
        let policies: Vec<String> = sqlx::query_scalar(
            "select on_unknown from comms_attempts where message_id = any($1) order by at",
        )
        .bind([first.as_uuid(), second.as_uuid()])
        .fetch_all(stack.admin())
        .await
        .unwrap();
        assert_eq!(policies, ["give_up", "retry", "retry"]);
    });
}

#[test]
fn what_surely_did_not_arrive_is_tried_again_at_any_receiver() {
    with_switches(async |stack| {
        turn_switch(stack.database(), stack.tenant().id, 1).await;
        let address = Receiver::start(false, &[]).await.address;
        // Another port of this machine that nobody listens at, for the moment.
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let free = listener.local_addr().unwrap();
        drop(listener);
        assert_ne!(address, free);
        let message = Draft::alone(stack.tenant()).queue(stack.database()).await;
        let sender = start(&stack, endpoint_at(free, false));
        wait::until("a try", BOUND, async || {
            match ledger(stack.database(), message).await.as_slice() {
                [(result, false), ..] if result == "connect" => Ok(()),
                other => Err(other.to_vec()),
            }
        })
        .await;
        let receiver = Receiver::start_at(free, false, &[]).await;
        assert_eq!(
            ended(stack.database(), message).await,
            is("sent", "http_204")
        );
        sender.stop().await;
        assert_eq!(receiver.effects(), [message]);
    });
}

#[test]
fn an_endpoint_that_never_answers_holds_up_nobody_else() {
    with_switches(async |stack| {
        let database = stack.database();
        turn_switch(database, stack.tenant().id, 1).await;
        // Connections come about, and nobody ever reads from them.
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stuck = Endpoint {
            name: Slug::new("stuck").unwrap(),
            channels: vec![Channel::Sms],
            timeout: 4 * BOUND,
            ..endpoint_at(silent.local_addr().unwrap(), true)
        };
        let receiver = Receiver::start(true, &[]).await;
        let healthy = Endpoint {
            channels: vec![Channel::Operations],
            ..receiver.endpoint()
        };
        let mut waiting = Vec::new();
        for _ in 0..20 {
            waiting.push(Draft::alone(stack.tenant()).queue(database).await.as_uuid());
        }
        let sender = start_with(CommsConfig {
            endpoints: vec![stuck, healthy.clone()],
            ..config(&stack, healthy)
        });
        // Half of the places is this endpoint's share, and the rest of its messages are put off.
        wait::until("a full share", BOUND, async || {
            let standings: (i64, i64) = sqlx::query_as(
                "select count(*) filter (where attempts = 1),
                        count(*) filter (where attempts = 0 and last_result = 'endpoint_busy')
                 from comms_queue where message_id = any($1) and state = 'queued'",
            )
            .bind(&waiting)
            .fetch_one(&database.admin)
            .await
            .unwrap();
            if standings == (8, 12) {
                Ok(())
            } else {
                Err(standings)
            }
        })
        .await;
        // All due later than those, so a queue in order would come to them last.
        for _ in 0..20 {
            let only_while = kill_generation(1);
            let notice = Draft {
                purpose: Purpose::KillSwitch,
                ..Draft::notice(stack.tenant(), None, only_while)
            };
            let message = notice.queue(database).await;
            assert_eq!(ended(database, message).await, is("sent", "http_204"));
        }
        let open: i64 = sqlx::query_scalar(
            "select count(*) from comms_attempts where ended_at is null and endpoint = 'stuck'",
        )
        .fetch_one(&database.admin)
        .await
        .unwrap();
        assert_eq!((open, receiver.effects().len()), (8, 20));
        // Whoever waits for an answer is told that there is none.
        drop(silent);
        sender.stop().await;
    });
}

#[test]
fn a_receiver_that_has_the_key_already_has_the_message() {
    with_switches(async |stack| {
        turn_switch(stack.database(), stack.tenant().id, 1).await;
        for (keyed, on_unknown, moods, expected) in [
            (
                true,
                OnUnknown::GiveUp,
                vec![Mood::Refuse(409)],
                tries([("http_409", false)]),
            ),
            (
                false,
                OnUnknown::Retry,
                vec![Mood::Refuse(408), Mood::Refuse(409)],
                tries([("http_408", true), ("http_409", false)]),
            ),
        ] {
            let receiver = Receiver::start(keyed, &moods).await;
            let endpoint = Endpoint {
                on_unknown,
                ..receiver.endpoint()
            };
            let message = Draft::alone(stack.tenant()).queue(stack.database()).await;
            let sender = start(&stack, endpoint);
            assert_eq!(
                ended(stack.database(), message).await,
                is("sent", "http_409")
            );
            sender.stop().await;
            assert_eq!(ledger(stack.database(), message).await, expected);
        }
    });
}

#[test]
fn a_message_on_a_condition_that_nobody_knows_is_withdrawn() {
    with_switches(async |stack| {
        let message = Draft::alone(stack.tenant()).queue(stack.database()).await;
        sqlx::query(
            "update comms_messages set only_while = '{\"only\": \"full_moon\"}' where id = $1",
        )
        .bind(message.as_uuid())
        .execute(stack.admin())
        .await
        .unwrap();
        let receiver = Receiver::start(true, &[]).await;
        let sender = start(&stack, receiver.endpoint());
        assert_eq!(
            ended(stack.database(), message).await,
            is("withdrawn", "unknown_condition")
        );
        sender.stop().await;
        assert_eq!(receiver.requests().len(), 0);
        forget(stack.database(), message).await;
    });
}

#[test]
fn white_space_is_no_part_of_an_address_and_what_is_no_address_is_not_tried() {
    with_switches(async |stack| {
        let database = stack.database();
        turn_switch(database, stack.tenant().id, 1).await;
        let receiver = Receiver::start(true, &[]).await;
        let sender = start(&stack, receiver.endpoint());
        let no_address = is("failed", "no_address");
        for (phone, expected) in [
            (
                " +31 20\u{a0}555\u{2009}0199\n".to_owned(),
                is("sent", "http_204"),
            ),
            ("1".repeat(254), is("sent", "http_204")),
            ("1".repeat(255), no_address.clone()),
            ("\u{e9}".repeat(128), no_address.clone()),
            ("+31\u{7}20".to_owned(), no_address.clone()),
            ("+31\u{9b}20".to_owned(), no_address.clone()),
            (" \u{3000}".to_owned(), no_address.clone()),
        ] {
            sqlx::query("update contacts set phone = $2 where id = $1")
                .bind(stack.tenant().contact.as_uuid())
                .bind(&phone)
                .execute(stack.admin())
                .await
                .unwrap();
            let message = Draft::alone(stack.tenant()).queue(database).await;
            assert_eq!(ended(database, message).await, expected, "{phone:?}");
            let tried = expected != no_address;
            assert_eq!(ledger(database, message).await.len(), usize::from(tried));
        }
        sender.stop().await;
        let address = PHONE.parse().unwrap();
        let expected = WebhookRecipient::Address { address };
        assert_eq!(receiver.requests()[0].recipient, expected);
    });
}

#[test]
fn nobody_is_told_of_what_was_decided_meanwhile() {
    with_switches(async |stack| {
        let mut job = Job::at(&stack, stack.tenant(), TicketState::ChangeRequested).await;
        let waiting = about(&stack, job.id(), Purpose::ApprovalWaiting).await;
        job.does(Operation::DecideApproval).await;
        let receiver = Receiver::start(true, &[]).await;
        let sender = start(&stack, receiver.endpoint());
        assert_eq!(
            ended(stack.database(), waiting).await,
            is("withdrawn", "approval_decided")
        );
        sender.stop().await;
        assert!(receiver.requests().iter().all(|r| r.id != waiting));
        assert_eq!(ledger(stack.database(), waiting).await, []);
    });
}

#[test]
fn a_message_goes_only_while_its_reason_holds() {
    with_switches(async |stack| {
        turn_switch(stack.database(), stack.tenant().id, 2).await;
        let job = Job::at(&stack, stack.tenant(), TicketState::Triaged).await;
        let cancelled = Job::at(&stack, stack.tenant(), TicketState::Cancelled).await;
        let (clock, revision): (String, i64) = sqlx::query_as(
            "select c ->> 'name', (c ->> 'revision')::bigint
             from tickets, jsonb_array_elements(doc -> 'sla') c
             where id = $1 and c ->> 'phase' = 'running' limit 1",
        )
        .bind(job.id().as_uuid())
        .fetch_one(stack.admin())
        .await
        .unwrap();
        let clock = Slug::new(clock).unwrap();
        let revision = u32::try_from(revision).unwrap();
        let running = |clock: &Slug, revision| OnlyWhile::ClockRunning {
            clock: clock.clone(),
            revision,
        };
        let within = |state| OnlyWhile::TicketIn {
            states: vec![state, TicketState::OnSite],
        };
        let switch = kill_generation;
        let open = OnlyWhile::TicketOpen;
        let unknown = OnlyWhile::ApprovalPending {
            approval_id: ApprovalId::from_uuid(Uuid::now_v7()),
        };
        let here = Some(job.id());
        let cases = [
            (here, open.clone(), is("sent", "http_204")),
            (Some(cancelled.id()), open, is("withdrawn", "ticket_ended")),
            (here, within(TicketState::Triaged), is("sent", "http_204")),
            (
                here,
                within(TicketState::New),
                is("withdrawn", "ticket_moved_on"),
            ),
            (here, running(&clock, revision), is("sent", "http_204")),
            (
                here,
                running(&clock, revision + 1),
                is("withdrawn", "clock_stopped"),
            ),
            (
                Some(cancelled.id()),
                running(&clock, revision),
                is("withdrawn", "clock_stopped"),
            ),
            (None, switch(2), is("sent", "http_204")),
            (None, switch(1), is("withdrawn", "kill_switch_turned")),
            (here, unknown, is("withdrawn", "approval_decided")),
        ];
        let mut queued = Vec::new();
        for (ticket, only_while, expected) in cases {
            let message = Draft::notice(stack.tenant(), ticket, only_while.clone())
                .queue(stack.database())
                .await;
            queued.push((message, only_while, expected));
        }
        let receiver = Receiver::start(true, &[]).await;
        let sender = start(&stack, receiver.endpoint());
        for (message, only_while, expected) in &queued {
            let end = ended(stack.database(), *message).await;
            assert_eq!(end, *expected, "{only_while:?}");
        }
        sender.stop().await;
        let effects = receiver.effects();
        for (message, only_while, (state, _)) in queued {
            assert_eq!(
                effects.contains(&message),
                state == "sent",
                "{only_while:?}"
            );
            forget(stack.database(), message).await;
        }
    });
}

#[test]
fn two_senders_send_each_message_once() {
    with_switches(async |stack| {
        turn_switch(stack.database(), stack.tenant().id, 1).await;
        // It remembers no keys: a second request would be a second effect.
        let receiver = Receiver::start(false, &[]).await;
        let mut messages = BTreeSet::new();
        for _ in 0..60 {
            messages.insert(Draft::alone(stack.tenant()).queue(stack.database()).await);
        }
        let senders = [(); 2].map(|()| start(&stack, receiver.endpoint()));
        for message in &messages {
            assert_eq!(
                ended(stack.database(), *message).await,
                is("sent", "http_204")
            );
        }
        for sender in senders {
            sender.stop().await;
        }
        let effects = receiver.effects();
        assert_eq!(effects.len(), messages.len());
        assert_eq!(effects.into_iter().collect::<BTreeSet<_>>(), messages);
    });
}

#[test]
fn an_endpoint_of_one_tenant_gets_nothing_of_another() {
    with_switches(async |stack| {
        let (ours, theirs) = (stack.tenant(), stack.other());
        for tenant in [ours, theirs] {
            turn_switch(stack.database(), tenant.id, 1).await;
        }
        let receiver = Receiver::start(true, &[]).await;
        let endpoint = Endpoint {
            tenants: vec![ours.id],
            ..receiver.endpoint()
        };
        let foreign = Draft::alone(theirs).queue(stack.database()).await;
        let own = Draft::alone(ours).queue(stack.database()).await;
        let sender = start(&stack, endpoint);
        assert_eq!(ended(stack.database(), own).await, is("sent", "http_204"));
        // Not lost: it waits, and says for what.
        let waits = Standing {
            state: "queued".into(),
            attempts: 0,
            last_result: Some("no_endpoint".into()),
            receiver_keyed: None,
        };
        wait::until("the other tenant's message", BOUND, async || {
            let standing = standing(stack.database(), foreign).await;
            if standing == waits {
                Ok(())
            } else {
                Err(standing)
            }
        })
        .await;
        sender.stop().await;
        assert_eq!(receiver.effects(), [own]);

        // dispatch-api sees the rows of one tenant at a time.
        let mut tx = stack.database().app.begin().await.unwrap();
        sqlx::query("select set_config('app.tenant_id', $1, true)")
            .bind(ours.id.as_uuid().to_string())
            .execute(&mut *tx)
            .await
            .unwrap();
        let seen: Vec<Uuid> = sqlx::query_scalar(
            "select message_id from comms_queue union select message_id from comms_attempts",
        )
        .fetch_all(&mut *tx)
        .await
        .unwrap();
        tx.rollback().await.unwrap();
        assert_eq!(seen, [own.as_uuid()]);

        // Once there is an endpoint it goes.
        let sender = start(&stack, receiver.endpoint());
        assert_eq!(
            ended(stack.database(), foreign).await,
            is("sent", "http_204")
        );
        sender.stop().await;
    });
}

#[test]
fn without_an_address_or_too_late_nothing_is_sent() {
    with_switches(async |stack| {
        turn_switch(stack.database(), stack.tenant().id, 1).await;
        turn_switch(stack.database(), stack.other().id, 1).await;
        sqlx::query("update contacts set phone = null where id = $1")
            .bind(stack.other().contact.as_uuid())
            .execute(stack.admin())
            .await
            .unwrap();
        let nowhere = Draft::alone(stack.other()).queue(stack.database()).await;
        let late = Draft {
            due_at: Utc::now() - TimeDelta::hours(25),
            ..Draft::alone(stack.tenant())
        };
        let late = late.queue(stack.database()).await;
        let future = Draft {
            due_at: Utc::now() + TimeDelta::hours(1),
            ..Draft::alone(stack.tenant())
        };
        let future = future.queue(stack.database()).await;
        let receiver = Receiver::start(true, &[]).await;
        let sender = start(&stack, receiver.endpoint());
        assert_eq!(
            ended(stack.database(), nowhere).await,
            is("failed", "no_address")
        );
        assert_eq!(ended(stack.database(), late).await, is("failed", "too_old"));
        // A later one has gone by the time, so the one of the future was looked past.
        let now = Draft::alone(stack.tenant()).queue(stack.database()).await;
        assert_eq!(ended(stack.database(), now).await, is("sent", "http_204"));
        sender.stop().await;
        assert_eq!(standing(stack.database(), future).await.attempts, 0);
        assert_eq!(receiver.effects(), [now]);
    });
}

#[test]
fn what_waited_over_days_off_has_the_hour_after_them() {
    with_switches(async |stack| {
        turn_switch(stack.database(), stack.tenant().id, 1).await;
        // Since 60 hours; quiet from so many hours ago until so many minutes ago.
        let waited = async |from: i32, until: i32| {
            let draft = Draft {
                due_at: Utc::now() - TimeDelta::hours(60),
                ..Draft::alone(stack.tenant())
            };
            let message = draft.queue(stack.database()).await;
            sqlx::query(
                "update comms_messages
                    set quiet = tstzmultirange(tstzrange(now() - make_interval(hours => $2),
                                                         now() - make_interval(mins => $3)))
                  where id = $1",
            )
            .bind(message.as_uuid())
            .bind(from)
            .bind(until)
            .execute(stack.admin())
            .await
            .unwrap();
            message
        };
        let [in_time, late] = [waited(59, 50).await, waited(59, 70).await];
        // Its day was over long before this night.
        let by_day = waited(12, 50).await;
        let receiver = Receiver::start(true, &[]).await;
        let sender = start(&stack, receiver.endpoint());
        for (message, end) in [
            (in_time, is("sent", "http_204")),
            (late, is("failed", "too_old")),
            (by_day, is("failed", "too_old")),
        ] {
            assert_eq!(ended(stack.database(), message).await, end);
        }
        sender.stop().await;
        assert_eq!(receiver.effects(), [in_time]);
    });
}

#[test]
fn whatever_is_configured_nothing_leaves_for_longer_than_its_quiet_times_are_known() {
    with_switches(async |stack| {
        turn_switch(stack.database(), stack.tenant().id, 1).await;
        let aged = async |age: TimeDelta| {
            let draft = Draft {
                due_at: Utc::now() - age,
                ..Draft::alone(stack.tenant())
            };
            draft.queue(stack.database()).await
        };
        let hour = TimeDelta::hours(1);
        let oldest = TimeDelta::from_std(store::sending::OLDEST).unwrap();
        let [known, unknown] = [aged(oldest - hour).await, aged(oldest + hour).await];
        let receiver = Receiver::start(true, &[]).await;
        let mut config = config(&stack, receiver.endpoint());
        config.tuning.max_age = store::sending::OLDEST * 4;
        let sender = start_with(config);
        for (message, end) in [
            (known, is("sent", "http_204")),
            (unknown, is("failed", "too_old")),
        ] {
            assert_eq!(ended(stack.database(), message).await, end);
        }
        sender.stop().await;
        assert_eq!(receiver.effects(), [known]);
    });
}

#[test]
fn the_senders_login_reads_addresses_and_no_names() {
    with_switches(async |stack| {
        let sender = sqlx::PgPool::connect(&stack.database().addresses.comms)
            .await
            .unwrap();
        for allowed in [
            "select phone, email from contacts",
            "select text from comms_contents",
            "select state from approvals",
        ] {
            sqlx::query(AssertSqlSafe(allowed))
                .fetch_all(&sender)
                .await
                .unwrap_or_else(|error| panic!("{allowed}: {error}"));
        }
        for refused in [
            "select name from contacts",
            "select raw from comms_contents",
            "select text from notes",
            "select payload from audit_events",
            "update contacts set phone = '1'",
            "update tickets set doc = doc",
            "delete from comms_queue",
            "delete from comms_attempts",
            "update comms_attempts set key = 'other'",
        ] {
            let error = sqlx::query(AssertSqlSafe(refused))
                .execute(&sender)
                .await
                .unwrap_err();
            let code = error.as_database_error().and_then(|e| e.code());
            assert_eq!(code.as_deref(), Some("42501"), "{refused}: {error}");
        }
        sender.close().await;
    });
}

/// Where the sender's process is to die.
async fn struck(fleet: &Fleet) {
    let status = fleet.ended(ProcessRole::Comms).await;
    let log = fleet.log(ProcessRole::Comms);
    assert_eq!(status.signal(), Some(SIGABRT), "{status}: {log}");
    assert!(log.contains("failpoint reached"), "{log}");
}

/// The endpoint as an operator would write it.
fn variable(receiver: &Receiver, keyed: bool) -> String {
    json!([{
        "name": "provider", "url": format!("http://{}/hook", receiver.address), "secret": SECRET,
        "channels": ["sms"], "keyed": keyed, "timeout_ms": 2000,
    }])
    .to_string()
}

#[test]
fn a_sender_killed_around_a_try_sends_once_where_keys_are_known() {
    with_fleet(async |fleet| {
        let database = fleet.database();
        turn_switch(database, fleet.tenant().id, 1).await;
        let receiver = Receiver::start(true, &[]).await;
        let endpoints = variable(&receiver, true);
        let endpoints = ("DISPATCH_COMMS_ENDPOINTS", endpoints.as_str());
        for (place, arrived) in [("before-send", 0), ("after-send-before-result", 1)] {
            let before = receiver.requests().len();
            let failpoint = format!("{place}:abort:1");
            fleet.start(
                ProcessRole::Comms,
                &[endpoints, ("DISPATCH_FAILPOINT", &failpoint)],
            );
            let message = Draft::alone(fleet.tenant()).queue(database).await;
            struck(&fleet).await;
            assert_eq!(receiver.requests().len() - before, arrived, "{place}");
            assert_eq!(ledger(database, message).await, tries([("", false)]));

            fleet.start(ProcessRole::Comms, &[endpoints]);
            assert_eq!(ended(database, message).await, is("sent", "http_204"));
            assert!(fleet.kill(ProcessRole::Comms));
            assert_eq!(receiver.requests().len() - before, arrived + 1, "{place}");
            let effects = receiver.effects();
            assert_eq!(effects.iter().filter(|id| **id == message).count(), 1);
            assert_eq!(
                ledger(database, message).await,
                tries([("cut_off", true), ("http_204", false)])
            );
        }
        let log = fleet.log(ProcessRole::Comms);
        assert!(log.contains("message sent"), "{log}");
        for secret in [
            "C2FVsBQIhrsc",
            "tests-only",
            PHONE,
            "Quillfeather",
            "glazier",
        ] {
            assert!(!log.contains(secret), "{secret} is in the log:\n{log}");
        }
        turn_back(database).await;
    });
}

/// The series of all processes, without their values.
async fn series(fleet: &Fleet) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for role in ProcessRole::ALL {
        let at = format!("http://{}", fleet.metrics_at(role));
        let page = Http::new(at).bare(reqwest::Method::GET, "/metrics");
        let reply = page.send().await;
        assert_eq!(reply.status, 200, "{role:?}");
        let text = reply.text();
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let names: Vec<_> = lines.filter_map(|line| line.rsplit_once(' ')).collect();
        assert!(names.len() > 5, "{role:?}: {text}");
        all.extend(
            names
                .into_iter()
                .map(|(name, _)| format!("{role:?} {name}")),
        );
    }
    all
}

/// A job of the tenant, of which its workflow and its customer hear.
async fn works(fleet: &Fleet, tenant: &Tenant) {
    let mut job = Job::at(fleet, tenant, TicketState::Triaged).await;
    job.does(Operation::CommsOutbound).await;
}

#[test]
fn fifty_tenants_make_no_series_of_their_own() {
    with_fleet(async |fleet| {
        let receiver = Receiver::start(true, &[]).await;
        let endpoints = variable(&receiver, true);
        for role in ProcessRole::ALL {
            let endpoints = ("DISPATCH_COMMS_ENDPOINTS", endpoints.as_str());
            let variables: &[_] = match role {
                ProcessRole::Comms => &[endpoints],
                _ => &[],
            };
            fleet.start(role, variables);
        }
        fleet.serving().await;
        fleet.promote().await;
        let arrived = async |n: usize| {
            wait::until("the messages", BOUND * 3, async || {
                let effects = receiver.effects().len();
                (effects >= n).then_some(()).ok_or(effects)
            })
            .await;
            fleet.settle().await;
        };
        let mut tenants = vec![fleet.tenant().clone(), fleet.other().clone()];
        for tenant in &tenants {
            works(&fleet, tenant).await;
        }
        arrived(2).await;
        let before = series(&fleet).await;
        for _ in 0..50 {
            tenants.push(Tenant::seed(fleet.admin()).await);
        }
        for some in tenants[2..].chunks(5) {
            join_all(some.iter().map(|tenant| works(&fleet, tenant))).await;
        }
        arrived(52).await;
        let after = series(&fleet).await;
        // Some come with time (another status, another poller, the first round of the control
        // workflows), and none with a tenant.
        let new = after.difference(&before);
        let new: Vec<_> = new.filter(|it| !it.contains("TenantControl")).collect();
        assert!(new.len() < 25, "{} of {}: {new:#?}", new.len(), after.len());
        for tenant in &tenants {
            let (id, uuid) = (tenant.id.to_string(), tenant.id.as_uuid().to_string());
            let named = |name: &&String| name.contains(&id) || name.contains(&uuid);
            assert_eq!(after.iter().find(named), None);
        }
    });
}

#[test]
fn a_sender_killed_around_a_try_leaves_it_to_a_person_where_keys_are_unknown() {
    with_fleet(async |fleet| {
        let database = fleet.database();
        turn_switch(database, fleet.tenant().id, 1).await;
        let receiver = Receiver::start(false, &[]).await;
        let endpoints = variable(&receiver, false);
        let endpoints = ("DISPATCH_COMMS_ENDPOINTS", endpoints.as_str());
        for (place, arrived) in [("before-send", 0), ("after-send-before-result", 1)] {
            let failpoint = format!("{place}:abort:1");
            fleet.start(
                ProcessRole::Comms,
                &[endpoints, ("DISPATCH_FAILPOINT", &failpoint)],
            );
            let message = Draft::alone(fleet.tenant()).queue(database).await;
            struck(&fleet).await;
            fleet.start(ProcessRole::Comms, &[endpoints]);
            assert_eq!(
                ended(database, message).await,
                is("failed", "unknown_outcome")
            );
            assert!(fleet.kill(ProcessRole::Comms));
            let effects = receiver.effects();
            assert_eq!(effects.iter().filter(|id| **id == message).count(), arrived);
            assert_eq!(ledger(database, message).await, tries([("cut_off", true)]));
        }
        turn_back(database).await;
    });
}

/// Looks for a violation with these words.
async fn found(database: &Database, invariant: Invariant, what: &str) -> bool {
    let violations = violations(database).await;
    violations
        .iter()
        .any(|v| v.invariant == invariant && v.what.contains(what))
}

#[test]
fn the_checker_sees_a_ledger_that_tells_another_story() {
    servers::run(async || {
        let stack = Stack::api(ApiOptions::default()).await;
        let database = stack.database();
        turn_switch(database, stack.tenant().id, 1).await;
        let receiver = Receiver::start(false, &[Mood::Refuse(503)]).await;
        let message = Draft::alone(stack.tenant()).queue(database).await;
        let sender = start(&stack, receiver.endpoint());
        assert_eq!(ended(database, message).await, is("sent", "http_204"));
        sender.stop().await;
        turn_back(database).await;
        stack.verify().await;
        for (invariant, what, plant, mend) in [
            (
                Invariant::I7,
                "counts as sent",
                "update comms_attempts set http_status = 500 where attempt = 2",
                "update comms_attempts set http_status = 204 where attempt = 2",
            ),
            (
                Invariant::I7,
                "tried again after it was taken",
                "update comms_attempts set http_status = 200 where attempt = 1",
                "update comms_attempts set http_status = 503 where attempt = 1",
            ),
            (
                Invariant::I7,
                "at a receiver that acts twice",
                "update comms_attempts set ambiguous = true where attempt = 1",
                "update comms_attempts set ambiguous = false where attempt = 1",
            ),
            (
                Invariant::I7,
                "under several keys",
                "update comms_attempts set key = 'another' where attempt = 1",
                "update comms_attempts set key = wire_id('msg', message_id)",
            ),
            (
                Invariant::I2,
                "numbered 1..n",
                "update comms_queue set attempts = 3",
                "update comms_queue set attempts = 2",
            ),
            (
                Invariant::I10,
                "the sender's login",
                "grant select (name) on contacts to dispatch_comms",
                "revoke select (name) on contacts from dispatch_comms",
            ),
            (
                Invariant::I2,
                "its place in the queue",
                "delete from comms_attempts; delete from comms_queue",
                "select 1",
            ),
        ] {
            let run = async |sql: &'static str| {
                sqlx::raw_sql(AssertSqlSafe(sql))
                    .execute(&database.admin)
                    .await
                    .unwrap_or_else(|error| panic!("{sql}: {error}"));
            };
            assert!(!found(database, invariant, what).await, "{what}");
            run(plant).await;
            assert!(found(database, invariant, what).await, "{what}");
            run(mend).await;
        }
        stack.end().await;
    });
}
