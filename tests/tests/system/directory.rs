//! Sites, assets, contacts, technicians, absences: what is filed about them and what is read back.

use std::collections::BTreeSet;

use chrono::{DateTime, Datelike, NaiveDate, SubsecRound, TimeDelta, Utc, Weekday};
use contracts::{
    ContactId, ErrorCode, Operation, Role, SiteId, Slug, TechnicianId, TicketState,
    directory::{DirectoryFilter, TechnicianCalendar},
    filing::Filed,
};
use dispatch_tests::{
    filing::{DIRECTORY, FilingExample, PERSONAL, done, example, receipt},
    http::{key, patiently, pointers},
    job::Job,
    record::{Footprint, REFUSAL, attempt, left_by},
    stack::{Stack, with_api},
    who::{Who, mint},
};
use futures::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

fn code(filter: &str) -> DirectoryFilter {
    DirectoryFilter {
        code: Some(Slug::new(filter).unwrap()),
        ..DirectoryFilter::default()
    }
}

#[test]
fn each_filing_is_done_once_however_often_it_is_sent() {
    with_api(async |stack| {
        for &operation in DIRECTORY {
            let FilingExample {
                who,
                body,
                before,
                creates,
                ..
            } = example(&stack, operation).await;
            let key = key();
            let send = || stack.command(who, operation, None, &body).key(&key);

            let first = send().send().await;
            let done = receipt(&first);
            assert_eq!(first.status, if creates { 201 } else { 200 }, "{operation}");
            let versions = (done.applied_to_version, done.produced_version);
            assert_eq!(versions, (before, before + 1), "{operation}");
            assert!(!done.dry_run && done.ticket.is_none());

            let row = attempt(stack.admin(), done.command_id).await.unwrap();
            assert_eq!((row.ticket_id, row.refused.as_deref()), (None, None));
            assert_eq!((row.before, row.after), (None, None), "{operation}");
            assert_eq!(row.request_id, key);
            assert_eq!(row.actor_id, who.actor(stack.tenant()).id);
            assert_eq!(row.decision_id, done.decision_id.as_uuid());
            assert_eq!(row.changes, json!([done.filed]), "{operation}");
            assert!(!row.stream.starts_with("actor:"), "{operation}");

            let footprint = Footprint::take(stack.admin()).await;
            let second = send().send().await;
            assert_eq!(second.body, first.body, "{operation}");
            assert_eq!(second.status, first.status);
            assert_eq!(second.header("idempotent-replayed"), Some("true"));
            assert_eq!(
                footprint.changes(stack.admin()).await,
                [""; 0],
                "{operation}"
            );

            // The key stands for this body only.
            let mut other = body.clone();
            other["expected_version"] = 77.into();
            let mismatch = stack.command(who, operation, None, &other).key(&key);
            mismatch
                .send()
                .await
                .problem(ErrorCode::IdempotencyMismatch);
        }
    });
}

#[test]
fn each_filing_is_refused_to_a_wrong_role_and_to_software() {
    with_api(async |stack| {
        for &operation in DIRECTORY {
            let FilingExample { not, body, .. } = example(&stack, operation).await;
            // The workflow may put an end on record that has come, and none has.
            let (agent, workflow) = match operation {
                Operation::ReleaseKillSwitch => {
                    (ErrorCode::KillSwitch, ErrorCode::IllegalTransition)
                }
                _ => (ErrorCode::Stage, ErrorCode::Stage),
            };
            for (who, code) in [
                (not, ErrorCode::Forbidden),
                (Who::Qa, ErrorCode::Forbidden),
                (Who::Intake, ErrorCode::Forbidden),
                (Who::Agent, agent),
                (Who::Workflow, workflow),
            ] {
                let footprint = Footprint::take(stack.admin()).await;
                let reply = stack.command(who, operation, None, &body).send().await;
                let problem = reply.problem(code);
                let by_policy = code != ErrorCode::IllegalTransition;
                assert_eq!(
                    !problem.reasons.is_empty(),
                    by_policy,
                    "{operation} by {who:?}"
                );
                assert_eq!(
                    footprint.changes(stack.admin()).await,
                    left_by(who, operation, code),
                    "{operation}"
                );
                let row = attempt(stack.admin(), problem.command_id.unwrap()).await;
                let stream = format!("actor:{}", who.actor(stack.tenant()).id);
                assert_eq!(row.unwrap().stream, stream, "{operation}");
            }
        }
    });
}

