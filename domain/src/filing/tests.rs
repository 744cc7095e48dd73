use std::collections::BTreeMap;

use chrono::TimeDelta;
use contracts::{
    ActorKind, CommandId, CommentId, ContactId, PeerAddress, Role, SiteId, TechnicianId,
    command::*,
    comms::{OnlyWhile, Purpose, Recipient},
    kill_switch::{KillScope, KillSwitchRow},
    schedule::{GeoPoint, WorkCalendar},
};
use proptest::prelude::*;

use super::*;
use crate::testing::{DORA, autonomy, comms_rules, monday, office, slug};

const HERE: GeoPoint = GeoPoint {
    lat_e6: 52_370_000,
    lon_e6: 4_890_000,
};

pub(super) fn facts() -> FilingFacts {
    FilingFacts {
        now: monday(),
        fresh: Uuid::from_u128(7),
        message: MessageId::from_uuid(Uuid::from_u128(8)),
        expected_version: None,
        known: None,
        site_known: true,
        contact_known: true,
        absences: Vec::new(),
        kill_switch: KillSwitch::default(),
        comms: comms_rules(),
        route: None,
        who: ApprovalFacts {
            now: monday(),
            actor_id: DORA.to_owned(),
            actor_kind: ActorKind::Person,
            actor_roles: vec![Role::TenantAdmin],
            lent: Vec::new(),
            command_id: CommandId::from_uuid(Uuid::from_u128(10)),
            comment: CommentId::from_uuid(Uuid::from_u128(11)),
            amended: None,
        },
        approval: None,
        asked_before: Vec::new(),
        autonomy: autonomy(),
        control: ControlFacts::default(),
        tenant: None,
        account: None,
        taken: false,
    }
}

fn known(version: u64) -> FilingFacts {
    FilingFacts {
        known: Some(KnownThing {
            id: Uuid::from_u128(9),
            version,
            site: Some(Uuid::from_u128(1)),
        }),
        ..facts()
    }
}

fn site() -> UpsertSite {
    UpsertSite {
        code: slug("harbour"),
        location: HERE,
        active: true,
    }
}

fn asset(site: u128) -> UpsertAsset {
    UpsertAsset {
        code: slug("door"),
        site_id: SiteId::from_uuid(Uuid::from_u128(site)),
        kind: slug("sliding_door"),
        active: true,
    }
}

fn contact() -> UpsertContact {
    UpsertContact {
        code: slug("owner"),
        site_id: None,
        name: None,
        phone: None,
        email: None,
        street: None,
    }
}

fn technician(calendar: WorkCalendar) -> UpsertTechnician {
    UpsertTechnician {
        code: slug("glazier_1"),
        contact_id: ContactId::from_uuid(Uuid::from_u128(3)),
        skills: vec![slug("glazing")],
        home_base: HERE,
        calendar,
        active: true,
    }
}

fn hours(from: i64, to: i64) -> TimeWindow {
    TimeWindow {
        start: monday() + TimeDelta::hours(from),
        end: monday() + TimeDelta::hours(to),
    }
}

fn absence(window: TimeWindow) -> RecordAbsence {
    RecordAbsence {
        technician_id: TechnicianId::from_uuid(Uuid::from_u128(9)),
        window,
        reason: slug("sick"),
    }
}

fn cancel(starts_at: DateTime<Utc>) -> CancelAbsence {
    CancelAbsence {
        technician_id: TechnicianId::from_uuid(Uuid::from_u128(9)),
        starts_at,
    }
}

fn run(command: impl Into<Command>, facts: &FilingFacts) -> Result<Filing, Rejection> {
    decide(&command.into(), facts)
}

