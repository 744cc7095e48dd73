//! The system under test: real Postgres, the real dispatch-api, and, where a test is about them,
//! the real relay, worker and Temporal.
//!
//! A test gets a [`Stack`] of its own (database, tenants, ports, task queue), so tests neither see
//! nor wait for each other. It is written as
//!
//! ```ignore
//! #[test]
//! fn a_ticket_is_created() {
//!     with_api(async |stack| { … })
//! }
//! ```
//!
//! and every such test ends with `dispatch verify`'s checker over its database: what a test does
//! not look at may not be broken by it either.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use api::{
    ApiConfig, Limits, Quotas, Secret, Server, TokenConfig, Watched, identity::IssuerConfig,
};
use client::{Client, RetryPolicy};
use contracts::{Operation, TicketId, event::AutonomyMode, service_account::ApiKeyText};
use reqwest::Method;
use serde_json::Value;
use sqlx::PgPool;
use store::verify::Violation;
use tokio::sync::OnceCell;

use crate::{
    database::{Database, bundles},
    http::{Ask, Http},
    part::RunningPart,
    servers, software,
    verify::violations,
    wait,
    who::{AUDIENCE, ISSUER, SECRET, Who},
    world::Tenant,
};

/// The key that audit checkpoints are sealed with.
pub const SEALING_KEY: &str = "tests-only-sealing-key-0123456789abcdef";

/// What a test can choose about its dispatch-api.
#[derive(Debug, Clone)]
pub struct ApiOptions {
    /// Connections for requests.
    pub pool_size: u32,
    /// Bounds.
    pub limits: Limits,
    /// How often chain heads are sealed.
    pub sealing_interval: Duration,
    /// Where Postgres is, when not where the database says: a proxy in front of it.
    pub database_at: Option<SocketAddr>,
    /// Whether row-level security binds dispatch-api's login.
    pub row_level_security: bool,
    /// The most that software may do by itself.
    pub ceiling: AutonomyMode,
    /// Who may say who calls, besides the tests' own issuer.
    pub issuers: Vec<IssuerConfig>,
    /// Where Temporal is said to be; it is asked for its health only.
    pub temporal_at: Option<SocketAddr>,
}

impl Default for ApiOptions {
    fn default() -> Self {
        Self {
            pool_size: 8,
            // Tests send as fast as they can, and most are not about limits.
            limits: Limits {
                quotas: Quotas::boundless(),
                ..Limits::default()
            },
            sealing_interval: Duration::from_millis(200),
            database_at: None,
            row_level_security: true,
            ceiling: AutonomyMode::Auto,
            issuers: Vec::new(),
            temporal_at: None,
        }
    }
}

/// The system under test. Clones are the same system.
#[derive(Debug, Clone)]
pub struct Stack(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    database: Database,
    tenant: Tenant,
    other: Tenant,
    options: ApiOptions,
    api: Mutex<Option<RunningPart>>,
    metrics: Mutex<Option<SocketAddr>>,
    address: SocketAddr,
    http: Http,
    worker_key: OnceCell<ApiKeyText>,
    // Clients are made from one, so that they share its connections: making one anew is slow.
    client: Client,
}

/// Runs a test against a dispatch-api with default options, then checks all invariants.
pub fn with_api<F>(test: impl FnOnce(Stack) -> F + Send)
where
    F: Future<Output = ()>,
{
    with_api_options(ApiOptions::default(), test);
}

/// The same with other options.
pub fn with_api_options<F>(options: ApiOptions, test: impl FnOnce(Stack) -> F + Send)
where
    F: Future<Output = ()>,
{
    servers::run(async || {
        let stack = Stack::api(options).await;
        test(stack.clone()).await;
        stack.verify().await;
        stack.end().await;
    });
}

impl Stack {
    /// A database with two tenants and a dispatch-api.
    pub async fn api(options: ApiOptions) -> Self {
        let database = Database::create().await;
        Self::on(database, options).await
    }

