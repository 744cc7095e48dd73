//! API keys, with keys at hand, a clock of our own, and counted questions.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use chrono::{DateTime, TimeDelta, Utc};
use contracts::{
    ActorKind, ApiKeyId, ApiPermission, Operation, Role, Slug, TenantId,
    actor::workflow_actor_id,
    service_account::{ApiKeyText, SECRET_CHARS},
    value::KeyPrefix,
};
use futures::future::BoxFuture;
use store::read::KeyOfCaller;
use uuid::Uuid;

use super::{super::api_key::FRESH, *};
use crate::identity::{Identity, KeyDirectory, NamedTenant};

/// Keys by their hash; whether it is away, takes its time, or never answers for what is not there; how
/// often it was asked, and told of a use.
#[derive(Debug, Default)]
struct Shelf {
    keys: Mutex<HashMap<[u8; 32], KeyOfCaller>>,
    away: Mutex<bool>,
    slow: Mutex<bool>,
    hangs: Mutex<bool>,
    asked: AtomicUsize,
    noted: Arc<AtomicUsize>,
}

impl KeyDirectory for Shelf {
    fn find<'a>(
        &'a self,
        hash: &'a [u8; 32],
    ) -> BoxFuture<'a, Result<Option<KeyOfCaller>, store::Error>> {
        self.asked.fetch_add(1, Relaxed);
        let away = *self.away.lock().unwrap();
        let (slow, hangs) = (*self.slow.lock().unwrap(), *self.hangs.lock().unwrap());
        let found = self.keys.lock().unwrap().get(hash).cloned();
        Box::pin(async move {
            if hangs && found.is_none() {
                std::future::pending::<()>().await;
            }
            if slow {
                tokio::task::yield_now().await;
            }
            match away {
                true => Err(store::Error::Configuration("away".into())),
                false => Ok(found),
            }
        })
    }

    fn note(&self, _: &KeyOfCaller, _: DateTime<Utc>) -> BoxFuture<'static, ()> {
        let noted = Arc::clone(&self.noted);
        Box::pin(async move {
            noted.fetch_add(1, Relaxed);
        })
    }
}

impl Shelf {
    fn change(&self, key: &ApiKeyText, change: impl FnOnce(&mut KeyOfCaller)) {
        change(self.keys.lock().unwrap().get_mut(&key.digest()).unwrap());
    }
}

fn text(n: u64) -> ApiKeyText {
    let prefix = KeyPrefix::new(format!("{n:010}")).unwrap();
    let secret = format!("{n:0>width$}", width = SECRET_CHARS);
    ApiKeyText::assemble(&prefix, &secret).unwrap()
}

fn stored(key: &ApiKeyText, now: DateTime<Utc>) -> KeyOfCaller {
    KeyOfCaller {
        tenant_id: tenant(7),
        id: ApiKeyId::from_uuid(Uuid::from_u128(1)),
        prefix: key.prefix().to_string(),
        key_hash: key.digest().to_vec(),
        scopes: BTreeSet::new(),
        expires_at: now + TimeDelta::days(1),
        revoked_at: None,
        last_used_at: None,
        code: Slug::new("erp").unwrap(),
        kind: ActorKind::Integration,
        roles: [Role::Dispatcher].into(),
        any_tenant: false,
        active: true,
    }
}

struct Desk {
    shelf: Arc<Shelf>,
    known: Authenticator,
    key: ApiKeyText,
    now: DateTime<Utc>,
}

fn desk() -> Desk {
    let (shelf, key, now) = (Arc::new(Shelf::default()), text(1), Utc::now());
    shelf
        .keys
        .lock()
        .unwrap()
        .insert(key.digest(), stored(&key, now));
    let known = trusting([]).with_keys(Arc::clone(&shelf) as Arc<dyn KeyDirectory>);
    Desk {
        shelf,
        known,
        key,
        now,
    }
}

impl Desk {
    async fn at(&self, now: DateTime<Utc>) -> Result<Identity, Refusal> {
        self.ask(self.key.expose(), NamedTenant::None, now).await
    }

