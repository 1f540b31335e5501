//! The consumer's guide, docs/WEBHOOKS.md: its programs are taken out of it and run against what a real process sends.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

use serde_json::{Value, json};
use time::OffsetDateTime;
use turnpike::domain::webhook::Secret;

use crate::support::client::Client;
use crate::support::process::Site;
use crate::support::receiver::{Received, Receiver};
use crate::support::snippets::{self, Case, Verifier};
use crate::support::{PATIENCE, wait_for};

fn case(what: &str, request: &Received) -> Case {
    let header = |name: &str| Some(request.header(name).to_owned());
    Case {
        what: what.to_owned(),
        id: header("webhook-id"),
        timestamp: header("webhook-timestamp"),
        signatures: header("webhook-signature"),
        body: request.body.clone(),
    }
}

/// A request that was made so many seconds from now.
fn made(secret: &Secret, seconds: i64) -> Case {
    let timestamp = OffsetDateTime::now_utc().unix_timestamp() + seconds;
    let body = br#"{"type":"conversation.updated"}"#.to_vec();
    Case {
        what: format!("a time {seconds} s from now"),
        id: Some("msg_1".to_owned()),
        timestamp: Some(timestamp.to_string()),
        signatures: Some(secret.sign("msg_1", timestamp, &body).unwrap()),
        body,
    }
}

/// A genuine request with something about it that is not, and whether it is genuine all the same.
fn altered(genuine: &Case, version: &str) -> Vec<(Case, bool)> {
    let signature = genuine.signatures.clone().unwrap();
    let value = signature.split([',', ' ']).nth(1).unwrap();
    let with = |what: &str, change: &dyn Fn(&mut Case)| {
        let mut case = Case { what: what.to_owned(), ..genuine.clone() };
        change(&mut case);
        case
    };
    let signed = |text: String| with(&format!("signatures {text:?}"), &|case| case.signatures = Some(text.clone()));
    vec![
        (with("another body", &|case| case.body = [&case.body[..], b" "].concat()), false),
        (with("an empty body", &|case| case.body.clear()), false),
        (with("another id", &|case| case.id = Some("msg_other".to_owned())), false),
        (
            with("another time", &|case| {
                case.timestamp = case.timestamp.as_ref().map(|it| (it.parse::<i64>().unwrap() + 1).to_string())
            }),
            false,
        ),
        (with("a time that is none", &|case| case.timestamp = Some("soon".to_owned())), false),
        (
            with("a time that is no number alone", &|case| {
                case.timestamp = case.timestamp.as_ref().map(|it| format!("x{it}"))
            }),
            false,
        ),
        (with("no id", &|case| case.id = None), false),
        (with("no time", &|case| case.timestamp = None), false),
        (with("no signature", &|case| case.signatures = None), false),
        (signed(version.to_owned()), false),
        (signed(format!("{version},")), false),
        (signed(value.to_owned()), false),
        (signed(format!("v2,{value}")), false),
        (signed(format!("{version},{}", value.to_lowercase())), false),
        (signed(format!("{version},AAAA {version},/w== v2,xyz")), false),
        (signed(format!("v2,xyz {version},AAAA {version},{value}")), true),
    ]
}

