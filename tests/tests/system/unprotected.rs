//! Row-level security off, by `database.rls` and another login: what it means, and who says so.

use contracts::directory::DirectoryFilter;
use dispatch_tests::{
    database::{Database, PASSWORD},
    servers, shell,
    stack::{ApiOptions, Stack},
    world::Tenant,
};
use store::{
    PoolSettings, TenantTx,
    bootstrap::{address_without_rls, create_login_without_rls},
};

/// A database with the login that row-level security does not bind; it belongs to the whole server,
/// so it stays.
async fn unprotected() -> Database {
    let database = Database::create().await;
    let server = servers::postgres().await.superuser_url();
    create_login_without_rls(server, &database.name, PASSWORD)
        .await
        .unwrap();
    database
}

/// A statement that forgets its tenant sees nothing with row-level security, and everybody's rows
/// without; ours name it, which is the other lock.
#[test]
fn what_forgets_its_tenant_sees_everybodys_rows_and_our_reads_do_not_forget() {
    servers::run(async || {
        let database = unprotected().await;
        let ours = Tenant::seed(&database.admin).await;
        let theirs = Tenant::seed(&database.admin).await;
        let without = address_without_rls(&database.addresses.app).unwrap();
        for (url, forgotten) in [(&database.addresses.app, 0), (&without, 2)] {
            let pool = store::connect(url, &PoolSettings::new("tests"))
                .await
                .unwrap();
            let seen: i64 = sqlx::query_scalar("select count(*) from sites")
                .fetch_one(&pool)
                .await
                .unwrap();
            assert_eq!(seen, forgotten);
            let mut tx = TenantTx::begin_read(&pool, ours.id).await.unwrap();
            let filter = DirectoryFilter::default();
            let page = store::read::sites(&mut tx, &filter).await.unwrap();
            let sites: Vec<_> = page.items.iter().map(|site| site.id).collect();
            assert_eq!(sites, [ours.site]);
            let stranger = store::read::site(&mut tx, theirs.site).await.unwrap();
            assert!(stranger.is_none(), "{stranger:?}");
            tx.rollback().await.unwrap();
            pool.close().await;
        }
        database.remove().await;
    });
}

#[test]
fn health_says_that_it_is_off() {
    servers::run(async || {
        let options = ApiOptions {
            row_level_security: false,
            ..ApiOptions::default()
        };
        let stack = Stack::on(unprotected().await, options).await;
        let reply = stack.http().get("/health").send().await;
        let health = reply.json();
        // It serves, and is not well.
        assert_eq!(reply.status, 200, "{health}");
        assert_eq!(health["status"], "degraded", "{health}");
        let part = health["parts"]["row_level_security"].as_str().unwrap();
        assert!(part.contains("tenants are not separated"), "{health}");
        stack.end().await;
    });
}

#[test]
fn a_login_that_is_not_bound_is_refused_unless_it_was_asked_for() {
    servers::run(async || {
        let database = unprotected().await;
        let mut superuser = url::Url::parse(servers::postgres().await.superuser_url()).unwrap();
        superuser.set_path(&database.name);
        let without = address_without_rls(&database.addresses.app).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let secret = "0123456789abcdef0123456789abcdef";
        let addresses = &database.addresses;
        for (url, why) in [
            (superuser.as_str(), "is a superuser"),
            (&without, "bypasses row-level security"),
            (&addresses.owner, "owns "),
            (
                &addresses.maintenance,
                "rows of api_keys by the policy of_all_tenants",
            ),
            (&addresses.relay, "is shown every tenant's rows"),
            (&addresses.comms, "is shown every tenant's rows"),
            (&addresses.reader, "is shown every tenant's rows"),
        ] {
            let variables = [
                ("DISPATCH_DATABASE_APP_URL", url),
                (
                    "DISPATCH_DATABASE_MAINTENANCE_URL",
                    &database.addresses.maintenance,
                ),
                ("DISPATCH_AUTH_JWT_SECRET", secret),
                ("DISPATCH_AUDIT_SEAL_KEY", secret),
                ("DISPATCH_API_LISTEN", "127.0.0.1:0"),
                ("DISPATCH_API_METRICS_LISTEN", "127.0.0.1:0"),
            ];
            let ended = shell::run(folder.path(), &["api"], &variables).await;
            assert_eq!(ended.code, Some(2), "{}", ended.err);
            assert!(
                ended.err.contains("not bound by row-level security") && ended.err.contains(why),
                "{}",
                ended.err
            );
            let variables = [("DISPATCH_DATABASE_APP_URL", url)];
            let said = shell::run(folder.path(), &["doctor"], &variables).await.out;
            let told = said
                .lines()
                .any(|line| line.starts_with("FAIL  login dispatch_app ") && line.contains(why));
            assert!(told, "{said}");
        }
        let off = [
            ("DISPATCH_DATABASE_RLS", "off"),
            ("DISPATCH_SYSTEM_ENVIRONMENT", "development"),
            (
                "DISPATCH_DATABASE_MAINTENANCE_URL",
                database.addresses.maintenance.as_str(),
            ),
        ];
        let ended = shell::run(folder.path(), &["doctor"], &off).await;
        assert_eq!(ended.code, Some(1), "{}", ended.err);
        let said = ended.out;
        assert!(
            said.contains("FAIL  separation of tenants") && said.contains("`database.rls` is off"),
            "{said}"
        );
        // In production it is enough that the login is there.
        let left = shell::run(folder.path(), &["doctor"], &off[2..]).await.out;
        assert!(left.contains("drop role dispatch_app_norls"), "{left}");
        database.remove().await;
    });
}
