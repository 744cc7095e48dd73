//! Who may do what in the database: as the committed page says, and nothing that must never be.

use dispatch_tests::{database::Database, servers};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use store::verify::rights;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/database-rights.md");

#[test]
fn the_page_of_rights_says_what_is() {
    servers::run(async || {
        let database = Database::create().await;
        let page = store::rights::page(&database.maintenance).await.unwrap();
        if std::env::var_os("UPDATE_RIGHTS").is_some() {
            std::fs::write(PAGE, &page).unwrap();
        }
        let committed = std::fs::read_to_string(PAGE).unwrap_or_default();
        assert!(
            page == committed,
            "docs/database-rights.md is stale: UPDATE_RIGHTS=1 cargo test -p dispatch-tests --test \
             system -- catalogue"
        );
        database.remove().await;
    });
}

/// What somebody might do to the database, and what the checker says of it.
const PLANTS: &[(&str, &str, &str)] = &[
    (
        "create table planted (tenant_id uuid not null); grant select on planted to dispatch_app",
        "planted",
        "without forced row-level security",
    ),
    (
        "create schema side; create table side.copy as select tenant_id from tickets",
        "side.copy",
        "without forced row-level security",
    ),
    (
        "alter table notes no force row level security",
        "notes",
        "without forced row-level security",
    ),
    (
        "alter table notes disable row level security",
        "notes",
        "without forced row-level security",
    ),
    (
        "create table planted (id uuid not null); grant select on planted to dispatch_app",
        "planted",
        "none of the installation's own",
    ),
    (
        "create table planted (tenant_id uuid not null); select protect_tenant_rows('planted');
         drop policy of_one_tenant on planted",
        "planted",
        "no policy shows the application login",
    ),
    (
        // Read is bounded, written is not.
        "drop policy of_one_tenant on notes;
         create policy of_one_tenant on notes to dispatch_app, dispatch_owner
             using (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid)
             with check (true)",
        "notes",
        "no policy shows the application login",
    ),
    (
        // Names the setting, and lets everything through where there is none.
        "create policy wide on notes to dispatch_app
             using (coalesce(current_setting('app.tenant_id', true), '') = '')",
        "notes.wide",
        "other rows than those of one tenant",
    ),
    (
        "create policy wide on notes for select to public using (true)",
        "notes.wide",
        "other rows than those of one tenant",
    ),
    (
        "create policy wide on notes for update to dispatch_relay using (true) with check (true)",
        "notes.wide",
        "write where it has nothing to write",
    ),
    (
        "create policy wide on outbox_events for update to dispatch_relay using (true)",
        "outbox_events.wide",
        "write where it has nothing to write",
    ),
    (
        "create view peek as select * from tickets; grant select on peek to dispatch_app",
        "peek",
        "its owner's rights",
    ),
    (
        "create materialized view peek as select tenant_id from tickets;
         grant select on peek to dispatch_app",
        "peek",
        "row-level security cannot protect",
    ),
    (
        "create function peek() returns bigint language sql security definer as 'select 1::bigint';
         revoke execute on function peek from public",
        "peek()",
        "never reviewed",
    ),
    (
        "create function open() returns bigint language sql as 'select 1::bigint';
         grant execute on function open to public",
        "open()",
        "everybody may execute",
    ),
    (
        "alter role dispatch_app bypassrls",
        "dispatch_app",
        "bypasses row-level security",
    ),
    (
        "alter role dispatch_relay superuser",
        "dispatch_relay",
        "is a superuser",
    ),
    (
        "alter role dispatch_owner bypassrls",
        "dispatch_owner",
        "bypasses row-level security",
    ),
    (
        "grant dispatch_maintenance to dispatch_app",
        "dispatch_app",
        "belongs to another role",
    ),
    (
        "alter table notes owner to dispatch_comms",
        "dispatch_comms",
        "owns something",
    ),
    (
        "grant create on schema public to dispatch_comms",
        "dispatch_comms in public",
        "may define things",
    ),
    (
        "create role snoop login bypassrls; grant select on tickets to snoop",
        "snoop",
        "past row-level security",
    ),
    (
        "alter role dispatch_app set app.tenant_id = 'x'",
        "dispatch_app",
        "a tenant is set for sessions",
    ),
    (
        "grant update on relay_leases to dispatch_app",
        "relay_leases update",
        "the installation's own",
    ),
    (
        "grant update (text) on approval_comments to dispatch_app",
        "approval_comments by dispatch_app",
        "append-only",
    ),
];

#[test]
fn whatever_takes_protection_away_is_found() {
    servers::run(async || {
        let database = Database::create().await;
        let mut admin = database.admin.acquire().await.unwrap();
        assert_eq!(rights(&mut admin).await.unwrap(), []);
        for (plant, place, what) in PLANTS {
            // Roles belong to the whole server: seen in here, and never by anybody else.
            let mut tx = PgConnection::begin(&mut admin).await.unwrap();
            sqlx::raw_sql(AssertSqlSafe(*plant))
                .execute(&mut *tx)
                .await
                .unwrap_or_else(|error| panic!("{plant}: {error}"));
            let found = rights(&mut tx).await.unwrap();
            tx.rollback().await.unwrap();
            assert!(
                found
                    .iter()
                    .any(|violation| violation.place == *place && violation.what.contains(what)),
                "{plant}: {found:#?}"
            );
        }
        assert_eq!(rights(&mut admin).await.unwrap(), []);
        drop(admin);
        database.remove().await;
    });
}
