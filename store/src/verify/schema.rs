//! What the database itself has to enforce: rights, triggers, row-level security.

use sqlx::PgConnection;

use super::{Findings, Invariant};
use crate::Error;

const CHECKS: &[(Invariant, &str, &str)] = &[
    (
        Invariant::I9,
        "a login of the program may change or remove what is append-only",
        "select t || ' by ' || r
         from unnest(array['audit_events', 'policy_decisions', 'audit_checkpoints', 'policy_bundles',
                          'bundle_activations', 'held_commands', 'approval_comments', 'reports']) t,
              unnest(array['dispatch_app', 'dispatch_relay', 'dispatch_comms', 'dispatch_maintenance',
                          'dispatch_reader']) r
         where has_table_privilege(r, t, 'update, delete, truncate')
            or has_any_column_privilege(r, t, 'update')",
    ),
    (
        Invariant::I9,
        "the trigger that keeps the table append-only is missing or disabled",
        "select t from unnest(array['audit_events', 'policy_decisions', 'audit_checkpoints',
                                     'policy_bundles', 'bundle_activations']) t
         where not exists (select from pg_trigger g
             where g.tgrelid = t::regclass and g.tgname = 'append_only' and g.tgenabled in ('O', 'A'))",
    ),
    (
        Invariant::I10,
        "a table of tenants' rows without forced row-level security",
        "select c.relname::text from pg_class c
         join pg_attribute a on a.attrelid = c.oid and a.attname = 'tenant_id' and not a.attisdropped
         where c.relkind in ('r', 'p') and c.relnamespace = 'public'::regnamespace
           and not (c.relrowsecurity and c.relforcerowsecurity)",
    ),
    (
        // Whatever a tenant's command writes is a tenant's row, but for what all share.
        Invariant::I10,
        "a table of nobody's rows that is none of the installation's own",
        "select c.relname::text from pg_class c
         where c.relkind in ('r', 'p') and c.relnamespace = 'public'::regnamespace
           and not exists (select from pg_attribute a where a.attrelid = c.oid
                              and a.attname = 'tenant_id' and not a.attisdropped)
           and c.relname not in ('deployment', 'relays', 'relay_leases', 'audit_sealer',
               'policy_bundles', 'bundle_activations', 'kill_switch_of_everything',
               'control_events', '_sqlx_migrations')",
    ),
    (
        Invariant::I10,
        "the checker may read what people wrote",
        "select t || '.' || c from (values ('held_commands', 'command'), ('approval_comments', 'text'))
             as of (t, c)
         where has_column_privilege('dispatch_maintenance', t, c, 'select')",
    ),
    (
        Invariant::I10,
        "the application login may see all tenants' rows of a table",
        "select tablename::text from pg_policies
         where schemaname = 'public' and ('dispatch_app' = any(roles) or 'public' = any(roles))
           and (qual is not null and qual not like '%app.tenant_id%'
             or with_check is not null and with_check not like '%app.tenant_id%')",
    ),
    (
        Invariant::I10,
        "a login of the program is a superuser, bypasses row-level security or owns the schema",
        "select r.rolname::text from pg_roles r
         where r.rolname in ('dispatch_app', 'dispatch_relay', 'dispatch_comms', 'dispatch_maintenance',
                             'dispatch_reader')
           and (r.rolsuper or r.rolbypassrls or r.rolcreaterole
             or exists (select from pg_class c where c.relowner = r.oid)
             or pg_has_role(r.oid, 'dispatch_owner', 'usage'))",
    ),
    (
        Invariant::I5,
        "the login that only reads may write",
        "select c.relname::text from pg_class c
         where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p', 'v', 'm')
           and (has_table_privilege('dispatch_reader', c.oid, 'insert, update, delete, truncate')
             or has_any_column_privilege('dispatch_reader', c.oid, 'insert, update'))
         union all
         select p.oid::regprocedure::text from pg_proc p
         where p.pronamespace = 'public'::regnamespace
           and has_function_privilege('dispatch_reader', p.oid, 'execute')",
    ),
    (
        // `dispatch migrate --bootstrap` takes the right away.
        Invariant::I5,
        "the login that only reads may hold locks that others wait for",
        "select p.oid::regprocedure::text from pg_proc p
         where p.pronamespace = 'pg_catalog'::regnamespace and p.proname like 'pg\\_%advisory\\_%'
           and has_function_privilege('dispatch_reader', p.oid, 'execute')",
    ),
];

pub(super) async fn check(tx: &mut PgConnection, found: &mut Findings) -> Result<(), Error> {
    for (invariant, what, sql) in CHECKS {
        let places: Vec<String> = sqlx::query_scalar(*sql).fetch_all(&mut *tx).await?;
        for place in places {
            found.add(*invariant, place, *what);
        }
    }
    Ok(())
}
