//! How much of the process, and of everything, one tenant may use.
//!
//! - **Rates**: a bucket per tenant for commands and one for reads, again both for agents, so that
//!   software which runs wild stops nobody from working, and again for workflows, so that clocks go on and
//!   what stops an agent comes through. Asked right after the token was checked: a refusal has read no
//!   body and taken no connection.
//! - **At once**: a tenant may have as many requests under way as there is room left for others. Alone
//!   it gets half of the room; of several that flood each gets a part, and one part stays free.
//! - **Connections**: tenants in turn ([`turnstile`]).
//! - **Quotas**: open tickets and bytes, measured now and then and counted between ([`gauge`]); the
//!   pipeline asks in the transaction that would use them. Requests that wait.
//!
//! All of it is this process's own memory: nothing of it is right or wrong for another one, and no
//! command waits for a row because of it. What was set for a tenant is read for all tenants at once,
//! every second.

mod bucket;
mod gauge;
mod headers;
mod pace;
mod quotas;
mod turnstile;

use std::{
    borrow::Cow,
    collections::HashMap,
    num::NonZeroU32,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use contracts::{
    Actor, ActorKind, Command, ErrorCode, Operation, TenantId,
    tenant::{QuotaUse, Rate, TenantLimits, TenantQuotas},
};
use governor::clock::MonotonicClock;
use http::header;
use prometheus::{IntCounterVec, Opts};
use sqlx::PgPool;
use tokio::{sync::Semaphore, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{config::Limits, problem::Failure};
use bucket::{Bucket, Standing};
use gauge::Gauge;
use pace::Pace;

pub(crate) use gauge::{Booking, Full};
pub(crate) use headers::NAMES as HEADERS;
pub use quotas::Quotas;
pub(crate) use turnstile::{Pass, Turnstile};

/// How often what was set for tenants is read.
const READ_EVERY: Duration = Duration::from_secs(1);
/// How long a tenant of which nothing is heard is kept. Its buckets are full by then.
const FORGET_AFTER: Duration = Duration::from_secs(600);
/// How long a command waits for the first measurement of its tenant.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long a measurement may take: it goes through all messages of a tenant.
const MEASUREMENT: Duration = Duration::from_secs(60);
/// How often it is said in the log that a tenant is limited.
const SAY_EVERY: Duration = Duration::from_secs(60);
/// What is urgent has this part of the room besides, and one tenant this many of it at once.
const URGENT_ROOM: usize = 8;
const URGENT_AT_ONCE: usize = 8;

/// What each caller may send of that, whatever the tenant has used up: more than anybody has to.
const URGENT_RATE: Rate = Rate {
    per_second: 2,
    burst: 60,
};
/// Callers of a tenant whose urgent commands are counted; of more, all are forgotten.
const URGENT_CALLERS: usize = 1024;
/// Measurements at once: they share their connections with those who seal the audit log.
const MEASUREMENTS: usize = 1;

/// What no rate of the tenant refuses: it ends a flood, or what software does, or the use of a key that
/// leaked, and must get through all of them.
pub(crate) const URGENT: [Operation; 5] = [
    Operation::EngageKillSwitch,
    Operation::LimitTenant,
    Operation::SuspendTenant,
    Operation::RevokeApiKey,
    Operation::DisableServiceAccount,
];

/// What is counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::Display, strum::VariantArray)]
#[strum(serialize_all = "snake_case")]
pub(crate) enum Class {
    /// Commands of people and integrations.
    Commands,
    /// Their reads.
    Reads,
    /// Commands of agents.
    SoftwareCommands,
    /// Their reads.
    SoftwareReads,
    /// Commands of workflows.
    WorkflowCommands,
    /// Their reads.
    WorkflowReads,
}

/// What a route is, as far as limits go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It is refused by no rate of the tenant.
    Urgent,
    Command,
    Read,
}

impl Class {
    fn of(actor: &Actor, kind: Kind) -> Self {
        use ActorKind::{Agent, Integration, Person, Workflow};
        match (actor.kind, kind) {
            (Person | Integration, Kind::Command | Kind::Urgent) => Self::Commands,
            (Person | Integration, Kind::Read) => Self::Reads,
            (Agent, Kind::Command | Kind::Urgent) => Self::SoftwareCommands,
            (Agent, Kind::Read) => Self::SoftwareReads,
            (Workflow, Kind::Command | Kind::Urgent) => Self::WorkflowCommands,
            (Workflow, Kind::Read) => Self::WorkflowReads,
        }
    }
}

/// Why a request was refused, or done with less: what refusals are counted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::Display)]
#[strum(serialize_all = "snake_case")]
pub(crate) enum LimitedBy {
    Commands,
    Reads,
    SoftwareCommands,
    SoftwareReads,
    WorkflowCommands,
    WorkflowReads,
    /// More urgent commands of one caller than anybody has to send.
    Urgent,
    /// Too many of the tenant under way.
    InFlight,
    /// Too many of all tenants under way.
    Room,
    /// Too many API keys that were never seen are being looked up.
    UnknownKeys,
    OpenTickets,
    StorageBytes,
    /// Answered without waiting.
    Subscribers,
}

impl From<Class> for LimitedBy {
    fn from(class: Class) -> Self {
        match class {
            Class::Commands => Self::Commands,
            Class::Reads => Self::Reads,
            Class::SoftwareCommands => Self::SoftwareCommands,
            Class::SoftwareReads => Self::SoftwareReads,
            Class::WorkflowCommands => Self::WorkflowCommands,
            Class::WorkflowReads => Self::WorkflowReads,
        }
    }
}

/// Why a request is not let in.
#[derive(Debug, Clone, Copy)]
enum Why {
    /// A rate of the tenant is used up.
    Rate(Class, Standing),
    /// The caller's own rate of what is urgent is.
    Urgent(Standing),
    /// Too many of the tenant are under way.
    InFlight,
}

impl Why {
    fn text(self) -> Cow<'static, str> {
        match self {
            Self::Rate(class, standing) => {
                let what = match class {
                    Class::Commands | Class::SoftwareCommands | Class::WorkflowCommands => {
                        "commands"
                    }
                    Class::Reads | Class::SoftwareReads | Class::WorkflowReads => "reads",
                };
                let whose = match class {
                    Class::Commands | Class::Reads => "Your tenant",
                    Class::SoftwareCommands | Class::SoftwareReads => "Agents of your tenant",
                    Class::WorkflowCommands | Class::WorkflowReads => "Workflows of your tenant",
                };
                let per_second = standing.rate.per_second;
                format!("{whose} may send {per_second} {what} per second, and sent more.").into()
            }
            Self::Urgent(_) => {
                "You sent more of what is let through whatever your tenant has used up than one \
                 caller may."
                    .into()
            }
            Self::InFlight => "Your tenant has too many requests under way at once.".into(),
        }
    }
}

