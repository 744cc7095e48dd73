//! Many inputs under one bundle, on all processors, answered in their order.

use std::{num::NonZero, sync::Arc, thread::available_parallelism};

use contracts::policy::PolicyDecision;
use policy::{Bundle, EvaluationError};

use crate::Error;

/// An evaluation has a budget of instructions and, behind it, one of time. The first is the same
/// everywhere; the second may run out on a machine that does something else just now.
const TRIES: usize = 4;

pub(crate) type Answer = Result<PolicyDecision, EvaluationError>;

/// Evaluates each; memory is that of the inputs and of their answers.
pub(crate) async fn evaluate(
    bundle: &Arc<Bundle>,
    mut inputs: Vec<String>,
) -> Result<Vec<Answer>, Error> {
    let workers = available_parallelism().map_or(1, NonZero::get);
    let share = inputs.len().div_ceil(workers).max(1);
    let mut tasks = Vec::with_capacity(workers);
    let mut total = 0;
    while !inputs.is_empty() {
        let rest = inputs.split_off(share.min(inputs.len()));
        let part = std::mem::replace(&mut inputs, rest);
        total += part.len();
        let bundle = Arc::clone(bundle);
        tasks.push(tokio::task::spawn_blocking(move || {
            part.iter()
                .map(|input| one(&bundle, input))
                .collect::<Vec<_>>()
        }));
    }
    let mut answers = Vec::with_capacity(total);
    for task in tasks {
        answers.extend(task.await.map_err(|error| Error::Lost(error.to_string()))?);
    }
    Ok(answers)
}

fn one(bundle: &Bundle, input: &str) -> Answer {
    let mut answer = bundle.evaluate_recorded(input);
    for _ in 1..TRIES {
        if !matches!(answer, Err(EvaluationError::Slow { .. })) {
            break;
        }
        answer = bundle.evaluate_recorded(input);
    }
    answer
}
