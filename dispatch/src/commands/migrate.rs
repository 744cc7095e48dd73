//! `dispatch migrate`.

use store::bootstrap::Passwords;
use url::Url;

use crate::{
    cli::{Global, MigrateArgs},
    config::Settings,
    exit::Failure,
    parts::{self, Activation, LeftInPlace},
    secret::Secret,
    table::clean,
};

/// Brings database and search attributes up to date.
pub async fn run(global: &Global, args: &MigrateArgs) -> Result<(), Failure> {
    let mut settings = super::load(global, Vec::new())?.settings;
    if args.bootstrap {
        let (name, passwords) = wanted(&settings)?;
        // Said before anything is made.
        parts::is_unprotected(&settings)?;
        parts::bootstrap(&mut settings.database, &name, &passwords).await?;
        if parts::login_without_rls(&settings, &name, &passwords).await? {
            super::print("a login without row-level security is there: `database.rls` is off\n")?;
        }
        super::print(&format!("database {name} and its logins are there\n"))?;
    }
    let activation = if args.activate_bundle {
        Activation::Always
    } else {
        Activation::IfNone
    };
    let other = parts::migrate(&settings, activation).await?;
    super::print("database is current\n")?;
    if let Some(LeftInPlace { version, unusable }) = other {
        let version = clean(&version);
        super::print(&match unusable {
            None => format!(
                "policy bundle {version} stays active; this program brings another. Once it may \
                 decide: dispatch migrate --activate-bundle\n"
            ),
            Some(reason) => format!(
                "policy bundle {version} stays active for the running programs. This one cannot decide \
                 with it ({}): its dispatch-api would answer 503 to every command. Stop the old ones, \
                 then run: dispatch migrate --activate-bundle\n",
                clean(&reason)
            ),
        })?;
    }
    if let Some(slug) = &args.platform_tenant {
        super::print(&parts::platform_tenant(&settings, slug).await?)?;
    }
    if args.seed_demo {
        parts::seed(&settings).await?;
        super::print("demo tenant is there\n")?;
    }
    if !parts::has_tenants(&settings).await? {
        super::print(
            "there is no tenant yet, so nobody can do anything: dispatch migrate --platform-tenant SLUG \
             makes the first\n",
        )?;
    }
    if !args.skip_temporal {
        let added = parts::register_search_attributes(&settings).await?;
        super::print(&match added.as_slice() {
            [] => "search attributes are registered\n".to_owned(),
            added => format!("search attributes registered: {}\n", added.join(", ")),
        })?;
    }
    Ok(())
}

/// Database name and passwords as the addresses of the logins say them.
fn wanted(settings: &Settings) -> Result<(String, Passwords), Failure> {
    let database = &settings.database;
    let (name, owner) = parsed("database.owner_url", database.owner_url.as_ref())?;
    let password = |key, url| parsed(key, url).map(|(_, password)| password);
    Ok((
        name,
        Passwords {
            owner,
            app: password("database.app_url", database.app_url.as_ref())?,
            relay: password("database.relay_url", database.relay_url.as_ref())?,
            comms: password("database.comms_url", database.comms_url.as_ref())?,
            maintenance: password(
                "database.maintenance_url",
                database.maintenance_url.as_ref(),
            )?,
            reader: password("database.reader_url", database.reader_url.as_ref())?,
        },
    ))
}

fn parsed(key: &str, url: Option<&Secret>) -> Result<(String, String), Failure> {
    let wrong = || {
        Failure::usage(format!(
            "`{key}` must look like postgres://LOGIN:PASSWORD@HOST/DATABASE for --bootstrap: the \
             login is created with that password"
        ))
    };
    let url = Url::parse(parts::required(key, url)?).map_err(|_| wrong())?;
    let name = url.path().trim_start_matches('/').to_owned();
    match url.password() {
        Some(password) if !name.is_empty() => {
            let password = percent_decoded(password).ok_or_else(wrong)?;
            Ok((name, password))
        }
        _ => Err(wrong()),
    }
}

/// `url` keeps what was written; the server gets what was meant.
fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let (hex, tail) = rest.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok()?);
        rest = tail;
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_and_password_come_from_the_address() {
        let secret =
            Secret::new("postgres://dispatch_app:p%40ss%2Fword@db/dispatch?sslmode=disable");
        assert_eq!(
            parsed("database.app_url", Some(&secret)).unwrap(),
            ("dispatch".to_owned(), "p@ss/word".to_owned())
        );
        for bad in [
            "postgres://dispatch_app@db/dispatch",
            "postgres://a:b@db",
            "x",
        ] {
            let failure = parsed("database.app_url", Some(&Secret::new(bad))).unwrap_err();
            assert!(
                failure.message.contains("`database.app_url`"),
                "{}",
                failure.message
            );
        }
    }
}
