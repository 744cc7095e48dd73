//! Which ticket an inbound message belongs to. The rule is a table in `docs/messages.md`; its
//! numbers are data of the policy bundle.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use contracts::{
    ContactId, MessageId, SiteId, TicketId,
    comms::{CommsRules, HoldReason},
};

use crate::Route;

/// More candidates help nobody choose.
pub const MOST_CANDIDATES: usize = 20;

/// What the route of a message depends on.
#[derive(Debug, Clone, PartialEq)]
pub struct RouteFacts<'a> {
    /// The moment of the decision.
    pub now: DateTime<Utc>,
    /// The same message of the same provider, when it came before.
    pub seen: Option<Seen>,
    /// The site that the sender named.
    pub named: Option<NamedSite>,
    /// Everybody on record with the peer's address.
    pub contacts: Vec<PeerContact>,
    /// The open tickets of the peer: their contact has the peer's address, or a message from or to
    /// it is attached.
    pub tickets: Vec<PeerTicket>,
    /// The bundle's rules.
    pub rules: &'a CommsRules,
}

/// A message that came before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// The first of its kind.
    pub message_id: MessageId,
    /// Where it belongs by now.
    pub ticket_id: Option<TicketId>,
}

/// A site as the sender named it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NamedSite {
    /// New tickets may be opened there.
    Active(SiteId),
    /// No new ticket may be opened there.
    Inactive(SiteId),
    /// There is none.
    Unknown,
}

/// Somebody on record with the peer's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerContact {
    /// Who.
    pub id: ContactId,
    /// Where they are to be found, if new tickets may be opened there.
    pub site_id: Option<SiteId>,
}

/// An open ticket of the peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerTicket {
    /// Which.
    pub id: TicketId,
    /// Where.
    pub site_id: SiteId,
    /// Who reported it.
    pub contact_id: Option<ContactId>,
    /// Its last change or message.
    pub last_activity: DateTime<Utc>,
}

/// Finds the route. The order of the rows says nothing.
pub fn route(facts: &RouteFacts<'_>) -> Route {
    if let Some(seen) = facts.seen {
        return Route::Duplicate {
            first: seen.message_id,
            ticket_id: seen.ticket_id,
        };
    }
    if facts.named == Some(NamedSite::Unknown) {
        return Route::Unusable {
            pointer: "/site_id",
            message: "names no site of yours",
        };
    }
    let here: Vec<_> = of_named_site(facts).collect();
    let window = TimeDelta::hours(facts.rules.attach_window_hours.into());
    let recent: Vec<_> = here
        .iter()
        .copied()
        .filter(|ticket| facts.now - ticket.last_activity <= window)
        .collect();
    match (&recent[..], site(facts)) {
        ([ticket], _) => Route::Attach {
            ticket_id: ticket.id,
            contact_id: ticket
                .contact_id
                .filter(|id| facts.contacts.iter().any(|contact| contact.id == *id))
                .or_else(|| only_contact(facts, Some(ticket.site_id))),
        },
        ([], Some(site_id)) => Route::Open {
            site_id,
            contact_id: only_contact(facts, Some(site_id)),
        },
        ([], None) => hold(
            facts,
            match facts.named {
                None if facts.contacts.is_empty() => HoldReason::UnknownPeer,
                _ => HoldReason::SiteUnclear,
            },
            here,
        ),
        (_, _) => hold(facts, HoldReason::SeveralTickets, recent),
    }
}

/// The peer's open tickets, at the named site if one is named.
fn of_named_site<'a>(facts: &'a RouteFacts<'_>) -> impl Iterator<Item = &'a PeerTicket> {
    let named = match facts.named {
        Some(NamedSite::Active(id) | NamedSite::Inactive(id)) => Some(id),
        Some(NamedSite::Unknown) | None => None,
    };
    let there = move |ticket: &&PeerTicket| named.is_none_or(|site| site == ticket.site_id);
    facts.tickets.iter().filter(there)
}

/// Where a new ticket would be: the named site, else the one site of everybody with this address.
fn site(facts: &RouteFacts<'_>) -> Option<SiteId> {
    match facts.named {
        Some(NamedSite::Active(id)) => Some(id),
        Some(NamedSite::Inactive(_) | NamedSite::Unknown) => None,
        None => only(facts.contacts.iter().filter_map(|contact| contact.site_id)),
    }
}

/// The person who wrote: the only one with this address, or the only one of them at the site. Two
/// who share a telephone are not told apart.
fn only_contact(facts: &RouteFacts<'_>, site: Option<SiteId>) -> Option<ContactId> {
    let at_site = facts
        .contacts
        .iter()
        .filter(|contact| contact.site_id == site);
    only(facts.contacts.iter().map(|contact| contact.id))
        .or_else(|| only(at_site.map(|contact| contact.id)))
}

