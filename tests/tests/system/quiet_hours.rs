//! Quiet hours where messages leave: what was queued by day does not leave at night, however late it is.

use std::time::Duration;

use chrono::{DateTime, DurationRound, TimeDelta, Timelike, Utc};
use contracts::{
    MessageId, Operation, TicketState,
    comms::{CommsEnvelope, DeliveryState},
};
use dispatch_tests::{
    filing::receipt,
    http::{Reply, key},
    job::Job,
    stack::{Stack, with_api},
    verify::violations,
    who::Who,
};
use reqwest::Method;
use serde_json::json;
use sqlx::PgPool;
use store::sending::{self, Begun, Claimed, Ended, Fate, Outgoing, Target};

use crate::last_look::{approved, arrived, lease, pool};

/// Quiet from so many hours after this minute until so many; by the clock of UTC.
async fn quiet(stack: &Stack, from: i64, until: i64) {
    let minute = |hours| {
        let at = Utc::now() + TimeDelta::hours(hours);
        at.hour() * 60 + at.minute()
    };
    let body = json!({
        "calendar": { "time_zone": "UTC", "week": vec![json!([[0, 1440]]); 7] },
        "currency": "EUR", "locale": "en",
        "quiet_hours": { "from_minute": minute(from), "until_minute": minute(until) },
    });
    let path = format!("/tenants/{}/configure", stack.tenant().id);
    let ask = stack.ask(Who::TenantAdmin, Method::POST, path).key(key());
    receipt(&ask.json(&body).send().await);
}

/// A new job of that kind.
async fn job(stack: &Stack, template: &str) -> Job {
    let mut job = Job::new(stack, stack.tenant());
    let body = json!({
        "site_id": stack.tenant().site, "contact_id": stack.tenant().contact,
        "template": template, "details": {},
    });
    let receipt = job.sends(Operation::CreateTicket, &body).await;
    assert_eq!(receipt.ticket.state, TicketState::New);
    job
}

async fn say(stack: &Stack, who: Who, job: &Job, send_at: Option<DateTime<Utc>>) -> Reply {
    let mut body = json!({
        "ticket_id": job.id(), "contact_id": stack.tenant().contact, "channel": "sms",
        "text": "We come at noon.",
    });
    if let Some(send_at) = send_at {
        body["send_at"] = json!(send_at);
    }
    let ask = stack.command(who, Operation::CommsOutbound, None, &body);
    ask.send().await
}

async fn said(stack: &Stack, job: &Job) -> MessageId {
    let reply = say(stack, Who::Dispatcher, job, None).await;
    reply.receipt().message_id.unwrap()
}

/// When it must not leave: from when, and until when.
async fn kept(stack: &Stack, message: MessageId) -> Vec<(DateTime<Utc>, Option<DateTime<Utc>>)> {
    sqlx::query_as(
        "select lower(r), upper(r) from comms_messages m, unnest(m.quiet) r
          where m.id = $1 order by 1",
    )
    .bind(message.as_uuid())
    .fetch_all(stack.admin())
    .await
    .unwrap()
}

/// Lets so many hours pass for a message.
async fn pass(stack: &Stack, message: MessageId, hours: i32) {
    for sql in [
        "update comms_queue set next_at = next_at - make_interval(hours => $2) where message_id = $1",
        "update comms_attempts
            set at = at - make_interval(hours => $2), ended_at = ended_at - make_interval(hours => $2)
          where message_id = $1",
        "update comms_messages
            set quiet = (select range_agg(tstzrange(lower(r) - make_interval(hours => $2),
                                                    upper(r) - make_interval(hours => $2)))
                           from unnest(quiet) r)
          where id = $1",
    ] {
        sqlx::query(sql)
            .bind(message.as_uuid())
            .bind(hours)
            .execute(stack.admin())
            .await
            .unwrap();
    }
}

/// What the sender finds to do with it; nothing while its time has not come.
async fn looked(pool: &PgPool, message: MessageId) -> Option<(Claimed, Begun)> {
    let claimed = sending::claim(pool, lease(), 100).await.unwrap();
    let ours = claimed.into_iter().find(|it| it.key.1 == message)?;
    let target = Target {
        endpoint: "provider",
        keyed: true,
        retry_unknown: true,
    };
    let begun = sending::begin(pool, ours.key, lease(), target).await;
    Some((ours, begun.unwrap()))
}

