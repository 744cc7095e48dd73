//! The judge is judged: leaks are planted between what is tried and dispatch-api, one kind at a time.
//! Each has to be found wherever it was planted and named as what it is, and nothing else may be.
//!
//! Some are answers of the real dispatch-api to another question than the one that is looked at (with
//! a good token in the place of an expired one, say), as a server would give them that does not check;
//! the others are its answers with something in them changed, or rows that were changed beside it.
//! (Rows of one's own tenant that changed without a row in the audit are for `dispatch verify`, which
//! every test ends with: `invariants.rs` plants them.)

use std::{
    cell::{Cell, RefCell},
    collections::BTreeSet,
    slice,
};

use chrono::Utc;
use contracts::ErrorCode;
use dispatch_tests::{
    document::Described,
    http::Reply,
    stack::{Stack, with_api_options},
    who::Who,
    world::Tenant,
};
use reqwest::{
    StatusCode,
    header::{HeaderName, HeaderValue},
};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    Examined, examine, options,
    plan::{self, Breadth, Class, Trial, bearer},
    send, served,
    world::World,
};

/// What there is to plant with.
struct Scene {
    world: World,
    tenant: Tenant,
    other: Tenant,
}

impl Scene {
    fn dispatcher(&self, of: &Tenant) -> String {
        bearer(&Who::Dispatcher.claims(of, Utc::now()))
    }

    /// Whether the trial is about the other tenant's thing, and not about nobody's.
    fn is_theirs(&self, trial: &Trial) -> bool {
        let theirs = |kind| self.world.other.get(kind);
        let named = trial.of.names.as_deref().into_iter();
        let placed = trial.of.body_ids.iter().map(|(_, kind)| kind.as_str());
        let mut ids = named.chain(placed).filter_map(theirs);
        ids.any(|id| trial.sent.iter().any(|sent| sent == id))
    }
}

/// What is wrong with the server, where it is.
enum How {
    /// It answers as if this had been asked.
    As(fn(&Trial, &Scene) -> Option<Trial>),
    /// It answers so. Whether it does is told.
    So(fn(&Trial, &Scene, &mut Reply) -> bool),
    /// It does this in the other tenant, and that undoes it.
    Does(&'static str, &'static str),
}

struct Plant {
    what: &'static str,
    /// The operation.
    of: &'static str,
    classes: &'static [Class],
    how: How,
    /// What names it: each of these is found, and all that is found holds one of them.
    named: &'static [&'static str],
}

/// Everybody whose credential does not hold.
const NOBODIES: &[Class] = &[
    Class::Anonymous,
    Class::Malformed,
    Class::Expired,
    Class::Early,
    Class::WrongAudience,
    Class::WrongIssuer,
    Class::WrongKey,
    Class::Altered,
    Class::RevokedKey,
    Class::ExpiredKey,
    Class::DisabledKey,
];

const NO_RECORD: &str = "is on record, and no answer said so";
const DIFFER: &str = ": of another tenant ";

/// With a good token of a dispatcher of this tenant, and of no version in particular.
fn by(trial: &Trial, authorization: String) -> Trial {
    Trial {
        authorization: Some(authorization),
        keeps_still: false,
        ..trial.clone()
    }
}

fn by_dispatcher(trial: &Trial, scene: &Scene) -> Trial {
    by(trial, scene.dispatcher(&scene.tenant))
}

/// The answer as this problem.
fn becomes(reply: &mut Reply, code: ErrorCode) {
    let mut problem: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
    problem["code"] = code.to_string().into();
    problem["status"] = code.status().into();
    answers(reply, code.status(), &problem);
}

fn answers(reply: &mut Reply, status: u16, body: &Value) {
    reply.status = StatusCode::from_u16(status).expect("a status");
    reply.body = body.to_string().into_bytes();
}

fn says(reply: &mut Reply, name: &'static str, value: &str) {
    let value = HeaderValue::from_str(value).expect("a header");
    let name = HeaderName::from_static(name);
    reply.headers.insert(name, value);
}

fn adds(reply: &mut Reply, word: &str) -> bool {
    reply.body.extend(format!(" {word}").into_bytes());
    true
}

