//! One turn while it runs: the stages in their order, and the record that they fill.

mod ending;

use std::sync::Arc;

use serde_json::json;
use time::OffsetDateTime;
use tokio::time::Instant;

use super::ask::Ask;
use super::catalog::ReadyPipeline;
use super::chain::Answered;
use super::engine::Engine;
use super::history::{Past, Place};
use super::live::{LiveTurn, TurnEvent};
use super::prompt::{CompanyContext, PromptContext};
use super::stages::generate::Answer;
use super::stages::language::Hints;
use super::stages::retrieve::{Embedded, Retrieved};
use super::stages::rewrite::{self, Lean};
use crate::config::pipelines::{Agent, GENERAL_INTENT};
use crate::domain::conversation::{Message, Role};
use crate::domain::event::{Event, EventType, GATEWAY, Origin};
use crate::domain::turn::{Degraded, IntentFound, Usage, milliseconds};
use crate::domain::{FinishReason, Language, TurnRecord};
use crate::ports::model::{self, FinishReason as ModelFinish};
use crate::ports::outbox::Journal;
use crate::runtime::telemetry::Causes;

/// Confidence from which a message of the general intent is taken for small talk.
const SMALL_TALK: f32 = 0.7;
/// Characters that a token stands for, where no provider counts.
const CHARS_PER_TOKEN: usize = 4;

/// One turn while it runs.
pub(super) struct Turn<'a> {
    engine: &'a Engine,
    ask: Ask,
    live: &'a Arc<LiveTurn>,
    pipeline: Arc<ReadyPipeline>,
    record: TurnRecord,
    origin: Origin,
    journal: Arc<dyn Journal>,
    language: Language,
    past: Past,
    found: Retrieved,
    started: Instant,
    error: Option<model::Error>,
}

impl<'a> Turn<'a> {
    pub(super) fn new(engine: &'a Engine, ask: Ask, live: &'a Arc<LiveTurn>, started: Instant) -> Self {
        let head = live.head();
        let now = OffsetDateTime::now_utc();
        let record = TurnRecord {
            channel: ask.user.channel(),
            user: ask.user.clone(),
            context: ask.context.clone(),
            message: ask.message.clone(),
            idempotency_key: ask.idempotency_key.clone(),
            request_fingerprint: ask.idempotency_key.as_ref().map(|_| ask.fingerprint()),
            previous_turn_id: ask.previous_turn_id,
            ..TurnRecord::begun(head.turn_id, head.company_id.clone(), head.session_id.clone(), now)
        };
        let origin = Origin {
            source: GATEWAY,
            subject: head.turn_id.to_string(),
            company_id: head.company_id.clone(),
            conversation_id: head.conversation_id,
            traceparent: ask.traceparent.clone(),
        };
        let catalog = &engine.parts.catalog;
        let named = ask.options.pipeline.as_deref().and_then(|name| catalog.get(name));
        let pipeline = Arc::clone(named.unwrap_or_else(|| catalog.for_company(&ask.company, ask.industry.as_deref())));
        let journal = Arc::from(engine.parts.outbox.journal(&record));
        Self {
            engine,
            language: ask.language.unwrap_or(Language::ENGLISH),
            ask,
            live,
            pipeline,
            record,
            origin,
            journal,
            past: Past::default(),
            found: Retrieved::default(),
            started,
            error: None,
        }
    }

    /// Runs the turn to its end, whatever that is.
    pub(super) async fn run(mut self) {
        self.understand().await;
        self.generate().await;
        self.finish().await;
    }

    fn ms(&self) -> Option<f64> {
        Some(milliseconds(self.started.elapsed()))
    }

    fn publish(&self, event_type: EventType, data: &serde_json::Value) {
        match Event::new(event_type, &self.origin, "", data) {
            Ok(event) => self.engine.parts.outbox.publish(&event),
            Err(error) => tracing::error!(turn.id = %self.record.turn_id, %error, "an event does not serialise"),
        }
    }