    async fn ask(
        &self,
        credential: &str,
        named: NamedTenant,
        now: DateTime<Utc>,
    ) -> Result<Identity, Refusal> {
        self.known.identify(credential, named, now).await
    }

    fn asked(&self) -> usize {
        self.shelf.asked.load(Relaxed)
    }
}

fn refused(error: TokenError) -> Result<Identity, Refusal> {
    Err(error.into())
}

#[tokio::test]
async fn a_key_is_its_account_within_its_scopes() {
    let desk = desk();
    let read: ApiPermission = "read:tickets".parse().unwrap();
    desk.shelf
        .change(&desk.key, |key| key.scopes = [read].into());
    let identity = desk.at(desk.now).await.unwrap();
    assert_eq!(identity.actor.id, "service:erp");
    assert_eq!(identity.actor.tenant_id, tenant(7));
    assert_eq!(identity.actor.kind, ActorKind::Integration);
    assert_eq!(identity.actor.roles, [Role::Dispatcher].into());
    let shown = identity.key.unwrap();
    assert_eq!(shown.prefix, "0000000001");
    assert_eq!(shown.expires_at, desk.now + TimeDelta::days(1));
    assert!(identity.scopes.include(read));
    let other = ApiPermission::Command(Operation::CreateTicket);
    assert!(!identity.scopes.include(other));
}

#[tokio::test]
async fn whatever_is_done_to_a_key_holds_within_five_seconds() {
    type Change = fn(&mut KeyOfCaller);
    let changes: [(Change, TokenError); 2] = [
        (
            |key| key.revoked_at = Some(Utc::now()),
            TokenError::RevokedKey,
        ),
        (|key| key.active = false, TokenError::DisabledAccount),
    ];
    assert!(FRESH < TimeDelta::seconds(5));
    for (change, error) in changes {
        let desk = desk();
        assert!(desk.at(desk.now).await.is_ok());
        desk.shelf.change(&desk.key, change);
        let soon = desk.now + FRESH - TimeDelta::milliseconds(1);
        assert!(
            desk.at(soon).await.is_ok(),
            "what was found is used so long"
        );
        assert_eq!(desk.asked(), 1);
        assert_eq!(desk.at(desk.now + FRESH).await, refused(error));
        assert_eq!(desk.asked(), 2);
    }
}

#[tokio::test]
async fn a_clock_that_is_set_back_makes_nothing_last() {
    let desk = desk();
    assert!(desk.at(desk.now).await.is_ok());
    desk.shelf
        .change(&desk.key, |key| key.revoked_at = Some(Utc::now()));
    let back = desk.now - TimeDelta::seconds(1);
    assert_eq!(desk.at(back).await, refused(TokenError::RevokedKey));
}

#[tokio::test]
async fn a_key_ends_at_its_moment_whatever_is_remembered() {
    let desk = desk();
    let end = desk.now + TimeDelta::seconds(2);
    desk.shelf.change(&desk.key, |key| key.expires_at = end);
    assert!(desk.at(end - TimeDelta::milliseconds(1)).await.is_ok());
    assert_eq!(desk.at(end).await, refused(TokenError::ExpiredKey));
    assert_eq!(desk.asked(), 1, "nobody has to be asked");
}

#[tokio::test]
async fn what_is_no_key_asks_nothing_of_anybody_and_never_becomes_a_token() {
    let desk = desk();
    let good = desk.key.expose();
    let last = good.len() - 1;
    let mut wrong_sum = good.to_owned();
    wrong_sum.replace_range(last.., if good.ends_with('0') { "1" } else { "0" });
    for bad in [
        &good[..last],
        &wrong_sum,
        &good.replace("_0", "_1"),
        &format!("{good}a"),
        "rdk_",
        "rdk_a.b.c",
    ] {
        assert_eq!(
            desk.ask(bad, NamedTenant::None, desk.now).await,
            refused(TokenError::KeyForm),
            "{bad}"
        );
    }
    for bad in [good.to_uppercase().as_str(), &format!("_{good}")] {
        let answer = desk.ask(bad, NamedTenant::None, desk.now).await;
        assert_eq!(answer, refused(TokenError::Malformed), "{bad}");
    }
    assert_eq!(desk.asked(), 0);
}

