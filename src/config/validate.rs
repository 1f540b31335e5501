//! From what is written to what is meant: ranges, names and addresses.

use std::net::IpAddr;
use std::time::Duration;

use super::backends;
use super::layers::Problem;
use super::raw::{self, Raw};
use super::{
    Auth, AuthMode, Embedder, Jobs, Knowledge, Limits, Models, Network, Provider, ProviderKind, Server, Sessions,
    Settings, Spool, Telemetry, Turn, Webhooks,
};

/// The longest time that can be set: ten years. Added to the clock, longer ones could overflow it.
const LONGEST_S: f64 = 315_360_000.0;
/// The fewest characters of the operator's token: less could be guessed.
const TOKEN_CHARS: usize = 16;
/// The shortest time that something is waited for.
const SHORTEST_S: f64 = 0.001;

/// Collects what is wrong, with where it was written.
pub(super) struct Check<'a, F: Fn(&str) -> String> {
    origin: F,
    problems: &'a mut Vec<Problem>,
}

impl<F: Fn(&str) -> String> Check<'_, F> {
    pub(super) fn fail(&mut self, path: &str, message: impl std::fmt::Display) {
        self.problems.push(Problem { origin: (self.origin)(path), message: format!("`{path}`: {message}") });
    }

    /// A time that may be nothing.
    fn seconds(&mut self, path: &str, value: f64) -> Duration {
        self.seconds_from(path, value, 0.0)
    }

    /// A time that makes no sense as nothing.
    pub(super) fn some_seconds(&mut self, path: &str, value: f64) -> Duration {
        self.seconds_from(path, value, SHORTEST_S)
    }

    fn seconds_from(&mut self, path: &str, value: f64, least: f64) -> Duration {
        if !(least..=LONGEST_S).contains(&value) {
            self.fail(path, format!("{value} is not a number of seconds from {least} to {LONGEST_S}"));
            return Duration::ZERO;
        }
        Duration::try_from_secs_f64(value).unwrap_or_default()
    }

    fn milliseconds(&mut self, path: &str, value: u64) -> Duration {
        let duration = Duration::from_millis(value);
        if duration.as_secs_f64() > LONGEST_S {
            self.fail(path, format!("{value} is not a number of milliseconds from 0 to {}", LONGEST_S * 1000.0));
            return Duration::ZERO;
        }
        duration
    }

    pub(super) fn positive(&mut self, path: &str, value: usize) -> usize {
        if value == 0 {
            self.fail(path, "must be at least 1");
        }
        value
    }
}

impl Raw {
    /// The checked settings; what is wrong goes into `problems`.
    pub(super) fn check(self, origin: impl Fn(&str) -> String, problems: &mut Vec<Problem>) -> Settings {
        let mut check = Check { origin, problems };
        let server = server(self.server, &mut check);
        let auth = auth(self.auth, &server, &mut check);
        let store = backends::store(self.store, &mut check);
        let keep_dead = check.seconds("bus.keep_dead_s", self.bus.keep_dead_s);
        let bus = backends::bus(self.bus, &store, &mut check);
        let index = backends::index(self.index, &mut check);
        if self.spool.segment_bytes < 65_536 || self.spool.max_bytes < 4 * self.spool.segment_bytes {
            check.fail(
                "spool.max_bytes",
                "must hold at least four segments of `spool.segment_bytes`, each 65536 or more",
            );
        }
        let providers = self.providers.into_iter().filter_map(|(name, raw)| provider(name, raw, &mut check)).collect();
        Settings {
            server,
            auth,
            data_dir: self.storage.data_dir,
            bus,
            store,
            index,
            spool: Spool {
                max_bytes: self.spool.max_bytes,
                segment_bytes: self.spool.segment_bytes,
                resend_after: check.some_seconds("spool.resend_after_s", self.spool.resend_after_s),
            },
            turn: Turn {
                heartbeat: check.some_seconds("turn.heartbeat_s", self.turn.heartbeat_s),
                disconnect_grace: check.seconds("turn.disconnect_grace_s", self.turn.disconnect_grace_s),
                retain: check.seconds("turn.retain_s", self.turn.retain_s),
                answer_chars: check.positive("turn.answer_chars", self.turn.answer_chars),
                history_turns: self.turn.history_turns,
                history_wait: check.milliseconds("turn.history_wait_ms", self.turn.history_wait_ms),
            },
            sessions: Sessions { idle: check.some_seconds("sessions.idle_s", self.sessions.idle_s) },
            limits: limits(&self.limits, &mut check),
            embedder: Embedder {
                enabled: self.embedder.enabled,
                model_dir: self.embedder.model_dir,
                hub_model: self.embedder.hub_model,
                ort_library: self.embedder.ort_library,
                models_dir: self.embedder.models_dir,
                batch_size: check.positive("embedder.batch_size", self.embedder.batch_size),
                threads: check.positive("embedder.threads", self.embedder.threads),
            },
            knowledge: knowledge(&self.knowledge, &mut check),
            pipelines_dir: self.pipelines.dir,
            models: models(self.models, &mut check),
            providers,
            webhooks: webhooks(&self.webhooks, &mut check),
            jobs: Jobs {
                persist_concurrency: check.positive("jobs.persist_concurrency", self.jobs.persist_concurrency),
                analytics_concurrency: check.positive("jobs.analytics_concurrency", self.jobs.analytics_concurrency),
                analytics_keep: Duration::from_secs(u64::from(self.jobs.analytics_keep_days) * 86_400),
                keep_dead: Some(keep_dead).filter(|keep| !keep.is_zero()),
                initial_delay: check.milliseconds("jobs.initial_delay_ms", self.jobs.initial_delay_ms),
                max_delay: check.seconds("jobs.max_delay_s", self.jobs.max_delay_s),
            },
            telemetry: telemetry(self.telemetry, &mut check),
        }
    }
}

