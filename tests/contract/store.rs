//! The contract of the conversation store and of the register of documents. `store_contract!` runs all checks on an
//! adapter, each on a store of its own.

mod carry;
pub(crate) mod crash;
pub(crate) mod mongodb;
mod removal;
pub(crate) mod retention;
pub(crate) mod sqlite;

use std::any::Any;
use std::sync::Arc;

use futures::future::join_all;
use serde_json::json;
use time::OffsetDateTime;
use turnpike::domain::conversation::Status;
use turnpike::domain::knowledge::Document;
use turnpike::domain::{CompanyId, CompanyScope, ConversationId, SessionId, TurnId, TurnRecord};
use turnpike::ports::directory::Directory;
use turnpike::ports::store::{ConversationStore, DocumentRegister, Erased, Error, Filter, Page};

use carry::{
    gives_all_turns_in_pages, refuses_to_restore_what_does_not_fit, restores_a_conversation_as_it_was,
    restores_a_conversation_whose_beginning_is_gone, restores_once_and_goes_on, says_which_turns_are_stored,
};
use removal::{
    ends_a_conversation_until_its_next_turn, finds_conversations_by_what_they_are,
    gives_the_turns_of_a_conversation_in_order, lets_a_removed_conversation_begin_again,
    removes_a_conversation_for_good, tells_language_and_intent_of_the_last_turn,
};
use retention::{keeps_a_turn_until_its_time, keeps_what_has_no_time};

/// The three ports that live on one store.
pub(crate) struct Store {
    pub(crate) conversations: Arc<dyn ConversationStore>,
    pub(crate) documents: Arc<dyn DocumentRegister>,
    pub(crate) directory: Arc<dyn Directory>,
    /// What must live as long as the store does.
    pub(crate) _guard: Box<dyn Any + Send + Sync>,
}

/// Runs every check on the store that an async function makes.
macro_rules! store_contract {
    ($adapter:ident, $make:path) => {
        mod $adapter {
            store_contract! { @each $make;
                numbers_turns_without_gaps stores_a_turn_once stores_a_turn_once_however_many_try_at_once
                numbers_many_writers_without_gaps counts_questions_and_answers keeps_a_turn_as_it_was
                gives_the_last_turns_oldest_first heads_a_conversation lists_the_last_updated_first
                pages_are_stable_while_turns_come_in refuses_what_is_no_cursor finds_turns_by_idempotency_key
                refuses_another_companys_turn keeps_companies_apart erases_one_company
                keeps_a_turn_until_its_time keeps_what_has_no_time says_which_turns_are_stored
                gives_all_turns_in_pages restores_a_conversation_as_it_was restores_once_and_goes_on
                refuses_to_restore_what_does_not_fit restores_a_conversation_whose_beginning_is_gone
                finds_conversations_by_what_they_are tells_language_and_intent_of_the_last_turn
                gives_the_turns_of_a_conversation_in_order ends_a_conversation_until_its_next_turn
                removes_a_conversation_for_good lets_a_removed_conversation_begin_again
                registers_documents keeps_documents_of_companies_apart says_that_it_can_be_asked
            }
        }
    };
    (@each $make:path; $($check:ident)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $check() {
            // Where a server is missing there is no store.
            if let Some(store) = Option::<super::Store>::from($make().await) {
                super::$check(store).await;
            }
        }
    )*};
}

store_contract!(on_mongodb, super::mongodb::fresh);
store_contract!(on_sqlite, super::sqlite::fresh);

pub(crate) fn scope(company: &str) -> CompanyScope {
    CompanyScope::granted(company.parse::<CompanyId>().unwrap())
}

