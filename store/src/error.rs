//! What can go wrong between us and Postgres, sorted by what the caller can do about it.

use std::borrow::Cow;

/// Why the store could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Somebody else holds the key or the row; trying again soon is right.
    #[error("a lock was not free in time")]
    LockTimeout(#[source] sqlx::Error),
    /// No connection, a restart, a deadlock, a cancelled statement: the transaction did nothing, or
    /// its commit is unknown. Trying again with the same key is safe.
    #[error("the database cannot serve this now")]
    Unavailable(#[source] sqlx::Error),
    /// A guard inside a write tripped; nothing was written. It means a bug, not a race: the row
    /// was locked. Which bundle decides is read without a lock, so for an activation it means that
    /// another one came first.
    #[error("a write was refused by its own guard: {0}")]
    Guard(String),
    /// A cap on what software does in an hour was reached by somebody else meanwhile; nothing was
    /// written. Another try reads the counters anew.
    #[error("a cap on what software does in an hour is reached")]
    CapReached,
    /// The tenant was erased: nothing of it is read any more.
    #[error("the tenant was erased")]
    Erased,
    /// There is no such tenant: a row that is its own cannot be made.
    #[error("the tenant does not exist")]
    NoTenant,
    /// Something of the installation, of whichever tenant, has what the new thing was to have alone: a
    /// slug, a key's hash. Nothing was written; another try is told so.
    #[error("another tenant may have it already")]
    Taken,
    /// A stored value is not what this build can read.
    #[error("{table}.{column} of {row} cannot be read: {reason}")]
    Corrupt {
        /// The table.
        table: &'static str,
        /// The column.
        column: &'static str,
        /// Which row.
        row: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The caller's cursor is not one of ours.
    #[error("the cursor was not made by this list; leave it out to begin anew")]
    InvalidCursor,
    /// The migrations and this build do not fit together.
    #[error("the database's migrations do not fit this build: {0}")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    /// An address, a name or a setting is not usable.
    #[error("{0}")]
    Configuration(String),
    /// Everything else: a statement failed that never should.
    #[error("the database refused a statement")]
    Database(#[source] sqlx::Error),
}

impl Error {
    /// Whether the same call may succeed a little later.
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::LockTimeout(_) | Self::Unavailable(_))
    }

    /// Names a stored value that cannot be read.
    pub fn corrupt(
        table: &'static str,
        column: &'static str,
        row: impl std::fmt::Display,
        reason: impl std::fmt::Display,
    ) -> Self {
        Self::Corrupt {
            table,
            column,
            row: row.to_string(),
            reason: reason.to_string(),
        }
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Database(database) if is_about_no_tenant(&**database) => Self::NoTenant,
            sqlx::Error::Database(database) => match class(database.code()) {
                Class::Lock => Self::LockTimeout(error),
                Class::Retry => Self::Unavailable(error),
                Class::Cap => Self::CapReached,
                Class::Guard => Self::Guard(database.message().to_owned()),
                Class::Erased => Self::Erased,
                Class::Taken => Self::Taken,
                Class::Other => Self::Database(error),
            },
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed
            | sqlx::Error::BeginFailed => Self::Unavailable(error),
            _ => Self::Database(error),
        }
    }
}

/// Whether a row names a tenant that is not there.
fn is_about_no_tenant(error: &dyn sqlx::error::DatabaseError) -> bool {
    let of_tenant = |name: &str| name.ends_with("_tenant_id_fkey");
    error.is_foreign_key_violation() && error.constraint().is_some_and(of_tenant)
}

#[derive(Debug, PartialEq, Eq)]
enum Class {
    Lock,
    Retry,
    Guard,
    Cap,
    Erased,
    Taken,
    Other,
}

/// Sorts a SQLSTATE (PostgreSQL, appendix A). `RD001` to `RD004` are raised by our own functions.
fn class(code: Option<Cow<'_, str>>) -> Class {
    match code.as_deref() {
        Some("55P03") => Class::Lock,
        Some("RD001") => Class::Guard,
        Some("RD002") => Class::Cap,
        Some("RD003") => Class::Erased,
        Some("RD004") => Class::Taken,
        // Serialization failure and deadlock; cancelled, idle too long; read-only standby.
        Some("40001" | "40P01" | "57014" | "25P03" | "25006") => Class::Retry,
        // Connection exceptions, a login refused (its password is being changed, access is closed for
        // maintenance), lack of resources, operator intervention.
        Some(state)
            if ["08", "28", "53", "57"]
                .iter()
                .any(|c| state.starts_with(c)) =>
        {
            Class::Retry
        }
        _ => Class::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_sorted_by_what_can_be_done() {
        for (state, expected) in [
            ("55P03", Class::Lock),
            ("40001", Class::Retry),
            ("57014", Class::Retry),
            ("08006", Class::Retry),
            ("53300", Class::Retry),
            ("57P01", Class::Retry),
            ("57P03", Class::Retry),
            ("28000", Class::Retry),
            ("28P01", Class::Retry),
            ("RD001", Class::Guard),
            ("RD003", Class::Erased),
            ("RD004", Class::Taken),
            ("23505", Class::Other),
            ("42501", Class::Other),
        ] {
            assert_eq!(class(Some(state.into())), expected, "{state}");
        }
        assert_eq!(class(None), Class::Other);
    }

    #[test]
    fn a_busy_pool_may_be_tried_again() {
        assert!(Error::from(sqlx::Error::PoolTimedOut).is_unavailable());
        assert!(!Error::from(sqlx::Error::RowNotFound).is_unavailable());
    }
}