fn server<F: Fn(&str) -> String>(raw: raw::Server, check: &mut Check<'_, F>) -> Server {
    let host = if raw.host == "localhost" { "127.0.0.1" } else { &raw.host };
    let host = host.parse::<IpAddr>().unwrap_or_else(|_| {
        check.fail(
            "server.host",
            format!("{host:?} is not an IP address; write one such as \"127.0.0.1\" or \"0.0.0.0\""),
        );
        IpAddr::from([127, 0, 0, 1])
    });
    Server {
        host,
        port: raw.port,
        header_timeout: check.some_seconds("server.header_timeout_s", raw.header_timeout_s),
        body_timeout: check.some_seconds("server.body_timeout_s", raw.body_timeout_s),
        write_timeout: check.some_seconds("server.write_timeout_s", raw.write_timeout_s),
        shutdown_grace: check.seconds("server.shutdown_grace_s", raw.shutdown_grace_s),
        max_connections: check.positive("server.max_connections", raw.max_connections),
        advertise_url: advertise_url(raw.advertise_url, check),
        cors_origins: raw.cors_origins.into_iter().filter_map(|origin| cors_origin(origin, check)).collect(),
        cors_credentials: raw.cors_credentials,
    }
}

fn advertise_url<F: Fn(&str) -> String>(raw: Option<String>, check: &mut Check<'_, F>) -> Option<String> {
    let url = raw.filter(|url| !url.is_empty())?;
    if !url.starts_with("http://") && !url.starts_with("https://") {
        check.fail("server.advertise_url", "must begin with http:// or https://");
    }
    Some(url.trim_end_matches('/').to_owned())
}

/// An origin as browsers write it: scheme, host and port, and nothing else.
fn cors_origin<F: Fn(&str) -> String>(raw: String, check: &mut Check<'_, F>) -> Option<String> {
    let authority = raw.strip_prefix("https://").or_else(|| raw.strip_prefix("http://"));
    let is_origin = authority.is_some_and(|rest| {
        !rest.is_empty() && !rest.contains(|c: char| matches!(c, '/' | '?' | '#' | '@' | '*') || c.is_whitespace())
    });
    if !is_origin {
        let message = format!("{raw:?} is not an origin; write one such as \"https://shop.example\", and no pattern");
        check.fail("server.cors_origins", message);
        return None;
    }
    Some(raw.to_ascii_lowercase())
}

fn auth<F: Fn(&str) -> String>(raw: raw::Auth, server: &Server, check: &mut Check<'_, F>) -> Auth {
    let mode = match raw.mode.as_str() {
        "keys" => AuthMode::Keys,
        "open" => AuthMode::Open,
        other => {
            check.fail("auth.mode", format!("{other:?} is not a mode; write \"keys\" or \"open\""));
            AuthMode::Keys
        }
    };
    if mode == AuthMode::Open && !server.host.is_loopback() {
        check.fail(
            "auth.mode",
            format!(
                "\"open\" lets everyone in, so it works on a loopback address only, not on {}; write \"keys\", or host = \"127.0.0.1\"",
                server.host
            ),
        );
    }
    let admin_token = raw.admin_token.filter(|token| !token.reveal().is_empty());
    if admin_token.as_ref().is_some_and(|token| token.reveal().chars().count() < TOKEN_CHARS) {
        check.fail(
            "auth.admin_token",
            format!(
                "has fewer than {TOKEN_CHARS} characters and opens every company; take one of `openssl rand -hex 24`"
            ),
        );
    }
    Auth { mode, admin_token }
}