#[test]
fn each_filing_is_refused_on_a_version_that_was_not_seen() {
    with_api(async |stack| {
        for &operation in DIRECTORY {
            let FilingExample {
                who, body, before, ..
            } = example(&stack, operation).await;
            let footprint = Footprint::take(stack.admin()).await;
            let send = |version| {
                let ask = stack.command(who, operation, None, &body);
                ask.expecting(version).send()
            };
            let problem = send(before + 1).await.problem(ErrorCode::VersionConflict);
            let meta = json!({ "expected": before + 1, "actual": before });
            assert_eq!(Value::Object(problem.meta), meta, "{operation}");
            assert_eq!(
                footprint.changes(stack.admin()).await,
                REFUSAL,
                "{operation}"
            );
            assert_eq!(receipt(&send(before).await).applied_to_version, before);
        }
    });
}

#[test]
fn a_trial_of_a_filing_tells_and_changes_nothing() {
    with_api(async |stack| {
        for &operation in DIRECTORY {
            let FilingExample { who, not, body, .. } = example(&stack, operation).await;
            let key = key();
            let footprint = Footprint::take(stack.admin()).await;
            let ask = |who| stack.command(who, operation, None, &body).key(&key);
            let reply = ask(who).dry_run().send().await;
            assert_eq!(reply.status, 200, "{operation}: {}", reply.text());
            let would = receipt(&reply);
            assert!(would.dry_run, "{operation}");
            ask(not)
                .dry_run()
                .send()
                .await
                .problem(ErrorCode::Forbidden);
            assert_eq!(
                footprint.changes(stack.admin()).await,
                [""; 0],
                "{operation}"
            );
            let done = receipt(&ask(who).send().await);
            assert_eq!(done.produced_version, would.produced_version, "{operation}");
        }
    });
}

#[test]
fn another_tenants_thing_is_as_unknown_as_none() {
    with_api(async |stack| {
        let theirs = stack.other().clone();
        for &operation in DIRECTORY {
            let FilingExample {
                who, body, names, ..
            } = example(&stack, operation).await;
            let Some((field, nobodys)) = names else {
                continue;
            };
            let other = match field {
                "site_id" => theirs.site.to_string(),
                "contact_id" => theirs.contact.to_string(),
                _ => theirs.technicians[0].to_string(),
            };
            let mut told = Vec::new();
            for id in [other, nobodys] {
                let mut body = body.clone();
                body[field] = id.into();
                let footprint = Footprint::take(stack.admin()).await;
                let reply = stack.command(who, operation, None, &body).send().await;
                // An absence is there or not before it is asked whose it is.
                let problem = reply.problem(ErrorCode::InvalidField);
                assert_eq!(
                    footprint.changes(stack.admin()).await,
                    REFUSAL,
                    "{operation}"
                );
                assert_eq!(pointers(&problem), [format!("/{field}")], "{operation}");
                told.push(problem.detail);
            }
            assert_eq!(told[0], told[1], "{operation}");
        }
        // A code is a name within a tenant: the same one elsewhere is another thing.
        let body = example(&stack, Operation::UpsertSite).await.body;
        let ours = done(&stack, Operation::UpsertSite, Who::TenantAdmin, &body).await;
        let command = stack.http().command(Operation::UpsertSite, None, &body);
        let reply = command.token(Who::TenantAdmin.token(&theirs)).send().await;
        assert_eq!(reply.status, 201);
        assert_ne!(receipt(&reply).filed, ours.filed);
    });
}

