//! `GET /api/v1/docs`, `/docs/{id}`, `/problems`, `/problems/{id}`: pages for people.

use axum::extract::{Path, rejection::PathRejection};
use contracts::ErrorCode;

use super::{Endpoint, Failure, Response, get};
use crate::pages;

async fn operations() -> Response {
    pages::operations()
}

/// What the path names, as far as it is text.
type Named = Result<Path<String>, PathRejection>;

async fn file(name: Named) -> Result<Response, Failure> {
    let file = name.ok().and_then(|Path(name)| pages::file_of_pages(&name));
    file.ok_or_else(|| Failure::no_such("file"))
}

async fn problems() -> Response {
    pages::problems()
}

async fn problem(code: Named) -> Result<Response, Failure> {
    let code: Option<ErrorCode> = code.ok().and_then(|Path(code)| code.parse().ok());
    code.map(pages::problem)
        .ok_or_else(|| Failure::no_such("error code"))
}

pub(super) fn endpoints() -> [Endpoint; 4] {
    let page = |id, path, route| {
        Endpoint::read::<String>(id, path, route)
            .media_type("text/html")
            .only_problems(&[])
    };
    let none = &[ErrorCode::NotFound];
    [
        page("get_docs", "/docs", get(operations))
            .summary("This API in a browser")
            .description("Asks no other host for anything."),
        page("get_docs_file", "/docs/{id}", get(file))
            .media_type("*/*")
            .summary("A file that the page loads")
            .of::<String>("Its name.")
            .only_problems(none),
        page("list_problems", "/problems", get(problems)).summary("All error codes"),
        page("get_problem", "/problems/{id}", get(problem))
            .summary("What an error code means and what to do")
            .description("The `type` of a problem is the address of its code's page.")
            .of::<ErrorCode>("The code.")
            .only_problems(none),
    ]
}
