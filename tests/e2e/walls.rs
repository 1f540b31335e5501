//! Promise 5: no company reads, lists, searches or ranks by another's data.

use serde_json::Value;

use crate::support::client::Client;
use crate::support::llm::Provider;
use crate::support::process::Site;
use crate::support::wait_for;

#[tokio::test(flavor = "multi_thread")]
async fn every_read_path_is_closed_to_anothers_key() {
    let site = Site::new("");
    let (key_a, key_b) = (site.company("a"), site.company("b"));
    site.knowledge("a", &[("secret.md", "# Kế hoạch mật\n\nMật mã của công ty A là sen hồng bảy cánh.\n")]);
    let server = site.serve();
    let (a, b) = (Client::new(&server, "a", &key_a), Client::new(&server, "b", &key_b));
    let mut own = a.ask("Mật mã của công ty A là gì?", "shared").await;
    own.rest().await;
    assert!(own.text().contains("sen hồng"), "{}", own.text());
    let turn_id = own.turn_id();
    let conversation = a.stored_turn(&turn_id).await["conversation_id"].as_str().unwrap().to_owned();

    // B asks the same, in a session of the same name: nothing of A's knowledge or history answers.
    let mut other = b.ask("Mật mã của công ty A là gì?", "shared").await;
    other.rest().await;
    assert!(!format!("{:?}", other.seen).contains("sen hồng"));
    assert_ne!(other.find("start").unwrap()["conversation_id"], conversation.as_str());

    // B with the names of A's things.
    assert_eq!(b.resume(&turn_id, 0).await.status(), 404);
    assert_eq!(b.stop(&turn_id).await, 404);
    assert_eq!(b.get("/api/companies/a/conversations").await.status(), 403);
    assert_eq!(b.get("/api/companies/a/analytics").await.status(), 403);
    assert_eq!(b.get(&format!("/api/companies/a/conversations/{conversation}")).await.status(), 403);
    assert_eq!(b.get(&format!("/api/companies/b/conversations/{conversation}")).await.status(), 404);
    let mut body = b.body("Mật mã?", "shared");
    body["company_id"] = "a".into();
    assert_eq!(b.post("/api/unified/chat-stream").json(&body).send().await.unwrap().status(), 403);
    assert_eq!(b.post("/api/unified/chat").json(&body).send().await.unwrap().status(), 403);
    // One key's Idempotency-Key means nothing under another.
    let mut first = a.turn(a.ask_with("Mật mã?", "s", &[("Idempotency-Key", "same")]).await);
    first.rest().await;
    let mut second = b.turn(b.ask_with("Mật mã?", "s", &[("Idempotency-Key", "same")]).await);
    second.rest().await;
    assert_ne!(first.turn_id(), second.turn_id());
    // No key, a wrong one, one that was cut.
    for key in ["", "tp_wrong", &key_a[..20]] {
        let stranger = Client::new(&server, "a", key);
        assert_eq!(stranger.get("/api/companies/a/conversations").await.status(), 401, "{key:?}");
        assert_eq!(stranger.get("/api/companies/a/analytics").await.status(), 401, "{key:?}");
        assert_eq!(stranger.resume(&turn_id, 0).await.status(), 401, "{key:?}");
    }
    let listed: Value = b.get("/api/unified/companies").await.json().await.unwrap();
    assert_eq!(listed["companies"], serde_json::json!([]));
    // Keys are kept as hashes.
    for file in ["store.db", "store.db-wal"] {
        let bytes = std::fs::read(site.data_dir().join(file)).unwrap_or_default();
        assert!(!bytes.windows(key_a.len()).any(|window| window == key_a.as_bytes()), "a key lies in {file}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ranking_is_the_same_to_the_bit_whatever_others_ingest() {
    let site = Site::new("");
    site.company("a");
    site.company("b");
    let documents: Vec<(String, String)> = (0..40)
        .map(|n| {
            (
                format!("{n}.md"),
                format!("# Sản phẩm {n}\n\nLãi suất vay số {n} là {n},5% cho kỳ hạn {} tháng.\n", n % 7),
            )
        })
        .collect();
    let documents: Vec<(&str, &str)> = documents.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    site.knowledge("a", &documents);
    let search =
        || site.ok(&["search", "--company", "a", "--json", "--all", "--limit", "20", "lãi suất vay kỳ hạn 3 tháng"]);
    let before = search();
    let others: Vec<(String, String)> = (0..2000)
        .map(|n| (format!("{n}.txt"), format!("lãi suất vay kỳ hạn {n} tháng của công ty khác, sản phẩm {n}")))
        .collect();
    let others: Vec<(&str, &str)> = others.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    site.knowledge("b", &others);
    assert_eq!(search(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn removing_a_company_leaves_nothing_of_it_and_says_what_went() {
    let provider = Provider::start().await;
    let site = Site::new(&provider.config("mock", &["plain"]));
    let key = site.company("a");
    site.company("b");
    site.endpoint("a", "http://127.0.0.1:9/hook");
    let canary = "chim hoàng yến 0xCAFE";
    site.knowledge("a", &[("canary.md", &format!("# Bí mật\n\nMật khẩu là {canary}.\n"))]);
    let mut server = site.serve();
    let client = Client::new(&server, "a", &key);
    let mut turn = client.ask(&format!("Mật khẩu {canary} là gì?"), "s").await;
    turn.rest().await;
    client.stored_turn(&turn.turn_id()).await;
    wait_for("the first turn to leave both queues of turns", || async {
        let ledger = site.ledger();
        let is_done = |queue: &Value| queue["queue"] == "turnpike.deliver" || queue["done"] == 1;
        ledger["queues"].as_array().unwrap().iter().all(is_done).then_some(())
    })
    .await;
    // The second turn is cut by the death of the process: what the crash leaves must go too.
    let mut cut = client.ask(&format!("Nhắc lại {canary}"), "s").await;
    cut.until("content").await.unwrap();
    server.kill();
    let receipt: Value = serde_json::from_str(&site.ok(&["company", "remove", "a", "--yes"])).unwrap();
    assert_eq!((receipt["turns"].as_u64(), receipt["documents"].as_u64()), (Some(1), Some(1)), "{receipt}");
    assert_eq!(receipt["counted_turns"], 1, "{receipt}");
    assert_eq!(
        (receipt["keys"].as_u64(), receipt["endpoints"].as_u64(), receipt["messages"].as_u64()),
        (Some(1), Some(1), Some(3)),
        "{receipt}"
    );
    let needle = canary.as_bytes();
    let mut folders = vec![site.data_dir()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let bytes = std::fs::read(&path).unwrap();
                assert!(!bytes.windows(needle.len()).any(|window| window == needle), "{} still has it", path.display());
            }
        }
    }
    assert!(site.ok(&["company", "list"]).starts_with("b\t"));
    assert_eq!(site.ledger()["balances"], true);
}
