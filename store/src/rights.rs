//! Who may do what in the database, as a page that people can review: `docs/database-rights.md`.
//!
//! Read from the catalogue of a migrated database, so it says what is, not what was meant; a test
//! fails while the committed page says something else.

use std::{collections::BTreeMap, fmt::Write as _};

use sqlx::PgPool;

use crate::{
    Error,
    bootstrap::{APP, COMMS, MAINTENANCE, OWNER, READER, RELAY},
};

/// The logins of programs, in the order of the page.
const LOGINS: [&str; 5] = [APP, RELAY, COMMS, MAINTENANCE, READER];

/// The policy that `protect_tenant_rows` gives every table, as the server prints it.
const OWN_ROWS: &str =
    "(tenant_id = (NULLIF(current_setting('app.tenant_id'::text, true), ''::text))::uuid)";

const HEAD: &str = "# Rights in the database

Made from a migrated database; `UPDATE_RIGHTS=1 cargo test -p dispatch-tests --test system -- \
catalogue` writes it anew, and without that variable the test fails while it says something else. A \
change of this page is a change of who may do what: review it as such. `dispatch verify` looks for \
what must never be, in the database at hand.

`dispatch_owner` owns everything and only `dispatch migrate` uses it. No other login owns anything, \
is a superuser, bypasses row-level security, belongs to another role or may define things.
";

/// The whole page. As any login that may read the catalogue.
pub async fn page(pool: &PgPool) -> Result<String, Error> {
    let mut page = HEAD.to_owned();
    let tables = tables(pool).await?;
    for (of_tenants, title, text) in [
        (
            true,
            "Tables of tenants",
            "Row-level security is enabled and forced on each. `dispatch_app` sees and writes the rows \
             of the one tenant that its transaction names, and none without; so does the owner. A cell \
             with columns in brackets is a right to those alone.",
        ),
        (
            false,
            "Tables of the installation",
            "They hold nothing of a tenant, so no row-level security; the rights are all there is.",
        ),
    ] {
        let _ = write!(page, "\n## {title}\n\n{text}\n\n{}", header("table"));
        for (table, cells) in tables
            .iter()
            .filter(|((tenants, _), _)| *tenants == of_tenants)
            .map(|((_, table), cells)| (table, cells))
        {
            let _ = write!(page, "| {table} |");
            for login in LOGINS {
                let cell = cells.get(login).map_or("–", String::as_str);
                let _ = write!(page, " {cell} |");
            }
            page.push('\n');
        }
    }
    page += &policies(pool).await?;
    page += &functions(pool).await?;
    Ok(page)
}

fn header(first: &str) -> String {
    format!(
        "| {first} | {} |\n|---|{}\n",
        LOGINS.join(" | "),
        "---|".repeat(LOGINS.len())
    )
}

type Cells = BTreeMap<String, String>;

/// By whether it is of tenants, and name: what each login may.
async fn tables(pool: &PgPool) -> Result<BTreeMap<(bool, String), Cells>, Error> {
    let rows: Vec<(String, bool, String, String, bool, Vec<String>)> = sqlx::query_as(
        "select c.relname::text,
                exists (select from pg_attribute a where a.attrelid = c.oid
                          and a.attname = 'tenant_id' and not a.attisdropped),
                l.login, p.privilege, has_table_privilege(l.login, c.oid, p.privilege),
                case when p.privilege in ('select', 'insert', 'update') then
                    array(select a.attname::text from pg_attribute a
                           where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
                             and has_column_privilege(l.login, c.oid, a.attnum, p.privilege)
                           order by a.attnum)
                else '{}' end
         from pg_class c,
              unnest($1::text[]) l (login),
              unnest(array['select', 'insert', 'update', 'delete', 'truncate', 'references', 'trigger'])
                  with ordinality p (privilege, n)
         where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p', 'v', 'm', 'f')
         order by c.relname, l.login, p.n",
    )
    .bind(LOGINS.as_slice())
    .fetch_all(pool)
    .await?;
    let mut tables: BTreeMap<_, Cells> = BTreeMap::new();
    for (table, of_tenants, login, privilege, whole, columns) in rows {
        let cells = tables.entry((of_tenants, table)).or_default();
        let right = match (whole, columns.as_slice()) {
            (true, _) => privilege,
            (false, []) => continue,
            (false, columns) => format!("{privilege} ({})", columns.join(", ")),
        };
        cells
            .entry(login)
            .and_modify(|cell| {
                let _ = write!(cell, ", {right}");
            })
            .or_insert(right);
    }
    Ok(tables)
}

const POLICIES: &str = "
## Policies

Every table of tenants has `of_one_tenant` for the application and the owner: own rows only, read and \
written. Beyond that:

| table | policy | login | for | rows seen | rows written |
|---|---|---|---|---|---|
";

/// Table, name, logins, command, rows seen, rows written.
type Policy = (
    String,
    String,
    Vec<String>,
    String,
    Option<String>,
    Option<String>,
);

/// All policies but the one that every table of tenants has.
async fn policies(pool: &PgPool) -> Result<String, Error> {
    let rows: Vec<Policy> = sqlx::query_as(
        "select tablename::text, policyname::text, array(select unnest(roles)::text order by 1),
                lower(cmd), qual, with_check
         from pg_policies where schemaname = 'public' order by 1, 2",
    )
    .fetch_all(pool)
    .await?;
    let usual = |(_, _, logins, command, read, written): &Policy| {
        *logins == [APP, OWNER]
            && command == "all"
            && [read.as_deref(), written.as_deref()] == [Some(OWN_ROWS); 2]
    };
    let mut text = POLICIES.to_owned();
    for row in rows.iter().filter(|row| !usual(row)) {
        let (table, policy, logins, command, read, written) = row;
        let of = |rule: &Option<String>| match rule.as_deref() {
            None => "–".to_owned(),
            Some("true") => "all".to_owned(),
            Some(OWN_ROWS) => "own".to_owned(),
            Some(other) => format!("`{other}`"),
        };
        let _ = writeln!(
            text,
            "| {table} | {policy} | {} | {command} | {} | {} |",
            logins.join(", "),
            of(read),
            of(written)
        );
    }
    Ok(text)
}

/// Who may execute what, and what runs with its owner's rights.
async fn functions(pool: &PgPool) -> Result<String, Error> {
    let rows: Vec<(String, bool, Vec<String>)> = sqlx::query_as(
        "select p.proname::text, bool_or(p.prosecdef),
                coalesce(array_agg(distinct l.login order by l.login)
                    filter (where has_function_privilege(l.login, p.oid, 'execute')), '{}')
         from pg_proc p, unnest($1::text[]) l (login)
         where p.pronamespace = 'public'::regnamespace group by 1 order by 1",
    )
    .bind(LOGINS.as_slice())
    .fetch_all(pool)
    .await?;
    let definers: Vec<_> = rows.iter().filter(|(_, definer, _)| *definer).collect();
    let mut text = format!(
        "\n## Functions\n\nThose that run with their owner's rights: {}. Executed with the caller's:\n\n\
         | function | logins |\n|---|---|\n",
        match definers.len() {
            0 => "none".to_owned(),
            _ => definers
                .iter()
                .map(|(name, ..)| format!("`{name}`"))
                .collect::<Vec<_>>()
                .join(", "),
        }
    );
    for (name, _, logins) in rows {
        let logins = match logins.is_empty() {
            true => "the owner alone".to_owned(),
            false => logins.join(", "),
        };
        let _ = writeln!(text, "| {name} | {logins} |");
    }
    Ok(text)
}
