//! Asks a server for its version over gRPC. One unary call with an empty request
//! is a plain HTTP/2 POST, so this needs no gRPC library.

use std::time::Duration;

use super::Version;

const METHOD: &str = "temporal.api.workflowservice.v1.WorkflowService/GetSystemInfo";
/// An uncompressed message of length 0.
const EMPTY_MESSAGE: &[u8] = &[0; 5];

pub(super) async fn server_version(address: &str) -> Result<Version, String> {
    // reqwest takes the process's TLS provider; an installed one stays.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let call = async {
        reqwest::Client::builder()
            .http2_prior_knowledge()
            .no_proxy()
            .timeout(Duration::from_secs(2))
            .build()?
            .post(format!("http://{address}/{METHOD}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(EMPTY_MESSAGE)
            .send()
            .await?
            .bytes()
            .await
    };
    let body = call
        .await
        .map_err(|error: reqwest::Error| error.to_string())?;
    version_of(&body).ok_or_else(|| "it is no Temporal frontend, or not serving yet".to_owned())
}

/// Reads field 1, a string, of a `GetSystemInfoResponse` behind its five bytes of
/// framing. It is the first field on the wire and shorter than 128 bytes.
fn version_of(body: &[u8]) -> Option<Version> {
    const FIELD_1_STRING: u8 = 0x0a;
    let [FIELD_1_STRING, length, rest @ ..] = body.get(5..)? else {
        return None;
    };
    let text = rest.get(..usize::from(*length))?;
    Version::parse(std::str::from_utf8(text).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_response_is_read() {
        let mut body = vec![0, 0, 0, 0, 12, 0x0a, 6];
        body.extend(b"1.32.0");
        body.extend([0x12, 0]);
        assert_eq!(version_of(&body), Some(Version::TIME_SKIPPING));
        assert_eq!(version_of(&body[..9]), None);
        assert_eq!(version_of(b""), None);
        assert_eq!(version_of(b"<html>nothing"), None);
    }
}