fn secret_in(printed: &str) -> String {
    printed
        .split_whitespace()
        .find(|word| word.starts_with("wh") && word.contains('_') && word.len() > 40)
        .unwrap()
        .to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_process_sends_is_genuine_in_five_languages_during_a_rotation_too() {
    const TEST: &str = "what_a_process_sends_is_genuine_in_five_languages_during_a_rotation_too";
    let receiver = Receiver::healthy().await;
    let site = Site::new("");
    let key = site.company("acme");
    let old = site.endpoint("acme", &receiver.url("/shared"));
    let listed = site.ok(&["webhook", "list", "--company", "acme"]);
    let endpoint = listed.split('\t').next().unwrap();
    let add = ["webhook", "add", "--company", "acme", "--asymmetric", "--url", &receiver.url("/key")];
    let public_key = secret_in(&site.ok(&add));
    let server = site.serve();
    let client = Client::new(&server, "acme", &key);

    client.ask("Lãi suất vay là bao nhiêu?", "s1").await.rest().await;
    receiver.wait_for(2, PATIENCE).await;
    let new = secret_in(&site.ok(&["webhook", "rotate", "--company", "acme", endpoint]));
    client.ask("Còn xe hơi?", "s1").await.rest().await;
    let received = receiver.wait_for(4, PATIENCE).await;
    let of = |path: &str| received.iter().filter(|it| it.path == path).collect::<Vec<_>>();
    let (shared, asymmetric) = (of("/shared"), of("/key"));
    assert_eq!((shared.len(), asymmetric.len()), (2, 2));
    assert_eq!(shared[1].header("webhook-signature").split(' ').count(), 2, "both secrets sign");

    let before = case("nothing wrong, before the rotation", shared[0]);
    let during = case("nothing wrong, during the rotation", shared[1]);
    let secret: Secret = old.parse().unwrap();
    let mut under_old = vec![(before.clone(), true), (during.clone(), true)];
    under_old.extend(altered(&before, "v1"));
    under_old.extend(
        [(-290, true), (290, true), (-310, false), (310, false), (-86_400, false)]
            .map(|(seconds, is_genuine)| (made(&secret, seconds), is_genuine)),
    );
    let under_new = vec![(before, false), (during, true)];
    for verifier in Verifier::SHARED {
        for (secret, asked) in [(&old, &under_old), (&new, &under_new)] {
            check(TEST, verifier, secret, asked);
        }
    }

    let first = case("a key's signature", asymmetric[0]);
    let mut under_key = vec![(first.clone(), true), (case("another of a key's signatures", asymmetric[1]), true)];
    under_key.extend(altered(&first, "v1a"));
    check(TEST, Verifier::PublicKey, &public_key, &under_key);
}

fn check(test: &str, verifier: Verifier, secret: &str, asked: &[(Case, bool)]) {
    let cases: Vec<Case> = asked.iter().map(|(case, _)| case.clone()).collect();
    let Some(said) = snippets::judge(test, verifier, secret, &cases) else { return };
    for ((case, is_genuine), said) in asked.iter().zip(said) {
        assert_eq!(said, *is_genuine, "{verifier:?} of a request with {}", case.what);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_guides_consumer_takes_each_turn_once_in_any_order() {
    const TEST: &str = "the_guides_consumer_takes_each_turn_once_in_any_order";
    let Some(mut python) = snippets::program(TEST, "python3") else { return };
    let receiver = Receiver::healthy().await;
    let site = Site::new("");
    let key = site.company("acme");
    site.endpoint("acme", &receiver.url("/hook"));
    let server = site.serve();
    let client = Client::new(&server, "acme", &key);
    for n in 1..=4 {
        client.ask(&format!("Câu hỏi {n}"), "s1").await.rest().await;
    }
    let mut received = receiver.wait_for(4, PATIENCE).await;
    received.sort_by_key(|request| request.json()["data"]["sequence"].as_u64());
    let told: Vec<Case> = received.iter().map(|request| case("", request)).collect();

    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("consumer_snippet.py"), &snippets::of("docs/WEBHOOKS.md", "python")[1]).unwrap();
    std::fs::write(dir.path().join("consumer.py"), snippets::driver("consumer.py")).unwrap();
    python.arg("consumer.py").current_dir(dir.path()).env("PYTHONDONTWRITEBYTECODE", "1");
    python.env("CASES", snippets::cases(dir.path(), &told)).env("DATABASE", "consumer.db");
    let said: Value = serde_json::from_str(&snippets::run(&mut python)).unwrap();
    let summary = &received[3].json()["data"]["summary"];
    // The newest came first, so three are missing; then all come backwards, twice over.
    let expected = json!([
        true,
        [1, 2, 3],
        [false, true, true, true, false, false, false, false],
        [],
        [[4, summary]],
        [1, 2, 3, 4],
    ]);
    assert_eq!(said, expected);
}

/// The guide's receiver as a process. Dropped, it is killed.
struct Guide(Child);

impl Drop for Guide {
    fn drop(&mut self) {
        self.0.kill().unwrap_or_default();
        self.0.wait().map(drop).unwrap_or_default();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_guides_receiver_works_as_it_stands_there() {
    const TEST: &str = "the_guides_receiver_works_as_it_stands_there";
    let Some(mut python) = snippets::program(TEST, "python3") else { return };
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("receiver.py"), snippets::of("docs/WEBHOOKS.md", "python").join("\n")).unwrap();
    std::fs::write(dir.path().join("announce.py"), snippets::driver("announce.py")).unwrap();
    let secret = Secret::shared([7; 32]);
    python.arg("announce.py").current_dir(dir.path()).env("PYTHONDONTWRITEBYTECODE", "1");
    python.env("WEBHOOK_SECRET", secret.reveal()).env("PORT", "0").env("DATABASE", "webhooks.db");
    let mut guide = Guide(python.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap());
    let mut port = String::new();
    BufReader::new(guide.0.stdout.take().unwrap()).read_line(&mut port).unwrap();
    let url = format!("http://127.0.0.1:{}/hook", port.trim());

    // Another test of this process may have installed it.
    rustls::crypto::ring::default_provider().install_default().unwrap_or_default();
    let forged = reqwest::Client::new().post(&url).header("webhook-id", "msg_1").body("{}").send().await.unwrap();
    assert_eq!(forged.status(), 401);
    let site = Site::new("");
    let key = site.company("acme");
    site.ok(&["webhook", "add", "--company", "acme", "--url", &url, "--secret", secret.reveal()]);
    let server = site.serve();
    let client = Client::new(&server, "acme", &key);
    for session in ["s1", "s2"] {
        for n in 1..=3 {
            client.ask(&format!("Câu hỏi {n}"), session).await.rest().await;
        }
    }
    let database = dir.path().join("webhooks.db");
    let stored = wait_for("the receiver to have written all of it", || async {
        let database = rusqlite::Connection::open(&database).unwrap();
        let mut rows = database.prepare("SELECT sequence FROM turns ORDER BY sequence").unwrap();
        let stored: Vec<i64> = rows.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
        (stored.len() == 6).then_some(stored)
    })
    .await;
    assert_eq!(stored, [1, 1, 2, 2, 3, 3]);
}
