//! Why a bundle is refused, and why an evaluation gave no decision.

use std::path::PathBuf;

/// A bundle that must not decide anything. The message says where and how to mend it.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// A file of the bundle cannot be read.
    #[error("cannot read `{}`: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file that does not belong into a bundle: it would be part of the identity without a
    /// meaning.
    #[error(
        "`{path}` does not belong into a bundle: it holds `.manifest`, `*.rego` and `data.json` files; {reason}"
    )]
    UnexpectedFile {
        /// Path inside the bundle.
        path: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// `.manifest` is missing or wrong.
    #[error("`.manifest`: {reason}")]
    Manifest {
        /// What is wrong.
        reason: String,
    },
    /// A module does not parse or compile.
    #[error("the Rego modules do not compile: {message}")]
    Rego {
        /// File, line and reason, as the compiler says it.
        message: String,
    },
    /// A rule calls a function that is not on the list of [`crate::builtins::ALLOWED`].
    #[error(
        "builtin `{name}` is not allowed: a decision may depend on its input and the bundle only; take the value from `input` or `data`"
    )]
    ForbiddenBuiltin {
        /// The builtin.
        name: String,
    },
    /// A package or data document lies outside the manifest's roots.
    #[error("`{path}` lies outside the roots of `.manifest`; add its root there")]
    OutsideRoots {
        /// Dotted path.
        path: String,
    },
    /// A `data.json` cannot be used.
    #[error("`{path}`: {reason}")]
    Data {
        /// Path inside the bundle.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// An incident template cannot be used.
    #[error("incident template `{id}`: {reason}")]
    Template {
        /// Key under `data.templates`.
        id: String,
        /// What is wrong.
        reason: String,
    },
    /// The rules for messages cannot be used.
    #[error("rules for messages, `comms/data.json`: {reason}")]
    Comms {
        /// What is wrong.
        reason: String,
    },
    /// The roles table cannot be used.
    #[error("roles table, operation `{operation}`: {reason}")]
    Roles {
        /// Key under `data.roles`.
        operation: String,
        /// What is wrong.
        reason: String,
    },
    /// A trial evaluation gave no decision.
    #[error("a trial evaluation of operation `{operation}` gave no decision: {source}")]
    Trial {
        /// What was asked.
        operation: String,
        /// Why it failed.
        source: EvaluationError,
    },
    /// No bundle with this hash is at hand.
    #[error("no bundle with sha256 {sha256} in {searched}; install it there or activate another")]
    NotFound {
        /// What was asked for.
        sha256: String,
        /// Where it was looked for.
        searched: String,
    },
}

/// There is no decision: the command is neither allowed nor denied, and must not go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EvaluationError {
    /// The input could not be handed over.
    #[error("the policy input cannot be encoded: {reason}")]
    Input {
        /// Why.
        reason: String,
    },
    /// The rules used up their budget of instructions or time.
    #[error("the evaluation used up its budget: {reason}")]
    Budget {
        /// Which one.
        reason: String,
    },
    /// A rule failed, for example on a value of the wrong type.
    #[error("the evaluation failed: {reason}")]
    Failed {
        /// What the evaluator said.
        reason: String,
    },
    /// The answer is not a well-formed decision.
    #[error("the answer of the rules is not a decision: {reason}")]
    Output {
        /// What is wrong with it.
        reason: String,
    },
}