    /// Language, intent and passages.
    async fn understand(&mut self) {
        self.live.push(TurnEvent::Start);
        self.publish(
            EventType::TurnReceived,
            &json!({"session_id": self.record.session_id, "channel": self.record.channel}),
        );
        self.detect_language();

        // Only a message that leans on the one before has to wait for it.
        let lean = rewrite::lean(&self.ask.message);
        let leans_on_past = lean != Lean::None;
        if !leans_on_past {
            self.detect_intent();
        }
        let engine = self.engine;
        let message = self.ask.message.clone();
        let detected = self.record.language.unwrap_or(self.language);
        let retriever = &engine.parts.retriever;
        let place = Place {
            conversation: self.record.conversation_id,
            turn: self.record.turn_id,
            previous: self.ask.previous_turn_id,
        };
        let history = engine.history.load(&self.ask.scope, place);
        // One vector serves the search; it is made while the store is asked.
        let (past, embedded) = tokio::join!(history, retriever.embed(&message, detected));
        self.past = match self.ask.options.history.clone() {
            Some(told) => past.told(told),
            None => past,
        };
        self.record.previous_turn_id = self.past.previous;
        if self.past.is_partial {
            self.degrade(Degraded::Store);
        }
        if leans_on_past {
            self.detect_intent();
        }

        // A greeting asks for nothing that documents know, and meets words of theirs by chance.
        if !(lean == Lean::Maybe && self.is_small_talk()) {
            self.retrieve(detected, leans_on_past, embedded).await;
        }
        for missing in self.found.degraded.clone() {
            self.degrade(missing);
        }
        self.record.sources.clone_from(&self.found.sources);
        self.record.timings.sources_ms = self.ms();
        stage_seconds("sources", self.record.timings.sources_ms);
        self.live.push(TurnEvent::Sources(self.found.sources.clone().into()));
        self.publish(
            EventType::TurnKnowledgeRetrieved,
            &json!({"sources": self.found.sources.iter().map(|source| json!({"document_id": source.document_id, "score": source.score})).collect::<Vec<_>>(), "ms": self.record.timings.sources_ms}),
        );
    }

    fn detect_language(&mut self) {
        let company = &self.ask.company.languages;
        let supported = &self.pipeline.definition.language.supported;
        let allowed = if company.is_empty() { supported } else { company };
        let prior = self.engine.history.last_language(self.record.conversation_id);
        let detection = self.engine.detector.detect(&self.ask.message, &Hints { allowed, prior });
        self.record.language = Some(detection.language);
        self.language = self.ask.language.unwrap_or(detection.language);
        self.record.timings.language_ms = self.ms();
        stage_seconds("language", self.record.timings.language_ms);
        self.live.push(TurnEvent::Language { language: detection.language, confidence: detection.confidence });
        self.publish(
            EventType::TurnLanguageDetected,
            &json!({"language": detection.language.code(), "confidence": detection.confidence, "ms": self.record.timings.language_ms}),
        );
    }

    fn detect_intent(&mut self) {
        let intent = self.pipeline.classifier().classify(&self.ask.message, self.past.last_question());
        let found =
            IntentFound { intent: intent.intent, confidence: intent.confidence, agent: intent.agent.name().to_owned() };
        self.record.timings.intent_ms = self.ms();
        stage_seconds("intent", self.record.timings.intent_ms);
        self.live.push(TurnEvent::Intent(found.clone()));
        self.publish(
            EventType::TurnIntentDetected,
            &json!({"intent": found.intent, "confidence": found.confidence, "agent": found.agent, "ms": self.record.timings.intent_ms}),
        );
        self.record.intent = Some(found);
    }

    /// Whether nothing is asked.
    fn is_small_talk(&self) -> bool {
        let found = self.record.intent.as_ref();
        found.is_some_and(|found| found.intent == GENERAL_INTENT && found.confidence >= SMALL_TALK)
    }

