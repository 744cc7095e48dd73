//! Into an object store: credentials and endpoint come from the variables that every tool of S3
//! reads.
//!
//! Nothing is uploaded before the whole artifact lies on this machine, and the summary goes last:
//! whoever finds it finds the rest. Nothing that is there already is written over, so two that go to
//! the same place at once do not mix: the store refuses the first file of the second.
//!
//! An artifact in a store is of one tenant, which every key names below the prefix: so a policy of the
//! bucket can let somebody at one tenant's artifacts and at no other's.

use std::{fmt, path::Path, str::FromStr};

use aws_credential_types::Credentials;
use aws_sdk_s3::{
    Client,
    config::{BehaviorVersion, Region, timeout::TimeoutConfig},
    error::{DisplayErrorContext, ProvideErrorMetadata, SdkError},
    primitives::ByteStream,
};
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};

use contracts::TenantId;

use crate::{
    Error,
    artifact::{FILES, SUMMARY},
};

/// Where a store of our own has no regions.
const ANY_REGION: &str = "us-east-1";
const CONNECT_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(10);
/// Begins the part of a key that names a tenant.
const TENANT: &str = "tenant=";

/// `s3://bucket/prefix`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    bucket: String,
    prefix: String,
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not of the form s3://BUCKET/PREFIX");
        let rest = text.strip_prefix("s3://").ok_or_else(wrong)?;
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let prefix = prefix.trim_end_matches('/');
        let odd = |part: &str| part.is_empty() || part == "." || part == "..";
        if bucket.is_empty() || !prefix.is_empty() && prefix.split('/').any(odd) {
            return Err(wrong());
        }
        // It would lie among the artifacts of whom it names.
        if prefix.split('/').any(|part| part.starts_with(TENANT)) {
            return Err(format!(
                "`{text}` names a tenant: leave `{TENANT}…` out, it is added behind the prefix"
            ));
        }
        Ok(Self {
            bucket: bucket.to_owned(),
            prefix: prefix.to_owned(),
        })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s3://{}", self.bucket)?;
        if !self.prefix.is_empty() {
            write!(f, "/{}", self.prefix)?;
        }
        Ok(())
    }
}

impl Place {
    /// Where the artifacts of this tenant are, below it.
    #[must_use]
    pub fn of_tenant(mut self, tenant: TenantId) -> Self {
        self.prefix = self.key(&format!("{TENANT}{tenant}"));
        self
    }

    fn key(&self, name: &str) -> String {
        match self.prefix.as_str() {
            "" => name.to_owned(),
            prefix => format!("{prefix}/{name}"),
        }
    }
}

/// A tenant's place in a store.
#[derive(Debug, Clone)]
pub struct Store {
    client: Client,
    place: Place,
}

