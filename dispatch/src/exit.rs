//! How the program ends: one clear message and a stable exit code.

use std::{
    fmt::{self, Write},
    process::ExitCode,
};

use contracts::{ErrorCode, Problem};

/// What `--help` says about exit codes.
pub const HELP: &str = "\
Exit codes:
  0  ok
  1  a check failed, or a command was refused
  2  wrong usage or configuration
  3  infrastructure is missing or cannot be reached
  4  the time given with --timeout was over";

/// The kind of a failure: its exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A check failed or a command was refused.
    Failed = 1,
    /// Wrong usage or configuration.
    Usage = 2,
    /// Something we need is not there.
    Infrastructure = 3,
    /// The time that a caller gave was over.
    Timeout = 4,
}

/// Why the program ends without success.
#[derive(Debug)]
pub struct Failure {
    /// Its kind.
    pub kind: Kind,
    /// For people: what, where, how to mend it. Empty when all was said already.
    pub message: String,
    /// What dispatch-api said, when it was that which refused.
    pub problem: Option<Box<Problem>>,
}

impl Failure {
    /// A failed check.
    pub fn failed(message: impl fmt::Display) -> Self {
        Self::new(Kind::Failed, message)
    }

    /// A failed check whose report is already on the screen.
    pub fn reported() -> Self {
        Self::failed("")
    }

    /// Wrong usage or configuration.
    pub fn usage(message: impl fmt::Display) -> Self {
        Self::new(Kind::Usage, message)
    }

    /// Something we need is not there.
    pub fn infrastructure(message: impl fmt::Display) -> Self {
        Self::new(Kind::Infrastructure, message)
    }

    /// The time that a caller gave was over.
    pub fn timeout(message: impl fmt::Display) -> Self {
        Self::new(Kind::Timeout, message)
    }

    fn new(kind: Kind, message: impl fmt::Display) -> Self {
        Self {
            kind,
            message: message.to_string(),
            problem: None,
        }
    }

    /// Says the message and gives the code.
    pub fn report(&self) -> ExitCode {
        if !self.message.is_empty() {
            eprintln!("error: {}", self.message);
        }
        ExitCode::from(self.kind as u8)
    }
}

/// An error with all its causes in one line: each layer says only its own part.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        next = cause.source();
    }
    text
}

/// The last cause: of a failed connection it says all, the layers above only that there was one.
pub fn root(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

/// What a failed call of dispatch-api says.
pub fn call(error: &client::ClientError) -> String {
    match error {
        client::ClientError::Transport { .. } => format!("{error}: {}", root(error)),
        _ => chain(error),
    }
}

/// A problem for people: code, detail, each wrong field and each failed rule that the detail leaves
/// out, and where to read on.
fn problem(problem: &Problem) -> String {
    let mut text = format!("{} ({}): {}", problem.code, problem.status, problem.detail);
    for error in &problem.errors {
        let place = match error.pointer.as_str() {
            "" => "the body",
            pointer => pointer,
        };
        let _ = write!(text, "\n  {place}: {}", error.message);
    }
    for reason in &problem.reasons {
        if !problem.detail.contains(&reason.message) {
            let _ = write!(text, "\n  {}: {}", reason.code, reason.message);
        }
        let _ = write!(text, "\n  to pass {}: {}", reason.code, reason.to_pass);
    }
    if problem.code == ErrorCode::Unauthenticated {
        text += "\n  the token comes from `api.token` (DISPATCH_API_TOKEN), or is minted with \
                 `auth.jwt_secret`; `dispatch config show` says which is set and where";
    }
    text
}

impl From<client::ClientError> for Failure {
    fn from(error: client::ClientError) -> Self {
        let text = call(&error);
        match error {
            client::ClientError::Transport { .. } => Self::infrastructure(format!(
                "{text}. Is it running? `dispatch doctor` looks at each part"
            )),
            client::ClientError::Problem { problem, .. } => Self {
                message: self::problem(&problem),
                problem: Some(problem),
                ..Self::failed("")
            },
            _ => Self::failed(text),
        }
    }
}
