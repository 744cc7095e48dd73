//! The little HTTP that this crate serves: one bounded request per connection, then it closes.
//!
//! Two pages for machines and the receiver of `dispatch dev` need no more, and a server that knows
//! no keep-alive, no chunks and no upgrades has nothing else that can be got wrong. What is served to
//! callers is dispatch-api's, on a real one.

use std::{io, sync::Arc, time::Duration};

use reqwest::{
    Method, StatusCode,
    header::{CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue, TRANSFER_ENCODING},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

const HEAD_LIMIT: usize = 16 << 10;
const BODY_LIMIT: usize = 256 << 10;
/// For one connection, from its first byte to its last.
const BOUND: Duration = Duration::from_secs(10);
const CONNECTIONS: usize = 64;
/// After a connection could not be accepted, mostly for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// What was asked.
#[derive(Debug, PartialEq, Eq)]
pub struct Request {
    /// `GET`, `POST` …
    pub method: Method,
    /// Without the query.
    pub path: String,
    /// As they came.
    pub headers: HeaderMap,
    /// At most [`BODY_LIMIT`].
    pub body: Vec<u8>,
}

/// What is answered.
#[derive(Debug)]
pub struct Response {
    /// The status.
    pub status: StatusCode,
    /// `Content-Type`.
    pub kind: &'static str,
    /// The body.
    pub body: String,
}

impl Response {
    /// A status that says it all.
    pub fn empty(status: StatusCode) -> Self {
        Self {
            status,
            kind: "text/plain",
            body: String::new(),
        }
    }
}

/// Answers until `stop`.
pub async fn serve<F, Fut>(listener: TcpListener, answer: F, stop: CancellationToken)
where
    F: Fn(Request) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Response> + Send,
{
    let (answer, room) = (Arc::new(answer), Arc::new(Semaphore::new(CONNECTIONS)));
    loop {
        let accepted = async {
            // Never closed.
            let place = Arc::clone(&room).acquire_owned().await.ok();
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            accepted = accepted => accepted,
            () = stop.cancelled() => return,
        };
        let Ok((stream, _)) = accepted else {
            sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let answer = Arc::clone(&answer);
        tokio::spawn(async move {
            // Who asks too slowly, or goes away, gets no answer.
            let _ = timeout(BOUND, converse(stream, &*answer)).await;
            drop(place);
        });
    }
}

async fn converse<F, Fut>(mut stream: TcpStream, answer: &F) -> io::Result<()>
where
    F: Fn(Request) -> Fut,
    Fut: Future<Output = Response>,
{
    let response = match read(&mut stream).await? {
        Ok(request) => answer(request).await,
        Err(status) => Response::empty(status),
    };
    let head = format!(
        "HTTP/1.1 {}\r\nContent-Type: {}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        response.status,
        response.kind,
        response.body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(response.body.as_bytes()).await?;
    stream.shutdown().await
}

/// A request, or the status that refuses it.
async fn read(stream: &mut TcpStream) -> io::Result<Result<Request, StatusCode>> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
        if bytes.len() > HEAD_LIMIT {
            return Ok(Err(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE));
        }
        if stream.read_buf(&mut bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    };
    let mut body = bytes.split_off(end + 4);
    bytes.truncate(end);
    let (method, path, headers) = match head(&bytes) {
        Some(head) => head,
        None => return Ok(Err(StatusCode::BAD_REQUEST)),
    };
    let length = match length(&headers) {
        Ok(length) => length,
        Err(status) => return Ok(Err(status)),
    };
    while body.len() < length {
        if stream.read_buf(&mut body).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    body.truncate(length);
    Ok(Ok(Request {
        method,
        path,
        headers,
        body,
    }))
}

fn head(bytes: &[u8]) -> Option<(Method, String, HeaderMap)> {
    let mut lines = std::str::from_utf8(bytes).ok()?.split("\r\n");
    let mut first = lines.next()?.split(' ');
    let method = first.next()?.parse().ok()?;
    let target = first.next()?;
    if !first.next()?.starts_with("HTTP/1.") {
        return None;
    }
    let mut headers = HeaderMap::new();
    for line in lines {
        let (name, value) = line.split_once(':')?;
        headers.append(
            HeaderName::from_bytes(name.as_bytes()).ok()?,
            HeaderValue::from_str(value.trim()).ok()?,
        );
    }
    let path = target.split('?').next().unwrap_or(target).to_owned();
    Some((method, path, headers))
}

/// How long the body is; other ways to say it are not understood.
fn length(headers: &HeaderMap) -> Result<usize, StatusCode> {
    if headers.contains_key(TRANSFER_ENCODING) {
        return Err(StatusCode::LENGTH_REQUIRED);
    }
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let length = match (lengths.next(), lengths.next()) {
        (None, _) => 0,
        (Some(_), Some(_)) => return Err(StatusCode::BAD_REQUEST),
        (Some(value), None) => value
            .to_str()
            .ok()
            .and_then(|text| text.parse().ok())
            .ok_or(StatusCode::BAD_REQUEST)?,
    };
    if length > BODY_LIMIT {
        return Err(StatusCode::PAYLOAD_TOO_LARGE);
    }
    Ok(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn ask(text: &str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let guard = stop.clone().drop_guard();
        let server = tokio::spawn(serve(
            listener,
            async |request: Request| Response {
                status: StatusCode::OK,
                kind: "text/plain",
                body: format!("{} {} {}", request.method, request.path, request.body.len()),
            },
            stop,
        ));
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).await.unwrap();
        drop(guard);
        server.await.unwrap();
        reply
    }

    #[tokio::test]
    async fn a_request_is_read_whole_and_answered() {
        let reply = ask("POST /a?b=c HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello").await;
        assert!(reply.starts_with("HTTP/1.1 200 OK\r\n"), "{reply}");
        assert!(reply.ends_with("\r\n\r\nPOST /a 5"), "{reply}");
    }

    #[tokio::test]
    async fn what_is_not_understood_is_refused() {
        for (request, status) in [
            ("nonsense\r\n\r\n", "400"),
            (
                "GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
                "400",
            ),
            (
                "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
                "411",
            ),
            (
                "POST / HTTP/1.1\r\nContent-Length: 999999999\r\n\r\n",
                "413",
            ),
        ] {
            let reply = ask(request).await;
            assert!(
                reply.starts_with(&format!("HTTP/1.1 {status} ")),
                "{request}: {reply}"
            );
        }
    }
}