fn limits<F: Fn(&str) -> String>(raw: &raw::Limits, check: &mut Check<'_, F>) -> Limits {
    for (name, value) in [
        ("requests_per_minute", raw.requests_per_minute),
        ("publishable_requests_per_minute", raw.publishable_requests_per_minute),
    ] {
        if value == 0 {
            check.fail(&format!("limits.{name}"), "must be at least 1");
        }
    }
    Limits {
        message_chars: check.positive("limits.message_chars", raw.message_chars),
        body_bytes: check.positive("limits.body_bytes", raw.body_bytes),
        upload_bytes: check.positive("limits.upload_bytes", raw.upload_bytes),
        context_bytes: raw.context_bytes,
        streams: check.positive("limits.streams", raw.streams),
        streams_per_company: check.positive("limits.streams_per_company", raw.streams_per_company),
        requests_per_minute: raw.requests_per_minute,
        publishable_requests_per_minute: raw.publishable_requests_per_minute,
        document_bytes: check.positive("limits.document_bytes", raw.document_bytes),
    }
}

fn knowledge<F: Fn(&str) -> String>(raw: &raw::Knowledge, check: &mut Check<'_, F>) -> Knowledge {
    let half = raw.chunk_chars / 2;
    if raw.chunk_chars < 200 || raw.chunk_overlap_chars > half || raw.chunk_min_chars > half {
        check.fail(
            "knowledge.chunk_chars",
            "must be at least 200, and at least twice `chunk_overlap_chars` and `chunk_min_chars`",
        );
    }
    Knowledge {
        chunk_chars: raw.chunk_chars,
        chunk_overlap_chars: raw.chunk_overlap_chars,
        chunk_min_chars: raw.chunk_min_chars,
    }
}

fn models<F: Fn(&str) -> String>(raw: raw::Models, check: &mut Check<'_, F>) -> Models {
    if !(0.0..=2.0).contains(&raw.temperature) {
        check.fail("models.temperature", "must be between 0 and 2");
    }
    for model in &raw.chain {
        if !model.contains('/') {
            check.fail("models.chain", format!("{model:?} names no provider; write \"provider/model\""));
        }
    }
    Models {
        chain: raw.chain,
        retries: raw.retries,
        retry_delay: check.milliseconds("models.retry_delay_ms", raw.retry_delay_ms),
        first_token_timeout: check.some_seconds("models.first_token_timeout_s", raw.first_token_timeout_s),
        idle_timeout: check.some_seconds("models.idle_timeout_s", raw.idle_timeout_s),
        total_timeout: check.some_seconds("models.total_timeout_s", raw.total_timeout_s),
        breaker_failures: raw.breaker_failures.max(1),
        breaker_cooldown: check.seconds("models.breaker_cooldown_s", raw.breaker_cooldown_s),
        temperature: raw.temperature,
        max_tokens: raw.max_tokens,
        relay_idle_timeout: check.some_seconds("models.relay_idle_timeout_s", raw.relay_idle_timeout_s),
        catalog_cache: check.seconds("models.catalog_cache_s", raw.catalog_cache_s),
        rewrite_follow_ups: raw.rewrite_follow_ups,
        rewrite_timeout: check.milliseconds("models.rewrite_timeout_ms", raw.rewrite_timeout_ms),
    }
}

fn provider<F: Fn(&str) -> String>(name: String, raw: raw::Provider, check: &mut Check<'_, F>) -> Option<Provider> {
    let path = format!("providers.{name}");
    let kind = match raw.kind.as_str() {
        "openai" | "gemini" => {
            let Some(base_url) = raw.base_url.filter(|url| url.starts_with("http://") || url.starts_with("https://"))
            else {
                check.fail(&format!("{path}.base_url"), "needs an address such as \"https://api.openai.com/v1\"");
                return None;
            };
            let base_url = base_url.trim_end_matches('/').to_owned();
            if raw.kind == "openai" {
                ProviderKind::OpenAi { base_url, api_key: raw.api_key }
            } else {
                ProviderKind::Gemini { base_url, api_key: raw.api_key }
            }
        }
        "scripted" => {
            let Some(script) = raw.script else {
                check.fail(&format!("{path}.script"), "a scripted provider needs the file that it answers from");
                return None;
            };
            ProviderKind::Scripted { script }
        }
        other => {
            check.fail(
                &format!("{path}.kind"),
                format!("{other:?} is not a kind of provider; write \"openai\", \"gemini\" or \"scripted\""),
            );
            return None;
        }
    };
    if raw.models.is_empty() {
        check.fail(&format!("{path}.models"), "needs at least one model");
    }
    let timeout = raw.timeout_s.map(|seconds| check.some_seconds(&format!("{path}.timeout_s"), seconds));
    Some(Provider { name, kind, models: raw.models, timeout })
}

