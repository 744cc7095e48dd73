//! Service accounts and their keys. A key is drawn here, where it is used or handed over; dispatch-api
//! is told its prefix and its hash.

use contracts::{
    Operation, ServiceAccountId, Slug,
    command::*,
    filing::FilingReceipt,
    service_account::{
        ApiKeyPage, ApiKeyText, SECRET_CHARS, ServiceAccountPage, ServiceAccountView,
    },
    value::KeyPrefix,
};
use rand::{RngExt, distr::Alphanumeric};

use crate::{CallOptions, Client, ClientError};

const PREFIX_CHARS: usize = 10;

/// Draws a key that nobody has.
pub fn draw_api_key() -> ApiKeyText {
    let draw = |chars| -> String {
        let letters = rand::rng().sample_iter(Alphanumeric).take(chars);
        letters.map(char::from).collect()
    };
    let prefix = KeyPrefix::new(draw(PREFIX_CHARS)).expect("letters and digits");
    ApiKeyText::assemble(&prefix, &draw(SECRET_CHARS)).expect("letters and digits")
}

macro_rules! filings {
    ($($(#[$doc:meta])* $method:ident = $operation:ident;)+) => {
        impl Client {
            $($(#[$doc])*
            pub async fn $method(
                &self,
                body: &$operation,
                options: &CallOptions,
            ) -> Result<FilingReceipt, ClientError> {
                self.filing(Operation::$operation, body, options).await
            })+
        }
    };
}

filings! {
    /// Writes a service account.
    upsert_service_account = UpsertServiceAccount;
    /// None of an account's keys is good any more.
    disable_service_account = DisableServiceAccount;
    /// Gives a service account a key.
    issue_api_key = IssueApiKey;
    /// Gives a new key in the place of one.
    rotate_api_key = RotateApiKey;
    /// Takes a key back.
    revoke_api_key = RevokeApiKey;
}

impl Client {
    /// A page of the service accounts, by their code.
    pub async fn service_accounts(
        &self,
        after: Option<&Slug>,
        limit: Option<u32>,
    ) -> Result<ServiceAccountPage, ClientError> {
        let query = [
            ("after", after.map(ToString::to_string)),
            ("limit", limit.map(|limit| limit.to_string())),
        ];
        self.read("api/v1/service-accounts", given(query)).await
    }

    /// A service account with its latest keys.
    pub async fn service_account(
        &self,
        id: ServiceAccountId,
    ) -> Result<ServiceAccountView, ClientError> {
        self.read(format!("api/v1/service-accounts/{id}"), Vec::new())
            .await
    }

    /// A page of keys, newest first.
    pub async fn api_keys(
        &self,
        account: Option<ServiceAccountId>,
        prefix: Option<&KeyPrefix>,
        cursor: Option<&str>,
        limit: Option<u32>,
    ) -> Result<ApiKeyPage, ClientError> {
        let query = [
            ("service_account_id", account.map(|id| id.to_string())),
            ("prefix", prefix.map(ToString::to_string)),
            ("cursor", cursor.map(str::to_owned)),
            ("limit", limit.map(|limit| limit.to_string())),
        ];
        self.read("api/v1/api-keys", given(query)).await
    }
}

fn given<const N: usize>(
    query: [(&'static str, Option<String>); N],
) -> Vec<(&'static str, String)> {
    query
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drawn_key_is_one_and_no_two_are_alike() {
        let (one, other) = (draw_api_key(), draw_api_key());
        assert_eq!(ApiKeyText::parse(one.expose()), Ok(one.clone()));
        assert_ne!(one.prefix(), other.prefix());
        assert_ne!(one.hash(), other.hash());
    }
}
