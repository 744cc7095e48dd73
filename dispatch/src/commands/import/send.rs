//! From a row to its command.
//!
//! **Tickets** have no name in the system that finds them again, so the key of their command is made
//! from the row's `external_id`: the same row sent twice is answered with the first ticket. A refusal
//! is stored under its key as well, and would be the answer for ever, also after its cause was
//! mended. A row therefore has a series of keys, the next one used when all before it were refused
//! in an earlier run: at most one of them ever succeeds.
//!
//! **Everything else** is written under its code, for ever its name, so it is looked at first: what
//! is so already is left alone, and what is not is written only if it still has the version that was
//! looked at. A key made from the row would be wrong there: a file that sets back what another one
//! changed would be answered with the stored success of its first run, and change nothing.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Mutex,
};

use client::{CallOptions, Client, ClientError};
use contracts::{
    AssetId, ContactId, ErrorCode, Operation, PeerAddress, Problem, SiteId, Slug,
    command::{CreateTicket, UpsertAsset, UpsertContact, UpsertSite, UpsertTechnician},
    directory::{ContactRecord, DirectoryFilter, TechnicianRecord},
    read::IdOrCode,
};
use serde::Serialize;
use uuid::Uuid;

use super::shape::{Draft, Wrong};

/// Refusals of one row that were stored in earlier runs; more is not a series but a mistake.
const MOST_KEYS: u32 = 1000;
/// How often somebody else may write the same thing under our hands.
const MOST_LOOKS: u32 = 5;

/// What became of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Done {
    /// There is a ticket of it; or something new.
    Written,
    /// Something that was there was changed.
    Changed,
    /// All was so already.
    Unchanged,
}

/// Why a row could not be imported.
#[derive(Debug)]
pub enum Refused {
    /// By itself; nothing was sent.
    Wrong(Wrong),
    /// By dispatch-api.
    Problem(Box<Problem>),
    /// Not for what it is: any row would have met this.
    Everything(ClientError),
}

impl From<Wrong> for Refused {
    fn from(wrong: Wrong) -> Self {
        Self::Wrong(wrong)
    }
}

impl From<ClientError> for Refused {
    fn from(error: ClientError) -> Self {
        // Who may not do it may do it with no row; a fault of ours may be about this row alone.
        let passing = error.is_retryable() && error.code() != Some(ErrorCode::Internal)
            || matches!(
                error.code(),
                None | Some(ErrorCode::Unauthenticated | ErrorCode::Forbidden)
            );
        match error {
            ClientError::Problem { problem, .. } if !passing => Self::Problem(problem),
            error => Self::Everything(error),
        }
    }
}

/// Sends rows; remembers what the codes in them stand for.
#[derive(Debug)]
pub struct Sender {
    api: Client,
    dry_run: bool,
    sites: Codes<SiteId>,
    assets: Codes<AssetId>,
    contacts: Codes<ContactId>,
}

/// Codes that were looked up. One that stood for nothing is looked up again.
type Codes<I> = Mutex<HashMap<Slug, I>>;

impl Sender {
    /// Sends to there.
    pub fn new(api: Client, dry_run: bool) -> Self {
        Self {
            api,
            dry_run,
            sites: Codes::default(),
            assets: Codes::default(),
            contacts: Codes::default(),
        }
    }

