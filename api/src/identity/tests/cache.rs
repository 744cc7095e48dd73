//! Keys are fetched when they are needed, no more often, and from nowhere else.

use std::{sync::atomic::Ordering, time::Instant};

use chrono::TimeDelta;
use futures::{StreamExt, stream::FuturesUnordered};

use super::{
    super::jwks::{PATIENCE, waiting_for_each},
    provider::{Answer, until},
    *,
};

const KEY: Result<Actor, Refusal> = Err(Refusal::Token(TokenError::Key));
const AWAY: Result<Actor, Refusal> = Err(Refusal::KeysUnavailable);

fn known(provider: &Provider) -> Authenticator {
    trusting([issuer("people", &provider.url, Algorithm::Es256)])
}

/// A token that is good at this moment.
fn at(provider: &Provider, pair: &Pair, now: DateTime<Utc>) -> String {
    pair.sign(&provider.claims(now))
}

#[tokio::test]
async fn keys_are_fetched_once_for_all_who_wait() {
    let pair = Pair::elliptic("e1");
    let provider = Provider::start(&[&pair]).await;
    let known = known(&provider);
    assert_eq!(provider.asked(), 0, "nobody asked yet");
    let now = Utc::now();
    let token = at(&provider, &pair, now);
    let asks = (0..30).map(|_| ask(&known, &token, now));
    for answer in futures::future::join_all(asks).await {
        assert!(answer.is_ok(), "{answer:?}");
    }
    assert_eq!(provider.asked(), 1);
}

