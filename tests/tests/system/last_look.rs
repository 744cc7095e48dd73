//! The last look before a message leaves: what software wanted to say by itself leaves only while its
//! stage lets it, counts in the hour in which it leaves, and the notice of a stage says which.

use std::time::Duration;

use chrono::{DateTime, DurationRound, TimeDelta, Utc};
use contracts::{
    ErrorCode, MessageId, Operation, TicketId, TicketState,
    autonomy::StageTarget,
    comms::{DeliveryState, Purpose, WebhookStage},
    event::AutonomyMode,
};
use dispatch_tests::{
    http::{Reply, key},
    job::Job,
    stack::{Stack, with_api},
    verify::violations,
    wait::{self, BOUND},
    who::Who,
};
use domain::autonomy::is_in_canary;
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::PgPool;
use store::{
    PoolSettings,
    sending::{self, Begun, Ended, Fate, Lease, Outgoing, Target},
};
use uuid::Uuid;

use crate::rollout::{self, codes, demote_with, other_bundle, raise};

const STAGE: &str = "comms_outbound";

/// Lets software speak by itself: under rules that want no pair of messages with advice, for there is
/// no advice of messages.
async fn let_speak(stack: &Stack, edit: impl Fn(&mut Value)) {
    other_bundle(stack, |path, text| match path {
        "autonomy/data.json" => {
            let mut data: Value = serde_json::from_str(text).unwrap();
            rollout::easy(&mut data);
            for mode in ["APPROVE", "CANARY", "AUTO"] {
                data["gates"][mode]["min_agreement_permille"] = json!(0);
            }
            edit(&mut data);
            *text = data.to_string();
        }
        "dispatch/rollout.rego" => {
            const COUNTS: &str = "not at_least(\"sample\", least)\n";
            assert_eq!(text.matches(COUNTS).count(), 1);
            let but_messages =
                format!("{COUNTS}\tinput.body.target.operation != \"comms_outbound\"\n");
            *text = text.replace(COUNTS, &but_messages);
        }
        _ => {}
    })
    .await;
    raise(stack, STAGE, AutonomyMode::Auto, None).await;
}

/// Asks as an agent that a message be sent.
async fn say(stack: &Stack, job: &Job, send_at: Option<DateTime<Utc>>) -> Reply {
    let mut body = json!({
        "ticket_id": job.id(), "contact_id": stack.tenant().contact, "channel": "sms",
        "text": "On my way.",
    });
    if let Some(send_at) = send_at {
        body["send_at"] = json!(send_at);
    }
    let ask = stack.command(Who::Agent, Operation::CommsOutbound, None, &body);
    ask.send().await
}

/// A message that software let pass by itself.
async fn said(stack: &Stack, job: &Job) -> MessageId {
    say(stack, job, None).await.receipt().message_id.unwrap()
}

/// Has people approve what is held, and the workflow carry it out.
pub(crate) async fn approved(stack: &Stack, held: &Reply) -> MessageId {
    assert_eq!(held.status, 202, "{}", held.text());
    let id = held.json()["approval"]["id"].as_str().unwrap().to_owned();
    let about = async |what: &str, who: Who, body: Value| {
        let ask = stack.ask(who, Method::POST, format!("/approvals/{id}/{what}"));
        ask.key(key()).json(&body).send().await
    };
    let yes = about("decide", Who::Dispatcher, json!({ "verdict": "approve" })).await;
    assert_eq!(yes.status, 200, "{}", yes.text());
    let done = about("execute", Who::TenantAdmin, json!({ "version": 1 })).await;
    done.receipt().message_id.unwrap()
}

pub(crate) async fn pool(stack: &Stack) -> PgPool {
    let comms = &stack.database().addresses.comms;
    store::connect(comms, &PoolSettings::new("tests"))
        .await
        .unwrap()
}

pub(crate) fn lease() -> Lease {
    Lease {
        worker: Uuid::from_u128(7),
        lasts: Duration::from_secs(60),
    }
}

/// What the sender does with a message whose time has come; what is sent has arrived.
async fn begin(stack: &Stack, pool: &PgPool, message: MessageId) -> Begun {
    sqlx::query(
        "update comms_queue set next_at = case when message_id = $1 then now()
                                               else now() + interval '1 day' end
          where state = 'queued'",
    )
    .bind(message.as_uuid())
    .execute(stack.admin())
    .await
    .unwrap();
    let claimed = sending::claim(pool, lease(), 1)
        .await
        .unwrap()
        .pop()
        .unwrap();
    assert_eq!(claimed.key.1, message);
    let target = Target {
        endpoint: "provider",
        keyed: true,
        retry_unknown: true,
    };
    let begun = sending::begin(pool, claimed.key, lease(), target)
        .await
        .unwrap();
    if let Begun::Sending(outgoing) = &begun {
        arrived(pool, claimed.key, outgoing).await;
    }
    begun
}

