//! Videos: made by the providers that can. Where one takes its time and answers with a task, the task is asked for until it
//! is over, and what it says of its progress is passed on.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use futures::{StreamExt, stream};
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::time::Instant;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::error::Errors;
use super::{Entrance, Named, chat, pass};
use crate::config::ProviderKind;
use crate::domain::{CompanyId, CompanyScope, KeyScope};
use crate::http::App;
use crate::http::body;
use crate::http::extract::{Path, Query};
use crate::http::problem::Problem;
use crate::http::wires;
use crate::pipeline::live::Occupied;
use crate::ports::upstream::{Answer, Call, Method, Upstream};

/// The path of a provider's videos.
const PATH: &str = "videos/generations";
/// Most bytes of what a provider says of a task.
const TASK_BYTES: usize = 256 * 1024;
/// How long a provider may take to say how a task is.
const PATIENCE: Duration = Duration::from_secs(15);
/// Between two questions for a task: at first, and at most.
const PAUSE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(5));
/// Longest id of a task at a provider.
const TASK_CHARS: usize = 256;
/// How ids of tasks begin.
const MARK: &str = "video_";

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(generate)).routes(routes!(look))
}

/// A video to be made. Fields that are not named here go to the provider as they are.
#[derive(Deserialize, ToSchema)]
#[expect(dead_code, reason = "it describes what goes to the provider as it is")]
struct VideoRequest {
    /// A model that `/v1/models` lists; it may be left out where there is one provider.
    #[schema(min_length = 1)]
    model: Option<String>,
    /// What is to be seen.
    prompt: String,
    /// Whether the progress comes as it goes.
    stream: Option<bool>,
}

#[derive(Deserialize)]
struct Wish {
    #[serde(default)]
    stream: Option<bool>,
}

/// Make a video
///
/// The request goes to the provider that has the model. A provider that answers with a task is asked for it until it is over:
/// with `stream` each step of its progress is an event, else the answer is the video, or after `models.total_timeout_s` the
/// task, to be asked for at `/v1/videos/generations/{id}`. Where the provider makes no videos the answer is 501.
#[utoipa::path(post, path = "/v1/videos/generations", operation_id = "generate_video", tag = "OpenAI", params(Named),
    request_body(content = VideoRequest, example = json!({"model": "qwen/qwen-max-video", "prompt": "A turnpike at dawn"})),
    security(("bearer" = [])),
    responses(
        (status = 200, description = "What the provider answers, or the task's progress and `[DONE]`.",
            content((serde_json::Value = "application/json"), (String = "text/event-stream"))),
        (status = 202, description = "The task, which goes on.", body = serde_json::Value),
        Errors))]
async fn generate(
    State(app): State<Arc<App>>,
    Query(named): Query<Named>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let entrance = Entrance::open(&app, &headers, named).await?;
    let bytes = chat::json_body(&app, &headers, body).await?;
    let (shape, wish): (pass::Shape<'_>, Wish) = (body::parse(&bytes)?, body::parse(&bytes)?);
    let model = shape.name()?;
    let caller = entrance.caller(&app, &headers, None, KeyScope::Backend).await?;
    let target = pass::target(&app, model.as_deref()).await?;
    let place = app.engine.occupy(&caller.scope)?;
    let body = shape.readied(&bytes, model.as_deref(), &target);
    let call = Call {
        method: Method::Post,
        path: PATH.to_owned(),
        content_type: Some("application/json".to_owned()),
        body,
        patience: app.settings.models.relay_idle_timeout,
    };
    let upstream = target.upstream;
    let answer = pass::ask(upstream.as_ref(), call).await?;
    if answer.refusal.is_some() || pass::is_event_stream(&answer) {
        return Ok(pass::back(&app, answer, upstream.as_ref(), PATH, place));
    }
    let told = document(answer, &upstream).await?;
    let Some(id) = task(&told) else { return Ok(Json(told).into_response()) };
    let task = Task { upstream, id, company: caller.company.id.clone(), secret: Arc::from(secret(&app)) };
    if wish.stream == Some(true) {
        return Ok(progress(&app, task, told, place));
    }
    let deadline = Instant::now() + app.settings.models.total_timeout;
    match tokio::time::timeout_at(deadline, task.over()).await {
        Ok(ended) => Ok(Json(task.ours(ended?)).into_response()),
        Err(_) => Ok((StatusCode::ACCEPTED, Json(task.ours(told))).into_response()),
    }
}

/// Look at a task that makes a video
#[utoipa::path(get, path = "/v1/videos/generations/{id}", operation_id = "show_video", tag = "OpenAI",
    params(("id" = String, Path, description = "The task's id, as it was told."), Named), security(("bearer" = [])),
    responses((status = 200, description = "What the provider says of it.", body = serde_json::Value), Errors))]
