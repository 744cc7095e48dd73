//! Who may have which key, and until when.

use chrono::TimeDelta;
use contracts::{
    ActorKind, ApiKeyId, ApiPermission, ErrorCode, ReadPermission, Role, ServiceAccountId,
    command::*,
    service_account::AccountState,
    value::{AccountName, KeyHash, KeyPrefix},
};

use super::{tests::facts, *};
use crate::testing::{monday, slug};

fn account() -> AccountFacts {
    AccountFacts {
        id: ServiceAccountId::from_uuid(Uuid::from_u128(3)),
        code: slug("erp"),
        kind: ActorKind::Integration,
        roles: [Role::Dispatcher].into(),
        any_tenant: false,
        state: AccountState::Active,
        version: 4,
        prefix_taken: false,
        good_keys: 1,
        key: Some(KeyFacts {
            id: ApiKeyId::from_uuid(Uuid::from_u128(5)),
            scopes: [ApiPermission::Read(ReadPermission::Tickets)].into(),
            expires_at: monday() + TimeDelta::hours(10),
            revoked: false,
        }),
    }
}

fn with(account: AccountFacts) -> FilingFacts {
    FilingFacts {
        account: Some(account),
        ..facts()
    }
}

fn by_platform(mut facts: FilingFacts) -> FilingFacts {
    facts.who.actor_roles = vec![Role::PlatformAdmin];
    facts
}

fn upsert(kind: ActorKind, roles: &[Role], any_tenant: bool) -> Command {
    UpsertServiceAccount {
        code: slug("erp"),
        name: AccountName::new("Accounting").unwrap(),
        kind,
        roles: roles.iter().copied().collect(),
        any_tenant,
        active: None,
    }
    .into()
}

fn issue(days: i64) -> Command {
    IssueApiKey {
        service_account_id: account().id,
        prefix: KeyPrefix::new("Ab3dEf7h9J").unwrap(),
        key_hash: KeyHash::new("0".repeat(64)).unwrap(),
        scopes: [].into(),
        expires_at: monday() + TimeDelta::days(days),
    }
    .into()
}

fn rotate(overlap_seconds: u32) -> Command {
    RotateApiKey {
        api_key_id: ApiKeyId::from_uuid(Uuid::from_u128(5)),
        prefix: KeyPrefix::new("Ab3dEf7h9J").unwrap(),
        key_hash: KeyHash::new("0".repeat(64)).unwrap(),
        expires_at: monday() + TimeDelta::days(30),
        overlap_seconds,
    }
    .into()
}

fn code(command: &Command, facts: &FilingFacts) -> Option<ErrorCode> {
    decide(command, facts).err().map(|refused| refused.code())
}

#[test]
fn whoever_runs_the_installation_alone_makes_what_is_the_installations() {
    use ActorKind::{Agent, Integration, Workflow};
    let platform = [Role::PlatformAdmin];
    for (kind, roles, any) in [
        (Workflow, &[][..], false),
        (Workflow, &[], true),
        (Integration, &platform, false),
        (Agent, &[Role::Dispatcher, Role::PlatformAdmin], false),
    ] {
        let command = upsert(kind, roles, any);
        assert_eq!(code(&command, &facts()), Some(ErrorCode::Forbidden));
        assert_eq!(code(&command, &by_platform(facts())), None);
        let made = AccountFacts {
            kind,
            roles: roles.iter().copied().collect(),
            any_tenant: any,
            ..account()
        };
        for command in [issue(1), rotate(0), upsert(kind, &[], any)] {
            let refused = code(&command, &with(made.clone()));
            assert_eq!(refused, Some(ErrorCode::Forbidden), "{command:?}");
            assert_eq!(code(&command, &by_platform(with(made.clone()))), None);
        }
    }
    assert_eq!(
        code(&upsert(Agent, &[Role::Dispatcher], false), &facts()),
        None
    );
    for wrong in [
        upsert(ActorKind::Person, &[], false),
        upsert(Agent, &[], true),
        upsert(Workflow, &[Role::Dispatcher], false),
    ] {
        let refused = code(&wrong, &by_platform(facts()));
        assert_eq!(refused, Some(ErrorCode::InvalidField), "{wrong:?}");
    }
}

#[test]
fn what_an_account_was_made_as_it_stays() {
    let facts = by_platform(with(account()));
    let other = upsert(ActorKind::Agent, &[], false);
    assert_eq!(code(&other, &facts), Some(ErrorCode::InvalidField));
    let disabled = AccountFacts {
        state: AccountState::Disabled,
        ..account()
    };
    let again = upsert(ActorKind::Integration, &[], false);
    let filing = decide(&again, &with(disabled.clone())).unwrap();
    let state = AccountState::Disabled;
    assert!(matches!(filing.filed, Filed::ServiceAccount { state: it, .. } if it == state));
    assert_eq!((filing.applied_to_version, filing.produced_version), (4, 5));
    for command in [issue(1), rotate(0)] {
        let refused = code(&command, &with(disabled.clone()));
        assert_eq!(refused, Some(ErrorCode::InvalidField));
    }
}

#[test]
fn a_key_has_an_end_within_a_year_and_an_account_so_many() {
    for (days, expected) in [
        (-1, Some(ErrorCode::InvalidField)),
        (0, Some(ErrorCode::InvalidField)),
        (1, None),
        (366, None),
        (367, Some(ErrorCode::InvalidField)),
    ] {
        assert_eq!(code(&issue(days), &with(account())), expected, "{days}");
    }
    let many = |good_keys| {
        with(AccountFacts {
            good_keys,
            ..account()
        })
    };
    assert_eq!(code(&issue(1), &many(19)), None);
    assert_eq!(code(&issue(1), &many(20)), Some(ErrorCode::InvalidField));
    let taken = FilingFacts {
        taken: true,
        ..with(account())
    };
    assert_eq!(code(&issue(1), &taken), Some(ErrorCode::AlreadyExists));
    let shown = with(AccountFacts {
        prefix_taken: true,
        ..account()
    });
    for command in [issue(1), rotate(0)] {
        assert_eq!(decide(&command, &shown), Err(Rejection::PrefixTaken));
    }
    assert_eq!(code(&issue(1), &facts()), Some(ErrorCode::NotFound));
}

#[test]
fn a_replaced_key_ends_with_its_overlap_or_before_and_hands_its_scopes_on() {
    let ends = |overlap| {
        let filing = decide(&rotate(overlap), &with(account())).unwrap();
        let row = filing.row.unwrap();
        assert_eq!(row["scopes"], serde_json::json!(["read:tickets"]));
        match filing.filed {
            Filed::ApiKeyRotated {
                replaced_ends_at, ..
            } => replaced_ends_at - monday(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(ends(0), TimeDelta::zero());
    assert_eq!(ends(3_600), TimeDelta::hours(1));
    assert_eq!(
        ends(86_400),
        TimeDelta::hours(10),
        "no longer than it was to last"
    );
    let facts = with(account());
    assert_eq!(code(&rotate(604_800), &facts), None);
    assert_eq!(
        code(&rotate(604_801), &facts),
        Some(ErrorCode::InvalidField)
    );
    let mut over = account();
    over.key.as_mut().unwrap().expires_at = monday();
    assert_eq!(code(&rotate(0), &with(over)), Some(ErrorCode::InvalidField));
    let mut revoked = account();
    revoked.key.as_mut().unwrap().revoked = true;
    assert_eq!(
        code(&rotate(0), &with(revoked)),
        Some(ErrorCode::InvalidField)
    );
}
