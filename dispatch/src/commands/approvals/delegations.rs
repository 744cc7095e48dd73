//! Roles that are lent while somebody is away.

use chrono::{DateTime, Utc};
use client::CallOptions;
use contracts::{
    command::{DelegateApprovals, RevokeDelegation},
    inbox::{Delegation, DelegationList},
};

use super::args::{DelegateArgs, RevokeDelegationArgs};
use crate::{
    desk::Desk,
    exit::Failure,
    table::{Table, clean},
    words,
};

/// Lends some.
pub async fn lend(desk: &Desk, args: &DelegateArgs) -> Result<(), Failure> {
    let now = Utc::now();
    let body = DelegateApprovals {
        to: args.to.clone(),
        roles: args.roles.clone(),
        from: args.from.map_or(now, |from| from.from(now)),
        until: args.until.from(now),
        reason: args.reason.clone(),
    };
    let options = CallOptions::default();
    let receipt = desk.api.delegate_approvals(&body, &options).await?;
    if desk.json {
        return desk.print_json(&receipt);
    }
    let (to, until) = (clean(&body.to), words::time(body.until));
    desk.print(&format!(
        "{to} may decide with {} in your place until {until}\n",
        roles(&body.roles)
    ))
}

/// Lists those that concern the caller.
pub async fn list(desk: &Desk) -> Result<(), Failure> {
    let list = desk.api.delegations().await?;
    if desk.json {
        return desk.print_json(&list);
    }
    desk.print(&text(desk, &list, Utc::now()))
}

/// Takes one back.
pub async fn revoke(desk: &Desk, args: &RevokeDelegationArgs) -> Result<(), Failure> {
    let body = RevokeDelegation {
        delegation_id: args.delegation,
    };
    let options = CallOptions::default();
    let receipt = desk.api.revoke_delegation(&body, &options).await?;
    if desk.json {
        return desk.print_json(&receipt);
    }
    desk.print(&format!("{} serves no longer\n", args.delegation))
}

fn text(desk: &Desk, list: &DelegationList, now: DateTime<Utc>) -> String {
    if list.items.is_empty() {
        return "nothing was lent\n".to_owned();
    }
    let mut table = Table::new(&["ID", "OF", "TO", "ROLES", "FROM", "UNTIL", "STANDS", "WHY"]);
    for item in &list.items {
        table.row([
            item.id.to_string(),
            clean(&item.from_actor),
            clean(&item.to_actor),
            roles(&item.roles),
            words::time(item.from),
            words::time(item.until),
            stands(item, now).to_owned(),
            item.reason.to_string(),
        ]);
    }
    table.render(desk.screen, &[0])
}

fn stands(delegation: &Delegation, now: DateTime<Utc>) -> &'static str {
    match delegation {
        it if it.revoked_at.is_some() => "taken back",
        it if it.until <= now => "over",
        it if it.from > now => "to come",
        _ => "serves",
    }
}

fn roles(roles: &[contracts::Role]) -> String {
    let words: Vec<_> = roles.iter().map(ToString::to_string).collect();
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use contracts::{DelegationId, Role, Slug};
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_delegation_is_told_as_it_stands() {
        let now = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let of = |from: i64, until: i64, revoked: bool| {
            let delegation = Delegation {
                id: DelegationId::from_uuid(Uuid::from_u128(1)),
                from_actor: "anna".to_owned(),
                to_actor: "ben".to_owned(),
                roles: vec![Role::Approver],
                from: now + TimeDelta::hours(from),
                until: now + TimeDelta::hours(until),
                reason: Slug::new("leave").unwrap(),
                revoked_at: revoked.then_some(now),
            };
            stands(&delegation, now)
        };
        assert_eq!(of(-1, 1, false), "serves");
        assert_eq!(of(-2, 0, false), "over");
        assert_eq!(of(1, 2, false), "to come");
        assert_eq!(of(-1, 1, true), "taken back");
    }
}
