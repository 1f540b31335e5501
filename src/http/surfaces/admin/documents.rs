//! Documents: put by id or as files, listed, read, removed. What changes the knowledge is a job.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::{FromRequest, Multipart, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use unicode_normalization::UnicodeNormalization;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::jobs::JobView;
use super::{Paging, cursor, etag};
use crate::domain::knowledge::Document;
use crate::domain::{CompanyId, DocumentId, KeyScope, Language};
use crate::http::auth::Caller;
use crate::http::extract::{Path, Query};
use crate::http::ingestion::{Full, Task};
use crate::http::problem::Problem;
use crate::http::{App, body, openapi};
use crate::ports::curator::{self, Format, NewDocument};

/// Files in one upload.
const FILES: usize = 100;
/// How long a client whose documents find no room is asked to wait.
const ROOM: Duration = Duration::from_secs(10);
/// What JSON needs around a document at most: its text with every character escaped.
const ESCAPED: usize = 6;
/// Longest title and address, in characters.
const TEXT_CHARS: usize = 2_000;

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(list, upload)).routes(routes!(one, put, remove))
}

/// A document as it is registered.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({
    "document_id": "loans", "title": "Loans", "url": "https://acme.example/loans", "language": "en", "passages": 4,
    "bytes": 5120, "updated_at": "2026-11-20T10:00:00Z"
}))]
struct DocumentHead {
    /// The document.
    document_id: DocumentId,
    /// Its title.
    title: String,
    /// Where it can be read.
    url: Option<String>,
    /// Its language.
    language: Option<Language>,
    /// Passages that it is found by.
    passages: usize,
    /// Size of its content in bytes.
    bytes: usize,
    /// When it was last put.
    #[serde(with = "time::serde::rfc3339")]
    updated_at: OffsetDateTime,
}

/// Documents, by id.
#[derive(Serialize, ToSchema)]
struct Documents {
    /// The documents.
    documents: Vec<DocumentHead>,
    /// Where the next page begins; none on the last one.
    next_cursor: Option<String>,
}

/// A document with its text as it is found.
#[derive(Serialize, ToSchema)]
struct WholeDocument {
    /// What is known of it.
    document: DocumentHead,
    /// The passages that it was cut into, in order. Those next to each other may overlap.
    passages: Vec<DocumentPassage>,
}

/// A piece of a document.
#[derive(Serialize, ToSchema)]
struct DocumentPassage {
    /// The headings it stands under, outermost first.
    headings: Vec<String>,
    /// Its text.
    text: String,
}

/// A document's text with what is known of it.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct DocumentText {
    /// Its text.
    content: String,
    /// `text/markdown` unless this says otherwise, `text/html` or `text/plain`.
    #[schema(example = "text/markdown")]
    content_type: Option<String>,
    /// Its title, instead of the one it gives itself.
    title: Option<String>,
    /// Where it can be read.
    url: Option<String>,
    /// Its language, where it should not be told from the text.
    language: Option<Language>,
}

/// Files, as a form (`multipart/form-data`).
#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes the form, which is read piece by piece")]
struct Upload {
    /// A Markdown, HTML or text file. There may be several; each is a document whose id is the file's name without its
    /// extension.
    #[schema(value_type = Vec<String>, format = Binary)]
    file: Vec<String>,
}

/// List documents
///
/// By id.
#[utoipa::path(
    get, path = "/api/companies/{company_id}/documents", tag = "Documents", operation_id = "list_documents",
    security(("bearer" = [])), params(("company_id" = CompanyId, Path, description = "The company."), Paging),
    responses((status = 200, description = "A page of them.", body = Documents), openapi::Admission),
)]
async fn list(
    State(app): State<Arc<App>>,
    Path(company_id): Path<String>,
    Query(paging): Query<Paging>,
    headers: HeaderMap,
) -> Result<Json<Documents>, Problem> {
    let caller = app.gate.admit(&headers, Some(&company_id), KeyScope::Admin).await?;
    let after = paging.after()?;
    let mut documents = app.ingestion.curator().documents(&caller.scope).await?;
    documents.retain(|document| after.as_ref().is_none_or(|after| document.id.as_str() > after.as_str()));
    let has_more = documents.len() > paging.limit();
    documents.truncate(paging.limit());
    let next_cursor = documents.last().filter(|_| has_more).map(|last| cursor(last.id.as_str()));
    Ok(Json(Documents { documents: documents.into_iter().map(DocumentHead::from).collect(), next_cursor }))
}

