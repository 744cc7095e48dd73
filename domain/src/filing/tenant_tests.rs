//! The life of a tenant, by its rules alone.

use chrono::TimeDelta;
use contracts::{
    Command, ErrorCode, Operation, Slug, TenantId,
    command::{
        CancelTenantDeletion, ConfigureTenant, CreateTenant, EraseTenant, RequestTenantDeletion,
        ResumeTenant, SuspendTenant,
    },
    filing::Filed,
    schedule::QuietHours,
    tenant::{TenantState, usual_calendar, usual_currency, usual_locale},
};
use strum::VariantArray;
use uuid::Uuid;

use super::{FilingFacts, TenantFacts, decide, tests::facts};
use crate::Rejection;

const TENANT: TenantId = TenantId::from_uuid(Uuid::from_u128(77));

fn slug(text: &str) -> Slug {
    Slug::new(text).unwrap()
}

fn at(state: TenantState) -> FilingFacts {
    let facts = facts();
    FilingFacts {
        tenant: Some(TenantFacts {
            id: TENANT,
            slug: slug("canal_glass"),
            state,
            version: 4,
            erase_after: (state == TenantState::Deleting).then_some(facts.now),
        }),
        ..facts
    }
}

fn create() -> CreateTenant {
    CreateTenant {
        slug: slug("canal_glass"),
        calendar: None,
        currency: None,
        quiet_hours: None,
        locale: None,
        templates: None,
    }
}

fn configure() -> ConfigureTenant {
    ConfigureTenant {
        tenant_id: TENANT,
        calendar: usual_calendar("Europe/Amsterdam"),
        currency: usual_currency(),
        quiet_hours: None,
        locale: usual_locale(),
        templates: None,
    }
}

fn commands() -> [Command; 6] {
    let (tenant_id, reason) = (TENANT, slug("unpaid"));
    [
        configure().into(),
        SuspendTenant {
            tenant_id,
            reason: reason.clone(),
        }
        .into(),
        ResumeTenant {
            tenant_id,
            reason: reason.clone(),
        }
        .into(),
        RequestTenantDeletion {
            tenant_id,
            reason: reason.clone(),
            grace_days: 30,
        }
        .into(),
        CancelTenantDeletion { tenant_id, reason }.into(),
        EraseTenant { tenant_id }.into(),
    ]
}

/// Where a command leads from a state.
fn leads(command: &Command, from: TenantState) -> Result<TenantState, Rejection> {
    decide(command, &at(from)).map(|filing| match filing.filed {
        Filed::Tenant { state, .. } => state,
        other => panic!("{other:?}"),
    })
}

#[test]
fn every_command_leads_on_from_where_it_may_and_nowhere_else() {
    use TenantState::*;
    let table = [
        (
            Operation::ConfigureTenant,
            [Some(Active), Some(Suspended), None, None],
        ),
        (
            Operation::SuspendTenant,
            [Some(Suspended), None, None, None],
        ),
        (Operation::ResumeTenant, [None, Some(Active), None, None]),
        (
            Operation::RequestTenantDeletion,
            [Some(Deleting), Some(Deleting), None, None],
        ),
        (
            Operation::CancelTenantDeletion,
            [None, None, Some(Suspended), None],
        ),
        (Operation::EraseTenant, [None, None, Some(Erased), None]),
    ];
    for ((operation, row), command) in table.iter().zip(commands()) {
        assert_eq!(*operation, command.operation());
        for (from, to) in TenantState::VARIANTS.iter().zip(row) {
            match (leads(&command, *from), to) {
                (Ok(state), Some(to)) => assert_eq!(state, *to, "{operation} from {from}"),
                (Err(rejection), None) => {
                    assert_eq!(rejection.code(), ErrorCode::IllegalTransition);
                    let legal = rejection.meta()["legal_operations"].clone();
                    let legal: Vec<Operation> = serde_json::from_value(legal).unwrap();
                    assert!(!legal.contains(operation), "{operation} from {from}");
                    for other in commands() {
                        let leads = leads(&other, *from).is_ok();
                        assert_eq!(legal.contains(&other.operation()), leads, "{other:?}");
                    }
                }
                (other, _) => panic!("{operation} from {from}: {other:?}"),
            }
        }
    }
}

