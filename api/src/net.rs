//! Accepting connections within bounds.
//!
//! `axum::serve` has no time limit for a request's head, so a client that sends one byte a minute
//! would hold a connection for ever, and so would one that never reads its answer. This loop is
//! hyper's, with limits for both, a bound on connections and a graceful end. It speaks HTTP/1 only: telling HTTP/2 apart would mean waiting for a first
//! byte without a limit.

use std::{io, sync::Arc, time::Duration};

use axum::Router;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto, graceful::GracefulShutdown},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;

use crate::config::Limits;

/// How long to leave the listener alone when the process is out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until `shutdown`, then lets the requests that have begun finish within the grace time.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    limits: Limits,
    shutdown: CancellationToken,
) {
    let mut builder = auto::Builder::new(TokioExecutor::new()).http1_only();
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_timeout)
        .max_buf_size(limits.head_bytes.max(8 * 1024))
        .max_headers(limits.headers);
    let room = Arc::new(Semaphore::new(limits.connections));
    let connections = GracefulShutdown::new();
    while let Some(accepted) = shutdown.run_until_cancelled(accept(&listener, &room)).await {
        let (stream, permit) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let service = TowerToHyperService::new(router.clone());
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(limits.write_timeout));
        let connection = builder
            .serve_connection(TokioIo::new(Box::pin(stream)), service)
            .into_owned();
        let connection = connections.watch(connection);
        tokio::spawn(async move {
            // A client that goes away or sends no HTTP is its own problem.
            if let Err(error) = connection.await {
                tracing::debug!(%error, "connection ended early");
            }
            drop(permit);
        });
    }
    drop(listener);
    if tokio::time::timeout(limits.grace, connections.shutdown())
        .await
        .is_err()
    {
        tracing::warn!("connections were still busy at the end of the grace time");
    }
}

