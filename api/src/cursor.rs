//! Cursors as callers see them: opaque, and nobody's but ours.
//!
//! What `store` makes is the key of the last row with a fingerprint of the question. Whoever could
//! make one up could begin a list wherever they like, and learn from the answers which rows there
//! are. So what goes out carries a signature over tenant, operation and content (HMAC-SHA-256, cut
//! to 128 bits), and what comes back without a good one is refused before the database is asked.
//!
//! Keys rotate: the first signs, all are tried. A cursor names no key, because it lives for minutes
//! and there are two keys at most.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use contracts::TenantId;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::config::Secret;

type Signature = Hmac<Sha256>;

/// Bytes of a signature that travel.
const SIGNED: usize = 16;
/// Keeps keys that are used for something else too apart from ours.
const PURPOSE: &[u8] = b"real-dispatch cursor v1";

/// The keys that cursors are signed with.
#[derive(Clone)]
pub struct CursorKeys {
    today: Signature,
    before: Vec<Signature>,
}

impl std::fmt::Debug for CursorKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CursorKeys").finish_non_exhaustive()
    }
}

/// Whose list it is a place in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    /// The tenant.
    pub tenant: TenantId,
    /// The operation, by its route.
    pub route: &'a str,
}

/// The cursor is not one of ours, or not of this list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotOurs;

impl CursorKeys {
    /// Derives the keys from the secret of today and those of before.
    pub fn new<'a>(today: &'a Secret, before: impl IntoIterator<Item = &'a Secret>) -> Self {
        let derived = |secret: &Secret| {
            let mut derive = keyed(secret.expose().as_bytes());
            derive.update(PURPOSE);
            keyed(&derive.finalize().into_bytes())
        };
        Self {
            today: derived(today),
            before: before.into_iter().map(derived).collect(),
        }
    }

    /// What the caller gets for a place that `store` named.
    pub(crate) fn sign(&self, of: Place<'_>, place: &str) -> String {
        let signature = of.over(&self.today, place).finalize().into_bytes();
        let whole = [&signature[..SIGNED], place.as_bytes()].concat();
        URL_SAFE_NO_PAD.encode(whole)
    }

    /// The place that `store` named, if this is a cursor of this list.
    pub(crate) fn open(&self, of: Place<'_>, cursor: &str) -> Result<String, NotOurs> {
        let whole = URL_SAFE_NO_PAD.decode(cursor).map_err(|_| NotOurs)?;
        let (signature, place) = whole.split_at_checked(SIGNED).ok_or(NotOurs)?;
        let place = std::str::from_utf8(place).map_err(|_| NotOurs)?;
        let signed = |key| of.over(key, place).verify_truncated_left(signature).is_ok();
        let mut keys = std::iter::once(&self.today).chain(&self.before);
        match keys.any(signed) {
            true => Ok(place.to_owned()),
            false => Err(NotOurs),
        }
    }
}

impl Place<'_> {
    /// Each part is told from the next by its length.
    fn over(self, key: &Signature, place: &str) -> Signature {
        let mut mac = key.clone();
        mac.update(self.tenant.as_uuid().as_bytes());
        mac.update(&(self.route.len() as u64).to_be_bytes());
        mac.update(self.route.as_bytes());
        mac.update(place.as_bytes());
        mac
    }
}

fn keyed(key: &[u8]) -> Signature {
    Signature::new_from_slice(key).expect("HMAC takes keys of any length")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    fn keys(secrets: &[&str]) -> CursorKeys {
        let secrets: Vec<_> = secrets.iter().copied().map(Secret::new).collect();
        CursorKeys::new(&secrets[0], &secrets[1..])
    }

    fn of(tenant: u128, route: &str) -> Place<'_> {
        Place {
            tenant: TenantId::from_uuid(Uuid::from_u128(tenant)),
            route,
        }
    }

    #[test]
    fn a_cursor_is_of_its_tenant_and_its_list() {
        let keys = keys(&["one"]);
        let cursor = keys.sign(of(1, "/tickets"), "74aa");
        assert_eq!(keys.open(of(1, "/tickets"), &cursor).unwrap(), "74aa");
        for other in [of(2, "/tickets"), of(1, "/sites"), of(1, "/ticket")] {
            assert_eq!(keys.open(other, &cursor), Err(NotOurs), "{other:?}");
        }
        // The parts cannot be shifted into each other.
        let shifted = keys.sign(of(1, "/a"), "bc");
        assert_eq!(keys.open(of(1, "/ab"), &shifted), Err(NotOurs));
    }

    #[test]
    fn the_key_of_yesterday_is_still_good() {
        let (yesterday, today) = (keys(&["one"]), keys(&["two", "one"]));
        let list = of(1, "/tickets");
        let (old, new) = (yesterday.sign(list, "74"), today.sign(list, "74"));
        assert_ne!(old, new);
        assert_eq!(today.open(list, &old).unwrap(), "74");
        assert_eq!(today.open(list, &new).unwrap(), "74");
        assert_eq!(yesterday.open(list, &new), Err(NotOurs));
    }

    proptest! {
        /// One bit of a cursor is enough, wherever it is.
        #[test]
        fn what_was_changed_is_refused(place in "[0-9a-f]{0,60}", at in any::<usize>(), bit in 0..8_u8) {
            let keys = keys(&["one"]);
            let list = of(1, "/tickets");
            let mut whole = URL_SAFE_NO_PAD.decode(keys.sign(list, &place)).unwrap();
            let at = at % whole.len();
            whole[at] ^= 1 << bit;
            prop_assert_eq!(keys.open(list, &URL_SAFE_NO_PAD.encode(&whole)), Err(NotOurs));
        }

        #[test]
        fn nobody_makes_one_up(cursor in "\\PC{0,80}") {
            prop_assert_eq!(keys(&["one"]).open(of(1, "/tickets"), &cursor), Err(NotOurs));
        }
    }
}