#[tokio::test]
async fn another_keys_prefix_with_a_secret_of_ones_own_is_nobody() {
    let desk = desk();
    let own = ApiKeyText::assemble(&desk.key.prefix(), &"x".repeat(SECRET_CHARS)).unwrap();
    let answer = desk.ask(own.expose(), NamedTenant::None, desk.now).await;
    assert_eq!(answer, refused(TokenError::UnknownKey));
    // A directory that finds by something else than the whole hash opens nothing.
    let theirs = stored(&desk.key, desk.now);
    desk.shelf.keys.lock().unwrap().insert(own.digest(), theirs);
    let answer = desk.ask(own.expose(), NamedTenant::None, desk.now).await;
    assert_eq!(answer, refused(TokenError::UnknownKey));
}

#[tokio::test]
async fn a_key_that_was_issued_under_another_prefix_is_nobody() {
    let desk = desk();
    assert!(desk.at(desk.now).await.is_ok());
    // Whoever has it issued says both, and may say what is not so.
    desk.shelf
        .change(&desk.key, |key| key.prefix = text(2).prefix().to_string());
    let answer = desk.at(desk.now + FRESH).await;
    assert_eq!(answer, refused(TokenError::UnknownKey));
}

#[tokio::test]
async fn made_up_keys_fill_nothing_and_known_ones_a_bounded_place() {
    let desk = desk();
    assert!(desk.at(desk.now).await.is_ok());
    for n in 2..5_000 {
        let made_up = text(n);
        let answer = desk.ask(made_up.expose(), NamedTenant::None, desk.now);
        assert_eq!(answer.await, refused(TokenError::UnknownKey));
    }
    let before = desk.asked();
    assert!(desk.at(desk.now).await.is_ok(), "nobody pushed it out");
    assert_eq!(desk.asked(), before);
}

#[tokio::test]
async fn many_requests_with_one_key_ask_once() {
    let desk = Arc::new(desk());
    let all = (0..200).map(|_| desk.at(desk.now));
    assert!(
        futures::future::join_all(all)
            .await
            .iter()
            .all(Result::is_ok)
    );
    assert_eq!(desk.asked(), 1);
}

#[tokio::test]
async fn whose_key_is_known_waits_for_no_made_up_ones() {
    let desk = Arc::new(desk());
    assert!(desk.at(desk.now).await.is_ok());
    *desk.shelf.slow.lock().unwrap() = true;
    *desk.shelf.hangs.lock().unwrap() = true;
    let flood: Vec<_> = (2..300)
        .map(|n| {
            let (desk, made_up) = (Arc::clone(&desk), text(n));
            tokio::spawn(async move {
                let now = desk.now;
                desk.ask(made_up.expose(), NamedTenant::None, now).await
            })
        })
        .collect();
    let refused_at_once = flood.len() - 36;
    let told = || flood.iter().filter(|one| one.is_finished()).count();
    while told() < refused_at_once {
        tokio::task::yield_now().await;
    }
    // Its time is over: it is looked at again, and again, while all places for others are taken.
    for n in 1..=3 {
        let later = desk.now + FRESH * n;
        let all = (0..200).map(|_| desk.at(later));
        let all = futures::future::join_all(all);
        let all = tokio::time::timeout(std::time::Duration::from_secs(10), all);
        let answers = all.await.expect("nobody waits for what hangs");
        assert!(answers.iter().all(Result::is_ok), "{n}");
    }
    assert_eq!(told(), refused_at_once);
    for one in flood {
        match one.is_finished() {
            true => assert_eq!(one.await.unwrap(), Err(Refusal::KeysCrowded)),
            false => one.abort(),
        }
    }
}

