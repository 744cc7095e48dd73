//! Bundles as one file: the same bytes for the same files, and nothing that leads out of them.

mod keys;

use std::{
    fs,
    io::{Read, Write},
    path::Path,
};

use dispatch_policy::{Bundle, BundleError, BundleFiles, Trust, VerificationKeys};
use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use tar::{Builder, EntryType, Header};

const BUNDLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/bundle");
/// Built and signed by OPA 1.22: it merges data, and its paths begin with `/`.
const BY_OPA: &[u8] = include_bytes!("signed_by_opa.tar.gz");

fn starter() -> BundleFiles {
    BundleFiles::read(Path::new(BUNDLE)).unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn gunzip(bytes: &[u8]) -> Vec<u8> {
    let mut tar = Vec::new();
    GzDecoder::new(bytes).read_to_end(&mut tar).unwrap();
    tar
}

/// A tar of entries whose names are written as they are, whatever they are.
fn tar_of(entries: &[(&[u8], EntryType, &[u8])]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for (name, kind, content) in entries {
        let mut header = Header::new_ustar();
        header.as_mut_bytes()[..name.len()].copy_from_slice(name);
        header.set_entry_type(*kind);
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        builder.append(&header, *content).unwrap();
    }
    builder.into_inner().unwrap()
}

fn file<'a>(name: &'a str, content: &'a str) -> (&'a [u8], EntryType, &'a [u8]) {
    (name.as_bytes(), EntryType::Regular, content.as_bytes())
}

fn read_tar(tar: &[u8]) -> Result<BundleFiles, BundleError> {
    BundleFiles::from_archive(&gzip(tar))
}

#[track_caller]
fn refused(result: Result<BundleFiles, BundleError>, part: &str) {
    let message = result.expect_err(part).to_string();
    assert!(message.contains(part), "{message}");
}

#[test]
fn an_archive_holds_the_same_bundle() {
    let files = starter();
    let packed = files.to_archive().unwrap();
    assert_eq!(BundleFiles::from_archive(&packed).unwrap(), files);

    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("bundle.tar.gz");
    fs::write(&path, &packed).unwrap();
    let (from_file, from_dir) = (
        Bundle::open(&path, &Trust::Anybody).unwrap(),
        Bundle::open(Path::new(BUNDLE), &Trust::Anybody).unwrap(),
    );
    assert_eq!(from_file.reference(), from_dir.reference());
    assert!(matches!(
        BundleFiles::open(&place.path().join("nowhere")),
        Err(BundleError::Io { .. })
    ));
}

#[test]
fn the_same_files_give_the_same_bytes() {
    let texts: Vec<_> = starter()
        .iter()
        .map(|(path, text)| (path.to_owned(), text.to_owned()))
        .collect();
    let backwards = BundleFiles::from_texts(texts.into_iter().rev()).unwrap();
    assert_eq!(
        backwards.to_archive().unwrap(),
        starter().to_archive().unwrap()
    );
}

#[test]
fn names_are_read_as_opa_and_tar_write_them() {
    let plain = read_tar(&tar_of(&[file("a/x.rego", "1")])).unwrap();
    for name in ["/a/x.rego", "./a/x.rego"] {
        let tar = tar_of(&[
            (b"./", EntryType::Directory, b""),
            (b"a/", EntryType::Directory, b""),
            file(name, "1"),
        ]);
        assert_eq!(read_tar(&tar).unwrap(), plain, "{name}");
    }
}

#[test]
fn an_archive_that_opa_built_is_read_and_its_signature_is_good() {
    let files = BundleFiles::from_archive(BY_OPA).unwrap();
    let names: Vec<_> = files.iter().map(|(path, _)| path).collect();
    assert_eq!(names, [".manifest", "data.json", "dispatch/decision.rego"]);
    let keys = VerificationKeys::from_pem([("test", keys::PUBLIC)]).unwrap();
    let accepted = Trust::SignedBy(keys).accept(files).unwrap();
    assert_eq!(accepted.signer(), Some("test"));
}