    /// Does what a row says.
    pub async fn send(&self, draft: Draft) -> Result<Done, Refused> {
        match draft {
            Draft::Site {
                code,
                location,
                active,
            } => {
                let body = UpsertSite {
                    code,
                    location,
                    active,
                };
                self.upsert(Operation::UpsertSite, &body, async || {
                    let page = self.api.sites(&by_code(&body.code)).await?;
                    Ok(page.items.into_iter().next().map(|site| Known {
                        version: site.version,
                        same: (site.location, site.active) == (body.location, body.active),
                    }))
                })
                .await
            }
            Draft::Asset {
                code,
                site,
                kind,
                active,
            } => {
                let body = UpsertAsset {
                    code,
                    site_id: self.site(site).await?,
                    kind,
                    active,
                };
                self.upsert(Operation::UpsertAsset, &body, async || {
                    let page = self.api.assets(&by_code(&body.code)).await?;
                    Ok(page.items.into_iter().next().map(|asset| Known {
                        version: asset.version,
                        same: (asset.site_id, &asset.kind, asset.active)
                            == (body.site_id, &body.kind, body.active),
                    }))
                })
                .await
            }
            Draft::Contact {
                code,
                site,
                name,
                phone,
                email,
                street,
            } => {
                let site_id = match site {
                    Some(site) => Some(self.site(site).await?),
                    None => None,
                };
                let body = UpsertContact {
                    code,
                    site_id,
                    name,
                    phone,
                    email,
                    street,
                };
                self.upsert(Operation::UpsertContact, &body, async || {
                    let page = self.api.contacts(&by_code(&body.code)).await?;
                    Ok(page.items.into_iter().next().map(|contact| Known {
                        version: contact.version,
                        same: same_contact(&contact, &body),
                    }))
                })
                .await
            }
            Draft::Technician {
                code,
                contact,
                skills,
                home_base,
                calendar,
                active,
            } => {
                let body = UpsertTechnician {
                    code,
                    contact_id: self.contact(contact).await?,
                    skills,
                    home_base,
                    calendar,
                    active,
                };
                self.upsert(Operation::UpsertTechnician, &body, async || {
                    let page = self.api.technicians(&by_code(&body.code)).await?;
                    Ok(page.items.into_iter().next().map(|technician| Known {
                        version: technician.version,
                        same: same_technician(&technician, &body),
                    }))
                })
                .await
            }
            Draft::Ticket {
                external_id,
                site,
                asset,
                contact,
                template,
                priority,
                details,
                description,
            } => {
                let asset_id = match asset {
                    Some(asset) => Some(self.asset(asset).await?),
                    None => None,
                };
                let contact_id = match contact {
                    Some(contact) => Some(self.contact(contact).await?),
                    None => None,
                };
                let body = CreateTicket {
                    site_id: self.site(site).await?,
                    asset_id,
                    contact_id,
                    template,
                    priority,
                    details,
                    description,
                };
                self.create(&external_id, &body).await
            }
        }
    }