#[tokio::test]
async fn a_known_key_that_ended_is_looked_at_once_for_all_who_send_it() {
    let desk = desk();
    assert!(desk.at(desk.now).await.is_ok());
    desk.shelf
        .change(&desk.key, |key| key.revoked_at = Some(Utc::now()));
    *desk.shelf.slow.lock().unwrap() = true;
    let later = desk.now + FRESH;
    let all = (0..200).map(|_| desk.at(later));
    for answer in futures::future::join_all(all).await {
        assert_eq!(answer, refused(TokenError::RevokedKey));
    }
    assert_eq!(desk.asked(), 2);
}

#[tokio::test]
async fn who_waits_for_a_look_in_vain_learns_it_with_all_others() {
    let desk = desk();
    assert!(desk.at(desk.now).await.is_ok());
    *desk.shelf.slow.lock().unwrap() = true;
    *desk.shelf.away.lock().unwrap() = true;
    let later = desk.now + FRESH;
    let all = (0..200).map(|_| desk.at(later));
    for answer in futures::future::join_all(all).await {
        assert_eq!(answer, Err(Refusal::KeysAway));
    }
    assert_eq!(desk.asked(), 2, "not one after the other");
    // Whoever comes then looks for themselves.
    *desk.shelf.away.lock().unwrap() = false;
    assert!(desk.at(later).await.is_ok());
}

#[tokio::test]
async fn where_keys_are_away_nobody_is_told_that_theirs_is_bad() {
    let desk = desk();
    *desk.shelf.away.lock().unwrap() = true;
    assert_eq!(desk.at(desk.now).await, Err(Refusal::KeysAway));
    *desk.shelf.away.lock().unwrap() = false;
    assert!(desk.at(desk.now).await.is_ok());
}

#[tokio::test]
async fn a_tenant_is_named_with_the_keys_of_all_tenants_and_with_no_other_credential() {
    let desk = desk();
    let other = NamedTenant::One(tenant(9));
    let ask = async |named| desk.ask(desk.key.expose(), named, desk.now).await;
    for named in [other, NamedTenant::One(tenant(7)), NamedTenant::Unreadable] {
        assert_eq!(ask(named).await, Err(Refusal::NamesTenant));
    }
    desk.shelf.change(&desk.key, |key| {
        key.any_tenant = true;
        key.kind = ActorKind::Workflow;
        key.roles = BTreeSet::new();
    });
    let later = desk.now + FRESH;
    let ask = async |named| desk.ask(desk.key.expose(), named, later).await;
    for named in [NamedTenant::None, NamedTenant::Unreadable] {
        assert_eq!(ask(named).await, Err(Refusal::NameTenant));
    }
    let actor = ask(other).await.unwrap().actor;
    assert_eq!(
        (actor.tenant_id, actor.kind),
        (tenant(9), ActorKind::Workflow)
    );
    assert_eq!(
        actor.id,
        workflow_actor_id(TenantId::from_uuid(tenant(9).as_uuid()))
    );

    let own = mint(SECRET, &claims(desk.now)).unwrap();
    let token = async |named| desk.ask(&own, named, desk.now).await;
    assert!(token(NamedTenant::None).await.is_ok());
    assert_eq!(token(other).await, Err(Refusal::NamesTenant));
    assert_eq!(
        token(NamedTenant::Unreadable).await,
        Err(Refusal::NamesTenant)
    );
}

#[tokio::test]
async fn a_use_is_noted_beside_the_request_and_at_most_once_a_minute() {
    let desk = desk();
    let noted = || desk.shelf.noted.load(Relaxed);
    for n in 0..100 {
        assert!(desk.at(desk.now + TimeDelta::milliseconds(n)).await.is_ok());
    }
    tokio::task::yield_now().await;
    assert_eq!(noted(), 1);
    // As the database has it then.
    desk.shelf
        .change(&desk.key, |key| key.last_used_at = Some(desk.now));
    assert!(desk.at(desk.now + TimeDelta::seconds(50)).await.is_ok());
    tokio::task::yield_now().await;
    assert_eq!(noted(), 1);
    assert!(desk.at(desk.now + TimeDelta::seconds(61)).await.is_ok());
    tokio::task::yield_now().await;
    assert_eq!(noted(), 2);
}