#[test]
fn a_value_that_cannot_be_is_refused_with_its_place() {
    with_api(async |stack| {
        let cases: &[(Operation, &str, Value, &str)] = &[
            (
                Operation::UpsertSite,
                "/location/lat_e6",
                json!(90_000_001),
                "/location/lat_e6",
            ),
            (
                Operation::UpsertSite,
                "/location/lon_e6",
                json!(-180_000_001),
                "/location/lon_e6",
            ),
            (
                Operation::UpsertSite,
                "/code",
                json!("Anna Jansen"),
                "/code",
            ),
            (
                Operation::UpsertAsset,
                "/kind",
                json!("Sliding Door"),
                "/kind",
            ),
            (
                Operation::UpsertContact,
                "/phone",
                json!("0205550142"),
                "/phone",
            ),
            (
                Operation::UpsertContact,
                "/email",
                json!("nobody"),
                "/email",
            ),
            (
                Operation::UpsertTechnician,
                "/calendar/time_zone",
                json!("Mars"),
                "/calendar/time_zone",
            ),
            (
                Operation::UpsertTechnician,
                "/calendar/week",
                json!([]),
                "/calendar/week",
            ),
            (
                Operation::UpsertTechnician,
                "/calendar/week/0",
                json!([[600, 700], [650, 720]]),
                "/calendar/week/0/1",
            ),
            (
                Operation::UpsertTechnician,
                "/skills",
                json!(["a", "a"]),
                "/skills/1",
            ),
            (
                Operation::RecordAbsence,
                "/window",
                json!({ "start": "2020-01-01T00:00:00Z", "end": "2020-01-02T00:00:00Z" }),
                "/window/end",
            ),
            (
                Operation::CancelAbsence,
                "/starts_at",
                json!("2020-01-01T00:00:00Z"),
                "/starts_at",
            ),
        ];
        for (operation, field, value, pointer) in cases {
            let FilingExample { who, mut body, .. } = example(&stack, *operation).await;
            *body.pointer_mut(field).unwrap() = value.clone();
            let reply = stack.command(who, *operation, None, &body).send().await;
            let problem = reply.problem(ErrorCode::InvalidField);
            assert_eq!(
                pointers(&problem),
                [*pointer],
                "{operation}: {}",
                reply.text()
            );
        }
        // Two absences at the same time.
        let FilingExample { who, body, .. } = example(&stack, Operation::RecordAbsence).await;
        done(&stack, Operation::RecordAbsence, who, &body).await;
        let again = stack.command(who, Operation::RecordAbsence, None, &body);
        let problem = again.send().await.problem(ErrorCode::InvalidField);
        assert_eq!(pointers(&problem), ["/window"]);
        // An asset that would move.
        let FilingExample { who, mut body, .. } = example(&stack, Operation::UpsertAsset).await;
        done(&stack, Operation::UpsertAsset, who, &body).await;
        let site = example(&stack, Operation::UpsertSite).await.body;
        let site = done(&stack, Operation::UpsertSite, who, &site).await.filed;
        let Filed::Site { site_id, .. } = site else {
            panic!("{site:?}");
        };
        body["site_id"] = json!(site_id);
        let moved = stack.command(who, Operation::UpsertAsset, None, &body);
        let problem = moved.send().await.problem(ErrorCode::InvalidField);
        assert_eq!(pointers(&problem), ["/site_id"]);
    });
}

#[test]
fn first_writes_of_one_code_at_once_make_one_thing() {
    with_api(async |stack| {
        for operation in [
            Operation::UpsertSite,
            Operation::UpsertAsset,
            Operation::UpsertContact,
            Operation::UpsertTechnician,
        ] {
            let FilingExample { who, body, .. } = example(&stack, operation).await;
            let replies = join_all((0..6).map(|_| async {
                let key = key();
                let ask = || stack.command(who, operation, None, &body).key(&key);
                patiently(ask).await
            }))
            .await;
            let receipts: Vec<_> = replies.iter().map(receipt).collect();
            let versions: BTreeSet<_> = receipts.iter().map(|r| r.produced_version).collect();
            assert_eq!(versions, (1..=6).collect(), "{operation}");
            assert!(
                receipts.iter().all(|r| r.filed == receipts[0].filed),
                "{operation}"
            );
            let created = replies.iter().filter(|r| r.status == 201).count();
            assert_eq!(created, 1, "{operation}");
        }
    });
}

