//! What strangers' bytes are tried on: the parsers of tokens, cursors and bodies, each with what must
//! hold of its answer whatever comes in. A breach is a panic.
//!
//! The targets in `fuzz/` call these for as long as one likes; the tests below do so for a moment, with
//! each run of the suite.

use std::{sync::LazyLock, time::Duration};

use chrono::{DateTime, Utc};
use contracts::{Actor, ActorKind, Role, TenantId, actor::TokenClaims, canonical::canonical_json};
use futures::FutureExt;
use serde_json::Value;
use uuid::Uuid;

use crate::{
    config::{Secret, TokenConfig},
    cursor::{CursorKeys, Place},
    endpoint::{Endpoint, endpoints},
    identity::{Authenticator, mint},
    request::json,
};

const SECRET: &str = "fuzzing-only-0123456789abcdef0123456789";
/// 2026-11-22, and the token is good for an hour from then.
const NOW: i64 = 1_795_305_600;
const DEPTH: usize = 32;

static AUTHENTICATOR: LazyLock<Authenticator> = LazyLock::new(|| {
    Authenticator::new(&TokenConfig {
        secret: Secret::new(SECRET),
        issuer: "https://issuer.test".into(),
        audience: "fuzz".into(),
        leeway: Duration::from_secs(5),
        issuers: Vec::new(),
    })
    .expect("the settings are good")
});

static TOKEN: LazyLock<String> = LazyLock::new(|| {
    let claims = TokenClaims {
        iss: "https://issuer.test".into(),
        aud: "fuzz".into(),
        sub: "usr_1".into(),
        iat: NOW,
        nbf: NOW,
        exp: NOW + 3_600,
        tenant: tenant(1),
        kind: ActorKind::Person,
        roles: [Role::Dispatcher].into(),
        technician_id: None,
    };
    mint(SECRET, &claims).expect("the secret is long enough")
});

static KEYS: LazyLock<CursorKeys> =
    LazyLock::new(|| CursorKeys::new(&Secret::new(SECRET), [&Secret::new("of yesterday")]));

static COMMANDS: LazyLock<Vec<Endpoint>> = LazyLock::new(|| {
    let all = endpoints().into_iter();
    all.filter(|endpoint| endpoint.parse.is_some()).collect()
});

/// A target: it panics when what it is given breaks what it holds.
pub type Target = fn(&[u8]);

/// What `fuzz/` has a program for, by name.
pub const TARGETS: [(&str, Target); 3] = [("token", token), ("cursor", cursor), ("body", body)];

fn tenant(n: u128) -> TenantId {
    TenantId::from_uuid(Uuid::from_u128(n))
}

fn actor(token: &str) -> Option<Actor> {
    let now = DateTime::<Utc>::from_timestamp(NOW + 60, 0).expect("a moment");
    let authenticated = AUTHENTICATOR.authenticate(token, now).now_or_never();
    authenticated
        .expect("our own tokens are waited for by nobody")
        .ok()
}