    /// A dispatch-api on this database.
    pub async fn on(database: Database, options: ApiOptions) -> Self {
        let tenant = Tenant::seed(&database.admin).await;
        let other = Tenant::seed(&database.admin).await;
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let (part, [address, metrics]) = start_api(api_config(&database, &options, any)).await;
        Self(Arc::new(Inner {
            database,
            tenant,
            other,
            options,
            api: Mutex::new(Some(part)),
            metrics: Mutex::new(Some(metrics)),
            address,
            http: Http::new(format!("http://{address}")),
            worker_key: OnceCell::new(),
            client: base_client(address),
        }))
    }

    /// A dispatch-api at this address that somebody else runs, with the database that it uses.
    pub async fn outside(database: Database, address: SocketAddr) -> Self {
        Self(Arc::new(Inner {
            tenant: Tenant::seed(&database.admin).await,
            other: Tenant::seed(&database.admin).await,
            database,
            options: ApiOptions::default(),
            api: Mutex::new(None),
            metrics: Mutex::new(None),
            address,
            http: Http::new(format!("http://{address}")),
            worker_key: OnceCell::new(),
            client: base_client(address),
        }))
    }

    /// The database.
    pub fn database(&self) -> &Database {
        &self.0.database
    }

    /// The database as superuser.
    pub fn admin(&self) -> &PgPool {
        &self.0.database.admin
    }

    /// The tenant that the test is about.
    pub fn tenant(&self) -> &Tenant {
        &self.0.tenant
    }

    /// Another tenant, from which nothing may be seen.
    pub fn other(&self) -> &Tenant {
        &self.0.other
    }

    /// Where the API is.
    pub fn address(&self) -> SocketAddr {
        self.0.address
    }

    /// Raw HTTP without a token.
    pub fn http(&self) -> &Http {
        &self.0.http
    }

    /// A typed client that asks once.
    pub fn client(&self, tenant: &Tenant, who: Who) -> Client {
        self.0.client.with_token(who.token(tenant))
    }

    /// A request of somebody of the first tenant.
    pub fn ask(&self, who: Who, method: Method, path: impl AsRef<str>) -> Ask {
        let token = who.token(self.tenant());
        self.http().request(method, path).token(token)
    }

    /// A command of somebody of the first tenant, with a new key.
    pub fn command(
        &self,
        who: Who,
        operation: Operation,
        ticket: impl Into<Option<TicketId>>,
        body: &Value,
    ) -> Ask {
        let token = who.token(self.tenant());
        self.http()
            .command(operation, ticket.into(), body)
            .token(token)
    }

    /// What the stack's workers call with. Made at the first question: dispatch-api has to run then. Its
    /// account is in the other tenant's records.
    pub async fn worker_key(&self) -> ApiKeyText {
        let make = async || software::worker_key(&self.0.client, self.other().id).await;
        self.0.worker_key.get_or_init(make).await.clone()
    }

    /// The same for workers that start before dispatch-api does: one that ends again makes it.
    pub async fn worker_key_in_advance(&self) -> ApiKeyText {
        let make = async || {
            let any = SocketAddr::from(([127, 0, 0, 1], 0));
            let config = api_config(&self.0.database, &self.0.options, any);
            let (part, [address, _]) = start_api(config).await;
            let key = software::worker_key(&base_client(address), self.other().id).await;
            part.stop().await;
            key
        };
        self.0.worker_key.get_or_init(make).await.clone()
    }

    /// Stops dispatch-api in good order.
    pub async fn stop_api(&self) {
        let part = self.take_api().expect("it runs");
        part.stop().await;
    }

    /// Ends dispatch-api where it stands.
    pub fn kill_api(&self) {
        self.take_api().expect("it runs").kill();
    }

    /// Starts dispatch-api again, at the same address. One that was killed may still be letting go
    /// of it.
    pub async fn start_api(&self) {
        wait::until("a free address", wait::BOUND, || async {
            tokio::net::TcpListener::bind(self.0.address)
                .await
                .map(drop)
        })
        .await;
        let config = api_config(&self.0.database, &self.0.options, self.0.address);
        let (part, [_, metrics]) = start_api(config).await;
        *self.0.api.lock().expect("no holder panicked") = Some(part);
        *self.0.metrics.lock().expect("no holder panicked") = Some(metrics);
    }

    /// Starts another dispatch-api of the same installation: the same database and settings, an address
    /// and a memory of its own.
    pub async fn beside(&self) -> Beside {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let config = api_config(&self.0.database, &self.0.options, any);
        let (part, [address, _]) = start_api(config).await;
        Beside {
            part,
            http: Http::new(format!("http://{address}")),
        }
    }