pub(crate) async fn arrived(pool: &PgPool, message: sending::Key, outgoing: &Outgoing) {
    let ended = Ended {
        attempt: outgoing.attempt,
        result: "http_204",
        http_status: Some(204),
        ambiguous: false,
    };
    let fate = Fate {
        state: DeliveryState::Sent,
        result: "http_204",
        wait: Duration::ZERO,
    };
    let done = sending::finish(pool, message, lease().worker, &ended, &fate).await;
    assert!(done.unwrap());
}

/// Why it is not sent.
async fn withdrawn(stack: &Stack, pool: &PgPool, message: MessageId) -> String {
    let begun = begin(stack, pool, message).await;
    let Begun::Withdrawn { reason } = begun else {
        panic!("{begun:?}");
    };
    let kept: (String, Option<String>, i32) = sqlx::query_as(
        "select state, last_result, attempts from comms_queue where message_id = $1",
    )
    .bind(message.as_uuid())
    .fetch_one(stack.admin())
    .await
    .unwrap();
    assert_eq!(kept, ("withdrawn".to_owned(), Some(reason.to_string()), 0));
    reason.to_string()
}

async fn leaves(stack: &Stack, pool: &PgPool, message: MessageId) {
    let begun = begin(stack, pool, message).await;
    assert!(matches!(begun, Begun::Sending(_)), "{begun:?}");
}

async fn opt_out(stack: &Stack, job: &Job, opt_out: bool) -> Reply {
    let body = json!({ "opt_out": opt_out, "reason": "customer_asked" });
    let operation = Operation::SetTicketAutonomy;
    let ask = stack.command(Who::Dispatcher, operation, job.id(), &body);
    ask.send().await
}

#[test]
fn what_software_says_by_itself_leaves_only_while_its_stage_lets_it() {
    with_api(async |stack| {
        let_speak(&stack, |_| {}).await;
        let pool = pool(&stack).await;
        let job = Job::at(&stack, stack.tenant(), TicketState::New).await;
        let first = said(&stack, &job).await;
        leaves(&stack, &pool, first).await;

        // The ticket is taken out, and is back.
        let [held_back, later] = [said(&stack, &job).await, said(&stack, &job).await];
        opt_out(&stack, &job, true).await.receipt();
        assert_eq!(
            withdrawn(&stack, &pool, held_back).await,
            "ticket_opted_out"
        );
        opt_out(&stack, &job, false).await.receipt();
        leaves(&stack, &pool, later).await;

        // A class of its own is another stage; and the share of tickets is looked at.
        let job = loop {
            // One ticket in a hundred is in no share.
            let job = Job::at(&stack, stack.tenant(), TicketState::New).await;
            if is_in_canary(job.id(), 99) {
                break job;
            }
        };
        let share = (1..=99).find(|percent| is_in_canary(job.id(), *percent));
        let share = share.expect("it is in the largest");
        let [within, without] = [said(&stack, &job).await, said(&stack, &job).await];
        let canary = |percent: u8| json!({ "to": "CANARY", "percent": percent });
        demote_with(&stack, STAGE, canary(share)).await;
        leaves(&stack, &pool, within).await;
        match share {
            1 => drop(demote_with(&stack, STAGE, json!({ "to": "APPROVE" })).await),
            _ => drop(demote_with(&stack, STAGE, canary(share - 1)).await),
        }
        assert_eq!(withdrawn(&stack, &pool, without).await, "stage_changed");

        // What people approved leaves, whatever the stage.
        let by_people = approved(&stack, &say(&stack, &job, None).await).await;
        demote_with(&stack, STAGE, json!({ "to": "OFF" })).await;
        leaves(&stack, &pool, by_people).await;
        assert_eq!(violations(stack.database()).await, []);

        // The checker knows what must not have left.
        let as_if = async |risk: Option<&str>| {
            sqlx::query("update comms_messages set stage_risk = $2 where id = $1")
                .bind(by_people.as_uuid())
                .bind(risk)
                .execute(stack.admin())
                .await
                .unwrap();
        };
        as_if(Some("emergency")).await;
        let found = violations(stack.database()).await;
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].what.contains("its stage did not let it"));
        as_if(None).await;
        pool.close().await;
    });
}

/// Sessions that wait for an advisory lock.
async fn waiting(stack: &Stack) -> Result<(), i64> {
    let waiting: i64 = sqlx::query_scalar(
        "select count(*) from pg_locks l join pg_database d on d.oid = l.database
          where l.locktype = 'advisory' and not l.granted and d.datname = current_database()",
    )
    .fetch_one(stack.admin())
    .await
    .unwrap();
    if waiting == 1 { Ok(()) } else { Err(waiting) }
}

