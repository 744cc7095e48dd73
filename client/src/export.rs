//! Answers that are too long to be read whole.

use crate::{Client, ClientError};

/// An export under way.
#[derive(Debug)]
pub struct Export {
    url: String,
    response: reqwest::Response,
}

impl Export {
    pub(crate) fn new(client: &Client, path: &str, response: reqwest::Response) -> Self {
        Self {
            url: format!("{}{path}", client.base_url()),
            response,
        }
    }

    /// The next part; `None` at the end.
    pub async fn part(&mut self) -> Result<Option<Vec<u8>>, ClientError> {
        let part = self.response.chunk().await;
        let part = part.map_err(|source| ClientError::Transport {
            url: self.url.clone(),
            source,
        })?;
        Ok(part.map(|part| part.to_vec()))
    }
}
