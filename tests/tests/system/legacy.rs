//! Rows of the old system, which knew no tenants, come into the default tenant: by commands, once,
//! and what is left is told.

use std::path::{Path, PathBuf};

use contracts::TenantId;
use dispatch_tests::{
    shell::{self, Ended},
    stack::{Stack, with_api},
    who::{AUDIENCE, ISSUER, SECRET},
};
use serde_json::{Value, json};

const DUMP: &str = include_str!("../../legacy/old_system.sql");

/// A folder with the dump, and the program with the settings of whoever runs the installation.
struct Office {
    folder: tempfile::TempDir,
    api: String,
    maintenance: String,
}

impl Office {
    fn new(stack: &Stack) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("old.sql"), DUMP).unwrap();
        Self {
            folder,
            api: format!("http://{}", stack.address()),
            maintenance: stack.database().addresses.maintenance.clone(),
        }
    }

    async fn run(&self, arguments: &[&str]) -> Ended {
        let variables = [
            ("DISPATCH_API_URL", self.api.as_str()),
            ("DISPATCH_AUTH_JWT_SECRET", SECRET),
            ("DISPATCH_AUTH_ISSUER", ISSUER),
            ("DISPATCH_AUTH_AUDIENCE", AUDIENCE),
            (
                "DISPATCH_DATABASE_MAINTENANCE_URL",
                self.maintenance.as_str(),
            ),
        ];
        let all = [&["import", "legacy", "old.sql"], arguments].concat();
        shell::run(self.folder.path(), &all, &variables).await
    }

    /// The report; some rows always fail.
    async fn report(&self, arguments: &[&str]) -> Value {
        let ended = self.run(&[arguments, &["--json"]].concat()).await;
        assert_eq!(ended.code, Some(1), "{}{}", ended.out, ended.err);
        serde_json::from_str(&ended.out).unwrap_or_else(|e| panic!("{e}: {}", ended.out))
    }

    fn lines(&self) -> Vec<Value> {
        let file: PathBuf = self.folder.path().join("old.sql.report.jsonl");
        let text = std::fs::read_to_string(Path::new(&file)).unwrap();
        let lines = text.lines();
        lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

/// Gives the other tenant the name that rows without one go to.
async fn make_default(stack: &Stack) -> TenantId {
    let tenant = stack.other().id;
    sqlx::query("update tenants set slug = 'default' where tenant_id = $1")
        .bind(tenant.as_uuid())
        .execute(stack.admin())
        .await
        .unwrap();
    tenant
}

/// Everything of every tenant, but what looking at it adds.
async fn state(stack: &Stack) -> Vec<(String, String, i64)> {
    sqlx::query_as(
        "select tenant_id::text, what, count(*) from (
             select tenant_id, 'site ' || code || ' ' || version as what from sites
             union all select tenant_id, 'contact ' || code || ' ' || version from contacts
             union all select tenant_id, 'asset ' || code || ' ' || version from assets
             union all select tenant_id, 'technician ' || code || ' ' || version from technicians
             union all select tenant_id, 'ticket ' || state || ' ' || version from tickets
             union all select tenant_id, 'note' from notes) all_of_it
         group by 1, 2 order by 1, 2",
    )
    .fetch_all(stack.admin())
    .await
    .unwrap()
}

fn counts(report: &Value, table: &str) -> [u64; 5] {
    let account = &report["tables"][table];
    ["rows", "new", "changed", "unchanged", "failed"].map(|key| {
        let count = account[key].as_u64();
        count.unwrap_or_else(|| panic!("no {key} of {table}: {report}"))
    })
}

