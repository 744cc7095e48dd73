//! What is shown of accounts and keys: never a key.

use std::fmt::Write;

use chrono::{DateTime, Utc};
use contracts::{
    ServiceAccountId,
    filing::{Filed, FilingReceipt},
    service_account::{
        AccountState, ApiKeyPage, ApiKeyRecord, KEY_MARK, ServiceAccountPage, ServiceAccountSummary,
    },
};

use super::{PAGE, all};
use crate::{
    desk::Desk,
    exit::Failure,
    table::{Mark, Table},
    words,
};

/// A key that ends sooner is marked.
const SOON: chrono::TimeDelta = chrono::TimeDelta::days(14);

pub(super) async fn accounts(desk: &Desk) -> Result<(), Failure> {
    let items = all(desk).await?;
    if desk.json {
        return desk.print_json(&ServiceAccountPage {
            items,
            next_after: None,
        });
    }
    if items.is_empty() {
        return desk.print("no service account; `dispatch service-account create` makes one\n");
    }
    let mut table = Table::new(&["ACCOUNT", "KIND", "ROLES", "STATE", "ACTS IN", "ID"]);
    for account in &items {
        table.row([
            account.code.to_string(),
            account.kind.to_string(),
            list(&account.roles, "–"),
            stands(account),
            acts_in(account).to_owned(),
            account.id.to_string(),
        ]);
    }
    desk.print(&table.render(desk.screen, &[0, 1, 5]))
}

pub(super) async fn account(desk: &Desk, id: ServiceAccountId) -> Result<(), Failure> {
    let view = desk.api.service_account(id).await?;
    if desk.json {
        return desk.print_json(&view);
    }
    let account = &view.account;
    let mut text = format!("{}: {}\n", account.code, stands(account));
    if let Some(name) = &account.name {
        let _ = writeln!(text, "  name     {name}");
    }
    let _ = writeln!(text, "  id       {}", account.id);
    let _ = writeln!(text, "  version  {}", account.version);
    let _ = writeln!(text, "  kind     {}", account.kind);
    let _ = writeln!(text, "  roles    {}", list(&account.roles, "none"));
    let _ = writeln!(text, "  acts in  {}", acts_in(account));
    let made = words::time(account.created_at);
    let _ = writeln!(text, "  made     {made} by {}", account.created_by);
    desk.print(&desk.screen.paint(&text))?;
    match view.keys.is_empty() {
        true => desk.print("no key; `dispatch api-key create` makes one\n"),
        false => table(desk, &view.keys),
    }
}

pub(super) async fn keys(desk: &Desk, of: Option<ServiceAccountId>) -> Result<(), Failure> {
    let mut items = Vec::new();
    let mut cursor = None;
    loop {
        let page = desk
            .api
            .api_keys(of, None, cursor.as_deref(), Some(PAGE))
            .await?;
        items.extend(page.items);
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    if desk.json {
        return desk.print_json(&ApiKeyPage {
            items,
            next_cursor: None,
        });
    }
    match items.is_empty() {
        true => desk.print("no key; `dispatch api-key create` makes one\n"),
        false => table(desk, &items),
    }
}

fn table(desk: &Desk, keys: &[ApiKeyRecord]) -> Result<(), Failure> {
    let now = Utc::now();
    let mut table = Table::new(&["KEY", "STATE", "ENDS", "LAST USED", "SCOPES", "ID"]);
    for key in keys {
        table.row([
            format!("{KEY_MARK}{}_…", key.prefix),
            state(key, now),
            words::minute(key.expires_at),
            key.last_used_at
                .map_or_else(|| "never".to_owned(), |at| words::ago(at, now).to_string()),
            list(&key.scopes, "all"),
            key.id.to_string(),
        ]);
    }
    desk.print(&table.render(desk.screen, &[0, 1, 5]))
}

fn state(key: &ApiKeyRecord, now: DateTime<Utc>) -> String {
    if key.revoked_at.is_some() {
        return Mark::Bad.on("revoked");
    }
    match key.expires_at - now {
        left if left <= chrono::TimeDelta::zero() => Mark::Bad.on("expired"),
        left if left < SOON => Mark::Warn.on("ends soon"),
        _ => "good".to_owned(),
    }
}

fn stands(account: &ServiceAccountSummary) -> String {
    match account.state {
        AccountState::Active => "active".to_owned(),
        AccountState::Disabled => Mark::Bad.on("disabled"),
    }
}

fn acts_in(account: &ServiceAccountSummary) -> &'static str {
    match account.any_tenant {
        true => "any tenant",
        false => "its tenant",
    }
}

fn list<T: ToString>(items: impl IntoIterator<Item = T>, none: &str) -> String {
    let items: Vec<_> = items.into_iter().map(|item| item.to_string()).collect();
    match items.is_empty() {
        true => none.to_owned(),
        false => items.join(", "),
    }
}

/// What a receipt says, in a sentence without its end.
pub(super) fn said(receipt: &FilingReceipt) -> String {
    match &receipt.filed {
        Filed::ServiceAccount {
            service_account_id,
            code,
            state,
        } => format!("service account {code} is {state} ({service_account_id})"),
        Filed::ApiKeyIssued {
            api_key_id,
            prefix,
            expires_at,
            ..
        } => format!(
            "key {KEY_MARK}{prefix}_… ({api_key_id}) is good until {}",
            words::minute(*expires_at)
        ),
        Filed::ApiKeyRotated {
            api_key_id,
            prefix,
            expires_at,
            replaces,
            replaced_ends_at,
            ..
        } => format!(
            "key {KEY_MARK}{prefix}_… ({api_key_id}) is good until {}; the one before ({replaces}) ends \
             {}",
            words::minute(*expires_at),
            words::minute(*replaced_ends_at)
        ),
        Filed::ApiKeyRevoked { api_key_id, .. } => {
            format!("key {api_key_id} is taken back; within five seconds it is refused everywhere")
        }
        _ => "done".to_owned(),
    }
}