fn webhooks<F: Fn(&str) -> String>(raw: &raw::Webhooks, check: &mut Check<'_, F>) -> Webhooks {
    let settings = Webhooks {
        deadline: check.some_seconds("webhooks.deadline_s", raw.deadline_s),
        initial_delay: check.seconds("webhooks.initial_delay_s", raw.initial_delay_s),
        max_delay: check.seconds("webhooks.max_delay_s", raw.max_delay_s),
        give_up_after: check.some_seconds("webhooks.give_up_after_s", raw.give_up_after_s),
        concurrency: check.positive("webhooks.concurrency", raw.concurrency),
        concurrency_per_endpoint: check.positive("webhooks.concurrency_per_endpoint", raw.concurrency_per_endpoint),
        response_bytes: raw.response_bytes,
        allow_private: raw.allow_private,
        allow_addresses: networks(&raw.allow_addresses, check),
        ca_file: raw.ca_file.clone(),
        disable_after: Some(check.seconds("webhooks.disable_after_s", raw.disable_after_s))
            .filter(|after| !after.is_zero()),
        keep_deliveries: check.some_seconds("webhooks.keep_deliveries_s", raw.keep_deliveries_s),
        endpoints_per_company: check.positive("webhooks.endpoints_per_company", raw.endpoints_per_company),
    };
    if settings.initial_delay > settings.max_delay {
        check.fail("webhooks.initial_delay_s", "must not be above `max_delay_s`");
    }
    settings
}

fn networks<F: Fn(&str) -> String>(written: &[String], check: &mut Check<'_, F>) -> Vec<Network> {
    let mut networks = Vec::new();
    for text in written {
        match text.trim().parse() {
            Ok(network) => networks.push(network),
            Err(error) => check.fail("webhooks.allow_addresses", error),
        }
    }
    networks
}

fn telemetry<F: Fn(&str) -> String>(raw: raw::Telemetry, check: &mut Check<'_, F>) -> Telemetry {
    if let Err(error) = raw.log_level.parse::<tracing_subscriber::filter::Targets>() {
        check.fail(
            "telemetry.log_level",
            format!(
                "{:?} is not a level ({error}); write \"info\", \"debug\" or \"turnpike=debug,info\"",
                raw.log_level
            ),
        );
    }
    if !["text", "json"].contains(&raw.log_format.as_str()) {
        check.fail("telemetry.log_format", format!("{:?} is not a format; write \"text\" or \"json\"", raw.log_format));
    }
    Telemetry { log_level: raw.log_level, log_json: raw.log_format == "json", company_label: raw.company_label }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said of a time, if it is refused.
    fn said(read: impl Fn(&mut Check<'_, fn(&str) -> String>) -> Duration) -> Option<String> {
        let mut problems = Vec::new();
        let origin: fn(&str) -> String = str::to_owned;
        read(&mut Check { origin, problems: &mut problems });
        problems.pop().map(|problem| problem.message)
    }

    #[test]
    fn times_have_bounds_and_the_message_says_them() {
        for good in [0.0, 0.05, 1.0, LONGEST_S] {
            assert_eq!(said(|check| check.seconds("a.b_s", good)), None, "{good}");
        }
        for bad in [-1.0, LONGEST_S + 1.0, f64::NAN, f64::INFINITY, 1e300] {
            let message = said(|check| check.seconds("a.b_s", bad)).unwrap();
            assert!(message.contains("from 0 to 315360000"), "{message}");
            assert!(said(|check| check.some_seconds("a.b_s", bad)).is_some(), "{bad}");
        }
        assert_eq!(said(|check| check.some_seconds("a.b_s", 0.001)), None);
        let message = said(|check| check.some_seconds("a.b_s", 0.0)).unwrap();
        assert!(message.contains("from 0.001 to 315360000"), "{message}");
        assert_eq!(said(|check| check.milliseconds("a.b_ms", 500)), None);
        assert!(said(|check| check.milliseconds("a.b_ms", u64::MAX)).is_some());
    }
}
