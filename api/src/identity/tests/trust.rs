//! What an issuer of somebody else's may say, and how it is read.

use contracts::{TechnicianId, actor::is_actor_id};

use super::*;

async fn accepted(
    change: impl FnOnce(&mut IssuerConfig),
    claims: impl FnOnce(&mut Value),
) -> Actor {
    let pair = Pair::elliptic("e1");
    let provider = Provider::start(&[&pair]).await;
    let mut config = issuer("people", &provider.url, Algorithm::Es256);
    change(&mut config);
    let now = Utc::now();
    let mut said = provider.claims(now);
    claims(&mut said);
    let token = pair.sign(&said);
    ask(&trusting([config]), &token, now).await.unwrap()
}

#[tokio::test]
async fn each_algorithm_works() {
    let now = Utc::now();
    for pair in [Pair::rsa("r1"), Pair::elliptic("e1"), Pair::edwards("d1")] {
        let provider = Provider::start(&[&pair]).await;
        let known = trusting([issuer("people", &provider.url, pair.algorithm)]);
        let token = pair.sign(&provider.claims(now));
        let actor = ask(&known, &token, now).await.unwrap();
        assert_eq!(actor.id, "people:8f2c", "{}", pair.algorithm);
        assert_eq!(actor.roles, [Role::Dispatcher].into());
        // Without a name the only key there is will do.
        let unnamed = pair.sign_as(&json!({ "alg": pair.algorithm }), &provider.claims(now));
        assert!(ask(&known, &unnamed, now).await.is_ok());
        assert_eq!(provider.asked(), 1);
    }
}

#[tokio::test]
async fn groups_mean_what_the_configuration_says_and_nothing_else() {
    let roles = async |given: Value| {
        let change = |config: &mut IssuerConfig| {
            config.claims.roles = Some(ClaimName::new("https://dispatch.test/groups"));
            config.roles = BTreeMap::from([
                (
                    "Field leads".to_owned(),
                    vec![Role::Dispatcher, Role::Approver],
                ),
                ("qa".to_owned(), vec![Role::Qa]),
            ]);
        };
        let claims = |claims: &mut Value| claims["https://dispatch.test/groups"] = given;
        accepted(change, claims).await.roles
    };
    let both = [Role::Dispatcher, Role::Approver, Role::Qa].into();
    assert_eq!(roles(json!(["Field leads", "qa", "x"])).await, both);
    assert_eq!(roles(json!("openid qa")).await, [Role::Qa].into());
    // Our own names mean nothing unless they are listed.
    assert_eq!(roles(json!(["platform_admin", "QA"])).await, [].into());
    assert_eq!(roles(json!([])).await, [].into());
    let none = accepted(|config| config.claims.roles = None, |_| {}).await;
    assert_eq!(none.roles, [].into());
}

#[tokio::test]
async fn the_kind_is_one_of_those_that_were_given() {
    let change = |config: &mut IssuerConfig| {
        config.kinds = [ActorKind::Agent, ActorKind::Integration].into();
        config.default_kind = ActorKind::Integration;
    };
    assert_eq!(accepted(change, |_| {}).await.kind, ActorKind::Integration);
    let agent = accepted(change, |claims| claims["kind"] = json!("agent")).await;
    assert_eq!(agent.kind, ActorKind::Agent);
}

#[tokio::test]
async fn a_tenant_is_fixed_named_or_our_own_id() {
    let (own, other) = (tenant(7), tenant(8));
    let fixed = accepted(|_| {}, |claims| claims["tenant"] = json!(other)).await;
    assert_eq!(fixed.tenant_id, own, "whatever the token says");
    let named = accepted(
        |config| {
            config.claims.tenant = ClaimName::new("tid");
            config.tenants = Tenants::Named(BTreeMap::from([("5c1e".to_owned(), other)]));
        },
        |claims| claims["tid"] = json!("5c1e"),
    )
    .await;
    assert_eq!(named.tenant_id, other);
    let any = accepted(
        |config| config.tenants = Tenants::Any,
        |claims| claims["tenant"] = json!(other),
    )
    .await;
    assert_eq!(any.tenant_id, other);
}

#[tokio::test]
async fn a_subject_is_its_issuers_and_names_nobody() {
    let id = async |sub: &str| {
        accepted(|_| {}, |claims| claims["sub"] = json!(sub))
            .await
            .id
    };
    assert_eq!(id("8f2c-41").await, "people:8f2c-41");
    let mut seen = vec![id("sha256-x").await];
    for odd in [
        "auth0|7f3",
        "anna@example.test",
        "Anna Jansen",
        &"x".repeat(255),
    ] {
        let replaced = id(odd).await;
        assert!(replaced.starts_with("people:sha256-"), "{replaced}");
        assert!(is_actor_id(&replaced), "{replaced}");
        assert_eq!(replaced, id(odd).await, "it is stable");
        assert!(!seen.contains(&replaced), "{odd}");
        seen.push(replaced);
    }
    // Nobody calls themselves by what somebody else's hash is.
    let taken = seen[1].strip_prefix("people:").unwrap();
    assert_ne!(id(taken).await, seen[1]);
}

#[tokio::test]
async fn a_technician_is_named_by_our_id() {
    let technician = TechnicianId::from_uuid(Uuid::from_u128(9));
    let change =
        |config: &mut IssuerConfig| config.claims.technician = Some(ClaimName::new("tech"));
    let actor = accepted(change, |claims| claims["tech"] = json!(technician)).await;
    assert_eq!(actor.technician_id, Some(technician));
    assert_eq!(accepted(change, |_| {}).await.technician_id, None);
}

#[test]
fn what_would_trust_nobody_or_too_many_is_refused() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let good = || issuer("people", "https://login.example.test", Algorithm::Rs256);
    type Change = fn(&mut IssuerConfig);
    let cases: [(Change, &str); 14] = [
        (|c| c.name = Slug::new("workflow").unwrap(), "`name`"),
        (|c| c.issuer = String::new(), "`issuer` is empty"),
        (|c| c.issuer = "issuer".into(), "same `issuer`"),
        (
            |c| c.issuer = "https://second.example.test".into(),
            "same `issuer`",
        ),
        (|c| c.name = Slug::new("second").unwrap(), "same `name`"),
        (|c| c.audiences.clear(), "`audiences`"),
        (|c| c.audiences.push(String::new()), "`audiences`"),
        (|c| c.kinds.clear(), "`default_kind`"),
        (|c| c.default_kind = ActorKind::Workflow, "`default_kind`"),
        (|c| c.tenants = Tenants::Named(BTreeMap::new()), "`tenants`"),
        (
            |c| drop(c.roles.insert("ops".into(), vec![Role::PlatformAdmin])),
            "platform_admin",
        ),
        (
            |c| c.issuer = "http://login.example.test".into(),
            "cannot be fetched",
        ),
        (
            |c| c.issuer = "login.example.test".into(),
            "cannot be fetched",
        ),
        (
            |c| c.keys = KeysAt::Url("file:///etc/keys.json".parse().unwrap()),
            "cannot be fetched",
        ),
    ];
    let second = issuer("second", "https://second.example.test", Algorithm::Rs256);
    let made = |given: IssuerConfig| {
        Authenticator::new(&TokenConfig {
            issuers: vec![second.clone(), given],
            ..config()
        })
    };
    assert!(made(good()).is_ok());
    for (i, (change, said)) in cases.into_iter().enumerate() {
        let mut config = good();
        change(&mut config);
        let error = made(config).unwrap_err().to_string();
        assert!(error.contains(said), "case {i}: {error}");
    }
}
