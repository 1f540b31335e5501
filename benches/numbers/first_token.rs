//! The way to the first token: the language event, the whole turn against the provider itself, and the turn's own share
//! of it as the stored turns tell it.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use crate::Effort;
use crate::client::Asker;
use crate::knowledge;
use crate::provider::Provider;
use crate::sites::{self, COMPANY};
use crate::support::client::Client;
use crate::support::process::{Server, Site};
use crate::support::{models, wait_for};
use crate::table::{Sample, Table, ms, ratio, reach};

/// The stages as a turn's record has them, and what they are.
const STAGES: [(&str, &str); 5] = [
    ("language_ms", "language known"),
    ("intent_ms", "intent known"),
    ("sources_ms", "passages found"),
    ("generation_ms", "prompt handed to the provider: the turn's own share"),
    ("first_content_ms", "first piece of the answer ready, provider included"),
];

pub(crate) async fn measure(effort: Effort) {
    let provider = Provider::start();
    let models = models("the embedding of questions; keywords alone are searched");
    let passages = effort.pick(10_000, 400);
    let (site, key) = prepare(&provider, models.as_ref(), passages).await;
    let server = site.serve();
    let (direct, through) = (Asker::direct(&provider.base_url()), Asker::through(&server, &key));
    provider.set(3, Duration::ZERO);
    for n in 0..effort.pick(100, 5) {
        direct.ask(&knowledge::question(n), "").await;
        through.ask(&knowledge::question(n), &format!("warm-{n}")).await;
    }

    let pairs = effort.pick(1500, 30);
    let (mut language, mut alone, mut whole) = (Sample::default(), Sample::default(), Sample::default());
    let mut conversations = Vec::new();
    for n in 0..pairs {
        let question = knowledge::question(10_000 + n);
        let session = format!("session-{n}");
        // Which goes first changes, so that neither always runs in the other's wake.
        if n % 2 == 0 {
            alone.push(direct.ask(&question, "").await.first_content());
        }
        let seen = through.ask(&question, &session).await;
        whole.push(seen.first_content());
        language.push(seen.language.expect("the language is told"));
        conversations.push(seen.conversation_id.expect("a stream begins with start"));
        if n % 2 == 1 {
            alone.push(direct.ask(&question, "").await.first_content());
        }
    }
    let found = if models.is_some() { "embedding and hybrid search" } else { "keyword search, NO embedding" };
    print(&language, &alone, &whole, &format!("{pairs} pairs; {found} over {passages} passages"));
    let turns = stored(&server, &key, &conversations).await;
    print_share(&turns, &format!("{found} over {passages} passages"), models.is_some());
}

async fn prepare(provider: &Provider, models: Option<&PathBuf>, passages: usize) -> (Site, String) {
    let site = Site::new(&sites::settings(Some(provider), models.map(PathBuf::as_path)));
    let key = site.company(COMPANY);
    knowledge::put(&site, passages).await;
    (site, key)
}

/// The conversations' only turns, once they are stored.
async fn stored(server: &Server, key: &str, conversations: &[String]) -> Vec<Value> {
    let client = Client::new(server, COMPANY, key);
    let mut turns = Vec::new();
    for id in conversations {
        let path = format!("/api/companies/{COMPANY}/conversations/{id}");
        let found = wait_for("a turn to be stored", || async {
            let response = client.get(&path).await;
            let body: Value = response.json().await.unwrap();
            body["turns"].get(0).cloned()
        });
        turns.push(found.await);
    }
    turns
}

fn print(language: &Sample, alone: &Sample, whole: &Sample, how: &str) {
    let mut table = Table::new(format!("First events after the request ({how})"), &["", "p50", "p99", "p50 ratio"]);
    table.row(
        "language event, through",
        &[ms(language.p50()), ms(language.p99()), String::new()],
        reach("p50 <= 1 ms", language.p50() <= 1.0),
    );
    table.row("first token, provider alone", &[ms(alone.p50()), ms(alone.p99()), "1.00x".to_owned()], "");
    table.row("first token, through", &[ms(whole.p50()), ms(whole.p99()), ratio(whole.p50(), alone.p50())], "");
    let (p50, p99) = (whole.p50() - alone.p50(), whole.p99() - alone.p99());
    table.row(
        "added by the whole turn",
        &[ms(p50), ms(p99), String::new()],
        reach("<= 5 / 15 ms", p50 <= 5.0 && p99 <= 15.0),
    );
    table.print();
}

fn print_share(turns: &[Value], how: &str, has_model: bool) {
    let sources: usize = turns.iter().map(|turn| turn["sources"].as_array().map_or(0, Vec::len)).sum();
    let sources = sources as f64 / turns.len() as f64;
    let title = format!("A turn from its start, as stored ({} turns of {sources:.1} sources; {how})", turns.len());
    let mut table = Table::new(title, &["", "p50", "p99"]);
    for (field, meaning) in STAGES {
        let mut sample = Sample::default();
        sample.extend(turns.iter().filter_map(|turn| turn["timings"][field].as_f64()));
        assert_eq!(sample.len(), turns.len(), "every turn has {field}");
        let target = match (field, has_model) {
            ("generation_ms", true) => reach("<= 5 / 15 ms", sample.p50() <= 5.0 && sample.p99() <= 15.0),
            ("generation_ms", false) => "<= 5 / 15 ms, with embedding: NOT MEASURED".to_owned(),
            ("language_ms", _) => reach("p50 <= 1 ms", sample.p50() <= 1.0),
            _ => String::new(),
        };
        table.row(meaning, &[ms(sample.p50()), ms(sample.p99())], target);
    }
    table.print();
}