#[test]
fn rows_without_a_tenant_come_into_the_default_tenant_once() {
    with_api(async |stack| {
        let office = Office::new(&stack);
        // Nobody guesses whose they are.
        let ended = office.run(&[]).await;
        assert_eq!(ended.code, Some(2), "{}", ended.err);
        assert!(ended.err.contains("no tenant `default`"), "{}", ended.err);

        let tenant = make_default(&stack).await;
        let before = state(&stack).await;
        let dry = office.report(&["--dry-run"]).await;
        assert_eq!(dry["dry_run"], true);
        assert_eq!(state(&stack).await, before, "a dry run changes nothing");

        let first = office.report(&[]).await;
        // A dry run says what a run does.
        for table in ["sites", "contacts", "assets", "technicians", "tickets"] {
            assert_eq!(counts(&dry, table), counts(&first, table), "{table}");
        }
        assert_eq!(counts(&first, "sites"), [3, 2, 0, 0, 1], "{first}");
        assert_eq!(counts(&first, "contacts"), [3, 2, 0, 0, 1], "{first}");
        assert_eq!(counts(&first, "assets"), [3, 2, 0, 0, 1], "{first}");
        assert_eq!(counts(&first, "technicians"), [2, 1, 0, 0, 1], "{first}");
        assert_eq!(counts(&first, "tickets"), [8, 3, 0, 0, 2], "{first}");
        let skipped = &first["tables"]["tickets"]["skipped"];
        assert_eq!(skipped["has ended: its record stays in the old system"], 2);
        assert_eq!(skipped["has a tenant already"], 1);
        assert_eq!(first["tables_left"], json!({ "audit_events": 3 }));
        assert_eq!(
            first["tables"]["sites"]["columns_left"],
            json!(["name", "created_at"])
        );
        // Each row that was left or failed is named, and nothing of what it says about people.
        let lines = office.lines();
        let of = |table: &str, id: &str| {
            let line = lines
                .iter()
                .find(|line| line["table"] == table && line["id"] == id);
            line.unwrap_or_else(|| panic!("{table} {id} is not told"))
                .clone()
        };
        assert_eq!(lines.len(), 9, "{lines:?}");
        assert!(
            of("sites", "3")["detail"]
                .as_str()
                .unwrap()
                .contains("`lat`")
        );
        assert!(
            of("assets", "13")["detail"]
                .as_str()
                .unwrap()
                .contains("`legacy_99`")
        );
        assert!(
            of("technicians", "32")["detail"]
                .as_str()
                .unwrap()
                .contains("`hours`")
        );
        assert!(
            of("tickets", "107")["detail"]
                .as_str()
                .unwrap()
                .contains("`LOST`")
        );
        assert_eq!(of("tickets", "104")["outcome"], "skipped");
        assert!(!format!("{lines:?}").contains("Tab"), "{lines:?}");

        // All of it is the default tenant's, with an audit row for each, and nothing anybody else's.
        let after = state(&stack).await;
        let new: Vec<_> = after.iter().filter(|row| !before.contains(row)).collect();
        assert!(
            new.iter()
                .all(|(of, ..)| *of == tenant.as_uuid().to_string()),
            "{new:?}"
        );
        let created: i64 = sqlx::query_scalar(
            "select count(*) from audit_events
             where tenant_id = $1 and operation = 'create_ticket' and refused is null",
        )
        .bind(tenant.as_uuid())
        .fetch_one(stack.admin())
        .await
        .unwrap();
        assert_eq!(created, 3);

        // Twice is once.
        let second = office.report(&[]).await;
        assert_eq!(state(&stack).await, after);
        assert_eq!(counts(&second, "sites"), [3, 0, 0, 2, 1], "{second}");
        assert_eq!(counts(&second, "tickets"), [8, 3, 0, 0, 2], "{second}");
    });
}

#[test]
fn a_file_that_is_no_dump_says_how_to_make_one() {
    with_api(async |stack| {
        let office = Office::new(&stack);
        make_default(&stack).await;
        std::fs::write(
            office.folder.path().join("old.sql"),
            "INSERT INTO sites VALUES (1);\n",
        )
        .unwrap();
        let ended = office.run(&[]).await;
        assert_eq!(ended.code, Some(2), "{}", ended.err);
        assert!(ended.err.contains("pg_dump --data-only"), "{}", ended.err);
    });
}
