//! `dispatch approvals`: what waits for people, and what they say.
//!
//! Everything comes through the public API, as whoever the token names: the terminal can do what its
//! caller may, and what it cannot it says in the words of the API.

mod act;
mod args;
mod delegations;
mod list;
mod show;

use client::Client;
use contracts::{
    ApprovalId, Role,
    approval::{Approval, ApprovalState},
    inbox::{ApprovalFilter, Owed},
};
use strum::VariantArray;

use crate::{
    cli::Global,
    desk::Desk,
    exit::Failure,
    table::{clean, short},
};

pub use args::ApprovalsCommand;

/// Looks at approvals, or does something with one.
pub async fn run(global: &Global, command: ApprovalsCommand) -> Result<(), Failure> {
    let desk = Desk::open(global, command.connection(), Role::AccountManager)?;
    let result = match &command {
        ApprovalsCommand::List(args) => list::run(&desk, args).await,
        ApprovalsCommand::Show(args) => show::run(&desk, args).await,
        ApprovalsCommand::Delegate(args) => delegations::lend(&desk, args).await,
        ApprovalsCommand::Delegations(_) => delegations::list(&desk).await,
        ApprovalsCommand::RevokeDelegation(args) => delegations::revoke(&desk, args).await,
        ApprovalsCommand::Override(args) => act::pass_the_switch(&desk, args).await,
        command => act::run(&desk, command).await,
    };
    desk.ended(result)
}

/// The approval with this id, or the only one whose id begins or ends so: one that waits before one
/// that is over.
async fn resolve(api: &Client, text: &str) -> Result<ApprovalId, Failure> {
    let text = text.trim();
    if let Ok(id) = text.parse() {
        return Ok(id);
    }
    let text = text.to_ascii_lowercase();
    let digits = text.strip_prefix("apr_").unwrap_or(&text);
    if digits.is_empty() || digits.len() > 32 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(Failure::usage(format!(
            "`{}` is no approval: expected an id (`apr_` and 32 digits 0-9, a-f), the beginning of \
             one, or its last 8 digits, as `dispatch approvals list` shows them",
            clean(&text)
        )));
    }
    let is_meant = |id: ApprovalId| {
        let all = id.to_string();
        all["apr_".len()..].starts_with(digits) || short(id) == digits
    };
    for state in [
        vec![ApprovalState::Pending],
        ApprovalState::VARIANTS.to_vec(),
    ] {
        let mut filter = ApprovalFilter {
            state,
            limit: Some(200),
            ..ApprovalFilter::default()
        };
        let mut found = Vec::new();
        loop {
            let page = api.approvals(&filter).await?;
            let ids = page.items.iter().map(|item| item.approval.id);
            found.extend(ids.filter(|id| is_meant(*id)));
            filter.cursor = page.next_cursor;
            if filter.cursor.is_none() || found.len() > 1 {
                break;
            }
        }
        match found[..] {
            [] => {}
            [one] => return Ok(one),
            [one, other, ..] => {
                return Err(Failure::usage(format!(
                    "more than one approval's id begins or ends with `{text}`: {one}, {other} …; \
                     give more of it"
                )));
            }
        }
    }
    Err(Failure::failed(format!(
        "there is no approval `{text}`; `dispatch approvals list` shows those that wait"
    )))
}

/// What is to be carried out, in short.
fn asks(approval: &Approval) -> String {
    match approval.request.get("price_delta_cents") {
        Some(cents) => format!(
            "{} +{}",
            approval.operation,
            crate::words::amount(cents.as_i64().unwrap_or_default())
        ),
        None => approval.operation.to_string(),
    }
}

/// Whose word is still owed.
fn owed(owed: &[Owed]) -> String {
    let each: Vec<_> = owed
        .iter()
        .map(|owed| {
            let roles: Vec<_> = owed.roles.iter().map(ToString::to_string).collect();
            let missing = owed.count - owed.given;
            match missing {
                1 => roles.join(" or "),
                more => format!("{more} of {}", roles.join(" or ")),
            }
        })
        .collect();
    match each.is_empty() {
        true => "–".to_owned(),
        false => each.join("; and "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_owed_is_told_by_role_and_number() {
        let one = |roles: &[Role], count, given| Owed {
            code: "RULE".to_owned(),
            roles: roles.to_vec(),
            count,
            given,
        };
        assert_eq!(owed(&[]), "–");
        let either = [Role::Approver, Role::AccountManager];
        assert_eq!(owed(&[one(&either, 1, 0)]), "approver or account_manager");
        let both = [one(&[Role::Approver], 3, 1), one(&[Role::Qa], 1, 0)];
        assert_eq!(owed(&both), "2 of approver; and qa");
    }
}
