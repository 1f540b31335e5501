//! What holds at the end of a run: everything that was promised, and nothing else.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::promise::{End, Promise, Seen};
use super::site::{COMPANY, Cluster, EACH, Node, ORDERED, SENDING, blocking, is_taken};
use crate::support::client::Client;
use crate::support::say;

/// The longest that nothing may come to its end once all faults are over, while something is under way.
const STANDSTILL: Duration = Duration::from_secs(150);
/// The longest that all of it may take.
const SETTLING: Duration = Duration::from_secs(600);
/// Between two looks: counting is work for the test's database, which has the webhooks to see to.
const LOOK: Duration = Duration::from_secs(1);

/// What a run may have cost.
pub(super) struct Bounds {
    /// Faults that may each have cut short the webhooks that workers were sending, so that they are sent again.
    pub(super) cuts_of_deliveries: usize,
}

impl Cluster {
    /// Waits until nothing is under way any more, and checks every promise.
    pub(super) async fn check(&self, seen: &Seen, bounds: &Bounds) {
        assert!(seen.failures.is_empty(), "{} streams failed:\n{}", seen.failures.len(), seen.failures.join("\n"));
        for (number, node) in self.nodes().enumerate() {
            assert!(!node.is_gone(), "process {number} ended by itself:\n{}", node.said());
        }
        // A gateway does not let a stream wait for whose a key is, and says so when it could not tell.
        let untold = self.said("\"operation\":\"claim\"");
        let others = &seen.given_another;
        assert!(others.len() <= untold, "{untold} keys were not told of, and yet one key stood for two: {others:#?}");

        let over = Instant::now();
        let ledger = self.settled().await;
        say(&format!("  nothing is under way {:.0} s after the last turn", over.elapsed().as_secs_f64()));
        assert_eq!(sum(&ledger, "dead"), 0, "{ledger:#}");
        assert_eq!(sum(&ledger, "lost"), 0, "{ledger:#}");
        assert_eq!(self.on_their_way(), "", "the log takes for pending what the ledger does not");

        let stored = self.stored().await;
        self.promised(seen, &stored);
        let overtaken = overtaken(seen, &stored);
        let doubled = self.delivered(&stored, bounds);
        if self.is_ordered {
            self.in_order(&stored);
        }
        let done = seen.promises.iter().filter(|it| matches!(it.end, End::Done(_))).count();
        say(&format!(
            "  {} turns begun, {done} read to the end, {} cut by kills before their start; {} resumed and {} repeated on \
             another gateway, {} keys unknown there; {} stored, {} of them after a later one; {doubled} webhooks \
             doubled",
            seen.promises.len(),
            seen.cut_early,
            seen.resumed,
            seen.repeated,
            seen.given_another.len(),
            stored.len(),
            overtaken,
        ));
    }

    /// The ledger, once nothing is pending. A test server has no snapshots, so what ends while it is read may be counted in
    /// one place and not yet in the other: one that does not balance is read again.
    async fn settled(&self) -> Value {
        let began = Instant::now();
        let (mut last, mut moved_at) = (Value::Null, began);
        while began.elapsed() < SETTLING && moved_at.elapsed() < STANDSTILL {
            if let Some(ledger) = self.ledger() {
                let is_over = sum(&ledger, "pending") == 0 && sum(&ledger, "unfinished_turns") == 0;
                if is_over && ledger["balances"] == true {
                    return ledger;
                }
                if sum(&ledger, "done") != sum(&last, "done") {
                    moved_at = Instant::now();
                }
                last = ledger;
            }
            tokio::time::sleep(LOOK).await;
        }
        for (number, node) in self.nodes().enumerate() {
            node.note(&format!("{number}: {}", self.metrics(node).await));
        }
        let held_up = self.on_their_way();
        panic!("the ledger is not settled after {:?}: {last:#}\n{held_up}", began.elapsed());
    }