/// A text changed as the bytes say: each four of them are a place, a way and a byte.
fn changed(text: &str, changes: &[u8]) -> String {
    let mut bytes = text.as_bytes().to_vec();
    for change in changes.chunks_exact(4) {
        let [high, low, way, byte] = change else {
            continue;
        };
        let at = usize::from(u16::from_be_bytes([*high, *low]));
        let at = at % (bytes.len() + 1);
        match way % 4 {
            0 if at < bytes.len() => bytes[at] = *byte,
            1 => bytes.insert(at, *byte),
            2 if at < bytes.len() => drop(bytes.remove(at)),
            _ if at < bytes.len() => bytes[at] ^= 1 << (byte % 8),
            _ => {}
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// No token is good but the one that was signed, byte for byte.
///
/// # Panics
/// When another one is.
pub fn token(data: &[u8]) {
    let known = actor(&TOKEN).expect("the token is good");
    let made_up = String::from_utf8_lossy(data).into_owned();
    let mutated = changed(&TOKEN, data);
    // With the genuine signature behind something else, too.
    let (_, signature) = TOKEN.rsplit_once('.').expect("three parts");
    let resigned = format!("{made_up}.{signature}");
    for token in [made_up, mutated, resigned] {
        let found = actor(&token);
        let good = token == *TOKEN;
        assert_eq!(found, good.then(|| known.clone()), "{token}");
    }
}

/// A cursor opens in the list that it was made in and nowhere else, and no other text does.
///
/// # Panics
/// When one does.
pub fn cursor(data: &[u8]) {
    let of = |n, route| Place {
        tenant: tenant(n),
        route,
    };
    let list = of(1, "/api/v1/tickets");
    let place = String::from_utf8_lossy(data).into_owned();
    let cursor = KEYS.sign(list, &place);
    assert_eq!(KEYS.open(list, &cursor).as_ref(), Ok(&place));
    for other in [of(2, "/api/v1/tickets"), of(1, "/api/v1/sites")] {
        assert!(
            KEYS.open(other, &cursor).is_err(),
            "{place} opens in {other:?}"
        );
    }
    let genuine = KEYS.sign(list, "74aa");
    // A fuzzer that sees comparisons learns what is signed here, and may send it as the place: what
    // opens is what this list signs, letter by letter, and nothing else.
    for text in [place, changed(&genuine, data), changed(&cursor, data)] {
        if let Ok(opened) = KEYS.open(list, &text) {
            assert_eq!(text, KEYS.sign(list, &opened), "it opens as {opened}");
        }
    }
}

/// What was read says the same when it is written and read again: as JSON, and as the command that the
/// first byte chooses.
///
/// # Panics
/// When it does not.
pub fn body(data: &[u8]) {
    let Some((choice, text)) = data.split_first() else {
        return;
    };
    let Ok(tree) = json::parse(text, DEPTH) else {
        return;
    };
    let written = canonical_json(&tree).expect("a tree is JSON");
    let again = json::parse(written.as_bytes(), DEPTH).unwrap_or_else(|_| panic!("{written}"));
    // No command has a fraction, and how one is read may differ in its last digit.
    if !has_fraction(&tree) {
        assert_eq!(canonical_json(&again).expect("a tree is JSON"), written);
    }

    let endpoint = &COMMANDS[usize::from(*choice) % COMMANDS.len()];
    let parse = endpoint.parse.expect("only commands are listed");
    let Ok(command) = parse(&tree) else { return };
    let told = serde_json::to_value(&command).expect("a command is JSON");
    let again = match told.get("body") {
        Some(body) => parse(body),
        None => parse(&Value::Object(Default::default())),
    };
    let again = again.unwrap_or_else(|failure| panic!("{told}: {:?}", failure.code()));
    assert_eq!(again, command);
    let text = |command| canonical_json(command).expect("a command is JSON");
    assert_eq!(text(&again), text(&command));
}

fn has_fraction(tree: &Value) -> bool {
    match tree {
        Value::Number(number) => number.is_f64(),
        Value::Array(items) => items.iter().any(has_fraction),
        Value::Object(members) => members.values().any(has_fraction),
        _ => false,
    }
}

/// Good bodies to begin with: the examples of the document, each behind its command's number.
fn bodies() -> Vec<Vec<u8>> {
    let examples: Value =
        serde_json::from_str(include_str!("../examples.json")).expect("api/examples.json is JSON");
    let commands = COMMANDS.iter().enumerate();
    let known = commands.filter_map(|(n, endpoint)| {
        let mut body = examples.get(&endpoint.id)?["request"].clone();
        // What a path says stands in the body by the time it is read.
        for (about, member, id) in [
            ("/approvals/{id}", "approval_id", "apr"),
            ("/tenants/{id}", "tenant_id", "ten"),
        ] {
            if endpoint.path.contains(about) {
                body[member] = format!("{id}_{}", "0".repeat(32)).into();
            }
        }
        let mut bytes = vec![u8::try_from(n).ok()?];
        bytes.extend(body.to_string().into_bytes());
        Some(bytes)
    });
    known.collect()
}

/// What a fuzzer begins with: target, name and bytes.
pub fn seeds() -> Vec<(&'static str, String, Vec<u8>)> {
    let token = ("token", "genuine".to_owned(), TOKEN.clone().into_bytes());
    let place = ("cursor", "place".to_owned(), b"74aa".to_vec());
    let bodies = bodies().into_iter().enumerate();
    let bodies = bodies.map(|(n, body)| ("body", format!("example-{n}"), body));
    [token, place].into_iter().chain(bodies).collect()
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::Path};

    use proptest::{collection::vec, prelude::*, sample::select};

    use super::*;

    #[test]
    fn every_example_is_read_and_written_the_same() {
        let bodies = bodies();
        assert!(bodies.len() > 50, "{}", bodies.len());
        for bytes in &bodies {
            let endpoint = &COMMANDS[usize::from(bytes[0])];
            let tree = json::parse(&bytes[1..], DEPTH).unwrap();
            let parse = endpoint.parse.unwrap();
            assert!(parse(&tree).is_ok(), "{}", endpoint.id);
            body(bytes);
        }
    }

    /// Normal builds leave `fuzz/` out: it needs nightly. What it calls is here, under these names.
    #[test]
    fn every_target_calls_what_is_tried_here() {
        let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz");
        let manifest = fs::read_to_string(fuzz.join("Cargo.toml")).unwrap();
        let folder = fs::read_dir(fuzz.join("fuzz_targets")).unwrap();
        let files: BTreeSet<_> = folder
            .map(|file| file.unwrap().file_name().into_string().unwrap())
            .collect();
        let named = TARGETS.map(|(name, _)| format!("{name}.rs"));
        assert_eq!(files, named.into());
        for (name, target) in TARGETS {
            let path = format!("fuzz_targets/{name}.rs");
            let text = fs::read_to_string(fuzz.join(&path)).unwrap();
            let call = format!("fuzz_target!(|data: &[u8]| dispatch_api::fuzz::{name}(data));");
            assert_eq!(text, format!("#![no_main]\n\nlibfuzzer_sys::{call}\n"));
            let bin = format!("[[bin]]\nname = \"{name}\"\npath = \"{path}\"\n");
            assert!(manifest.contains(&bin), "{bin}");
            let seeds = seeds().into_iter().filter(|(of, ..)| *of == name);
            let tried = seeds.map(|(_, _, seed)| target(&seed)).count();
            assert!(tried > 0, "{name}");
        }
        let writes = fs::read_to_string(fuzz.join("seeds.rs")).unwrap();
        let calls: Vec<_> = writes.matches("dispatch_api::").collect();
        assert_eq!(calls.len(), 1);
        assert!(writes.contains(" in dispatch_api::fuzz::seeds() {"));
    }

    #[test]
    fn changes_are_made_and_nothing_else_is() {
        assert_eq!(changed("abc", &[]), "abc");
        assert_eq!(changed("abc", &[0, 1, 0, b'x']), "axc");
        assert_eq!(changed("abc", &[0, 3, 1, b'x']), "abcx");
        assert_eq!(changed("abc", &[0, 0, 2, 0]), "bc");
    }

    proptest! {
        #[test]
        fn no_token_but_the_genuine_one_is_good(data in vec(any::<u8>(), 0..64)) {
            token(&data);
        }

        #[test]
        fn no_cursor_but_the_genuine_one_opens(data in vec(any::<u8>(), 0..64)) {
            cursor(&data);
        }

        #[test]
        fn what_is_read_is_written_the_same(
            example in select(bodies()),
            changes in vec(any::<u8>(), 0..16),
        ) {
            let text = String::from_utf8_lossy(&example[1..]).into_owned();
            let mut data = vec![example[0]];
            data.extend(changed(&text, &changes).into_bytes());
            body(&data);
        }
    }
}