/// Something of which a tenant may have so much.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::Display)]
#[strum(serialize_all = "snake_case")]
pub(crate) enum Quota {
    OpenTickets,
    StorageBytes,
}

impl Quota {
    const fn reason(self) -> LimitedBy {
        match self {
            Self::OpenTickets => LimitedBy::OpenTickets,
            Self::StorageBytes => LimitedBy::StorageBytes,
        }
    }
}

/// A quota that is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct UsedUp {
    pub quota: Quota,
    pub full: Full,
}

impl UsedUp {
    /// What is said to the caller.
    pub(crate) fn detail(&self) -> String {
        let Full { used, limit } = self.full;
        match self.quota {
            Quota::OpenTickets => format!(
                "Your tenant may have {limit} open tickets, and has {used}. Close some, or have the \
                 quota raised; then send this again with the same request id."
            ),
            Quota::StorageBytes => format!(
                "Your tenant may keep {limit} bytes of messages and policy bundles, keeps {used}, and \
                 this would be too much. Have the quota raised; then send this again with the same \
                 request id."
            ),
        }
    }
}

/// What commands would use; given back unless it is kept.
#[derive(Debug, Default)]
#[must_use]
pub(crate) struct Bookings(Vec<Booking>);

impl Bookings {
    /// It is used.
    pub(crate) fn keep(self) {
        self.0.into_iter().for_each(Booking::keep);
    }
}

/// What a command adds to what its tenant uses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Adds {
    pub tickets: u64,
    pub bytes: u64,
}

/// All limits of one process.
#[derive(Debug)]
pub struct Limiter {
    usual: Quotas,
    set: Mutex<HashMap<TenantId, TenantLimits>>,
    tenants: Mutex<HashMap<TenantId, Arc<Tenant>>>,
    turnstile: Turnstile,
    limited: IntCounterVec,
    /// As the maintenance login: what is set and what is used is looked up beside the requests, and on no
    /// connection of theirs. Nothing is, without it.
    lookout: Option<PgPool>,
    measuring: Arc<Semaphore>,
}