async fn look(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    Query(named): Query<Named>,
    headers: HeaderMap,
) -> Result<Json<Value>, Problem> {
    let caller = super::admit(&app, &headers, named).await?;
    let task = Task::find(&app, &caller.scope, &id).ok_or_else(|| Problem::not_found("video"))?;
    Ok(Json(task.ours(task.now().await?)))
}

/// A task of a provider.
struct Task {
    upstream: Arc<dyn Upstream>,
    /// Its id there.
    id: String,
    /// Whose it is.
    company: CompanyId,
    secret: Arc<str>,
}

impl Task {
    /// The task that an id of ours names, if it is the company's.
    fn find(app: &App, scope: &CompanyScope, id: &str) -> Option<Self> {
        let (seal, rest) = id.strip_prefix(MARK)?.split_once('_')?;
        let named = String::from_utf8(URL_SAFE_NO_PAD.decode(rest).ok()?).ok()?;
        let (provider, id) = named.split_once('\n')?;
        let upstream = app.upstreams.iter().find(|upstream| upstream.name() == provider)?;
        let (company, secret) = (scope.company().clone(), Arc::from(secret(app)));
        let task = Self { upstream: Arc::clone(upstream), id: id.to_owned(), company, secret };
        (task.seal() == seal).then_some(task)
    }

    /// Its id as clients have it: the provider's name and the id there, and a seal that nobody can make who does not know
    /// the providers' keys. So any gateway finds the task, and no company that of another.
    fn public_id(&self) -> String {
        let named = URL_SAFE_NO_PAD.encode(format!("{}\n{}", self.upstream.name(), self.id));
        format!("{MARK}{}_{named}", self.seal())
    }

    fn seal(&self) -> String {
        let sealed = json!([&*self.secret, self.company, self.upstream.name(), self.id]).to_string();
        // Half of the hash: from that nobody can go on hashing.
        Sha256::digest(sealed.as_bytes()).iter().take(16).map(|byte| format!("{byte:02x}")).collect()
    }

    /// What the provider says of it, under our id.
    fn ours(&self, mut told: Value) -> Value {
        if let Some(told) = told.as_object_mut() {
            told.insert("id".to_owned(), Value::String(self.public_id()));
        }
        told
    }

    /// What the provider says of it now.
    async fn now(&self) -> Result<Value, Problem> {
        let call = Call::get(format!("{PATH}/{}", self.id), PATIENCE);
        let answer = pass::ask(self.upstream.as_ref(), call).await?;
        if let Some(refusal) = answer.refusal {
            let detail =
                format!("the provider {} does not say how the video is: {}", self.upstream.name(), refusal.message);
            return Err(Problem::new(StatusCode::BAD_GATEWAY, "provider_misbehaves", detail));
        }
        document(answer, &self.upstream).await
    }

    /// What the provider says of it when it is over.
    async fn over(&self) -> Result<Value, Problem> {
        let mut pause = PAUSE.0;
        loop {
            tokio::time::sleep(pause).await;
            let told = self.now().await?;
            if !goes_on(&told) {
                return Ok(told);
            }
            pause = (pause * 2).min(PAUSE.1);
        }
    }
}