/// All kinds of leaks that `mod.rs` names, and what else the judge looks at.
fn plants() -> Vec<Plant> {
    use Class::{
        CursorOfAnother, Erased, KeyOfAnother, NamesTenant, NoTenant, OutOfScope, PathOfAnother,
        PlaceOfAnother, Role, Suspended,
    };
    use How::{As, Does, So};
    vec![
        Plant {
            what: "a read that looks no further than the id",
            of: "get_ticket",
            classes: &[PathOfAnother],
            how: As(|trial, scene| {
                let token = scene.dispatcher(&scene.other);
                scene.is_theirs(trial).then(|| by(trial, token))
            }),
            named: &[": an id of the other tenant: ", DIFFER],
        },
        Plant {
            what: "a row without an id of anybody's",
            of: "get_timeline",
            classes: &[PathOfAnother, CursorOfAnother, Erased],
            how: So(|_, _, reply| {
                answers(reply, 200, &json!({}));
                true
            }),
            named: &[": done or told: "],
        },
        Plant {
            what: "403 where 404 is due: it is there",
            of: "get_ticket",
            classes: &[PathOfAnother],
            how: So(|trial, scene, reply| {
                let told = scene.is_theirs(trial) && reply.status == 404;
                if told {
                    becomes(reply, ErrorCode::Forbidden);
                }
                told
            }),
            named: &[DIFFER],
        },
        Plant {
            what: "a header that only what is there has",
            of: "get_ticket",
            classes: &[PathOfAnother],
            how: So(|trial, scene, reply| {
                says(
                    reply,
                    "x-cache",
                    ["miss", "hit"][usize::from(scene.is_theirs(trial))],
                );
                scene.is_theirs(trial)
            }),
            named: &[DIFFER],
        },
        Plant {
            what: "a body in which another tenant's id is told from nobody's",
            of: "create_ticket",
            classes: &[PlaceOfAnother],
            how: So(|trial, scene, reply| {
                let told = scene.is_theirs(trial) && !reply.status.is_success();
                if told {
                    let mut problem = reply.json();
                    problem["detail"] = "It is another tenant's.".into();
                    reply.body = problem.to_string().into_bytes();
                }
                told
            }),
            named: &[DIFFER],
        },
        Plant {
            what: "a command that goes through for a wrong role",
            of: "add_note",
            classes: &[Role],
            how: As(|trial, scene| (!trial.named).then(|| by_dispatcher(trial, scene))),
            named: &[": not refused: "],
        },
        Plant {
            what: "a read that goes through for a wrong role",
            of: "list_contacts",
            classes: &[Role],
            how: As(|trial, scene| {
                let wrong = !trial.named && !trial.caller.is_software();
                wrong.then(|| by_dispatcher(trial, scene))
            }),
            named: &[": not refused: "],
        },
        Plant {
            what: "a refusal that tells too much",
            of: "list_contacts",
            classes: &[Role],
            how: So(|_, _, reply| {
                let barred = reply.status == 404;
                if barred {
                    becomes(reply, ErrorCode::Forbidden);
                }
                barred
            }),
            named: &[": 404 was to be the answer: "],
        },
        Plant {
            what: "another refusal than the documented one",
            of: "add_note",
            classes: &[Role],
            how: So(|trial, _, reply| {
                if !trial.named {
                    becomes(reply, ErrorCode::NotFound);
                }
                !trial.named
            }),
            named: &[": 403 was to be the answer: "],
        },
        Plant {
            what: "the other tenant's text in a list",
            of: "list_tickets",
            classes: &[Role],
            how: So(|_, scene, reply| adds(reply, scene.world.secret_words[0])),
            named: &[": a word of the other tenant: "],
        },
        Plant {
            what: "the other tenant's id in a header",
            of: "list_tickets",
            classes: &[Role],
            how: So(|_, scene, reply| {
                says(
                    reply,
                    "x-next",
                    scene.world.other.get("sit").expect("a site"),
                );
                true
            }),
            named: &[": an id of the other tenant: "],
        },
        Plant {
            what: "people's names to software, and to who was refused",
            of: "list_contacts",
            classes: &[Role],
            how: So(|trial, scene, reply| {
                let kept = trial.caller.is_software() || !reply.status.is_success();
                kept && adds(reply, scene.world.personal_words[0])
            }),
            named: &[": a word about people: "],
        },
        Plant {
            what: "an answer to whose credential does not hold",
            of: "get_ticket",
            classes: NOBODIES,
            how: As(|trial, scene| Some(by_dispatcher(trial, scene))),
            named: &[": more than a 401: "],
        },
        Plant {
            what: "a command of whose credential does not hold",
            of: "add_note",
            classes: NOBODIES,
            how: As(|trial, scene| Some(by_dispatcher(trial, scene))),
            named: &[": more than a 401: "],
        },
        Plant {
            what: "a 401 that does not say how",
            of: "get_ticket",
            classes: NOBODIES,
            how: So(|_, _, reply| reply.headers.remove("www-authenticate").is_some()),
            named: &[": more than a 401: "],
        },
        Plant {
            what: "a tenant that is not there, and is told from others by its refusal",
            of: "get_ticket",
            classes: &[NoTenant],
            how: So(|_, _, reply| {
                becomes(reply, ErrorCode::NotFound);
                true
            }),
            named: &[": FORBIDDEN with "],
        },
        Plant {
            what: "a header that names another tenant, and is not looked at",
            of: "get_ticket",
            classes: &[NamesTenant],
            how: As(|trial, _| {
                let names_tenant = None;
                Some(Trial {
                    names_tenant,
                    ..trial.clone()
                })
            }),
            named: &[": INVALID_PARAMETER with "],
        },
        Plant {
            what: "a key that is for something else",
            of: "list_sites",
            classes: &[OutOfScope],
            how: As(|trial, scene| Some(by_dispatcher(trial, scene))),
            named: &[": OUT_OF_SCOPE with "],
        },
        Plant {
            what: "the answer that another tenant has under this request id",
            of: "triage",
            classes: &[KeyOfAnother],
            how: So(|_, _, reply| {
                says(reply, "idempotent-replayed", "true");
                true
            }),
            named: &[": somebody else's answer: "],
        },
        Plant {
            what: "something done for a tenant that stands still",
            of: "add_note",
            classes: &[Suspended, Erased],
            how: So(|_, _, reply| {
                answers(reply, 200, &json!({}));
                true
            }),
            named: &[": done or told: "],
        },
        Plant {
            what: "a read that a suspension ends",
            of: "get_ticket",
            classes: &[Suspended],
            how: So(|trial, _, reply| {
                if trial.named {
                    answers(reply, 403, &json!({ "code": "TENANT_SUSPENDED" }));
                }
                trial.named
            }),
            named: &[": not told: "],
        },
        Plant {
            what: "a suspended tenant of which nothing seems to be there",
            of: "list_contacts",
            classes: &[Suspended],
            how: So(|trial, _, reply| {
                if trial.named {
                    answers(reply, 404, &json!({ "code": "NOT_FOUND" }));
                }
                trial.named
            }),
            named: &[": not told: "],
        },
        Plant {
            what: "a fault of the server",
            of: "list_tickets",
            classes: &[Role],
            how: So(|_, _, reply| {
                becomes(reply, ErrorCode::Internal);
                true
            }),
            named: &[": a fault of ours: "],
        },
        Plant {
            what: "a fault in a list of commands",
            of: "decide_approvals",
            classes: &[Role],
            how: So(|_, _, reply| {
                let mut body = reply.json();
                let items = body["items"].as_array_mut();
                let there = items.is_some_and(|items| {
                    let first = items.first_mut();
                    first.is_some_and(|item| {
                        item["status"] = 500.into();
                        true
                    })
                });
                reply.body = body.to_string().into_bytes();
                there
            }),
            named: &[": a fault of ours: "],
        },
        Plant {
            what: "an attempt of which the answer does not tell",
            of: "add_note",
            classes: &[Role],
            how: So(|_, _, reply| reply.headers.remove("x-command-id").is_some()),
            named: &[": not on record: ", NO_RECORD],
        },
        Plant {
            what: "an attempt that is told of and not on record",
            of: "add_note",
            classes: &[Role],
            how: So(|_, _, reply| {
                let nobodys = format!("cmd_{}", Uuid::now_v7().simple());
                says(reply, "x-command-id", &nobodys);
                true
            }),
            named: &[" is on record as None", NO_RECORD],
        },
        Plant {
            what: "a row of the other tenant that changed meanwhile",
            of: "list_tickets",
            classes: &[Role],
            how: Does(
                "update sites set lat_e6 = lat_e6 + 1 where tenant_id = $1",
                "update sites set lat_e6 = lat_e6 - 1 where tenant_id = $1",
            ),
            named: &["rows of the other tenant changed: sites"],
        },
    ]
}

