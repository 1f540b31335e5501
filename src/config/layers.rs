//! Reads the layers of settings, lays one over the other, and says where each mistake was made.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use toml::de::DeTable;
use toml::{Table, Value};

use super::Settings;
use super::raw::Raw;

/// The commented default file, which is also the lowest layer.
pub const DEFAULT_FILE: &str = include_str!("default.toml");

/// Where settings come from.
#[derive(Debug, Default)]
pub struct Sources {
    /// The settings file.
    pub file: Option<PathBuf>,
    /// The environment.
    pub env: BTreeMap<String, String>,
    /// Settings by path (`server.port`) that flags gave.
    pub flags: Vec<(String, String)>,
}

/// One thing that is wrong with the settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where it was written: a file and line, a variable, or a flag.
    pub origin: String,
    /// What is wrong, and what to write instead.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.origin, self.message)
    }
}

/// Reads, lays over, and checks the settings.
///
/// # Errors
/// Everything that is wrong, in all the layers.
pub fn load(sources: &Sources) -> Result<Settings, Vec<Problem>> {
    let mut layers = Layers::default();
    let mut problems = Vec::new();
    layers.merge_file(sources.file.as_deref(), &mut problems);
    layers.merge_env(&sources.env);
    for (path, value) in &sources.flags {
        layers.set(path, value, format!("--{}", path.rsplit('.').next().unwrap_or(path).replace('_', "-")));
    }
    let raw = layers.read(&mut problems);
    let settings = raw.map(|raw| raw.check(|path| layers.origin(path), &mut problems));
    match settings {
        Some(settings) if problems.is_empty() => Ok(settings),
        _ => Err(problems),
    }
}

/// Variables that people set already, and the settings that they are.
const KNOWN_VARIABLES: &[(&str, &str)] = &[
    ("HOST", "server.host"),
    ("PORT", "server.port"),
    ("LOG_LEVEL", "telemetry.log_level"),
    ("ORT_DYLIB_PATH", "embedder.ort_library"),
    ("MODEL_CACHE_DURATION", "models.catalog_cache_s"),
    ("TURNPIKE_ADMIN_TOKEN", "auth.admin_token"),
    ("QDRANT_API_KEY", "index.api_key"),
];

/// Backends that a variable chooses: the variable, the section, the backend's name, and the setting for its address.
const KNOWN_BACKENDS: &[(&str, &str, &str, &str)] = &[
    ("RABBITMQ_URL", "bus", "rabbitmq", "url"),
    ("MONGODB_URI", "store", "mongodb", "uri"),
    ("QDRANT_URL", "index", "qdrant", "url"),
];

/// Providers that a variable makes: the variable that decides, the name, kind, default address, and the variables for
/// address, key and model.
const KNOWN_PROVIDERS: &[(&str, &str, &str, &str, &str, &str, &str)] = &[
    (
        "OPENAI_API_KEY",
        "openai",
        "openai",
        "https://api.openai.com/v1",
        "OPENAI_BASE_URL",
        "OPENAI_MODEL",
        "gpt-4o-mini",
    ),
    (
        "DEEPSEEK_API_KEY",
        "deepseek",
        "openai",
        "https://api.deepseek.com/v1",
        "DEEPSEEK_BASE_URL",
        "DEEPSEEK_MODEL",
        "deepseek-chat",
    ),
    (
        "GEMINI_API_KEY",
        "gemini",
        "gemini",
        "https://generativelanguage.googleapis.com",
        "GEMINI_BASE_URL",
        "GEMINI_MODEL",
        "gemini-2.5-flash",
    ),
    ("QWEN_BASE_URL", "qwen", "openai", "", "QWEN_BASE_URL", "QWEN_MODEL", "Qwen/Qwen3-8B"),
];

#[derive(Default)]
struct Layers {
    table: Table,
    /// Which variable or flag set a path.
    setters: BTreeMap<String, String>,
    file: Option<(PathBuf, String)>,
}

