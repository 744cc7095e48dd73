//! Logins of a server that others use as well.
//!
//! Logins belong to a whole server. Every `dispatch dev` against it derives their passwords from the
//! administrator's (see `servers`), so all set the same ones. Where that cannot be, because the
//! address has no password or another installation chose its own, setting ours would lock the other
//! one out: it is refused.

use sqlx::{Connection, PgConnection};
use store::bootstrap::{APP, COMMS, MAINTENANCE, OWNER, Passwords, READER, RELAY};
use url::Url;

use crate::exit::{Failure, chain};

/// `invalid_password` of PostgreSQL.
const WRONG_PASSWORD: &str = "28P01";

/// Refuses when a login has a password that is not the one we would set.
pub async fn check(admin_url: &str, passwords: &Passwords) -> Result<(), Failure> {
    let trouble = |error: sqlx::Error| {
        Failure::infrastructure(format!("the server of DATABASE_URL: {}", chain(&error)))
    };
    let mut admin = PgConnection::connect(admin_url).await.map_err(trouble)?;
    for (login, password) in [
        (OWNER, &passwords.owner),
        (APP, &passwords.app),
        (RELAY, &passwords.relay),
        (COMMS, &passwords.comms),
        (MAINTENANCE, &passwords.maintenance),
        (READER, &passwords.reader),
    ] {
        let has_password: Option<bool> = sqlx::query_scalar(
            "select rolpassword is not null from pg_authid where rolname = $1 and rolcanlogin",
        )
        .bind(login)
        .fetch_optional(&mut admin)
        .await
        .map_err(trouble)?;
        if has_password == Some(true) && is_refused(admin_url, login, password).await {
            return Err(Failure::usage(format!(
                "the server of DATABASE_URL has a login {login} with a password that this run would \
                 overwrite: another installation uses it. Give DATABASE_URL the administrator's \
                 password (postgres://USER:PASSWORD@HOST/DATABASE), from which every `dispatch dev` \
                 derives the same ones; or unset DATABASE_URL for a server of its own; or, when no \
                 installation uses the login any more: alter role {login} password null"
            )));
        }
    }
    Ok(())
}

/// Whether the server asks for another password. A server that asks for none refuses none, and
/// there nobody is locked out; other refusals (of the database, say) are no matter here.
async fn is_refused(admin_url: &str, login: &str, password: &str) -> bool {
    let Ok(mut url) = Url::parse(admin_url) else {
        return false;
    };
    if url.set_username(login).is_err() || url.set_password(Some(password)).is_err() {
        return false;
    }
    match PgConnection::connect(url.as_str()).await {
        Ok(connection) => {
            // Best effort: the server ends it as well.
            let _ = connection.close().await;
            false
        }
        Err(error) => error
            .as_database_error()
            .and_then(|error| error.code())
            .is_some_and(|code| code == WRONG_PASSWORD),
    }
}