/// A turn of a session, with an answer, that began `at` seconds after a fixed moment and took one second.
pub(crate) fn record(company: &str, session: &str, question: &str, at: i64) -> TurnRecord {
    let company: CompanyId = company.parse().unwrap();
    let session: SessionId = session.parse().unwrap();
    let conversation = ConversationId::of_session(&company, &session);
    let mut record: TurnRecord = serde_json::from_value(json!({
        "turn_id": TurnId::generate(), "company_id": company, "session_id": session, "conversation_id": conversation,
        "channel": "web", "user": {"user_id": "user_1", "device_id": null, "source": "web_device"},
        "context": {"page": "/vay", "nested": [1, {"a": null}]},
        "message": question, "answer": format!("Về {question}: 5,5 % [1]"), "finish_reason": "stop", "language": "vi",
        "intent": {"intent": "information", "confidence": 0.875, "agent": "information"},
        "sources": [{"n": 1, "document_id": "docs/lãi.md", "title": "Lãi suất", "url": null, "score": 0.5, "snippet": "…"}],
        "model": "openai/gpt", "usage": {"input_tokens": 100, "output_tokens": 20, "estimated": false},
        "degraded": ["embedder"], "timings": {"language_ms": 0.25, "total_ms": 812.5}, "error": null,
        "idempotency_key": null, "started_at": "2026-11-20T10:00:00.123456789Z", "finished_at": "2026-11-20T10:00:00Z",
    }))
    .unwrap();
    record.started_at = OffsetDateTime::from_unix_timestamp(1_700_000_000 + at).unwrap();
    record.finished_at = OffsetDateTime::from_unix_timestamp(1_700_000_001 + at).unwrap();
    record
}

async fn numbers_turns_without_gaps(store: Store) {
    let scope = scope("comp_a");
    for n in 1..=5 {
        let turn = record("comp_a", "s", &format!("question {n}"), n);
        let appended = store.conversations.append(&scope, &turn, None).await.unwrap();
        assert_eq!((appended.sequence, appended.message_count), (n as u64, 2 * n as u64));
        assert_eq!(appended.is_first, n == 1);
        assert_eq!(appended.conversation.last_sequence, n as u64);
        // Another conversation counts for itself.
        let other =
            store.conversations.append(&scope, &record("comp_a", &format!("other {n}"), "q", n), None).await.unwrap();
        assert_eq!((other.sequence, other.is_first), (1, true));
    }
}

async fn stores_a_turn_once(store: Store) {
    let scope = scope("comp_a");
    let turns: Vec<_> = (0..3).map(|n| record("comp_a", "s", &n.to_string(), n)).collect();
    let mut first = Vec::new();
    for turn in &turns {
        first.push(store.conversations.append(&scope, turn, None).await.unwrap());
    }
    let now = first.last().unwrap().conversation.clone();
    for (turn, first) in turns.iter().zip(&first) {
        let again = store.conversations.append(&scope, turn, None).await.unwrap();
        assert_eq!((again.sequence, again.message_count), (first.sequence, first.message_count));
        assert_eq!(again.is_first, first.is_first);
        assert_eq!(again.conversation, now, "the conversation is given as it is now");
    }
    let history = store.conversations.history(&scope, turns[0].conversation_id, 10).await.unwrap();
    assert_eq!(history.len(), 3);
}

async fn stores_a_turn_once_however_many_try_at_once(store: Store) {
    let scope = scope("comp_a");
    let turn = record("comp_a", "s", "once", 0);
    let tries = join_all((0..20).map(|_| store.conversations.append(&scope, &turn, None))).await;
    for appended in tries {
        let appended = appended.unwrap();
        assert_eq!((appended.sequence, appended.message_count, appended.is_first), (1, 2, true));
    }
    assert_eq!(store.conversations.history(&scope, turn.conversation_id, 10).await.unwrap().len(), 1);
}

async fn numbers_many_writers_without_gaps(store: Store) {
    let scope = scope("comp_a");
    let turns: Vec<_> = (0..60).map(|n| record("comp_a", &format!("s{}", n % 3), "q", n)).collect();
    let appended = join_all(turns.iter().map(|turn| store.conversations.append(&scope, turn, None))).await;
    for session in 0..3 {
        let mut sequences: Vec<_> =
            appended.iter().skip(session).step_by(3).map(|one| one.as_ref().unwrap().sequence).collect();
        sequences.sort_unstable();
        assert_eq!(sequences, (1..=20).collect::<Vec<_>>());
    }
}