impl Layers {
    fn merge_file(&mut self, file: Option<&Path>, problems: &mut Vec<Problem>) {
        self.table = DEFAULT_FILE.parse().unwrap_or_default();
        let Some(path) = file else { return };
        let origin = path.display().to_string();
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) => {
                problems.push(Problem { origin, message: format!("cannot be read: {error}") });
                return;
            }
        };
        match text.parse::<Table>() {
            Ok(table) => merge(&mut self.table, table),
            Err(error) => {
                let line = error.span().map(|span| line_of_offset(&text, span.start));
                let origin = line.map_or(origin.clone(), |line| format!("{origin}:{line}"));
                problems.push(Problem { origin, message: error.message().to_owned() });
            }
        }
        self.file = Some((path.to_owned(), text));
    }

    fn merge_env(&mut self, env: &BTreeMap<String, String>) {
        for (variable, path) in KNOWN_VARIABLES {
            if let Some(value) = env.get(*variable).filter(|value| !value.is_empty()) {
                self.set(path, value, (*variable).to_owned());
            }
        }
        for (variable, section, name, address) in KNOWN_BACKENDS {
            if let Some(value) = env.get(*variable).filter(|value| !value.is_empty()) {
                self.set(&format!("{section}.backend"), name, (*variable).to_owned());
                self.set_value(&format!("{section}.{address}"), Value::String(value.clone()), (*variable).to_owned());
            }
        }
        for (decides, name, kind, address, address_variable, model_variable, model) in KNOWN_PROVIDERS {
            let Some(deciding) = env.get(*decides).filter(|value| !value.is_empty()) else { continue };
            let address = env.get(*address_variable).map_or(*address, String::as_str);
            let versioned = if *name == "qwen" { with_version(address) } else { address.to_owned() };
            let model = env.get(*model_variable).map_or(*model, String::as_str);
            self.set(&format!("providers.{name}.kind"), kind, (*decides).to_owned());
            self.set(&format!("providers.{name}.base_url"), &versioned, (*address_variable).to_owned());
            self.set_value(
                &format!("providers.{name}.models"),
                Value::Array(vec![Value::String(model.to_owned())]),
                (*model_variable).to_owned(),
            );
            if decides != address_variable {
                self.set_value(
                    &format!("providers.{name}.api_key"),
                    Value::String(deciding.clone()),
                    (*decides).to_owned(),
                );
            }
        }
        if let Some(value) = env.get("QWEN_TIMEOUT").filter(|value| !value.is_empty())
            && self.get("providers.qwen").is_some()
        {
            self.set("providers.qwen.timeout_s", value, "QWEN_TIMEOUT".to_owned());
        }
        for (variable, value) in env {
            if let Some(path) = variable.strip_prefix("TURNPIKE__") {
                self.set(&path.to_lowercase().replace("__", "."), value, variable.clone());
            }
        }
    }

    /// Sets a path from text. A path that holds text so far stays text; else TOML's own notation decides.
    fn set(&mut self, path: &str, text: &str, setter: String) {
        let is_text = matches!(self.get(path), Some(Value::String(_)))
            || ["key", "token", "url", "uri", "library", "dir"].iter().any(|end| path.ends_with(end));
        let parsed = if is_text { None } else { format!("v = {text}").parse::<Table>().ok() };
        let value = parsed.and_then(|mut table| table.remove("v")).unwrap_or_else(|| Value::String(text.to_owned()));
        self.set_value(path, value, setter);
    }

    fn set_value(&mut self, path: &str, value: Value, setter: String) {
        self.setters.insert(path.to_owned(), setter);
        let value =
            path.rsplit('.').fold(value, |value, key| Value::Table(Table::from_iter([(key.to_owned(), value)])));
        if let Value::Table(table) = value {
            merge(&mut self.table, table);
        }
    }

    fn get(&self, path: &str) -> Option<&Value> {
        let mut keys = path.split('.');
        let first = self.table.get(keys.next()?)?;
        keys.try_fold(first, |value, key| value.get(key))
    }

    /// Reads the table. A mistake is noted, taken out, replaced by the default, and the reading begun again, so that
    /// the next mistake is found too.
    fn read(&mut self, problems: &mut Vec<Problem>) -> Option<Raw> {
        let defaults: Table = DEFAULT_FILE.parse().unwrap_or_default();
        let mut table = self.table.clone();
        loop {
            let mut unknown = Vec::new();
            let mut track = serde_path_to_error::Track::new();
            let result: Result<Raw, _> = {
                let deserializer = serde_path_to_error::Deserializer::new(Value::Table(table.clone()), &mut track);
                serde_ignored::deserialize(deserializer, |path| unknown.push(path.to_string()))
            };
            match result {
                Ok(raw) => {
                    for path in unknown {
                        problems.push(Problem {
                            origin: self.origin(&path),
                            message: format!(
                                "there is no setting `{path}`; `turnpike config default` lists those there are"
                            ),
                        });
                    }
                    return Some(raw);
                }
                Err(error) => {
                    let path = track.path().to_string().replace(".?", "");
                    let message = error.to_string();
                    let message = message.lines().next().unwrap_or_default();
                    problems.push(Problem { origin: self.origin(&path), message: format!("`{path}`: {message}") });
                    if !replace(&mut table, &defaults, &path) {
                        return None;
                    }
                }
            }
        }
    }

    /// Where a path was written.
    fn origin(&self, path: &str) -> String {
        if let Some(setter) = self.setters.get(path) {
            return setter.clone();
        }
        if let Some((file, text)) = &self.file {
            return match line_of_path(text, path) {
                Some(line) => format!("{}:{line}", file.display()),
                None => file.display().to_string(),
            };
        }
        "settings".to_owned()
    }
}