    /// The passages for the question, made whole first if it leans on the one before.
    async fn retrieve(&mut self, language: Language, leans_on_past: bool, embedded: Embedded) {
        let retriever = &self.engine.parts.retriever;
        let rewritten = if leans_on_past { self.rewritten(language).await } else { None };
        let (query, embedded) = match &rewritten {
            Some(query) => (query.as_str(), retriever.embed(query, language).await),
            None => (self.ask.message.as_str(), embedded),
        };
        let industry = self.ask.company.industry.as_deref();
        let settings = &self.pipeline.definition.retrieval;
        self.found = retriever.retrieve(&self.ask.scope, query, embedded, language, industry, settings).await;
    }

    /// The question made whole with the one before.
    async fn rewritten(&self, language: Language) -> Option<String> {
        let last = self.past.last_question()?;
        let models = &self.engine.parts.settings.models;
        if models.rewrite_follow_ups
            && let Some(model) = self.engine.parts.chain.first()
        {
            let past = self.past.messages();
            let whole = rewrite::by_model(model, &self.ask.message, &past, language, models.rewrite_timeout).await;
            if whole.is_some() {
                return whole;
            }
        }
        Some(rewrite::by_rule(&self.ask.message, last))
    }

    /// The answer, until it ends, is stopped or is abandoned.
    async fn generate(&mut self) {
        self.journal.record(&self.record);
        let settings = &self.engine.parts.settings;
        let request = match self.request() {
            Ok(request) => request,
            Err(error) => {
                self.error = Some(error);
                return;
            }
        };
        self.record.timings.generation_ms = self.ms();
        stage_seconds("prompt", self.record.timings.generation_ms);
        self.publish(EventType::TurnGenerationStarted, &json!({"ms": self.record.timings.generation_ms}));

        let (journal, sources) = (Arc::clone(&self.journal), self.found.sources.len());
        let mut answer = Answer::new(Arc::clone(self.live), journal, sources, settings.turn.answer_chars, self.started);
        let agent = self.agent();
        let own = [&self.ask.options.models[..], &self.pipeline.definition.agent(agent).models].concat();
        let grace = settings.turn.disconnect_grace;
        let mut delivered = None;
        let ended = {
            let answering = self.engine.parts.chain.answer(&own, &request, &mut answer);
            tokio::select! {
                biased;
                () = self.live.stopped() => Ended::Stopped,
                ended = answering => Ended::Answered(ended),
                () = self.live.abandoned(grace) => Ended::Abandoned,
                () = note_attendance(self.live, self.journal.as_ref()) => Ended::Abandoned,
            }
        };
        match ended {
            Ended::Answered(Ok(answered)) => {
                answer.finish();
                // A reader that is slow, or away for a moment, gets the time to come to the end; only then is it one.
                let is_attended = tokio::select! {
                    is_attended = self.live.handed_out(grace) => is_attended,
                    () = self.live.stopped() => false,
                };
                if is_attended {
                    self.answered(&answered, &answer);
                } else {
                    delivered = Some(self.live.cut());
                    self.record.finish_reason = FinishReason::Interrupted;
                    self.record.model = Some(answered.model.to_string());
                }
            }
            Ended::Answered(Err(error)) => self.error = Some(error),
            Ended::Stopped if self.live.is_interrupted() => {
                delivered = Some(self.live.cut());
                self.record.finish_reason = FinishReason::Interrupted;
            }
            Ended::Stopped => self.record.finish_reason = FinishReason::Stopped,
            Ended::Abandoned => {
                delivered = Some(self.live.cut());
                self.record.finish_reason = FinishReason::Interrupted;
            }
        }
        self.record.timings.first_content_ms = answer.first_content().map(|first| milliseconds(first - self.started));
        self.record.answer = delivered.unwrap_or_else(|| answer.into_text());
        if self.record.usage == Usage::default() {
            self.record.usage = estimate(&request, &self.record.answer);
        }
    }

