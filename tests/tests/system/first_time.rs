//! An installation from nothing: an empty server, and the commands that `docs/operations.md` names.

use std::{collections::HashMap, net::SocketAddr, path::Path, process::Stdio};

use contracts::{Slug, TenantId};
use dispatch_tests::{
    database::{Database, PASSWORD},
    fleet::{free_address, program},
    http::Http,
    namespace::Namespace,
    servers,
    shell::{self, Ended},
    stack::SEALING_KEY,
    wait::{self, BOUND},
    who::{AUDIENCE, ISSUER, SECRET},
};
use serde_json::Value;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection, postgres::PgConnectOptions};
use store::{
    PoolSettings,
    tenants::{self, First},
};
use tokio::process::{Child, Command};
use url::Url;
use uuid::Uuid;

const KEY_FILE: &str = "worker.key";

/// What an operator has: a server, a name for the database, a folder, and the settings.
struct Operator {
    name: String,
    folder: tempfile::TempDir,
    variables: HashMap<&'static str, String>,
}

impl Operator {
    async fn new(namespace: &Namespace, api: SocketAddr) -> Self {
        let server = Url::parse(servers::postgres().await.superuser_url()).unwrap();
        let name = format!("test_{}", Uuid::new_v4().simple());
        let login = |login: &str| {
            let mut url = server.clone();
            url.set_username(login).unwrap();
            url.set_password(Some(PASSWORD)).unwrap();
            url.set_path(&name);
            url.to_string()
        };
        let variables = HashMap::from([
            ("DISPATCH_DATABASE_ADMIN_URL", server.to_string()),
            ("DISPATCH_DATABASE_OWNER_URL", login("dispatch_owner")),
            ("DISPATCH_DATABASE_APP_URL", login("dispatch_app")),
            ("DISPATCH_DATABASE_RELAY_URL", login("dispatch_relay")),
            ("DISPATCH_DATABASE_COMMS_URL", login("dispatch_comms")),
            (
                "DISPATCH_DATABASE_MAINTENANCE_URL",
                login("dispatch_maintenance"),
            ),
            ("DISPATCH_DATABASE_READER_URL", login("dispatch_reader")),
            ("DISPATCH_AUTH_JWT_SECRET", SECRET.to_owned()),
            ("DISPATCH_AUTH_ISSUER", ISSUER.to_owned()),
            ("DISPATCH_AUTH_AUDIENCE", AUDIENCE.to_owned()),
            ("DISPATCH_AUDIT_SEAL_KEY", SEALING_KEY.to_owned()),
            ("DISPATCH_API_LISTEN", api.to_string()),
            ("DISPATCH_API_METRICS_LISTEN", "127.0.0.1:0".to_owned()),
            ("DISPATCH_API_URL", format!("http://{api}")),
            ("TEMPORAL_ADDRESS", namespace.address().to_owned()),
            ("TEMPORAL_NAMESPACE", namespace.name().to_owned()),
        ]);
        Self {
            name,
            folder: tempfile::tempdir().unwrap(),
            variables,
        }
    }

    fn folder(&self) -> &Path {
        self.folder.path()
    }

    async fn ended(&self, arguments: &[&str]) -> Ended {
        let variables = self.variables.iter();
        let variables: Vec<_> = variables.map(|(name, value)| (*name, &**value)).collect();
        shell::run(self.folder(), arguments, &variables).await
    }

    /// What it says when all is well.
    async fn says(&self, arguments: &[&str]) -> String {
        let ended = self.ended(arguments).await;
        assert_eq!(ended.code, Some(0), "{arguments:?}: {ended:?}");
        ended.out
    }

    fn starts(&self, process: &str) -> Child {
        Command::new(program())
            .arg(process)
            .current_dir(self.folder())
            .env_clear()
            .envs(&self.variables)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap()
    }

    async fn admin(&self) -> PgConnection {
        let server: PgConnectOptions = self.variables["DISPATCH_DATABASE_ADMIN_URL"]
            .parse()
            .unwrap();
        server.database(&self.name).connect().await.unwrap()
    }

    /// All tenants: what each is but its name, id and when it was made.
    async fn tenants(&self) -> Vec<(String, Value)> {
        let mut admin = self.admin().await;
        let rows = sqlx::query_as(
            "select slug, to_jsonb(t) - array['slug', 'tenant_id', 'since', 'created_at', 'command_id']
               from tenants t order by slug",
        );
        let rows = rows.fetch_all(&mut admin).await.unwrap();
        admin.close().await.unwrap();
        rows
    }

    async fn removes_it(self) {
        let server: PgConnectOptions = self.variables["DISPATCH_DATABASE_ADMIN_URL"]
            .parse()
            .unwrap();
        let mut server = server.connect().await.unwrap();
        let sql = format!("drop database \"{}\" with (force)", self.name);
        sqlx::raw_sql(AssertSqlSafe(sql))
            .execute(&mut server)
            .await
            .unwrap();
        server.close().await.unwrap();
    }
}