/// Read a document
#[utoipa::path(
    get, path = "/api/companies/{company_id}/documents/{document_id}", tag = "Documents",
    operation_id = "read_document", security(("bearer" = [])),
    params(
        ("company_id" = CompanyId, Path, description = "The company."),
        ("document_id" = DocumentId, Path, description = "The document; a `/` in it is written %2F."),
    ),
    responses(
        (status = 200, description = "The document.", body = WholeDocument,
            headers(("ETag" = String, description = "Its tag."))),
        (status = 304, description = "It is as `If-None-Match` says."),
        openapi::Admission,
    ),
)]
async fn one(
    State(app): State<Arc<App>>,
    Path((company_id, document_id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let caller = app.gate.admit(&headers, Some(&company_id), KeyScope::Admin).await?;
    let id = id_of(&document_id)?;
    let found = app.ingestion.curator().document(&caller.scope, &id).await?;
    let (document, passages) = found.ok_or_else(|| Problem::not_found("document"))?;
    let passages =
        passages.into_iter().map(|passage| DocumentPassage { headings: passage.headings, text: passage.text });
    let whole = WholeDocument { document: document.into(), passages: passages.collect() };
    Ok(etag::tagged(&headers, StatusCode::OK, &whole))
}

/// Put a document
///
/// As JSON with what is known of it, or its text alone as `text/markdown`, `text/html` or `text/plain`. It takes the place of
/// the one with its id; one that has not changed costs nothing. With `If-Match` nothing is replaced that somebody else has
/// replaced meanwhile. It can be found when the job is done.
#[utoipa::path(
    put, path = "/api/companies/{company_id}/documents/{document_id}", tag = "Documents",
    operation_id = "put_document", security(("bearer" = [])),
    params(
        ("company_id" = CompanyId, Path, description = "The company."),
        ("document_id" = DocumentId, Path, description = "The document; a `/` in it is written %2F."),
        ("If-Match" = Option<String>, Header, description = "The tag of what is to be replaced."),
    ),
    request_body(description = "The document.", content(
        (DocumentText = "application/json",
            example = json!({"title": "Loans", "url": "https://acme.example/loans", "content": "# Loans\n\nFrom 5% on."})),
        (String = "text/markdown", example = "# Loans\n\nFrom 5% on."),
        (String = "text/html", example = "<h1>Loans</h1><p>From 5% on.</p>"),
        (String = "text/plain", example = "Loans: from 5% on."),
    )),
    responses(
        (status = 202, description = "The job.", body = JobView), openapi::Admission, openapi::JsonBody,
        openapi::PreconditionFailed, openapi::Unprocessable,
    ),
)]
async fn put(
    State(app): State<Arc<App>>,
    Path((company_id, document_id)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let caller = app.gate.admit(&headers, Some(&company_id), KeyScope::Admin).await?;
    let id = id_of(&document_id)?;
    let document = document(&app, id, &headers, body).await?;
    if headers.contains_key(header::IF_MATCH) {
        let known = app.ingestion.curator().document(&caller.scope, &document.id).await?;
        let whole = known.map(|(document, passages)| WholeDocument {
            document: document.into(),
            passages: passages
                .into_iter()
                .map(|passage| DocumentPassage { headings: passage.headings, text: passage.text })
                .collect(),
        });
        etag::check(&headers, &whole.ok_or_else(etag::changed)?)?;
    }
    begin(&app, &caller, vec![Task::Put(document)])
}

/// Upload files
///
/// Each is a document whose id is the file's name without its extension; Markdown, HTML and plain text. All of them are one
/// job.
#[utoipa::path(
    post, path = "/api/companies/{company_id}/documents", tag = "Documents", operation_id = "upload_documents",
    security(("bearer" = [])), params(("company_id" = CompanyId, Path, description = "The company.")),
    request_body(content = Upload, content_type = "multipart/form-data", description = "The files.",
        example = json!({"file": ["# Loans\n\nFrom 5% on."]})),
    responses(
        (status = 202, description = "The job.", body = JobView), openapi::Admission, openapi::JsonBody,
        openapi::Unprocessable,
    ),
)]
async fn upload(
    State(app): State<Arc<App>>,
    Path(company_id): Path<String>,
    headers: HeaderMap,
    request: Request,
) -> Result<Response, Problem> {
    let caller = app.gate.admit(&headers, Some(&company_id), KeyScope::Admin).await?;
    let form = Multipart::from_request(request, &()).await.map_err(|rejection| {
        Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            format!("send files as multipart/form-data: {}", rejection.body_text()),
        )
    })?;
    // One deadline for the whole of it: a form that never ends is not waited for.
    let patience = app.settings.server.body_timeout;
    let read = tokio::time::timeout(patience, files(form, app.settings.limits.document_bytes)).await;
    let documents = read.map_err(|_| {
        let detail = format!("the files did not arrive within {} s", patience.as_secs());
        Problem::new(StatusCode::REQUEST_TIMEOUT, "body_timeout", detail)
    })??;
    begin(&app, &caller, documents.into_iter().map(Task::Put).collect())
}

