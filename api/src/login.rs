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
    /// It sees other tenants' rows, or could.
    #[error(
        "the login {login} is not bound by row-level security, it {why}, so tenants would not be \
         separated: let `database.app_url` use dispatch_app, which `dispatch migrate --bootstrap` creates"
    )]
    Unbound {
        /// Which.
        login: String,
        /// Why it is not.
        why: String,
    },
    /// It could not be found out.
    #[error("the login cannot be looked at")]
    Unknown(#[from] store::Error),
}

/// Refuses what will not do; warns where row-level security is off on purpose.
pub(crate) async fn check(config: &ApiConfig, pool: &PgPool) -> Result<(), UnfitLogin> {
    if !session::carries_statements(config.database_url.expose()).await? {
        return Err(UnfitLogin::Pooler);
    }
    let login = store::login::look(pool).await?;
    match (login.unbound(), config.row_level_security) {
        (None, _) => Ok(()),
        (Some(why), true) => Err(UnfitLogin::Unbound {
            why: why.to_owned(),
            login: login.name,
        }),
        (Some(why), false) => {
            tracing::warn!(
                login = login.name,
                why,
                "ROW-LEVEL SECURITY IS OFF (`database.rls`): tenants are not separated, any read may \
                 show any tenant's rows. For development only"
            );
            Ok(())
        }
    }
}