#[test]
fn overlapping_absences_at_once_leave_one() {
    with_api(async |stack| {
        let FilingExample { who, body, .. } = example(&stack, Operation::RecordAbsence).await;
        let replies = join_all((0..5).map(|_| async {
            let key = key();
            let ask = || {
                stack
                    .command(who, Operation::RecordAbsence, None, &body)
                    .key(&key)
            };
            patiently(ask).await.status.as_u16()
        }))
        .await;
        let taken = replies.iter().filter(|status| **status == 201).count();
        assert_eq!((taken, replies.len()), (1, 5), "{replies:?}");
    });
}

#[test]
fn what_was_filed_is_read_back() {
    with_api(async |stack| {
        let admin = stack.client(stack.tenant(), Who::TenantAdmin);
        let ids = filed_things(&stack).await;

        let site = admin.site(ids.site).await.unwrap();
        assert_eq!((site.version, site.active), (1, true));
        assert_eq!(
            admin.sites(&code(site.code.as_str())).await.unwrap().items,
            std::slice::from_ref(&site)
        );

        let contact = admin.contact(ids.contact).await.unwrap();
        let [name, phone, email, street] = PERSONAL;
        assert_eq!(contact.name.as_ref().unwrap().as_str(), name);
        assert_eq!(contact.phone.as_ref().unwrap().as_str(), phone);
        assert_eq!(contact.email.as_ref().unwrap().as_str(), email);
        assert_eq!(contact.street.as_ref().unwrap().as_str(), street);
        let listed = admin.contacts(&code(contact.code.as_str())).await.unwrap();
        assert_eq!(listed.items, std::slice::from_ref(&contact));
        // A member that is left out is erased.
        let body = json!({ "code": contact.code });
        done(&stack, Operation::UpsertContact, Who::TenantAdmin, &body).await;
        let erased = admin.contact(ids.contact).await.unwrap();
        assert_eq!(
            (
                erased.version,
                erased.name,
                erased.phone,
                erased.email,
                erased.street,
                erased.site_id
            ),
            (2, None, None, None, None, None)
        );

        let technician = admin.technician(ids.technician).await.unwrap();
        assert_eq!(technician.skills, [Slug::new("glazing").unwrap()]);
        let by = |skill: &str, active| DirectoryFilter {
            skill: Some(Slug::new(skill).unwrap()),
            active: Some(active),
            ..DirectoryFilter::default()
        };
        let glaziers = admin.technicians(&by("glazing", true)).await.unwrap().items;
        assert_eq!(glaziers.len(), 4, "three seeded ones and ours");
        assert_eq!(glaziers[0], technician, "newest first");
        for nobody in [by("plumbing", true), by("glazing", false)] {
            assert_eq!(admin.technicians(&nobody).await.unwrap().items, []);
        }

        let at_site = DirectoryFilter {
            site_id: Some(stack.tenant().site),
            ..DirectoryFilter::default()
        };
        let assets = admin.assets(&at_site).await.unwrap().items;
        assert!(assets.iter().any(|asset| asset.id == stack.tenant().asset));
        let asset = admin.asset(stack.tenant().asset).await.unwrap();
        assert_eq!(asset.kind.as_str(), "shopfront_pane");

        // Page by page.
        let mut filter = DirectoryFilter {
            limit: Some(3),
            ..DirectoryFilter::default()
        };
        let mut seen = Vec::new();
        loop {
            let page = admin.technicians(&filter).await.unwrap();
            seen.extend(page.items.into_iter().map(|technician| technician.id));
            match page.next_cursor {
                Some(next) => filter.cursor = Some(next),
                None => break,
            }
        }
        assert_eq!(seen.len(), 4);
        assert!(seen.is_sorted_by(|a, b| a > b), "{seen:?}");
        // A cursor belongs to its list.
        let cursor = admin
            .technicians(&DirectoryFilter {
                limit: Some(1),
                ..DirectoryFilter::default()
            })
            .await
            .unwrap()
            .next_cursor
            .unwrap();
        stack
            .ask(Who::Auditor, Method::GET, format!("/sites?cursor={cursor}"))
            .send()
            .await
            .no_attempt(ErrorCode::InvalidParameter);
    });
}

