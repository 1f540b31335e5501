//! Tries webhook addresses and endpoints out, as delivery would find them.

use anyhow::Context;
use async_trait::async_trait;
use time::OffsetDateTime;

use crate::adapters::webhook::HttpSender;
use crate::config::Settings;
use crate::domain::webhook::Endpoint;
use crate::jobs::deliver;
use crate::ports::webhook::{Error, Posted, Sender, Trial, Unsigned};

/// Asks by the client that webhooks go through.
pub struct WebhookTrial {
    sender: HttpSender,
}

impl WebhookTrial {
    /// With a client of its own.
    ///
    /// # Errors
    /// When the client cannot be made.
    pub fn new(settings: &Settings) -> anyhow::Result<Self> {
        let sender = HttpSender::new(&settings.webhooks).context("setting up the client of webhooks")?;
        Ok(Self { sender })
    }
}

#[async_trait]
impl Trial for WebhookTrial {
    async fn check(&self, url: &str) -> Result<String, Error> {
        self.sender.check(url).await
    }

    async fn test(&self, endpoint: &Endpoint) -> Result<Posted, Unsigned> {
        let probe = deliver::probe(endpoint, OffsetDateTime::now_utc());
        let request = probe.map_err(|error| Unsigned(error.to_string()))?;
        Ok(self.sender.post(request).await)
    }
}
