//! Where bundles come from.
//!
//! A transaction reads the hash of the active bundle and asks for exactly that one. Since a hash
//! names one content for ever, a loaded bundle is kept and never checked again.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use crate::{
    bundle::Bundle,
    error::BundleError,
    files::{BundleFiles, MANIFEST, io},
    signature::Trust,
};

/// How the name of an archive ends.
const ARCHIVE: &str = ".tar.gz";

/// Gives the bundle with a hash.
pub trait BundleSource: std::fmt::Debug + Send + Sync {
    /// The bundle whose content has this SHA-256 (64 hex digits); cheap after the first time.
    fn load(&self, sha256: &str) -> Result<Arc<Bundle>, BundleError>;
}

/// The bundle that comes with the program, and no other.
#[derive(Debug)]
pub struct StarterBundles {
    starter: Arc<Bundle>,
}

impl StarterBundles {
    /// Loads the starter bundle.
    pub fn new() -> Result<Self, BundleError> {
        Ok(Self {
            starter: Arc::new(Bundle::starter()?),
        })
    }

    /// The one bundle there is.
    pub fn starter(&self) -> &Arc<Bundle> {
        &self.starter
    }
}

impl BundleSource for StarterBundles {
    fn load(&self, sha256: &str) -> Result<Arc<Bundle>, BundleError> {
        if self.starter.reference().sha256 == sha256 {
            Ok(Arc::clone(&self.starter))
        } else {
            Err(BundleError::NotFound {
                sha256: sha256.to_owned(),
                searched: "the bundles that come with this program".to_owned(),
            })
        }
    }
}

/// The bundles below a directory: the directory itself if it is one, and each of its children that
/// is a bundle or an archive of one.
#[derive(Debug)]
pub struct DirectoryBundles {
    root: PathBuf,
    trust: Trust,
    loaded: Mutex<BTreeMap<String, Arc<Bundle>>>,
}

impl DirectoryBundles {
    /// Looks below this directory, or at this archive, and takes what is trusted.
    pub fn new(root: impl Into<PathBuf>, trust: Trust) -> Self {
        Self {
            root: root.into(),
            trust,
            loaded: Mutex::default(),
        }
    }

    fn find(&self, sha256: &str) -> Result<Bundle, BundleError> {
        let mut refused = None;
        for path in self.candidates()? {
            // A neighbour that cannot be read is no reason to refuse the one that is asked for.
            let Ok(files) = BundleFiles::open(&path) else {
                tracing::warn!(path = %path.display(), "skipped what is no bundle");
                continue;
            };
            if files.sha256() != sha256 {
                continue;
            }
            // The same content may lie there unsigned and signed.
            match self.trust.accept(files) {
                Ok(files) => return Bundle::load(files),
                Err(error) => refused = Some(error),
            }
        }
        if let Some(error) = refused {
            return Err(error);
        }
        Err(BundleError::NotFound {
            sha256: sha256.to_owned(),
            searched: format!("`{}`", self.root.display()),
        })
    }

    fn candidates(&self) -> Result<Vec<PathBuf>, BundleError> {
        if is_bundle(&self.root) {
            return Ok(vec![self.root.clone()]);
        }
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.root).map_err(io(&self.root))? {
            let path = entry.map_err(io(&self.root))?.path();
            if is_bundle(&path) {
                found.push(path);
            }
        }
        Ok(found)
    }
}

fn is_bundle(path: &Path) -> bool {
    let archive = path
        .as_os_str()
        .as_encoded_bytes()
        .ends_with(ARCHIVE.as_bytes());
    path.join(MANIFEST).is_file() || (archive && path.is_file())
}

impl BundleSource for DirectoryBundles {
    fn load(&self, sha256: &str) -> Result<Arc<Bundle>, BundleError> {
        // Held while loading, so that many first requests load a bundle once.
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bundle) = loaded.get(sha256) {
            return Ok(Arc::clone(bundle));
        }
        let bundle = Arc::new(self.find(sha256)?);
        loaded.insert(sha256.to_owned(), Arc::clone(&bundle));
        Ok(bundle)
    }
}
