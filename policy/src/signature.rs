//! Who stands for a bundle: OPA's `.signatures.json`.
//!
//! The file holds one JWS whose payload lists name and digest of every file. Only a signature over
//! all of them is one: a file beside the list, a listed file that is not there, another content or
//! another algorithm refuse the bundle. The key decides about the algorithm, never the token.
//!
//! What a signature leaves open in OPA's format is the layout of JSON files, over which it takes no
//! digest. A signature made here therefore names the bundle's version and hash too (OPA skips that
//! claim); then not a blank can be changed.
//!
//! [`Trust`] is what a process believes, and the only way to [`AcceptedFiles`], which is what a
//! [`crate::Bundle`] is made of. So code that loads bundles cannot forget to ask.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use contracts::policy::BundleRef;
use jsonwebtoken::{Algorithm, Header, Validation};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sha2::{Digest, Sha256};

use crate::{
    error::{BundleError, SignatureError},
    files::{self, BundleFiles, MANIFEST, SIGNATURES},
    keys::{self, SigningKey, VerificationKeys},
    manifest::Manifest,
    starter, structured,
};

const JWS_ALGORITHM: &str = "EdDSA";
const DIGEST_ALGORITHM: &str = "SHA-256";
/// How OPA names its own way of signing; nothing else is known here either.
const OPA_PLUGIN: &str = "_default";

/// Whose bundles a process takes.
#[derive(Debug, Clone)]
pub enum Trust {
    /// Anybody's: no key is configured. A signature that is there is not looked at.
    Anybody,
    /// Only those of which every file is signed with one of these keys, and the starter bundles of
    /// this program and of earlier ones, by their hash.
    SignedBy(VerificationKeys),
}

impl Trust {
    /// Takes the files if they are trusted.
    pub fn accept(&self, files: BundleFiles) -> Result<AcceptedFiles, BundleError> {
        let signer = match self {
            Self::Anybody => None,
            Self::SignedBy(keys) => match verify(&files, keys) {
                Ok(signer) => Some(signer),
                Err(_) if starter::was_shipped(&files.sha256()) => None,
                Err(refused) => return Err(refused),
            },
        };
        Ok(AcceptedFiles { files, signer })
    }
}

/// Files that a process may make a bundle of: [`Trust`] accepted them.
#[derive(Debug, Clone)]
pub struct AcceptedFiles {
    files: BundleFiles,
    signer: Option<String>,
}

impl AcceptedFiles {
    /// Those that are compiled into the program: whoever trusts it trusts them.
    pub(crate) fn built_in(files: BundleFiles) -> Self {
        Self {
            files,
            signer: None,
        }
    }

    /// The key whose signature was verified; none where no key is asked for.
    pub fn signer(&self) -> Option<&str> {
        self.signer.as_deref()
    }

    /// The files.
    pub fn files(&self) -> &BundleFiles {
        &self.files
    }

    pub(crate) fn into_parts(self) -> (BundleFiles, Option<String>) {
        (self.files, self.signer)
    }
}

/// `.signatures.json`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Signatures {
    signatures: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    plugin: Option<String>,
}

/// What is signed. Claims beside these are somebody else's and say nothing about the files.
#[derive(Serialize, Deserialize)]
struct Payload {
    files: Vec<Listed>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    scope: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    dispatch_bundle: Option<BundleRef>,
}

#[derive(Serialize, Deserialize)]
struct Listed {
    name: String,
    hash: String,
    #[serde(default)]
    algorithm: String,
}

/// The part of a JWS header that decides; read before anything else is believed.
#[derive(Deserialize)]
struct Protected {
    alg: String,
    kid: Option<String>,
    crit: Option<serde_json::Value>,
}

/// Where `opa sign` has the key named, which writes no `kid`.
#[derive(Deserialize)]
struct KeyClaim {
    keyid: Option<String>,
}

impl BundleFiles {
    /// The same files signed with a key; an earlier signature is replaced.
    pub fn sign(self, key: &SigningKey) -> Result<Self, BundleError> {
        let manifest = Manifest::parse(self.manifest())?;
        let mut listed = Vec::new();
        for (path, text) in self.iter() {
            listed.push(Listed {
                name: path.to_owned(),
                hash: digest(path, text)?,
                algorithm: DIGEST_ALGORITHM.to_owned(),
            });
        }
        let payload = Payload {
            files: listed,
            scope: None,
            dispatch_bundle: Some(BundleRef {
                version: manifest.revision,
                sha256: self.sha256(),
            }),
        };
        let header = Header {
            typ: None,
            kid: Some(key.kid.clone()),
            ..Header::new(Algorithm::EdDSA)
        };
        let token = jsonwebtoken::encode(&header, &payload, &key.key)
            .map_err(|_| keys::no_private_key(&key.kid))?;
        let signatures = Signatures {
            signatures: vec![token],
            plugin: None,
        };
        let text = serde_json::to_string(&signatures).map_err(|error| malformed(&error))?;
        Ok(self.with_signatures(Some(text)))
    }

    /// Which key the signature says it was made with; nothing is verified. `None`: not signed.
    pub fn claimed_signer(&self) -> Result<Option<String>, BundleError> {
        match self.signatures() {
            None => Ok(None),
            Some(text) => Ok(Some(header(&token(text)?)?.1)),
        }
    }
}