/// The address of a server with the version that its API is under: people set vLLM's without one
/// (`http://localhost:8000`).
fn with_version(address: &str) -> String {
    let after_host = address.split_once("://").and_then(|(_, rest)| rest.split_once('/'));
    match after_host {
        Some((_, path)) if !path.is_empty() => address.to_owned(),
        _ => format!("{}/v1", address.trim_end_matches('/')),
    }
}

/// Puts the default in place of a path, or removes it; says whether anything changed.
fn replace(table: &mut Table, defaults: &Table, path: &str) -> bool {
    // A mistake inside a list is one of the whole list.
    let path = path.split('[').next().unwrap_or(path);
    match path.split_once('.') {
        None => match defaults.get(path) {
            Some(default) => {
                let changed = table.get(path) != Some(default);
                table.insert(path.to_owned(), default.clone());
                changed
            }
            None => table.remove(path).is_some(),
        },
        Some((key, rest)) => {
            let empty = Table::new();
            let defaults_below = defaults.get(key).and_then(Value::as_table).unwrap_or(&empty);
            if let Some(Value::Table(below)) = table.get_mut(key)
                && replace(below, defaults_below, rest)
            {
                return true;
            }
            match table.get_mut(key) {
                // What cannot be mended inside is taken out whole, such as a provider without a kind.
                Some(_) if !defaults.contains_key(key) => table.remove(key).is_some(),
                Some(value) if defaults.get(key) != Some(value) => {
                    table.insert(key.to_owned(), defaults.get(key).cloned().unwrap_or(Value::Table(Table::new())));
                    true
                }
                _ => false,
            }
        }
    }
}

fn merge(base: &mut Table, over: Table) {
    for (key, value) in over {
        match (base.get_mut(&key), value) {
            (Some(Value::Table(below)), Value::Table(value)) => merge(below, value),
            (_, value) => {
                base.insert(key, value);
            }
        }
    }
}

/// The line, from 1, on which a path's value begins, or that of the table around it.
pub(super) fn line_of_path(text: &str, path: &str) -> Option<usize> {
    let root = DeTable::parse(text).ok()?;
    let mut table = root.get_ref().clone();
    let mut line = None;
    for key in path.split(['.', '[']) {
        let Some((name, value)) = table.iter().find(|(name, _)| name.get_ref() == key) else { break };
        line = Some(line_of_offset(text, name.span().start));
        let below = value.get_ref().as_table().cloned();
        match below {
            Some(below) => table = below,
            None => break,
        }
    }
    line
}