impl Limiter {
    /// With `connections` to Postgres for requests, and others to look at what tenants use.
    pub fn new(limits: &Limits, connections: u32, lookout: Option<PgPool>) -> Self {
        let limited = Opts::new(
            "dispatch_limited_total",
            "Requests that a limit refused, or (subscribers) answered without waiting.",
        );
        Self {
            usual: limits.quotas,
            set: Mutex::default(),
            tenants: Mutex::default(),
            turnstile: Turnstile::new(connections as usize),
            lookout,
            measuring: Arc::new(Semaphore::new(MEASUREMENTS)),
            limited: IntCounterVec::new(limited, &["reason"])
                .expect("a constant name and a constant label"),
        }
    }

    /// What is counted.
    pub(crate) fn metric(&self) -> IntCounterVec {
        self.limited.clone()
    }

    /// The way to the pool.
    pub(crate) fn turnstile(&self) -> &Turnstile {
        &self.turnstile
    }

    /// Counts a refusal.
    pub(crate) fn count(&self, reason: LimitedBy) {
        self.limited.with_label_values(&[reason.to_string()]).inc();
    }

    /// Lets a request of the actor in, or says why not. `free`: how much room there is besides it.
    pub(crate) fn admit(
        &self,
        actor: &Actor,
        kind: Kind,
        free: usize,
    ) -> Result<Admitted, Box<Refused>> {
        let tenant = self.tenant(actor.tenant_id);
        let now = Instant::now();
        tenant.seen(now);
        let class = Class::of(actor, kind);
        if kind == Kind::Urgent {
            if let Err(standing) = tenant.take_urgent(&actor.id) {
                return Err(self.refuse(&tenant, Why::Urgent(standing), now));
            }
            let under_way = Counted::begin(&tenant.urgent);
            return match under_way.others < URGENT_AT_ONCE {
                true => Ok(Admitted {
                    told: None,
                    _under_way: under_way,
                }),
                false => Err(self.refuse(&tenant, Why::InFlight, now)),
            };
        }
        let under_way = Counted::begin(&tenant.under_way);
        if under_way.others > 0 && under_way.others > free {
            return Err(self.refuse(&tenant, Why::InFlight, now));
        }
        match tenant.rates().bucket(class).take(NonZeroU32::MIN) {
            Ok(standing) => Ok(Admitted {
                told: Some((class, standing)),
                _under_way: under_way,
            }),
            Err(standing) => Err(self.refuse(&tenant, Why::Rate(class, standing), now)),
        }
    }

    /// Lets so many more commands of the same request in, all or none.
    pub(crate) fn admit_more(&self, actor: &Actor, more: u32) -> Result<(), Failure> {
        let Some(more) = NonZeroU32::new(more) else {
            return Ok(());
        };
        let tenant = self.tenant(actor.tenant_id);
        let class = Class::of(actor, Kind::Command);
        let taken = tenant.rates().bucket(class).take(more);
        taken.map(drop).map_err(|standing| {
            self.refuse(&tenant, Why::Rate(class, standing), Instant::now())
                .failure
        })
    }

    fn refuse(&self, tenant: &Tenant, why: Why, now: Instant) -> Box<Refused> {
        let (reason, told, standing) = match why {
            Why::InFlight => (LimitedBy::InFlight, None, None),
            Why::Urgent(standing) => (LimitedBy::Urgent, None, Some(standing)),
            Why::Rate(class, standing) => (class.into(), Some((class, standing)), Some(standing)),
        };
        self.count(reason);
        tenant.say(reason, now);
        let after = standing.map_or(1, |standing| standing.reset_seconds);
        let mut failure = Failure::new(
            ErrorCode::RateLimited,
            format!(
                "{} Send it again, with the same request id, after the time that Retry-After says.",
                why.text()
            ),
        );
        if let Some(Standing { rate, .. }) = standing {
            failure = failure
                .fact("per_second", rate.per_second)
                .fact("burst", rate.burst);
        }
        Box::new(Refused {
            failure: failure
                .fact("policy", reason.to_string())
                .header(header::RETRY_AFTER, after.to_string()),
            told,
            delay: tenant.pace().delay(now),
        })
    }

