//! `dispatch service-account` and `dispatch api-key`: software that calls with keys of its own.
//!
//! A key is made here. dispatch-api is told its prefix and its hash, and whoever asked for it sees it
//! once.

mod args;
mod file;
mod show;

use std::path::Path;

use chrono::Utc;
use client::{CallOptions, ClientError, draw_api_key};
use contracts::{
    ApiKeyId, Role, ServiceAccountId,
    command::{
        DisableServiceAccount, IssueApiKey, RevokeApiKey, RotateApiKey, UpsertServiceAccount,
    },
    filing::FilingReceipt,
    service_account::{ApiKeyRecord, ApiKeyText, KEY_MARK, ServiceAccountSummary},
    value::AccountName,
};
use serde_json::json;

pub use args::{AccountCommand, KeyCommand};
use args::{CreateAccountArgs, CreateKeyArgs, NamedAccount, NamedKey, NewKey, RotateArgs};

use crate::{cli::Global, desk::Desk, exit::Failure, words};

/// Rows read at once.
const PAGE: u32 = 200;

/// Does it.
pub async fn accounts(global: &Global, command: AccountCommand) -> Result<(), Failure> {
    let connection = match &command {
        AccountCommand::Create(args) => &args.connection,
        AccountCommand::List(args) => &args.connection,
        AccountCommand::Show(args) => &args.connection,
        AccountCommand::Disable(args) => &args.connection,
    };
    let desk = Desk::open(global, connection, Role::PlatformAdmin)?;
    let result = match &command {
        AccountCommand::Create(args) => create(&desk, args).await,
        AccountCommand::List(_) => show::accounts(&desk).await,
        AccountCommand::Show(args) => {
            async {
                let id = account(&desk, &args.of).await?;
                show::account(&desk, id).await
            }
            .await
        }
        AccountCommand::Disable(args) => {
            async {
                let body = DisableServiceAccount {
                    service_account_id: account(&desk, &args.of).await?,
                    reason: args.reason.clone(),
                };
                let options = CallOptions::default();
                let receipt = desk.api.disable_service_account(&body, &options).await?;
                told(&desk, &receipt).await
            }
            .await
        }
    };
    desk.ended(result)
}

/// Does it.
pub async fn keys(global: &Global, command: KeyCommand) -> Result<(), Failure> {
    let connection = match &command {
        KeyCommand::Create(args) => &args.connection,
        KeyCommand::List(args) => &args.connection,
        KeyCommand::Rotate(args) => &args.connection,
        KeyCommand::Revoke(args) => &args.connection,
    };
    let desk = Desk::open(global, connection, Role::PlatformAdmin)?;
    let result = match &command {
        KeyCommand::Create(args) => issue(&desk, args).await,
        KeyCommand::List(args) => {
            async {
                let of = match &args.of {
                    Some(named) => Some(account(&desk, named).await?),
                    None => None,
                };
                show::keys(&desk, of).await
            }
            .await
        }
        KeyCommand::Rotate(args) => rotate(&desk, args).await,
        KeyCommand::Revoke(args) => {
            async {
                let body = RevokeApiKey {
                    api_key_id: key(&desk, &args.key).await?,
                    reason: args.reason.clone(),
                };
                let options = CallOptions::default();
                let receipt = desk.api.revoke_api_key(&body, &options).await?;
                told(&desk, &receipt).await
            }
            .await
        }
    };
    desk.ended(result)
}

async fn create(desk: &Desk, args: &CreateAccountArgs) -> Result<(), Failure> {
    let name = match &args.name {
        Some(name) => name.clone(),
        None => AccountName::new(args.code.as_str()).map_err(Failure::failed)?,
    };
    let body = UpsertServiceAccount {
        code: args.code.clone(),
        name,
        kind: args.kind,
        roles: args.roles.iter().copied().collect(),
        any_tenant: args.any_tenant,
        active: args.active,
    };
    let options = CallOptions::default();
    let receipt = desk.api.upsert_service_account(&body, &options).await?;
    told(desk, &receipt).await
}

async fn issue(desk: &Desk, args: &CreateKeyArgs) -> Result<(), Failure> {
    let service_account_id = account(desk, &args.of).await?;
    if is_there(desk, &args.new, Some(service_account_id)).await? {
        return Ok(());
    }
    let made = draw_api_key();
    let body = IssueApiKey {
        service_account_id,
        prefix: made.prefix(),
        key_hash: made.hash(),
        scopes: args.scopes(),
        expires_at: Utc::now() + args.new.expires,
    };
    let options = CallOptions::default();
    let send = async || desk.api.issue_api_key(&body, &options).await;
    hand_over(desk, &args.new, &made, send).await
}

async fn rotate(desk: &Desk, args: &RotateArgs) -> Result<(), Failure> {
    if is_there(desk, &args.new, None).await? {
        return Ok(());
    }
    let overlap = u32::try_from(args.overlap.num_seconds());
    let made = draw_api_key();
    let body = RotateApiKey {
        api_key_id: key(desk, &args.key).await?,
        prefix: made.prefix(),
        key_hash: made.hash(),
        expires_at: Utc::now() + args.new.expires,
        overlap_seconds: overlap.map_err(|_| Failure::usage("`--overlap` is at most 7d"))?,
    };
    let options = CallOptions::default();
    let send = async || desk.api.rotate_api_key(&body, &options).await;
    hand_over(desk, &args.new, &made, send).await
}