async fn counts_questions_and_answers(store: Store) {
    let scope = scope("comp_a");
    let mut unanswered = record("comp_a", "s", "anyone there?", 0);
    unanswered.answer.clear();
    assert_eq!(store.conversations.append(&scope, &unanswered, None).await.unwrap().message_count, 1);
    let answered = record("comp_a", "s", "now?", 1);
    assert_eq!(store.conversations.append(&scope, &answered, None).await.unwrap().message_count, 3);
    assert_eq!(store.conversations.append(&scope, &unanswered, None).await.unwrap().message_count, 1);
}

async fn keeps_a_turn_as_it_was(store: Store) {
    let scope = scope("comp_a");
    let mut turn = record("comp_a", "s", "Lãi suất vay mua nhà là bao nhiêu? 🏠\n\u{0}\"quoted\"", 0);
    turn.idempotency_key = Some("key".to_owned());
    turn.started_at += std::time::Duration::from_nanos(123_456_789);
    store.conversations.append(&scope, &turn, None).await.unwrap();
    let stored = store.conversations.turn(&scope, turn.turn_id).await.unwrap().unwrap();
    assert_eq!(stored.sequence, 1);
    assert_eq!(stored.record, turn);
    assert_eq!(store.conversations.turn(&scope, TurnId::generate()).await.unwrap(), None);
}

async fn gives_the_last_turns_oldest_first(store: Store) {
    let scope = scope("comp_a");
    let turns: Vec<_> = (0..6).map(|n| record("comp_a", "s", &n.to_string(), n)).collect();
    for turn in &turns {
        store.conversations.append(&scope, turn, None).await.unwrap();
    }
    for (limit, expected) in [(0, 6..6), (1, 5..6), (4, 2..6), (6, 0..6), (1_000, 0..6)] {
        let history = store.conversations.history(&scope, turns[0].conversation_id, limit).await.unwrap();
        let ids: Vec<_> = history.iter().map(|stored| (stored.sequence, stored.record.turn_id)).collect();
        let expected: Vec<_> = expected.map(|n| (n as u64 + 1, turns[n].turn_id)).collect();
        assert_eq!(ids, expected, "limit {limit}");
    }
}

async fn heads_a_conversation(store: Store) {
    let scope = scope("comp_a");
    let question = "Tôi muốn vay ".repeat(100);
    let (first, last) = (record("comp_a", "s", &question, 0), record("comp_a", "s", "And for cars?", 60));
    store.conversations.append(&scope, &first, None).await.unwrap();
    let appended = store.conversations.append(&scope, &last, None).await.unwrap();
    let head = store.conversations.conversation(&scope, first.conversation_id).await.unwrap().unwrap();
    assert_eq!(head, appended.conversation);
    assert_eq!((&head.conversation_id, &head.company_id), (&first.conversation_id, &first.company_id));
    assert_eq!((&head.session_id, &*head.channel, head.status), (&first.session_id, "web", Status::Active));
    assert_eq!((head.message_count, head.last_sequence), (4, 2));
    assert!(question.starts_with(&head.summary) && head.summary.chars().count() >= 20, "{:?}", head.summary);
    assert!(head.summary.chars().count() <= 200, "a summary is short");
    assert_eq!((head.created_at, head.updated_at, head.ended_at), (first.started_at, last.finished_at, None));
    let unknown = record("comp_a", "unknown", "", 0).conversation_id;
    assert_eq!(store.conversations.conversation(&scope, unknown).await.unwrap(), None);
}

async fn lists_the_last_updated_first(store: Store) {
    let scope = scope("comp_a");
    for (session, at) in [("a", 10), ("b", 30), ("c", 20), ("a", 40)] {
        store.conversations.append(&scope, &record("comp_a", session, "q", at), None).await.unwrap();
    }
    let (page, next) =
        store.conversations.conversations(&scope, &Filter::default(), &Page { limit: 10, after: None }).await.unwrap();
    assert_eq!(page.iter().map(|head| head.session_id.as_str()).collect::<Vec<_>>(), ["a", "b", "c"]);
    assert_eq!(next, None);
}