/// What it is about, tried by everybody; by few, where it does not matter who it is.
fn trials(scene: &Scene, all: &[Described], plant: &Plant) -> Vec<Vec<Trial>> {
    let of = all.iter().find(|of| of.id == plant.of);
    let of = of.unwrap_or_else(|| panic!("there is no operation {}", plant.of));
    let breadth = match plant.classes[0].is_nobody() {
        true => Breadth::Few,
        false => Breadth::All,
    };
    let trials = plan::trials(&scene.world, slice::from_ref(of), breadth);
    let mut trials = trials.expect("it can be tried");
    trials.retain(|unit| plant.classes.contains(&unit[0].class));
    let tried: BTreeSet<_> = trials.iter().map(|unit| unit[0].class).collect();
    assert_eq!(
        tried,
        plant.classes.iter().copied().collect(),
        "{}",
        plant.what
    );
    trials
}

async fn do_it(stack: &Stack, scene: &Scene, sql: &'static str) {
    let done = sqlx::query(sql)
        .bind(scene.other.id.as_uuid())
        .execute(stack.admin())
        .await;
    assert_ne!(done.expect("the superuser may").rows_affected(), 0, "{sql}");
}

/// Tries it with the fault in between: what was found, and where it was planted.
async fn planted(
    stack: &Stack,
    scene: &Scene,
    plant: &Plant,
    trials: Vec<Vec<Trial>>,
) -> (Vec<String>, Vec<String>) {
    let (places, done) = (RefCell::new(Vec::new()), Cell::new(false));
    let asked = async |trial: &Trial| {
        let another = match plant.how {
            How::As(other) => other(trial, scene),
            How::So(_) | How::Does(..) => None,
        };
        let mut reply = send(stack, another.as_ref().unwrap_or(trial)).await;
        let is_here = match plant.how {
            How::As(_) => another.is_some(),
            How::So(change) => change(trial, scene, &mut reply),
            How::Does(sql, _) => {
                let first = !done.replace(true);
                if first {
                    do_it(stack, scene, sql).await;
                }
                first
            }
        };
        if is_here {
            places.borrow_mut().push(trial.to_string());
        }
        reply
    };
    let Examined { wrong, .. } = examine(stack, &scene.world, trials, &asked).await;
    if let How::Does(_, undo) = plant.how {
        do_it(stack, scene, undo).await;
    }
    (wrong, places.into_inner())
}

