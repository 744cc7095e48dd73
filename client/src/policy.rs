//! Policy bundles: which there are, which decides, another one.

use contracts::{
    Operation,
    command::{ActivateBundle, HeldReceipt, UploadBundle},
    filing::FilingReceipt,
    read::{BundleActivations, StoredBundles},
};
use serde::Deserialize;

use crate::{CallOptions, Client, ClientError};

/// How a filing that policy may hold was answered.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum FilingAnswer {
    /// It is done.
    Done(Box<FilingReceipt>),
    /// People have to decide first.
    Held(Box<HeldReceipt>),
}

impl Client {
    /// Keeps a policy bundle; the same one again changes nothing.
    pub async fn upload_bundle(
        &self,
        body: &UploadBundle,
        options: &CallOptions,
    ) -> Result<FilingAnswer, ClientError> {
        self.send_about(Operation::UploadBundle, None, body, options)
            .await
    }

    /// Lets another policy bundle decide.
    pub async fn activate_bundle(
        &self,
        body: &ActivateBundle,
        options: &CallOptions,
    ) -> Result<FilingAnswer, ClientError> {
        self.send_about(Operation::ActivateBundle, None, body, options)
            .await
    }

    /// Every bundle that was uploaded.
    pub async fn policy_bundles(&self) -> Result<StoredBundles, ClientError> {
        self.read("api/v1/policy/bundles", Vec::new()).await
    }

    /// Which bundle decided when, the newest first.
    pub async fn policy_activations(&self) -> Result<BundleActivations, ClientError> {
        self.read("api/v1/policy/activations", Vec::new()).await
    }
}