    /// What dispatch-api serves as its metrics.
    pub async fn metrics(&self) -> String {
        let at = *self.0.metrics.lock().expect("no holder panicked");
        let at = at.expect("it is the stack's own dispatch-api");
        let page = Http::new(format!("http://{at}")).bare(Method::GET, "/metrics");
        page.send().await.text()
    }

    fn take_api(&self) -> Option<RunningPart> {
        self.0.api.lock().expect("no holder panicked").take()
    }

    /// Asserts all invariants of the database.
    pub async fn verify(&self) {
        let found = self.violations().await;
        assert!(found.is_empty(), "invariants are violated: {found:#?}");
    }

    /// What `dispatch verify` finds.
    pub async fn violations(&self) -> Vec<Violation> {
        violations(&self.0.database).await
    }

    /// Stops everything that still runs, and removes the database.
    pub async fn end(self) {
        if let Some(part) = self.take_api() {
            part.stop().await;
        }
        self.0.database.remove().await;
    }
}

/// Another dispatch-api of a stack.
#[derive(Debug)]
pub struct Beside {
    part: RunningPart,
    http: Http,
}

impl Beside {
    /// Raw HTTP to it, without a token.
    pub fn http(&self) -> &Http {
        &self.http
    }

    /// Stops it in good order.
    pub async fn stop(self) {
        self.part.stop().await;
    }
}

fn base_client(address: SocketAddr) -> Client {
    let base = url::Url::parse(&format!("http://{address}")).expect("an address");
    Client::new(&base, "no token")
        .expect("no TLS is needed")
        .with_retry(RetryPolicy::once())
}

fn api_config(database: &Database, options: &ApiOptions, listen: SocketAddr) -> ApiConfig {
    let app = match options.row_level_security {
        true => database.addresses.app.clone(),
        false => store::bootstrap::address_without_rls(&database.addresses.app)
            .expect("the server's own address"),
    };
    let mut url = url::Url::parse(&app).expect("an address");
    if let Some(proxy) = options.database_at {
        url.set_ip_host(proxy.ip()).expect("a URL with a host");
        url.set_port(Some(proxy.port())).expect("a URL with a host");
    }
    ApiConfig {
        listen,
        metrics_listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        database_url: Secret::new(url),
        row_level_security: options.row_level_security,
        maintenance_url: Secret::new(&database.addresses.maintenance),
        pool_size: options.pool_size,
        tokens: TokenConfig {
            secret: Secret::new(SECRET),
            issuer: ISSUER.into(),
            audience: AUDIENCE.into(),
            leeway: Duration::from_secs(5),
            issuers: options.issuers.clone(),
        },
        sealing_key: Secret::new(SEALING_KEY),
        cursor_keys: Vec::new(),
        sealing_interval: options.sealing_interval,
        bundles: bundles(),
        trust: policy::Trust::Anybody,
        ceiling: options.ceiling,
        watched: Watched {
            temporal: options.temporal_at.map(|address| address.to_string()),
            ..Watched::default()
        },
        limits: options.limits,
        failpoints: false,
    }
}

/// Starts it; where it listens, and where it serves its metrics.
async fn start_api(config: ApiConfig) -> (RunningPart, [SocketAddr; 2]) {
    let (tell, told) = tokio::sync::oneshot::channel();
    let part = RunningPart::start("dispatch-api", |shutdown| async move {
        let server = Server::bind(config).await.map_err(|error| chain(&error))?;
        let (api, metrics) = (server.api_address(), server.metrics_address());
        let addresses = api.and_then(|api| Ok([api, metrics?]));
        // A test that has ended does not listen.
        let _ = tell.send(addresses.map_err(|error| error.to_string())?);
        server.run(shutdown).await;
        Ok(())
    });
    match wait::within("dispatch-api's start", wait::BOUND, told).await {
        Ok(addresses) => (part, addresses),
        // It ended before it told: its error says why.
        Err(_) => {
            part.stop().await;
            unreachable!("a part that could not start ends with an error")
        }
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text = format!("{text}: {source}");
        next = source.source();
    }
    text
}