    /// What the log takes for pending, a delivery a line.
    fn on_their_way(&self) -> String {
        let wanted = ["webhook", "deliveries", "--company", COMPANY, "--state", "pending", "--json"];
        blocking(|| self.desk.ok(&wanted))
    }

    /// How often the gateways logged something.
    fn said(&self, what: &str) -> usize {
        self.gateways.iter().map(|node| node.said().matches(what).count()).sum()
    }

    async fn metrics(&self, node: &Node) -> String {
        let Some(base) = node.base() else { return String::new() };
        self.client.at(&base).get("/metrics").await.text().await.unwrap_or_default()
    }

    /// The stored turns by id, the same at every gateway.
    async fn stored(&self) -> HashMap<String, Value> {
        let mut answers = Vec::with_capacity(EACH);
        for gateway in &self.gateways {
            let client: Client = self.client.at(&gateway.base().expect("all gateways are up at the end"));
            let mut stored = HashMap::new();
            for turns in client.stored().await {
                let sequences: Vec<u64> = turns.iter().map(|turn| turn["sequence"].as_u64().unwrap()).collect();
                let whole: Vec<u64> = (1..=sequences.len() as u64).collect();
                assert_eq!(sequences, whole, "sequences of {} have gaps", turns[0]["conversation_id"]);
                for turn in turns {
                    let twice = stored.insert(turn["turn_id"].as_str().unwrap().to_owned(), turn);
                    assert!(twice.is_none(), "a turn is stored twice: {twice:?}");
                }
            }
            answers.push(stored);
        }
        let first = answers.swap_remove(0);
        assert!(answers.iter().all(|other| *other == first), "the gateways do not agree about what is stored");
        first
    }

    /// Every promise is kept, and no turn is stored that nobody asked for.
    fn promised(&self, seen: &Seen, stored: &HashMap<String, Value>) {
        let mut broken = Vec::new();
        for promise in &seen.promises {
            if let Some(fault) = fault(promise, stored.get(&promise.turn_id)) {
                broken.push(format!("{fault}: {promise:?}"));
            }
        }
        assert!(broken.is_empty(), "{} promises are broken:\n{}", broken.len(), broken.join("\n"));
        let known: HashSet<&str> = seen.promises.iter().map(|it| it.turn_id.as_str()).collect();
        assert_eq!(known.len(), seen.promises.len(), "two requests were given one turn");
        let unknown = stored.keys().filter(|id| !known.contains(id.as_str())).count();
        assert!(unknown <= seen.cut_early, "{unknown} turns are stored that nobody asked for");
    }

    /// Every stored turn was delivered, always under one id with one body. Says how many webhooks the receiver took more
    /// than once.
    fn delivered(&self, stored: &HashMap<String, Value>, bounds: &Bounds) -> usize {
        let mut deliveries: HashMap<String, Vec<(String, Value)>> = HashMap::new();
        let mut taken: HashMap<String, usize> = HashMap::new();
        let unsigned = self.unsigned.lock().unwrap();
        assert!(unsigned.is_empty(), "{} webhooks were not signed well: {unsigned:?}", unsigned.len());
        for request in self.receiver.received().into_iter().filter(|request| request.path != ORDERED) {
            let (id, body) = (request.header("webhook-id").to_owned(), request.json());
            assert_eq!(body["data"]["company_id"], COMPANY);
            let turn_id = body["data"]["turn_id"].as_str().unwrap().to_owned();
            *taken.entry(id.clone()).or_default() += usize::from(is_taken(&request));
            deliveries.entry(turn_id).or_default().push((id, body));
        }
        for (turn_id, turn) in stored {
            let all = deliveries.get(turn_id).unwrap_or_else(|| panic!("turn {turn_id} was not delivered"));
            let (id, body) = &all[0];
            assert!(all.iter().all(|one| *one == all[0]), "turn {turn_id} came under two ids or bodies: {all:#?}");
            assert_eq!(body["data"]["sequence"], turn["sequence"]);
            assert_eq!(body["data"]["messages"][0]["content"], turn["message"]);
            assert!(taken[id] > 0, "the webhook of turn {turn_id} was refused and not sent again");
        }
        for turn_id in deliveries.keys() {
            assert!(stored.contains_key(turn_id), "turn {turn_id} was delivered and is not stored");
        }
        let doubled: usize = taken.values().map(|times| times - 1).sum();
        let most = taken.values().copied().max().unwrap_or_default();
        let cuts = bounds.cuts_of_deliveries;
        assert!(most <= 1 + cuts, "a webhook was taken {most} times, with {cuts} faults that cut deliveries");
        assert!(doubled <= cuts * SENDING, "{doubled} webhooks doubled, with {cuts} faults that cut deliveries");
        doubled
    }
}

