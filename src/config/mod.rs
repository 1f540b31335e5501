//! Settings: the commented default file, then `turnpike.toml`, then the environment, then flags. What comes out of
//! [`load`] is checked; all that is wrong is reported at once.

mod backends;
pub mod layers;
mod network;
pub mod pipelines;
mod providers;
mod raw;
mod validate;

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

pub use backends::{Bus, Index, Store};
pub use layers::{DEFAULT_FILE, Problem, Sources, load};
pub use network::{InvalidNetwork, Network};
pub use providers::{Provider, ProviderKind};

/// Checked settings.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The HTTP server.
    pub server: Server,
    /// Who may ask.
    pub auth: Auth,
    /// Where everything is kept.
    pub data_dir: PathBuf,
    /// The queues.
    pub bus: Bus,
    /// The conversations and the directory.
    pub store: Store,
    /// The knowledge index.
    pub index: Index,
    /// The log between streams and bus.
    pub spool: Spool,
    /// A turn's life.
    pub turn: Turn,
    /// The sessions that the service names.
    pub sessions: Sessions,
    /// What is refused.
    pub limits: Limits,
    /// The embedding model.
    pub embedder: Embedder,
    /// How documents are cut.
    pub knowledge: Knowledge,
    /// A folder with pipelines of the operator's own.
    pub pipelines_dir: Option<PathBuf>,
    /// How models are asked.
    pub models: Models,
    /// Who answers.
    pub providers: Vec<Provider>,
    /// Webhook delivery.
    pub webhooks: Webhooks,
    /// Jobs other than delivery.
    pub jobs: Jobs,
    /// Logs and metrics.
    pub telemetry: Telemetry,
}

/// The HTTP server.
#[derive(Clone, Debug)]
pub struct Server {
    /// Address to listen on.
    pub host: IpAddr,
    /// Port to listen on, 0 for any.
    pub port: u16,
    /// Longest wait for a request's head.
    pub header_timeout: Duration,
    /// Longest wait for a request's body.
    pub body_timeout: Duration,
    /// Longest wait for a client to read.
    pub write_timeout: Duration,
    /// How long open streams may go on after SIGTERM.
    pub shutdown_grace: Duration,
    /// Connections at a time.
    pub max_connections: usize,
    /// Where other gateways reach this one, if it was said.
    pub advertise_url: Option<String>,
    /// Origins whose pages may read answers, besides those of this machine.
    pub cors_origins: Vec<String>,
    /// Whether they may send cookies and the like along.
    pub cors_credentials: bool,
}

/// Who may ask.
#[derive(Clone, Debug)]
pub struct Auth {
    /// Whether requests bring keys.
    pub mode: AuthMode,
    /// The token that opens the administration.
    pub admin_token: Option<Secret>,
}

/// Whether requests bring keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthMode {
    /// Every request brings a company's key.
    Keys,
    /// None does. Only on loopback.
    Open,
}

/// The log between streams and bus.
#[derive(Clone, Debug)]
pub struct Spool {
    /// Bytes that may wait for the bus before new turns are refused.
    pub max_bytes: u64,
    /// Bytes of one file.
    pub segment_bytes: u64,
    /// After so long, a turn that is not seen to be stored is published again.
    pub resend_after: Duration,
}

/// A turn's life.
#[derive(Clone, Debug)]
pub struct Turn {
    /// A comment is sent after so much silence.
    pub heartbeat: Duration,
    /// How long a turn goes on that nobody reads.
    pub disconnect_grace: Duration,
    /// How long a finished turn stays in memory.
    pub retain: Duration,
    /// Longest answer in characters.
    pub answer_chars: usize,
    /// Turns of the conversation in the prompt.
    pub history_turns: usize,
    /// How long a turn waits for the one before it to be stored.
    pub history_wait: Duration,
}

/// The sessions that the service names.
#[derive(Clone, Debug)]
pub struct Sessions {
    /// How long one is known in which nothing is asked.
    pub idle: Duration,
}

/// What is refused.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Longest message in characters.
    pub message_chars: usize,
    /// Largest request body in bytes.
    pub body_bytes: usize,
    /// Largest request body under `/v1` in bytes: images go with it.
    pub upload_bytes: usize,
    /// Largest `context` in bytes of JSON.
    pub context_bytes: usize,
    /// Open turns in all.
    pub streams: usize,
    /// Open turns of one company.
    pub streams_per_company: usize,
    /// Requests per minute and company.
    pub requests_per_minute: u32,
    /// Requests per minute with one publishable key, unless the key says otherwise.
    pub publishable_requests_per_minute: u32,
    /// Largest document in bytes.
    pub document_bytes: usize,
}