    /// Room for one more request of the tenant that waits.
    pub(crate) fn subscribe(&self, tenant: TenantId) -> Option<Subscribed> {
        let tenant = self.tenant(tenant);
        let waits = Counted::begin(&tenant.subscribers);
        match waits.others < tenant.rates().quotas.subscribers as usize {
            true => Some(Subscribed { _waits: waits }),
            false => {
                self.count(LimitedBy::Subscribers);
                tenant.say(LimitedBy::Subscribers, Instant::now());
                None
            }
        }
    }

    /// Sees to it that it is known what the tenant uses, where the command may add to it. The first one
    /// waits for it a little; it holds no connection yet.
    pub(crate) async fn prepare(self: &Arc<Self>, id: TenantId, command: &Command) {
        let [tickets, bytes] = may_add(command);
        let tenant = self.tenant(id);
        for (quota, _) in [(Quota::OpenTickets, tickets), (Quota::StorageBytes, bytes)]
            .into_iter()
            .filter(|(_, adds)| *adds)
        {
            self.look(id, &tenant, quota).await;
        }
    }

    async fn look(self: &Arc<Self>, id: TenantId, tenant: &Arc<Tenant>, of: Quota) {
        let Some(lookout) = &self.lookout else {
            return;
        };
        let (gauge, rates) = (tenant.gauge(of), tenant.rates());
        let (limit, at_once) = match of {
            Quota::OpenTickets => (rates.quotas.open_tickets, 1),
            Quota::StorageBytes => (rates.quotas.storage_bytes, LARGEST),
        };
        let per_second = u64::from(rates.quotas.commands.per_second).saturating_mul(at_once);
        if gauge.wants_measuring(limit, per_second, Instant::now()) {
            let (lookout, gauge) = (lookout.clone(), Arc::clone(gauge));
            let turn = Arc::clone(&self.measuring);
            tokio::spawn(async move {
                let _turn = turn.acquire().await;
                measure(&lookout, id, of, &gauge).await;
            });
        }
        gauge.known(PATIENCE).await;
    }

    /// Takes what a command of the tenant is about to use.
    pub(crate) fn claim(&self, tenant: TenantId, adds: Adds) -> Result<Bookings, UsedUp> {
        let mut claims = Bookings::default();
        if adds == Adds::default() {
            return Ok(claims);
        }
        let tenant = self.tenant(tenant);
        let quotas = tenant.rates().quotas;
        for (quota, amount, limit) in [
            (Quota::OpenTickets, adds.tickets, quotas.open_tickets),
            (Quota::StorageBytes, adds.bytes, quotas.storage_bytes),
        ] {
            if amount == 0 {
                continue;
            }
            match tenant.gauge(quota).claim(amount, limit) {
                Ok(claim) => claims.0.push(claim),
                Err(full) => {
                    self.count(quota.reason());
                    tenant.say(quota.reason(), Instant::now());
                    return Err(UsedUp { quota, full });
                }
            }
        }
        Ok(claims)
    }

    /// A ticket of the tenant was closed (−1), or is open again (1).
    pub(crate) fn turned(&self, tenant: TenantId, open: i64) {
        if open != 0 {
            self.tenant(tenant).open_tickets.add(open);
        }
    }

    /// All told about a tenant for which this was set.
    pub(crate) async fn quotas(self: &Arc<Self>, id: TenantId, set: &TenantLimits) -> TenantQuotas {
        let tenant = self.tenant(id);
        for quota in [Quota::OpenTickets, Quota::StorageBytes] {
            self.look(id, &tenant, quota).await;
        }
        let Quotas {
            commands,
            reads,
            open_tickets,
            storage_bytes,
            subscribers,
        } = self.usual.with(set);
        let waiting = tenant.subscribers.load(Ordering::Relaxed) as u64;
        TenantQuotas {
            commands,
            reads,
            open_tickets: QuotaUse {
                used: tenant.open_tickets.used(),
                limit: open_tickets,
            },
            storage_bytes: QuotaUse {
                used: tenant.storage_bytes.used(),
                limit: storage_bytes,
            },
            subscribers: QuotaUse {
                used: Some(waiting),
                limit: subscribers.into(),
            },
        }
    }

