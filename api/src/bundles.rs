//! The policy bundles that this process can decide with.
//!
//! A transaction reads the hash of the active bundle and asks for exactly that one. Since a hash
//! names one content for ever, a bundle that was loaded once is kept and never checked again: the
//! switch to another one is the first transaction that reads its hash, in every process at once.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use policy::{Bundle, BundleError, BundleFiles, BundleSource, Trust};
use store::bundles::Place;

/// Why there is no bundle to decide with.
#[derive(Debug, thiserror::Error)]
pub enum NoBundle {
    /// It was found, and cannot be used; or it was not found anywhere.
    #[error(transparent)]
    Unusable(#[from] BundleError),
    /// The database could not be asked for it.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// What was uploaded is no base64.
    #[error("it is not base64 (RFC 4648, with padding)")]
    NotBase64,
    /// It takes as long as a bundle of that size can, or the process ends.
    #[error("the bundle could not be loaded in the background")]
    Interrupted,
}

/// All bundles that this process has met.
#[derive(Debug)]
pub struct Bundles {
    /// Those that need no database: of the program, of a folder.
    near: Arc<dyn BundleSource>,
    trust: Trust,
    met: Mutex<BTreeMap<String, Arc<Bundle>>>,
}

impl Bundles {
    /// `trust` says whose uploaded bundles are taken.
    pub fn new(near: Arc<dyn BundleSource>, trust: Trust) -> Self {
        Self {
            near,
            trust,
            met: Mutex::default(),
        }
    }

    /// The bundle with this hash; asks the database the first time only.
    pub async fn load(&self, place: Place<'_>, sha256: &str) -> Result<Arc<Bundle>, NoBundle> {
        if let Some(known) = self.met().get(sha256) {
            return Ok(Arc::clone(known));
        }
        let unknown = match self.near.load(sha256) {
            Ok(bundle) => return Ok(self.keep(bundle)),
            Err(unknown @ BundleError::NotFound { .. }) => unknown,
            Err(unusable) => return Err(unusable.into()),
        };
        let Some(archive) = store::bundles::archive(place, sha256).await? else {
            return Err(unknown.into());
        };
        let trust = self.trust.clone();
        let wanted = sha256.to_owned();
        let bundle = in_background(move || {
            let bundle = Bundle::load(trust.accept(BundleFiles::from_archive(&archive)?)?)?;
            // The row's name is not to be trusted more than its content.
            match bundle.reference().sha256 == wanted {
                true => Ok(bundle),
                false => Err(unknown),
            }
        })
        .await?;
        Ok(self.keep(Arc::new(bundle)))
    }

    /// Checks an uploaded archive (base64) as one that may decide: signature, schemas, its own tests,
    /// trial evaluations.
    pub async fn admit(&self, archive: &str) -> Result<Arc<Bundle>, NoBundle> {
        let trust = self.trust.clone();
        let bytes = BASE64_STANDARD
            .decode(archive)
            .map_err(|_| NoBundle::NotBase64)?;
        let bundle =
            in_background(move || Bundle::admit(BundleFiles::from_archive(&bytes)?, &trust))
                .await?;
        Ok(self.keep(Arc::new(bundle)))
    }

    fn keep(&self, bundle: Arc<Bundle>) -> Arc<Bundle> {
        let sha256 = bundle.reference().sha256.clone();
        let mut met = self.met();
        Arc::clone(met.entry(sha256).or_insert(bundle))
    }

    fn met(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Arc<Bundle>>> {
        self.met.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Compiling a bundle takes a while: not on a thread that serves others.
async fn in_background(
    work: impl FnOnce() -> Result<Bundle, BundleError> + Send + 'static,
) -> Result<Bundle, NoBundle> {
    match tokio::task::spawn_blocking(work).await {
        Ok(bundle) => Ok(bundle?),
        Err(_) => Err(NoBundle::Interrupted),
    }
}
