//! The extractor of all reads.

use std::{sync::Arc, time::Duration};

use axum::{
    RequestPartsExt,
    extract::{FromRequestParts, MatchedPath},
    response::Response,
};
use chrono::{DateTime, Utc};
use contracts::{
    Actor, ActorKind, ApiPermission, ErrorCode, Role, TenantId,
    event::AutonomyMode,
    tenant::{TenantLimits, TenantQuotas},
};
use http::request::Parts;
use policy::{Bundle, Reads};
use store::{
    TenantTx,
    bundles::Place,
    read::{Homes, Sees},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{Caller, ExportRecord, Needed, Query, Rights, guard::still_known};
use crate::{
    App,
    bundles::NoBundle,
    cursor::{NotOurs, Place as PlaceInList},
    endpoint::route_name,
    exports::Exports,
    limits::Pass,
    problem::Failure,
    unread::Unread,
};

/// An authenticated question; [`ReadRequest::open`] is the only way to rows, the caller's own, and
/// opens only for who may read them.
#[derive(Debug)]
pub struct ReadRequest {
    app: App,
    caller: Caller,
    parts: Parts,
}

impl FromRequestParts<App> for ReadRequest {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Failure> {
        let caller: Caller = parts.extract_with_state(app).await?;
        Ok(Self {
            app: app.clone(),
            caller,
            parts: parts.clone(),
        })
    }
}

impl ReadRequest {
    /// The query string; `known` are the operation's parameters.
    pub fn query(&self, known: &[&str]) -> Result<Query, Failure> {
        Query::read(&self.parts, known)
    }

    /// Where the page that is asked for begins, if the caller gave a cursor; as `store` names it.
    pub fn cursor(&self, query: &Query) -> Result<Option<String>, Failure> {
        let Some(cursor) = query.get::<String>("cursor")? else {
            return Ok(None);
        };
        let keys = self.app.cursor_keys();
        match self.in_list(|list| keys.open(list, &cursor)) {
            Ok(place) => Ok(Some(place)),
            Err(NotOurs) => Err(Failure::no_cursor()),
        }
    }

    /// The cursor of the next page, as it goes out.
    pub fn next_cursor(&self, place: Option<String>) -> Option<String> {
        let keys = self.app.cursor_keys();
        place.map(|place| self.in_list(|list| keys.sign(list, &place)))
    }

    fn in_list<T>(&self, what: impl FnOnce(PlaceInList<'_>) -> T) -> T {
        let matched = self.parts.extensions.get::<MatchedPath>();
        let route = route_name(matched.map_or("", MatchedPath::as_str));
        what(PlaceInList {
            tenant: self.caller.actor.tenant_id,
            route: &route,
        })
    }

    /// A header, when it is text.
    pub fn header(&self, name: http::HeaderName) -> Option<&str> {
        self.parts.headers.get(name)?.to_str().ok()
    }

    /// How much the caller sees of what is the same for all tenants.
    pub fn sees(&self) -> Sees {
        match self.caller.actor.roles.contains(&Role::PlatformAdmin) {
            true => Sees::Everybody,
            false => Sees::OwnTenant,
        }
    }

    /// Whose homes the caller sees: those who plan and those who keep the directory everybody's, a
    /// technician their own. Software that advises is given what it needs with its input.
    pub fn homes(&self) -> Homes {
        const MAY: [Role; 3] = [Role::Dispatcher, Role::TenantAdmin, Role::PlatformAdmin];
        let actor = &self.caller.actor;
        let plans = match actor.kind {
            ActorKind::Person | ActorKind::Integration => {
                MAY.iter().any(|role| actor.roles.contains(role))
            }
            ActorKind::Agent | ActorKind::Workflow => false,
        };
        match (plans, actor.technician_id) {
            (true, _) => Homes::All,
            (false, Some(own)) => Homes::Of(own),
            (false, None) => Homes::None,
        }
    }

    /// Who asks.
    pub fn actor(&self) -> &Actor {
        &self.caller.actor
    }

    /// When it came in.
    pub fn received_at(&self) -> DateTime<Utc> {
        self.caller.context.received_at
    }

    /// The bundle with this hash.
    pub async fn bundle(&self, sha256: &str) -> Result<Arc<Bundle>, NoBundle> {
        self.app
            .bundles()
            .load(Place::Pool(self.app.pool()), sha256)
            .await
    }

    /// The most that software may do by itself in this environment.
    pub fn ceiling(&self) -> AutonomyMode {
        self.app.pipeline().ceiling()
    }

    /// Guardrails that could not be read.
    pub fn unread(&self) -> &Unread {
        self.app.unread()
    }

    /// The exports of tenants that are being read.
    pub fn exports(&self) -> &Arc<Exports> {
        self.app.exports()
    }

    /// Puts on record that a tenant is exported, as a command of the caller; when that was refused,
    /// its answer.
    pub async fn begin_export(&self, tenant: TenantId) -> Result<ExportRecord, Response> {
        ExportRecord::begin(self.app.clone(), self.caller.clone(), tenant).await
    }

    /// What the process finishes before it ends.
    pub fn tasks(&self) -> &TaskTracker {
        self.app.commands()
    }

    /// Cancelled when the process was asked to stop.
    pub fn stopping(&self) -> &CancellationToken {
        self.app.stopping()
    }

    /// A transaction in which a read notes that somebody has read; nothing else may use it. None for a
    /// tenant that is not active: nothing of it is written.
    pub async fn open_to_note(&self) -> Result<Option<TenantTx>, Failure> {
        const LOCK_TIMEOUT: Duration = Duration::from_secs(3);
        let tenant_id = self.caller.actor.tenant_id;
        let pass = self.pass().await;
        let mut tx = TenantTx::begin(self.app.pool(), tenant_id, LOCK_TIMEOUT).await?;
        tx.keep(pass);
        tx.not_erased().await?;
        if tx.is_active().await? {
            return Ok(Some(tx));
        }
        tx.rollback().await?;
        Ok(None)
    }

    /// Refuses what goes on after its credential has ended, or came to stand for somebody who may do
    /// something else.
    pub async fn still_known(&self) -> Result<(), Failure> {
        still_known(&self.app, &self.caller, &self.parts.headers).await
    }

    /// Whether the caller runs the installation: a person of the platform, and no software.
    pub fn runs_installation(&self) -> bool {
        let actor = &self.caller.actor;
        actor.kind == ActorKind::Person && actor.roles.contains(&Role::PlatformAdmin)
    }

    /// A read transaction of a tenant: the caller's own, or any for whoever runs the installation. To
    /// the others there is no other.
    pub async fn open_about(&self, tenant: TenantId) -> Result<TenantTx, Failure> {
        let own = self.open().await?;
        if tenant == own.tenant_id() {
            return Ok(own);
        }
        own.commit().await?;
        let none = || Failure::no_such("tenant");
        if !self.runs_installation() {
            return Err(none());
        }
        let pass = self.pass().await;
        let mut tx = TenantTx::begin_oversight(self.app.pool(), tenant).await?;
        tx.keep(pass);
        match store::tenants::is_known(&mut tx).await? {
            true => Ok(tx),
            false => Err(none()),
        }
    }

    /// A read transaction of the caller's tenant, for who has the permission that the route needs.
    pub async fn open(&self) -> Result<TenantTx, Failure> {
        Ok(self.open_with_rights().await?.0)
    }

    /// Another transaction of a read that has been allowed already.
    ///
    /// # Errors
    /// As [`TenantTx::begin_read`].
    pub async fn open_again(&self) -> Result<TenantTx, store::Error> {
        let pass = self.pass().await;
        let mut tx = TenantTx::begin_read(self.app.pool(), self.caller.actor.tenant_id).await?;
        tx.keep(pass);
        Ok(tx)
    }

    /// The turn of the caller's tenant at the connections to Postgres.
    async fn pass(&self) -> Pass {
        let turnstile = self.app.limiter().turnstile();
        turnstile.pass(self.caller.actor.tenant_id, false).await
    }

    /// How much a tenant may use and uses, for which this was set.
    pub async fn quotas(&self, tenant: TenantId, set: &TenantLimits) -> TenantQuotas {
        let limiter = self.app.limiter();
        limiter.quotas(tenant, set).await
    }

    /// The same, and what else the caller may read. The bundle that is active in this transaction
    /// says both: one that takes a right away takes it away from the next read on, in every process.
    pub async fn open_with_rights(&self) -> Result<(TenantTx, Rights), Failure> {
        let Some(Needed(Some(ApiPermission::Read(permission)))) = self.parts.extensions.get()
        else {
            return Err(Failure::internal("the route needs no permission to read"));
        };
        let (tx, rights) = judged(&self.app, &self.caller).await?;
        rights.demand(*permission)?;
        Ok((tx, rights))
    }
}

/// A read transaction of the caller's tenant, and what they may read in it.
pub(super) async fn judged(app: &App, caller: &Caller) -> Result<(TenantTx, Rights), Failure> {
    let actor = &caller.actor;
    let pass = app.limiter().turnstile().pass(actor.tenant_id, false).await;
    let (mut tx, sha256) = TenantTx::begin_judged(app.pool(), actor.tenant_id).await?;
    tx.keep(pass);
    // Where no bundle decides yet, nothing can be done; what is there can still be seen.
    let reads = match sha256 {
        None => Reads::of_program(),
        Some(sha256) => reads_of(app, &mut tx, &sha256).await?,
    };
    let rights = Rights::new(reads, Arc::clone(actor), caller.scopes.clone());
    Ok((tx, rights))
}

/// The table of a bundle, read on the connection that is held anyway: many readers that meet a new
/// bundle at once must not wait for a connection more.
async fn reads_of(app: &App, tx: &mut TenantTx, sha256: &str) -> Result<Arc<Reads>, Failure> {
    match app.bundles().load(Place::Tx(tx), sha256).await {
        Ok(bundle) => Ok(Arc::clone(bundle.reads())),
        Err(NoBundle::Store(error)) => Err(error.into()),
        Err(error) => Err(Failure::new(
            ErrorCode::PolicyUnavailable,
            "The active policy bundle cannot be loaded here, so it is not known who may read \
             this. Try again later; an operator finds the reason in the log.",
        )
        .fact("reason", "BUNDLE_UNUSABLE")
        .caused_by(error)),
    }
}