    fn answered(&mut self, answered: &Answered, answer: &Answer) {
        self.record.model = Some(answered.model.to_string());
        self.record.finish_reason = match answered.finish_reason {
            ModelFinish::Stop => FinishReason::Stop,
            ModelFinish::Length => FinishReason::Length,
            ModelFinish::ContentFilter => FinishReason::ContentFilter,
        };
        if let Some(degraded) = answered.degraded {
            self.degrade(degraded);
        }
        if let Some(usage) = answered.usage {
            self.record.usage =
                Usage { input_tokens: usage.input_tokens, output_tokens: usage.output_tokens, estimated: false };
        }
        if answer.text().is_empty() && self.record.finish_reason == FinishReason::Stop {
            self.error = Some(model::Error::Protocol("the model said nothing".to_owned()));
            self.record.finish_reason = FinishReason::Failed;
        }
    }

    fn request(&self) -> Result<model::Request, model::Error> {
        let agent = self.agent();
        let past = self.past.messages();
        let company = &self.ask.company;
        let context = PromptContext {
            company: CompanyContext {
                name: &company.name,
                industry: company.industry.as_deref().unwrap_or_default(),
                description: company.description.as_deref().unwrap_or_default(),
            },
            language: self.language,
            passages: &self.found.passages,
            history: &past,
            message: &self.ask.message,
            context: &self.ask.context,
        };
        let system = self.pipeline.prompts.render(agent, &context).map_err(|error| {
            tracing::error!(turn.id = %self.record.turn_id, error = %Causes(&error), "a prompt cannot be rendered");
            model::Error::BadRequest("the prompt cannot be rendered".to_owned())
        })?;
        let options = &self.ask.options;
        let system = match &options.instructions {
            Some(instructions) => format!("{system}\n\n{instructions}"),
            None => system,
        };
        let definition = self.pipeline.definition.agent(agent);
        let mut messages = past;
        messages.push(Message { role: Role::User, content: self.ask.message.clone() });
        Ok(model::Request {
            turn_id: self.record.turn_id.to_string(),
            system,
            messages,
            temperature: Some(options.temperature.unwrap_or(definition.temperature)),
            max_tokens: Some(options.max_tokens.unwrap_or(definition.max_tokens)),
            thinking: options.thinking,
            language: self.language,
            question: self.ask.message.clone(),
            passages: self.found.passages.clone(),
        })
    }

    fn agent(&self) -> Agent {
        self.record.intent.as_ref().and_then(|found| Agent::from_name(&found.agent)).unwrap_or(Agent::General)
    }

    fn degrade(&mut self, missing: Degraded) {
        if !self.record.degraded.contains(&missing) {
            self.record.degraded.push(missing);
        }
    }
}

/// How generating ended.
enum Ended {
    Answered(Result<Answered, model::Error>),
    Stopped,
    Abandoned,
}

/// Keeps the journal informed of who reads, so that a crash while nobody does keeps what was delivered and no more.
async fn note_attendance(live: &LiveTurn, journal: &dyn Journal) {
    let mut was_attended = true;
    loop {
        live.attendance_is(!was_attended).await;
        was_attended = !was_attended;
        match live.attendance() {
            (true, _) => journal.resumed(),
            (false, delivered) => journal.left(delivered),
        }
    }
}

fn stage_seconds(stage: &'static str, ms: Option<f64>) {
    if let Some(ms) = ms {
        metrics::histogram!("turnpike_stage_seconds", "stage" => stage).record(ms / 1000.0);
    }
}

fn estimate(request: &model::Request, answer: &str) -> Usage {
    let tokens = |chars: usize| chars.div_ceil(CHARS_PER_TOKEN) as u64;
    let read = request.system.chars().count()
        + request.messages.iter().map(|message| message.content.chars().count()).sum::<usize>();
    Usage { input_tokens: tokens(read), output_tokens: tokens(answer.chars().count()), estimated: true }
}
