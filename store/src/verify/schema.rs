//! What the database itself has to enforce: rights, triggers, row-level security.

use sqlx::{AssertSqlSafe, PgConnection};

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
        "select t.place from tenant_tables t where t.protectable and not t.forced",
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
        "no policy shows the application login its own tenant's rows and lets it write those alone",
        // Compared without brackets and casts, which servers print as they like.
        "select t.place from tenant_tables t
         where t.protectable and not exists (select from rules p
             where p.relation = t.oid and 'dispatch_app' = any(p.logins) and p.command = 'ALL'
               and p.permissive and p.read = own_rows and p.written = own_rows)",
    ),
    (
        Invariant::I10,
        "a policy shows the application login, the owner or everybody other rows than those of one tenant",
        "select t.place || '.' || p.name from tenant_tables t join rules p on p.relation = t.oid
         where p.logins && array['dispatch_app', 'dispatch_owner', 'public']
           and (p.read is distinct from own_rows or p.written is distinct from own_rows)
           -- Each read by one function alone: for whoever runs the installation, and to find who calls.
           and not ((t.place, p.name) in (('tenants', 'of_all_tenants_for_lists'),
                       ('service_accounts', 'of_all_tenants_for_callers'),
                       ('api_keys', 'of_all_tenants_for_callers'))
                    and p.command = 'SELECT' and p.logins = array['dispatch_owner'])",
    ),
    (
        Invariant::I10,
        "a policy lets a login that serves all tenants write where it has nothing to write",
        "select t.place || '.' || p.name from tenant_tables t join rules p on p.relation = t.oid
         where p.command <> 'SELECT' and not p.logins <@ array['dispatch_app', 'dispatch_owner', 'public']
           and not exists (select from (values
                 ('outbox_events', 'UPDATE', 'dispatch_relay'),
                 ('comms_queue', 'UPDATE', 'dispatch_comms'),
                 ('comms_attempts', 'INSERT', 'dispatch_comms'),
                 ('comms_attempts', 'UPDATE', 'dispatch_comms'),
                 ('audit_checkpoints', 'INSERT', 'dispatch_maintenance'),
                 ('audit_sealed_heads', 'INSERT', 'dispatch_maintenance'),
                 ('audit_sealed_heads', 'UPDATE', 'dispatch_maintenance'))
               as may (place, command, login)
             where may.place = t.place and may.command = p.command and p.logins = array[may.login]
               and p.written is not null)",
    ),
    (
        // Row-level security is for tables alone.
        Invariant::I10,
        "rows of tenants in what row-level security cannot protect, open to a login of the program",
        "select t.place from tenant_tables t
         where not t.protectable and t.kind <> 'v' and exists (select from unnest(logins) l
             where has_any_column_privilege(l, t.oid, 'select, insert, update'))",
    ),
    (
        Invariant::I10,
        "a view that looks with its owner's rights",
        "select c.oid::regclass::text from pg_class c
         where c.relkind = 'v' and c.relnamespace = 'public'::regnamespace
           and not coalesce((select option_value::boolean from pg_options_to_table(c.reloptions)
                             where option_name = 'security_invoker'), false)",
    ),
    (
        // Each of these was reviewed, and looks where its caller cannot make it look elsewhere.
        Invariant::I10,
        "a function that runs with its owner's rights and was never reviewed, or looks where its caller \
         says",
        "select p.oid::regprocedure::text from pg_proc p
         where p.prosecdef and p.pronamespace not in
               ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)
           and not (p.oid::regprocedure::text in
                 ('tenants_of_installation(text,text,integer)', 'erase_tenant_rows(uuid)',
                  'erase_tenant_answers(uuid)',
                  'api_key_of_caller(bytea)',
                  'tenant_storage_bytes(uuid)')
               and exists (select from unnest(p.proconfig) c
                           where c in ('search_path=pg_catalog, public',
                                       'search_path=pg_catalog, public, pg_temp')))",
    ),
    (
        Invariant::I10,
        "everybody may execute a function of ours",
        "select p.oid::regprocedure::text from pg_proc p
         where p.pronamespace = 'public'::regnamespace
           and exists (select from aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
                       where a.grantee = 0 and a.privilege_type = 'EXECUTE')",
    ),
    (
        Invariant::I10,
        "a login of the program may define things in the database",
        "select l || ' in ' || place from unnest(logins) l, lateral (
             select n.nspname::text from pg_namespace n
                 where n.nspname not like 'pg\\_%' and has_schema_privilege(l, n.oid, 'create')
             union all
             select current_database()::text
                 where has_database_privilege(l, current_database(), 'create, temp')) as of (place)",
    ),
    (
        Invariant::I10,
        "a login of the program is a superuser, bypasses row-level security, belongs to another role or \
         owns something",
        "select r.rolname::text from pg_roles r
         where r.rolname = any(logins)
           and (r.rolsuper or r.rolbypassrls or r.rolcreaterole or r.rolcreatedb or r.rolreplication
             or exists (select from pg_auth_members m where m.member = r.oid)
             or exists (select from pg_shdepend d where d.refclassid = 'pg_authid'::regclass
                          and d.refobjid = r.oid and d.deptype = 'o'
                          and d.dbid in (0, (select oid from pg_database
                                             where datname = current_database()))))
         union all
         select r.rolname::text from pg_roles r
         where r.rolname = 'dispatch_owner' and (r.rolsuper or r.rolbypassrls)",
    ),
    (
        // `dispatch doctor` tells of the one that development has.
        Invariant::I10,
        "another login reads tenants' rows past row-level security",
        "select r.rolname::text from pg_roles r
         where r.rolbypassrls and r.rolcanlogin and not r.rolsuper
           and r.rolname <> 'dispatch_app_norls' and has_any_column_privilege(r.oid, 'tickets', 'select')",
    ),
    (
        Invariant::I10,
        "a tenant is set for sessions that name none",
        "select coalesce(r.rolname::text, 'everybody') from pg_db_role_setting s
         left join pg_roles r on r.oid = s.setrole
         where s.setdatabase in (0, (select oid from pg_database where datname = current_database()))
           and exists (select from unnest(s.setconfig) c where c like 'app.tenant\\_id=%')",
    ),
    (
        Invariant::I10,
        "the application login may write what is the installation's own",
        "select t || ' ' || p from unnest(array['relays', 'relay_leases', 'audit_sealer',
                 '_sqlx_migrations']) t,
             unnest(array['insert', 'update', 'delete', 'truncate']) p
         where has_table_privilege('dispatch_app', t, p)",
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