#[test]
fn a_tenant_that_is_not_active_lets_its_own_commands_pass_and_what_stops_software() {
    // They lead to no other state, so they are not among the others.
    const ABOUT: [Operation; 2] = [Operation::LimitTenant, Operation::RecordTenantExport];
    const STOPS: [Operation; 3] = [
        Operation::EngageKillSwitch,
        Operation::RevokeApiKey,
        Operation::DisableServiceAccount,
    ];
    for operation in Operation::VARIANTS {
        let about =
            ABOUT.contains(operation) || commands().iter().any(|it| it.operation() == *operation);
        let stops = STOPS.contains(operation);
        assert!(TenantState::Active.admits(*operation));
        assert_eq!(
            TenantState::Suspended.admits(*operation),
            about || stops,
            "{operation}"
        );
        assert_eq!(
            TenantState::Deleting.admits(*operation),
            about || stops,
            "{operation}"
        );
        assert_eq!(TenantState::Erased.admits(*operation), about, "{operation}");
    }
}

#[test]
fn a_new_tenant_has_what_is_usual_and_a_name_of_its_own() {
    let filing = decide(&create().into(), &facts()).unwrap();
    assert_eq!((filing.applied_to_version, filing.produced_version), (0, 1));
    let row = filing.row.unwrap();
    assert_eq!(row["settings"]["calendar"]["time_zone"], "UTC");
    assert_eq!(row["settings"]["currency"], "EUR");
    assert_eq!(
        (&row["locale"], &row["state"]),
        (&"en".into(), &"active".into())
    );

    let taken = FilingFacts {
        taken: true,
        ..facts()
    };
    let refused = decide(&create().into(), &taken).unwrap_err();
    assert_eq!(refused.code(), ErrorCode::AlreadyExists);
}

#[test]
fn what_cannot_be_is_refused_with_its_place() {
    let pointer = |command: Command, facts: &FilingFacts| {
        decide(&command, facts)
            .unwrap_err()
            .field()
            .unwrap()
            .pointer
    };
    let active = at(TenantState::Active);
    let nowhere = ConfigureTenant {
        calendar: usual_calendar("Atlantis/Center"),
        ..configure()
    };
    assert_eq!(pointer(nowhere.into(), &active), "/calendar/time_zone");
    let late = ConfigureTenant {
        quiet_hours: Some(QuietHours {
            from_minute: 1_320,
            until_minute: 1_440,
        }),
        ..configure()
    };
    assert_eq!(pointer(late.into(), &active), "/quiet_hours/until_minute");
    let nothing = ConfigureTenant {
        templates: Some(Vec::new()),
        ..configure()
    };
    assert_eq!(pointer(nothing.into(), &active), "/templates");
    for grace_days in [0, 366] {
        let body = RequestTenantDeletion {
            tenant_id: TENANT,
            reason: slug("left"),
            grace_days,
        };
        assert_eq!(pointer(body.into(), &active), "/grace_days");
    }
}

#[test]
fn nothing_is_erased_before_the_time_of_grace_is_over() {
    let mut facts = at(TenantState::Deleting);
    let erase = EraseTenant { tenant_id: TENANT }.into();
    facts.now -= TimeDelta::microseconds(1);
    assert!(matches!(
        decide(&erase, &facts),
        Err(Rejection::GraceNotOver { .. })
    ));
    facts.now += TimeDelta::microseconds(1);
    assert!(decide(&erase, &facts).is_ok());

    let mut facts = at(TenantState::Active);
    let delete = &commands()[3];
    let filing = decide(delete, &facts).unwrap();
    let end = facts.now + TimeDelta::days(30);
    assert!(matches!(filing.filed, Filed::Tenant { erase_after: Some(at), .. } if at == end));
    facts.expected_version = Some(3);
    let refused = decide(delete, &facts).unwrap_err();
    assert_eq!(refused.code(), ErrorCode::VersionConflict);
}
