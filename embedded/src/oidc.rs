//! A certified OpenID provider (`oidc-provider`), which tests get tokens from: the version that
//! `oidc-dev/` pins, installed with npm and cached, run with Node.

use std::{
    env,
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use tokio::process::Command;

use crate::{
    EmbeddedError, MissingInfrastructure, Progress, cache, default_cache_dir,
    go::find_on_path,
    process::{self, CleanupGuard, Service, Signal},
};

const WHAT: &str = "OpenID provider (oidc-provider)";
const REMEDY: &str = "Install Node.js 20.19 or newer and npm (https://nodejs.org) with access to an \
    npm registry, then it is installed once.";
const NAME: &str = "oidc-dev";
const SOURCES: [(&str, &str); 3] = [
    ("package.json", include_str!("../../oidc-dev/package.json")),
    (
        "package-lock.json",
        include_str!("../../oidc-dev/package-lock.json"),
    ),
    ("server.js", include_str!("../../oidc-dev/server.js")),
];
const READY_BOUND: Duration = Duration::from_secs(120);
const STOP_BOUND: Duration = Duration::from_secs(5);

/// The provider's program, installed.
#[derive(Debug, Clone)]
pub struct Oidc {
    node: PathBuf,
    folder: PathBuf,
}

/// A provider that runs.
#[derive(Debug)]
pub struct OidcProvider {
    service: Service,
    port: u16,
}

/// What a provider is started with, besides its port.
#[derive(Debug, Clone)]
pub struct OidcStart<'a> {
    /// `RS256`, `ES256` or `EdDSA`.
    pub algorithm: &'a str,
    /// The name of its key, which is made anew at each start.
    pub kid: &'a str,
    /// `aud` of its tokens.
    pub resource: &'a str,
    /// The one client: id and secret.
    pub client: (&'a str, &'a str),
    /// Further claims of each token, a JSON object.
    pub claims: &'a str,
}

impl Oidc {
    /// The cached installation, or one made now, once.
    ///
    /// # Errors
    /// [`EmbeddedError::Missing`] without Node, npm or a registry.
    pub async fn resolve(progress: &Progress) -> Result<Self, EmbeddedError> {
        Self::within(
            &default_cache_dir()?,
            env::var_os("PATH").as_deref(),
            progress,
        )
        .await
    }

    async fn within(
        cache_dir: &Path,
        search: Option<&OsStr>,
        progress: &Progress,
    ) -> Result<Self, EmbeddedError> {
        let missing = |reason: String| {
            EmbeddedError::from(MissingInfrastructure {
                what: WHAT,
                tried: vec![reason],
                remedy: REMEDY,
            })
        };
        let found = |name: &str| {
            find_on_path(name, search).ok_or_else(|| missing(format!("PATH: no program {name:?}")))
        };
        let (node, npm) = (found("node")?, found("npm")?);
        let folder = cache::folder_of(&SOURCES, cache_dir, NAME);
        let _lock = cache::exclusive(
            &cache_dir.join(NAME).join("lock"),
            "installing the OpenID provider",
            progress,
        )
        .await?;
        if !folder.is_dir() {
            progress.report("installing the OpenID provider with npm: once");
            install(&npm, &folder).await?.map_err(missing)?;
        }
        Ok(Self { node, folder })
    }
}

/// The inner error says why npm could not; the outer one is a fault of this machine.
async fn install(npm: &Path, folder: &Path) -> Result<Result<(), String>, EmbeddedError> {
    let build = folder.with_extension("new");
    let guard = CleanupGuard::new(|| {
        let _ = fs::remove_dir_all(&build);
    });
    cache::write_sources(&SOURCES, &build)?;
    let output = Command::new(npm)
        .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
        .current_dir(&build)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .map_err(|e| EmbeddedError::io("execute", npm, e))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Ok(Err(format!("npm ci: {}", said.trim())));
    }
    fs::rename(&build, folder).map_err(|e| EmbeddedError::io("create", folder, e))?;
    drop(guard);
    Ok(Ok(()))
}

impl OidcProvider {
    /// Starts it on this port, or on a free one; returns when it answers.
    ///
    /// # Errors
    /// When it ends or does not answer in time.
    pub async fn start(
        program: &Oidc,
        start: &OidcStart<'_>,
        port: Option<u16>,
        log: &Path,
    ) -> Result<Self, EmbeddedError> {
        let port = match port {
            Some(port) => port,
            None => process::free_port()
                .map_err(|e| EmbeddedError::io("find a free port on", Path::new("127.0.0.1"), e))?,
        };
        let (id, secret) = start.client;
        let mut command = Command::new(&program.node);
        command
            .arg(program.folder.join("server.js"))
            .arg(format!(
                r#"{{"port":{port},"algorithm":{:?},"kid":{:?},"resource":{:?},"client":{{"id":{id:?},"secret":{secret:?}}},"claims":{}}}"#,
                start.algorithm, start.kid, start.resource, start.claims
            ));
        let service =
            Service::spawn("OpenID provider", command, Signal::TERM, log)?.watched("node")?;
        let mut provider = Self { service, port };
        let begun = Instant::now();
        while let Err(detail) = provider.answers().await {
            if provider.service.exited().is_some() {
                let output = provider.service.output();
                return Err(EmbeddedError::program(
                    "the OpenID provider",
                    &output,
                    &program.folder,
                    log,
                ));
            }
            if begun.elapsed() > READY_BOUND {
                return Err(EmbeddedError::NotReady {
                    service: "OpenID provider",
                    seconds: READY_BOUND.as_secs(),
                    detail,
                    log: log.to_owned(),
                });
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        Ok(provider)
    }

    async fn answers(&self) -> Result<(), String> {
        // reqwest takes the process's TLS provider; an installed one stays.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let call = async {
            reqwest::Client::builder()
                .no_proxy()
                .timeout(Duration::from_secs(10))
                .build()?
                .get(format!(
                    "{}/.well-known/openid-configuration",
                    self.issuer()
                ))
                .send()
                .await?
                .error_for_status()
        };
        call.await
            .map(|_| ())
            .map_err(|error: reqwest::Error| error.to_string())
    }

    /// What `iss` says in its tokens.
    #[must_use]
    pub fn issuer(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Where it listens.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Stops it.
    pub async fn shutdown(mut self) {
        self.service.stop(STOP_BOUND).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn without_node_it_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        let search = Some(folder.path().as_os_str());
        let error = Oidc::within(folder.path(), search, &Progress::default()).await;
        let error = error.unwrap_err();
        assert_eq!(error.code(), "INFRASTRUCTURE_MISSING");
        assert!(error.to_string().contains("no program \"node\""), "{error}");
    }

    #[test]
    fn the_lock_pins_what_the_package_names() {
        let [(_, package), (_, lock), _] = SOURCES;
        let pinned = package.split("\"oidc-provider\": \"").nth(1).unwrap();
        let version = pinned.split('"').next().unwrap();
        assert!(
            version.starts_with(|c: char| c.is_ascii_digit()),
            "{version}"
        );
        assert!(lock.contains(&format!("\"oidc-provider\": \"{version}\"")));
        assert!(lock.contains("\"integrity\": \"sha512-"));
    }
}