impl Store {
    /// The store that these variables name: `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`,
    /// `AWS_SESSION_TOKEN`, `AWS_REGION` (or `AWS_DEFAULT_REGION`), `AWS_ENDPOINT_URL_S3` (or
    /// `AWS_ENDPOINT_URL`), for artifacts of this tenant. A given endpoint is asked path style.
    ///
    /// # Errors
    /// [`Error::Place`] names the variable that is missing.
    pub fn new(
        place: Place,
        tenant: TenantId,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, Error> {
        let place = place.of_tenant(tenant);
        let given = |name: &str| variable(name).filter(|value| !value.is_empty());
        let required = |name: &str| {
            given(name).ok_or_else(|| {
                Error::Place(format!(
                    "{place}: {name} is not set; credentials come from AWS_ACCESS_KEY_ID and \
                     AWS_SECRET_ACCESS_KEY (and AWS_SESSION_TOKEN)"
                ))
            })
        };
        let credentials = Credentials::new(
            required("AWS_ACCESS_KEY_ID")?,
            required("AWS_SECRET_ACCESS_KEY")?,
            given("AWS_SESSION_TOKEN"),
            None,
            "environment",
        );
        let endpoint = given("AWS_ENDPOINT_URL_S3").or_else(|| given("AWS_ENDPOINT_URL"));
        let region = given("AWS_REGION").or_else(|| given("AWS_DEFAULT_REGION"));
        let region = match (region, &endpoint) {
            (Some(region), _) => region,
            (None, Some(_)) => ANY_REGION.to_owned(),
            (None, None) => {
                return Err(Error::Place(format!(
                    "{place}: AWS_REGION is not set: the bucket's region, for example eu-west-1; a \
                     store of your own is named by AWS_ENDPOINT_URL_S3"
                )));
            }
        };
        let http = aws_smithy_http_client::Builder::new();
        let plain = endpoint
            .as_ref()
            .is_some_and(|url| url.starts_with("http://"));
        let http = match plain {
            true => http.build_http(),
            false => http
                .tls_provider(Provider::Rustls(CryptoMode::Ring))
                .build_https(),
        };
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .build();
        let mut config = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .credentials_provider(credentials)
            .region(Region::new(region))
            .http_client(http)
            .timeout_config(timeouts);
        if let Some(endpoint) = endpoint {
            config = config.endpoint_url(endpoint).force_path_style(true);
        }
        Ok(Self {
            client: Client::from_conf(config.build()),
            place,
        })
    }

    /// Where it is.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Whether an artifact can go there: asked before the work, so that a wrong secret costs no
    /// hour.
    ///
    /// # Errors
    /// [`Error::Place`] when there is one; [`Error::S3`] when the store refuses.
    pub async fn check(&self) -> Result<(), Error> {
        for name in FILES.into_iter().rev() {
            let key = self.place.key(name);
            let found = self
                .client
                .list_objects_v2()
                .bucket(&self.place.bucket)
                .prefix(&key)
                .max_keys(1)
                .send()
                .await
                .map_err(|error| self.refused(&format!("looking at {}", self.place), &error))?;
            if found.contents().iter().any(|of| of.key() == Some(&key)) {
                return Err(self.occupied(name));
            }
        }
        Ok(())
    }

    fn occupied(&self, name: &str) -> Error {
        let what = match name {
            SUMMARY => "an artifact already",
            _ => "part of an artifact, of an upload that goes on or did not end",
        };
        Error::Place(format!(
            "{} holds {what} ({name} is there); choose another prefix",
            self.place
        ))
    }

    /// Uploads the files of a complete artifact, the summary last.
    ///
    /// # Errors
    /// [`Error::Place`] when another upload was faster; [`Error::S3`] when the store refuses. Then the
    /// summary is not there, or another's.
    pub async fn upload(&self, dir: &Path) -> Result<(), Error> {
        for name in FILES {
            let path = dir.join(name);
            let body = ByteStream::from_path(&path)
                .await
                .map_err(|error| Error::io(&path)(std::io::Error::other(error)))?;
            self.client
                .put_object()
                .bucket(&self.place.bucket)
                .key(self.place.key(name))
                .content_type(content_type(name))
                .if_none_match("*")
                .body(body)
                .send()
                .await
                .map_err(|error| match error.code() {
                    // The second is what a store says while the other is still writing.
                    Some("PreconditionFailed" | "ConditionalRequestConflict") => {
                        self.occupied(name)
                    }
                    _ => self.refused(&format!("writing {}/{name}", self.place), &error),
                })?;
        }
        Ok(())
    }

    fn refused<E>(&self, what: &str, error: &SdkError<E>) -> Error
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
        SdkError<E>: std::error::Error + 'static,
    {
        let bucket = &self.place.bucket;
        let reason = match error.code() {
            Some("NoSuchBucket") => format!("there is no bucket `{bucket}`"),
            Some("AccessDenied") => {
                format!("access to `{bucket}` is denied for this AWS_ACCESS_KEY_ID")
            }
            Some("InvalidAccessKeyId") => "the store does not know this AWS_ACCESS_KEY_ID".into(),
            Some("SignatureDoesNotMatch") => {
                "AWS_SECRET_ACCESS_KEY does not belong to AWS_ACCESS_KEY_ID".into()
            }
            Some("PermanentRedirect" | "AuthorizationHeaderMalformed") => {
                format!("the bucket `{bucket}` is in another region than AWS_REGION says")
            }
            _ => DisplayErrorContext(error).to_string(),
        };
        Error::S3 {
            what: what.to_owned(),
            reason,
        }
    }
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit_once('.') {
        Some((_, "html")) => "text/html; charset=utf-8",
        Some((_, "jsonl")) => "application/x-ndjson",
        _ => "application/json",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant() -> TenantId {
        "ten_00000000000000000000000000000007".parse().unwrap()
    }

    #[test]
    fn a_place_is_a_bucket_a_prefix_and_a_tenant() {
        for (text, key) in [
            ("s3://records", "summary.json"),
            ("s3://records/", "summary.json"),
            ("s3://records/a/b/", "a/b/summary.json"),
        ] {
            let place: Place = text.parse().unwrap();
            assert_eq!(place.bucket, "records");
            assert_eq!(place.key(SUMMARY), key);
            let below = format!("{TENANT}{}/{SUMMARY}", tenant());
            let of_tenant = place.of_tenant(tenant());
            assert_eq!(of_tenant.key(SUMMARY), key.replace(SUMMARY, &below));
        }
        for wrong in [
            "records",
            "s3:///a",
            "https://x/y",
            "s3://r/../x",
            "s3://r//x",
            "s3://r/tenant=ten_00000000000000000000000000000008",
            "s3://r/a/tenant=/b",
        ] {
            assert!(wrong.parse::<Place>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_missing_variable_is_named() {
        let place: Place = "s3://records/a".parse().unwrap();
        let with = |given: &[(&str, &str)]| {
            let given: Vec<_> = given
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect();
            Store::new(place.clone(), tenant(), move |name| {
                let found = given.iter().find(|(known, _)| known == name);
                found.map(|(_, value)| value.clone())
            })
            .map(drop)
            .map_err(|error| error.to_string())
        };
        let key = ("AWS_ACCESS_KEY_ID", "k");
        let secret = ("AWS_SECRET_ACCESS_KEY", "s");
        assert!(
            with(&[])
                .unwrap_err()
                .contains("AWS_ACCESS_KEY_ID is not set")
        );
        let error = with(&[key, ("AWS_SECRET_ACCESS_KEY", "")]).unwrap_err();
        assert!(
            error.contains("AWS_SECRET_ACCESS_KEY is not set"),
            "{error}"
        );
        assert!(
            with(&[key, secret])
                .unwrap_err()
                .contains("AWS_REGION is not set")
        );
        for more in [
            ("AWS_REGION", "eu-west-1"),
            ("AWS_DEFAULT_REGION", "eu-west-1"),
            ("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1"),
            ("AWS_ENDPOINT_URL", "https://store.example"),
        ] {
            assert_eq!(with(&[key, secret, more]), Ok(()), "{more:?}");
        }
    }
}