/// The embedding model.
#[derive(Clone, Debug)]
pub struct Embedder {
    /// Whether to use one.
    pub enabled: bool,
    /// A directory that holds it.
    pub model_dir: Option<PathBuf>,
    /// Its name on the hub.
    pub hub_model: Option<String>,
    /// ONNX Runtime's library.
    pub ort_library: Option<PathBuf>,
    /// Where models are pulled to and looked for.
    pub models_dir: Option<PathBuf>,
    /// Passages embedded at a time.
    pub batch_size: usize,
    /// Threads of one session.
    pub threads: usize,
}

/// How documents are cut, in characters.
#[derive(Clone, Debug)]
pub struct Knowledge {
    /// Longest passage.
    pub chunk_chars: usize,
    /// What two pieces of one block share.
    pub chunk_overlap_chars: usize,
    /// Shortest passage that stands alone.
    pub chunk_min_chars: usize,
}

/// How models are asked.
#[derive(Clone, Debug)]
pub struct Models {
    /// Models in the order they are tried, `provider/model`.
    pub chain: Vec<String>,
    /// Further tries of one model before its first token.
    pub retries: u32,
    /// Before the first of them; doubled each time.
    pub retry_delay: Duration,
    /// Longest wait for the first piece.
    pub first_token_timeout: Duration,
    /// Longest wait for a further piece.
    pub idle_timeout: Duration,
    /// Longest answer.
    pub total_timeout: Duration,
    /// Failures in a row that take a provider out.
    pub breaker_failures: u32,
    /// How long it stays out.
    pub breaker_cooldown: Duration,
    /// Randomness unless the pipeline says otherwise.
    pub temperature: f32,
    /// Most tokens unless the pipeline says otherwise.
    pub max_tokens: u32,
    /// Longest silence in an answer that is passed on as it comes.
    pub relay_idle_timeout: Duration,
    /// How long the lists of providers' models are believed.
    pub catalog_cache: Duration,
    /// Whether a model rewrites follow-up questions.
    pub rewrite_follow_ups: bool,
    /// How long it may take.
    pub rewrite_timeout: Duration,
}

/// Webhook delivery.
#[derive(Clone, Debug)]
pub struct Webhooks {
    /// From the name's look-up to the answer's last byte.
    pub deadline: Duration,
    /// Before the first retry.
    pub initial_delay: Duration,
    /// Longest time between two retries.
    pub max_delay: Duration,
    /// When to give up.
    pub give_up_after: Duration,
    /// Requests at a time.
    pub concurrency: usize,
    /// Requests at a time to one endpoint.
    pub concurrency_per_endpoint: usize,
    /// What is read of an answer, in bytes.
    pub response_bytes: usize,
    /// Whether private, loopback and link-local addresses are allowed.
    pub allow_private: bool,
    /// Blocks of them that are allowed while the others are not.
    pub allow_addresses: Vec<Network>,
    /// Certificates of authorities that are trusted besides the system's, in a PEM file.
    pub ca_file: Option<PathBuf>,
    /// An endpoint of which every try has failed for so long is disabled; never, if there is none.
    pub disable_after: Option<Duration>,
    /// How long deliveries are kept in the log.
    pub keep_deliveries: Duration,
    /// Most endpoints of one company.
    pub endpoints_per_company: usize,
}

/// Jobs other than delivery.
#[derive(Clone, Debug)]
pub struct Jobs {
    /// Turns stored at a time.
    pub persist_concurrency: usize,
    /// Turns counted at a time.
    pub analytics_concurrency: usize,
    /// How long turns are counted.
    pub analytics_keep: Duration,
    /// How long what was given up is kept; for ever, if nothing is said.
    pub keep_dead: Option<Duration>,
    /// Before the first retry.
    pub initial_delay: Duration,
    /// Longest time between two retries.
    pub max_delay: Duration,
}

/// Logs and metrics.
#[derive(Clone, Debug)]
pub struct Telemetry {
    /// What is logged.
    pub log_level: String,
    /// Whether lines are JSON.
    pub log_json: bool,
    /// Whether metrics carry the company.
    pub company_label: bool,
}

/// A text that must not be shown: `Debug` hides it.
#[derive(Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// A secret.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, for the one place that sends or compares it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}
