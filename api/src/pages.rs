//! Pages for people: what a browser shows of the API and of each error code.
//!
//! Swagger UI comes inside the program (from a crate that holds its release), so the pages ask no
//! other host for anything; the Content-Security-Policy sees to it that they cannot. All addresses in
//! them are relative: the same page works below each prefix and behind a proxy that adds one.

use std::{
    collections::BTreeMap,
    io::{Cursor, Read as _},
    sync::LazyLock,
};

use axum::{
    body::Bytes,
    response::{IntoResponse, Response},
};
use contracts::ErrorCode;
use http::{HeaderName, header};
use pulldown_cmark::{CowStr, Event, Options, Parser, Tag, html};
use strum::VariantArray;
use utoipa_swagger_ui_vendored::SWAGGER_UI_VENDORED;

/// What a page may load: its own files and nothing else. Swagger UI sets styles on elements.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
                      img-src 'self' data:; font-src 'self'; connect-src 'self'; base-uri 'none'; \
                      form-action 'none'; frame-ancestors 'none'";

const HTML: &str = "text/html; charset=utf-8";

/// Files of the release that the page uses.
const OF_SWAGGER_UI: [&str; 4] = [
    "swagger-ui.css",
    "swagger-ui-bundle.js",
    "favicon-32x32.png",
    "LICENSE",
];

const START: &str = r##"// The document beside this page; nothing is asked of anybody else.
window.ui = SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  docExpansion: "list",
  defaultModelsExpandDepth: 0,
  filter: true,
  validatorUrl: null,
  syntaxHighlight: { activated: true, theme: "nord" },
});
"##;

const STYLE: &str = "body { max-width: 46rem; margin: 2rem auto; padding: 0 1rem; \
                     font: 1rem/1.5 system-ui, sans-serif; color: #1b1b1b; background: #fff } \
                     code, pre { font-family: ui-monospace, monospace; font-size: .9em } \
                     pre { padding: 1rem; overflow-x: auto; background: #f3f4f6 } \
                     table { border-collapse: collapse } td, th { padding: .3rem .8rem .3rem 0; \
                     text-align: left; border-bottom: 1px solid #ddd } \
                     @media (prefers-color-scheme: dark) { body { color: #eee; background: #16181c } \
                     pre { background: #24272d } a { color: #8ab4f8 } td, th { border-color: #444 } }";

/// A file that the pages load.
#[derive(Debug, Clone)]
struct File {
    media_type: &'static str,
    content: Bytes,
}

static FILES: LazyLock<BTreeMap<&'static str, File>> = LazyLock::new(|| {
    let mut archive = zip::ZipArchive::new(Cursor::new(SWAGGER_UI_VENDORED))
        .expect("the crate holds the release as a zip");
    let names: Vec<String> = archive
        .file_names()
        .map(|name| name.expect("names are text").into_owned())
        .collect();
    let mut files = BTreeMap::new();
    for name in OF_SWAGGER_UI {
        // In the folder that is named after the release.
        let place = match name {
            "LICENSE" => "/LICENSE".to_owned(),
            name => format!("/dist/{name}"),
        };
        let found = names.iter().find(|path| {
            path.strip_suffix(&place)
                .is_some_and(|folder| !folder.contains('/'))
        });
        let mut content = Vec::new();
        archive
            .by_name(found.expect("the release has the file"))
            .and_then(|mut file| Ok(file.read_to_end(&mut content)?))
            .expect("the release can be unpacked");
        files.insert(name, file(name, content));
    }
    files.insert("start.js", file("start.js", START));
    files.insert("page.css", file("page.css", STYLE));
    files
});

fn file(name: &str, content: impl Into<Bytes>) -> File {
    let media_type = match name.rsplit_once('.').map(|(_, ending)| ending) {
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("png") => "image/png",
        _ => "text/plain; charset=utf-8",
    };
    File {
        media_type,
        content: content.into(),
    }
}

fn served(media_type: &'static str, content: impl Into<axum::body::Body>) -> Response {
    let headers: [(HeaderName, &str); 5] = [
        (header::CONTENT_TYPE, media_type),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "public, max-age=3600"),
    ];
    (headers, content.into()).into_response()
}

/// A page; `root` is where the prefix is, seen from it.
fn page(title: &str, root: &str, body: &str) -> Response {
    let html = format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title} · Real Dispatch</title>\n\
         <link rel=\"icon\" href=\"{root}docs/favicon-32x32.png\">\n\
         <link rel=\"stylesheet\" href=\"{root}docs/page.css\">\n\
         <nav><a href=\"{root}docs\">Operations</a> · <a href=\"{root}problems\">Error codes</a>\
         </nav>\n{body}"
    );
    served(HTML, html)
}