fn line_of_offset(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|&byte| byte == b'\n').count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ProviderKind;

    fn problems(file: &str, env: &[(&str, &str)]) -> Vec<String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("turnpike.toml");
        std::fs::write(&path, file).unwrap();
        let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let sources = Sources { file: Some(path.clone()), env, flags: vec![] };
        let prefix = format!("{}/", dir.path().display());
        match load(&sources) {
            Ok(_) => vec![],
            Err(problems) => problems.iter().map(|problem| problem.to_string().replace(&prefix, "")).collect(),
        }
    }

    #[test]
    fn the_default_file_is_right() {
        assert_eq!(load(&Sources::default()).map(|settings| settings.server.port), Ok(8080));
    }

    #[test]
    fn all_mistakes_are_reported_at_once_with_their_places() {
        let found = problems(
            "[server]\nport = \"many\"\nhots = \"x\"\n\n[turn]\nheartbeat_s = -1\n\n[auth]\nmode = \"none\"\n\n[providers.x]\nbase_url = \"u\"\n",
            &[("TURNPIKE__SPOOL__MAX_BYTES", "lots"), ("LOG_LEVEL", "info")],
        );
        let text = found.join("\n");
        for part in [
            "turnpike.toml:2: `server.port`",
            "turnpike.toml:3: there is no setting `server.hots`",
            "turnpike.toml:6: `turn.heartbeat_s`",
            "turnpike.toml:9: `auth.mode`",
            "TURNPIKE__SPOOL__MAX_BYTES: `spool.max_bytes`",
            "turnpike.toml:11: `providers.x`",
        ] {
            assert!(text.contains(part), "{part:?} is not in:\n{text}");
        }
    }

    #[test]
    fn a_variable_wins_over_the_file_and_a_flag_over_both() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("turnpike.toml");
        std::fs::write(&path, "[server]\nport = 1\nhost = \"127.0.0.2\"\n").unwrap();
        let sources = Sources {
            file: Some(path),
            env: [("PORT".to_owned(), "2".to_owned()), ("TURNPIKE__TURN__RETAIN_S".to_owned(), "7".to_owned())].into(),
            flags: vec![("server.port".to_owned(), "3".to_owned())],
        };
        let settings = load(&sources).unwrap();
        assert_eq!(settings.server.port, 3);
        assert_eq!(settings.server.host.to_string(), "127.0.0.2");
        assert_eq!(settings.turn.retain.as_secs(), 7);
    }

    #[test]
    fn blocks_of_addresses_are_checked_at_the_start() {
        let said = |blocks: &str| problems(&format!("[webhooks]\nallow_addresses = {blocks}\n"), &[]).join("\n");
        assert_eq!(said(r#"["10.1.0.0/16", "fd00:1::/32", "127.0.0.1"]"#), "");
        let wrong = said(r#"["10.1.2.3/16", "intranet"]"#);
        for part in
            ["turnpike.toml:2: `webhooks.allow_addresses`", "the block is 10.1.0.0/16", "\"intranet\" is not a block"]
        {
            assert!(wrong.contains(part), "{part:?} is not in:\n{wrong}");
        }
    }

    #[test]
    fn open_mode_refuses_an_address_that_others_reach() {
        assert!(problems("[auth]\nmode = \"open\"\n", &[]).is_empty());
        let found = problems("[auth]\nmode = \"open\"\n[server]\nhost = \"0.0.0.0\"\n", &[]);
        assert!(found.join("\n").contains("loopback"), "{found:?}");
    }

    #[test]
    fn a_token_that_could_be_guessed_is_refused_and_not_repeated() {
        let said = |token: &str| problems("", &[("TURNPIKE_ADMIN_TOKEN", token)]).join("\n");
        assert_eq!(said("0123456789abcdef"), "");
        let short = said("opensesame");
        assert!(short.contains("TURNPIKE_ADMIN_TOKEN: `auth.admin_token`") && !short.contains("opensesame"), "{short}");
    }

    #[test]
    fn qwen_is_set_as_its_users_set_it() {
        for (address, base_url) in [
            ("http://localhost:8000", "http://localhost:8000/v1"),
            ("http://localhost:8000/", "http://localhost:8000/v1"),
            ("http://localhost:8000/v1", "http://localhost:8000/v1"),
            ("https://example.com/compatible-mode/v1/", "https://example.com/compatible-mode/v1"),
        ] {
            let env = [("QWEN_BASE_URL", address), ("QWEN_MODEL", "Qwen/Qwen3-0.6B"), ("QWEN_TIMEOUT", "120")];
            let env = env.map(|(name, value)| (name.to_owned(), value.to_owned()));
            let settings = load(&Sources { env: env.into(), ..Sources::default() }).unwrap();
            let qwen = settings.providers.first().unwrap();
            assert_eq!(qwen.models, ["Qwen/Qwen3-0.6B"]);
            assert_eq!(qwen.timeout, Some(std::time::Duration::from_secs(120)));
            let ProviderKind::OpenAi { base_url: found, .. } = &qwen.kind else { panic!("{:?}", qwen.kind) };
            assert_eq!(found, base_url);
        }
        let found = problems("", &[("QWEN_BASE_URL", "http://localhost:8000"), ("QWEN_TIMEOUT", "soon")]);
        assert!(found.join("\n").contains("QWEN_TIMEOUT"), "{found:?}");
        assert!(problems("", &[("QWEN_TIMEOUT", "120")]).is_empty(), "without a provider it means nothing");
    }

    #[test]
    fn known_variables_make_providers_and_keep_their_secret() {
        let sources = Sources { env: [("OPENAI_API_KEY".to_owned(), "12345".to_owned())].into(), ..Sources::default() };
        let settings = load(&sources).unwrap();
        assert_eq!(settings.providers.len(), 1);
        assert!(!format!("{settings:?}").contains("12345"));
    }
}