#[test]
fn each_leak_that_is_planted_is_found_and_named() {
    with_api_options(options(), async |stack| {
        let mut all = served(&stack).await;
        let world = World::make(&stack, &all).await;
        // Under both prefixes there is the same.
        all.retain(|of| of.path.starts_with(api::PREFIX));
        let scene = Scene {
            world,
            tenant: stack.tenant().clone(),
            other: stack.other().clone(),
        };
        for plant in &plants() {
            let what = plant.what;
            // By itself the same is found to be right. (A request id can be tried once.)
            let once = plant.classes == [Class::KeyOfAnother];
            if !once {
                let asked = async |trial: &Trial| send(&stack, trial).await;
                let trials = trials(&scene, &all, plant);
                let Examined { wrong, .. } = examine(&stack, &scene.world, trials, &asked).await;
                assert_eq!(wrong, [""; 0], "before {what}");
            }
            let tried = trials(&scene, &all, plant);
            let (wrong, places) = planted(&stack, &scene, plant, tried).await;
            println!("{what}: {} times, {} findings", places.len(), wrong.len());
            assert!(!places.is_empty(), "{what}: it was planted nowhere");
            assert!(
                wrong.len() >= places.len(),
                "{what}: found {} times of {}: {:#?}",
                wrong.len(),
                places.len(),
                wrong.first()
            );
            for name in plant.named {
                let found = wrong.iter().any(|finding| finding.contains(name));
                assert!(found, "{what}: nothing says {name:?}: {:#?}", wrong.first());
            }
            let other = wrong
                .iter()
                .find(|finding| !plant.named.iter().any(|name| finding.contains(name)));
            assert_eq!(other, None, "{what}: something else is blamed");
        }
    });
}
