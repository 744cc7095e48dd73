//! The extractor of all reads.

use axum::{RequestPartsExt, extract::FromRequestParts};
use chrono::{DateTime, Utc};
use contracts::{ActorKind, ErrorCode, Role};
use http::request::Parts;
use policy::BundleSource;
use store::TenantTx;

use super::{Caller, Query};
use crate::{App, problem::Failure};

/// An authenticated question; [`ReadRequest::open`] is the only way to rows, the caller's own.
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

    /// A header, when it is text.
    pub fn header(&self, name: http::HeaderName) -> Option<&str> {
        self.parts.headers.get(name)?.to_str().ok()
    }

    /// Refuses everybody but the tenant's workflow, auditors and the platform's people: the answer
    /// is about how the system works rather than about the job.
    pub fn machinery_only(&self) -> Result<(), Failure> {
        let actor = &self.caller.actor;
        let allowed = actor.kind == ActorKind::Workflow
            || actor.roles.contains(&Role::Auditor)
            || actor.roles.contains(&Role::PlatformAdmin);
        match allowed {
            true => Ok(()),
            false => Err(Failure::new(
                ErrorCode::Forbidden,
                "Only the ticket's workflow, auditors and platform administrators may read this.",
            )),
        }
    }

    /// When it came in.
    pub fn received_at(&self) -> DateTime<Utc> {
        self.caller.context.received_at
    }

    /// Where the policy's data comes from.
    pub fn bundles(&self) -> &dyn BundleSource {
        self.app.bundles()
    }

    /// A read transaction of the caller's tenant.
    pub async fn open(&self) -> Result<TenantTx, Failure> {
        Ok(TenantTx::begin_read(self.app.pool(), self.caller.actor.tenant_id).await?)
    }
}