    /// Reads what was set for tenants until the process stops. A tenant of which nothing could be read has
    /// what it had, and at the start what is usual.
    pub(crate) async fn follow(&self, stop: &CancellationToken) {
        let Some(lookout) = &self.lookout else {
            return;
        };
        let mut every = tokio::time::interval(READ_EVERY);
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = every.tick() => {}
                () = stop.cancelled() => return,
            }
            match store::tenants::limits(lookout).await {
                Ok(set) => self.apply(set),
                Err(error) => {
                    let cause = &error as &dyn std::error::Error;
                    tracing::debug!(error = cause, "what is set for tenants was not read");
                }
            }
            self.forget(Instant::now());
        }
    }

    fn apply(&self, set: HashMap<TenantId, TenantLimits>) {
        let mut known = lock(&self.set);
        if *known == set {
            return;
        }
        *known = set;
        for (id, tenant) in lock(&self.tenants).iter() {
            let quotas = self
                .usual
                .with(known.get(id).unwrap_or(&TenantLimits::default()));
            tenant.set(quotas);
        }
    }

    fn forget(&self, now: Instant) {
        lock(&self.tenants).retain(|_, tenant| {
            let idle = Arc::strong_count(tenant) == 1 && tenant.idle(now) >= FORGET_AFTER;
            !(idle && tenant.is_at_rest())
        });
    }

    fn tenant(&self, id: TenantId) -> Arc<Tenant> {
        if let Some(known) = lock(&self.tenants).get(&id) {
            return Arc::clone(known);
        }
        // In the order of `apply`.
        let set = lock(&self.set);
        let quotas = self
            .usual
            .with(set.get(&id).unwrap_or(&TenantLimits::default()));
        let mut tenants = lock(&self.tenants);
        let tenant = tenants.entry(id);
        Arc::clone(tenant.or_insert_with(|| Arc::new(Tenant::new(id, quotas))))
    }
}

async fn measure(lookout: &PgPool, id: TenantId, of: Quota, gauge: &Gauge) {
    let before = gauge.added();
    let begun = Instant::now();
    let counted = async {
        match of {
            Quota::OpenTickets => store::tenants::open_tickets(lookout, id).await,
            Quota::StorageBytes => store::tenants::storage_bytes(lookout, id).await,
        }
    };
    let counted = tokio::time::timeout(MEASUREMENT, counted).await;
    let value = match counted {
        Ok(Ok(value)) => Some(value),
        Ok(Err(error)) => {
            let cause = &error as &dyn std::error::Error;
            tracing::warn!(tenant = %id, quota = %of, error = cause, "not measured");
            None
        }
        Err(_) => {
            tracing::warn!(tenant = %id, quota = %of, "not measured in time");
            None
        }
    };
    let now = Instant::now();
    gauge.measured(value, before, now - begun, now);
}

/// What one request can add to what is kept at most.
const LARGEST: u64 = 256 * 1024;

/// Whether the command may open a ticket, and whether it may keep bytes.
fn may_add(command: &Command) -> [bool; 2] {
    match command {
        Command::CreateTicket(_) => [true, false],
        Command::CommsInbound(_) => [true, true],
        Command::CommsOutbound(_) | Command::UploadBundle(_) => [false, true],
        _ => [false, false],
    }
}

/// How many bytes of the command are kept when it is carried out.
pub(crate) fn kept_bytes(command: &Command) -> u64 {
    let bytes = match command {
        Command::CommsInbound(body) => {
            let raw = body.raw.as_ref().map_or(0, |raw| raw.as_str().len());
            body.text.as_str().len() + raw
        }
        Command::CommsOutbound(body) => body.text.as_str().len(),
        // It comes in base64.
        Command::UploadBundle(body) => body.archive.len() / 4 * 3,
        _ => 0,
    };
    bytes as u64
}

/// A request that was let in; it is under way until this is dropped.
#[derive(Debug)]
pub(crate) struct Admitted {
    told: Option<(Class, Standing)>,
    _under_way: Counted,
}

impl Admitted {
    /// Tells the caller what is left.
    pub(crate) fn tell(&self, headers: &mut http::HeaderMap) {
        if let Some((class, standing)) = &self.told {
            headers::write(headers, *class, standing);
        }
    }
}

/// A request that was not let in.
#[derive(Debug)]
pub(crate) struct Refused {
    failure: Failure,
    told: Option<(Class, Standing)>,
    /// For how long the refusal is kept back.
    pub delay: Duration,
}

impl Refused {
    /// The answer.
    pub(crate) fn answer(self) -> axum::response::Response {
        let mut response = axum::response::IntoResponse::into_response(self.failure);
        if let Some((class, standing)) = &self.told {
            headers::write(response.headers_mut(), *class, standing);
        }
        response
    }
}

