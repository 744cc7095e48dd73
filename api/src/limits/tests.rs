//! Who is let in, who is not, and what each is told.

use std::collections::BTreeSet;

use contracts::ActorKind;
use uuid::Uuid;

use super::*;

const TENANT: TenantId = TenantId::from_uuid(Uuid::from_u128(1));
const OTHER: TenantId = TenantId::from_uuid(Uuid::from_u128(2));
/// Room for all that a test does.
const WIDE: usize = 1_000;

fn actor(tenant_id: TenantId, kind: ActorKind) -> Actor {
    Actor {
        tenant_id,
        id: "a".to_owned(),
        kind,
        roles: BTreeSet::new(),
        technician_id: None,
    }
}

fn limiter(commands: u32, reads: u32) -> Arc<Limiter> {
    let rate = |burst| contracts::tenant::Rate {
        per_second: 1,
        burst,
    };
    let quotas = Quotas {
        commands: rate(commands),
        reads: rate(reads),
        subscribers: 2,
        ..Quotas::default()
    };
    let limits = Limits {
        quotas,
        ..Limits::default()
    };
    Arc::new(Limiter::new(&limits, 4, None))
}

fn counted(limiter: &Limiter, reason: LimitedBy) -> u64 {
    let label = reason.to_string();
    limiter.limited.with_label_values(&[label]).get()
}

fn told(headers: &http::HeaderMap) -> [String; 3] {
    ["ratelimit", "ratelimit-remaining", "ratelimit-reset"]
        .map(|name| headers[name].to_str().unwrap().to_owned())
}

#[tokio::test]
async fn each_answer_tells_what_is_left_and_a_refusal_when_to_come_back() {
    let limiter = limiter(2, 5);
    let person = actor(TENANT, ActorKind::Person);
    for left in [1, 0] {
        let admitted = limiter.admit(&person, Kind::Command, WIDE).unwrap();
        let mut headers = http::HeaderMap::new();
        admitted.tell(&mut headers);
        let reset = 2 - left;
        assert_eq!(
            told(&headers),
            [
                format!("\"commands\";r={left};t={reset}"),
                left.to_string(),
                reset.to_string()
            ]
        );
    }
    let refused = limiter.admit(&person, Kind::Command, WIDE).unwrap_err();
    let answer = refused.answer();
    assert_eq!(answer.status(), 429);
    assert_eq!(answer.headers()[header::RETRY_AFTER], "1");
    assert_eq!(
        told(answer.headers()),
        ["\"commands\";r=0;t=1", "0", "1"].map(str::to_owned)
    );
    let body = axum::body::to_bytes(answer.into_body(), usize::MAX)
        .await
        .unwrap();
    let problem: contracts::Problem = serde_json::from_slice(&body).unwrap();
    assert_eq!(problem.code, ErrorCode::RateLimited);
    assert_eq!(problem.meta["policy"], "commands");
    assert_eq!(problem.meta["burst"], 2);
    assert_eq!(counted(&limiter, LimitedBy::Commands), 1);
}

#[tokio::test]
async fn software_stops_nobody_and_neither_do_reads_or_others() {
    let limiter = limiter(1, 1);
    let flood = actor(TENANT, ActorKind::Agent);
    assert!(limiter.admit(&flood, Kind::Command, WIDE).is_ok());
    for _ in 0..50 {
        assert!(limiter.admit(&flood, Kind::Command, WIDE).is_err());
    }
    for (tenant, kind, what) in [
        (TENANT, ActorKind::Agent, Kind::Read),
        // Its clocks go on, and what stops the agent.
        (TENANT, ActorKind::Workflow, Kind::Command),
        (TENANT, ActorKind::Person, Kind::Command),
        (TENANT, ActorKind::Integration, Kind::Read),
        (OTHER, ActorKind::Agent, Kind::Command),
    ] {
        let admitted = limiter.admit(&actor(tenant, kind), what, WIDE);
        assert!(admitted.is_ok(), "{kind} {what:?}");
    }
    assert_eq!(counted(&limiter, LimitedBy::SoftwareCommands), 50);
}

#[tokio::test]
async fn what_is_urgent_is_refused_by_no_rate_of_the_tenant() {
    let limiter = limiter(1, 1);
    let person = actor(TENANT, ActorKind::Person);
    assert!(limiter.admit(&person, Kind::Command, WIDE).is_ok());
    assert!(limiter.admit(&person, Kind::Command, WIDE).is_err());
    // Many at once are too many, of whoever it is.
    let held: Vec<_> = (0..URGENT_AT_ONCE)
        .map(|_| limiter.admit(&person, Kind::Urgent, 0).unwrap())
        .collect();
    assert!(limiter.admit(&person, Kind::Urgent, WIDE).is_err());
    drop(held);
    assert!(limiter.admit(&person, Kind::Urgent, WIDE).is_ok());
}

