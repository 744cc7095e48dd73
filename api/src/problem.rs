//! The one place where problems (RFC 9457) are made.
//!
//! A [`Failure`] keeps apart what the caller may read (`detail`, field errors, facts) and what only
//! the log may hold (`cause`): it has no `Display` that could mix the two. It becomes an answer
//! exactly once, and is logged there, with the `instance` that the caller was told.

use std::{borrow::Cow, error::Error, fmt::Write};

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use chrono::{DateTime, Utc};
use contracts::{ErrorCode, Problem, problem::FieldError};
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde_json::{Map, Value};
use uuid::Uuid;

/// The media type of all answers that are not a success.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// A problem with only the members that every problem has.
pub fn problem(
    code: ErrorCode,
    detail: impl Into<String>,
    instance: Uuid,
    at: DateTime<Utc>,
) -> Problem {
    Problem {
        type_uri: code.type_uri(),
        title: code.title().to_owned(),
        status: code.status(),
        detail: detail.into(),
        instance: format!("urn:uuid:{instance}"),
        code,
        request_id: None,
        errors: Vec::new(),
        reasons: Vec::new(),
        command_id: None,
        decision_id: None,
        meta: Map::new(),
        at,
    }
}

/// Why there is no result.
#[derive(Debug)]
pub struct Failure {
    code: ErrorCode,
    detail: Cow<'static, str>,
    errors: Vec<FieldError>,
    meta: Map<String, Value>,
    headers: Vec<(HeaderName, HeaderValue)>,
    cause: Option<Box<dyn Error + Send + Sync>>,
}

impl Failure {
    /// What is wrong and how to mend it; the text goes to the caller.
    pub fn new(code: ErrorCode, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            detail: detail.into(),
            errors: Vec::new(),
            meta: Map::new(),
            headers: Vec::new(),
            cause: None,
        }
    }

    /// Our fault: the caller learns nothing but the instance.
    pub fn internal(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(
            ErrorCode::Internal,
            "The request failed through no fault of yours. Sending it again with the same request \
             id is safe; if it keeps failing, report the instance.",
        )
        .caused_by(cause)
    }

    /// A part is away, or there is too much to do.
    pub fn unavailable(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::Unavailable, detail).header(header::RETRY_AFTER, "1")
    }

    /// A path or query parameter, or a header.
    pub fn parameter(name: &str, detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::InvalidParameter, detail).fact("parameter", name)
    }

    /// There is no such ticket for this caller.
    pub fn no_ticket() -> Self {
        Self::no_such("ticket")
    }

    /// There is no such thing for this caller.
    pub fn no_such(what: &str) -> Self {
        Self::new(
            ErrorCode::NotFound,
            format!("There is no such {what}, or it is not yours."),
        )
    }

    /// The cursor is not one of ours, or not of this question.
    pub fn no_cursor() -> Self {
        Self::parameter(
            "cursor",
            "`cursor` was not made by this list; leave it out to begin anew.",
        )
    }

    /// Names the place in the body.
    #[must_use]
    pub fn at(mut self, pointer: impl Into<String>, message: impl Into<String>) -> Self {
        self.errors.push(FieldError {
            pointer: pointer.into(),
            message: message.into(),
        });
        self
    }

    /// A fact for programs.
    #[must_use]
    pub fn fact(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.meta.insert(name.to_owned(), value.into());
        self
    }

    /// A header of the answer; a value that no header can hold is left out.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: impl TryInto<HeaderValue>) -> Self {
        self.headers
            .extend(value.try_into().ok().map(|value| (name, value)));
        self
    }

    /// What the log has to know.
    #[must_use]
    pub fn caused_by(mut self, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    /// The stable code.
    pub fn code(&self) -> ErrorCode {
        self.code
    }

    #[cfg(test)]
    pub(crate) fn errors(&self) -> &[FieldError] {
        &self.errors
    }

    fn log(&self, instance: Uuid) {
        let code = tracing::field::display(self.code);
        let cause = self.cause.as_deref().map(chain);
        match self.code.status() {
            500 => tracing::error!(%instance, code, cause, "request failed"),
            503 => tracing::warn!(%instance, code, cause, "request not served"),
            _ => tracing::debug!(%instance, code, cause, "request refused"),
        }
    }
}

impl From<store::Error> for Failure {
    fn from(error: store::Error) -> Self {
        match error {
            store::Error::InvalidCursor => Self::no_cursor(),
            store::Error::Erased => Self::new(
                ErrorCode::NotFound,
                "This tenant was erased: nothing of it is read any more.",
            ),
            store::Error::NoTenant => Self::new(
                ErrorCode::Forbidden,
                "The tenant that you call for does not exist here. Ask for a token of this \
                 installation, or name another tenant.",
            ),
            error if error.is_unavailable() => {
                Self::unavailable("The database cannot be reached right now. Try again.")
                    .caused_by(error)
            }
            error => Self::internal(error),
        }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let instance = Uuid::now_v7();
        self.log(instance);
        let mut body = problem(self.code, self.detail, instance, Utc::now());
        body.errors = self.errors;
        body.meta = self.meta;
        let mut response = answer(&body);
        response.headers_mut().extend(self.headers);
        response
    }
}

fn answer(problem: &Problem) -> Response {
    let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let body = serde_json::to_vec(problem).expect("a problem holds strings and numbers only");
    let mut response = (status, [(header::CONTENT_TYPE, PROBLEM_JSON)], body).into_response();
    response.extensions_mut().insert(problem.code);
    response.extensions_mut().insert(Nameless(problem.clone()));
    response
}

/// A problem of an answer that does not say which request it is about.
#[derive(Debug, Clone)]
struct Nameless(Problem);

/// Puts the id of the request into the problem that it is answered with. A [`Failure`] can arise
/// where nobody knows the request any more, so this is done once, on the way out.
pub(crate) fn name(response: Response, request_id: &str) -> Response {
    let (mut parts, body) = response.into_parts();
    let Some(Nameless(mut problem)) = parts.extensions.remove() else {
        return Response::from_parts(parts, body);
    };
    problem.request_id = Some(request_id.to_owned());
    parts.headers.remove(header::CONTENT_LENGTH);
    let body = serde_json::to_vec(&problem).expect("a problem holds strings and numbers only");
    Response::from_parts(parts, Body::from(body))
}

/// The whole chain of causes in one line: nothing prints its source by itself.
fn chain(error: &(dyn Error + Send + Sync + 'static)) -> String {
    let mut line = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        // Writing to a `String` cannot fail.
        let _ = write!(line, ": {source}");
        next = source.source();
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::to_bytes;

    #[tokio::test]
    async fn an_internal_failure_shows_nothing_of_its_cause() {
        let response = Failure::internal("password of table users").into_response();
        assert_eq!(response.status(), 500);
        assert_eq!(response.headers()[header::CONTENT_TYPE], PROBLEM_JSON);
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        let problem: Problem = serde_json::from_slice(&body).unwrap();
        assert_eq!(problem.code, ErrorCode::Internal);
        assert!(problem.instance.starts_with("urn:uuid:"));
        assert!(!String::from_utf8_lossy(&body).contains("password"));
    }

    #[test]
    fn the_log_line_holds_the_whole_chain() {
        #[derive(Debug, thiserror::Error)]
        #[error("outer")]
        struct Outer(#[source] std::io::Error);
        let error = Outer(std::io::Error::other("inner"));
        assert_eq!(chain(&error), "outer: inner");
    }
}