#[test]
fn a_path_that_leads_out_is_refused() {
    for name in [
        "../x.rego",
        "a/../../x.rego",
        "//x.rego",
        ".//x.rego",
        "a/./x.rego",
        "a\\x.rego",
        "/../x.rego",
    ] {
        assert!(
            matches!(
                read_tar(&tar_of(&[file(name, "1")])),
                Err(BundleError::UnexpectedFile { .. })
            ),
            "{name}"
        );
    }
}

#[test]
fn only_regular_files_are_files() {
    for kind in [
        EntryType::Symlink,
        EntryType::Link,
        EntryType::Char,
        EntryType::Block,
        EntryType::Fifo,
        EntryType::GNUSparse,
        EntryType::Continuous,
        EntryType::XGlobalHeader,
    ] {
        let result = read_tar(&tar_of(&[(b"x.rego", kind, b"")]));
        assert!(
            matches!(
                result,
                Err(BundleError::UnexpectedFile { .. } | BundleError::Archive { .. })
            ),
            "{kind:?}: {result:?}"
        );
    }
}

#[test]
fn what_is_no_text_or_comes_twice_is_refused() {
    refused(
        read_tar(&tar_of(&[(b"x.rego", EntryType::Regular, b"\xff")])),
        "not UTF-8 text",
    );
    refused(
        read_tar(&tar_of(&[(b"\xff.rego", EntryType::Regular, b"1")])),
        "name is not UTF-8",
    );
    for other in ["x.rego", "/x.rego", "./x.rego"] {
        refused(
            read_tar(&tar_of(&[file("x.rego", "1"), file(other, "2")])),
            "there twice",
        );
    }
    refused(
        read_tar(&tar_of(&[
            file(".signatures.json", "1"),
            file(".signatures.json", "2"),
        ])),
        "there twice",
    );
}

#[test]
fn a_bomb_is_given_up_on() {
    // 64 MiB of zeros in 64 KiB: never unpacked as a whole.
    refused(
        BundleFiles::from_archive(&gzip(&vec![0; 64 << 20])),
        "unpacks to more than 10 MiB",
    );
    refused(
        read_tar(&tar_of(&[file("x.rego", &" ".repeat((1 << 20) + 1))])),
        "larger than 1 MiB",
    );
    let many: Vec<_> = (0..1025).map(|n| format!("d{n}/")).collect();
    let many: Vec<_> = many
        .iter()
        .map(|name| (name.as_bytes(), EntryType::Directory, &b""[..]))
        .collect();
    refused(read_tar(&tar_of(&many)), "more than 1024 entries");
    // A size that the header only claims.
    let mut tar = tar_of(&[file("x.rego", "1")]);
    let mut header = Header::new_ustar();
    header.as_mut_bytes().copy_from_slice(&tar[..512]);
    header.set_size(u64::MAX / 2);
    header.set_cksum();
    tar[..512].copy_from_slice(header.as_bytes());
    assert!(read_tar(&tar).is_err());
}

#[test]
fn what_two_readers_could_see_differently_is_refused() {
    let good = starter().to_archive().unwrap();
    let other = gzip(&tar_of(&[file("x.rego", "1")]));
    refused(
        BundleFiles::from_archive(&[good.as_slice(), &other].concat()),
        "follows the end of the gzip data",
    );
    refused(
        BundleFiles::from_archive(&[good.as_slice(), b"x"].concat()),
        "follows the end of the gzip data",
    );
    let tar = [gunzip(&good), tar_of(&[file("x.rego", "1")])].concat();
    refused(read_tar(&tar), "follows the end of the tar");
}

#[test]
fn half_an_archive_is_none() {
    let good = starter().to_archive().unwrap();
    for length in (0..good.len()).step_by(61) {
        assert!(
            matches!(
                BundleFiles::from_archive(&good[..length]),
                Err(BundleError::Archive { .. })
            ),
            "{length}"
        );
    }
    refused(BundleFiles::from_archive(b"PK\x03\x04"), "cannot be read");
}
