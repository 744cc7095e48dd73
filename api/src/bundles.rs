//! The policy bundles that this process can decide with.
//!
//! A transaction reads the hash of the active bundle and asks for exactly that one. Since a hash
//! names one content for ever, a bundle that was loaded once is kept and never checked again: the
//! switch to another one is the first transaction that reads its hash, in every process at once.
//!
//! What is uploaded or about to be activated is checked as a whole and not kept: it decides only
//! once the database says so, and then every process makes it of the same archive.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use policy::{Bundle, BundleError, BundleFiles, BundleSource, EvaluationError, Trust};
use store::bundles::Place;
use tokio::sync::Mutex;

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
    /// Somebody changed it in the database.
    #[error(
        "the archive that is kept as {named} has the content of {found}: it was changed; upload the \
         bundle again under another revision"
    )]
    OtherContent {
        /// The hash that it is kept by.
        named: String,
        /// The hash of what is there.
        found: String,
    },
    /// It takes as long as a bundle of that size can, or the process ends.
    #[error("the bundle could not be loaded in the background")]
    Interrupted,
}

impl NoBundle {
    /// Whether it says nothing about the bundle itself: the next try may find it good.
    pub fn is_passing(&self) -> bool {
        // A machine that is too busy for a trial says nothing about the rules.
        let slow = matches!(
            self,
            Self::Unusable(BundleError::Trial {
                source: EvaluationError::Slow { .. },
                ..
            })
        );
        slow || matches!(self, Self::Store(_) | Self::Interrupted)
    }
}

/// How a bundle is made of files.
type Make = fn(BundleFiles, &Trust) -> Result<Bundle, BundleError>;

/// For one that was checked before.
fn loaded(files: BundleFiles, trust: &Trust) -> Result<Bundle, BundleError> {
    Bundle::load(trust.accept(files)?)
}

/// All bundles that this process has met.
#[derive(Debug)]
pub struct Bundles {
    /// Those that need no database: of the program, of a folder.
    near: Arc<dyn BundleSource>,
    trust: Trust,
    met: std::sync::Mutex<BTreeMap<String, Arc<Bundle>>>,
    /// Held while one is loaded, so that many first requests load it once.
    loading: Mutex<()>,
    /// Held during a whole check, which keeps a core busy: one at a time.
    checking: Mutex<()>,
}

impl Bundles {
    /// `trust` says whose uploaded bundles are taken.
    pub fn new(near: Arc<dyn BundleSource>, trust: Trust) -> Self {
        Self {
            near,
            trust,
            met: std::sync::Mutex::default(),
            loading: Mutex::default(),
            checking: Mutex::default(),
        }
    }

    /// The bundle with this hash; asks the database the first time only.
    pub async fn load(&self, place: Place<'_>, sha256: &str) -> Result<Arc<Bundle>, NoBundle> {
        if let Some(known) = self.known(sha256) {
            return Ok(known);
        }
        let _alone = self.loading.lock().await;
        if let Some(known) = self.known(sha256) {
            return Ok(known);
        }
        // What lies near may be unsigned where the database has it signed.
        let bundle = match self.nearby(sha256).await {
            Ok(bundle) => bundle,
            Err(elsewhere) => match self.stored(place, sha256, loaded).await? {
                Some(bundle) => bundle,
                None => return Err(elsewhere),
            },
        };
        self.keep(&bundle);
        Ok(bundle)
    }

    /// Checks an uploaded archive (base64) as one that may decide: signature, schemas, its own tests,
    /// trial evaluations.
    pub async fn admit(&self, archive: &str) -> Result<Arc<Bundle>, NoBundle> {
        let trust = self.trust.clone();
        let bytes = BASE64_STANDARD
            .decode(archive)
            .map_err(|_| NoBundle::NotBase64)?;
        let _alone = self.checking.lock().await;
        in_background(move || {
            let bundle = Bundle::admit(BundleFiles::from_archive(&bytes)?, &trust)?;
            Ok(Arc::new(bundle))
        })
        .await
    }

    /// The same check of one that was uploaded and is to be activated: this may be another program
    /// with other keys than at its upload, and what other processes are going to load is the row.
    /// `None`: there is no such row.
    pub async fn readmit(
        &self,
        place: Place<'_>,
        sha256: &str,
    ) -> Result<Option<Arc<Bundle>>, NoBundle> {
        let _alone = self.checking.lock().await;
        self.usable(place, sha256, Bundle::admit).await
    }

    /// Whether every process can load it, of one that was checked as a whole before.
    pub async fn reload(
        &self,
        place: Place<'_>,
        sha256: &str,
    ) -> Result<Option<Arc<Bundle>>, NoBundle> {
        self.usable(place, sha256, loaded).await
    }

    /// What comes with the program, or lies in its folder, is there whatever became of its row; it
    /// passes the same check.
    async fn usable(
        &self,
        place: Place<'_>,
        sha256: &str,
        make: Make,
    ) -> Result<Option<Arc<Bundle>>, NoBundle> {
        match self.stored(place, sha256, make).await {
            Err(refused) if !refused.is_passing() => {
                let Ok(near) = self.nearby(sha256).await else {
                    return Err(refused);
                };
                let trust = self.trust.clone();
                let made = in_background(move || Ok(make(near.files().clone(), &trust)?)).await;
                match made {
                    Err(error) if !error.is_passing() => Err(refused),
                    made => made.map(|bundle| Some(Arc::new(bundle))),
                }
            }
            other => other,
        }
    }