struct Things {
    site: SiteId,
    contact: ContactId,
    technician: TechnicianId,
}

async fn filed_things(stack: &Stack) -> Things {
    let mut filed = Vec::new();
    for operation in [
        Operation::UpsertSite,
        Operation::UpsertContact,
        Operation::UpsertTechnician,
    ] {
        let example = example(stack, operation).await;
        filed.push(
            done(stack, operation, example.who, &example.body)
                .await
                .filed,
        );
    }
    match filed.as_slice() {
        [
            Filed::Site { site_id, .. },
            Filed::Contact { contact_id, .. },
            Filed::Technician { technician_id, .. },
        ] => Things {
            site: *site_id,
            contact: *contact_id,
            technician: *technician_id,
        },
        other => panic!("{other:?}"),
    }
}

#[test]
fn reads_show_a_tenant_its_own_things_only() {
    with_api(async |stack| {
        let things = filed_things(&stack).await;
        let stranger = |path: &str| {
            let token = Who::TenantAdmin.token(stack.other());
            stack.http().get(path).token(token).send()
        };
        for path in [
            format!("/sites/{}", things.site),
            format!("/assets/{}", stack.tenant().asset),
            format!("/contacts/{}", things.contact),
            format!("/technicians/{}", things.technician),
            format!("/technicians/{}/calendar", things.technician),
        ] {
            stranger(&path).await.no_attempt(ErrorCode::NotFound);
            let ours = stack.ask(Who::TenantAdmin, Method::GET, &path).send().await;
            assert_eq!(ours.status, 200, "{path}: {}", ours.text());
        }
        for (path, id) in [
            ("/sites", things.site.to_string()),
            ("/assets", stack.tenant().asset.to_string()),
            ("/contacts", things.contact.to_string()),
            ("/technicians", things.technician.to_string()),
        ] {
            assert!(!stranger(path).await.text().contains(&id), "{path}");
            // An id of another sort is no id here.
            let wrong = format!("{path}/{}", stack.tenant().id);
            stranger(&wrong)
                .await
                .no_attempt(ErrorCode::InvalidParameter);
        }
        for path in [
            "/sites?site_id=x",
            "/sites?skill=x",
            "/assets?limit=0",
            "/assets?limit=201",
        ] {
            stranger(path).await.no_attempt(ErrorCode::InvalidParameter);
        }
    });
}

#[test]
fn personal_data_is_for_those_who_plan_and_do_the_work() {
    with_api(async |stack| {
        let contact = stack.tenant().contact;
        for (who, may) in [
            (Who::Dispatcher, true),
            (Who::AccountManager, true),
            (Who::Technician, true),
            (Who::TenantAdmin, true),
            (Who::Registry, true),
            (Who::Intake, false),
            (Who::Approver, false),
            (Who::Qa, false),
            (Who::Billing, false),
            (Who::Auditor, false),
            (Who::Workflow, false),
            (Who::Agent, false),
        ] {
            for path in ["/contacts".to_owned(), format!("/contacts/{contact}")] {
                let reply = stack.ask(who, Method::GET, &path).send().await;
                match (may, who) {
                    (true, _) => assert_eq!(reply.status, 200, "{who:?}: {}", reply.text()),
                    // Software is not even told that there are people.
                    (false, Who::Workflow | Who::Agent) => {
                        reply.no_attempt(ErrorCode::NotFound);
                    }
                    (false, _) => {
                        reply.no_attempt(ErrorCode::Forbidden);
                    }
                }
            }
            let reply = stack.ask(who, Method::GET, "/technicians").send().await;
            assert_eq!(reply.status, 200, "{who:?}");
        }
    });
}

