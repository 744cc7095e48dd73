//! What an answer may not be.

use std::collections::{BTreeMap, BTreeSet};

use contracts::{ApiPermission, ErrorCode, service_account::TENANT_HEADER};
use dispatch_tests::http::Reply;
use serde_json::Value;

use super::{
    plan::{Class, Trial},
    world::{World, ids_in},
};

/// Headers that differ between any two answers.
const OF_THE_REQUEST: [&str; 9] = [
    "content-length",
    "date",
    // What is left of the caller's own rate.
    "ratelimit",
    "ratelimit-remaining",
    "ratelimit-reset",
    "traceparent",
    "x-command-id",
    "x-correlation-id",
    "x-decision-id",
];

pub struct Judge<'a> {
    world: &'a World,
    /// What the callers themselves have brought in by now, and may be told again.
    brought: BTreeSet<String>,
}

/// The code of a problem.
fn code(reply: &Reply) -> Option<ErrorCode> {
    let problem: Value = serde_json::from_slice(&reply.body).ok()?;
    problem["code"].as_str()?.parse().ok()
}

/// The outcomes of a list of commands.
fn outcomes(trial: &Trial, reply: &Reply) -> Option<Vec<Value>> {
    let many = trial.of.is_command() && !trial.of.takes_version && reply.status == 200;
    let body: Value = serde_json::from_slice(&reply.body).ok().filter(|_| many)?;
    body["items"].as_array().cloned()
}