async fn pages_are_stable_while_turns_come_in(store: Store) {
    let scope = scope("comp_a");
    for n in 0..25 {
        // Many end at the same moment, so that the order needs more than the time.
        store.conversations.append(&scope, &record("comp_a", &format!("s{n}"), "q", n / 10), None).await.unwrap();
    }
    let mut seen = Vec::new();
    let mut after = None;
    loop {
        let page = Page { limit: 4, after };
        let (conversations, next) = store.conversations.conversations(&scope, &Filter::default(), &page).await.unwrap();
        assert!(conversations.len() <= 4);
        seen.extend(conversations.into_iter().map(|head| head.session_id));
        // A new one at the front for every page that is read.
        let new = record("comp_a", &format!("new {}", seen.len()), "q", 1_000);
        store.conversations.append(&scope, &new, None).await.unwrap();
        match next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    assert_eq!(seen.len(), 25, "{seen:?}");
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 25, "a conversation came twice");
}

async fn refuses_what_is_no_cursor(store: Store) {
    for text in ["", "1", "x-y", "é", "-", "' OR 1=1 --"] {
        let page = Page { limit: 4, after: Some(text.to_owned()) };
        let answer = store.conversations.conversations(&scope("comp_a"), &Filter::default(), &page).await;
        assert!(matches!(answer, Err(Error::Invalid(_))), "{text:?} gave {answer:?}");
    }
}

async fn finds_turns_by_idempotency_key(store: Store) {
    let scope = scope("comp_a");
    let keyed = |at| TurnRecord { idempotency_key: Some("key".to_owned()), ..record("comp_a", "s", "q", at) };
    let (first, second) = (keyed(0), keyed(1));
    assert_eq!(store.conversations.turn_by_idempotency_key(&scope, "key").await.unwrap(), None);
    store.conversations.append(&scope, &first, None).await.unwrap();
    assert_eq!(store.conversations.append(&scope, &second, None).await.unwrap().sequence, 2);
    let found = store.conversations.turn_by_idempotency_key(&scope, "key").await.unwrap().unwrap();
    assert_eq!(found.record, first, "the first turn keeps the key");
    let stored = store.conversations.turn(&scope, second.turn_id).await.unwrap().unwrap();
    assert_eq!(stored.record, second, "the second turn is stored all the same");
    assert_eq!(store.conversations.turn_by_idempotency_key(&scope, "other").await.unwrap(), None);
}

async fn refuses_another_companys_turn(store: Store) {
    let turn = record("comp_b", "s", "q", 0);
    let answer = store.conversations.append(&scope("comp_a"), &turn, None).await;
    assert!(matches!(answer, Err(Error::Invalid(_))), "{answer:?}");
}

async fn keeps_companies_apart(store: Store) {
    let (a, b) = (scope("comp_a"), scope("comp_b"));
    // The very same ids in both companies.
    let ours = TurnRecord { idempotency_key: Some("key".to_owned()), ..record("comp_a", "s", "ours", 0) };
    let theirs = TurnRecord { company_id: "comp_b".parse().unwrap(), message: "theirs".to_owned(), ..ours.clone() };
    store.conversations.append(&a, &ours, None).await.unwrap();
    let store = store.conversations;
    assert_eq!(store.turn(&b, ours.turn_id).await.unwrap(), None);
    assert_eq!(store.conversation(&b, ours.conversation_id).await.unwrap(), None);
    assert_eq!(store.history(&b, ours.conversation_id, 10).await.unwrap(), []);
    assert_eq!(store.turn_by_idempotency_key(&b, "key").await.unwrap(), None);
    let all = Page { limit: 10, after: None };
    assert_eq!(store.conversations(&b, &Filter::default(), &all).await.unwrap(), (vec![], None));

    let appended = store.append(&b, &theirs, None).await.unwrap();
    assert_eq!((appended.sequence, appended.is_first, &*appended.conversation.summary), (1, true, "theirs"));
    for (scope, record) in [(&a, &ours), (&b, &theirs)] {
        assert_eq!(&store.turn(scope, ours.turn_id).await.unwrap().unwrap().record, record);
        assert_eq!(&store.turn_by_idempotency_key(scope, "key").await.unwrap().unwrap().record, record);
        assert_eq!(store.history(scope, ours.conversation_id, 10).await.unwrap().len(), 1);
        assert_eq!(store.conversations(scope, &Filter::default(), &all).await.unwrap().0[0].summary, record.message);
    }
}

