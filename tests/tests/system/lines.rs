//! Headers that come twice, joined into one, or in another spelling, as a proxy or somebody who tries
//! may send them: nobody acts in another tenant, as somebody else, or under an id or a version that was
//! not meant. What says who calls, which tenant is meant, and what a command is held to comes once.

use contracts::{ErrorCode, Operation, Role, TicketState, actor::TOOL_NAME_HEADER};
use dispatch_tests::{
    http::{Ask, key},
    job::Job,
    record::Footprint,
    software::{account, bare_tenant, issue, worker_key},
    stack::{Stack, with_api},
    who::Who,
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

const TENANT: &str = "dispatch-tenant";

type Lines<'a> = Vec<(&'a str, String)>;

fn with(ask: Ask, lines: &Lines<'_>) -> Ask {
    lines
        .iter()
        .fold(ask, |ask, (name, value)| ask.line(name, value))
}

/// Two values as two lines in either order, and as one line as proxies write it.
fn twice<'a>(name: &'a str, one: &str, other: &str) -> Vec<Lines<'a>> {
    let lines = |values: &[&str]| {
        let lines = values.iter().map(|value| (name, (*value).to_owned()));
        lines.collect::<Lines<'_>>()
    };
    vec![
        lines(&[one, other]),
        lines(&[other, one]),
        lines(&[one, one]),
        lines(&[one, other, one]),
        lines(&[&format!("{one}, {other}")]),
        lines(&[&format!("{other}, {one}")]),
        lines(&[&format!("{one}, {one}")]),
    ]
}

/// Sends this head as it stands; the status and all of the answer.
async fn raw(stack: &Stack, head: &str) -> (u16, String) {
    let mut socket = TcpStream::connect(stack.address()).await.unwrap();
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).await.unwrap();
    let answer = String::from_utf8(answer).unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    (status, answer)
}