/// Whether the file that was asked for has its key, so that none is to be made: it is kept, or was left
/// beside it by a run that was cut off after dispatch-api had taken it on.
async fn is_there(
    desk: &Desk,
    new: &NewKey,
    of: Option<ServiceAccountId>,
) -> Result<bool, Failure> {
    let Some(path) = &new.out else {
        return Ok(false);
    };
    if path.exists() {
        let cannot = |why| Failure::failed(format!("{} {why}", path.display()));
        if !new.keep {
            return Err(cannot("is there already: name another file"));
        }
        let key = file::read(path)?.ok_or_else(|| cannot("holds no API key: name another file"))?;
        let good = good(desk, &key, of).await?;
        if let Some(known) = good.filter(|known| known.expires_at - Utc::now() > new.least()) {
            return kept(desk, path, &known);
        }
    }
    let Some(left) = file::Pending::left(path)? else {
        return Ok(false);
    };
    match good(desk, left.key(), of).await? {
        Some(known) => {
            left.keep()?;
            kept(desk, path, &known)
        }
        None => {
            left.discard()?;
            Ok(false)
        }
    }
}

fn kept(desk: &Desk, path: &Path, known: &ApiKeyRecord) -> Result<bool, Failure> {
    match desk.json {
        true => desk.print_json(&json!({ "kept": known }))?,
        false => desk.print(&format!(
            "{} has key {KEY_MARK}{}_… already, which is good until {}\n",
            path.display(),
            known.prefix,
            words::minute(known.expires_at)
        ))?,
    }
    Ok(true)
}

/// What dispatch-api knows of the key, if it is good there, and of this account where one is meant.
async fn good(
    desk: &Desk,
    key: &ApiKeyText,
    of: Option<ServiceAccountId>,
) -> Result<Option<ApiKeyRecord>, Failure> {
    let page = desk
        .api
        .api_keys(of, Some(&key.prefix()), None, None)
        .await?;
    let now = Utc::now();
    Ok(page.items.into_iter().find(|known| known.is_good(now)))
}

/// Has the key taken on, and gives it to whoever asked for it.
async fn hand_over(
    desk: &Desk,
    new: &NewKey,
    made: &ApiKeyText,
    send: impl AsyncFnOnce() -> Result<FilingReceipt, ClientError>,
) -> Result<(), Failure> {
    let pending = new
        .out
        .as_ref()
        .map(|path| file::Pending::write(path, made));
    let pending = pending.transpose()?;
    let receipt = match (send().await, pending) {
        (Ok(receipt), Some(pending)) => {
            pending.keep()?;
            receipt
        }
        (Ok(receipt), None) => receipt,
        (Err(error), Some(pending)) => {
            // Without an answer that stands nobody knows whether it was taken on.
            match error.problem().is_some() && !error.is_retryable() {
                true => pending.discard()?,
                false => eprintln!(
                    "whether the key was taken on is not known; it lies in {}, and the same command \
                     finds out",
                    pending.place().display()
                ),
            }
            return Err(error.into());
        }
        (Err(error), None) => return Err(error.into()),
    };
    if desk.json {
        let key = new.out.is_none().then(|| made.expose());
        return desk.print_json(&json!({ "api_key": key, "receipt": receipt }));
    }
    let said = show::said(&receipt);
    match &new.out {
        Some(path) => desk.print(&format!("{said}, in {}\n", path.display())),
        None => {
            // The key alone on stdout, for whoever pipes it to where it belongs.
            eprintln!("{said}; it is shown this once:");
            desk.print(&format!("{}\n", made.expose()))
        }
    }
}

async fn told(desk: &Desk, receipt: &FilingReceipt) -> Result<(), Failure> {
    match desk.json {
        true => desk.print_json(receipt),
        false => desk.print(&format!("{}\n", show::said(receipt))),
    }
}

async fn account(desk: &Desk, named: &NamedAccount) -> Result<ServiceAccountId, Failure> {
    let code = match named {
        NamedAccount::Id(id) => return Ok(*id),
        NamedAccount::Code(code) => code,
    };
    let found = all(desk).await?.into_iter().find(|it| it.code == *code);
    found.map(|account| account.id).ok_or_else(|| {
        Failure::failed(format!(
            "there is no service account `{code}`; `dispatch service-account list` shows them"
        ))
    })
}

async fn key(desk: &Desk, named: &NamedKey) -> Result<ApiKeyId, Failure> {
    let prefix = match named {
        NamedKey::Id(id) => return Ok(*id),
        NamedKey::Prefix(prefix) => prefix,
    };
    let page = desk.api.api_keys(None, Some(prefix), None, None).await?;
    match page.items.as_slice() {
        [one] => Ok(one.id),
        [] => Err(Failure::failed(format!(
            "there is no key `rdk_{prefix}_…`; `dispatch api-key list` shows them"
        ))),
        _ => Err(Failure::failed(format!(
            "there are several keys `rdk_{prefix}_…`: name one by its id, which `dispatch api-key \
             list` shows"
        ))),
    }
}

async fn all(desk: &Desk) -> Result<Vec<ServiceAccountSummary>, Failure> {
    let mut all = Vec::new();
    let mut after = None;
    loop {
        let page = desk
            .api
            .service_accounts(after.as_ref(), Some(PAGE))
            .await?;
        all.extend(page.items);
        match page.next_after {
            Some(next) => after = Some(next),
            None => return Ok(all),
        }
    }
}
