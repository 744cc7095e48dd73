//! Which tokens were found to be signed by which key.
//!
//! Checking a public-key signature costs more than all the rest of authentication, and a caller
//! sends the same token for minutes. Only the fact about the signature is kept, by the SHA-256 of
//! the token: its claims are read and its time is looked at anew each time, and its key has to be
//! among the issuer's keys still, so a rotation takes effect here by itself.

use std::{
    collections::HashMap,
    fmt, mem,
    sync::{Mutex, PoisonError},
};

use sha2::{Digest, Sha256};

use super::{compact::Compact, key::Key, key::KeyId};

/// Tokens in each of the two halves: with both full, about a mebibyte.
const HALF: usize = 4096;

type Token = [u8; 32];

/// At most so many tokens; when the younger half is full, the older one is forgotten.
pub(super) struct Verified(Mutex<Halves>);

#[derive(Default)]
struct Halves {
    young: HashMap<Token, KeyId>,
    old: HashMap<Token, KeyId>,
}

impl fmt::Debug for Verified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verified").finish_non_exhaustive()
    }
}

impl Verified {
    pub(super) fn new() -> Self {
        Self(Mutex::default())
    }

    /// Whether this key signed this token: remembered, or found out now.
    pub(super) fn is_signed_by(&self, text: &str, token: &Compact<'_>, key: &Key) -> bool {
        let digest: Token = Sha256::digest(text).into();
        if self.with(|halves| halves.signer(&digest)) == Some(*key.id()) {
            return true;
        }
        let good = token.is_signed_by(key);
        if good {
            self.with(|halves| halves.remember(digest, *key.id()));
        }
        good
    }

    fn with<T>(&self, work: impl FnOnce(&mut Halves) -> T) -> T {
        // Each change is one step: whoever panicked left the maps whole.
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Halves {
    fn signer(&mut self, token: &Token) -> Option<KeyId> {
        if let Some(key) = self.young.get(token) {
            return Some(*key);
        }
        let key = *self.old.get(token)?;
        self.remember(*token, key);
        Some(key)
    }

    fn remember(&mut self, token: Token, key: KeyId) {
        if self.young.len() >= HALF {
            self.old = mem::take(&mut self.young);
        }
        self.young.insert(token, key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(n: usize) -> Token {
        Sha256::digest(n.to_be_bytes()).into()
    }

    #[test]
    fn memory_is_bounded_and_what_is_used_stays() {
        let mut halves = Halves::default();
        halves.remember(token(0), [1; 32]);
        for n in 1..5 * HALF {
            halves.remember(token(n), [2; 32]);
            assert!(halves.young.len() + halves.old.len() <= 2 * HALF);
            if n % (HALF / 2) == 0 {
                assert_eq!(halves.signer(&token(0)), Some([1; 32]), "{n}");
            }
        }
        assert_eq!(halves.signer(&token(1)), None);
    }
}
