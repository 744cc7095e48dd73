//! The least HTTP/1.1 client that can drive dispatch-api: one keep-alive connection, one request at
//! a time, no parsing of what is not needed. It shares two cores with what it measures, so every
//! cycle that it saves is one that does not distort the figure.

use std::net::SocketAddr;

use anyhow::{Context, Result, bail};
use contracts::{Operation, TicketId};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use uuid::Uuid;

/// A connection to dispatch-api.
#[derive(Debug)]
pub struct Http {
    stream: TcpStream,
    request: Vec<u8>,
    response: Vec<u8>,
}

impl Http {
    /// Connects.
    pub async fn connect(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            request: Vec::with_capacity(4096),
            response: Vec::with_capacity(16 * 1024),
        })
    }

    /// Sends a command with a new key; it must be accepted. Answers the body.
    pub async fn command(
        &mut self,
        token: &str,
        operation: Operation,
        ticket: Option<TicketId>,
        body: &str,
    ) -> Result<&[u8]> {
        let (status, body) = self
            .send(token, operation, ticket, Uuid::now_v7(), body)
            .await?;
        if !(200..300).contains(&status) {
            bail!("{operation}: {status} {}", String::from_utf8_lossy(body));
        }
        Ok(body)
    }

    /// Sends a command with this key. Answers status and body, whatever they are.
    pub async fn send(
        &mut self,
        token: &str,
        operation: Operation,
        ticket: Option<TicketId>,
        key: Uuid,
        body: &str,
    ) -> Result<(u16, &[u8])> {
        let path = match ticket {
            Some(ticket) => operation.path().replace("{id}", &ticket.to_string()),
            None => operation.path().to_owned(),
        };
        self.request.clear();
        self.request.extend_from_slice(
            format!(
                "POST /api/v1{path} HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {token}\r\n\
                 idempotency-key: {key}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
                body.len(),
            )
            .as_bytes(),
        );
        self.request.extend_from_slice(body.as_bytes());
        self.stream.write_all(&self.request).await?;
        let (status, start) = self.read().await?;
        Ok((status, &self.response[start..]))
    }

    /// Reads something; it must be there. Answers the body.
    pub async fn get(&mut self, token: &str, path: &str) -> Result<&[u8]> {
        self.request.clear();
        self.request.extend_from_slice(
            format!(
                "GET /api/v1{path} HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {token}\r\n\r\n"
            )
            .as_bytes(),
        );
        self.stream.write_all(&self.request).await?;
        let (status, start) = self.read().await?;
        let body = &self.response[start..];
        if status != 200 {
            bail!("GET {path}: {status} {}", String::from_utf8_lossy(body));
        }
        Ok(body)
    }

    /// Sends a document to any server; it must be accepted. Answers the body.
    pub async fn post(&mut self, path: &str, body: &str) -> Result<&[u8]> {
        self.request.clear();
        self.request.extend_from_slice(
            format!(
                "POST {path} HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\n\
                 content-length: {}\r\n\r\n",
                body.len(),
            )
            .as_bytes(),
        );
        self.request.extend_from_slice(body.as_bytes());
        self.stream.write_all(&self.request).await?;
        let (status, start) = self.read().await?;
        let body = &self.response[start..];
        if status != 200 {
            bail!("POST {path}: {status} {}", String::from_utf8_lossy(body));
        }
        Ok(body)
    }

    /// Reads one whole answer: its status, and where its body starts.
    async fn read(&mut self) -> Result<(u16, usize)> {
        self.response.clear();
        loop {
            if self.stream.read_buf(&mut self.response).await? == 0 {
                bail!("the server closed the connection");
            }
            let Some(end) = find(&self.response, b"\r\n\r\n") else {
                continue;
            };
            let head = std::str::from_utf8(&self.response[..end])?.to_ascii_lowercase();
            let status = head.split(' ').nth(1).context("a status line")?.parse()?;
            let length: usize = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length:"))
                .context("an answer that says how long it is")?
                .trim()
                .parse()?;
            let start = end + 4;
            while self.response.len() < start + length {
                if self.stream.read_buf(&mut self.response).await? == 0 {
                    bail!("the server closed the connection in an answer");
                }
            }
            return Ok((status, start));
        }
    }
}

/// The ticket that a receipt is about, without reading all of it.
pub fn ticket_of(receipt: &[u8]) -> Result<TicketId> {
    let start = find(receipt, b"\"tkt_").context("a receipt names its ticket")? + 1;
    let id = receipt.get(start..start + 36).context("a whole id")?;
    Ok(serde_json::from_value(Value::from(std::str::from_utf8(
        id,
    )?))?)
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|w| w == needle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receipt_names_its_ticket() {
        let id = TicketId::from_uuid(Uuid::from_u128(7));
        let receipt = format!(r#"{{"command_id":"cmd_0","ticket":{{"id":"{id}","state":"NEW"}}}}"#);
        assert_eq!(ticket_of(receipt.as_bytes()).unwrap(), id);
        assert!(ticket_of(b"{}").is_err());
    }
}
