//! What OPA answers, and where it differs from ours.

use std::{fmt, path::Path, process::Stdio};

use contracts::policy::{BundleRef, PolicyDecision};
use embedded::Opa;
use serde_json::{Map, Value, json};
use tokio::{io::AsyncWriteExt, process::Command};

use crate::corpus::Asked;

/// Differences that are shown; the others are counted.
const SHOWN: usize = 5;
/// Inputs per process.
const CHUNK: usize = 2_500;
/// An answer per input: what is undefined has none, so it cannot be taken for its neighbour's.
const QUERY: &str =
    "{n: answer | some n, asked in input; answer := data.dispatch.decision with input as asked}";

/// Runs OPA on the bundle in this folder and answers what it wrote; `fine` are the exit codes that
/// are no failure.
pub async fn output(
    opa: &Opa,
    arguments: &[&str],
    folder: &Path,
    input: Vec<u8>,
    fine: &[i32],
) -> Vec<u8> {
    let mut child = Command::new(opa.path())
        .args(arguments)
        .arg(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("opa can be executed");
    let mut stdin = child.stdin.take().expect("it is piped");
    // One that ends early says why.
    let write = async move { drop(stdin.write_all(&input).await) };
    let (ended, ()) = tokio::join!(child.wait_with_output(), write);
    let ended = ended.expect("opa ends");
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        ended.status.code().is_some_and(|code| fine.contains(&code)),
        "opa {arguments:?}: {}\n{}{}",
        ended.status,
        said(&ended.stdout),
        said(&ended.stderr)
    );
    ended.stdout
}

/// What OPA answers under the bundle in this folder, in the order of the inputs.
pub async fn answers(opa: &Opa, folder: &Path, asked: &[Asked]) -> Vec<Option<Value>> {
    let arguments = [
        "eval",
        QUERY,
        "--stdin-input",
        "--format",
        "json",
        "--bundle",
    ];
    let chunks = asked.chunks(CHUNK).map(async |chunk| {
        let inputs: Vec<_> = chunk.iter().map(|asked| &asked.input).collect();
        let inputs = serde_json::to_vec(&inputs).expect("an input is JSON");
        let output = output(opa, &arguments, folder, inputs, &[0]).await;
        let mut output: Value = serde_json::from_slice(&output).expect("opa writes JSON");
        let mut answers = output["result"][0]["expressions"][0]["value"].take();
        (0..chunk.len())
            .map(|n| answers.get_mut(n.to_string()).map(Value::take))
            .collect::<Vec<_>>()
    });
    futures::future::join_all(chunks).await.concat()
}

/// An input about which the two do not agree.
pub struct Difference {
    input: Value,
    ours: PolicyDecision,
    theirs: Option<Value>,
}

impl Difference {
    /// The operation that it is about.
    pub fn operation(&self) -> &str {
        self.input["operation"].as_str().unwrap_or_default()
    }
}

/// All differences of whole decisions. Reasons, demands and roles are sets in Rego; their
/// order is ours.
pub fn differences(asked: &[Asked], answers: Vec<Option<Value>>) -> Vec<Difference> {
    assert_eq!(asked.len(), answers.len());
    let pairs = asked.iter().zip(answers);
    pairs
        .filter(|(asked, theirs)| {
            let theirs = theirs
                .clone()
                .and_then(|theirs| decision(theirs, &asked.decision.bundle));
            theirs.as_ref() != Some(&asked.decision)
        })
        .map(|(asked, theirs)| Difference {
            input: serde_json::to_value(&asked.input).expect("an input is JSON"),
            ours: asked.decision.clone(),
            theirs,
        })
        .collect()
}

/// OPA's answer as a decision; nothing when it has more or other parts.
fn decision(mut answer: Value, bundle: &BundleRef) -> Option<PolicyDecision> {
    let known = ["result", "reasons", "obligations", "approval"];
    if !answer
        .as_object()?
        .keys()
        .all(|key| known.contains(&&**key))
    {
        return None;
    }
    answer["bundle"] = json!(bundle);
    let mut decision: PolicyDecision = serde_json::from_value(answer).ok()?;
    decision.reasons.sort();
    if let Some(need) = &mut decision.approval {
        need.demands.sort();
        for demand in &mut need.demands {
            demand.roles.sort();
        }
    }
    Some(decision)
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ours = serde_json::to_value(&self.ours).unwrap_or_default();
        let nothing = Value::Object(Map::new());
        let theirs = self.theirs.as_ref().unwrap_or(&nothing);
        writeln!(f, "{}:", self.operation())?;
        if self.theirs.is_none() {
            writeln!(f, "  OPA gives no decision")?;
        }
        for part in ["result", "obligations", "approval"] {
            if ours[part] != theirs[part] {
                writeln!(f, "  {part}: ours {}, OPA {}", ours[part], theirs[part])?;
            }
        }
        let reasons =
            |of: &Value| -> Vec<Value> { of["reasons"].as_array().cloned().unwrap_or_default() };
        let (ours, theirs) = (reasons(&ours), reasons(theirs));
        for (who, these, others) in [("ours", &ours, &theirs), ("OPA", &theirs, &ours)] {
            for reason in these.iter().filter(|reason| !others.contains(reason)) {
                writeln!(f, "  a reason of {who} only: {reason}")?;
            }
        }
        write!(f, "  input: {}", self.input)
    }
}

/// All of it for people.
pub fn shown(differences: &[Difference], of: usize) -> String {
    let mut text = format!(
        "OPA decides otherwise about {} of {of} inputs",
        differences.len()
    );
    for difference in differences.iter().take(SHOWN) {
        text += &format!("\n{difference}");
    }
    if differences.len() > SHOWN {
        text += &format!("\n… and {} more", differences.len() - SHOWN);
    }
    text
}
