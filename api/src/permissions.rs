//! `docs/permissions.md`: who may do what and which route needs which permission, for people to
//! review. It is made from the list of endpoints and the starter bundle, so it cannot leave one out.

use std::{collections::BTreeSet, fmt::Write};

use contracts::{ActorKind, ApiPermission, Operation, ReadPermission, Role};
use policy::{Bundle, Held, is_barred};
use strum::VariantArray;

use crate::endpoint::{Endpoint, endpoints};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/permissions.md");

const INTRODUCTION: &str = "\
# Permissions

What each route of the API needs of its caller, and who has it under the starter bundle. Made of the
list of routes and the two tables of the bundle, `policy/bundle/reads/data.json` and
`policy/bundle/roles/data.json`, by `UPDATE_EXPECT=1 cargo test -p dispatch-api permissions`; a test
fails when this page says something else, or leaves a route or a command out.

- **●** has the permission; an empty cell has not.
- People have it by a role; *no role* is somebody who has none. An integration (another system), an
  agent and a workflow are software. **●** there: each of that kind, without a role; **role**: with one
  of the roles that people need; **never**: no bundle can give it, and one that tries is refused.
- A permission is where it begins. The rules look at the request besides: a technician acts on their own
  visits, nobody decides what they asked for ([the starter policy](starter-policy.md)). A right to decide
  approvals can be lent ([approvals](approvals.md)).
- Whoever lacks a permission is answered 403 [`FORBIDDEN`](errors/FORBIDDEN.md), and `meta.permission`
  names it. What is another tenant's, and what software can never read, is 404
  [`NOT_FOUND`](errors/NOT_FOUND.md).
