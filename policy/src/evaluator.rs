//! Compiled rules and the machines that run them.
//!
//! The rules are compiled once to a program of regorus's virtual machine, of which an input runs the
//! part that can say something about it ([`crate::programs`]); a machine is set up once and reused. So
//! a decision costs the conversion of its input and some hundred instructions. What ends an evaluation
//! first is a budget of instructions, which is the same on every machine and at every load; the time
//! limit behind it is for what the count does not see.

use std::{
    collections::BTreeSet,
    num::NonZeroU32,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use regorus::{
    CompiledPolicy, Engine, Value,
    languages::rego::compiler::{Compiler, CompilerError, SpannedCompilerError},
    rvm::{RegoVM, vm::VmError},
    utils::limits::ExecutionTimerConfig,
};

use crate::{
    builtins,
    error::{BundleError, EvaluationError},
    files::BundleFiles,
    guards,
    manifest::Manifest,
    programs::{Prepared, Programs},
};

/// The rule that decides.
const ENTRY_POINT: &str = "data.dispatch.decision";

const MAX_INSTRUCTIONS: usize = 200_000;
const TIME_LIMIT: ExecutionTimerConfig = ExecutionTimerConfig {
    limit: Duration::from_millis(250),
    check_interval: NonZeroU32::new(64).expect("64 is not 0"),
};
/// Machines of one program kept for reuse: more than that many evaluations at once seldom happen on
/// the pool of database connections that they run under.
const MAX_IDLE: usize = 16;
/// Rules per compilation when builtins are looked for: each entry point takes one of 255 registers.
const RULES_PER_SCAN: usize = 64;

pub(crate) struct Evaluator {
    programs: Programs<Idle>,
    rules: Vec<String>,
}

/// Machines that wait for their next evaluation.
type Idle = Mutex<Vec<RegoVM>>;

impl Evaluator {
    /// Compiles the modules and refuses what they may not contain.
    pub(crate) fn compile(
        files: &BundleFiles,
        manifest: &Manifest,
        data: &serde_json::Value,
    ) -> Result<Self, BundleError> {
        let mut engine = Engine::new();
        for (path, text) in files.modules() {
            engine
                .add_policy(path.to_owned(), text.to_owned())
                .map_err(|e| rego(&e))?;
        }
        for package in engine
            .get_policy_package_components()
            .map_err(|e| rego(&e))?
        {
            let path: Vec<&str> = package.components.iter().map(String::as_str).collect();
            manifest.check_covers(&path)?;
        }
        let policy = engine
            .compile_with_entrypoint(&ENTRY_POINT.into())
            .map_err(|e| rego(&e))?;
        check_builtins(&policy)?;
        let program =
            Compiler::compile_from_policy(&policy, &[ENTRY_POINT]).map_err(compile_error)?;
        let mut rules: Vec<_> = policy.get_rules().keys().cloned().collect();
        rules.sort_unstable();
        let programs = Programs::new(guards::insert(&program)?, Value::from(data.clone()));
        let evaluator = Self { programs, rules };
        // Reports a rule and a document of the same path now rather than at the first decision.
        let whole = evaluator.programs.whole();
        evaluator
            .machine(whole)
            .map_err(|error| BundleError::Rego {
                message: error.to_string(),
            })?;
        Ok(evaluator)
    }

    /// Full names of all rules, sorted.
    pub(crate) fn rules(&self) -> &[String] {
        &self.rules
    }

    /// Runs the entry point.
    pub(crate) fn run(&self, input: Value) -> Result<Value, EvaluationError> {
        self.run_part(self.programs.of(&input), input)
    }

    fn run_part(&self, part: &Prepared<Idle>, input: Value) -> Result<Value, EvaluationError> {
        let idle = || part.with.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = idle().pop();
        let mut machine = match waiting {
            Some(machine) => machine,
            None => self.machine(part)?,
        };
        machine.set_input(input);
        builtins::begin();
        let answer = machine.execute_entry_point_by_index(0);
        // No decision rather than a lax one.
        if let Some(error) = builtins::fault() {
            return Err(error);
        }
        // A machine that failed is dropped; one that answered is clean again at its next start.
        let answer = answer.map_err(evaluation_error)?;
        let mut idle = idle();
        if idle.len() < MAX_IDLE {
            idle.push(machine);
        }
        Ok(answer)
    }

    fn machine(&self, part: &Prepared<Idle>) -> Result<RegoVM, EvaluationError> {
        let mut machine = RegoVM::new();
        machine.set_max_instructions(MAX_INSTRUCTIONS);
        machine.set_execution_timer_config(Some(TIME_LIMIT));
        // For comparisons only: values of different types have an order, as in OPA. Functions are
        // called strictly in any case.
        machine.set_strict_builtin_errors(false);
        machine.load_program(Arc::clone(&part.program));
        machine
            .set_data(self.programs.data().clone())
            .map_err(evaluation_error)?;
        Ok(machine)
    }
}

/// Compiles every rule, reachable or not, and looks at the functions that the program would call.
fn check_builtins(policy: &CompiledPolicy) -> Result<(), BundleError> {
    let rules: BTreeSet<&str> = policy.get_rules().keys().map(String::as_str).collect();
    let rules: Vec<&str> = rules.into_iter().collect();
    for rules in rules.chunks(RULES_PER_SCAN) {
        let program = Compiler::compile_from_policy(policy, rules).map_err(compile_error)?;
        if program.has_host_await {
            return Err(forbidden("__builtin_host_await"));
        }
        if let Some(builtin) = program
            .builtin_info_table
            .iter()
            .find(|builtin| !builtins::is_allowed(&builtin.name))
        {
            return Err(forbidden(&builtin.name));
        }
    }
    Ok(())
}

fn compile_error(error: SpannedCompilerError) -> BundleError {
    match error.error {
        CompilerError::UnknownFunction { name }
        | CompilerError::UnknownBuiltinFunction { name }
        | CompilerError::NotBuiltinFunction { name } => BundleError::ForbiddenBuiltin { name },
        _ => BundleError::Rego {
            message: error.to_string(),
        },
    }
}

fn forbidden(name: &str) -> BundleError {
    BundleError::ForbiddenBuiltin {
        name: name.to_owned(),
    }
}

pub(crate) fn rego(error: &impl std::fmt::Display) -> BundleError {
    BundleError::Rego {
        message: error.to_string(),
    }
}

fn evaluation_error(error: VmError) -> EvaluationError {
    let reason = error.to_string();
    match error {
        VmError::TimeLimitExceeded { .. } => EvaluationError::Slow { reason },
        VmError::InstructionLimitExceeded { .. }
        | VmError::MemoryLimitExceeded { .. }
        | VmError::RegexSizeLimitExceeded { .. } => EvaluationError::Budget { reason },
        _ => EvaluationError::Failed { reason },
    }
}

#[cfg(test)]
mod tests;