impl Cluster {
    /// The endpoint that wants order took every stored turn, and each conversation's in their order.
    fn in_order(&self, stored: &HashMap<String, Value>) {
        let mut taken: HashMap<String, Vec<u64>> = HashMap::new();
        let mut seen = HashSet::new();
        let requests = self.receiver.received();
        for request in requests.iter().filter(|request| request.path == ORDERED && is_taken(request)) {
            // Again, after a worker died with the answer.
            if !seen.insert(request.header("webhook-id").to_owned()) {
                continue;
            }
            let data = &request.json()["data"];
            let conversation = data["conversation_id"].as_str().unwrap().to_owned();
            taken.entry(conversation).or_default().push(data["sequence"].as_u64().unwrap());
        }
        assert_eq!(seen.len(), stored.len(), "the endpoint that wants order took other turns than are stored");
        for (conversation, sequences) in taken {
            let whole: Vec<u64> = (1..=sequences.len() as u64).collect();
            assert_eq!(sequences, whole, "conversation {conversation} came out of order");
        }
    }
}

/// What is wrong with what is stored of a turn.
fn fault(promise: &Promise, stored: Option<&Value>) -> Option<String> {
    let Some(turn) = stored else { return Some("not stored".to_owned()) };
    let (answer, reason) = (turn["answer"].as_str()?, turn["finish_reason"].as_str()?);
    if turn["message"] != promise.message || turn["session_id"] != promise.session {
        return Some(format!("stored as another question, {turn}"));
    }
    match &promise.end {
        End::Done(read) if read != reason || answer != promise.text => {
            Some(format!("read to its end, stored as {reason} {answer:?}"))
        }
        End::Error(_) if reason != "failed" => Some(format!("ended with an error, stored as {reason}")),
        End::Cut if !answer.starts_with(&promise.text) => {
            Some(format!("stored text does not begin with it: {answer:?}"))
        }
        _ => None,
    }
}

/// Turns that have a higher sequence than one which the same customer asked later. They are counted and no fault here: a
/// gateway that cannot learn in time which turn came before does not let its customer wait.
fn overtaken(seen: &Seen, stored: &HashMap<String, Value>) -> usize {
    let mut lowest: HashMap<&str, u64> = HashMap::new();
    let mut count = 0;
    for promise in seen.promises.iter().rev() {
        let Some(sequence) = stored.get(&promise.turn_id).and_then(|turn| turn["sequence"].as_u64()) else { continue };
        let lowest = lowest.entry(&promise.session).or_insert(sequence);
        count += usize::from(sequence > *lowest);
        *lowest = sequence.min(*lowest);
    }
    count
}

/// All the numbers of a name in a document, added up.
fn sum(document: &Value, name: &str) -> u64 {
    match document {
        Value::Object(fields) => fields
            .iter()
            .map(|(key, value)| if key == name { value.as_u64().unwrap_or_default() } else { sum(value, name) })
            .sum(),
        Value::Array(all) => all.iter().map(|value| sum(value, name)).sum(),
        _ => 0,
    }
}