- To change who may do what, change the tables of your bundle
  ([policy authoring](policy-authoring.md#who-may-do-what)).
";

const SOFTWARE: &str = "\
## Software

What agents and workflows may do, and what bounds it whatever their permissions are. **by stage**: refused
below APPROVE, held for people at APPROVE, at CANARY done by itself on a share of the tickets and held on
the others, done by itself at AUTO ([autonomy](autonomy.md)). **always**: it keeps the books or carries
out what people decided. Under an engaged [kill switch](kill-switch.md) it **stops** or **goes on** (the
workflow's books only). Everything else is refused to agents and workflows.

| permission | agent | workflow | stage | kill switch |
|---|---|---|---|---|
";

/// What commands are about, by the first part of their path.
fn area(path: &str) -> &'static str {
    match path.trim_start_matches('/').split('/').next() {
        Some("tickets") => "Jobs",
        Some("approvals" | "delegations") => "Approvals",
        Some("comms") => "Messages",
        Some("sites" | "assets" | "contacts" | "technicians" | "absences") => "Directory",
        Some("kill-switch" | "rollout") => "How far software may go",
        Some("policy") => "Policy",
        Some("tenants") => "Tenants",
        Some("service-accounts" | "api-keys") => "Software that calls",
        _ => panic!("say here under which heading the command at {path} belongs"),
    }
}

/// The roles of people, and none.
fn people() -> impl Iterator<Item = (String, BTreeSet<Role>)> {
    let roles = Role::VARIANTS
        .iter()
        .map(|role| (role.to_string(), [*role].into()));
    roles.chain([("no role".to_owned(), BTreeSet::new())])
}

const SYSTEMS: [ActorKind; 3] = [
    ActorKind::Integration,
    ActorKind::Agent,
    ActorKind::Workflow,
];

fn never(permission: ApiPermission, kind: ActorKind) -> bool {
    match permission {
        ApiPermission::Command(operation) => is_barred(operation, kind),
        ApiPermission::Read(read) => read.is_barred(kind),
    }
}

/// What stands in the column of a kind of software.
fn system(bundle: &Bundle, permission: ApiPermission, kind: ActorKind) -> String {
    let holders = bundle.holders(permission);
    match holders.of(kind) {
        _ if never(permission, kind) => "never".to_owned(),
        None => String::new(),
        Some(Held::Anybody) => "●".to_owned(),
        same if same == holders.of(ActorKind::Person) => "role".to_owned(),
        Some(Held::Roles(roles)) => {
            let roles: Vec<_> = roles.iter().map(ToString::to_string).collect();
            roles.join(", ")
        }
    }
}

fn head(page: &mut String, area: &str) {
    write!(page, "\n### {area}\n\n| permission | what one may do |").unwrap();
    let columns: Vec<_> = people().map(|(name, _)| name).collect();
    let columns = columns
        .into_iter()
        .chain(SYSTEMS.map(|kind| kind.to_string()));
    let mut rule = String::from("|---|---|");
    for name in columns {
        write!(page, " {} |", name.replace('_', " ")).unwrap();
        rule.push_str(":-:|");
    }
    writeln!(page, "\n{rule}").unwrap();
}

fn row(page: &mut String, bundle: &Bundle, permission: ApiPermission, sentence: &str) {
    write!(page, "| `{permission}` | {sentence} |").unwrap();
    let holders = bundle.holders(permission);
    for (_, roles) in people() {
        let has = holders.include(ActorKind::Person, &roles);
        write!(page, " {} |", if has { "●" } else { "" }).unwrap();
    }
    for kind in SYSTEMS {
        write!(page, " {} |", system(bundle, permission, kind)).unwrap();
    }
    page.push('\n');
}

/// The operations of which this is the only or the first place, in the order of the list.
fn commands(endpoints: &[Endpoint]) -> Vec<(Operation, &Endpoint)> {
    let mut seen = BTreeSet::new();
    let places = endpoints
        .iter()
        .filter_map(|endpoint| Some((endpoint.command?, endpoint)));
    places
        .filter(|(operation, _)| seen.insert(*operation))
        .collect()
}

fn render() -> String {
    let (bundle, endpoints) = (Bundle::starter().unwrap(), endpoints());
    let mut page = INTRODUCTION.to_owned();
    page.push_str("\n## Reading\n");
    head(&mut page, "What is on record");
    for read in ReadPermission::VARIANTS {
        row(
            &mut page,
            &bundle,
            ApiPermission::Read(*read),
            read.sentence(),
        );
    }
    page.push_str("\n## Commands\n");
    let commands = commands(&endpoints);
    let mut areas = Vec::new();
    for (operation, _) in &commands {
        let area = area(operation.path());
        if !areas.contains(&area) {
            areas.push(area);
        }
    }
    for of in areas {
        head(&mut page, of);
        for (operation, endpoint) in &commands {
            if area(operation.path()) == of {
                let sentence = format!("{}.", endpoint.summary);
                row(
                    &mut page,
                    &bundle,
                    ApiPermission::Command(*operation),
                    &sentence,
                );
            }
        }
    }
    software(&mut page, &bundle, &commands);
    routes(&mut page, &endpoints);
    page
}

fn software(page: &mut String, bundle: &Bundle, commands: &[(Operation, &Endpoint)]) {
    write!(page, "\n{SOFTWARE}").unwrap();
    let rules = bundle.autonomy();
    for (operation, _) in commands {
        let permission = ApiPermission::Command(*operation);
        let acts = ActorKind::VARIANTS
            .iter()
            .filter(|kind| kind.is_autonomous());
        if acts
            .clone()
            .all(|kind| bundle.holders(permission).of(*kind).is_none())
        {
            continue;
        }
        let stage = match rules.bookkeeping.contains(operation) {
            true => "always",
            false => "by stage",
        };
        let switch = match rules.through_kill_switch.contains(operation) {
            true => "goes on",
            false => "stops",
        };
        let [agent, workflow] =
            [ActorKind::Agent, ActorKind::Workflow].map(|kind| system(bundle, permission, kind));
        writeln!(
            page,
            "| `{permission}` | {agent} | {workflow} | {stage} | {switch} |"
        )
        .unwrap();
    }
}

fn routes(page: &mut String, endpoints: &[Endpoint]) {
    page.push_str(
        "\n## Routes\n\nBelow `/api/v1` and `/api`. A route without a permission asks for no token.\n\n\
         | route | permission |\n|---|---|\n",
    );
    for endpoint in endpoints {
        let needed = endpoint
            .permission
            .map(|permission| format!("`{permission}`"));
        let needed = needed.unwrap_or_else(|| "none".to_owned());
        writeln!(
            page,
            "| `{} {}` | {needed} |",
            endpoint.method,
            endpoint.below()
        )
        .unwrap();
    }
}

#[test]
fn the_committed_page_is_what_routes_and_bundle_say() {
    let page = render();
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(FILE, &page).unwrap();
    }
    let committed = std::fs::read_to_string(FILE).unwrap_or_default();
    assert!(
        committed == page,
        "docs/permissions.md is not what routes and bundle say; run `UPDATE_EXPECT=1 cargo test -p \
         dispatch-api permissions` and review the difference"
    );
}

#[test]
fn every_route_needs_a_permission_or_no_token() {
    let mut unused: BTreeSet<ApiPermission> = Operation::VARIANTS
        .iter()
        .map(|operation| ApiPermission::Command(*operation))
        .chain(
            ReadPermission::VARIANTS
                .iter()
                .map(|read| ApiPermission::Read(*read)),
        )
        .collect();
    for endpoint in endpoints() {
        let (method, path) = (&endpoint.method, &endpoint.path);
        assert_eq!(
            endpoint.permission.is_none(),
            endpoint.is_public(),
            "{method} {path}: say with `.needs(…)` what its callers need, or list it as public"
        );
        let Some(permission) = endpoint.permission else {
            continue;
        };
        if let Some(command) = endpoint.command {
            assert_eq!(
                permission,
                ApiPermission::Command(command),
                "{method} {path}"
            );
        }
        let is_read = matches!(permission, ApiPermission::Read(_));
        assert_eq!(is_read, method == http::Method::GET, "{method} {path}");
        unused.remove(&permission);
    }
    assert!(unused.is_empty(), "no route needs these: {unused:?}");
}