/// A request that waits, until this is dropped.
#[derive(Debug)]
pub(crate) struct Subscribed {
    _waits: Counted,
}

/// One more of them, until this is dropped.
#[derive(Debug)]
struct Counted {
    count: Arc<AtomicUsize>,
    /// How many there were besides.
    others: usize,
}

impl Counted {
    fn begin(count: &Arc<AtomicUsize>) -> Self {
        Self {
            others: count.fetch_add(1, Ordering::Relaxed),
            count: Arc::clone(count),
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The rates of one tenant, and all else that may be set for it.
#[derive(Debug)]
struct Rates {
    quotas: Quotas,
    buckets: [Bucket; 6],
}

impl Rates {
    fn new(quotas: Quotas) -> Self {
        let (commands, reads) = (quotas.commands, quotas.reads);
        Self {
            quotas,
            buckets: [commands, reads, commands, reads, commands, reads]
                .map(|rate| Bucket::new(rate, MonotonicClock)),
        }
    }

    fn bucket(&self, class: Class) -> &Bucket {
        &self.buckets[class as usize]
    }
}

/// What this process knows of a tenant.
#[derive(Debug)]
struct Tenant {
    id: TenantId,
    rates: Mutex<Arc<Rates>>,
    under_way: Arc<AtomicUsize>,
    urgent: Arc<AtomicUsize>,
    urgent_of: Mutex<HashMap<String, Bucket>>,
    subscribers: Arc<AtomicUsize>,
    open_tickets: Arc<Gauge>,
    storage_bytes: Arc<Gauge>,
    pace: Mutex<Pace>,
    seen: Mutex<Instant>,
    said: Mutex<Option<Instant>>,
}

impl Tenant {
    fn new(id: TenantId, quotas: Quotas) -> Self {
        Self {
            id,
            rates: Mutex::new(Arc::new(Rates::new(quotas))),
            under_way: Arc::default(),
            urgent: Arc::default(),
            urgent_of: Mutex::default(),
            subscribers: Arc::default(),
            open_tickets: Arc::default(),
            storage_bytes: Arc::default(),
            pace: Mutex::default(),
            seen: Mutex::new(Instant::now()),
            said: Mutex::default(),
        }
    }

    fn rates(&self) -> Arc<Rates> {
        Arc::clone(&lock(&self.rates))
    }

    /// From now on; what was used of another rate is forgotten with it.
    fn set(&self, quotas: Quotas) {
        let mut rates = lock(&self.rates);
        if rates.quotas != quotas {
            *rates = Arc::new(Rates::new(quotas));
        }
    }

    /// Takes one of a caller's own.
    fn take_urgent(&self, caller: &str) -> Result<(), Standing> {
        let mut callers = lock(&self.urgent_of);
        if callers.len() >= URGENT_CALLERS && !callers.contains_key(caller) {
            callers.clear();
        }
        let own = callers.entry(caller.to_owned());
        let own = own.or_insert_with(|| Bucket::new(URGENT_RATE, MonotonicClock));
        own.take(NonZeroU32::MIN).map(drop)
    }

    fn gauge(&self, of: Quota) -> &Arc<Gauge> {
        match of {
            Quota::OpenTickets => &self.open_tickets,
            Quota::StorageBytes => &self.storage_bytes,
        }
    }

    fn pace(&self) -> MutexGuard<'_, Pace> {
        lock(&self.pace)
    }

    fn seen(&self, now: Instant) {
        *lock(&self.seen) = now;
    }

    fn idle(&self, now: Instant) -> Duration {
        now.saturating_duration_since(*lock(&self.seen))
    }

    fn is_at_rest(&self) -> bool {
        [&self.under_way, &self.urgent, &self.subscribers]
            .iter()
            .all(|count| count.load(Ordering::Relaxed) == 0)
    }

    /// Metrics have no names of tenants, of which there may be any number; the log has, now and then.
    fn say(&self, reason: LimitedBy, now: Instant) {
        let mut said = lock(&self.said);
        if said.is_none_or(|last| now >= last + SAY_EVERY) {
            *said = Some(now);
            tracing::warn!(tenant = %self.id, %reason, "a tenant is limited");
        }
    }
}

/// How much room what is urgent has besides, in a process with room for so many.
pub(crate) const fn urgent_room(in_flight: usize) -> usize {
    in_flight / URGENT_ROOM
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