#[test]
fn where_somebody_starts_from_is_for_those_who_plan_and_for_them() {
    with_api(async |stack| {
        let mut platform = Who::Auditor.claims(stack.tenant(), Utc::now());
        platform.sub = "usr_platform".to_owned();
        platform.roles = [Role::PlatformAdmin].into();
        let tokens = [
            Who::Dispatcher,
            Who::TenantAdmin,
            Who::Registry,
            Who::Technician,
            Who::OtherTechnician,
            Who::AccountManager,
            Who::Approver,
            Who::Qa,
            Who::Billing,
            Who::Auditor,
            Who::Intake,
            Who::Workflow,
            Who::Agent,
        ];
        let tokens = tokens.map(|who| (format!("{who:?}"), who.token(stack.tenant())));
        let platform = ("Platform".to_owned(), mint(&platform));
        for (who, token) in tokens.into_iter().chain([platform]) {
            let sees = |record: &Value| {
                let shown = record.get("home_base").is_some_and(Value::is_object);
                assert!(
                    shown || record.get("home_base").is_none(),
                    "{who}: {record}"
                );
                shown
            };
            let all = ["Dispatcher", "TenantAdmin", "Registry", "Platform"];
            let all = all.contains(&who.as_str());
            let get = async |path: &str| {
                let reply = stack.http().get(path).token(&token).send().await;
                assert_eq!(reply.status, 200, "{who}: {}", reply.text());
                reply.json()
            };
            for (n, id) in stack.tenant().technicians.into_iter().enumerate() {
                let theirs = match who.as_str() {
                    "Technician" => n == 0,
                    "OtherTechnician" => n == 1,
                    _ => false,
                };
                let one = get(&format!("/technicians/{id}")).await;
                assert_eq!(sees(&one), all || theirs, "{who}: {n}");
                assert_eq!(one["id"], id.to_string());
            }
            let page = get("/technicians").await;
            let items = page["items"].as_array().unwrap();
            let seen = items.iter().filter(|record| sees(record)).count();
            let expected = match (all, who.as_str()) {
                (true, _) => items.len(),
                (false, "Technician" | "OtherTechnician") => 1,
                (false, _) => 0,
            };
            assert_eq!(seen, expected, "{who}");
        }
    });
}

/// The tables in which one of the words stands, and in how many rows.
async fn tables_with(stack: &Stack, words: &[&str]) -> Vec<(String, i64)> {
    let tables: Vec<String> = sqlx::query_scalar(
        "select relname::text from pg_class
         where relnamespace = 'public'::regnamespace and relkind = 'r' order by 1",
    )
    .fetch_all(stack.admin())
    .await
    .unwrap();
    let patterns: Vec<_> = words.iter().map(|word| format!("%{word}%")).collect();
    let mut found = Vec::new();
    for table in tables {
        let sql = format!("select count(*) from {table} t where t::text ilike any($1)");
        let count: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(sql))
            .bind(&patterns)
            .fetch_one(stack.admin())
            .await
            .unwrap();
        if count > 0 {
            found.push((table, count));
        }
    }
    found
}

#[test]
fn where_a_technician_starts_from_stands_with_them_and_nowhere_else() {
    with_api(async |stack| {
        let FilingExample { who, mut body, .. } =
            example(&stack, Operation::UpsertTechnician).await;
        body["home_base"] = json!({ "lat_e6": 52_371_807, "lon_e6": 4_896_029 });
        let refused = stack.command(Who::Auditor, Operation::UpsertTechnician, None, &body);
        refused.send().await.problem(ErrorCode::Forbidden);
        let filed = done(&stack, Operation::UpsertTechnician, who, &body).await;
        assert_eq!(
            tables_with(&stack, &["52371807", "4896029"]).await,
            [("technicians".to_owned(), 1)]
        );
        let row = attempt(stack.admin(), filed.command_id).await.unwrap();
        assert_eq!(row.payload["home_base"], json!({ "hidden": true }));
    });
}