/// What several checks look at: whatever holds rows of tenants, in any schema; the policies; the
/// logins of the program; and what the policy of the application must say.
const WITH: &str = "with tenant_tables as (
        select c.oid, c.relkind as kind, c.relkind in ('r', 'p') as protectable,
               case when n.nspname = 'public' then c.relname::text
                    else n.nspname || '.' || c.relname end as place,
               c.relrowsecurity and c.relforcerowsecurity as forced
          from pg_class c
          join pg_namespace n on n.oid = c.relnamespace
          join pg_attribute a on a.attrelid = c.oid and a.attname = 'tenant_id' and not a.attisdropped
         where c.relkind in ('r', 'p', 'v', 'm', 'f')
           and n.nspname not in ('pg_catalog', 'information_schema') and n.nspname not like 'pg\\_t%'),
    rules as (
        select p.polrelid as relation, p.polname::text as name, p.polpermissive as permissive,
               case p.polcmd when '*' then 'ALL' when 'r' then 'SELECT' when 'a' then 'INSERT'
                             when 'w' then 'UPDATE' else 'DELETE' end as command,
               array(select case l when 0 then 'public' else pg_get_userbyid(l)::text end
                       from unnest(p.polroles) l) as logins,
               regexp_replace(pg_get_expr(p.polqual, p.polrelid), '[()[:space:]]|::text|::uuid', '', 'g')
                   as read,
               regexp_replace(pg_get_expr(p.polwithcheck, p.polrelid), '[()[:space:]]|::text|::uuid', '', 'g')
                   as written
          from pg_policy p),
    known as (
        select 'tenant_id=NULLIFcurrent_setting''app.tenant_id'',true,''''' as own_rows,
               array['dispatch_app', 'dispatch_relay', 'dispatch_comms', 'dispatch_maintenance',
                     'dispatch_reader'] as logins)";

pub(super) async fn check(tx: &mut PgConnection, found: &mut Findings) -> Result<(), Error> {
    for (invariant, what, sql) in CHECKS {
        let sql = format!("{WITH} select place from known, lateral ({sql}) as of (place)");
        let places: Vec<String> = sqlx::query_scalar(AssertSqlSafe(sql))
            .fetch_all(&mut *tx)
            .await?;
        for place in places {
            found.add(*invariant, place, *what);
        }
    }
    Ok(())
}