/// It is tried.
async fn tried(pool: &PgPool, message: MessageId) -> (Claimed, Outgoing) {
    match looked(pool, message).await {
        Some((claimed, Begun::Sending(outgoing))) => (claimed, *outgoing),
        other => panic!("{other:?}"),
    }
}

/// It is tried, and nobody takes it: again after so many hours.
async fn in_vain(pool: &PgPool, message: MessageId, hours: u64) {
    let (claimed, outgoing) = tried(pool, message).await;
    let ended = Ended {
        attempt: outgoing.attempt,
        result: "connect",
        http_status: None,
        ambiguous: false,
    };
    let fate = Fate {
        state: DeliveryState::Queued,
        result: "connect",
        wait: Duration::from_secs(hours * 3600),
    };
    let done = sending::finish(pool, claimed.key, lease().worker, &ended, &fate).await;
    assert!(done.unwrap());
}

/// It is tried, and taken.
async fn leaves(pool: &PgPool, message: MessageId) {
    let (claimed, outgoing) = tried(pool, message).await;
    arrived(pool, claimed.key, &outgoing).await;
}

/// It is not tried, and comes again at the end of its window.
async fn waits(stack: &Stack, pool: &PgPool, message: MessageId) {
    let before = attempts(stack, message).await;
    let (_, begun) = looked(pool, message).await.expect("its time has come");
    let held = Begun::Held {
        scope: "quiet_hours".to_owned(),
    };
    assert_eq!(begun, held);
    assert_eq!(attempts(stack, message).await, before);
    let (again, now): (DateTime<Utc>, DateTime<Utc>) =
        sqlx::query_as("select next_at, now() from comms_queue where message_id = $1")
            .bind(message.as_uuid())
            .fetch_one(stack.admin())
            .await
            .unwrap();
    let windows = kept(stack, message).await;
    let within = windows
        .iter()
        .find(|(from, until)| *from <= now && until.is_none_or(|until| now < until));
    assert_eq!(within.expect("it is quiet").1, Some(again));
    assert_eq!(looked(pool, message).await, None, "not before");
}

async fn attempts(stack: &Stack, message: MessageId) -> i32 {
    sqlx::query_scalar("select attempts from comms_queue where message_id = $1")
        .bind(message.as_uuid())
        .fetch_one(stack.admin())
        .await
        .unwrap()
}

/// How it stands, as a dispatcher sees it.
async fn shown(stack: &Stack, message: MessageId) -> (DeliveryState, String) {
    let path = format!("/comms/{message}");
    let reply = stack.ask(Who::Dispatcher, Method::GET, path).send().await;
    let message: CommsEnvelope = serde_json::from_value(reply.json()).unwrap();
    let delivery = message.delivery.unwrap();
    (delivery.state, delivery.last_result.unwrap().to_string())
}