/// How whoever asks is refused, whatever they may: with a fact that the problem states.
fn certain(
    class: Class,
    permission: ApiPermission,
) -> Option<(ErrorCode, Option<(&'static str, String)>)> {
    match class {
        Class::NoTenant | Class::NobodysTenant => Some((ErrorCode::Forbidden, None)),
        Class::NamesTenant => {
            let fact = ("parameter", TENANT_HEADER.to_owned());
            Some((ErrorCode::InvalidParameter, Some(fact)))
        }
        Class::OutOfScope => {
            let fact = ("permission", permission.to_string());
            Some((ErrorCode::OutOfScope, Some(fact)))
        }
        _ => None,
    }
}

/// Whether the answer, and that to each of a list, is this problem with this fact.
fn is_problem(
    trial: &Trial,
    reply: &Reply,
    code: ErrorCode,
    fact: Option<&(&'static str, String)>,
) -> bool {
    let fits = |status: &Value, problem: &Value| {
        let told = fact.is_none_or(|(name, value)| problem["meta"][*name] == **value);
        *status == code.status() && problem["code"] == code.to_string() && told
    };
    match outcomes(trial, reply) {
        Some(items) => items
            .iter()
            .all(|item| fits(&item["status"], &item["problem"])),
        None => {
            let problem: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
            fits(&reply.status.as_u16().into(), &problem)
        }
    }
}

/// The ids of the attempts that the answer says are on record.
pub fn commands(trial: &Trial, reply: &Reply) -> Vec<String> {
    if let Some(items) = outcomes(trial, reply) {
        let ids = items.iter().filter_map(|item| item["command_id"].as_str());
        return ids.map(str::to_owned).collect();
    }
    reply
        .header("x-command-id")
        .map(str::to_owned)
        .into_iter()
        .collect()
}

/// Whether the caller has got past the tables.
pub fn is_let(reply: &Reply) -> bool {
    !matches!(
        code(reply),
        Some(ErrorCode::Unauthenticated | ErrorCode::Forbidden | ErrorCode::NotFound)
    )
}

/// Whether nothing was done or told.
fn is_refused(trial: &Trial, reply: &Reply) -> bool {
    let refused = |status: u64| matches!(status, 403 | 404);
    match outcomes(trial, reply) {
        Some(items) => items
            .iter()
            .all(|item| item["status"].as_u64().is_some_and(refused)),
        None => refused(reply.status.as_u16().into()),
    }
}

impl<'a> Judge<'a> {
    /// A judge of answers to callers who know of others what these trials hold.
    pub fn new(world: &'a World, trials: &[Vec<Trial>]) -> Self {
        let sent = trials.iter().flatten().flat_map(|trial| &trial.sent);
        let brought = sent.flat_map(|id| ids_in(id)).collect();
        Self { world, brought }
    }

    /// What is wrong with the answer, by itself.
    pub fn alone(&self, trial: &Trial, reply: &Reply) -> Result<(), String> {
        let each = outcomes(trial, reply).unwrap_or_default();
        let mut statuses = each.iter().filter_map(|item| item["status"].as_u64());
        if reply.status.as_u16() >= 500 || statuses.any(|status| status >= 500) {
            return Err("a fault of ours".into());
        }
        self.tells_of_nobody(trial, reply)?;
        let (class, code) = (trial.class, code(reply));
        let Some(permission) = trial.of.permission else {
            return Ok(());
        };
        let recorded = !commands(trial, reply).is_empty();
        if class.is_nobody() {
            let challenged = reply.header("www-authenticate").is_some();
            let shut = reply.status == 401 && code == Some(ErrorCode::Unauthenticated);
            return match shut && challenged && !recorded {
                true => Ok(()),
                false => Err("more than a 401".into()),
            };
        }
        if let Some((code, fact)) = certain(class, permission) {
            if !is_problem(trial, reply, code, fact.as_ref()) {
                return Err(format!("{code} with {fact:?} was to be the answer"));
            }
            // What is wrong with the credential is no attempt; what it is not for is one.
            let attempt = class == Class::OutOfScope && trial.of.is_command();
            return match recorded == attempt {
                true => Ok(()),
                false => Err(format!("on record: {recorded}")),
            };
        }
        let done = reply.status.is_success() && !is_refused(trial, reply);
        let at_rest = match class {
            Class::Suspended => trial.of.is_command(),
            Class::PathOfAnother | Class::CursorOfAnother | Class::Erased => true,
            _ => false,
        };
        if at_rest && done {
            return Err("done or told".into());
        }
        // Who may read goes on reading where nothing can be done.
        let goes_on = class == Class::Suspended && !trial.of.is_command() && trial.named;
        if goes_on && !reply.status.is_success() {
            return Err("not told".into());
        }
        if reply.header("idempotent-replayed").is_some() {
            return Err("somebody else's answer".into());
        }
        // A body that contradicts its path, or a cursor, is read before it is asked who may.
        let unread = matches!(class, Class::PlaceOfAnother | Class::CursorOfAnother)
            && !recorded
            && matches!(reply.status.as_u16(), 400 | 422);
        if !trial.named && !unread && !is_refused(trial, reply) {
            return Err("not refused".into());
        }
        let own = matches!(class, Class::Role | Class::Claimed);
        if own && !trial.named {
            let told = match permission {
                ApiPermission::Read(read) if read.is_barred(trial.caller.kind) => 404,
                _ => 403,
            };
            if reply.status.is_client_error() && reply.status.as_u16() != told {
                return Err(format!("{told} was to be the answer"));
            }
        }
        // An attempt that was read is on record, whatever became of it.
        let read = matches!(
            class,
            Class::Role
                | Class::Claimed
                | Class::PathOfAnother
                | Class::KeyOfAnother
                | Class::Suspended
                | Class::Erased
        );
        match trial.of.is_command() && read && !recorded {
            true => Err("not on record".into()),
            false => Ok(()),
        }
    }

    /// Nothing of another tenant, and nothing about people to whom it is not for.
    fn tells_of_nobody(&self, trial: &Trial, reply: &Reply) -> Result<(), String> {
        let mut text = reply.text();
        for (name, value) in &reply.headers {
            text = format!(
                "{text}\n{name}: {}",
                String::from_utf8_lossy(value.as_bytes())
            );
        }
        let world = self.world;
        // The request id of one of a list is a digest of what the caller gave, as long as an id.
        for id in ids_in(&text.replace("bulk-", "bulk-0")) {
            let may = trial.caller.runs_installation() && id == world.id_of_other;
            if world.secret_ids.contains(&id) && !self.brought.contains(&id) && !may {
                return Err(format!("an id of the other tenant: {id}"));
            }
        }
        if let Some(word) = world.secret_words.iter().find(|word| text.contains(**word)) {
            return Err(format!("a word of the other tenant: {word}"));
        }
        let personal = world
            .personal_words
            .iter()
            .find(|word| text.contains(**word));
        // The document shows exchanges with people of ours.
        let for_all = trial.of.permission.is_none();
        let kept = !for_all && (trial.caller.is_software() || !reply.status.is_success());
        match personal.filter(|_| kept) {
            Some(word) => Err(format!("a word about people: {word}")),
            None => Ok(()),
        }
    }
}

/// The answers about another tenant's thing and about one that nobody has differ in nothing.
pub fn alike(one: (&Trial, &Reply), other: (&Trial, &Reply)) -> Result<(), String> {
    let (first, second) = (shape(one.1), shape(other.1));
    match first == second {
        true => Ok(()),
        false => Err(format!("of another tenant {first}\nof nobody {second}")),
    }
}

/// What is left of an answer without ids and times.
fn shape(reply: &Reply) -> String {
    let headers: BTreeMap<_, _> = reply
        .headers
        .iter()
        .filter(|(name, _)| !OF_THE_REQUEST.contains(&name.as_str()))
        .map(|(name, value)| {
            (
                name.as_str(),
                plain(&String::from_utf8_lossy(value.as_bytes())),
            )
        })
        .collect();
    let named: Vec<_> = OF_THE_REQUEST
        .iter()
        .filter(|name| reply.headers.contains_key(**name))
        .collect();
    format!(
        "{} {headers:?} {named:?} {}",
        reply.status,
        plain(&reply.text())
    )
}

/// A text with every id, number of hex digits and time in it made the same.
fn plain(text: &str) -> String {
    let is_part = |c: char| c.is_ascii_alphanumeric() || "-_:.".contains(c);
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(is_part) {
        let (before, word) = rest.split_at(at);
        let end = word.find(|c| !is_part(c)).unwrap_or(word.len());
        let (word, after) = word.split_at(end);
        out += before;
        let is_id = !ids_in(word).is_empty();
        out += match (is_id, is_time(word)) {
            (true, _) => "ID",
            (false, true) => "TIME",
            (false, false) => word,
        };
        rest = after;
    }
    out + rest
}

fn is_time(word: &str) -> bool {
    let bytes = word.as_bytes();
    bytes.len() >= 20 && bytes[4] == b'-' && bytes[10] == b'T' && bytes[13] == b':'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_times_are_alike_and_nothing_else_is() {
        let hex = "01a200999e647536a36b4d6102cb6949";
        let dashed = "01a20099-9e64-7536-a36b-4d6102cb6949";
        let text = format!("no tkt_{hex} at 2026-11-22T00:13:19.3Z ({dashed}), version 7");
        assert_eq!(plain(&text), "no ID at TIME (ID), version 7");
        assert_ne!(plain("no such site"), plain("no such asset"));
    }
}