#[test]
fn personal_data_stands_in_contacts_and_nowhere_else() {
    with_api(async |stack| {
        let FilingExample { who, body, .. } = example(&stack, Operation::UpsertContact).await;
        done(&stack, Operation::UpsertContact, who, &body).await;
        // Refused ones are kept too: for a wrong field, a wrong role, a stale version.
        let mut wrong = body.clone();
        wrong["phone"] = json!(PERSONAL[3].replace(' ', "_"));
        let refused = |who, body: &Value| stack.command(who, Operation::UpsertContact, None, body);
        refused(who, &wrong)
            .send()
            .await
            .problem(ErrorCode::InvalidField);
        refused(Who::Auditor, &body)
            .send()
            .await
            .problem(ErrorCode::Forbidden);
        refused(who, &body)
            .expecting(9)
            .send()
            .await
            .problem(ErrorCode::VersionConflict);
        let mut zone = example(&stack, Operation::UpsertTechnician).await.body;
        zone["calendar"]["time_zone"] = json!(PERSONAL[0]);
        let refused = stack.command(who, Operation::UpsertTechnician, None, &zone);
        refused.send().await.problem(ErrorCode::InvalidField);

        let words = [
            PERSONAL.as_slice(),
            &["Prinsengracht_263", "Featherstonehaugh"],
        ]
        .concat();
        let found = tables_with(&stack, &words).await;
        assert_eq!(found, [("contacts".to_owned(), 1)]);
    });
}

#[test]
fn a_calendar_shows_hours_absences_and_bookings() {
    with_api(async |stack| {
        let things = filed_things(&stack).await;
        let client = stack.client(stack.tenant(), Who::Auditor);
        let monday: NaiveDate = "2030-12-23".parse().unwrap();
        let to = Some(monday + chrono::Days::new(7));
        let shown = client.technician_calendar(things.technician, Some(monday), to);
        let shown = shown.await.unwrap();
        assert_eq!(shown.days.len(), 7);
        assert_eq!(shown.time_zone, "Europe/Amsterdam");
        let at = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
        for day in &shown.days {
            let off = matches!(day.date.weekday(), Weekday::Sat | Weekday::Sun)
                || day.date == "2030-12-25".parse().unwrap();
            assert_eq!(day.working.len(), if off { 0 } else { 2 }, "{}", day.date);
        }
        // Eight in the morning in Amsterdam in winter.
        assert_eq!(shown.days[0].working[0].start, at("2030-12-23T07:00:00Z"));
        assert_eq!(shown.days[0].working[1].end, at("2030-12-23T16:00:00Z"));

        // The seeded technician: away, and booked.
        let technician = stack.tenant().technicians[0];
        let job = Job::at(&stack, stack.tenant(), TicketState::Dispatched).await;
        let FilingExample { who, body, .. } = example(&stack, Operation::RecordAbsence).await;
        done(&stack, Operation::RecordAbsence, who, &body).await;
        let calendar = client
            .technician_calendar(technician, None, None)
            .await
            .unwrap();
        assert_eq!(calendar.days.len(), 14);
        assert_eq!(calendar.absences.len(), 1);
        let window: contracts::schedule::TimeWindow =
            serde_json::from_value(body["window"].clone()).unwrap();
        let kept = calendar.absences[0].window;
        assert_eq!(kept.start, window.start.round_subsecs(6));
        assert_eq!(kept.end, window.end.round_subsecs(6));
        let booked: Vec<_> = calendar
            .visits
            .iter()
            .map(|visit| visit.ticket_id)
            .collect();
        assert_eq!(booked, [job.id()]);
        let visit = &job.ticket().await.visits[0];
        assert_eq!(calendar.visits[0].visit_id, visit.id);
        assert_eq!(
            calendar.visits[0].ends_at,
            visit.window.map(|window| window.end.round_subsecs(6))
        );

        let cancel = json!({ "technician_id": technician, "starts_at": body["window"]["start"] });
        done(&stack, Operation::CancelAbsence, who, &cancel).await;
        let calendar = client
            .technician_calendar(technician, None, None)
            .await
            .unwrap();
        assert_eq!(calendar.absences, []);

        let path = format!("/technicians/{technician}/calendar");
        for query in [
            "from=yesterday",
            "from=2030-12-23&to=2030-12-23",
            "from=2030-01-01&to=2030-03-05",
            "day=1",
        ] {
            let ask = stack.ask(Who::Auditor, Method::GET, format!("{path}?{query}"));
            ask.send().await.no_attempt(ErrorCode::InvalidParameter);
        }
    });
}

