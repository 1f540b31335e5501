//! Embeddings: by the service's own model for `turnpike`, by their providers for all other models.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::error::Errors;
use super::{Entrance, Named, OWN, chat, pass, refused};
use crate::domain::KeyScope;
use crate::http::App;
use crate::http::body;
use crate::http::extract::Query;
use crate::http::problem::Problem;

/// Most texts of one request to the service's own model.
const TEXTS: usize = 256;
/// How long it may take for them.
const PATIENCE: Duration = Duration::from_secs(60);
/// Characters that a token stands for.
const CHARS_PER_TOKEN: usize = 4;

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(embed))
}

/// Texts to be embedded. Fields that are not named here go to the provider as they are.
#[derive(Deserialize, ToSchema)]
struct EmbeddingRequest {
    /// `turnpike` for the service's own model, or a model that `/v1/models` lists.
    #[schema(min_length = 1)]
    #[expect(dead_code, reason = "it was read before")]
    model: String,
    /// A text or several. The service's own model reads no tokens.
    input: Input,
    /// Whether vectors are lists of numbers, or base64 of their little-endian 32-bit floats.
    #[serde(default)]
    encoding_format: Option<Format>,
    /// For the service's own model: what the texts are.
    #[serde(default)]
    input_type: Option<InputType>,
    /// Not for the service's own model, whose vectors have the length that they have.
    #[serde(default)]
    #[schema(value_type = Option<u64>, maximum = 4_294_967_295_u64)]
    dimensions: Option<u32>,
}

/// A text or several.
#[derive(Deserialize, ToSchema)]
#[serde(untagged)]
enum Input {
    /// One.
    One(String),
    /// Several.
    Several(Vec<String>),
}

/// How vectors are written.
#[derive(Clone, Copy, Default, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Format {
    /// As lists of numbers.
    #[default]
    Float,
    /// As base64.
    Base64,
}

/// What texts are: some models embed questions and passages in different ways.
#[derive(Clone, Copy, Default, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum InputType {
    /// Questions.
    Query,
    /// Passages that are to be found.
    #[default]
    Passage,
}

/// The vectors.
#[derive(Serialize, ToSchema)]
struct EmbeddingList {
    /// Always `list`.
    object: &'static str,
    /// In the order of the texts.
    data: Vec<Embedding>,
    /// The model.
    model: String,
    /// Tokens, estimated from the texts' length.
    usage: EmbeddingTokens,
}

/// A vector.
#[derive(Serialize, ToSchema)]
struct Embedding {
    /// Always `embedding`.
    object: &'static str,
    /// The text's place.
    index: usize,
    /// The vector.
    embedding: Vector,
}

/// A vector, as it was asked for.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
enum Vector {
    /// Numbers.
    Float(Vec<f32>),
    /// Base64.
    Base64(String),
}

/// Tokens of texts.
#[derive(Serialize, ToSchema)]
struct EmbeddingTokens {
    /// Tokens read.
    prompt_tokens: usize,
    /// The same.
    total_tokens: usize,
}

/// Embed texts
///
/// By the embedding model of the service for the model `turnpike`; any other model is asked at the provider that has it, and
/// its answer comes back as it is.
#[utoipa::path(post, path = "/v1/embeddings", operation_id = "embed", tag = "OpenAI", params(Named),
    request_body(content = EmbeddingRequest, example = json!({"model": "turnpike", "input": ["Lãi suất vay mua nhà"]})),
    security(("bearer" = [])),
    responses((status = 200, description = "The vectors.", body = EmbeddingList), Errors))]
async fn embed(
    State(app): State<Arc<App>>,
    Query(named): Query<Named>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let entrance = Entrance::open(&app, &headers, named).await?;
    let bytes = chat::json_body(&app, &headers, body).await?;
    let shape: pass::Shape<'_> = body::parse(&bytes)?;
    let model = shape.name()?;
    let caller = entrance.caller(&app, &headers, None, KeyScope::Backend).await?;
    match model.as_deref() {
        Some(model) if model == OWN => own(&app, &bytes).await,
        _ => pass::document(&app, &caller, "embeddings", &bytes, &shape, model.as_deref()).await,
    }
}

async fn own(app: &App, bytes: &Bytes) -> Result<Response, Problem> {
    let request: EmbeddingRequest = body::parse(bytes)?;
    let embedder = app.engine.retriever().embedder().ok_or_else(|| {
        let detail = "this service has no embedding model; `turnpike models pull` brings one";
        Problem::new(StatusCode::NOT_FOUND, "model_not_found", detail).about("model")
    })?;
    let length = embedder.model().dimensions;
    if request.dimensions.is_some_and(|wanted| usize::try_from(wanted) != Ok(length)) {
        return Err(refused(
            "invalid_value",
            "dimensions",
            format!("the vectors of this model have {length} dimensions"),
        ));
    }
    let texts = match request.input {
        Input::One(text) => vec![text],
        Input::Several(texts) => texts,
    };
    let limit = app.settings.limits.message_chars;
    if texts.is_empty() || texts.iter().any(|text| text.trim().is_empty()) {
        return Err(refused("empty_input", "input", "`input` has no text, or an empty one"));
    }
    if texts.len() > TEXTS || texts.iter().any(|text| text.chars().count() > limit) {
        let detail = format!("`input` has more than {TEXTS} texts, or one of more than {limit} characters");
        return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "input_too_large", detail).about("input"));
    }
    let tokens = texts.iter().map(|text| text.chars().count().div_ceil(CHARS_PER_TOKEN)).sum();
    let made = async {
        match request.input_type.unwrap_or_default() {
            InputType::Passage => embedder.embed_passages(texts).await,
            InputType::Query => {
                let mut vectors = Vec::with_capacity(texts.len());
                for text in &texts {
                    vectors.push(embedder.embed_query(text).await?);
                }
                Ok(vectors)
            }
        }
    };
    let away = |reason: String| {
        tracing::warn!(reason, "texts were not embedded");
        Problem::unavailable("embedder_unavailable", "the embedding model does not answer right now")
    };
    let made = tokio::time::timeout(PATIENCE, made).await.map_err(|_| away("it took too long".to_owned()))?;
    let vectors = made.map_err(|error| away(error.to_string()))?;
    let format = request.encoding_format.unwrap_or_default();
    let data = vectors.into_iter().enumerate().map(|(index, vector)| {
        let embedding = match format {
            Format::Float => Vector::Float(vector),
            Format::Base64 => {
                let bytes: Vec<u8> = vector.iter().flat_map(|number| number.to_le_bytes()).collect();
                Vector::Base64(STANDARD.encode(bytes))
            }
        };
        Embedding { object: "embedding", index, embedding }
    });
    let usage = EmbeddingTokens { prompt_tokens: tokens, total_tokens: tokens };
    let model = embedder.model().name.clone();
    Ok(Json(EmbeddingList { object: "list", data: data.collect(), model, usage }).into_response())
}
