//! Signatures: good over the whole bundle or not at all.

mod keys;

use std::{
    io::{Read, Write},
    path::Path,
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use dispatch_policy::{
    Bundle, BundleError, BundleFiles, SignatureError, SigningKey, Trust, VerificationKeys,
};
use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

const KID: &str = "key-1";

fn trust() -> Trust {
    Trust::SignedBy(VerificationKeys::from_pem([(KID, keys::PUBLIC)]).unwrap())
}

fn key() -> SigningKey {
    SigningKey::from_pem(KID, keys::PRIVATE.as_bytes()).unwrap()
}

/// A small bundle: to be taken apart byte by byte.
fn texts() -> Vec<(&'static str, &'static str)> {
    vec![
        (
            ".manifest",
            "{ \"revision\": \"1\", \"roots\": [\"dispatch\", \"roles\"] }\n",
        ),
        (
            "dispatch/decision.rego",
            "package dispatch\n\ndecision := 1\n",
        ),
        (
            "roles/data.json",
            "{ \"close\": { \"person\": [\"qa\"] } }\n",
        ),
    ]
}

fn files() -> BundleFiles {
    BundleFiles::from_texts(texts()).unwrap()
}

fn signed() -> BundleFiles {
    files().sign(&key()).unwrap()
}

/// The bundle with this text as its signatures.
fn with_signatures(files: &BundleFiles, text: &str) -> BundleFiles {
    let texts = files.iter().chain([(".signatures.json", text)]);
    BundleFiles::from_texts(texts).unwrap()
}

/// The payload of the signature of [`signed`].
fn payload() -> Value {
    let signatures: Value = serde_json::from_str(signed().signatures().unwrap()).unwrap();
    let token = signatures["signatures"][0].as_str().unwrap();
    let payload = URL_SAFE_NO_PAD
        .decode(token.split('.').nth(1).unwrap())
        .unwrap();
    serde_json::from_slice(&payload).unwrap()
}

fn token(header: &Header, payload: &Value, key: &EncodingKey) -> String {
    jsonwebtoken::encode(header, payload, key).unwrap()
}

fn header() -> Header {
    Header {
        kid: Some(KID.to_owned()),
        ..Header::new(Algorithm::EdDSA)
    }
}

fn private() -> EncodingKey {
    EncodingKey::from_ed_pem(keys::PRIVATE.as_bytes()).unwrap()
}

fn file_of(token: &str) -> String {
    json!({ "signatures": [token] }).to_string()
}

/// What a process with the key says of the small bundle under a token.
fn verdict(token: &str) -> SignatureError {
    refusal(with_signatures(&files(), &file_of(token)))
}

/// What it says of the small bundle under another list, rightly signed.
fn verdict_on(edit: impl FnOnce(&mut Value)) -> SignatureError {
    let mut payload = payload();
    edit(&mut payload);
    verdict(&token(&header(), &payload, &private()))
}

#[track_caller]
fn refusal(files: BundleFiles) -> SignatureError {
    match trust().accept(files) {
        Err(BundleError::Signature(error)) => error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_signed_bundle_is_taken_and_names_its_key() {
    let accepted = trust().accept(signed()).unwrap();
    assert_eq!(accepted.signer(), Some(KID));
    assert_eq!(*accepted.files(), signed());
    assert_eq!(signed().claimed_signer().unwrap().as_deref(), Some(KID));
    assert_eq!(signed().sha256(), files().sha256());
    // The same key, the same files, the same bytes.
    assert_eq!(
        signed().to_archive().unwrap(),
        files().sign(&key()).unwrap().to_archive().unwrap()
    );
    let packed = signed().to_archive().unwrap();
    let unpacked = BundleFiles::from_archive(&packed).unwrap();
    assert_eq!(trust().accept(unpacked).unwrap().signer(), Some(KID));
}

#[test]
fn a_bundle_knows_who_signed_it() {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/bundle");
    let starter = BundleFiles::read(Path::new(dir)).unwrap();
    // Of the starter itself no signature is asked for.
    let more = [("dispatch/more.rego", "package dispatch\n")];
    let files = BundleFiles::from_texts(starter.iter().chain(more)).unwrap();
    assert!(matches!(
        Bundle::admit(files.clone(), &trust()),
        Err(BundleError::Signature(SignatureError::Unsigned { .. }))
    ));
    let signed = files.clone().sign(&key()).unwrap();
    let bundle = Bundle::admit(signed, &trust()).unwrap();
    assert_eq!(bundle.signer(), Some(KID));
    let unsigned = Bundle::load(Trust::Anybody.accept(files).unwrap()).unwrap();
    assert_eq!(unsigned.reference(), bundle.reference());
    assert_eq!(unsigned.signer(), None);
}

#[test]
fn without_a_key_anything_is_taken() {
    assert_eq!(Trust::Anybody.accept(files()).unwrap().signer(), None);
    let odd = with_signatures(&files(), "odd");
    assert_eq!(Trust::Anybody.accept(odd).unwrap().signer(), None);
}

#[test]
fn an_unsigned_bundle_is_refused() {
    let error = refusal(files());
    assert_eq!(
        error,
        SignatureError::Unsigned {
            known: "`key-1`".into()
        }
    );
    assert!(error.to_string().contains("dispatch policy sign"));
}

#[test]
fn a_file_beside_the_list_is_refused() {
    let texts = texts();
    let signatures = signed().signatures().unwrap().to_owned();
    let more = [
        ("dispatch/more.rego", "package dispatch\n"),
        (".signatures.json", &signatures),
    ];
    let files = BundleFiles::from_texts(texts.into_iter().chain(more)).unwrap();
    assert_eq!(
        refusal(files),
        SignatureError::Unlisted {
            path: "dispatch/more.rego".into()
        }
    );
}

#[test]
fn a_listed_file_that_is_missing_is_refused() {
    let mut texts = texts();
    let (path, _) = texts.pop().unwrap();
    let signatures = signed().signatures().unwrap().to_owned();
    let files = BundleFiles::from_texts(
        texts
            .into_iter()
            .chain([(".signatures.json", &*signatures)]),
    )
    .unwrap();
    assert_eq!(
        refusal(files),
        SignatureError::Missing { path: path.into() }
    );
}

#[test]
fn a_changed_file_is_refused_each_one() {
    let signatures = signed().signatures().unwrap().to_owned();
    for (changed, text) in [
        (
            ".manifest",
            "{ \"revision\": \"2\", \"roots\": [\"dispatch\", \"roles\"] }",
        ),
        (
            "dispatch/decision.rego",
            "package dispatch\n\ndecision := 2\n",
        ),
        (
            "roles/data.json",
            "{ \"close\": { \"person\": [\"any\"] } }",
        ),
    ] {
        let texts = texts().into_iter().map(|(path, old)| match path {
            _ if path == changed => (path, text),
            _ => (path, old),
        });
        let files =
            BundleFiles::from_texts(texts.chain([(".signatures.json", &*signatures)])).unwrap();
        assert_eq!(
            refusal(files),
            SignatureError::Altered {
                path: changed.into()
            }
        );
    }
}

#[test]
fn another_layout_of_a_signed_document_is_refused() {
    let signatures = signed().signatures().unwrap().to_owned();
    let texts = texts().into_iter().map(|(path, text)| match path {
        "roles/data.json" => (path, "{\"close\":{\"person\":[\"qa\"]}}"),
        _ => (path, text),
    });
    let files = BundleFiles::from_texts(texts.chain([(".signatures.json", &*signatures)])).unwrap();
    assert!(matches!(refusal(files), SignatureError::OtherBundle { .. }));
}

#[test]
fn the_list_must_be_whole_and_of_one_algorithm() {
    assert!(matches!(
        verdict_on(|payload| {
            payload["files"].as_array_mut().unwrap().pop();
        }),
        SignatureError::Unlisted { .. }
    ));
    assert_eq!(
        verdict_on(|payload| payload["files"][1]["algorithm"] = json!("MD5")),
        SignatureError::DigestAlgorithm {
            path: "dispatch/decision.rego".into(),
            found: "MD5".into()
        }
    );
    assert!(matches!(
        verdict_on(|payload| {
            payload["files"][1]
                .as_object_mut()
                .unwrap()
                .remove("algorithm");
        }),
        SignatureError::DigestAlgorithm { .. }
    ));
    assert_eq!(
        verdict_on(|payload| {
            let first = payload["files"][0].clone();
            payload["files"].as_array_mut().unwrap().push(first);
        }),
        SignatureError::ListedTwice {
            path: ".manifest".into()
        }
    );
    assert!(matches!(
        verdict_on(|payload| payload["files"] = json!([])),
        SignatureError::Unlisted { .. }
    ));
    assert!(matches!(
        verdict_on(|payload| payload["scope"] = json!("write")),
        SignatureError::Malformed { .. }
    ));
    assert!(matches!(
        verdict_on(|payload| payload["dispatch_bundle"]["sha256"] = json!("0")),
        SignatureError::OtherBundle { .. }
    ));
    assert!(matches!(
        verdict_on(|payload| {
            payload.as_object_mut().unwrap().remove("files");
        }),
        SignatureError::Malformed { .. }
    ));
}

#[test]
fn claims_of_others_do_not_matter() {
    let mut payload = payload();
    payload["iss"] = json!("somebody");
    payload["exp"] = json!(1);
    payload.as_object_mut().unwrap().remove("dispatch_bundle");
    let token = token(&header(), &payload, &private());
    let files = with_signatures(&files(), &file_of(&token));
    assert!(trust().accept(files).is_ok());
}

#[test]
fn no_algorithm_is_none() {
    for alg in ["none", "None", "NONE", ""] {
        let header = URL_SAFE_NO_PAD.encode(json!({ "alg": alg, "kid": KID }).to_string());
        let body = URL_SAFE_NO_PAD.encode(payload().to_string());
        assert_eq!(
            verdict(&format!("{header}.{body}.")),
            SignatureError::Algorithm { found: alg.into() }
        );
    }
}

#[test]
fn a_public_key_is_no_secret_to_sign_with() {
    for algorithm in [Algorithm::HS256, Algorithm::HS512] {
        for secret in [keys::PUBLIC, keys::PUBLIC.trim_end()] {
            let header = Header {
                kid: Some(KID.to_owned()),
                ..Header::new(algorithm)
            };
            let token = token(
                &header,
                &payload(),
                &EncodingKey::from_secret(secret.as_bytes()),
            );
            assert_eq!(
                verdict(&token),
                SignatureError::Algorithm {
                    found: format!("{algorithm:?}")
                }
            );
        }
    }
}

#[test]
fn another_key_is_not_this_one() {
    let other = SigningKey::from_pem("key-2", keys::OTHER_PRIVATE.as_bytes()).unwrap();
    assert_eq!(
        refusal(files().sign(&other).unwrap()),
        SignatureError::UnknownKey {
            kid: "key-2".into(),
            known: "`key-1`".into()
        }
    );
    // Under the name of the one that is known.
    let posing = SigningKey::from_pem(KID, keys::OTHER_PRIVATE.as_bytes()).unwrap();
    assert_eq!(
        refusal(files().sign(&posing).unwrap()),
        SignatureError::Forged { kid: KID.into() }
    );
    // Both are good while one follows the other.
    let both = VerificationKeys::from_pem([(KID, keys::PUBLIC), ("key-2", keys::OTHER_PUBLIC)]);
    let both = Trust::SignedBy(both.unwrap());
    for (files, signer) in [(signed(), KID), (files().sign(&other).unwrap(), "key-2")] {
        assert_eq!(both.accept(files).unwrap().signer(), Some(signer));
    }
}

#[test]
fn a_key_must_be_named() {
    let nameless = Header {
        kid: None,
        ..Header::new(Algorithm::EdDSA)
    };
    assert_eq!(
        verdict(&token(&nameless, &payload(), &private())),
        SignatureError::NoKeyId
    );
    // `opa sign` names it in the payload.
    let mut named = payload();
    named["keyid"] = json!(KID);
    let token = token(&nameless, &named, &private());
    let files = with_signatures(&files(), &file_of(&token));
    assert_eq!(trust().accept(files).unwrap().signer(), Some(KID));
}

#[test]
fn a_signatures_file_holds_one_token_and_nothing_else() {
    let good: Value = serde_json::from_str(signed().signatures().unwrap()).unwrap();
    let good = good["signatures"][0].as_str().unwrap();
    for odd in [
        String::new(),
        "[]".to_owned(),
        json!({}).to_string(),
        json!({ "signatures": [] }).to_string(),
        json!({ "signatures": [good, good] }).to_string(),
        json!({ "signatures": [good], "more": 1 }).to_string(),
        json!({ "signatures": [good], "plugin": "other" }).to_string(),
        file_of(""),
        file_of("a.b.c"),
        file_of(&format!("{good}.x")),
    ] {
        let error = refusal(with_signatures(&files(), &odd));
        assert!(
            matches!(
                error,
                SignatureError::Malformed { .. } | SignatureError::Forged { .. }
            ),
            "{odd}: {error:?}"
        );
    }
    let crit = URL_SAFE_NO_PAD
        .encode(json!({ "alg": "EdDSA", "kid": KID, "crit": ["b64"], "b64": false }).to_string());
    let rest = good.split_once('.').unwrap().1;
    assert!(matches!(
        verdict(&format!("{crit}.{rest}")),
        SignatureError::Malformed { .. }
    ));
    let plugin = json!({ "signatures": [good], "plugin": "_default" }).to_string();
    assert!(trust().accept(with_signatures(&files(), &plugin)).is_ok());
}

#[test]
fn keys_that_are_none_are_refused_when_they_are_read() {
    const P256: &str = "\
-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE+IEH3kb4HrxyDDzwO7BnAI4CZOrN
u3S1goFEKtfjQNvGHhxzTH5v8mdnP1JnDQTVq396gaNlIIIMzbSS+din4w==
-----END PUBLIC KEY-----
";
    for wrong in ["", "secret", P256, keys::PRIVATE] {
        assert!(
            matches!(
                VerificationKeys::from_pem([(KID, wrong)]),
                Err(BundleError::Key { .. })
            ),
            "{wrong}"
        );
    }
    for wrong in ["", "secret", keys::PUBLIC] {
        assert!(
            matches!(
                SigningKey::from_pem(KID, wrong.as_bytes()),
                Err(BundleError::Key { .. })
            ),
            "{wrong}"
        );
    }
    for kid in ["", "a b", "ü", &"k".repeat(129)] {
        assert!(VerificationKeys::from_pem([(kid, keys::PUBLIC)]).is_err());
        assert!(SigningKey::from_pem(kid, keys::PRIVATE.as_bytes()).is_err());
    }
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("key.pub");
    assert!(matches!(
        VerificationKeys::from_files([(KID, &file)]),
        Err(BundleError::Io { .. })
    ));
    std::fs::write(&file, keys::PUBLIC).unwrap();
    let read = VerificationKeys::from_files([(KID, &file)]).unwrap();
    assert_eq!(read.ids().collect::<Vec<_>>(), [KID]);
    let none: [(&str, &str); 0] = [];
    assert!(VerificationKeys::from_pem(none).is_err());
    let twice = [(KID, keys::PUBLIC), (KID, keys::OTHER_PUBLIC)];
    assert!(VerificationKeys::from_pem(twice).is_err());
    assert!(!format!("{:?}", key()).contains("MC4C"));
}

/// Whatever byte of an archive is changed, in whatever way: what is taken in the end is what was
/// signed, or nothing is.
#[test]
fn no_changed_byte_of_an_archive_changes_what_is_taken() {
    let original = signed();
    let packed = original.to_archive().unwrap();
    let mut tar = Vec::new();
    GzDecoder::new(packed.as_slice())
        .read_to_end(&mut tar)
        .unwrap();
    let gzip = |tar: &[u8]| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(tar).unwrap();
        encoder.finish().unwrap()
    };
    let (mut refused, mut harmless) = (0, 0);
    let mut check = |archive: &[u8], what: String| {
        let accepted = BundleFiles::from_archive(archive).and_then(|files| trust().accept(files));
        match accepted {
            Err(_) => refused += 1,
            Ok(accepted) => {
                let same = accepted.files().iter().eq(original.iter());
                assert!(same, "{what} changed the files unnoticed");
                harmless += 1;
            }
        }
    };
    for index in 0..packed.len() {
        for bits in [0x01, 0x20, 0x80] {
            let mut changed = packed.clone();
            changed[index] ^= bits;
            check(&changed, format!("gzip byte {index} ^ {bits:#x}"));
        }
    }
    for index in 0..tar.len() {
        let mut changed = tar.clone();
        changed[index] ^= [0x01, 0x20, 0x80][index % 3];
        check(&gzip(&changed), format!("tar byte {index}"));
        if tar[index] != 0 {
            // With the header's sum made right again, as somebody who means it would.
            mend_sum(&mut changed, index);
            check(&gzip(&changed), format!("tar byte {index}, sum mended"));
        }
    }
    // What is left are times, owners and padding of the tar, and the head of the gzip.
    assert!(
        refused > 2 * packed.len(),
        "{refused} refused, {harmless} harmless"
    );
}

fn mend_sum(tar: &mut [u8], index: usize) {
    let start = index / 512 * 512;
    let mut header = tar::Header::new_ustar();
    header
        .as_mut_bytes()
        .copy_from_slice(&tar[start..start + 512]);
    if header.as_ustar().is_some() {
        header.set_cksum();
        tar[start..start + 512].copy_from_slice(header.as_bytes());
    }
}
