//! One spelling per address, so that the same person is recognised however a provider writes them.

use contracts::{comms::Channel, value::PeerAddress};

/// The address as it is kept and compared: a telephone number in E.164, an e-mail address in lower
/// case, a handle as it is. The error says what would be right.
pub fn normalise(channel: Channel, address: &PeerAddress) -> Result<PeerAddress, &'static str> {
    match channel {
        Channel::Sms | Channel::Whatsapp | Channel::Voice => telephone(address),
        Channel::Email => email(address),
        Channel::Web => Ok(address.clone()),
        Channel::Operations => {
            Err("must be one that people write on: `operations` is outbound only")
        }
    }
}

/// `+` and 7 to 15 digits, the first of them no zero (ITU-T E.164); people's separators are left
/// out and the international prefix `00` is read as `+`.
fn telephone(address: &PeerAddress) -> Result<PeerAddress, &'static str> {
    const RULE: &str = "must be an international telephone number such as +31201234567";
    let compact: String = address
        .as_str()
        .chars()
        .filter(|c| !matches!(c, '-' | '.' | '(' | ')'))
        .collect();
    let digits = compact
        .strip_prefix('+')
        .or_else(|| compact.strip_prefix("00"))
        .ok_or(RULE)?;
    let is_number = (7..=15).contains(&digits.len())
        && digits.bytes().all(|b| b.is_ascii_digit())
        && !digits.starts_with('0');
    match is_number {
        true => PeerAddress::new(format!("+{digits}")).map_err(|_| RULE),
        false => Err(RULE),
    }
}

/// Lower case: no provider in use tells mailboxes apart by case.
fn email(address: &PeerAddress) -> Result<PeerAddress, &'static str> {
    const RULE: &str = "must be an e-mail address such as name@example.com";
    let address = address.as_str().to_lowercase();
    match address.rsplit_once('@') {
        Some((mailbox, domain)) if !mailbox.is_empty() && !domain.is_empty() => {
            PeerAddress::new(address).map_err(|_| RULE)
        }
        _ => Err(RULE),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn normal(channel: Channel, text: &str) -> Option<String> {
        let address = PeerAddress::new(text).expect("an address");
        normalise(channel, &address)
            .ok()
            .map(|normal| normal.as_str().to_owned())
    }

    #[test]
    fn a_telephone_number_has_one_spelling() {
        for channel in [Channel::Sms, Channel::Whatsapp, Channel::Voice] {
            for spelling in [
                "+31201234567",
                "0031201234567",
                "+31-20-123.45.67",
                "+31(20)1234567",
            ] {
                assert_eq!(
                    normal(channel, spelling).as_deref(),
                    Some("+31201234567"),
                    "{spelling}"
                );
            }
            for not in [
                "0201234567",
                "31201234567",
                "+0201234567",
                "+31",
                "+312012345678901234",
                "+31x01234567",
                "anna@example.com",
            ] {
                assert_eq!(normal(channel, not), None, "{not}");
            }
        }
    }

    #[test]
    fn an_e_mail_address_has_one_spelling() {
        let spelt = normal(Channel::Email, "Anna.Jansen@Example.COM");
        assert_eq!(spelt.as_deref(), Some("anna.jansen@example.com"));
        for not in ["anna", "@example.com", "anna@", "+31201234567"] {
            assert_eq!(normal(Channel::Email, not), None, "{not}");
        }
    }

    #[test]
    fn a_handle_stays_and_operations_have_none() {
        assert_eq!(normal(Channel::Web, "Anna-7").as_deref(), Some("Anna-7"));
        assert_eq!(normal(Channel::Operations, "+31201234567"), None);
    }

    proptest! {
        #[test]
        fn what_is_normal_stays_normal(text in "[+0-9().a-zA-Z@-]{1,30}") {
            for channel in [Channel::Sms, Channel::Email, Channel::Web] {
                if let Some(once) = normal(channel, &text) {
                    prop_assert_eq!(normal(channel, &once), Some(once));
                }
            }
        }
    }
}
