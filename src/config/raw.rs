//! Settings as they are written. The default file fills every field that has a default, so none is repeated here.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;

use super::Secret;

#[derive(Deserialize)]
pub(super) struct Raw {
    pub(super) server: Server,
    pub(super) auth: Auth,
    pub(super) storage: Storage,
    pub(super) bus: Bus,
    pub(super) store: Store,
    pub(super) index: Index,
    pub(super) spool: Spool,
    pub(super) turn: Turn,
    pub(super) sessions: Sessions,
    pub(super) limits: Limits,
    pub(super) embedder: Embedder,
    pub(super) knowledge: Knowledge,
    pub(super) pipelines: Pipelines,
    pub(super) models: Models,
    #[serde(default)]
    pub(super) providers: BTreeMap<String, Provider>,
    pub(super) webhooks: Webhooks,
    pub(super) jobs: Jobs,
    pub(super) telemetry: Telemetry,
}

#[derive(Deserialize)]
pub(super) struct Server {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) header_timeout_s: f64,
    pub(super) body_timeout_s: f64,
    pub(super) write_timeout_s: f64,
    pub(super) shutdown_grace_s: f64,
    pub(super) max_connections: usize,
    pub(super) advertise_url: Option<String>,
    pub(super) cors_origins: Vec<String>,
    pub(super) cors_credentials: bool,
}

#[derive(Deserialize)]
pub(super) struct Auth {
    pub(super) mode: String,
    pub(super) admin_token: Option<Secret>,
}

#[derive(Deserialize)]
pub(super) struct Storage {
    pub(super) data_dir: PathBuf,
}

#[derive(Deserialize)]
pub(super) struct Bus {
    pub(super) backend: String,
    pub(super) url: Option<Secret>,
    pub(super) namespace: String,
    pub(super) redeliver_after_s: f64,
    pub(super) keep_dead_s: f64,
}

#[derive(Deserialize)]
pub(super) struct Store {
    pub(super) backend: String,
    pub(super) uri: Option<Secret>,
    pub(super) database: String,
    pub(super) min_pool_size: u32,
    pub(super) max_pool_size: u32,
    pub(super) timeout_s: f64,
}

#[derive(Deserialize)]
pub(super) struct Index {
    pub(super) backend: String,
    pub(super) url: Option<String>,
    pub(super) api_key: Option<Secret>,
    pub(super) collection: String,
    pub(super) timeout_s: f64,
    pub(super) open_shards: usize,
}

#[derive(Deserialize)]
pub(super) struct Spool {
    pub(super) max_bytes: u64,
    pub(super) segment_bytes: u64,
    pub(super) resend_after_s: f64,
}

#[derive(Deserialize)]
pub(super) struct Turn {
    pub(super) heartbeat_s: f64,
    pub(super) disconnect_grace_s: f64,
    pub(super) retain_s: f64,
    pub(super) answer_chars: usize,
    pub(super) history_turns: usize,
    pub(super) history_wait_ms: u64,
}

#[derive(Deserialize)]
pub(super) struct Sessions {
    pub(super) idle_s: f64,
}

#[derive(Deserialize)]
pub(super) struct Limits {
    pub(super) message_chars: usize,
    pub(super) body_bytes: usize,
    pub(super) upload_bytes: usize,
    pub(super) context_bytes: usize,
    pub(super) streams: usize,
    pub(super) streams_per_company: usize,
    pub(super) requests_per_minute: u32,
    pub(super) publishable_requests_per_minute: u32,
    pub(super) document_bytes: usize,
}

#[derive(Deserialize)]
pub(super) struct Embedder {
    pub(super) enabled: bool,
    pub(super) model_dir: Option<PathBuf>,
    pub(super) hub_model: Option<String>,
    pub(super) ort_library: Option<PathBuf>,
    pub(super) models_dir: Option<PathBuf>,
    pub(super) batch_size: usize,
    pub(super) threads: usize,
}

#[derive(Deserialize)]
pub(super) struct Knowledge {
    pub(super) chunk_chars: usize,
    pub(super) chunk_overlap_chars: usize,
    pub(super) chunk_min_chars: usize,
}

#[derive(Deserialize)]
pub(super) struct Pipelines {
    pub(super) dir: Option<PathBuf>,
}

#[derive(Deserialize)]
pub(super) struct Models {
    pub(super) chain: Vec<String>,
    pub(super) retries: u32,
    pub(super) retry_delay_ms: u64,
    pub(super) first_token_timeout_s: f64,
    pub(super) idle_timeout_s: f64,
    pub(super) total_timeout_s: f64,
    pub(super) breaker_failures: u32,
    pub(super) breaker_cooldown_s: f64,
    pub(super) temperature: f32,
    pub(super) max_tokens: u32,
    pub(super) relay_idle_timeout_s: f64,
    pub(super) catalog_cache_s: f64,
    pub(super) rewrite_follow_ups: bool,
    pub(super) rewrite_timeout_ms: u64,
}

#[derive(Deserialize)]
pub(super) struct Provider {
    pub(super) kind: String,
    pub(super) base_url: Option<String>,
    pub(super) api_key: Option<Secret>,
    #[serde(default)]
    pub(super) models: Vec<String>,
    pub(super) script: Option<PathBuf>,
    pub(super) timeout_s: Option<f64>,
}

#[derive(Deserialize)]
pub(super) struct Webhooks {
    pub(super) deadline_s: f64,
    pub(super) initial_delay_s: f64,
    pub(super) max_delay_s: f64,
    pub(super) give_up_after_s: f64,
    pub(super) concurrency: usize,
    pub(super) concurrency_per_endpoint: usize,
    pub(super) response_bytes: usize,
    pub(super) allow_private: bool,
    pub(super) allow_addresses: Vec<String>,
    pub(super) ca_file: Option<PathBuf>,
    pub(super) disable_after_s: f64,
    pub(super) keep_deliveries_s: f64,
    pub(super) endpoints_per_company: usize,
}

#[derive(Deserialize)]
pub(super) struct Jobs {
    pub(super) persist_concurrency: usize,
    pub(super) analytics_concurrency: usize,
    pub(super) analytics_keep_days: u32,
    pub(super) initial_delay_ms: u64,
    pub(super) max_delay_s: f64,
}

#[derive(Deserialize)]
pub(super) struct Telemetry {
    pub(super) log_level: String,
    pub(super) log_format: String,
    pub(super) company_label: bool,
}