#[tokio::test]
async fn what_is_urgent_is_no_way_to_flood() {
    let limiter = limiter(1, 1);
    let mut flood = actor(TENANT, ActorKind::Agent);
    flood.id = "agent:flood".to_owned();
    let sent = (0..500).filter(|_| limiter.admit(&flood, Kind::Urgent, WIDE).is_ok());
    let sent = u32::try_from(sent.count()).unwrap();
    assert!(
        (URGENT_RATE.burst..URGENT_RATE.burst + 20).contains(&sent),
        "{sent}"
    );
    assert!(counted(&limiter, LimitedBy::Urgent) >= 400);
    // Nobody else is kept from it.
    let person = actor(TENANT, ActorKind::Person);
    assert!(limiter.admit(&person, Kind::Urgent, WIDE).is_ok());
    let known = limiter.tenant(TENANT);
    for n in 0..URGENT_CALLERS * 2 {
        let _ = known.take_urgent(&n.to_string());
    }
    assert!(lock(&known.urgent_of).len() <= URGENT_CALLERS);
}

#[tokio::test]
async fn a_tenant_gets_no_more_of_the_room_than_is_left() {
    let limiter = limiter(100, 100);
    let mut free = 10_usize;
    let mut fill = |tenant| {
        let mut held = Vec::new();
        while free > 0 {
            match limiter.admit(&actor(tenant, ActorKind::Person), Kind::Command, free - 1) {
                Ok(admitted) => held.push(admitted),
                Err(refused) => {
                    assert_eq!(refused.answer().headers()[header::RETRY_AFTER], "1");
                    break;
                }
            }
            free -= 1;
        }
        held
    };
    let first = fill(TENANT);
    let second = fill(OTHER);
    assert_eq!((first.len(), second.len()), (5, 3));
    // The one that has nothing under way always gets in where there is room at all.
    assert_eq!(fill(TenantId::from_uuid(Uuid::from_u128(3))).len(), 1);
    assert_eq!(counted(&limiter, LimitedBy::InFlight), 3);
}

#[tokio::test]
async fn what_is_set_takes_effect_and_what_is_taken_back_too() {
    let limiter = limiter(1, 1);
    let person = actor(TENANT, ActorKind::Person);
    assert!(limiter.admit(&person, Kind::Command, WIDE).is_ok());
    assert!(limiter.admit(&person, Kind::Command, WIDE).is_err());
    let more = TenantLimits {
        command_burst: Some(3),
        ..TenantLimits::default()
    };
    limiter.apply([(TENANT, more), (OTHER, more)].into());
    // Of one that was known and one that was not.
    for tenant in [TENANT, OTHER] {
        let person = actor(tenant, ActorKind::Person);
        for _ in 0..3 {
            assert!(limiter.admit(&person, Kind::Command, WIDE).is_ok());
        }
        assert!(limiter.admit(&person, Kind::Command, WIDE).is_err());
    }
    // The same once more gives nobody anything.
    limiter.apply([(TENANT, more), (OTHER, more)].into());
    assert!(limiter.admit(&person, Kind::Command, WIDE).is_err());
    limiter.apply(HashMap::new());
    assert!(limiter.admit(&person, Kind::Command, WIDE).is_ok());
    assert!(limiter.admit(&person, Kind::Command, WIDE).is_err());
}

#[tokio::test]
async fn many_in_one_request_count_as_many() {
    let limiter = limiter(5, 1);
    let person = actor(TENANT, ActorKind::Person);
    assert!(limiter.admit(&person, Kind::Command, WIDE).is_ok());
    assert!(limiter.admit_more(&person, 0).is_ok());
    assert!(limiter.admit_more(&person, 4).is_ok());
    let refused = limiter.admit_more(&person, 1).unwrap_err();
    assert_eq!(refused.code(), ErrorCode::RateLimited);
}

#[tokio::test]
async fn only_so_many_of_a_tenant_wait() {
    let limiter = limiter(1, 1);
    let held = [limiter.subscribe(TENANT), limiter.subscribe(TENANT)];
    assert!(held.iter().all(Option::is_some));
    assert!(limiter.subscribe(TENANT).is_none());
    assert!(limiter.subscribe(OTHER).is_some());
    drop(held);
    assert!(limiter.subscribe(TENANT).is_some());
}

#[tokio::test(start_paused = true)]
async fn tenants_of_which_nothing_is_heard_are_forgotten() {
    let limiter = limiter(1, 1);
    let person = actor(TENANT, ActorKind::Person);
    let under_way = limiter.admit(&person, Kind::Command, WIDE).unwrap();
    let known = || lock(&limiter.tenants).len();
    let later = Instant::now() + FORGET_AFTER;
    limiter.forget(later - Duration::from_secs(1));
    limiter.forget(later);
    assert_eq!(known(), 1, "it has a request under way");
    drop(under_way);
    limiter.forget(later - Duration::from_secs(1));
    assert_eq!(known(), 1);
    limiter.forget(later);
    assert_eq!(known(), 0);
}
