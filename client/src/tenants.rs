//! Tenants: which there are, their life, and a copy of all that is kept of one.

use contracts::{
    Operation, Slug, TenantId,
    command::{
        CancelTenantDeletion, ConfigureTenant, CreateTenant, EraseTenant, LimitTenant,
        RecordTenantExport, RequestTenantDeletion, ResumeTenant, SuspendTenant,
    },
    filing::FilingReceipt,
    tenant::{TenantPage, TenantState, TenantView},
};
use serde::Serialize;

use crate::{
    CallOptions, Client, ClientError, Export, RetryPolicy,
    kill_switch::{ATTEMPT, TOTAL},
};

impl Client {
    /// Makes a tenant.
    pub async fn create_tenant(
        &self,
        body: &CreateTenant,
        options: &CallOptions,
    ) -> Result<FilingReceipt, ClientError> {
        self.filing(Operation::CreateTenant, body, options).await
    }

    /// Sets a tenant up, wholly.
    pub async fn configure_tenant(
        &self,
        body: &ConfigureTenant,
        options: &CallOptions,
    ) -> Result<FilingReceipt, ClientError> {
        let operation = Operation::ConfigureTenant;
        self.turn(operation, body.tenant_id, body, options).await
    }

    /// Sets how much a tenant may use, wholly.
    pub async fn limit_tenant(
        &self,
        body: &LimitTenant,
        options: &CallOptions,
    ) -> Result<FilingReceipt, ClientError> {
        let operation = Operation::LimitTenant;
        self.turn(operation, body.tenant_id, body, options).await
    }

    /// Nothing of a tenant is changed any more.
    pub async fn suspend_tenant(
        &self,
        body: &SuspendTenant,
        options: &CallOptions,
    ) -> Result<FilingReceipt, ClientError> {
        let operation = Operation::SuspendTenant;
        self.turn(operation, body.tenant_id, body, options).await
    }

    /// A suspended tenant works again.
    pub async fn resume_tenant(
        &self,
        body: &ResumeTenant,
        options: &CallOptions,
    ) -> Result<FilingReceipt, ClientError> {
        let operation = Operation::ResumeTenant;
        self.turn(operation, body.tenant_id, body, options).await
    }

    /// A tenant is to be erased when its time of grace is over.
    pub async fn request_tenant_deletion(
        &self,
        body: &RequestTenantDeletion,
        options: &CallOptions,
    ) -> Result<FilingReceipt, ClientError> {
        let operation = Operation::RequestTenantDeletion;
        self.turn(operation, body.tenant_id, body, options).await
    }

    /// It is not to be erased after all.
    pub async fn cancel_tenant_deletion(
        &self,
        body: &CancelTenantDeletion,
        options: &CallOptions,
    ) -> Result<FilingReceipt, ClientError> {
        let operation = Operation::CancelTenantDeletion;
        self.turn(operation, body.tenant_id, body, options).await
    }

    /// Erases what is personal of a tenant whose time of grace is over.
    pub async fn erase_tenant(
        &self,
        body: &EraseTenant,
        options: &CallOptions,
    ) -> Result<FilingReceipt, ClientError> {
        let operation = Operation::EraseTenant;
        self.turn(operation, body.tenant_id, body, options).await
    }

    /// Puts a copy of a tenant on record that was made by other means than an export.
    pub async fn record_tenant_export(
        &self,
        body: &RecordTenantExport,
        options: &CallOptions,
    ) -> Result<FilingReceipt, ClientError> {
        let operation = Operation::RecordTenantExport;
        let about = Some(body.tenant_id.to_string());
        self.send_about(operation, about, body, options).await
    }

    /// A turn waits for the commands that are under way.
    async fn turn<B: Serialize + Sync>(
        &self,
        operation: Operation,
        tenant: TenantId,
        body: &B,
        options: &CallOptions,
    ) -> Result<FilingReceipt, ClientError> {
        let usual = self.retry;
        let patient = self.with_retry(RetryPolicy {
            attempt: usual.attempt.max(ATTEMPT),
            total: usual.total.max(TOTAL),
            ..usual
        });
        patient
            .send_about(operation, Some(tenant.to_string()), body, options)
            .await
    }

    /// A page of the tenants that the caller may know of, by their slug.
    pub async fn tenants(
        &self,
        after: Option<&Slug>,
        state: Option<TenantState>,
        limit: Option<u32>,
    ) -> Result<TenantPage, ClientError> {
        let query = [
            ("after", after.map(ToString::to_string)),
            ("state", state.map(|state| state.to_string())),
            ("limit", limit.map(|limit| limit.to_string())),
        ];
        let query = query
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)));
        self.read("api/v1/tenants", query.collect()).await
    }

    /// A tenant with its settings.
    pub async fn tenant(&self, id: TenantId) -> Result<TenantView, ClientError> {
        self.read(format!("api/v1/tenants/{id}"), Vec::new()).await
    }

    /// Everything that is kept of a tenant, as JSON Lines in parts.
    pub async fn export_tenant(&self, id: TenantId) -> Result<Export, ClientError> {
        let path = format!("api/v1/tenants/{id}/export");
        let response = self.open(&path, &[]).await?;
        Ok(Export::new(self, &path, response))
    }
}