/// The page of all operations: Swagger UI over the document beside it.
pub(crate) fn operations() -> Response {
    const PAGE: &str = r#"<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Operations · Real Dispatch</title>
<link rel="icon" href="docs/favicon-32x32.png">
<link rel="stylesheet" href="docs/swagger-ui.css">
<div id="swagger-ui"></div>
<noscript>This page needs JavaScript; the document itself is <a href="openapi.json">here</a>.</noscript>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
"#;
    served(HTML, PAGE)
}

/// A file of the pages.
pub(crate) fn file_of_pages(name: &str) -> Option<Response> {
    let File {
        media_type,
        content,
    } = FILES.get(name)?.clone();
    Some(served(media_type, content))
}

/// The page of one error code.
pub(crate) fn problem(code: ErrorCode) -> Response {
    // Pages link to each other by the names of their files.
    let to_pages = |event| match event {
        Event::Start(Tag::Link {
            link_type,
            dest_url,
            title,
            id,
        }) => Event::Start(Tag::Link {
            link_type,
            dest_url: match dest_url.strip_suffix(".md") {
                Some(page) => CowStr::from(page.to_owned()),
                None => dest_url,
            },
            title,
            id,
        }),
        event => event,
    };
    let mut body = String::new();
    let events = Parser::new_ext(code.page(), Options::ENABLE_TABLES).map(to_pages);
    html::push_html(&mut body, events);
    page(&code.to_string(), "../", &body)
}

/// The list of all error codes.
pub(crate) fn problems() -> Response {
    let row = |code: &ErrorCode| {
        let (status, title) = (code.status(), code.title());
        format!(
            "<tr><td><a href=\"problems/{code}\"><code>{code}</code></a><td>{status}<td>{title}\n"
        )
    };
    let rows: String = ErrorCode::VARIANTS.iter().map(row).collect();
    let body = format!(
        "<h1>Error codes</h1>\n<p>Every answer that is not a success is a problem (RFC 9457) with \
         one of these codes; its <code>type</code> is the address of the page.</p>\n\
         <table>\n<tr><th>code<th>status<th>meaning\n{rows}</table>\n"
    );
    page("Error codes", "", &body)
}

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;

    use super::*;

    async fn text(response: Response) -> String {
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        String::from_utf8(body.to_vec()).unwrap()
    }

    /// What a page makes a browser load.
    fn loads(page: &str) -> Vec<&str> {
        let attributes = ["src=\"", "href=\""];
        let parts = attributes.iter().flat_map(|name| page.split(name).skip(1));
        parts.map(|rest| rest.split('"').next().unwrap()).collect()
    }

    #[tokio::test]
    async fn a_page_refers_to_nothing_outside_and_to_nothing_that_is_not_there() {
        for (page, root) in [
            (operations(), ""),
            (problems(), ""),
            (problem(ErrorCode::VersionConflict), "../"),
        ] {
            assert!(page.headers()[header::CONTENT_SECURITY_POLICY] == POLICY);
            let page = text(page).await;
            let loads = loads(&page);
            assert!(loads.len() >= 3, "{page}");
            for target in loads {
                assert!(
                    !target.contains(':') && !target.starts_with('/'),
                    "{target}"
                );
                let file = target
                    .strip_prefix(root)
                    .and_then(|below| below.strip_prefix("docs/"));
                if let Some(name) = file {
                    assert!(file_of_pages(name).is_some(), "{target}");
                }
            }
        }
    }

    #[tokio::test]
    async fn every_code_has_its_page() {
        for code in ErrorCode::VARIANTS {
            let page = text(problem(*code)).await;
            let heading = format!("<h1>{code} · {} · {}</h1>", code.status(), code.title());
            assert!(page.contains(&heading), "{code}");
            assert!(page.contains("<h2>What to do</h2>"), "{code}");
            assert!(!page.contains(".md\""), "{code}");
        }
    }

    #[test]
    fn the_files_are_those_of_the_release() {
        for name in OF_SWAGGER_UI {
            let file = &FILES[name];
            assert!(!file.content.is_empty(), "{name}");
        }
        let css = String::from_utf8_lossy(&FILES["swagger-ui.css"].content);
        assert!(css.contains(".swagger-ui"));
        for outside in ["url(http", "url(//", "@import"] {
            assert!(!css.contains(outside), "{outside}");
        }
        assert!(file_of_pages("../Cargo.toml").is_none());
    }
}