/// The field that is refused.
#[track_caller]
fn pointer(command: impl Into<Command>, facts: &FilingFacts) -> String {
    match run(command, facts) {
        Err(Rejection::InvalidField { pointer, .. }) => pointer,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_new_thing_gets_the_fresh_id_and_a_known_one_keeps_its_own() {
    for command in [
        Command::from(site()),
        asset(1).into(),
        contact().into(),
        technician(office()).into(),
    ] {
        let new = decide(&command, &facts()).unwrap();
        assert_eq!((new.applied_to_version, new.produced_version), (0, 1));
        assert_eq!(new.id, Uuid::from_u128(7));
        let again = decide(&command, &known(4)).unwrap();
        assert_eq!((again.applied_to_version, again.produced_version), (4, 5));
        assert_eq!(again.id, Uuid::from_u128(9));
        assert!(new.writes && again.writes && new.notices.is_empty());
        assert_eq!(
            std::mem::discriminant(&new.filed),
            std::mem::discriminant(&again.filed)
        );
    }
}

#[test]
fn the_version_is_looked_at_before_the_fields() {
    let mut wrong = site();
    wrong.location.lat_e6 = 90_000_001;
    let mut facts = known(4);
    facts.expected_version = Some(3);
    assert_eq!(
        run(wrong, &facts),
        Err(Rejection::VersionConflict {
            expected: 3,
            actual: 4
        })
    );
    facts.expected_version = Some(4);
    assert!(run(site(), &facts).is_ok());
    facts.known = None;
    facts.expected_version = Some(0);
    assert!(run(site(), &facts).is_ok(), "0 means: only if it is new");
}

#[test]
fn a_place_is_on_the_map() {
    for (lat_e6, lon_e6, field) in [
        (90_000_001, 0, "lat_e6"),
        (-90_000_001, 0, "lat_e6"),
        (0, 180_000_001, "lon_e6"),
        (0, i32::MIN, "lon_e6"),
    ] {
        let location = GeoPoint { lat_e6, lon_e6 };
        let body = UpsertSite { location, ..site() };
        assert_eq!(pointer(body, &facts()), format!("/location/{field}"));
        let body = UpsertTechnician {
            home_base: location,
            ..technician(office())
        };
        assert_eq!(pointer(body, &facts()), format!("/home_base/{field}"));
    }
}

#[test]
fn an_asset_stays_where_it_is() {
    assert_eq!(pointer(asset(2), &known(1)), "/site_id");
    assert!(run(asset(1), &known(1)).is_ok());
    let nowhere = FilingFacts {
        site_known: false,
        ..facts()
    };
    assert_eq!(pointer(asset(1), &nowhere), "/site_id");
    assert_eq!(pointer(contact(), &nowhere), "/site_id");
}

#[test]
fn an_address_is_one_and_is_not_repeated() {
    let address = |text| Some(PeerAddress::new(text).unwrap());
    for (body, field) in [
        (
            UpsertContact {
                phone: address("Quillfeather"),
                ..contact()
            },
            "/phone",
        ),
        (
            UpsertContact {
                email: address("Quillfeather"),
                ..contact()
            },
            "/email",
        ),
    ] {
        let rejection = run(body, &facts()).unwrap_err();
        assert_eq!(rejection.field().unwrap().pointer, field);
        assert!(!rejection.detail().contains("Quillfeather"));
    }
    let good = UpsertContact {
        phone: address("+31205550199"),
        email: address("owner@harbour.example"),
        ..contact()
    };
    assert!(run(good, &facts()).is_ok());
}

#[test]
fn a_technician_has_a_contact_skills_and_hours() {
    let nobody = FilingFacts {
        contact_known: false,
        ..facts()
    };
    assert_eq!(pointer(technician(office()), &nobody), "/contact_id");
    let twice = UpsertTechnician {
        skills: vec![slug("glazing"), slug("glazing")],
        ..technician(office())
    };
    assert_eq!(pointer(twice, &facts()), "/skills/1");
    type Change = fn(&mut WorkCalendar);
    let wrong: [(Change, &str); 6] = [
        (|c| c.week.truncate(6), "/calendar/week"),
        (|c| c.week[2] = vec![(600, 600)], "/calendar/week/2/0"),
        (|c| c.week[6] = vec![(600, 1441)], "/calendar/week/6/0"),
        (
            |c| c.week[0] = vec![(600, 700), (660, 720)],
            "/calendar/week/0/1",
        ),
        (
            |c| c.time_zone = "Mrs/Quillfeather".into(),
            "/calendar/time_zone",
        ),
        (
            |c| c.days_off = vec!["2026-12-25".parse().unwrap(); 1001],
            "/calendar/days_off",
        ),
    ];
    for (change, field) in wrong {
        let mut calendar = office();
        change(&mut calendar);
        let rejection = run(technician(calendar), &facts()).unwrap_err();
        assert_eq!(rejection.field().unwrap().pointer, field);
        assert!(!rejection.detail().contains("Quillfeather"));
    }
    let mut touching = office();
    touching.week[0] = vec![(600, 700), (700, 720)];
    assert!(run(technician(touching), &facts()).is_ok());
}

#[test]
fn an_absence_lies_ahead_and_alone() {
    let mut someone = known(3);
    someone.absences = vec![hours(10, 20)];
    let recorded = run(absence(hours(20, 30)), &someone).unwrap();
    assert_eq!(
        (recorded.applied_to_version, recorded.produced_version),
        (0, 1)
    );
    assert_eq!(pointer(absence(hours(5, 5)), &someone), "/window/end");
    let mut nothing = hours(5, 5);
    nothing.end += TimeDelta::nanoseconds(100);
    assert_eq!(pointer(absence(nothing), &someone), "/window/end");
    assert_eq!(pointer(absence(hours(-5, 0)), &someone), "/window/end");
    assert_eq!(
        pointer(absence(hours(30, 30 + 367 * 24)), &someone),
        "/window/end"
    );
    assert_eq!(
        pointer(absence(hours(700 * 24, 732 * 24)), &someone),
        "/window/end"
    );
    assert_eq!(pointer(absence(hours(19, 21)), &someone), "/window");
    assert_eq!(pointer(absence(hours(1, 2)), &facts()), "/technician_id");
    assert!(run(absence(hours(-5, 1)), &someone).is_ok(), "it has begun");
}

#[test]
fn only_an_absence_on_record_is_cancelled() {
    let mut someone = known(3);
    someone.absences = vec![hours(-20, -10), hours(10, 20)];
    let cancelled = run(cancel(hours(10, 20).start), &someone).unwrap();
    assert_eq!(
        cancelled.filed,
        Filed::AbsenceCancelled {
            technician_id: TechnicianId::from_uuid(Uuid::from_u128(9)),
            window: hours(10, 20),
        }
    );
    assert_eq!(
        (cancelled.applied_to_version, cancelled.produced_version),
        (1, 2)
    );
    let finer = hours(10, 20).start + TimeDelta::nanoseconds(400);
    assert!(run(cancel(finer), &someone).is_ok(), "as it was sent first");
    assert_eq!(pointer(cancel(monday()), &someone), "/starts_at");
    assert_eq!(pointer(cancel(hours(-20, 0).start), &someone), "/starts_at");
    assert_eq!(pointer(cancel(monday()), &facts()), "/technician_id");
}

fn reason() -> contracts::Slug {
    slug("agent_misbehaves")
}

fn engage() -> EngageKillSwitch {
    EngageKillSwitch {
        reason: reason(),
        scope: KillScope::Tenant,
        expires_at: None,
    }
}

fn release() -> ReleaseKillSwitch {
    ReleaseKillSwitch {
        reason: reason(),
        scope: KillScope::Tenant,
    }
}

#[test]
fn a_switch_over_what_was_never_seen_stands_with_a_warning() {
    let agent = || KillScope::Agent {
        actor_id: "agt_typo".to_owned(),
    };
    let channel = || KillScope::Channel {
        channel: contracts::comms::Channel::Sms,
    };
    let warned = |scope, never_seen| {
        let mut facts = facts();
        facts.kill_switch.never_seen = never_seen;
        match run(EngageKillSwitch { scope, ..engage() }, &facts)
            .unwrap()
            .filed
        {
            Filed::KillSwitchEngaged { warning, .. } => warning,
            other => panic!("{other:?}"),
        }
    };
    for scope in [agent, channel] as [fn() -> KillScope; 2] {
        let warning = warned(scope(), true).unwrap();
        assert!(
            warning.contains("the switch stands nevertheless"),
            "{warning}"
        );
        assert_eq!(warned(scope(), false), None);
    }
    assert_eq!(warned(KillScope::Tenant, true), None);
}

#[test]
fn a_switch_over_the_books_of_workflows_warns_that_they_go_on() {
    let mut facts = facts();
    facts.autonomy.rules.through_kill_switch = vec![Operation::RecordProposal];
    let warned = |operation| {
        let scope = KillScope::Operation { operation };
        let filing = run(EngageKillSwitch { scope, ..engage() }, &facts).unwrap();
        match filing.filed {
            Filed::KillSwitchEngaged { warning, .. } => warning,
            other => panic!("{other:?}"),
        }
    };
    let warning = warned(Operation::RecordProposal).unwrap();
    assert!(warning.contains("workflows go on"), "{warning}");
    // Only what the rules name: these let it stop the others too.
    assert_eq!(warned(Operation::RecordSla), None);
    assert_eq!(warned(Operation::Dispatch), None);
}

#[test]
fn the_kill_switch_is_turned_to_the_other_side_only() {
    let stands = |engaged, generation| FilingFacts {
        kill_switch: KillSwitch {
            engaged,
            generation,
            never_seen: false,
        },
        ..facts()
    };
    let first = run(engage(), &stands(false, 0)).unwrap();
    assert_eq!((first.applied_to_version, first.produced_version), (0, 1));
    assert_eq!(
        run(engage(), &stands(true, 1)),
        Err(Rejection::SwitchStands {
            engaged: true,
            generation: 1,
            until: None,
        })
    );
    assert_eq!(
        run(release(), &stands(true, 1)).unwrap().filed,
        Filed::KillSwitchReleased {
            generation: 2,
            reason: reason(),
            scope: KillScope::Tenant,
        }
    );
    assert!(run(release(), &stands(false, 0)).is_err());
    let stale = FilingFacts {
        expected_version: Some(0),
        ..stands(true, 1)
    };
    let conflict = run(release(), &stale).unwrap_err();
    assert!(matches!(
        conflict,
        Rejection::VersionConflict { actual: 1, .. }
    ));
}

/// A switch that ends an hour from now, looked at so long after that end.
fn ending(after: TimeDelta) -> FilingFacts {
    let end = monday() + TimeDelta::hours(1);
    let row = KillSwitchRow {
        scope: KillScope::Tenant.key(),
        engaged: true,
        generation: 1,
        reason: reason(),
        expires_at: Some(end),
    };
    let mut facts = facts();
    facts.now = end + after;
    facts.kill_switch = KillSwitch {
        engaged: row.stops(facts.now),
        generation: 1,
        never_seen: false,
    };
    facts.autonomy.switches = vec![row];
    facts
}

#[test]
fn a_switch_that_has_ended_is_released_once_more_for_the_record() {
    let second = TimeDelta::seconds(1);
    let software = |mut facts: FilingFacts| {
        facts.who.actor_kind = ActorKind::Workflow;
        facts
    };
    assert!(
        run(release(), &ending(-second)).is_ok(),
        "a person, before its end"
    );
    assert!(run(release(), &software(ending(-second))).is_err());
    for facts in [ending(TimeDelta::zero()), software(ending(second))] {
        let released = run(release(), &facts).unwrap();
        assert_eq!(released.produced_version, 2);
    }
    assert!(run(engage(), &ending(second)).is_ok(), "or engaged anew");
}

#[test]
fn an_engaged_switch_can_get_a_later_end_and_no_earlier_one() {
    let with_end = |expires_at| EngageKillSwitch {
        expires_at,
        ..engage()
    };
    let facts = ending(-TimeDelta::minutes(1));
    let later = Some(facts.now + TimeDelta::hours(8));
    assert_eq!(run(with_end(later), &facts).unwrap().produced_version, 2);
    assert!(run(engage(), &facts).is_ok(), "no end at all");
    let same = facts.autonomy.switches[0].expires_at;
    let refused = run(with_end(same), &facts).unwrap_err();
    assert!(matches!(
        refused,
        Rejection::SwitchStands { engaged: true, until, .. } if until == same
    ));
    let said = refused.to_string();
    assert!(
        said.contains("until 2026-") && said.contains("Only a later end"),
        "{said}"
    );
    // Who may engage may not release: not by bringing the end nearer either.
    for earlier in [facts.now, facts.now + TimeDelta::seconds(59)] {
        assert!(matches!(
            run(with_end(Some(earlier)), &facts),
            Err(Rejection::SwitchStands { engaged: true, .. })
        ));
    }
    let far = facts.now + TimeDelta::days(91);
    assert_eq!(pointer(with_end(Some(far)), &facts), "/expires_at");
    let released = self::facts();
    let past = Some(released.now);
    assert_eq!(pointer(with_end(past), &released), "/expires_at");
}

#[test]
fn a_drill_is_kept_as_a_document_with_its_hash() {
    let drill = |passed, ago| RecordDrill {
        scope: KillScope::Agent {
            actor_id: "drill-1".into(),
        },
        clients: 4,
        engaged_at: monday() - ago,
        stop_millis: 7,
        attempts: 100,
        passed,
    };
    let second = TimeDelta::seconds(1);
    let row = run(drill(0, second), &facts()).unwrap().row.unwrap();
    let document = row["document"].as_str().unwrap();
    let read: Value = serde_json::from_str(document).unwrap();
    assert_eq!(
        row["sha256"],
        contracts::canonical::canonical_sha256(&read).unwrap()
    );
    assert_eq!(row["subject"], "agent:drill-1");
    assert_eq!(row["figures"]["stop_millis"], 7);
    for passed in [0, 1] {
        let filed = run(drill(passed, second), &facts()).unwrap().filed;
        let expected = Filed::Drilled {
            stop_millis: 7,
            passed: passed == 0,
        };
        assert_eq!(filed, expected);
    }
    assert_eq!(pointer(drill(101, second), &facts()), "/passed");
    assert_eq!(pointer(drill(0, -second), &facts()), "/engaged_at");
    assert_eq!(
        pointer(drill(0, TimeDelta::days(2)), &facts()),
        "/engaged_at"
    );
}

#[test]
fn whoever_the_bundle_names_hears_of_a_turn() {
    let mut facts = facts();
    let engage = engage();
    assert_eq!(run(engage.clone(), &facts).unwrap().notices, []);
    facts.comms.audiences = BTreeMap::from([(Purpose::KillSwitch, vec![Role::TenantAdmin])]);
    let filing = run(engage, &facts).unwrap();
    let [notice] = filing.notices.as_slice() else {
        panic!("{:?}", filing.notices);
    };
    assert_eq!(
        notice.only_while,
        OnlyWhile::KillGeneration {
            generation: 1,
            scope: "tenant".into()
        }
    );
    assert_eq!(notice.due_at, monday());
    assert_eq!(
        notice.recipient,
        Recipient::Roles {
            roles: vec![Role::TenantAdmin]
        }
    );
}

proptest! {
    /// Whatever is turned how often: the generation counts the turns, and no two follow each other
    /// to the same side.
    #[test]
    fn turns_alternate(sides in prop::collection::vec(any::<bool>(), 0..40)) {
        let mut stands = KillSwitch::default();
        let mut turns = 0;
        for engage in sides {
            let command: Command = match engage {
                true => self::engage().into(),
                false => release().into(),
            };
            let facts = FilingFacts { kill_switch: stands, ..facts() };
            match decide(&command, &facts) {
                Ok(filing) => {
                    prop_assert_ne!(stands.engaged, engage);
                    turns += 1;
                    stands.engaged = engage;
                    stands.generation = filing.produced_version;
                }
                Err(_) => prop_assert_eq!(stands.engaged, engage),
            }
        }
        prop_assert_eq!(stands.generation, turns);
    }

    /// However absences are recorded and cancelled, no two on record overlap.
    #[test]
    fn absences_never_overlap(
        steps in prop::collection::vec((any::<bool>(), -48..200_i64, 1..60_i64), 0..40)
    ) {
        let mut someone = known(1);
        for (record, from, length) in steps {
            let window = hours(from, from + length);
            let command: Command = match record {
                true => absence(window).into(),
                false => cancel(window.start).into(),
            };
            match decide(&command, &someone).map(|filing| filing.filed) {
                Ok(Filed::AbsenceRecorded { window, .. }) => someone.absences.push(window),
                Ok(Filed::AbsenceCancelled { window, .. }) => {
                    someone.absences.retain(|other| *other != window);
                }
                Ok(other) => prop_assert!(false, "{other:?}"),
                Err(rejection) => prop_assert!(rejection.field().is_some()),
            }
        }
        for (n, one) in someone.absences.iter().enumerate() {
            prop_assert!(!someone.absences[..n].iter().any(|other| other.overlaps(one)));
        }
    }
}

#[test]
fn a_command_on_a_ticket_is_no_filing() {
    let rejection = run(CheckIn {}, &facts()).unwrap_err();
    assert!(matches!(rejection, Rejection::Broken { .. }));
}