#[test]
fn what_was_queued_by_day_does_not_leave_at_night() {
    with_api(async |stack| {
        let this_minute = Utc::now().duration_trunc(TimeDelta::minutes(1)).unwrap();
        quiet(&stack, 2, 10).await;
        let pool = pool(&stack).await;
        let message = said(&stack, &job(&stack, "scheduled_install").await).await;
        let windows = kept(&stack, message).await;
        let (from, until) = windows[0];
        let late = from - (this_minute + TimeDelta::hours(2));
        assert!(late >= TimeDelta::zero() && late <= TimeDelta::minutes(5));
        assert_eq!(until, Some(from + TimeDelta::hours(8)));
        assert_eq!(windows.len(), 15);
        assert_eq!(windows[14].1, None, "what nobody knows is quiet");

        // By day it is tried, and nobody takes it before it is night.
        in_vain(&pool, message, 3).await;
        pass(&stack, message, 3).await;
        waits(&stack, &pool, message).await;
        let held = (DeliveryState::Queued, "quiet_hours".to_owned());
        assert_eq!(shown(&stack, message).await, held);
        let backlog = sending::backlog(&pool).await.unwrap();
        assert_eq!((backlog.queued, backlog.due), (1, 0));
        assert!(backlog.oldest_due_seconds < 1.0);

        // In the morning it is due, since an hour ago, and a try in vain changes nothing of that.
        pass(&stack, message, 8).await;
        let queued_earlier = async |hours: i32| {
            sqlx::query(
                "update comms_queue set due_at = due_at - make_interval(hours => $2) where message_id = $1",
            )
            .bind(message.as_uuid())
            .bind(hours)
            .execute(stack.admin())
            .await
            .unwrap();
        };
        queued_earlier(11).await;
        for tries in [0, 1] {
            let backlog = sending::backlog(&pool).await.unwrap();
            assert_eq!((backlog.queued, backlog.due), (1, 1));
            let since = backlog.oldest_due_seconds;
            assert!((3300.0..4200.0).contains(&since), "{since} after {tries}");
            if tries == 0 {
                in_vain(&pool, message, 0).await;
            }
        }
        queued_earlier(-11).await;
        leaves(&pool, message).await;
        assert_eq!(shown(&stack, message).await.0, DeliveryState::Sent);
        assert_eq!(violations(stack.database()).await, []);

        // The checker knows what must not have left.
        let move_by = async |hours: i32| {
            sqlx::query(
                "update comms_attempts set at = at + make_interval(hours => $2)
                  where message_id = $1 and attempt = 2",
            )
            .bind(message.as_uuid())
            .bind(hours)
            .execute(stack.admin())
            .await
            .unwrap();
        };
        move_by(-4).await;
        let found = violations(stack.database()).await;
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].what.contains("left in quiet hours"));
        move_by(4).await;
        pool.close().await;
    });
}

#[test]
fn what_is_for_later_knows_the_nights_after_its_time() {
    with_api(async |stack| {
        quiet(&stack, 2, 10).await;
        let pool = pool(&stack).await;
        let job = job(&stack, "scheduled_install").await;
        // The day after tomorrow, by day; no sender runs until it is night.
        let send_at = Utc::now() + TimeDelta::hours(49);
        let reply = say(&stack, Who::Dispatcher, &job, Some(send_at)).await;
        let message = reply.receipt().message_id.unwrap();
        assert!(kept(&stack, message).await[0].0 > send_at);
        assert_eq!(looked(&pool, message).await, None);
        pass(&stack, message, 52).await;
        waits(&stack, &pool, message).await;
        pass(&stack, message, 8).await;
        leaves(&pool, message).await;
        pool.close().await;
    });
}

#[test]
fn an_emergency_goes_on_at_night() {
    with_api(async |stack| {
        quiet(&stack, 2, 10).await;
        let pool = pool(&stack).await;
        let message = said(&stack, &job(&stack, "emergency_door").await).await;
        assert_eq!(kept(&stack, message).await, []);
        in_vain(&pool, message, 3).await;
        pass(&stack, message, 3).await;
        leaves(&pool, message).await;
        pool.close().await;
    });
}

#[test]
fn what_people_released_leaves_in_that_night_and_not_in_the_next() {
    with_api(async |stack| {
        quiet(&stack, -4, 4).await;
        let pool = pool(&stack).await;
        let job = job(&stack, "scheduled_install").await;
        let held = say(&stack, Who::AccountManager, &job, None).await;
        assert_eq!(held.status, 202, "{}", held.text());
        let message = approved(&stack, &held).await;
        in_vain(&pool, message, 1).await;
        pass(&stack, message, 1).await;
        in_vain(&pool, message, 23).await;
        pass(&stack, message, 23).await;
        waits(&stack, &pool, message).await;
        pass(&stack, message, 5).await;
        leaves(&pool, message).await;

        // Once nothing more is known it is not tried at all, by day either.
        let day = Utc::now() + TimeDelta::hours(5);
        let reply = say(&stack, Who::Dispatcher, &job, Some(day)).await;
        let message = reply.receipt().message_id.unwrap();
        pass(&stack, message, 5 + 14 * 24 + 1).await;
        let (_, begun) = looked(&pool, message).await.unwrap();
        assert!(matches!(begun, Begun::Held { .. }), "{begun:?}");
        assert_eq!(looked(&pool, message).await, None);
        pool.close().await;
    });
}