#[test]
fn a_tenant_is_named_once_and_by_nobody_who_has_one() {
    with_api(async |stack| {
        let home = bare_tenant(stack.admin()).await;
        let admin = stack.client(stack.tenant(), Who::TenantAdmin);
        let worker = worker_key(&admin, home).await;
        let kind = contracts::ActorKind::Integration;
        let erp = account(&admin, "erp", kind, &[Role::Dispatcher], false).await;
        let erp = issue(&admin, erp).await;
        let token = Who::Dispatcher.token(stack.tenant());
        let (own, other) = (stack.tenant().id.to_string(), stack.other().id.to_string());
        let here = Job::at(&stack, stack.tenant(), TicketState::New).await.id();
        let there = Job::at(&stack, stack.other(), TicketState::New).await.id();
        let read = |credential: &str, ticket: &str| {
            let path = format!("/tickets/{ticket}/status");
            stack.http().get(path).token(credential)
        };
        let write = |credential: &str, ticket| {
            let reason = json!({ "reason": "duplicate" });
            let ask = stack
                .http()
                .command(Operation::Cancel, Some(ticket), &reason);
            ask.token(credential)
        };
        let (here_id, there_id) = (here.to_string(), there.to_string());

        // Names that are no tenant's, or two of them.
        let mut wrong = twice(TENANT, &own, &other);
        let bare = other.trim_start_matches("ten_");
        for value in [
            String::new(),
            "*".to_owned(),
            bare.to_owned(),
            stack.other().id.as_uuid().to_string(),
            other.to_uppercase(),
            format!("ten_{}", bare.to_uppercase()),
            format!("\"{other}\""),
            format!("{own} {other}"),
            format!("{own},{other}"),
            format!("{own};{other}"),
            format!("{own},"),
            format!("{other}\u{a0}"),
            format!("{other}0"),
        ] {
            wrong.push(vec![(TENANT, value)]);
        }
        wrong.push(vec![(TENANT, own.clone()), (TENANT, String::new())]);
        wrong.push(vec![
            ("Dispatch-Tenant", own.clone()),
            (TENANT, other.clone()),
        ]);
        let mut named = wrong.clone();
        named.extend([&own, &other].map(|id| vec![(TENANT, id.clone())]));

        let before = Footprint::take(stack.admin()).await;
        // One that has to name one names none like this; who has a tenant may not, not even their own.
        for (credential, lines) in [
            (worker.expose(), &wrong),
            (erp.expose(), &named),
            (&token, &named),
        ] {
            for lines in lines {
                for ask in [
                    read(credential, &here_id),
                    read(credential, &there_id),
                    write(credential, here),
                    write(credential, there),
                ] {
                    let reply = with(ask, lines).send().await;
                    let problem = reply.no_attempt(ErrorCode::InvalidParameter);
                    assert_eq!(problem.meta["parameter"], TENANT, "{lines:?}");
                }
            }
        }
        // A name that only looks like it is none.
        for name in [
            "dispatch_tenant",
            "x-dispatch-tenant",
            "tenant",
            "x-tenant-id",
        ] {
            let lines = vec![(name, other.clone())];
            let reply = with(read(worker.expose(), &there_id), &lines).send().await;
            reply.no_attempt(ErrorCode::InvalidParameter);
            let reply = with(read(&token, &there_id), &lines).send().await;
            reply.no_attempt(ErrorCode::NotFound);
            let reply = with(read(&token, &here_id), &lines).send().await;
            assert_eq!(reply.status, 200, "{name}");
        }
        assert_eq!(before.changes(stack.admin()).await, [""; 0]);

        // As HTTP has it, the name's letters and the blanks around the value are no matter.
        let spelled = async |line: &str, ticket: &str| {
            let head = format!(
                "GET /api/v1/tickets/{ticket}/status HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
                 authorization: Bearer {}\r\n{line}\r\n\r\n",
                worker.expose()
            );
            raw(&stack, &head).await
        };
        for line in [
            format!("dispatch-tenant: {other}"),
            format!("Dispatch-Tenant:{other}"),
            format!("DISPATCH-TENANT: \t {other} \t"),
        ] {
            assert_eq!(spelled(&line, &there_id).await.0, 200, "{line:?}");
            assert_eq!(spelled(&line, &here_id).await.0, 404, "{line:?}");
        }
        for line in [
            format!("dispatch-tenant: {own}\r\nDISPATCH-TENANT: {other}"),
            format!("dispatch-tenant: {other}\r\nx: y\r\ndispatch-tenant: {own}"),
            format!("dispatch-tenant : {other}"),
            format!("dispatch-tenant: {own}\r\n {other}"),
            format!("x: y\r\n dispatch-tenant: {other}"),
        ] {
            for ticket in [&here_id, &there_id] {
                let (status, answer) = spelled(&line, ticket).await;
                assert_eq!(status, 400, "{line:?}: {answer}");
            }
        }
    });
}

#[test]
fn who_calls_is_said_once() {
    with_api(async |stack| {
        let admin = stack.client(stack.tenant(), Who::TenantAdmin);
        let kind = contracts::ActorKind::Integration;
        let erp = account(&admin, "erp", kind, &[Role::Dispatcher], false).await;
        let bearer = |credential: &str| format!("Bearer {credential}");
        let key_of_own = bearer(issue(&admin, erp).await.expose());
        let own = bearer(&Who::Dispatcher.token(stack.tenant()));
        let admins = bearer(&Who::TenantAdmin.token(stack.tenant()));
        let others = bearer(&Who::Dispatcher.token(stack.other()));
        let job = Job::at(&stack, stack.tenant(), TicketState::New).await;
        let name = "authorization";
        let mut wrong = Vec::new();
        for second in [&admins, &others, &key_of_own] {
            wrong.extend(twice(name, &own, second));
            for joined in [
                format!("{own},{second}"),
                format!("{own};{second}"),
                format!("{own} {second}"),
                format!("{own},{}", second.trim_start_matches("Bearer ")),
            ] {
                wrong.push(vec![(name, joined)]);
            }
        }
        wrong.extend(twice(name, &own, "Basic dXNyOnNlY3JldA=="));
        wrong.extend(twice(name, &own, ""));
        wrong.push(vec![("proxy-authorization", own.clone())]);
        wrong.push(vec![("x-authorization", own.clone())]);
        wrong.push(vec![("x-forwarded-authorization", own.clone())]);
        let note = json!({ "text": "It rains in." });
        let before = Footprint::take(stack.admin()).await;
        for lines in &wrong {
            let write = stack
                .http()
                .command(Operation::AddNote, Some(job.id()), &note);
            for ask in [stack.http().get("/tickets"), write] {
                let reply = with(ask, lines).send().await;
                reply.no_attempt(ErrorCode::Unauthenticated);
                assert!(reply.header("www-authenticate").is_some(), "{lines:?}");
            }
        }
        assert_eq!(before.changes(stack.admin()).await, [""; 0]);
        // The letters of the scheme are no matter.
        let token = Who::Dispatcher.token(stack.tenant());
        for good in [format!("bearer {token}"), format!("BEARER {token} ")] {
            let lines = vec![(name, good)];
            let reply = with(stack.http().get("/tickets"), &lines).send().await;
            assert_eq!(reply.status, 200, "{}", reply.text());
        }
    });
}