fn only<T: Ord>(all: impl Iterator<Item = T>) -> Option<T> {
    let mut distinct: BTreeSet<T> = all.collect();
    let first = distinct.pop_first();
    first.filter(|_| distinct.is_empty())
}

/// A person has to say; the ticket that moved last comes first.
fn hold(facts: &RouteFacts<'_>, reason: HoldReason, mut candidates: Vec<&PeerTicket>) -> Route {
    candidates.sort_by_key(|ticket| (std::cmp::Reverse(ticket.last_activity), ticket.id));
    candidates.dedup_by_key(|ticket| ticket.id);
    candidates.truncate(MOST_CANDIDATES);
    Route::Hold {
        reason,
        candidates: candidates.into_iter().map(|ticket| ticket.id).collect(),
        contact_id: only_contact(facts, None),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{comms_rules, monday, uuid};

    fn site_id(n: u128) -> SiteId {
        SiteId::from_uuid(uuid(n))
    }

    fn contact_id(n: u128) -> ContactId {
        ContactId::from_uuid(uuid(n))
    }

    fn ticket_id(n: u128) -> TicketId {
        TicketId::from_uuid(uuid(n))
    }

    fn contact(id: u128, site: impl Into<Option<u128>>) -> PeerContact {
        PeerContact {
            id: contact_id(id),
            site_id: site.into().map(site_id),
        }
    }

    /// A ticket at a site that moved this many hours ago.
    fn ticket(id: u128, site: u128, hours: i64) -> PeerTicket {
        PeerTicket {
            id: ticket_id(id),
            site_id: site_id(site),
            contact_id: Some(contact_id(1)),
            last_activity: monday() - TimeDelta::hours(hours),
        }
    }

    #[derive(Debug, Clone, Default)]
    struct Case {
        seen: Option<Seen>,
        named: Option<NamedSite>,
        contacts: Vec<PeerContact>,
        tickets: Vec<PeerTicket>,
    }

    impl Case {
        fn route(&self) -> Route {
            route(&RouteFacts {
                now: monday(),
                seen: self.seen,
                named: self.named,
                contacts: self.contacts.clone(),
                tickets: self.tickets.clone(),
                rules: &comms_rules(),
            })
        }
    }

    fn attach(id: u128) -> Route {
        Route::Attach {
            ticket_id: ticket_id(id),
            contact_id: Some(contact_id(1)),
        }
    }

    fn held(reason: HoldReason, candidates: &[u128], contact: Option<u128>) -> Route {
        Route::Hold {
            reason,
            candidates: candidates.iter().copied().map(ticket_id).collect(),
            contact_id: contact.map(contact_id),
        }
    }

    #[test]
    fn what_came_before_is_a_duplicate_whatever_else_holds() {
        let seen = Seen {
            message_id: MessageId::from_uuid(uuid(9)),
            ticket_id: Some(ticket_id(8)),
        };
        let case = Case {
            seen: Some(seen),
            named: Some(NamedSite::Unknown),
            contacts: vec![contact(1, 1)],
            tickets: vec![ticket(1, 1, 0)],
        };
        let duplicate = Route::Duplicate {
            first: seen.message_id,
            ticket_id: seen.ticket_id,
        };
        assert_eq!(case.route(), duplicate);
    }

    #[test]
    fn a_site_that_is_not_there_is_refused() {
        let case = Case {
            named: Some(NamedSite::Unknown),
            contacts: vec![contact(1, 1)],
            tickets: vec![ticket(1, 1, 0)],
            ..Case::default()
        };
        assert!(matches!(
            case.route(),
            Route::Unusable {
                pointer: "/site_id",
                ..
            }
        ));
    }

    #[test]
    fn one_recent_ticket_gets_the_message() {
        let mut case = Case {
            contacts: vec![contact(1, 1)],
            tickets: vec![ticket(7, 1, 72)],
            ..Case::default()
        };
        assert_eq!(case.route(), attach(7), "at the window's very end");
        case.tickets.push(ticket(8, 1, 73));
        assert_eq!(case.route(), attach(7), "an old one does not confuse");
        case.tickets.push(ticket(9, 2, 1));
        case.named = Some(NamedSite::Active(site_id(1)));
        assert_eq!(case.route(), attach(7), "nor one at another site than said");
        case.named = Some(NamedSite::Inactive(site_id(1)));
        assert_eq!(
            case.route(),
            attach(7),
            "a site that was given up still has it"
        );
    }

    #[test]
    fn a_ticket_of_an_unknown_peer_gets_their_next_message() {
        let case = Case {
            tickets: vec![ticket(7, 1, 1)],
            ..Case::default()
        };
        let attached = Route::Attach {
            ticket_id: ticket_id(7),
            contact_id: None,
        };
        assert_eq!(case.route(), attached, "its contact is somebody else");
    }

    #[test]
    fn of_several_recent_tickets_a_person_chooses() {
        let case = Case {
            contacts: vec![contact(1, 1)],
            tickets: vec![ticket(7, 1, 5), ticket(8, 1, 1), ticket(9, 1, 80)],
            ..Case::default()
        };
        let expected = held(HoldReason::SeveralTickets, &[8, 7], Some(1));
        assert_eq!(case.route(), expected);
    }

    #[test]
    fn without_a_recent_ticket_a_clear_site_gets_a_new_one() {
        let open = |site, contact: Option<u128>| Route::Open {
            site_id: site_id(site),
            contact_id: contact.map(contact_id),
        };
        let mut case = Case {
            contacts: vec![contact(1, 1), contact(2, None)],
            tickets: vec![ticket(7, 1, 73)],
            ..Case::default()
        };
        assert_eq!(case.route(), open(1, Some(1)), "the one site on record");
        case.named = Some(NamedSite::Active(site_id(5)));
        assert_eq!(case.route(), open(5, None), "the site that was said");
        case.contacts = vec![];
        assert_eq!(case.route(), open(5, None), "by somebody unknown");
        case.named = None;
        case.contacts = vec![contact(1, 1), contact(2, 1)];
        assert_eq!(case.route(), open(1, None), "two share a telephone");
    }

    #[test]
    fn somebody_unknown_who_names_no_site_waits_for_a_person() {
        let expected = held(HoldReason::UnknownPeer, &[], None);
        assert_eq!(Case::default().route(), expected);
    }

    #[test]
    fn an_unclear_site_waits_for_a_person_who_sees_the_old_tickets() {
        let unclear = |case: &Case, contact| {
            assert_eq!(case.route(), held(HoldReason::SiteUnclear, &[7], contact));
        };
        let mut case = Case {
            contacts: vec![contact(1, 1), contact(2, 2)],
            tickets: vec![ticket(7, 1, 100)],
            ..Case::default()
        };
        unclear(&case, None);
        case.contacts = vec![contact(1, None)];
        unclear(&case, Some(1));
        case.contacts = vec![contact(1, 1)];
        case.named = Some(NamedSite::Inactive(site_id(1)));
        unclear(&case, Some(1));
    }

    fn any_case() -> impl Strategy<Value = Case> {
        let site = 0..3_u128;
        let named = prop_oneof![
            Just(None),
            site.clone()
                .prop_map(|n| Some(NamedSite::Active(site_id(n)))),
            site.clone()
                .prop_map(|n| Some(NamedSite::Inactive(site_id(n)))),
        ];
        let contacts = prop::collection::vec(
            (0..4_u128, prop::option::of(site.clone())).prop_map(|(id, site)| contact(id, site)),
            0..4,
        );
        let tickets = prop::collection::btree_map(0..30_u128, (site, 0..150_i64), 0..25).prop_map(
            |tickets| {
                let rows = tickets.into_iter();
                rows.map(|(id, (site, hours))| ticket(id, site, hours))
                    .collect()
            },
        );
        (named, contacts, tickets).prop_map(|(named, contacts, tickets)| Case {
            seen: None,
            named,
            contacts,
            tickets,
        })
    }

    proptest! {
        #[test]
        fn the_order_of_rows_says_nothing(case in any_case(), turn in 0..25_usize) {
            let first = case.route();
            let mut turned = case;
            turned.contacts.reverse();
            turned.tickets.reverse();
            if !turned.tickets.is_empty() {
                let turn = turn % turned.tickets.len();
                turned.tickets.rotate_left(turn);
            }
            prop_assert_eq!(turned.route(), first);
        }

        #[test]
        fn a_route_leads_only_where_the_facts_lead(case in any_case()) {
            match case.route() {
                Route::Attach { ticket_id, .. } => {
                    prop_assert!(case.tickets.iter().any(|ticket| ticket.id == ticket_id));
                }
                Route::Open { site_id, .. } => match case.named {
                    Some(named) => prop_assert_eq!(named, NamedSite::Active(site_id)),
                    None => {
                        let there = |contact: &PeerContact| contact.site_id == Some(site_id);
                        prop_assert!(case.contacts.iter().any(there));
                    }
                },
                Route::Hold { candidates, .. } => {
                    prop_assert!(candidates.len() <= MOST_CANDIDATES);
                    let known = |id: &TicketId| case.tickets.iter().any(|t| t.id == *id);
                    prop_assert!(candidates.iter().all(known));
                }
                Route::Duplicate { .. } | Route::Unusable { .. } => {
                    prop_assert!(false, "nothing came before, and the site is there");
                }
            }
        }
    }
}
