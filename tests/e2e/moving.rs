//! Companies that are exported from one backend and imported into another, by the real binary.

mod interrupted;
mod vectors;

use std::path::Path;

use serde_json::Value;
use uuid::Uuid;

use crate::support::client::Client;
use crate::support::process::Site;
use crate::support::qdrant::QdrantServer;
use crate::support::{services, wait_for};

const KNOWLEDGE: &[(&str, &str)] = &[
    ("hours.md", "# Opening hours\n\nOur branches are open from 8:00 to 17:00, Monday to Friday.\n"),
    ("phi.md", "# Biểu phí\n\n## Thẻ\n\nPhí thường niên thẻ tín dụng là 300.000 đồng.\n\n## Tài khoản\n\nMiễn phí.\n"),
    ("lai-suat.md", "# Lãi suất\n\nLãi suất vay mua nhà cố định 12 tháng là 6,8%/năm.\n"),
];
const QUESTIONS: &[&str] = &["When are you open?", "phi thuong nien the tin dung", "Lãi suất vay mua nhà?"];

/// What a company's clients and its operator see.
#[derive(Debug)]
struct View {
    found: Value,
    heads: Value,
    conversations: Vec<Vec<Value>>,
    endpoints: String,
}

impl View {
    async fn of(site: &Site, key: &str) -> Self {
        let found = site.ok(&["search", "--company", "acme", "--json", "--all", QUESTIONS[1]]);
        let server = site.serve();
        let client = Client::new(&server, "acme", key);
        let view = Self {
            found: serde_json::from_str(&found).unwrap(),
            heads: client.get("/api/companies/acme/conversations?limit=100").await.json().await.unwrap(),
            conversations: client.stored().await,
            endpoints: site.ok(&["webhook", "list", "--company", "acme"]),
        };
        server.stop();
        view
    }

    #[track_caller]
    fn require(&self, expected: &Self) {
        assert_eq!(self.heads, expected.heads);
        assert_eq!(self.conversations, expected.conversations);
        assert_eq!(self.endpoints, expected.endpoints);
        assert!(is_same(&self.found, &expected.found), "{:#} is not {:#}", self.found, expected.found);
    }
}

/// Whether two values are the same but for the last bit of numbers: `moving::vectors` says why.
fn is_same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| is_same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(name, a)| b.get(name).is_some_and(|b| is_same(a, b)))
        }
        (Value::Number(a), Value::Number(b)) => {
            let (a, b) = (a.as_f64().unwrap(), b.as_f64().unwrap());
            (a - b).abs() <= 1e-6 * b.abs()
        }
        (a, b) => a == b,
    }
}

