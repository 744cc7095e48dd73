//! Opaque cursors: the key of the last row of a page, so that rows which come or go in between
//! neither repeat nor hide others.

use contracts::TicketId;
use uuid::Uuid;

use crate::Error;

/// Where the next page of the ticket list begins: below this id.
pub(super) fn of_ticket(last: TicketId) -> String {
    encode(b't', last.as_uuid().as_bytes())
}

pub(super) fn ticket(cursor: &str) -> Result<Uuid, Error> {
    decode(b't', cursor).map(Uuid::from_bytes)
}

/// Where the next page of a timeline begins: after this position.
pub(super) fn of_position(last: u64) -> String {
    encode(b'p', &last.to_be_bytes())
}

pub(super) fn position(cursor: &str) -> Result<u64, Error> {
    decode(b'p', cursor).map(u64::from_be_bytes)
}

fn encode(list: u8, key: &[u8]) -> String {
    hex::encode([&[list], key].concat())
}

fn decode<const N: usize>(list: u8, cursor: &str) -> Result<[u8; N], Error> {
    let bytes = hex::decode(cursor).map_err(|_| Error::InvalidCursor)?;
    match bytes.split_first() {
        Some((first, key)) if *first == list => key.try_into().map_err(|_| Error::InvalidCursor),
        _ => Err(Error::InvalidCursor),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_reads_back() {
        let id = TicketId::from_uuid(Uuid::from_u128(77));
        assert_eq!(ticket(&of_ticket(id)).unwrap(), id.as_uuid());
        assert_eq!(position(&of_position(9)).unwrap(), 9);
    }

    #[test]
    fn a_cursor_of_another_list_and_nonsense_are_refused() {
        for bad in ["", "zz", "74", &of_position(1), &"74".repeat(40)] {
            assert!(matches!(ticket(bad), Err(Error::InvalidCursor)), "{bad}");
        }
        assert!(position(&of_ticket(TicketId::from_uuid(Uuid::nil()))).is_err());
    }
}
