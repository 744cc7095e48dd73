//! Writes a person at the customer's: a new one, or the one with this code. A member that is left
//! out is erased. No refusal repeats what was sent: it is kept, and the value is personal.

use contracts::{ContactId, PeerAddress, command::UpsertContact, filing::Filed};

use super::{Filing, FilingFacts, check};
use crate::{Rejection, ticket::check::known};

pub(super) fn plan(body: &UpsertContact, facts: &FilingFacts) -> Result<Filing, Rejection> {
    let (id, before) = check::thing(facts)?;
    known(facts.site_known, "/site_id", "site")?;
    let is = |address: &Option<PeerAddress>, good: fn(&str) -> bool| {
        address
            .as_ref()
            .is_none_or(|address| good(address.as_str()))
    };
    if !is(&body.phone, is_phone) {
        return Err(Rejection::invalid(
            "/phone",
            "must be an international number such as `+31201234567`: `+` and 7 to 15 digits",
        ));
    }
    if !is(&body.email, is_email) {
        return Err(Rejection::invalid(
            "/email",
            "must be an e-mail address: a name, `@` and a domain with a dot",
        ));
    }
    let filed = Filed::Contact {
        contact_id: ContactId::from_uuid(id),
        code: body.code.clone(),
    };
    Ok(Filing::written(filed, id, before))
}

/// E.164.
fn is_phone(text: &str) -> bool {
    text.strip_prefix('+').is_some_and(|digits| {
        (7..=15).contains(&digits.len())
            && !digits.starts_with('0')
            && digits.bytes().all(|b| b.is_ascii_digit())
    })
}

/// Enough to catch a number or a name in the wrong place; whether mail arrives, only mail tells.
fn is_email(text: &str) -> bool {
    let Some((name, domain)) = text.rsplit_once('@') else {
        return false;
    };
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.chars().all(|c| c.is_alphanumeric() || c == '-')
    };
    (1..=64).contains(&name.len())
        && !name.contains(['@', '<', '>', ',', ';', '"'])
        && domain.contains('.')
        && domain.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_telephone_number_is_international() {
        for good in ["+31201234567", "+1234567", "+123456789012345"] {
            assert!(is_phone(good), "{good}");
        }
        for bad in [
            "0201234567",
            "+0201234567",
            "+123456",
            "+1234567890123456",
            "+31-20",
            "+",
            "",
        ] {
            assert!(!is_phone(bad), "{bad}");
        }
    }

    #[test]
    fn an_address_has_a_name_and_a_domain() {
        for good in [
            "a@b.nl",
            "anna.jansen+shop@mail.example.org",
            "x@bücher.example",
        ] {
            assert!(is_email(good), "{good}");
        }
        for bad in [
            "a", "a@", "@b.nl", "a@b", "a@b..nl", "a@-b.nl", "a@b@c.nl", "<a>@b.nl",
        ] {
            assert!(!is_email(bad), "{bad}");
        }
    }
}
