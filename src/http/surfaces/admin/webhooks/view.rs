//! Webhook endpoints as they are shown: all but secrets and the values of headers.

use serde::Serialize;
use time::OffsetDateTime;
use utoipa::ToSchema;

use crate::domain::EndpointId;
use crate::domain::event::EventType;
use crate::domain::webhook::{Endpoint, Order, Payload};
use crate::ports::webhook::{Error, Posted};

/// What is shown of a body, in bytes.
const BODY_BYTES: usize = 4096;

/// A company's webhook endpoints.
#[derive(Serialize, ToSchema)]
pub(super) struct Endpoints {
    /// Oldest first.
    pub(super) endpoints: Vec<EndpointView>,
}

/// A webhook endpoint.
#[derive(Serialize, ToSchema)]
#[schema(as = WebhookEndpoint, example = json!({
    "endpoint_id": "ep_019aa0f26d2e7cc08f652f6a8a1b7c11", "url": "https://hooks.example.com/turnpike",
    "event_types": ["conversation.updated"], "filter": {"channels": ["web"], "intents": []}, "description": "CRM",
    "header_names": ["x-api-key"], "payload": "full",
    "retries": {"initial_delay_s": null, "max_delay_s": null, "give_up_after_s": null}, "rate_limit": 20,
    "order": "parallel", "signature": "v1", "public_key": null, "old_secret_until": null, "disabled": null,
    "created_at": "2026-11-20T10:00:00Z"
}))]
pub(super) struct EndpointView {
    /// The endpoint.
    endpoint_id: EndpointId,
    /// Where webhooks are posted, as it is asked for: hosts of other scripts in their ASCII form.
    url: String,
    /// What it hears of.
    #[schema(value_type = Vec<String>)]
    event_types: Vec<EventType>,
    /// Of which conversations.
    filter: FilterView,
    /// What people call it.
    description: Option<String>,
    /// The names of its own headers. What is in them is not shown.
    header_names: Vec<String>,
    /// How much a webhook says.
    payload: Payload,
    /// When it is tried again, where that is otherwise than usual.
    retries: RetriesView,
    /// Deliveries per second at most.
    rate_limit: Option<u32>,
    /// In which order it gets them.
    order: Order,
    /// How webhooks are signed.
    signature: Signature,
    /// What verifies `v1a`.
    public_key: Option<String>,
    /// Until when the secret before signs too.
    #[serde(with = "time::serde::rfc3339::option")]
    old_secret_until: Option<OffsetDateTime>,
    /// Why nothing is sent to it, if so.
    disabled: Option<DisabledView>,
    /// When it was added.
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
}

/// Of which conversations an endpoint hears; an empty list lets all through.
#[derive(Serialize, ToSchema)]
#[schema(as = WebhookFilter)]
struct FilterView {
    /// Channels.
    channels: Vec<String>,
    /// Intents.
    intents: Vec<String>,
}

/// When an endpoint is tried again, in seconds; `null` is as usual.
#[derive(Serialize, ToSchema)]
#[schema(as = WebhookRetries)]
struct RetriesView {
    /// Before the first retry.
    initial_delay_s: Option<u32>,
    /// Longest time between two tries.
    max_delay_s: Option<u32>,
    /// When to give up.
    give_up_after_s: Option<u32>,
}

/// Why nothing is sent to an endpoint.
#[derive(Serialize, ToSchema)]
#[schema(as = WebhookDisabled)]
struct DisabledView {
    /// Why.
    reason: String,
    /// Since when, where that is known.
    #[serde(with = "time::serde::rfc3339::option")]
    since: Option<OffsetDateTime>,
}

/// How webhooks are signed.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = WebhookSignature)]
enum Signature {
    /// HMAC-SHA256 under a secret that both sides hold.
    V1,
    /// ed25519; the receiver knows the public key.
    V1a,
}

/// A webhook endpoint that was added, or whose secret was replaced.
#[derive(Serialize, ToSchema)]
#[schema(as = MadeWebhookEndpoint)]
pub(super) struct MadeEndpoint {
    /// The endpoint.
    endpoint: EndpointView,
    /// The secret that both sides hold. It is told here and never again; with a key pair there is none to tell.
    #[schema(example = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD")]
    secret: Option<String>,
}