#[test]
fn whoever_takes_a_ticket_out_waits_for_tries_that_begin() {
    const LOCK: &str = "hashtextextended('autonomy of ' || $1::uuid, 0)";
    with_api(async |stack| {
        let_speak(&stack, |_| {}).await;
        let pool = pool(&stack).await;
        let job = Job::at(&stack, stack.tenant(), TicketState::New).await;
        let message = said(&stack, &job).await;
        let hold = async |lock: &str| {
            let mut tx = stack.admin().begin().await.unwrap();
            sqlx::query(sqlx::AssertSqlSafe(format!("select {lock}({LOCK})")))
                .bind(job.id().as_uuid())
                .execute(&mut *tx)
                .await
                .unwrap();
            tx
        };
        // As a sender that looked and has not written its try yet.
        let looked = hold("pg_advisory_xact_lock_shared").await;
        let taking = async {
            wait::until("taking it out waits", BOUND, async || waiting(&stack).await).await;
            looked.rollback().await.unwrap();
        };
        let (taken, ()) = tokio::join!(opt_out(&stack, &job, true), taking);
        taken.receipt();
        // As somebody who takes it out and has not committed yet: the look waits, and sees it.
        let taking = hold("pg_advisory_xact_lock").await;
        let ends = async {
            wait::until("the look waits", BOUND, async || waiting(&stack).await).await;
            taking.rollback().await.unwrap();
        };
        let (reason, ()) = tokio::join!(withdrawn(&stack, &pool, message), ends);
        assert_eq!(reason, "ticket_opted_out");
        pool.close().await;
    });
}

#[test]
fn a_share_is_the_same_to_the_database() {
    with_api(async |stack| {
        for percent in [1, 10, 50, 99] {
            let ids: Vec<Uuid> = (0..200).map(|_| Uuid::new_v4()).collect();
            let found: Vec<bool> = sqlx::query_scalar(
                "select is_in_canary(u.id, $2) from unnest($1::uuid[]) with ordinality as u (id, n)
                  order by u.n",
            )
            .bind(&ids)
            .bind(percent)
            .fetch_all(stack.admin())
            .await
            .unwrap();
            let percent = u8::try_from(percent).unwrap();
            let is_in = |id: &Uuid| is_in_canary(TicketId::from_uuid(*id), percent);
            assert_eq!(found, ids.iter().map(is_in).collect::<Vec<_>>());
        }
    });
}

#[test]
fn what_is_said_later_counts_in_the_hour_in_which_it_leaves() {
    const MOST: usize = 2;
    with_api(async |stack| {
        let_speak(&stack, |data| {
            data["caps"]["of_operation_per_hour"][STAGE] = json!(MOST);
        })
        .await;
        let job = Job::at(&stack, stack.tenant(), TicketState::New).await;
        let hour = TimeDelta::hours(1);
        let this_hour = Utc::now().duration_trunc(hour).unwrap();
        let at = |hours: i32, minute| Some(this_hour + hour * hours + TimeDelta::minutes(minute));
        for hours in [2, 3] {
            for minute in [0, 59] {
                say(&stack, &job, at(hours, minute)).await.receipt();
            }
            let one_more = say(&stack, &job, at(hours, 30)).await;
            let found = codes(&one_more, ErrorCode::PolicyDenied);
            assert!(found.contains("AUTONOMY_CAP_OPERATION"), "{found:?}");
        }
        // This hour, or the next one that has begun meanwhile, has room of its own.
        say(&stack, &job, None).await.receipt();
        let counted = rollout::counted(&stack, STAGE).await;
        let commands: Vec<i64> = counted.iter().map(|(commands, _)| *commands).collect();
        assert_eq!(commands, [1, 2, 2]);
        // As acts of software all of them are of now.
        let acts = rollout::counted(&stack, "*").await;
        assert_eq!(acts.iter().map(|(commands, _)| commands).sum::<i64>(), 5);
        let ahead: bool = sqlx::query_scalar(
            "select exists (select from autonomy_hours where operation = '*' and hour >= $1)",
        )
        .bind(this_hour + hour * 2)
        .fetch_one(stack.admin())
        .await
        .unwrap();
        assert!(!ahead);
    });
}

#[test]
fn the_notice_of_a_stage_says_which_from_where_to_where_and_why() {
    with_api(async |stack| {
        let pool = pool(&stack).await;
        demote_with(&stack, "triage/emergency", json!({ "to": "OFF" })).await;
        let (message, at): (Uuid, DateTime<Utc>) = sqlx::query_as(
            "select m.id, c.effective_at from comms_messages m
               join stage_changes c on c.tenant_id = m.tenant_id and c.command_id = m.command_id
              where m.purpose = 'stage_changed'",
        )
        .fetch_one(stack.admin())
        .await
        .unwrap();
        let begun = begin(&stack, &pool, MessageId::from_uuid(message)).await;
        let Begun::Sending(outgoing) = begun else {
            panic!("{begun:?}");
        };
        assert_eq!(outgoing.purpose, Purpose::StageChanged);
        let told = WebhookStage {
            target: StageTarget {
                operation: Operation::Triage,
                risk: Some("emergency".parse().unwrap()),
            },
            from: AutonomyMode::Shadow,
            to: AutonomyMode::Off,
            percent: None,
            reason: "wrong_triage".parse().unwrap(),
            effective_at: at,
        };
        assert_eq!(outgoing.stage, Some(told));
        // No other message tells of one.
        let mut job = Job::at(&stack, stack.tenant(), TicketState::New).await;
        let other = job.does(Operation::CommsOutbound).await.message_id.unwrap();
        let Begun::Sending(other) = begin(&stack, &pool, other).await else {
            panic!("it is sent");
        };
        assert_eq!(other.stage, None);
        pool.close().await;
    });
}