#[test]
fn what_a_command_is_held_to_is_said_once() {
    with_api(async |stack| {
        let job = Job::at(&stack, stack.tenant(), TicketState::New).await;
        let version = job.ticket().await.version;
        let token = Who::Dispatcher.token(stack.tenant());
        let note = |text: &str| -> Value { json!({ "text": text }) };
        let id = job.id();
        // Without any of the headers that are looked at.
        let bare = |body: &Value| {
            let path = Operation::AddNote.path().replace("{id}", &id.to_string());
            stack.http().post(path).token(&token).json(body)
        };
        let tags = |n: u64| format!("\"{n}\"");
        let mut wrong: Vec<(&str, Lines<'_>)> = Vec::new();
        for lines in twice("idempotency-key", "one", "other")
            .into_iter()
            .chain(twice("idempotency-key", "\"one\"", "\"other\""))
        {
            wrong.push(("idempotency-key", lines));
        }
        for lines in twice("if-match", &tags(version), &tags(version + 1)) {
            wrong.push(("if-match", lines));
        }
        for value in [
            format!("{},{}", tags(version), tags(version)),
            format!("{version}"),
            format!("W/{}", tags(version)),
            "*".to_owned(),
        ] {
            wrong.push(("if-match", vec![("if-match", value)]));
        }
        for name in ["x-correlation-id", TOOL_NAME_HEADER] {
            wrong.extend(
                twice(name, "one", "other")
                    .into_iter()
                    .map(|lines| (name, lines)),
            );
        }
        let before = Footprint::take(stack.admin()).await;
        for (name, lines) in &wrong {
            let ask = bare(&note("No."));
            let ask = match *name {
                "idempotency-key" => ask,
                _ => ask.key(key()),
            };
            let reply = with(ask, lines).send().await;
            let problem = reply.no_attempt(ErrorCode::InvalidParameter);
            let said = problem.meta["parameter"].as_str().unwrap_or_default();
            assert!(said.eq_ignore_ascii_case(name), "{lines:?}: {said}");
        }
        // Media types that are not one.
        for lines in twice("content-type", "application/json", "text/plain") {
            let path = Operation::AddNote.path().replace("{id}", &id.to_string());
            let ask = stack.http().post(path).token(&token).key(key());
            let ask = with(ask.body(None, note("No.").to_string()), &lines);
            ask.send().await.no_attempt(ErrorCode::UnsupportedMediaType);
        }
        assert_eq!(before.changes(stack.admin()).await, [""; 0]);

        // Two ids that somebody has joined without a blank are one id, which is neither of them.
        let (one, other) = (key(), key());
        let send = async |id: String| bare(&note("Yes.")).key(id).send().await;
        let joined = send(format!("{one},{other}")).await;
        joined.receipt();
        let again = send(format!("{one},{other}")).await;
        assert_eq!(again.header("idempotent-replayed"), Some("true"));
        for id in [one, other] {
            let alone = send(id).await;
            alone.receipt();
            assert_eq!(alone.header("idempotent-replayed"), None);
        }
    });
}
