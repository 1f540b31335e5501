//! The contract on a Qdrant server that is really one, when `QDRANT_URL` names it. Promises that the server's version
//! cannot keep, as rankings that know one company alone before 1.19, fail there.

use std::sync::{Arc, Once};
use std::time::Duration;

use qdrant_client::Qdrant;
use turnpike::adapters::index::qdrant::{QdrantIndex, Settings};
use turnpike::config::Secret;
use turnpike::ports::index::{Encoder, KnowledgeIndex};

use crate::index::hybrid;
use crate::support::say;

/// A collection of one test, gone when it ends.
struct Own(Settings);

impl Own {
    async fn new() -> Option<Self> {
        static SAID: Once = Once::new();
        let Ok(url) = std::env::var("QDRANT_URL") else {
            SAID.call_once(|| say("SKIPPED index::qdrant::server: QDRANT_URL names no server"));
            return None;
        };
        let own = Self(Settings {
            api_key: std::env::var("QDRANT_API_KEY").ok().map(Secret::new),
            collection: format!("turnpike-test-{}", uuid::Uuid::now_v7().simple()),
            timeout: Duration::from_secs(30),
            ..Settings::new(url)
        });
        own.index(hybrid()).migrate(None).await.unwrap();
        Some(own)
    }

    fn index(&self, encoder: Encoder) -> QdrantIndex {
        QdrantIndex::open(&self.0, encoder).unwrap()
    }

    fn open(&self, encoder: Encoder) -> Arc<dyn KnowledgeIndex> {
        Arc::new(self.index(encoder))
    }

    async fn delete(settings: Settings, address: String) {
        let key = settings.api_key.as_ref().map(|key| key.reveal().to_owned());
        let client = Qdrant::from_url(&address).api_key(key).skip_compatibility_check().build().unwrap();
        client.delete_collection(settings.collection).await.unwrap();
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        // On a thread with a runtime of its own: the test's one may be going down.
        let (settings, index) = (self.0.clone(), self.index(hybrid()));
        let delete = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let address = index.describe().await.unwrap().address;
                Self::delete(settings, address).await;
            });
        };
        std::thread::spawn(delete).join().unwrap();
    }
}

index_contract!(
    contract,
    match Own::new().await {
        Some(own) => own,
        None => return,
    }
);