/// The id that a command told of.
fn told(text: &str) -> TenantId {
    let id = text
        .split_whitespace()
        .find(|word| word.starts_with("ten_"));
    id.unwrap_or_else(|| panic!("{text}")).parse().unwrap()
}

#[test]
fn an_empty_server_comes_to_its_first_tenants_by_what_is_documented() {
    servers::run(async || {
        let namespace = Namespace::create().await;
        let api_at = free_address();
        let mut operator = Operator::new(&namespace, api_at).await;
        let first = ["migrate", "--bootstrap", "--platform-tenant", "our_company"];
        let ended = operator
            .ended(&[&first[..3], &["Our Company"]].concat())
            .await;
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(ended.err.contains("begin with a letter"), "{ended:?}");
        // Without it nobody can do anything, and that is said.
        let none = operator.says(&first[..2]).await;
        assert!(none.contains("no tenant yet"), "{none}");
        assert_eq!(operator.tenants().await, []);

        let made = operator.says(&first).await;
        assert!(made.contains("tenant our_company is made: "), "{made}");
        assert!(!made.contains("no tenant yet"), "{made}");
        let platform = told(&made);
        let there = operator
            .says(&["migrate", "--platform-tenant", "our_company"])
            .await;
        assert!(
            there.contains("tenant our_company is there already: ") && told(&there) == platform,
            "{there}"
        );
        let before = operator.tenants().await;
        let other = ["migrate", "--platform-tenant", "another"];
        let ended = operator.ended(&other).await;
        assert_eq!(ended.code, Some(1), "{ended:?}");
        let names = format!("our_company ({platform})");
        assert!(ended.err.contains(&names), "{ended:?}");
        assert_eq!(operator.tenants().await, before);

        let mut api = operator.starts("api");
        let http = Http::new(format!("http://{api_at}"));
        wait::until("dispatch-api's start", BOUND, async || {
            match http.get("/health/ready").try_send().await {
                Ok(reply) if reply.status == 200 => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
        let token = [
            "token",
            "--role",
            "platform_admin",
            "--tenant",
            &platform.to_string(),
        ];
        let token = operator.says(&token).await.trim().to_owned();
        operator.variables.insert("DISPATCH_API_TOKEN", token);
        operator.says(&["tenant", "create", "canal_glass"]).await;
        // The one is as any other.
        let rows = operator.tenants().await;
        let slugs: Vec<_> = rows.iter().map(|(slug, _)| &**slug).collect();
        assert_eq!(slugs, ["canal_glass", "our_company"]);
        assert_eq!(rows[0].1, rows[1].1);
        let list = operator.says(&["tenant", "list"]).await;
        assert!(slugs.iter().all(|slug| list.contains(slug)), "{list}");

        let account = [
            "service-account",
            "create",
            "worker",
            "--kind",
            "workflow",
            "--any-tenant",
        ];
        operator.says(&account).await;
        let key = [
            "api-key",
            "create",
            "worker",
            "--expires",
            "365d",
            "--out",
            KEY_FILE,
        ];
        operator.says(&key).await;
        let file = operator.folder().join(KEY_FILE);
        let file = file.to_str().unwrap().to_owned();
        operator
            .variables
            .insert("DISPATCH_WORKER_API_KEY_FILE", file);
        // Neither relay nor worker runs, so it is not all that is well.
        let doctor = operator.ended(&["doctor", "--json"]).await;
        let doctor: Value = serde_json::from_str(&doctor.out).unwrap();
        let checks = doctor["checks"].as_array().unwrap();
        let of_key = checks.iter().find(|it| it["part"] == "key of the worker");
        assert_eq!(of_key.map(|it| &it["ok"]), Some(&true.into()), "{doctor}");
        operator.says(&["verify", "--without-relay"]).await;

        api.kill().await.unwrap();
        operator.removes_it().await;
    });
}

#[test]
fn of_two_first_tenants_at_once_there_is_one() {
    servers::run(async || {
        let database = Database::create().await;
        let settings = PoolSettings::new("tests");
        let owner = store::connect(&database.addresses.owner, &settings);
        let owner = owner.await.unwrap();
        let make = async |slug: &str| {
            let id = TenantId::from_uuid(Uuid::now_v7());
            let slug = Slug::new(slug).unwrap();
            (id, tenants::first(&owner, id, &slug).await.unwrap())
        };
        let (one, other) = tokio::join!(make("one"), make("other"));
        let (made, refused) = match &one.1 {
            First::Made => (one.0, other.1),
            _ => (other.0, one.1),
        };
        let First::Others(there) = refused else {
            panic!("{refused:?}");
        };
        assert_eq!(there.len(), 1);
        assert_eq!(there[0].tenant_id, made);
        let again = make(there[0].slug.as_str()).await.1;
        assert_eq!(again, First::There(there[0].clone()));
        owner.close().await;
        database.remove().await;
    });
}