#[test]
fn why_somebody_is_away_is_personal() {
    with_api(async |stack| {
        let FilingExample { who, mut body, .. } = example(&stack, Operation::RecordAbsence).await;
        // Refused ones are kept too.
        body["reason"] = json!("sick_of_it");
        let refused = stack.command(Who::Auditor, Operation::RecordAbsence, None, &body);
        refused.send().await.problem(ErrorCode::Forbidden);
        body["reason"] = json!("sick");
        done(&stack, Operation::RecordAbsence, who, &body).await;
        let lends = json!({
            "to": "usr_deputy", "roles": ["dispatcher"], "reason": "sick_for_long",
            "from": Utc::now() + TimeDelta::hours(1), "until": Utc::now() + TimeDelta::days(3),
        });
        done(
            &stack,
            Operation::DelegateApprovals,
            Who::Dispatcher,
            &lends,
        )
        .await;
        assert_eq!(
            tables_with(&stack, &["sick"]).await,
            [
                ("delegations".to_owned(), 1),
                ("technician_absences".to_owned(), 1)
            ]
        );
        let technician = stack.tenant().technicians[0];
        let path = format!("/technicians/{technician}/calendar");
        for (who, told) in [
            (Who::Dispatcher, true),
            (Who::AccountManager, true),
            (Who::Technician, true),
            (Who::TenantAdmin, true),
            (Who::Registry, true),
            (Who::Intake, false),
            (Who::Approver, false),
            (Who::Qa, false),
            (Who::Billing, false),
            (Who::Auditor, false),
            (Who::Workflow, false),
            (Who::Agent, false),
        ] {
            let reply = stack.ask(who, Method::GET, &path).send().await;
            assert_eq!(reply.status, 200, "{who:?}: {}", reply.text());
            let calendar: TechnicianCalendar = serde_json::from_slice(&reply.body).unwrap();
            assert_eq!(calendar.absences.len(), 1, "{who:?}");
            let reason = told.then(|| Slug::new("sick").unwrap());
            assert_eq!(calendar.absences[0].reason, reason, "{who:?}");
            assert_eq!(reply.text().contains("reason"), told, "{who:?}");
        }
    });
}

#[test]
fn what_is_not_active_takes_no_new_work_but_is_written_on() {
    with_api(async |stack| {
        let tenant = stack.tenant().clone();
        let site = json!({
            "code": "harbour_shop", "location": { "lat_e6": 1, "lon_e6": 1 }, "active": false,
        });
        let closed = done(&stack, Operation::UpsertSite, Who::Dispatcher, &site).await;
        assert_eq!((closed.applied_to_version, closed.produced_version), (1, 2));
        let job = Job::new(&stack, &tenant);
        let body = job.body(Operation::CreateTicket).await;
        let create = stack.command(Who::Dispatcher, Operation::CreateTicket, None, &body);
        let problem = create.send().await.problem(ErrorCode::InvalidField);
        assert_eq!(pointers(&problem), ["/site_id"]);
        // An asset there can still be put right.
        let asset = json!({
            "code": "harbour_pane", "site_id": tenant.site, "kind": "shopfront_pane",
            "active": false,
        });
        done(&stack, Operation::UpsertAsset, Who::Dispatcher, &asset).await;

        // Nobody sends a technician who is not active; they may still be on leave.
        let admin = stack.client(&tenant, Who::TenantAdmin);
        let record = admin.technician(tenant.technicians[0]).await.unwrap();
        let mut body = json!(record);
        body["active"] = false.into();
        for member in ["id", "version"] {
            body.as_object_mut().unwrap().remove(member);
        }
        done(&stack, Operation::UpsertTechnician, Who::TenantAdmin, &body).await;
        let start = Utc::now() + TimeDelta::days(1);
        let absence = json!({
            "technician_id": record.id, "reason": "leave",
            "window": { "start": start, "end": start + TimeDelta::days(100) },
        });
        done(&stack, Operation::RecordAbsence, Who::Dispatcher, &absence).await;
    });
}