/// A site with a company that has some of everything, and the company's key.
async fn site_with_a_company() -> (Site, String) {
    let site = Site::new("");
    let key = site.company("acme");
    // A second key and the settings that a company can have.
    site.ok(&["company", "add", "acme", "--description", "Một ngân hàng.", "--retention-days", "3650"]);
    site.company("other");
    site.endpoint("acme", "http://127.0.0.1:9/hook");
    site.knowledge("acme", KNOWLEDGE);
    let server = site.serve();
    let client = Client::new(&server, "acme", &key);
    for (n, question) in QUESTIONS.iter().cycle().take(8).enumerate() {
        client.ask(question, &format!("s{}", n % 3)).await.rest().await;
    }
    wait_for("the turns to be stored", || async {
        (client.stored().await.iter().map(Vec::len).sum::<usize>() == 8).then_some(())
    })
    .await;
    server.stop();
    (site, key)
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn stderr(output: &std::process::Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Asks one more question in a conversation that was moved, and gives its place there.
async fn next_place(site: &Site, key: &str, session: &str) -> u64 {
    let server = site.serve();
    let client = Client::new(&server, "acme", key);
    let mut turn = client.ask(QUESTIONS[0], session).await;
    turn.rest().await;
    let stored = client.stored_turn(&turn.turn_id()).await;
    server.stop();
    stored["sequence"].as_u64().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_company_moves_between_machines_as_it_is() {
    let (from, key) = site_with_a_company().await;
    let before = View::of(&from, &key).await;
    assert_eq!(before.conversations.iter().map(Vec::len).sum::<usize>(), 8);
    assert!(!before.found.as_array().unwrap().is_empty(), "{before:?}");

    let dir = from.path().join("export");
    let server = from.serve();
    let refused = from.run(&["export", text(&dir)]);
    assert!(!refused.status.success() && stderr(&refused).contains("in use by turnpike serve"), "{}", stderr(&refused));
    server.stop();
    let said = from.ok(&["export", text(&dir), "--company", "acme"]);
    assert!(said.contains("acme") && !said.contains("other"), "{said}");
    let again = from.run(&["export", text(&dir)]);
    assert!(!again.status.success() && stderr(&again).contains("complete"), "{}", stderr(&again));

    let to = Site::new("");
    let said = to.ok(&["import", text(&dir)]);
    assert_eq!(said.lines().filter(|line| line.ends_with("same")).count(), 7, "{said}");
    to.ok(&["import", text(&dir), "--company", "acme"]);
    // Only that company has come, its key opens it, and what was done twice is there once.
    assert!(!to.ok(&["company", "list"]).contains("other"));
    assert_eq!(to.ok(&["company", "show", "acme"]), from.ok(&["company", "show", "acme"]));
    View::of(&to, &key).await.require(&before);
    assert_eq!(next_place(&to, &key, "s0").await, 4);

    // What came since is a difference, and is said to be one.
    let differing = to.run(&["import", text(&dir), "--json"]);
    assert_eq!(differing.status.code(), Some(1), "{}", stderr(&differing));
    let report: Value = serde_json::from_slice(&differing.stdout).unwrap();
    let files: Vec<&str> = report[0]["files"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|file| file["same"] == false)
        .map(|file| file["file"].as_str().unwrap())
        .collect();
    assert_eq!(files, ["conversations.jsonl", "turns.jsonl"]);
}

#[test]
fn a_damaged_export_changes_nothing() {
    let from = Site::new("");
    from.company("acme");
    from.knowledge("acme", KNOWLEDGE);
    let dir = from.path().join("export");
    from.ok(&["export", text(&dir)]);
    let path = dir.join("companies/acme/passages.jsonl");
    let mut content = std::fs::read(&path).unwrap();
    let middle = content.len() / 2;
    content[middle] ^= 1;
    std::fs::write(&path, content).unwrap();
    let to = Site::new("");
    let output = to.run(&["import", text(&dir)]);
    assert!(!output.status.success());
    assert!(stderr(&output).contains("passages.jsonl is damaged"), "{}", stderr(&output));
    assert_eq!(to.ok(&["company", "list"]), "");
    let output = to.run(&["import", text(&dir), "--company", "nobody"]);
    assert!(stderr(&output).contains("no company nobody; it holds acme"), "{}", stderr(&output));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_company_moves_to_servers_and_back_as_it_is() {
    let test = "a_company_moves_to_servers_and_back_as_it_is";
    let (Some(rabbitmq), Some(mongodb)) = (services::rabbitmq(test), services::mongodb(test)) else { return };
    let qdrant = QdrantServer::start();
    let name = format!("t{}", Uuid::new_v4().simple());
    let servers = Site::new(&format!(
        "[bus]\nbackend = \"rabbitmq\"\nurl = {rabbitmq:?}\nnamespace = {name:?}\n\
         [store]\nbackend = \"mongodb\"\nuri = {mongodb:?}\ndatabase = {name:?}\n\
         [index]\nbackend = \"qdrant\"\nurl = {:?}\ncollection = {name:?}\ntimeout_s = 20\n",
        qdrant.url(),
    ));
    let (from, key) = site_with_a_company().await;
    let before = View::of(&from, &key).await;
    let out = from.path().join("out");
    from.ok(&["export", text(&out), "--company", "acme"]);

    servers.ok(&["migrate"]);
    servers.ok(&["import", text(&out)]);
    View::of(&servers, &key).await.require(&before);
    assert_eq!(next_place(&servers, &key, "s0").await, 4);

    // The service may go on meanwhile, on servers.
    let running = servers.serve();
    let back = servers.path().join("back");
    servers.ok(&["export", text(&back)]);
    let client = Client::new(&running, "acme", &key);
    let (heads, conversations): (Value, _) =
        (client.get("/api/companies/acme/conversations?limit=100").await.json().await.unwrap(), client.stored().await);
    running.stop();
    let home = Site::new("");
    home.ok(&["import", text(&back)]);
    let after = View::of(&home, &key).await;
    after.require(&View { heads, conversations, ..before });
    assert_eq!(next_place(&home, &key, "s0").await, 5);
}