#[tokio::test]
async fn an_unknown_key_is_looked_for_once_in_a_while() {
    let (old, new) = (Pair::elliptic("e1"), Pair::elliptic("e2"));
    let provider = Provider::start(&[&old]).await;
    let known = known(&provider);
    let now = Utc::now();
    assert!(ask(&known, &at(&provider, &old, now), now).await.is_ok());

    // Rotated: the first token of the new key finds it, at once.
    provider.publish(&[&new]);
    assert!(ask(&known, &at(&provider, &new, now), now).await.is_ok());
    assert_eq!(provider.asked(), 2);
    // What the old key signed is refused, although it was accepted before.
    assert_eq!(ask(&known, &at(&provider, &old, now), now).await, KEY);

    // Made-up names cost the provider nothing.
    for n in 0..100 {
        let header = json!({ "alg": "ES256", "kid": format!("made up {n}") });
        let token = new.sign_as(&header, &provider.claims(now));
        assert_eq!(ask(&known, &token, now).await, KEY);
    }
    assert_eq!(provider.asked(), 2);
    // After the cool-down one of them is looked for again.
    let later = now + TimeDelta::seconds(11);
    for _ in 0..10 {
        assert_eq!(ask(&known, &at(&provider, &old, later), later).await, KEY);
    }
    assert_eq!(provider.asked(), 3);
    assert!(
        ask(&known, &at(&provider, &new, later), later)
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn keys_that_are_not_fresh_are_renewed_behind_the_requests() {
    let pair = Pair::elliptic("e1");
    let provider = Provider::start(&[&pair]).await;
    *provider.shared.cache_control.lock().unwrap() = Some("public, max-age=120");
    let known = known(&provider);
    let now = Utc::now();
    let good = async |later: TimeDelta| {
        let now = now + later;
        let answer = ask(&known, &at(&provider, &pair, now), now).await;
        assert!(answer.is_ok(), "{answer:?}");
    };
    good(TimeDelta::zero()).await;
    good(TimeDelta::seconds(119)).await;
    assert_eq!(provider.asked(), 1);
    for _ in 0..20 {
        good(TimeDelta::seconds(121)).await;
    }
    until("the keys are renewed", || provider.asked() == 2).await;
    good(TimeDelta::seconds(200)).await;
    assert_eq!(provider.asked(), 2);
}

/// Nobody asked for hours: the first who comes then is not let in by a key that was taken back since.
#[tokio::test]
async fn a_key_that_was_taken_back_is_refused_after_an_hour_whoever_asked_meanwhile() {
    for said in ["max-age=60", "max-age=31536000"] {
        let (old, new) = (Pair::elliptic("e1"), Pair::elliptic("e2"));
        let provider = Provider::start(&[&old]).await;
        *provider.shared.cache_control.lock().unwrap() = Some(said);
        let known = known(&provider);
        let now = Utc::now();
        assert!(ask(&known, &at(&provider, &old, now), now).await.is_ok());
        provider.publish(&[&new]);
        let later = now + TimeDelta::hours(2);
        let token = at(&provider, &old, later);
        let asks = (0..30).map(|_| ask(&known, &token, later));
        for answer in futures::future::join_all(asks).await {
            assert_eq!(answer, KEY, "{said}");
        }
        assert_eq!(provider.asked(), 2, "once for all of them");
        let good = ask(&known, &at(&provider, &new, later), later).await;
        assert!(good.is_ok(), "{said}: {good:?}");
        assert_eq!(provider.asked(), 2, "{said}");
    }
}

#[tokio::test]
async fn a_key_that_was_taken_back_while_its_provider_was_away_goes_when_it_is_back() {
    let (old, new) = (Pair::elliptic("e1"), Pair::elliptic("e2"));
    let provider = Provider::start(&[&old]).await;
    let known = known(&provider);
    let now = Utc::now();
    let with_old = async |now| ask(&known, &at(&provider, &old, now), now).await;
    assert!(with_old(now).await.is_ok());
    provider.answer(Answer::Status(503));
    let away = now + TimeDelta::hours(3);
    assert!(with_old(away).await.is_ok());
    assert_eq!(provider.asked(), 2, "others were waited for");
    provider.publish(&[&new]);
    // For a moment it counts as away: nobody waits, and it is asked behind the requests.
    let soon = away + TimeDelta::seconds(30);
    assert!(with_old(soon).await.is_ok());
    until("it is asked again", || provider.asked() == 3).await;
    let after = soon + TimeDelta::seconds(1);
    let bound = Instant::now() + PATIENCE;
    while with_old(after).await != KEY {
        assert!(Instant::now() < bound, "what it publishes now is not used");
        tokio::task::yield_now().await;
    }
    // Where nobody asks behind it, the next one after that moment waits again.
    provider.publish(&[&old]);
    let next = after + TimeDelta::hours(2);
    assert!(with_old(next).await.is_ok());
    provider.answer(Answer::Status(503));
    let away = next + TimeDelta::hours(2);
    assert!(with_old(away).await.is_ok());
    provider.publish(&[&new]);
    assert_eq!(with_old(away + TimeDelta::seconds(62)).await, KEY);
}

#[tokio::test]
async fn a_publisher_can_ask_for_neither_every_request_nor_never() {
    for (said, fresh, due) in [
        ("no-store", 59, 61),
        ("max-age=0", 59, 61),
        ("max-age=31536000", 2999, 3001),
        ("max-age=many", 599, 601),
    ] {
        let pair = Pair::elliptic("e1");
        let provider = Provider::start(&[&pair]).await;
        *provider.shared.cache_control.lock().unwrap() = Some(said);
        let known = known(&provider);
        let now = Utc::now();
        for (after, asked) in [(0, 1), (fresh, 1), (due, 2)] {
            let now = now + TimeDelta::seconds(after);
            let answer = ask(&known, &at(&provider, &pair, now), now).await;
            assert!(answer.is_ok(), "{said}: {answer:?}");
            until(said, || provider.asked() >= asked).await;
            assert_eq!(provider.asked(), asked, "{said} after {after} s");
        }
    }
}

#[tokio::test]
async fn where_somebody_keeps_asking_nobody_waits_whatever_the_publisher_says() {
    let pair = Pair::elliptic("e1");
    let provider = Provider::start(&[&pair]).await;
    *provider.shared.cache_control.lock().unwrap() = Some("max-age=86400");
    let known = known(&provider);
    let now = Utc::now();
    assert!(ask(&known, &at(&provider, &pair, now), now).await.is_ok());
    provider.shared.hangs.store(true, Ordering::SeqCst);
    let later = now + TimeDelta::minutes(55);
    let token = at(&provider, &pair, later);
    let begun = Instant::now();
    // More than may wait.
    let asks = (0..64).map(|_| ask(&known, &token, later));
    for answer in futures::future::join_all(asks).await {
        assert!(answer.is_ok(), "{answer:?}");
    }
    assert!(begun.elapsed() < PATIENCE);
    until("it is asked behind them", || provider.asked() == 2).await;
}

#[tokio::test]
async fn known_keys_hold_while_the_provider_is_away_but_not_for_ever() {
    let pair = Pair::elliptic("e1");
    let provider = Provider::start(&[&pair]).await;
    let known = known(&provider);
    let now = Utc::now();
    assert!(ask(&known, &at(&provider, &pair, now), now).await.is_ok());
    let token = |now| at(&provider, &pair, now);
    provider.answer(Answer::Status(500));
    let hours = |n| now + TimeDelta::hours(n);
    for _ in 0..20 {
        assert!(ask(&known, &token(hours(5)), hours(5)).await.is_ok());
    }
    // Waited for once; those who come next hear that it is away, and it is asked behind them.
    until("a renewal is tried", || provider.asked() == 3).await;
    // Nobody knows of other keys now: that is no fault of the caller's.
    let header = json!({ "alg": "ES256", "kid": "new" });
    let unknown = pair.sign_as(&header, &provider.claims(hours(5)));
    assert_eq!(ask(&known, &unknown, hours(5)).await, AWAY);
    assert_eq!(ask(&known, &unknown, hours(5)).await, AWAY);
    assert_eq!(ask(&known, &token(hours(7)), hours(7)).await, AWAY);
    // It comes back.
    provider.publish(&[&pair]);
    let later = hours(7) + TimeDelta::seconds(2);
    assert!(ask(&known, &token(later), later).await.is_ok());
}

#[tokio::test]
async fn without_keys_it_is_nobodys_fault_and_nobody_hammers() {
    let pair = Pair::elliptic("e1");
    let provider = Provider::start(&[&pair]).await;
    let known = known(&provider);
    provider.answer(Answer::Status(503));
    let now = Utc::now();
    let token = at(&provider, &pair, now);
    let asks = (0..50).map(|_| ask(&known, &token, now));
    for answer in futures::future::join_all(asks).await {
        assert_eq!(answer, AWAY);
    }
    assert_eq!(provider.asked(), 1);
    // Our own tokens need nobody.
    let own = mint(SECRET, &claims(now)).unwrap();
    assert!(ask(&known, &own, now).await.is_ok());
    let url = provider.url.clone();
    provider.stop().await;
    let later = now + TimeDelta::seconds(2);
    let token = pair.sign(&access_claims(&url, later));
    assert_eq!(ask(&known, &token, later).await, AWAY);
}

/// Made-up tokens cost their sender nothing, and a provider may hang for all its timeout.
#[tokio::test]
async fn few_wait_for_a_provider_that_hangs_and_the_others_go_on() {
    let (pair, new) = (Pair::elliptic("e1"), Pair::elliptic("e2"));
    let (hanging, known_one, quick) = (
        Provider::start(&[&pair]).await,
        Provider::start(&[&pair]).await,
        Provider::start(&[&pair]).await,
    );
    let known = trusting([
        issuer("hanging", &hanging.url, Algorithm::Es256),
        issuer("known", &known_one.url, Algorithm::Es256),
        issuer("quick", &quick.url, Algorithm::Es256),
    ]);
    let now = Utc::now();
    let of_known = at(&known_one, &pair, now);
    assert!(ask(&known, &of_known, now).await.is_ok());
    for provider in [&hanging, &known_one] {
        provider.shared.hangs.store(true, Ordering::SeqCst);
    }

    // Nobody's keys are at hand; or some are, and not the one that the token names.
    for token in [at(&hanging, &pair, now), at(&known_one, &new, now)] {
        let begun = Instant::now();
        let mut asks: FuturesUnordered<_> = (0..200)
            .map(|_| async { (ask(&known, &token, now).await, begun.elapsed()) })
            .collect();
        let mut waited = 0;
        // Sent away before anybody's patience is over, while the others still wait.
        for _ in 0..200 - WAITERS {
            let (answer, after) = asks.next().await.unwrap();
            assert_eq!(answer, AWAY);
            assert!(after < PATIENCE, "{after:?}");
        }
        // Meanwhile the keys of the last hour are used, and other issuers asked.
        let hour = now + TimeDelta::seconds(3599);
        assert!(ask(&known, &of_known, now).await.is_ok());
        let not_fresh = at(&known_one, &pair, hour);
        assert!(ask(&known, &not_fresh, hour).await.is_ok());
        let token = at(&quick, &pair, now);
        assert!(ask(&known, &token, now).await.is_ok());
        let own = mint(SECRET, &claims(now)).unwrap();
        assert!(ask(&known, &own, now).await.is_ok());
        while let Some((answer, after)) = asks.next().await {
            waited += 1;
            assert_eq!(answer, AWAY);
            assert!(after >= PATIENCE, "{after:?}");
            assert!(after < 2 * PATIENCE, "{after:?}");
        }
        assert_eq!(waited, WAITERS);
    }
    assert_eq!(hanging.asked(), 1, "one question, however many wait");
    assert!(known_one.asked() <= 3, "and one to renew");
}

/// Whose keys are old waits as for the first ones, and in no more places: some are sent away meanwhile. Then it
/// counts as away, and nobody waits any more.
#[tokio::test]
async fn whose_keys_are_old_waits_for_a_provider_that_hangs_once() {
    let pair = Pair::elliptic("e1");
    let provider = Provider::start(&[&pair]).await;
    let known = known(&provider);
    let now = Utc::now();
    assert!(ask(&known, &at(&provider, &pair, now), now).await.is_ok());
    provider.shared.hangs.store(true, Ordering::SeqCst);
    let later = now + TimeDelta::hours(2);
    let token = at(&provider, &pair, later);
    let places = waiting_for_each(1);
    let begun = Instant::now();
    let asks =
        (0..places + 10).map(|_| async { (ask(&known, &token, later).await, begun.elapsed()) });
    let (sent_away, waited): (Vec<_>, Vec<_>) = futures::future::join_all(asks)
        .await
        .into_iter()
        .partition(|(answer, _)| *answer == AWAY);
    assert_eq!((sent_away.len(), waited.len()), (10, places));
    for (answer, after) in waited {
        assert!(answer.is_ok(), "{answer:?}");
        assert!(after >= PATIENCE, "{after:?}");
    }
    assert_eq!(provider.asked(), 2);
    // Once it has not answered in its time either.
    let now = || later + begun.elapsed();
    while ask(&known, &token, now()).await == AWAY {
        assert!(begun.elapsed() < 5 * PATIENCE, "it does not count as away");
        tokio::task::yield_now().await;
    }
    let waits = Instant::now();
    for _ in 0..2 * places {
        assert!(ask(&known, &token, now()).await.is_ok());
    }
    assert!(waits.elapsed() < PATIENCE, "{:?}", waits.elapsed());
}

/// With three issuers.
const WAITERS: usize = 21;

#[test]
fn those_who_wait_never_fill_the_house() {
    let most = crate::config::Limits::default().in_flight / 4;
    for issuers in 1..=most {
        let each = waiting_for_each(issuers);
        assert!(each >= 1 && each * issuers <= most, "{issuers}: {each}");
    }
    assert_eq!(waiting_for_each(3), WAITERS);
}

#[tokio::test]
async fn only_a_set_of_keys_from_the_configured_place_is_taken() {
    let pair = Pair::elliptic("e1");
    let elsewhere = Provider::start(&[&pair]).await;
    let jwk = pair.public();
    let with = |name: &str, value: Value| {
        let mut jwk = jwk.clone();
        jwk[name] = value;
        Answer::Json(json!({ "keys": [jwk] }))
    };
    let coordinate = |name: &str| jwk[name].as_str().unwrap().to_owned();
    let cases = [
        (
            "redirected",
            Answer::Redirect(format!("{}/certs", elsewhere.url)),
        ),
        ("not found", Answer::Status(404)),
        ("no JSON", Answer::Raw("keys".into())),
        ("a list", Answer::Json(json!([jwk]))),
        (
            "no list of keys",
            Answer::Json(json!({ "keys": { "e1": jwk } })),
        ),
        ("no keys", Answer::Json(json!({ "keys": [] }))),
        (
            "a key that is none",
            Answer::Json(json!({ "keys": [jwk, "x"] })),
        ),
        (
            "keys twice",
            Answer::Raw(format!(r#"{{"keys":[],"keys":[{jwk}]}}"#)),
        ),
        (
            "too much",
            Answer::Raw(format!("{{\"keys\":[{jwk}]}}{}", " ".repeat(300_000))),
        ),
        ("the private half", with("d", json!(coordinate("x")))),
        (
            "a secret beside it",
            Answer::Json(json!({ "keys": [jwk, { "kty": "oct", "k": part(SECRET) }] })),
        ),
        (
            "the same name twice",
            Answer::Json(json!({ "keys": [jwk, jwk] })),
        ),
        ("a name that is a number", with("kid", json!(1))),
        ("for encryption", with("use", json!("enc"))),
        ("for something else", with("key_ops", json!(["deriveKey"]))),
        ("of another algorithm", with("alg", json!("ES384"))),
        ("of another kind", with("kty", json!("RSA"))),
        ("of another curve", with("crv", json!("P-384"))),
        ("no point of the curve", with("y", json!(coordinate("x")))),
        ("half a point", with("y", json!(part([1; 16])))),
        ("without y", with("y", Value::Null)),
    ];
    for (name, answer) in cases {
        let provider = Provider::start(&[&pair]).await;
        provider.answer(answer);
        let now = Utc::now();
        let answer = ask(&known(&provider), &at(&provider, &pair, now), now).await;
        assert_eq!(answer, AWAY, "{name}");
    }
    assert_eq!(elsewhere.asked(), 0, "redirects are not followed");
}

#[tokio::test]
async fn a_discovery_document_is_about_its_issuer() {
    let pair = Pair::elliptic("e1");
    let now = Utc::now();
    let answer = async |document: &dyn Fn(&str) -> Value| {
        let provider = Provider::start(&[&pair]).await;
        provider.discover(document(&provider.url));
        ask(&known(&provider), &at(&provider, &pair, now), now).await
    };
    let certs = |url: &str| format!("{url}/certs");
    let good = answer(&|url| json!({ "issuer": url, "jwks_uri": certs(url) })).await;
    assert!(good.is_ok(), "{good:?}");
    type Document = fn(&str) -> Value;
    let cases: [(&str, Document); 7] = [
        (
            "another issuer",
            |url| json!({ "issuer": format!("{url}/"), "jwks_uri": format!("{url}/certs") }),
        ),
        (
            "no issuer",
            |url| json!({ "jwks_uri": format!("{url}/certs") }),
        ),
        ("no place", |url| json!({ "issuer": url })),
        (
            "a place that is none",
            |url| json!({ "issuer": url, "jwks_uri": "/certs" }),
        ),
        (
            "a file",
            |url| json!({ "issuer": url, "jwks_uri": "file:///etc/keys" }),
        ),
        (
            "http elsewhere",
            |url| json!({ "issuer": url, "jwks_uri": "http://keys.example.test/certs" }),
        ),
        (
            "data",
            |url| json!({ "issuer": url, "jwks_uri": "data:application/json,{}" }),
        ),
    ];
    for (name, document) in cases {
        assert_eq!(answer(&document).await, AWAY, "{name}");
    }
}

#[tokio::test]
async fn keys_are_also_found_without_discovery() {
    let pair = Pair::elliptic("e1");
    let provider = Provider::start(&[&pair]).await;
    provider.discover(json!({}));
    let keys = KeysAt::Url(format!("{}/certs", provider.url).parse().unwrap());
    let config = IssuerConfig {
        keys,
        ..issuer("people", &provider.url, Algorithm::Es256)
    };
    let now = Utc::now();
    let token = at(&provider, &pair, now);
    assert!(ask(&trusting([config.clone()]), &token, now).await.is_ok());

    let found = look(&config).await.unwrap();
    assert_eq!((found.keys, found.refused), (1, vec![]));
    let weak = json!({ "kty": "EC", "crv": "P-256", "kid": "w", "x": "AQ", "y": "AQ" });
    provider.answer(Answer::Json(json!({ "keys": [pair.public(), weak] })));
    let found = look(&config).await.unwrap();
    assert_eq!((found.keys, found.refused.len()), (1, 1));
}