/// The task's progress as events: each time that it changes, and at last as it ended.
fn progress(app: &App, task: Task, told: Value, place: Occupied) -> Response {
    let deadline = Instant::now() + app.settings.models.total_timeout;
    let first = event(&task.ours(told.clone()));
    let state = Some((task, told, PAUSE.0));
    let rest = stream::unfold(state, move |state| async move {
        let (task, last, pause) = state?;
        if Instant::now() >= deadline {
            let error = json!({"message": "the video takes longer; ask for it by its id", "type": "server_error",
                "param": null, "code": "video_goes_on"});
            return Some((event(&json!({ "error": error })), None));
        }
        tokio::time::sleep(pause).await;
        let told = match task.now().await {
            Ok(told) => told,
            Err(problem) => {
                let error =
                    json!({"message": problem.detail(), "type": "server_error", "param": null, "code": problem.code()});
                return Some((event(&json!({ "error": error })), None));
            }
        };
        if !goes_on(&told) {
            let end = [event(&task.ours(told)), Bytes::from_static(b"data: [DONE]\n\n")].concat();
            return Some((Bytes::from(end), None));
        }
        // What has not changed is a sign of life.
        let frame = if told == last { Bytes::from_static(b": \n\n") } else { event(&task.ours(told.clone())) };
        Some((frame, Some((task, told, (pause * 2).min(PAUSE.1)))))
    });
    let frames = stream::once(async move { first }).chain(rest).map(move |frame| {
        let _held = &place;
        Ok::<_, Infallible>(frame)
    });
    wires::event_stream(Body::from_stream(frames))
}

fn event(value: &Value) -> Bytes {
    let mut out = Vec::new();
    wires::data(&mut out, value);
    out.into()
}

/// The id of a task, if an answer is one that goes on.
fn task(told: &Value) -> Option<String> {
    let id = told.get("id")?.as_str().filter(|id| !id.is_empty() && id.len() <= TASK_CHARS)?;
    // It becomes a part of an address.
    let is_plain = id.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':'));
    (is_plain && goes_on(told)).then(|| id.to_owned())
}

/// Whether a task says that it is not over.
fn goes_on(told: &Value) -> bool {
    let status = ["status", "task_status"].iter().find_map(|name| told.get(name)?.as_str()).unwrap_or_default();
    let status = status.to_ascii_lowercase();
    matches!(
        status.as_str(),
        "queued" | "pending" | "running" | "processing" | "in_progress" | "starting" | "submitted"
    )
}

/// A provider's whole answer.
async fn document(mut answer: Answer, upstream: &Arc<dyn Upstream>) -> Result<Value, Problem> {
    let misbehaves = |what: &str| {
        let detail = format!("the provider {} {what}", upstream.name());
        Problem::new(StatusCode::BAD_GATEWAY, "provider_misbehaves", detail)
    };
    let mut bytes = Vec::new();
    let reading = async {
        while let Some(piece) = answer.body.next().await {
            bytes.extend_from_slice(&piece.map_err(|_| misbehaves("broke off"))?);
            if bytes.len() > TASK_BYTES {
                return Err(misbehaves("says more than a task needs"));
            }
        }
        Ok(())
    };
    tokio::time::timeout(PATIENCE, reading).await.map_err(|_| misbehaves("did not come to an end"))??;
    serde_json::from_slice(&bytes).map_err(|_| misbehaves("answers with something that is no JSON"))
}

/// What all gateways know and no client does.
fn secret(app: &App) -> String {
    let keys = app.settings.providers.iter().filter_map(|provider| match &provider.kind {
        ProviderKind::OpenAi { api_key, .. } | ProviderKind::Gemini { api_key, .. } => api_key.as_ref(),
        ProviderKind::Scripted { .. } => None,
    });
    let all: Vec<&str> = keys.chain(&app.settings.auth.admin_token).map(crate::config::Secret::reveal).collect();
    all.join("\n")
}