/// Verifies the signature over all files, and says whose it is.
fn verify(files: &BundleFiles, keys: &VerificationKeys) -> Result<String, BundleError> {
    let text = files.signatures().ok_or_else(|| SignatureError::Unsigned {
        known: keys.names(),
    })?;
    let token = token(text)?;
    let (algorithm, kid) = header(&token)?;
    if algorithm != JWS_ALGORITHM {
        return Err(SignatureError::Algorithm { found: algorithm }.into());
    }
    let key = keys.get(&kid).ok_or_else(|| SignatureError::UnknownKey {
        kid: kid.clone(),
        known: keys.names(),
    })?;
    let payload = signed_payload(&token, key, &kid)?;
    if payload.scope.is_some_and(|scope| !scope.is_empty()) {
        return Err(SignatureError::Malformed {
            reason: "it is bound to a `scope`, and none is asked for here".to_owned(),
        }
        .into());
    }
    compare(files, payload.files)?;
    if let Some(named) = payload.dispatch_bundle {
        let found = files.sha256();
        if named.sha256 != found {
            return Err(SignatureError::OtherBundle {
                signed: named.sha256,
                found,
            }
            .into());
        }
    }
    Ok(kid)
}

/// Each file is listed once, and each listed file is there as it was signed.
fn compare(files: &BundleFiles, listed: Vec<Listed>) -> Result<(), BundleError> {
    let mut open = BTreeMap::new();
    for entry in listed {
        let Listed {
            name,
            hash,
            algorithm,
        } = entry;
        if algorithm != DIGEST_ALGORITHM {
            return Err(SignatureError::DigestAlgorithm {
                path: name,
                found: algorithm,
            }
            .into());
        }
        if let Some((path, _)) = open.insert(name.clone(), hash).map(|hash| (name, hash)) {
            return Err(SignatureError::ListedTwice { path }.into());
        }
    }
    for (path, text) in files.iter() {
        let path = path.to_owned();
        match open.remove(&path) {
            None => return Err(SignatureError::Unlisted { path }.into()),
            Some(hash) if hash != digest(&path, text)? => {
                return Err(SignatureError::Altered { path }.into());
            }
            Some(_) => {}
        }
    }
    match open.into_keys().next() {
        None => Ok(()),
        Some(path) => Err(SignatureError::Missing { path }.into()),
    }
}

/// The digest that a signature lists for a file.
fn digest(path: &str, text: &str) -> Result<String, BundleError> {
    if !files::is_structured(path) {
        return Ok(hex::encode(Sha256::digest(text.as_bytes())));
    }
    let canonical = structured::canonical(text).map_err(|error| {
        if path == MANIFEST {
            BundleError::Manifest {
                reason: error.to_string(),
            }
        } else {
            BundleError::Data {
                path: path.to_owned(),
                reason: error.to_string(),
            }
        }
    })?;
    Ok(hex::encode(Sha256::digest(canonical.as_bytes())))
}

/// The one token of the file.
fn token(text: &str) -> Result<String, BundleError> {
    let Signatures {
        mut signatures,
        plugin,
    } = serde_json::from_str(text).map_err(|error| malformed(&error))?;
    if plugin.is_some_and(|plugin| plugin != OPA_PLUGIN) {
        return Err(malformed(&"it was made by a plugin that is unknown here"));
    }
    match (signatures.pop(), signatures.is_empty()) {
        (Some(token), true) => Ok(token),
        _ => Err(malformed(&"it must hold exactly one signature")),
    }
}

/// Algorithm and key id as the token says them. The id only chooses among the known keys.
fn header(token: &str) -> Result<(String, String), BundleError> {
    let mut parts = token.split('.');
    let header: Protected = part(parts.next())?;
    if header.crit.is_some() {
        return Err(malformed(&"its header asks for extensions (`crit`)"));
    }
    let kid = match header.kid {
        Some(kid) => Some(kid),
        None => part::<KeyClaim>(parts.next())?.keyid,
    };
    match kid.filter(|kid| !kid.is_empty()) {
        Some(kid) => Ok((header.alg, kid)),
        None => Err(SignatureError::NoKeyId.into()),
    }
}

/// One part of a token, not verified.
fn part<T: DeserializeOwned>(encoded: Option<&str>) -> Result<T, BundleError> {
    let json = URL_SAFE_NO_PAD
        .decode(encoded.unwrap_or_default())
        .map_err(|error| malformed(&error))?;
    serde_json::from_slice(&json).map_err(|error| malformed(&error))
}

fn signed_payload(
    token: &str,
    key: &jsonwebtoken::DecodingKey,
    kid: &str,
) -> Result<Payload, BundleError> {
    // A bundle does not run out and is meant for no one in particular: there are no such claims.
    let mut validation = Validation::new(Algorithm::EdDSA);
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation.validate_aud = false;
    let decoded = jsonwebtoken::decode::<Payload>(token, key, &validation);
    match decoded {
        Ok(decoded) => Ok(decoded.claims),
        Err(error) => Err(match error.kind() {
            jsonwebtoken::errors::ErrorKind::Json(error) => malformed(error),
            _ => SignatureError::Forged {
                kid: kid.to_owned(),
            }
            .into(),
        }),
    }
}

fn malformed(reason: &impl std::fmt::Display) -> BundleError {
    SignatureError::Malformed {
        reason: format!("`{SIGNATURES}` cannot be read: {reason}"),
    }
    .into()
}
