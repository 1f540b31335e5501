//! Pages that are kept up to date: the same address, asked for a stream, sends each part of the page anew when it has
//! changed.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use futures::stream;
use maud::{Markup, html};
use tokio::time::Instant;

use super::Console;
use super::failure::Failure;
use super::visit::Visit;
use crate::http::accept;
use crate::http::problem::Problem;

/// Between two looks, and how many times as long as a look took there is none: a page that is much to read takes a small
/// part of the service's time however many watch it.
const EVERY: Duration = Duration::from_secs(2);
const REST: u32 = 10;
/// Between two looks at whether the service goes down.
const CLOSING: Duration = Duration::from_millis(250);
/// Something is sent after so much silence.
const SILENCE: Duration = Duration::from_secs(15);

/// A part of a page.
pub(super) struct Part {
    name: &'static str,
    html: String,
}

impl Part {
    /// A part with a name of its own on the page.
    pub(super) fn new(name: &'static str, html: Markup) -> Self {
        Self { name, html: html.into_string() }
    }

    /// The part in its place.
    pub(super) fn slot(&self) -> Markup {
        html! { div.part data-part=(self.name) { (maud::PreEscaped(&self.html)) } }
    }
}

/// Whether a request asks for a stream.
pub(super) fn is_asked(headers: &HeaderMap) -> bool {
    accept::names(headers, "text/event-stream")
}

/// What a stream is in the midst of.
struct Watch<F> {
    console: Arc<Console>,
    visit: Visit,
    render: F,
    seen: HashMap<&'static str, String>,
    waiting: std::collections::VecDeque<Event>,
    next: Instant,
    sent: Instant,
    has_ended: bool,
    _permit: tokio::sync::OwnedSemaphorePermit,
}

/// The stream of a page's parts: those that have changed since they were sent, as `{"part": …, "html": …}`. It ends when the
/// session does.
///
/// # Errors
/// 503 when too many pages are watched.
pub(super) fn stream<F, R>(console: &Arc<Console>, visit: Visit, render: F) -> Result<Response, Failure>
where
    F: FnMut() -> R + Send + 'static,
    R: Future<Output = Result<Vec<Part>, Failure>> + Send,
{
    let permit = Arc::clone(&console.live).try_acquire_owned();
    let permit =
        permit.map_err(|_| Problem::unavailable("too_many_live_pages", "too many pages are kept up to date"))?;
    let now = Instant::now();
    let watch = Watch {
        console: Arc::clone(console),
        visit,
        render,
        seen: HashMap::new(),
        waiting: std::collections::VecDeque::new(),
        next: now,
        sent: now,
        has_ended: false,
        _permit: permit,
    };
    let events = stream::unfold(watch, async |mut watch| {
        let event = watch.next().await?;
        watch.sent = Instant::now();
        Some((Ok::<Event, Infallible>(event), watch))
    });
    let mut response = Sse::new(events).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
}

impl<F, R> Watch<F>
where
    F: FnMut() -> R + Send + 'static,
    R: Future<Output = Result<Vec<Part>, Failure>> + Send,
{
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return Some(event);
            }
            if self.has_ended || self.console.app.engine.is_closing() {
                return None;
            }
            let now = Instant::now();
            if now < self.next {
                tokio::time::sleep_until(self.next.min(now + CLOSING)).await;
                continue;
            }
            self.look().await;
            self.next = Instant::now() + EVERY.max(now.elapsed() * REST);
            if self.waiting.is_empty() && self.sent.elapsed() >= SILENCE {
                return Some(Event::default().comment("still here"));
            }
        }
    }

    /// Renders the page anew, and lines up what has changed.
    async fn look(&mut self) {
        match self.visit.lasts(&self.console).await {
            Ok(true) => {}
            Ok(false) => {
                self.has_ended = true;
                self.waiting.push_back(Event::default().event("over").data("the session is over"));
                return;
            }
            // Nobody can tell right now; what is shown stays.
            Err(_) => return self.trouble(),
        }
        match (self.render)().await {
            Ok(parts) => {
                for Part { name, html } in parts {
                    if self.seen.get(name) == Some(&html) {
                        continue;
                    }
                    let data = serde_json::json!({"part": name, "html": html}).to_string();
                    self.waiting.push_back(Event::default().event("part").data(data));
                    self.seen.insert(name, html);
                }
            }
            Err(_) => self.trouble(),
        }
    }

    fn trouble(&mut self) {
        self.waiting.push_back(Event::default().event("trouble").data("this cannot be read right now"));
    }
}
