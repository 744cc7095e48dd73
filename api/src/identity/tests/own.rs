//! Tokens of our own issuer.

use super::*;

async fn verify(token: &str, now: DateTime<Utc>) -> Result<Actor, Refusal> {
    ask(&trusting([]), token, now).await
}

#[tokio::test]
async fn a_minted_token_names_its_actor() {
    let now = Utc::now();
    let token = mint(SECRET, &claims(now)).unwrap();
    let actor = verify(&token, now).await.unwrap();
    assert_eq!(
        (actor.id.as_str(), actor.kind),
        ("usr_1", ActorKind::Person)
    );
}

#[tokio::test]
async fn each_claim_is_checked() {
    let now = Utc::now();
    let t = now.timestamp();
    type Change = fn(&mut TokenClaims, i64);
    let cases: [(Change, TokenError); 12] = [
        (
            |c, t| (c.iat, c.exp) = (t - 600, t - 6),
            TokenError::Expired,
        ),
        (|c, t| c.nbf = t + 60, TokenError::NotYetValid),
        (|c, t| c.iat = t + 60, TokenError::NotYetValid),
        (|c, _| c.iss = "other".into(), TokenError::Issuer),
        (|c, _| c.iss = "issuer ".into(), TokenError::Issuer),
        (|c, _| c.aud = "other".into(), TokenError::Audience),
        (|c, _| c.sub = String::new(), TokenError::Subject),
        (|c, _| c.sub = "two words".into(), TokenError::Subject),
        (
            |c, _| c.sub = "anna@example.test".into(),
            TokenError::Subject,
        ),
        (|c, _| c.sub = "x".repeat(129), TokenError::Subject),
        (|c, _| c.exp = i64::MAX, TokenError::Claims),
        (
            |c, t| c.exp = t + MAX_LIFETIME_SECONDS + 1,
            TokenError::Claims,
        ),
    ];
    for (i, (change, expected)) in cases.into_iter().enumerate() {
        let mut claims = claims(now);
        change(&mut claims, t);
        let token = mint(SECRET, &claims).unwrap();
        assert_eq!(
            verify(&token, now).await,
            Err(Refusal::Token(expected)),
            "case {i}"
        );
    }
}

#[tokio::test]
async fn the_leeway_is_what_was_configured() {
    let now = Utc::now();
    let mut late = claims(now);
    (late.iat, late.exp) = (now.timestamp() - 600, now.timestamp() - 5);
    let ended = mint(SECRET, &late).unwrap();
    let refused = verify(&ended, now).await;
    assert_eq!(refused, Err(Refusal::Token(TokenError::Expired)));
    late.exp += 1;
    let late = mint(SECRET, &late).unwrap();
    assert!(verify(&late, now).await.is_ok(), "four seconds late");
    let strict = TokenConfig {
        leeway: Duration::ZERO,
        ..config()
    };
    let strict = Authenticator::new(&strict).unwrap();
    let refused = ask(&strict, &late, now).await;
    assert_eq!(refused, Err(Refusal::Token(TokenError::Expired)));
}

#[test]
fn a_short_secret_signs_and_checks_nothing() {
    assert_eq!(mint("short", &claims(Utc::now())), Err(WeakSecret(5)));
    let config = TokenConfig {
        secret: Secret::new("short"),
        ..config()
    };
    let error = Authenticator::new(&config).unwrap_err();
    assert!(matches!(error, IdentityError::Secret(WeakSecret(5))));
}
