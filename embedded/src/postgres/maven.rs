//! PostgreSQL's programs from Maven Central: the artifacts that embedded test
//! databases on the JVM use (Apache-2.0 packaging of the unmodified programs).
//! A jar is a zip holding one `.txz`. The version and its checksums are written
//! down here, so that what runs is what was looked at.

use std::{
    borrow::Cow,
    env, fs,
    io::{Cursor, Read as _},
    path::Path,
};

use lzma_rust2::XzReader;
use sha2::{Digest as _, Sha256};

use super::binaries::Binaries;
use crate::{EmbeddedError, Progress, cache, process::CleanupGuard};

const VERSION: &str = "17.11.0";
const REPOSITORY: &str = "https://repo1.maven.org/maven2/io/zonky/test/postgres";

/// Platform of the artifact and SHA-256 of its jar.
fn artifact(os: &str, arch: &str) -> Option<(&'static str, &'static str)> {
    match (os, arch) {
        ("linux", "x86_64") => Some((
            "linux-amd64",
            "0dd7b72b6f335b8ecfb355fa24c5781e8a93edd09880bb77eb52ebbf29b3e96d",
        )),
        ("linux", "aarch64") => Some((
            "linux-arm64v8",
            "8b042e0ea418b1927d95399207950da0734d27fe01e29503ade3bdc464ad4c2b",
        )),
        ("macos", "x86_64") => Some((
            "darwin-amd64",
            "d464ff178e9860ba204662ac23fa547504b7fd392392ff2fb92e3fd73b5bdb64",
        )),
        ("macos", "aarch64") => Some((
            "darwin-arm64v8",
            "a1c2786acb0c398f9b2d76806fc52f5dc8b222cbc8e9383a9b9702084daaf3a5",
        )),
        _ => None,
    }
}

/// The programs in `cache_dir`, downloaded first if need be. The inner error says why
/// this place does not do; the outer one is a fault of this machine.
pub(super) async fn binaries(
    cache_dir: &Path,
    progress: &Progress,
) -> Result<Result<Binaries, String>, EmbeddedError> {
    let Some((platform, checksum)) = artifact(env::consts::OS, env::consts::ARCH) else {
        return Ok(Err(format!(
            "Maven Central: no PostgreSQL for {} on {}",
            env::consts::OS,
            env::consts::ARCH
        )));
    };
    let folder = cache_dir.join(format!("{VERSION}-{platform}"));
    let bin = folder.join("bin");
    if bin.is_dir() {
        return Ok(Binaries::probe(&bin));
    }
    let _lock =
        cache::exclusive(&cache_dir.join("lock"), "downloading PostgreSQL", progress).await?;
    if bin.is_dir() {
        return Ok(Binaries::probe(&bin));
    }
    progress.report(&format!(
        "downloading PostgreSQL {VERSION} from Maven Central (once)"
    ));
    let artifact = format!("embedded-postgres-binaries-{platform}");
    let url = format!("{REPOSITORY}/{artifact}/{VERSION}/{artifact}-{VERSION}.jar");
    let jar = match download(&url).await {
        Ok(jar) => jar,
        Err(reason) => return Ok(Err(format!("Maven Central: {url}: {reason}"))),
    };
    let actual = hex::encode(Sha256::digest(&jar));
    if actual != checksum {
        return Ok(Err(format!(
            "Maven Central: {url}: SHA-256 is {actual}, not {checksum}"
        )));
    }
    let unpacked = tokio::task::spawn_blocking(move || install(&jar, &folder))
        .await
        .map_err(|e| EmbeddedError::io("unpack into", cache_dir, std::io::Error::other(e)))?;
    unpacked.map_err(|e| EmbeddedError::io("unpack into", cache_dir, e))?;
    Ok(Binaries::probe(&bin))
}

async fn download(url: &str) -> Result<Vec<u8>, String> {
    // reqwest takes the process's TLS provider; an installed one stays.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let fetch = async {
        let response = reqwest::get(url).await?.error_for_status()?;
        response.bytes().await
    };
    let bytes = fetch.await.map_err(|error: reqwest::Error| {
        // The interesting part (refused, no such host) is at the chain's end.
        let mut text = error.to_string();
        let mut source = std::error::Error::source(&error);
        while let Some(cause) = source {
            text = format!("{text}: {cause}");
            source = cause.source();
        }
        text
    })?;
    Ok(bytes.into())
}

/// Unpacks beside the target and renames, so that a folder is whole or absent.
fn install(jar: &[u8], folder: &Path) -> std::io::Result<()> {
    let partial = folder.with_extension("partial");
    let _ = fs::remove_dir_all(&partial);
    let guard = CleanupGuard::new(|| {
        let _ = fs::remove_dir_all(&partial);
    });
    fs::create_dir_all(&partial)?;
    let mut archive = zip::ZipArchive::new(Cursor::new(jar))?;
    let name = archive
        .file_names()
        .filter_map(Result::ok)
        .find(|name| name.ends_with(".txz"))
        .map(Cow::into_owned)
        .ok_or_else(|| std::io::Error::other("the jar holds no .txz"))?;
    let mut compressed = Vec::new();
    archive.by_name(&name)?.read_to_end(&mut compressed)?;
    tar::Archive::new(XzReader::new(compressed.as_slice(), true)).unpack(&partial)?;
    fs::rename(&partial, folder)?;
    guard.disarm();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_artifact_has_a_checksum() {
        for os in ["linux", "macos"] {
            for arch in ["x86_64", "aarch64"] {
                let (_, checksum) = artifact(os, arch).unwrap();
                assert_eq!(hex::decode(checksum).unwrap().len(), 32);
            }
        }
        assert_eq!(artifact("windows", "x86_64"), None);
    }

    #[test]
    fn a_broken_jar_leaves_nothing() {
        let cache = tempfile::tempdir().unwrap();
        let folder = cache.path().join("17.0-linux");
        assert!(install(b"no zip", &folder).is_err());
        assert_eq!(fs::read_dir(cache.path()).unwrap().count(), 0);
    }
}
