//! Whether row-level security keeps a login to one tenant's rows.
//!
//! What its own rights are is the smaller part: whoever owns a table may let themselves see all of it,
//! whoever belongs to another role may become it, and a policy may say that all rows are its.

use sqlx::{FromRow, PgPool};

use crate::Error;

/// A login, seen from within. Reasons are for people, and go on where its name stops.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Login {
    /// Its name.
    pub name: String,
    /// Why row-level security is nothing to it.
    pub above: Option<String>,
    /// What it could take row-level security off.
    pub owns: Option<String>,
    /// Where row-level security shows it every tenant's rows.
    pub sees_all: Option<String>,
}

impl Login {
    /// Why row-level security does not keep it to the tenant that its transaction names.
    pub fn unbound(&self) -> Option<&str> {
        let reasons = [&self.above, &self.owns, &self.sees_all];
        reasons.into_iter().find_map(Option::as_deref)
    }
}

/// A superuser belongs to every role: what the login is itself comes first.
const LOOK: &str = "
    with mine as (
        select r.oid, r.rolsuper, r.rolbypassrls, r.rolname = current_user as itself,
               case when r.rolname = current_user then ''
                    else 'belongs to ' || r.rolname || ', which ' end as begins
          from pg_roles r where pg_has_role(current_user, r.oid, 'member')),
    relations as (
        select c.oid, c.relname, c.relowner from pg_class c
         where c.relnamespace = 'public'::regnamespace)
    select current_user::text as name,
           (select begins || case when rolsuper then 'is a superuser'
                                  else 'bypasses row-level security' end
              from mine where rolsuper or rolbypassrls
             order by itself desc, begins limit 1) as above,
           (select begins || 'owns ' || relname
              from relations join mine on mine.oid = relowner
             order by itself desc, begins, relname limit 1) as owns,
           (select 'is shown every tenant''s rows of ' || c.relname || ' by the policy ' || p.polname
              from pg_policy p join relations c on c.oid = p.polrelid
             where p.polpermissive
               and exists (select from pg_attribute a where a.attrelid = c.oid
                              and a.attname = 'tenant_id' and not a.attisdropped)
               and exists (select from unnest(p.polroles) r
                            where r = 0 or r in (select oid from mine))
               and 'true' in (pg_get_expr(p.polqual, p.polrelid),
                              pg_get_expr(p.polwithcheck, p.polrelid))
             order by c.relname, p.polname limit 1) as sees_all";

/// The login that a pool has.
pub async fn look(pool: &PgPool) -> Result<Login, Error> {
    Ok(sqlx::query_as(LOOK).fetch_one(pool).await?)
}
