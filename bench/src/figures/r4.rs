//! R4: a decision in process against one asked of an OPA server, which is how OPA is usually run
//! beside a service: same bundle, same inputs, one keep-alive connection. What both answer is
//! compared before anything is measured.

use std::{fs, hint::black_box, net::SocketAddr, path::Path, time::Instant};

use anyhow::{Context, Result, ensure};
use contracts::policy::{PolicyDecision, PolicyInput};
use embedded::{Opa, OpaOptions, OpaServer, Progress};
use hdrhistogram::Histogram;
use policy::{Bundle, BundleFiles};
use serde_json::{Value, json};

use crate::{
    bench::Bench,
    http::Http,
    report::{Good, Line, number},
    stats::interleaved,
};

const PATH: &str = "/v1/data/dispatch/decision";

/// Measures it.
pub async fn run(bench: &Bench) -> Result<Vec<Line>> {
    let bundle = Bundle::starter()?;
    let folder = bench.servers.folder().join("r4_bundle");
    write(bundle.files(), &folder)?;
    let opa = Opa::resolve(OpaOptions {
        progress: Progress::new(crate::say),
        ..OpaOptions::from_env()
    })
    .await?;
    let log = bench.servers.folder().join("opa.log");
    let server = OpaServer::start(&opa, &folder, &log).await?;
    let address: SocketAddr = server.address().parse()?;
    let mut http = Http::connect(address).await?;

    let asked = inputs()?;
    let mut bodies = Vec::new();
    for input in &asked {
        let body = json!({ "input": input }).to_string();
        agree(
            input,
            &bundle.evaluate(input)?,
            http.post(PATH, &body).await?,
        )?;
        bodies.push(body);
    }
    let decisions = bench.settings.pick(5_000, 500);
    let http = tokio::sync::Mutex::new(http);
    let [speeds] = interleaved(
        "R4 (decisions/s at the p50)",
        bench.settings.rounds,
        async |_| {
            let mut times = Histogram::<u64>::new(3)?;
            for input in asked.iter().cycle().take(decisions) {
                let begun = Instant::now();
                black_box(bundle.evaluate(black_box(input))?);
                record(&mut times, begun)?;
            }
            Ok([speed(&times)])
        },
        async |_| {
            let mut http = http.lock().await;
            let mut times = Histogram::<u64>::new(3)?;
            for body in bodies.iter().cycle().take(decisions) {
                let begun = Instant::now();
                black_box(http.post(PATH, body).await?);
                record(&mut times, begun)?;
            }
            Ok([speed(&times)])
        },
    )
    .await?;
    server.shutdown().await;
    let micros = |speed: f64| number(1e6 / speed);
    Ok(vec![Line {
        id: "R4",
        what: "policy decision, p50, times faster".to_owned(),
        ours: format!("{} µs", micros(speeds.ours())),
        baseline: format!("OPA server {} µs", micros(speeds.baseline())),
        figure: speeds.ratio(),
        unit: "",
        good: Good::AtLeast,
        floor: 20.0,
        goal: 100.0,
        notes: vec![format!(
            "opa {}, same bundle, {} inputs in turn, one keep-alive connection on the loopback; ours \
             from the typed input to the typed decision, OPA's from the encoded request to the \
             unread answer",
            opa.version(),
            asked.len(),
        )],
    }])
}

fn record(times: &mut Histogram<u64>, begun: Instant) -> Result<()> {
    let nanoseconds = u64::try_from(begun.elapsed().as_nanos())?;
    Ok(times.record(nanoseconds)?)
}

/// Decisions per second, each taking the median time: so that more is better, as "times faster" is.
fn speed(times: &Histogram<u64>) -> f64 {
    1e9 / times.value_at_quantile(0.5) as f64
}

fn write(files: &BundleFiles, folder: &Path) -> Result<()> {
    for (path, text) in files.iter() {
        let file = folder.join(path);
        fs::create_dir_all(file.parent().context("a file is in a folder")?)?;
        fs::write(file, text)?;
    }
    Ok(())
}

/// Whether OPA's answer is our decision, by its result and its reasons.
fn agree(input: &PolicyInput, ours: &PolicyDecision, answer: &[u8]) -> Result<()> {
    let answer: Value = serde_json::from_slice(answer)?;
    let theirs = &answer["result"];
    let mut reasons = serde_json::from_value(theirs["reasons"].clone())
        .with_context(|| format!("reading OPA's answer {answer}"))?;
    let reasons: &mut Vec<contracts::policy::Reason> = &mut reasons;
    reasons.sort();
    ensure!(
        theirs["result"] == json!(ours.result) && *reasons == ours.reasons,
        "OPA decides otherwise about {}: {theirs}, not {}",
        input.operation,
        json!(ours)
    );
    Ok(())
}

/// Five steps of a life, as a dispatcher, a technician and the billing ask for them; the last is
/// denied.
fn inputs() -> Result<Vec<PolicyInput>> {
    let technician = "tec_00000000000000000000000000000001";
    let ticket = |state: &str| {
        json!({
            "id": "tkt_00000000000000000000000000000001",
            "state": state,
            "version": 7,
            "template": "emergency_glass",
            "priority": "P1",
            "details": { "pane_count": 2, "public_hazard": false, "glass_kind": "laminated" },
            "nte_cents": 80_000,
            "technician_id": technician,
            "visit": 1,
            "evidence": ["photo_before", "photo_after", "signature"],
            "customer_awaited": false,
        })
    };
    let ask = |operation: &str, role: &str, body: Value, ticket: Value| {
        let actor = json!({
            "id": format!("person:{role}"),
            "kind": "person",
            "roles": [role],
            "technician_id": (role == "technician").then_some(technician),
        });
        json!({
            "v": 1,
            "operation": operation,
            "at": "2026-11-23T09:00:00Z",
            "actor": actor,
            "body": body,
            "ticket": ticket,
            "approval": null,
            "tenant": {
                "calendar": {
                    "time_zone": "Europe/Amsterdam",
                    "week": [[[480, 1020]], [[480, 1020]], [[480, 1020]], [[480, 1020]], [[480, 1020]], [], []],
                    "days_off": [],
                },
                "currency": "EUR",
            },
            "autonomy": "SHADOW",
            "kill_switch": false,
        })
    };
    let create = json!({
        "site_id": "sit_00000000000000000000000000000001",
        "template": "emergency_glass",
        "details": { "pane_count": 2, "public_hazard": true },
    });
    let triage = json!({ "priority": "P1", "details": { "floor": 2 } });
    let invoice = json!({
        "lines": [
            { "item": "labour", "quantity": 2, "unit_cents": 7_800 },
            { "item": "laminated_pane", "quantity": 2, "unit_cents": 35_000 },
        ],
    });
    [
        ask("create_ticket", "dispatcher", create, Value::Null),
        ask("triage", "dispatcher", triage, ticket("NEW")),
        ask("check_in", "technician", json!({}), ticket("DISPATCHED")),
        ask(
            "complete",
            "technician",
            json!({ "evidence": [] }),
            ticket("ON_SITE"),
        ),
        ask("generate_invoice", "billing", invoice, ticket("VERIFIED")),
    ]
    .into_iter()
    .map(|input| Ok(serde_json::from_value(input)?))
    .collect()
}
