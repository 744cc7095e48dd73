//! The login that dispatch-api has in the database: one that would give a tenant another's rows, or
//! callers each other's statements, is refused before the first request.

use sqlx::PgPool;
use store::session;

use crate::config::ApiConfig;

/// Why this login, or the way to it, will not do.
#[derive(Debug, thiserror::Error)]
pub enum UnfitLogin {
    /// Callers would meet each other's prepared statements.
    #[error(
        "the address of the database leads through a pooler that does not carry prepared statements: \
         it must be PgBouncer 1.21 or newer with max_prepared_statements above 0, or its like; or give \
         the address of the server itself"
    )]
    Pooler,
    /// It sees every tenant's rows.
    #[error(
        "the login {0} is not bound by row-level security, so tenants would not be separated: let \
         `database.app_url` use dispatch_app, which `dispatch migrate --bootstrap` creates"
    )]
    Unbound(String),
    /// It could not be found out.
    #[error("the login cannot be looked at")]
    Unknown(#[from] store::Error),
}

/// Refuses what will not do; warns where row-level security is off on purpose.
pub(crate) async fn check(config: &ApiConfig, pool: &PgPool) -> Result<(), UnfitLogin> {
    if !session::carries_statements(config.database_url.expose()).await? {
        return Err(UnfitLogin::Pooler);
    }
    let (login, bound): (String, bool) = sqlx::query_as(
        "select rolname::text, not (rolsuper or rolbypassrls) from pg_roles where rolname = current_user",
    )
    .fetch_one(pool)
    .await
    .map_err(store::Error::from)?;
    match (bound, config.row_level_security) {
        (true, _) => Ok(()),
        (false, true) => Err(UnfitLogin::Unbound(login)),
        (false, false) => {
            tracing::warn!(
                %login,
                "ROW-LEVEL SECURITY IS OFF (`database.rls`): tenants are not separated, any read may \
                 show any tenant's rows. For development only"
            );
            Ok(())
        }
    }
}
