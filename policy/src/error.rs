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
        "`{path}` does not belong into a bundle ({reason}): it holds `.manifest`, `*.rego` and `data.json` files, and `.signatures.json`"
    )]
    UnexpectedFile {
        /// Path inside the bundle.
        path: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// An archive cannot be read as a whole.
    #[error("the archive cannot be read: {reason}; `dispatch policy build` writes one that can")]
    Archive {
        /// What is wrong.
        reason: String,
    },
    /// A key cannot be used.
    #[error("key `{kid}`: {reason}")]
    Key {
        /// Its id.
        kid: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// The process takes signed bundles only, and this one is not, or not as a whole.
    #[error("signature refused: {0}")]
    Signature(#[from] SignatureError),
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
    /// The rules of autonomy cannot be used.
    #[error("rules of autonomy, `autonomy/data.json`: {reason}")]
    Autonomy {
        /// What is wrong.
        reason: String,
    },
    /// What holds commands, or waits for people, cannot be used.
    #[error("approvals, `approvals/data.json`: {reason}")]
    Approvals {
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
    /// The reads table cannot be used.
    #[error("reads table, permission `{permission}`: {reason}")]
    Reads {
        /// Key under `data.reads`.
        permission: String,
        /// What is wrong.
        reason: String,
    },
    /// A rule asks for something that is never in the input; it would never hold.
    #[error("{path}:{line}:{column}: there is no `{fact}` in what a policy is asked; {nearest}")]
    UnknownFact {
        /// Path inside the bundle.
        path: String,
        /// Line, from 1.
        line: u32,
        /// Column, from 1.
        column: u32,
        /// What the rule names.
        fact: String,
        /// What there is instead.
        nearest: String,
    },
    /// A rule gives a fact another name, under which it could be misspelt unseen.
    #[error(
        "{path}:{line}:{column}: what a policy is asked cannot be imported: misspelt under the name that an import gives it, a fact would never be there; write `input.…` in full where it is read"
    )]
    ImportedFact {
        /// Path inside the bundle.
        path: String,
        /// Line, from 1.
        line: u32,
        /// Column, from 1.
        column: u32,
    },
    /// A rule compares a value that is masked in every input; it would never hold.
    #[error(
        "{path}:{line}:{column}: a policy never sees `{fact}` itself, so this says nothing about it; {nearest}"
    )]
    MaskedFact {
        /// Path inside the bundle.
        path: String,
        /// Line, from 1.
        line: u32,
        /// Column, from 1.
        column: u32,
        /// What the rule names.
        fact: String,
        /// What there is instead.
        nearest: String,
    },
    /// The bundle brings no tests along, so nobody has shown what it does.
    #[error(
        "the bundle has no test: add a `*_test.rego` file with a rule `test_…` for what it must allow and refuse"
    )]
    NoTests,
    /// The bundle's own tests do not hold.
    #[error("{} of the bundle's own tests failed: {}", failed.len(), failed.join(", "))]
    TestsFailed {
        /// Their full names, each with what it gave.
        failed: Vec<String>,
    },
    /// A trial evaluation gave no decision.
    #[error("a trial evaluation of operation `{operation}` by {actor} gave no decision: {source}")]
    Trial {
        /// What was asked.
        operation: String,
        /// By which kind of actor, and what it knew.
        actor: String,
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

/// Why a signature is none, or not one over this bundle.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// There is no `.signatures.json`.
    #[error(
        "the bundle is not signed; sign it with `dispatch policy sign` and one of the keys {known}"
    )]
    Unsigned {
        /// The keys that are good.
        known: String,
    },
    /// The signature cannot be read.
    #[error("{reason}")]
    Malformed {
        /// What is wrong.
        reason: String,
    },
    /// Another algorithm than that of the keys, or none.
    #[error("its algorithm is `{found}`; only `EdDSA` (ed25519) is good")]
    Algorithm {
        /// What the header says.
        found: String,
    },
    /// The header names no key.
    #[error("its header names no key (`kid`); sign with `--kid`")]
    NoKeyId,
    /// A key that is not configured.
    #[error("it is made with key `{kid}`; known here: {known}")]
    UnknownKey {
        /// What the header says.
        kid: String,
        /// The keys that are good.
        known: String,
    },
    /// The signature does not fit what is signed.
    #[error("it was not made with key `{kid}`, or was changed afterwards")]
    Forged {
        /// The key that it claims.
        kid: String,
    },
    /// A file's digest is of another algorithm.
    #[error("the digest of `{path}` is of algorithm `{found}`; only `SHA-256` is good")]
    DigestAlgorithm {
        /// Path inside the bundle.
        path: String,
        /// What the list says.
        found: String,
    },
    /// A file is listed twice.
    #[error("it lists `{path}` twice")]
    ListedTwice {
        /// Path inside the bundle.
        path: String,
    },
    /// A file that was not signed.
    #[error("`{path}` is not signed; sign the bundle again as a whole")]
    Unlisted {
        /// Path inside the bundle.
        path: String,
    },
    /// A signed file is not there.
    #[error("`{path}` was signed but is missing; take the bundle as it was signed")]
    Missing {
        /// Path inside the bundle.
        path: String,
    },
    /// A file with another content.
    #[error("`{path}` was changed after it was signed; sign the bundle again as a whole")]
    Altered {
        /// Path inside the bundle.
        path: String,
    },
    /// Each document is as signed, but written differently.
    #[error(
        "it is for the bundle with sha256 {signed}, this one has {found}: the layout of a JSON file was changed; sign it again"
    )]
    OtherBundle {
        /// What the signature names.
        signed: String,
        /// What these files have.
        found: String,
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
    /// It took longer than the time limit: a slow machine, perhaps, rather than a bad rule.
    #[error("the evaluation took too long: {reason}")]
    Slow {
        /// What the evaluator said.
        reason: String,
    },
    /// The rules used up their budget of instructions or memory.
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
