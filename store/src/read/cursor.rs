//! Opaque cursors: the key of the last row of a page, so that rows which come or go in between
//! neither repeat nor hide others.
//!
//! A cursor belongs to one question. It names the list and carries a fingerprint of order and
//! filters: with other ones it would silently leave rows out, so it is refused.

use std::fmt::Debug;

use sha2::{Digest, Sha256};

use crate::Error;

/// Makes and reads the cursors of one question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cursors([u8; 9]);

impl Cursors {
    /// Of the list with this letter, asked in this way. The fingerprint is taken of how `question`
    /// prints for programmers: a cursor need not outlive the version that made it.
    pub(super) fn new(list: u8, question: &impl Debug) -> Self {
        let hash = Sha256::digest(format!("{question:?}"));
        let mut name = [list; 9];
        name[1..].copy_from_slice(&hash[..8]);
        Self(name)
    }

    /// Where the next page begins: after the row with this key.
    pub(super) fn after(&self, key: &[u8]) -> String {
        hex::encode([&self.0, key].concat())
    }

    /// The key, if the cursor is of this question.
    pub(super) fn key<const N: usize>(&self, cursor: &str) -> Result<[u8; N], Error> {
        let bytes = hex::decode(cursor).map_err(|_| Error::InvalidCursor)?;
        let key = bytes.strip_prefix(&self.0).ok_or(Error::InvalidCursor)?;
        key.try_into().map_err(|_| Error::InvalidCursor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_reads_back() {
        let cursors = Cursors::new(b't', &"open");
        let cursor = cursors.after(&[1, 2, 3, 4]);
        assert_eq!(cursors.key::<4>(&cursor).unwrap(), [1, 2, 3, 4]);
    }

    #[test]
    fn a_cursor_of_another_question_and_nonsense_are_refused() {
        let cursors = Cursors::new(b't', &"open");
        let key = [0; 4];
        let others = [
            Cursors::new(b'p', &"open").after(&key),
            Cursors::new(b't', &"closed").after(&key),
            cursors.after(&[0; 5]),
            String::new(),
            "zz".into(),
            "74".into(),
        ];
        for bad in others {
            let read = cursors.key::<4>(&bad);
            assert!(matches!(read, Err(Error::InvalidCursor)), "{bad}");
        }
    }
}
