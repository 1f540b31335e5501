//! Images: made and edited by the providers that can.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::error::Errors;
use super::{Entrance, Named, chat, multipart, pass, refused};
use crate::domain::KeyScope;
use crate::http::App;
use crate::http::body;
use crate::http::extract::Query;
use crate::http::problem::Problem;

/// Longest name of a model in a form, in bytes.
const NAME_BYTES: usize = 512;

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(generate)).routes(routes!(edit))
}

/// An image to be made. Fields that are not named here go to the provider as they are.
#[derive(Deserialize, ToSchema)]
#[expect(dead_code, reason = "it describes what goes to the provider as it is")]
struct ImageRequest {
    /// A model that `/v1/models` lists; it may be left out where there is one provider.
    #[schema(min_length = 1)]
    model: Option<String>,
    /// What is to be seen.
    prompt: String,
}

/// An image to be edited, as a form. Fields that are not named here go to the provider as they are.
#[derive(Deserialize, ToSchema)]
#[expect(dead_code, reason = "it describes what goes to the provider as it is")]
struct ImageEditRequest {
    /// A model that `/v1/models` lists; it may be left out where there is one provider.
    model: Option<String>,
    /// What is to be changed.
    prompt: String,
    /// The image.
    #[schema(value_type = String, format = Binary)]
    image: Vec<u8>,
}

/// Make an image
///
/// The request goes to the provider that has the model, and its answer comes back as it is. Where the provider makes no
/// images the answer is 501.
#[utoipa::path(post, path = "/v1/images/generations", operation_id = "generate_image", tag = "OpenAI", params(Named),
    request_body(content = ImageRequest, example = json!({"model": "openai/gpt-image-1", "prompt": "A turnpike at dawn"})),
    security(("bearer" = [])),
    responses((status = 200, description = "What the provider answers.", body = serde_json::Value), Errors))]
async fn generate(
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
    pass::document(&app, &caller, "images/generations", &bytes, &shape, model.as_deref()).await
}

/// Edit an image
///
/// The form goes to the provider that has the model, byte for byte but for the model's name, and its answer comes back as it
/// is. A form may have `limits.upload_bytes`.
#[utoipa::path(post, path = "/v1/images/edits", operation_id = "edit_image", tag = "OpenAI", params(Named),
    request_body(content = ImageEditRequest, content_type = "multipart/form-data",
        example = json!({"model": "openai/gpt-image-1", "prompt": "At night", "image": "(the image's bytes)"})),
    security(("bearer" = [])),
    responses((status = 200, description = "What the provider answers.", body = serde_json::Value), Errors))]
async fn edit(
    State(app): State<Arc<App>>,
    Query(named): Query<Named>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let entrance = Entrance::open(&app, &headers, named).await?;
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let Some(boundary) = multipart::boundary(content_type) else {
        return Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            "send the body as multipart/form-data with its boundary",
        ));
    };
    let (limit, patience) = (app.settings.limits.upload_bytes, app.settings.server.body_timeout);
    let bytes = body::read(&headers, body, limit, patience).await?;
    let caller = entrance.caller(&app, &headers, None, KeyScope::Backend).await?;
    let field = multipart::field(&bytes, &boundary, "model")
        .map_err(|wrong| Problem::bad_request("invalid_multipart", wrong.to_string()))?;
    let model = match &field {
        None => None,
        Some(place) => {
            let value = bytes.get(place.clone()).filter(|value| value.len() <= NAME_BYTES);
            let name = value.and_then(|value| std::str::from_utf8(value).ok()).filter(|name| !name.is_empty());
            Some(name.ok_or_else(|| refused("invalid_type", "model", "`model` is no name"))?)
        }
    };
    let target = pass::target(&app, model).await?;
    let place = app.engine.occupy(&caller.scope)?;
    let bytes = match (field, target.model.as_deref()) {
        (Some(place), Some(named)) if model != Some(named) => pass::spliced(&bytes, place, named.as_bytes()),
        _ => bytes.clone(),
    };
    pass::body_of(&app, place, target.upstream.as_ref(), "images/edits", content_type.to_owned(), bytes).await
}