/// What came of a test.
#[derive(Serialize, ToSchema)]
#[schema(as = WebhookTest, example = json!({
    "delivered": true, "status": 204, "took_ms": 41.7, "body": "", "error": null
}))]
pub(super) struct TestResult {
    /// Whether it counts as delivered: the status is 2xx.
    delivered: bool,
    /// The status, if there was an answer.
    status: Option<u16>,
    /// How long it took.
    took_ms: f64,
    /// The first 4 KiB of the answer's body. What looks like a secret is masked.
    body: Option<String>,
    /// Why there was no answer, if so.
    error: Option<TestError>,
}

/// Why a test was not answered.
#[derive(Serialize, ToSchema)]
#[schema(as = WebhookTestError)]
struct TestError {
    /// A short name for programs: `url`, `address`, `dns`, `connect`, `tls`, `timeout` or `protocol`.
    code: &'static str,
    /// What happened, for people.
    detail: String,
}

impl EndpointView {
    /// What is shown of an endpoint.
    pub(super) fn of(endpoint: &Endpoint) -> Self {
        let is_shared = endpoint.secret.is_shared();
        let retries = endpoint.retries;
        Self {
            endpoint_id: endpoint.id.clone(),
            url: endpoint.url.clone(),
            event_types: endpoint.event_types.clone(),
            filter: FilterView {
                channels: endpoint.filter.channels.iter().cloned().collect(),
                intents: endpoint.filter.intents.iter().cloned().collect(),
            },
            description: endpoint.description.clone(),
            header_names: endpoint.headers.iter().map(|(name, _)| name.to_owned()).collect(),
            payload: endpoint.payload,
            retries: RetriesView {
                initial_delay_s: retries.initial_delay_s,
                max_delay_s: retries.max_delay_s,
                give_up_after_s: retries.give_up_after_s,
            },
            rate_limit: endpoint.rate_limit.map(u32::from),
            order: endpoint.order,
            signature: if is_shared { Signature::V1 } else { Signature::V1a },
            public_key: endpoint.secret.verifier().ok().filter(|_| !is_shared),
            old_secret_until: endpoint
                .replaced
                .as_ref()
                .map(|old| old.until)
                .filter(|until| OffsetDateTime::now_utc() < *until),
            disabled: endpoint
                .disabled
                .as_ref()
                .map(|disabled| DisabledView { reason: disabled.reason.clone(), since: disabled.at }),
            created_at: endpoint.created_at,
        }
    }
}

impl MadeEndpoint {
    /// An endpoint with its secret, the one time that this is told.
    pub(super) fn of(endpoint: &Endpoint) -> Self {
        let secret = endpoint.secret.is_shared().then(|| endpoint.secret.reveal().to_owned());
        Self { endpoint: EndpointView::of(endpoint), secret }
    }
}

impl TestResult {
    /// What came of a request.
    pub(super) fn of(posted: &Posted) -> Self {
        let took_ms = posted.timing.total.as_secs_f64() * 1000.0;
        match &posted.result {
            Ok(answer) => {
                let start = answer.body_start.get(..BODY_BYTES).unwrap_or(&answer.body_start);
                Self {
                    delivered: (200..300).contains(&answer.status),
                    status: Some(answer.status),
                    took_ms,
                    body: Some(String::from_utf8_lossy(start).into_owned()),
                    error: None,
                }
            }
            Err(error) => {
                let code = match error {
                    Error::Url(_) => "url",
                    Error::Address(_) => "address",
                    Error::Dns(_) => "dns",
                    Error::Connect(_) => "connect",
                    Error::Tls(_) => "tls",
                    Error::Timeout(_) => "timeout",
                    Error::Protocol(_) => "protocol",
                };
                let error = Some(TestError { code, detail: error.to_string() });
                Self { delivered: false, status: None, took_ms, body: None, error }
            }
        }
    }
}