/// Remove a document
///
/// It is not found any more when the job is done.
#[utoipa::path(
    delete, path = "/api/companies/{company_id}/documents/{document_id}", tag = "Documents",
    operation_id = "remove_document", security(("bearer" = [])),
    params(
        ("company_id" = CompanyId, Path, description = "The company."),
        ("document_id" = DocumentId, Path, description = "The document; a `/` in it is written %2F."),
    ),
    responses((status = 202, description = "The job.", body = JobView), openapi::Admission),
)]
async fn remove(
    State(app): State<Arc<App>>,
    Path((company_id, document_id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let caller = app.gate.admit(&headers, Some(&company_id), KeyScope::Admin).await?;
    begin(&app, &caller, vec![Task::Remove(id_of(&document_id)?)])
}

fn begin(app: &App, caller: &Caller, tasks: Vec<Task>) -> Result<Response, Problem> {
    let job = app.ingestion.take(&caller.scope, &caller.company, tasks)?;
    let view = JobView::of(&job, &job.progress().borrow());
    let location = format!("/api/companies/{}/jobs/{}", job.company, job.id);
    Ok((StatusCode::ACCEPTED, [(header::LOCATION, location)], Json(view)).into_response())
}

fn id_of(text: &str) -> Result<DocumentId, Problem> {
    let id = text.nfc().collect::<String>().parse();
    id.map_err(|error| Problem::bad_request("invalid_document_id", format!("{error}")))
}

/// The document that a body is.
async fn document(app: &App, id: DocumentId, headers: &HeaderMap, content: Body) -> Result<NewDocument, Problem> {
    let (limit, patience) = (app.settings.limits.document_bytes, app.settings.server.body_timeout);
    let stated = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media = stated.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if matches!(media.as_str(), "text/markdown" | "text/html" | "text/plain") {
        let content = body::read(headers, content, limit, patience).await?.into();
        let format = Format::Media(media);
        return Ok(NewDocument { id, format, content, title: None, url: None, language: None });
    }
    let text: DocumentText = body::json(headers, content, limit.saturating_mul(ESCAPED), patience, true).await?;
    if text.content.len() > limit {
        let detail = format!("`content` is larger than {limit} bytes");
        return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "document_too_large", detail));
    }
    for (field, value) in [("title", &text.title), ("url", &text.url)] {
        if value.as_ref().is_some_and(|value| value.chars().count() > TEXT_CHARS || value.trim().is_empty()) {
            let detail = format!("`{field}` has 1 to {TEXT_CHARS} characters");
            return Err(Problem::bad_request("invalid_document", detail));
        }
    }
    if text.url.as_ref().is_some_and(|url| !url.starts_with("http://") && !url.starts_with("https://")) {
        return Err(Problem::bad_request("invalid_document", "`url` begins with http:// or https://"));
    }
    Ok(NewDocument {
        id,
        format: Format::Media(text.content_type.unwrap_or_else(|| "text/markdown".to_owned())),
        content: text.content.into_bytes(),
        title: text.title.map(|title| title.nfc().collect()),
        url: text.url,
        language: text.language,
    })
}