    async fn upsert(
        &self,
        operation: Operation,
        body: &(impl Serialize + Sync),
        look: impl AsyncFn() -> Result<Option<Known>, ClientError>,
    ) -> Result<Done, Refused> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            let known = look().await?;
            if known.as_ref().is_some_and(|known| known.same) {
                return Ok(Done::Unchanged);
            }
            let version = known.map_or(0, |known| known.version);
            let options = CallOptions {
                dry_run: self.dry_run,
                ..CallOptions::default().expecting(version)
            };
            match self.api.filing(operation, body, &options).await {
                Ok(_) if version == 0 => return Ok(Done::Written),
                Ok(_) => return Ok(Done::Changed),
                // Somebody else wrote it meanwhile.
                Err(error)
                    if error.code() == Some(ErrorCode::VersionConflict) && attempt < MOST_LOOKS => {
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    async fn create(&self, external_id: &str, body: &CreateTicket) -> Result<Done, Refused> {
        for attempt in 0..MOST_KEYS {
            let options = CallOptions {
                dry_run: self.dry_run,
                ..CallOptions::with_key(ticket_key(external_id, attempt))
            };
            let error = match self.api.create_ticket(body, &options).await {
                Ok(_) => return Ok(Done::Written),
                Err(error) => error,
            };
            if !refused_before(&error) {
                return Err(match error {
                    ClientError::Problem { problem, .. }
                        if problem.code == ErrorCode::IdempotencyMismatch =>
                    {
                        Refused::Wrong(Wrong::new(
                            "external_id",
                            "a ticket was imported under this name before, from a row that said \
                             something else; it is as it was",
                        ))
                    }
                    error => error.into(),
                });
            }
        }
        Err(Wrong::new("external_id", "was refused too often: give it another name").into())
    }

    async fn site(&self, given: IdOrCode<SiteId>) -> Result<SiteId, Refused> {
        self.find("site", given, &self.sites, async |filter| {
            let page = self.api.sites(&filter).await?;
            Ok(page.items.first().map(|site| site.id))
        })
        .await
    }

    async fn asset(&self, given: IdOrCode<AssetId>) -> Result<AssetId, Refused> {
        self.find("asset", given, &self.assets, async |filter| {
            let page = self.api.assets(&filter).await?;
            Ok(page.items.first().map(|asset| asset.id))
        })
        .await
    }

    async fn contact(&self, given: IdOrCode<ContactId>) -> Result<ContactId, Refused> {
        self.find("contact", given, &self.contacts, async |filter| {
            let page = self.api.contacts(&filter).await?;
            Ok(page.items.first().map(|contact| contact.id))
        })
        .await
    }

    async fn find<I: Copy>(
        &self,
        column: &str,
        given: IdOrCode<I>,
        known: &Codes<I>,
        look_up: impl AsyncFn(DirectoryFilter) -> Result<Option<I>, ClientError>,
    ) -> Result<I, Refused> {
        let code = match given {
            IdOrCode::Id(id) => return Ok(id),
            IdOrCode::Code(code) => code,
        };
        let lock = || known.lock().expect("no holder panicked");
        if let Some(id) = lock().get(&code) {
            return Ok(*id);
        }
        let found = look_up(by_code(&code)).await?.ok_or_else(|| {
            let what = format!("there is no {column} `{code}`: import {column}s first");
            Refused::Wrong(Wrong::new(column, what))
        })?;
        lock().insert(code, found);
        Ok(found)
    }
}

/// What stands under a code.
struct Known {
    version: u64,
    /// It is as the row says.
    same: bool,
}

fn by_code(code: &Slug) -> DirectoryFilter {
    DirectoryFilter {
        code: Some(code.clone()),
        ..DirectoryFilter::default()
    }
}

fn same_contact(is: &ContactRecord, row: &UpsertContact) -> bool {
    // E-mail addresses are stored in lower case.
    let email = |address: &Option<PeerAddress>| {
        let address = address.as_ref();
        address.map(|address| address.as_str().to_lowercase())
    };
    (is.site_id, &is.name, &is.phone, &is.street)
        == (row.site_id, &row.name, &row.phone, &row.street)
        && email(&is.email) == email(&row.email)
}

fn same_technician(is: &TechnicianRecord, row: &UpsertTechnician) -> bool {
    let set = |skills: &[Slug]| skills.iter().cloned().collect::<BTreeSet<_>>();
    (is.contact_id, is.home_base, &is.calendar, is.active)
        == (
            row.contact_id,
            Some(row.home_base),
            &row.calendar,
            row.active,
        )
        && set(&is.skills) == set(&row.skills)
}

/// Key number `attempt` of a row, the same in each run.
fn ticket_key(external_id: &str, attempt: u32) -> Uuid {
    let space = Uuid::new_v5(
        &Uuid::NAMESPACE_URL,
        b"https://real-dispatch.example/import/ticket",
    );
    Uuid::new_v5(&space, format!("{attempt}/{external_id}").as_bytes())
}

/// Whether this key's one answer is the refusal of an earlier run: nothing came of it.
fn refused_before(error: &ClientError) -> bool {
    let ClientError::Problem {
        problem, replayed, ..
    } = error
    else {
        return false;
    };
    match problem.code {
        ErrorCode::IdempotencyMismatch => {
            let first = problem.meta.get("first_status");
            first
                .and_then(serde_json::Value::as_u64)
                .is_some_and(|status| status >= 400)
        }
        _ => *replayed,
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use serde_json::json;

    use super::*;

    fn problem(code: ErrorCode, meta: serde_json::Value, replayed: bool) -> ClientError {
        let serde_json::Value::Object(meta) = meta else {
            panic!("no object: {meta}");
        };
        ClientError::Problem {
            problem: Box::new(Problem {
                type_uri: code.type_uri(),
                title: code.title().to_owned(),
                status: code.status(),
                detail: String::new(),
                instance: String::new(),
                code,
                request_id: None,
                errors: Vec::new(),
                reasons: Vec::new(),
                command_id: None,
                decision_id: None,
                meta,
                at: DateTime::UNIX_EPOCH,
            }),
            retry_after: None,
            replayed,
        }
    }

    #[test]
    fn a_key_is_left_only_when_nothing_came_of_it() {
        use ErrorCode::{IdempotencyMismatch, InvalidField};
        let before = |code, meta, replayed| refused_before(&problem(code, meta, replayed));
        assert!(before(InvalidField, json!({}), true));
        assert!(!before(InvalidField, json!({}), false));
        assert!(before(
            IdempotencyMismatch,
            json!({"first_status": 422}),
            false
        ));
        assert!(!before(
            IdempotencyMismatch,
            json!({"first_status": 201}),
            false
        ));
        assert!(!before(IdempotencyMismatch, json!({}), false));
    }

    #[test]
    fn keys_belong_to_one_row_and_one_attempt() {
        assert_eq!(ticket_key("A-1", 0), ticket_key("A-1", 0));
        assert_ne!(ticket_key("A-1", 0), ticket_key("A-1", 1));
        assert_ne!(ticket_key("A-1", 1), ticket_key("1/A-1", 0));
        assert_ne!(ticket_key("A-1", 0), ticket_key("A-2", 0));
    }

    #[test]
    fn what_any_row_would_meet_is_nobodys_fault() {
        for code in [
            ErrorCode::Unauthenticated,
            ErrorCode::Forbidden,
            ErrorCode::Unavailable,
            ErrorCode::RateLimited,
        ] {
            let refused = Refused::from(problem(code, json!({}), false));
            assert!(matches!(refused, Refused::Everything(_)), "{code}");
        }
        for code in [
            ErrorCode::InvalidField,
            ErrorCode::PolicyDenied,
            ErrorCode::Internal,
        ] {
            let refused = Refused::from(problem(code, json!({}), false));
            assert!(matches!(refused, Refused::Problem(_)), "{code}");
        }
    }
}