async fn erases_one_company(store: Store) {
    let (a, b) = (scope("comp_a"), scope("comp_b"));
    for n in 0..5 {
        store.conversations.append(&a, &record("comp_a", &format!("s{}", n % 2), "ours", n), None).await.unwrap();
        store.conversations.append(&b, &record("comp_b", &format!("s{}", n % 2), "theirs", n), None).await.unwrap();
    }
    store.documents.register(&a, &[document("1", "x"), document("2", "x")]).await.unwrap();
    store.documents.register(&b, &[document("1", "x")]).await.unwrap();
    let erased = store.conversations.erase(&a).await.unwrap();
    assert_eq!(erased, Erased { conversations: 2, turns: 5, documents: 2 });
    let all = Page { limit: 10, after: None };
    assert_eq!(store.conversations.conversations(&a, &Filter::default(), &all).await.unwrap(), (vec![], None));
    assert_eq!(store.documents.documents(&a).await.unwrap(), []);
    assert_eq!(store.conversations.conversations(&b, &Filter::default(), &all).await.unwrap().0.len(), 2);
    assert_eq!(store.documents.documents(&b).await.unwrap().len(), 1);
    assert_eq!(store.conversations.erase(&a).await.unwrap(), Erased::default());
    // The company may come back, and begins anew.
    assert_eq!(store.conversations.append(&a, &record("comp_a", "s0", "new", 9), None).await.unwrap().sequence, 1);
}

fn document(id: &str, fingerprint: &str) -> Document {
    Document {
        id: id.parse().unwrap(),
        title: format!("Title of {id}"),
        url: Some("https://example.com/lãi".to_owned()),
        language: serde_json::from_value(json!("vi")).unwrap(),
        fingerprint: fingerprint.to_owned(),
        collection: Some("folder".to_owned()),
        passages: 3,
        bytes: 4_096,
        updated_at: OffsetDateTime::from_unix_timestamp(1_700_000_000).unwrap(),
    }
}

async fn registers_documents(store: Store) {
    let (documents, scope) = (store.documents, scope("comp_a"));
    assert_eq!(documents.documents(&scope).await.unwrap(), []);
    let put = [document("b", "1"), document("é", "1"), document("B", "1"), document("a/ü", "1")];
    documents.register(&scope, &put).await.unwrap();
    documents.register(&scope, &[document("b", "2")]).await.unwrap();
    documents.register(&scope, &[]).await.unwrap();
    let listed = documents.documents(&scope).await.unwrap();
    assert_eq!(listed, [document("B", "1"), document("a/ü", "1"), document("b", "2"), document("é", "1")]);
    assert_eq!(documents.document(&scope, &"b".parse().unwrap()).await.unwrap(), Some(document("b", "2")));
    assert_eq!(documents.document(&scope, &"c".parse().unwrap()).await.unwrap(), None);
    documents.forget(&scope, &["b".parse().unwrap(), "never there".parse().unwrap()]).await.unwrap();
    documents.forget(&scope, &[]).await.unwrap();
    assert_eq!(documents.document(&scope, &"b".parse().unwrap()).await.unwrap(), None);
    assert_eq!(documents.documents(&scope).await.unwrap().len(), 3);
}

async fn keeps_documents_of_companies_apart(store: Store) {
    let (documents, a, b) = (store.documents, scope("comp_a"), scope("comp_b"));
    documents.register(&a, &[document("same", "ours")]).await.unwrap();
    assert_eq!(documents.document(&b, &"same".parse().unwrap()).await.unwrap(), None);
    documents.register(&b, &[document("same", "theirs")]).await.unwrap();
    documents.forget(&b, &["same".parse().unwrap()]).await.unwrap();
    assert_eq!(documents.documents(&a).await.unwrap(), [document("same", "ours")]);
}

async fn says_that_it_can_be_asked(store: Store) {
    store.conversations.check().await.unwrap();
}