/// The files of a form, each no larger than a document may be.
async fn files(mut form: Multipart, limit: usize) -> Result<Vec<NewDocument>, Problem> {
    let broken = |error: &dyn std::fmt::Display| Problem::bad_request("invalid_form", format!("the form: {error}"));
    let mut documents: Vec<NewDocument> = Vec::new();
    let mut total = 0;
    while let Some(mut field) = form.next_field().await.map_err(|error| broken(&error.body_text()))? {
        let Some(name) = field.file_name().map(str::to_owned) else {
            return Err(broken(&"a part has no file name"));
        };
        if documents.len() == FILES {
            return Err(broken(&format!("there are more than {FILES} files")));
        }
        // What a browser says of folders is of no use here, and no way out of anything.
        let name = name.rsplit(['/', '\\']).next().unwrap_or_default().nfc().collect::<String>();
        let stem = name.rsplit_once('.').map_or(name.as_str(), |(stem, _)| stem);
        let id = id_of(stem)?;
        if documents.iter().any(|document| document.id == id) {
            return Err(broken(&format!("two files have the name {stem}")));
        }
        let mut content = Vec::new();
        while let Some(piece) = field.chunk().await.map_err(|error| broken(&error.body_text()))? {
            total += piece.len();
            if content.len() + piece.len() > limit || total > limit.saturating_mul(2) {
                let detail = format!("{name} is larger than {limit} bytes, or all files are larger than twice that");
                return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "document_too_large", detail));
            }
            content.extend_from_slice(&piece);
        }
        let format = Format::Name(name);
        documents.push(NewDocument { id, format, content, title: None, url: None, language: None });
    }
    if documents.is_empty() {
        return Err(broken(&"it has no file"));
    }
    Ok(documents)
}

impl From<Document> for DocumentHead {
    fn from(document: Document) -> Self {
        Self {
            document_id: document.id,
            title: document.title,
            url: document.url,
            language: document.language,
            passages: document.passages,
            bytes: document.bytes,
            updated_at: document.updated_at,
        }
    }
}

impl From<curator::Error> for Problem {
    fn from(error: curator::Error) -> Self {
        match error {
            curator::Error::Unreadable { code, reason } => Self::new(StatusCode::UNPROCESSABLE_ENTITY, code, reason),
            curator::Error::Unavailable(reason) => {
                tracing::warn!(reason, "the knowledge did not answer a request");
                Self::unavailable("knowledge_unavailable", "the knowledge cannot be read right now")
            }
        }
    }
}

impl From<Full> for Problem {
    fn from(full: Full) -> Self {
        match full {
            Full::Company => {
                let detail = "too many documents of the company wait; wait for some of them";
                Self::new(StatusCode::TOO_MANY_REQUESTS, "ingestion_full", detail).retry_after(ROOM)
            }
            Full::All => Self::unavailable("ingestion_full", "too many documents wait").retry_after(ROOM),
            Full::Closed => Self::not_found("company"),
        }
    }
}
