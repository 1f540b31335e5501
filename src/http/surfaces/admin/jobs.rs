//! Jobs: what became of documents that were put, asked for or listened to.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use bytes::Bytes;
use futures::stream;
use serde::Serialize;
use time::OffsetDateTime;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::domain::{CompanyId, DocumentId, KeyScope};
use crate::http::App;
use crate::http::extract::Path;
use crate::http::ingestion::{Job, State as Progress, has_ended};
use crate::http::problem::Problem;
use crate::http::{openapi, wires};
use crate::ports::curator::{Error, Outcome};

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(one)).routes(routes!(events))
}

/// How far something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Status {
    /// It waits for its turn.
    Waiting,
    /// It is worked on.
    Running,
    /// It is done, of a job with all its documents.
    Done,
    /// It was not done, of a job at least one document.
    Failed,
}

/// Documents that came together, and what became of each.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({
    "job_id": "019aa0f2-6d2e-7cc0-8f65-2f6a8a1b7c11", "status": "running", "total": 2, "done": 1, "failed": 0,
    "created_at": "2026-11-20T10:00:00Z",
    "documents": [
        {"document_id": "loans", "status": "done", "outcome": "added", "error": null},
        {"document_id": "cards", "status": "running", "outcome": null, "error": null}
    ]
}))]
pub(super) struct JobView {
    /// The job.
    job_id: Uuid,
    /// How far it is.
    status: Status,
    /// Its documents.
    total: usize,
    /// Those that are done.
    done: usize,
    /// Those that were not done.
    failed: usize,
    /// When it was taken.
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
    /// Each document, in the order they came.
    documents: Vec<JobDocument>,
}

/// What became of one document.
#[derive(Serialize, ToSchema)]
struct JobDocument {
    /// The document.
    document_id: DocumentId,
    /// How far it is.
    status: Status,
    /// What was done, when it is done.
    outcome: Option<Outcome>,
    /// Why it was not done, when it was not.
    error: Option<JobError>,
}

/// Why a document was not put.
#[derive(Serialize, ToSchema)]
struct JobError {
    /// A short name for programs: `binary`, `empty`, `invalid_utf8`, `document_too_large`, `unsupported_format`, or
    /// `unavailable` for what may succeed when it is put again.
    code: String,
    /// What is wrong, for people.
    detail: String,
}

/// Ask for a job
///
/// The last 200 that ended are known, on the gateway that took them and until it stops. Whoever meets a job that is not known
/// puts the documents again: those that have arrived cost nothing.
#[utoipa::path(
    get, path = "/api/companies/{company_id}/jobs/{job_id}", tag = "Documents", operation_id = "read_job",
    security(("bearer" = [])),
    params(
        ("company_id" = CompanyId, Path, description = "The company."),
        ("job_id" = Uuid, Path, description = "The job."),
    ),
    responses((status = 200, description = "How far it is.", body = JobView), openapi::Admission),
)]
async fn one(
    State(app): State<Arc<App>>,
    Path((company_id, job_id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Json<JobView>, Problem> {
    let job = find(&app, &headers, &company_id, &job_id).await?;
    Ok(Json(JobView::of(&job, &job.progress().borrow())))
}

/// Listen to a job
///
/// Server-sent events, each with the job in JSON, whenever it gets on; the stream ends with the job.
#[utoipa::path(
    get, path = "/api/companies/{company_id}/jobs/{job_id}/events", tag = "Documents", operation_id = "listen_to_job",
    security(("bearer" = [])),
    params(
        ("company_id" = CompanyId, Path, description = "The company."),
        ("job_id" = Uuid, Path, description = "The job."),
    ),
    responses(
        (status = 200, description = "The events: each `data:` line is a job.", body = String,
            content_type = "text/event-stream"),
        openapi::Admission,
    ),
)]
async fn events(
    State(app): State<Arc<App>>,
    Path((company_id, job_id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let job = find(&app, &headers, &company_id, &job_id).await?;
    let mut progress = job.progress();
    progress.mark_changed();
    let heartbeat = app.settings.turn.heartbeat;
    let frames = stream::unfold(Some((job, progress)), move |state| async move {
        let (job, mut progress) = state?;
        let frame = match tokio::time::timeout(heartbeat, progress.changed()).await {
            Ok(Ok(())) => {
                let (frame, is_over) = {
                    let documents = progress.borrow_and_update();
                    let mut frame = Vec::new();
                    wires::data(&mut frame, &JobView::of(&job, &documents));
                    (Bytes::from(frame), has_ended(&documents))
                };
                if is_over {
                    return Some((Ok::<_, std::convert::Infallible>(frame), None));
                }
                frame
            }
            Ok(Err(_)) => return None,
            Err(_) => Bytes::from_static(b": \n\n"),
        };
        Some((Ok(frame), Some((job, progress))))
    });
    Ok(wires::event_stream(Body::from_stream(frames)))
}

async fn find(app: &App, headers: &HeaderMap, company: &str, id: &str) -> Result<Arc<Job>, Problem> {
    let caller = app.gate.admit(headers, Some(company), KeyScope::Admin).await?;
    let job = id.parse().ok().and_then(|id| app.ingestion.job(&caller.scope, id));
    job.ok_or_else(|| Problem::not_found("job"))
}

impl JobView {
    pub(super) fn of(job: &Job, documents: &[(DocumentId, Progress)]) -> Self {
        let documents: Vec<JobDocument> = documents.iter().map(JobDocument::of).collect();
        let count = |status| documents.iter().filter(|document| document.status == status).count();
        let (waiting, done, failed) = (count(Status::Waiting), count(Status::Done), count(Status::Failed));
        let status = match documents.len() {
            total if waiting == total => Status::Waiting,
            total if done + failed < total => Status::Running,
            _ if failed > 0 => Status::Failed,
            _ => Status::Done,
        };
        Self { job_id: job.id, status, total: documents.len(), done, failed, created_at: job.created_at, documents }
    }
}

impl JobDocument {
    fn of((id, progress): &(DocumentId, Progress)) -> Self {
        let (status, outcome, error) = match progress {
            Progress::Waiting => (Status::Waiting, None, None),
            Progress::Running => (Status::Running, None, None),
            Progress::Done(outcome) => (Status::Done, Some(*outcome), None),
            Progress::Failed(error) => (Status::Failed, None, Some(JobError::of(error))),
        };
        Self { document_id: id.clone(), status, outcome, error }
    }
}

impl JobError {
    fn of(error: &Error) -> Self {
        let code = match error {
            Error::Unreadable { code, .. } => code,
            Error::Unavailable(_) => "unavailable",
        };
        Self { code: code.to_owned(), detail: error.to_string() }
    }
}