    async fn nearby(&self, sha256: &str) -> Result<Arc<Bundle>, NoBundle> {
        let (near, sha256) = (Arc::clone(&self.near), sha256.to_owned());
        in_background(move || Ok(near.load(&sha256)?)).await
    }

    /// From the database. The same content may be there unsigned, and signed with several keys: one
    /// that is trusted is enough.
    async fn stored(
        &self,
        place: Place<'_>,
        sha256: &str,
        make: Make,
    ) -> Result<Option<Arc<Bundle>>, NoBundle> {
        let archives = store::bundles::archives(place, sha256).await?;
        let (trust, named) = (self.trust.clone(), sha256.to_owned());
        in_background(move || {
            let mut refused = None;
            for archive in archives {
                match made(&archive, &named, &trust, make) {
                    Ok(bundle) => return Ok(Some(Arc::new(bundle))),
                    Err(error) => refused = refused.or(Some(error)),
                }
            }
            refused.map_or(Ok(None), Err)
        })
        .await
    }

    fn known(&self, sha256: &str) -> Option<Arc<Bundle>> {
        self.met().get(sha256).map(Arc::clone)
    }

    fn keep(&self, bundle: &Arc<Bundle>) {
        let sha256 = bundle.reference().sha256.clone();
        self.met().insert(sha256, Arc::clone(bundle));
    }

    fn met(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Arc<Bundle>>> {
        self.met.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The bundle of an archive. The row's name is not to be trusted more than its content.
fn made(archive: &[u8], named: &str, trust: &Trust, make: Make) -> Result<Bundle, NoBundle> {
    let files = BundleFiles::from_archive(archive)?;
    let found = files.sha256();
    if found != named {
        return Err(NoBundle::OtherContent {
            named: named.to_owned(),
            found,
        });
    }
    Ok(make(files, trust)?)
}

/// Compiling a bundle takes a while: not on a thread that serves others.
async fn in_background<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, NoBundle> + Send + 'static,
) -> Result<T, NoBundle> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or(Err(NoBundle::Interrupted))
}

#[cfg(test)]
mod tests {
    use policy::StarterBundles;
    use sqlx::{PgPool, postgres::PgPoolOptions};

    use super::*;

    fn bundles() -> Bundles {
        Bundles::new(Arc::new(StarterBundles::new().unwrap()), Trust::Anybody)
    }

    /// Port 1 is nobody's: the connection is refused at once.
    fn nowhere() -> PgPool {
        PgPoolOptions::new()
            .acquire_timeout(std::time::Duration::from_millis(200))
            .connect_lazy("postgres://nobody@127.0.0.1:1/none")
            .unwrap()
    }

    /// The starter bundle under another name.
    fn renamed() -> BundleFiles {
        let starter = Bundle::starter().unwrap();
        let files = starter.files().iter().map(|(path, text)| {
            let text = text.replace(&starter.reference().version, "other");
            (path.to_owned(), text)
        });
        BundleFiles::from_texts(files).unwrap()
    }

    #[tokio::test]
    async fn what_comes_with_the_program_needs_no_database() {
        let (bundles, pool) = (bundles(), nowhere());
        let starter = Bundle::starter().unwrap().reference().clone();
        let first = bundles.load(Place::Pool(&pool), &starter.sha256).await;
        let first = first.unwrap();
        assert_eq!(first.reference(), &starter);
        let again = bundles.load(Place::Pool(&pool), &starter.sha256).await;
        assert!(Arc::ptr_eq(&first, &again.unwrap()));
    }

    #[tokio::test]
    async fn a_database_that_is_away_says_nothing_about_a_bundle() {
        let (bundles, pool) = (bundles(), nowhere());
        let sha256 = renamed().sha256();
        for error in [
            bundles.load(Place::Pool(&pool), &sha256).await.unwrap_err(),
            bundles
                .readmit(Place::Pool(&pool), &sha256)
                .await
                .unwrap_err(),
            bundles
                .reload(Place::Pool(&pool), &sha256)
                .await
                .unwrap_err(),
        ] {
            assert!(matches!(error, NoBundle::Store(_)), "{error:?}");
            assert!(error.is_passing());
        }
    }

    #[tokio::test]
    async fn what_is_uploaded_is_checked_and_not_kept() {
        let bundles = bundles();
        let archive = renamed().to_archive().unwrap();
        let sent = BASE64_STANDARD.encode(&archive);
        let checked = bundles.admit(&sent).await.unwrap();
        assert_eq!(checked.reference().version, "other");
        assert!(bundles.known(&checked.reference().sha256).is_none());

        let not_base64 = bundles.admit(&format!("{sent}!")).await.unwrap_err();
        assert!(matches!(not_base64, NoBundle::NotBase64));
        let cut = BASE64_STANDARD.encode(&archive[..archive.len() / 2]);
        let cut = bundles.admit(&cut).await.unwrap_err();
        assert!(matches!(cut, NoBundle::Unusable(_)), "{cut:?}");
        assert!(!cut.is_passing());
    }

    #[test]
    fn an_archive_is_known_by_its_content_and_not_by_its_name() {
        let files = renamed();
        let archive = files.to_archive().unwrap();
        let named = Bundle::starter().unwrap().reference().sha256.clone();
        let error = made(&archive, &named, &Trust::Anybody, loaded).unwrap_err();
        assert!(error.to_string().contains(&files.sha256()), "{error}");
        let bundle = made(&archive, &files.sha256(), &Trust::Anybody, loaded).unwrap();
        assert_eq!(bundle.reference().sha256, files.sha256());
    }
}