async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
) -> io::Result<(TcpStream, OwnedSemaphorePermit)> {
    let permit = Arc::clone(room)
        .acquire_owned()
        .await
        .map_err(io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    stream.set_nodelay(true)?;
    Ok((stream, permit))
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use axum::{body::Body, routing::get};
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        sync::Notify,
        task::JoinHandle,
    };

    const PATIENCE: Duration = Duration::from_secs(10);

    /// A server with a request that is held up until the test lets it go.
    struct Held {
        address: SocketAddr,
        shutdown: CancellationToken,
        task: JoinHandle<()>,
        begun: Arc<Notify>,
        let_go: Arc<Notify>,
    }

    struct TellWhenDropped(Arc<Notify>);

    impl Drop for TellWhenDropped {
        fn drop(&mut self) {
            self.0.notify_one();
        }
    }

    async fn start(limits: Limits) -> Held {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (begun, let_go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (tell, wait) = (Arc::clone(&begun), Arc::clone(&let_go));
        let held = async move || {
            tell.notify_one();
            wait.notified().await;
            "done"
        };
        let ended = Arc::clone(&let_go);
        let endless = async move || {
            let guard = TellWhenDropped(ended);
            Body::from_stream(futures::stream::repeat_with(move || {
                let _ = &guard;
                Ok::<_, io::Error>(vec![0_u8; 64 * 1024])
            }))
        };
        let router = Router::new()
            .route("/now", get(async || "now"))
            .route("/held", get(held))
            .route("/endless", get(endless));
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(serve(listener, router, limits, shutdown.clone()));
        Held {
            address,
            shutdown,
            task,
            begun,
            let_go,
        }
    }

    async fn rest(stream: &mut TcpStream) -> String {
        let mut text = String::new();
        tokio::time::timeout(PATIENCE, stream.read_to_string(&mut text))
            .await
            .expect("the server closes the connection")
            .unwrap();
        text
    }

    #[tokio::test]
    async fn a_head_that_does_not_come_ends_the_connection() {
        let limits = Limits {
            head_timeout: Duration::from_millis(50),
            ..Limits::default()
        };
        let server = start(limits).await;
        for beginning in ["", "GET /now HTTP/1.1\r\nx-slow: "] {
            let mut stream = TcpStream::connect(server.address).await.unwrap();
            stream.write_all(beginning.as_bytes()).await.unwrap();
            assert!(!rest(&mut stream).await.contains("200 OK"));
        }
        server.shutdown.cancel();
        server.task.await.unwrap();
    }

    #[tokio::test]
    async fn an_answer_that_nobody_reads_ends_the_connection() {
        let limits = Limits {
            write_timeout: Duration::from_millis(50),
            ..Limits::default()
        };
        let server = start(limits).await;
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let request = b"GET /endless HTTP/1.1\r\nhost: x\r\n\r\n";
        stream.write_all(request).await.unwrap();
        // The handler's stream is dropped when the server gives up; nothing is read here.
        tokio::time::timeout(PATIENCE, server.let_go.notified())
            .await
            .expect("the server gives up");
        server.shutdown.cancel();
        server.task.await.unwrap();
    }

    #[tokio::test]
    async fn too_many_or_too_long_headers_are_refused() {
        let limits = Limits {
            headers: 4,
            ..Limits::default()
        };
        let server = start(limits).await;
        for head in [
            "a: 1\r\n".repeat(5),
            format!("a: {}\r\n", "x".repeat(32 * 1024)),
        ] {
            let mut stream = TcpStream::connect(server.address).await.unwrap();
            let request = format!("GET /now HTTP/1.1\r\n{head}\r\n");
            // The server may close before all of it is written.
            let _ = stream.write_all(request.as_bytes()).await;
            let mut status = [0; 12];
            tokio::time::timeout(PATIENCE, stream.read_exact(&mut status))
                .await
                .unwrap()
                .unwrap();
            assert_eq!(&status, b"HTTP/1.1 431");
        }
        server.shutdown.cancel();
        server.task.await.unwrap();
    }

    /// What `docs/api.md` lists under "Answers without a problem": hyper's own, and no others.
    #[tokio::test]
    async fn what_is_no_request_is_answered_with_a_status_alone() {
        let limits = Limits {
            head_timeout: Duration::from_millis(200),
            ..Limits::default()
        };
        let server = start(limits).await;
        let headers = |n: usize| "a: 1\r\n".repeat(n);
        let cases = [
            ("G@T /now HTTP/1.1\r\n\r\n".to_owned(), Some(400)),
            ("GET /now HTTP/3.1\r\n\r\n".to_owned(), Some(400)),
            ("GET /n\x01w HTTP/1.1\r\n\r\n".to_owned(), Some(400)),
            (
                "GET /now HTTP/1.1\r\nno colon\r\n\r\n".to_owned(),
                Some(400),
            ),
            (
                "GET /now HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n".to_owned(),
                Some(400),
            ),
            ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(), None),
            (
                "\x16\x03\x01\x02\0\x01\0\x01\x7c\x03\x03".to_owned(),
                Some(400),
            ),
            (
                format!("GET /now HTTP/1.1\r\n{}\r\n", headers(65)),
                Some(431),
            ),
            (
                format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(70_000)),
                Some(431),
            ),
            ("GET /now HTTP/1.1\r\na: 1\r\n".to_owned(), None),
            // A request: it is the router's to answer.
            (
                format!(
                    "GET /now HTTP/1.1\r\nconnection: close\r\n{}\r\n",
                    headers(63)
                ),
                Some(200),
            ),
            (
                "GET /none HTTP/1.1\r\nconnection: close\r\n\r\n".to_owned(),
                Some(404),
            ),
            (
                "MADE-UP /now HTTP/1.1\r\nconnection: close\r\n\r\n".to_owned(),
                Some(405),
            ),
        ];
        for (request, status) in cases {
            let shown: String = request.chars().take(60).collect();
            let mut stream = TcpStream::connect(server.address).await.unwrap();
            // The server may close before all of it is written, and before all is read.
            let _ = stream.write_all(request.as_bytes()).await;
            let mut answer = Vec::new();
            let read = stream.read_to_end(&mut answer);
            let _ = tokio::time::timeout(PATIENCE, read)
                .await
                .expect("it closes");
            let answer = String::from_utf8(answer).unwrap();
            let told = answer.split(' ').nth(1).and_then(|code| code.parse().ok());
            assert_eq!(told, status, "{shown:?}: {answer}");
            if matches!(status, Some(400 | 431)) {
                let (head, body) = answer.split_once("\r\n\r\n").unwrap();
                assert_eq!(body, "", "{shown:?}: {answer}");
                assert!(head.contains("connection: close"), "{shown:?}: {answer}");
                assert!(!head.contains("x-correlation-id"), "{shown:?}: {answer}");
            }
        }
        server.shutdown.cancel();
        server.task.await.unwrap();
    }

    #[tokio::test]
    async fn what_began_is_finished_and_nothing_new_begins() {
        let server = start(Limits::default()).await;
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let request = b"GET /held HTTP/1.1\r\nhost: x\r\n\r\n";
        stream.write_all(request).await.unwrap();
        server.begun.notified().await;
        server.shutdown.cancel();
        server.let_go.notify_one();
        assert!(rest(&mut stream).await.ends_with("done"));
        server.task.await.unwrap();
        assert!(TcpStream::connect(server.address).await.is_err());
    }

    #[tokio::test]
    async fn a_request_that_does_not_end_does_not_hold_up_the_end() {
        let limits = Limits {
            grace: Duration::from_millis(50),
            ..Limits::default()
        };
        let server = start(limits).await;
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let request = b"GET /held HTTP/1.1\r\nhost: x\r\n\r\n";
        stream.write_all(request).await.unwrap();
        server.begun.notified().await;
        server.shutdown.cancel();
        tokio::time::timeout(PATIENCE, server.task)
            .await
            .unwrap()
            .unwrap();
    }
}
