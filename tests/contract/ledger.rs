//! The contract of the ledger. `ledger_contract!` runs all checks on an adapter, each on an empty ledger of its own.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use time::OffsetDateTime;
use turnpike::domain::ConversationId;
use turnpike::ports::bus::{Account, Message, Queue, Turns};
use turnpike::ports::ledger::{Ledger, Standing};
use turnpike::ports::store::Error;
use uuid::Uuid;

use crate::store::scope;

/// Two processes' views of one ledger.
pub(crate) struct Books {
    pub(crate) ledger: Arc<dyn Ledger>,
    pub(crate) other: Arc<dyn Ledger>,
    /// What must live as long as the ledger does.
    pub(crate) _guard: Box<dyn Any + Send + Sync>,
}

/// Runs every check on the ledger that an async function makes, or none where its server is missing.
macro_rules! ledger_contract {
    ($adapter:ident, $make:path) => {
        mod $adapter {
            ledger_contract! { @each $make;
                knows_what_became_of_a_message writes_a_message_down_once keeps_a_message_as_it_was
                keeps_queues_apart hears_of_tries_in_their_order gives_what_is_overdue_in_its_order
                gives_what_is_overdue_to_one_of_many gives_again_what_is_overdue_again accounts_for_every_message
                accounts_for_many_at_once lists_what_was_given_up_oldest_first writes_down_what_died_unknown
                redrives_one_or_all redrives_once_however_many_ask erases_one_company erases_what_tells_of_turns refuses_what_has_no_company
            }
        }
    };
    (@each $make:path; $($check:ident)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $check() {
            if let Some(books) = $make().await {
                super::$check(&books).await;
            }
        }
    )*};
}

ledger_contract!(on_mongodb, crate::store::mongodb::fresh_books);

const QUEUE: Queue = Queue::Deliver;
const NONE: [Uuid; 0] = [];

/// A message of a company.
pub(crate) fn message(company: &str) -> Message {
    Message {
        id: Uuid::new_v4(),
        routing_key: format!("webhook.attempt.{company}"),
        body: format!(r#"{{"to":"{company}"}}"#).into_bytes().into(),
        attempts: 0,
        first_queued_at: OffsetDateTime::from_unix_timestamp_nanos(1_700_000_000_123_456_789).unwrap(),
    }
}

/// The account of a queue.
pub(crate) async fn account(ledger: &dyn Ledger, queue: Queue) -> Option<Account> {
    ledger.accounts().await.unwrap().into_iter().find(|account| account.queue == queue.name())
}

fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}

fn in_seconds(seconds: i64) -> OffsetDateTime {
    now() + time::Duration::seconds(seconds)
}

async fn ids_overdue(ledger: &dyn Ledger, limit: usize) -> Vec<Uuid> {
    let overdue = ledger.overdue(QUEUE, now(), in_seconds(600), limit).await.unwrap();
    overdue.into_iter().map(|message| message.id).collect()
}

async fn knows_what_became_of_a_message(Books { ledger, .. }: &Books) {
    let [pending, done, dead] = [(); 3].map(|()| message("comp_a"));
    ledger.open(QUEUE, &[pending.clone(), done.clone(), dead.clone()], in_seconds(60)).await.unwrap();
    ledger.open(QUEUE, &[], in_seconds(60)).await.unwrap();
    for one in [&pending, &done, &dead] {
        assert_eq!(ledger.standing(QUEUE, one.id).await.unwrap(), Standing::Pending { attempts: 0 });
    }
    ledger.done(QUEUE, done.id).await.unwrap();
    ledger.dead(QUEUE, &dead, "410 Gone").await.unwrap();
    ledger.postpone(QUEUE, pending.id, 2, in_seconds(60)).await.unwrap();
    assert_eq!(ledger.standing(QUEUE, pending.id).await.unwrap(), Standing::Pending { attempts: 2 });
    assert_eq!(ledger.standing(QUEUE, done.id).await.unwrap(), Standing::Done);
    assert_eq!(ledger.standing(QUEUE, dead.id).await.unwrap(), Standing::Dead);
    assert_eq!(ledger.standing(QUEUE, Uuid::new_v4()).await.unwrap(), Standing::Unknown);
    // Of several at once, in the order in which they are asked for, one twice.
    let asked = [dead.id, Uuid::new_v4(), pending.id, done.id, dead.id];
    let standings =
        [Standing::Dead, Standing::Unknown, Standing::Pending { attempts: 2 }, Standing::Done, Standing::Dead];
    assert_eq!(ledger.standings(QUEUE, &asked).await.unwrap(), standings);
    assert_eq!(ledger.standings(QUEUE, &[]).await.unwrap(), []);
    // A message that nobody has written down cannot be done.
    ledger.done(QUEUE, Uuid::new_v4()).await.unwrap();
    ledger.postpone(QUEUE, Uuid::new_v4(), 1, in_seconds(60)).await.unwrap();
    assert_eq!(account(&**ledger, QUEUE).await.unwrap().accepted, 3);
}

async fn writes_a_message_down_once(Books { ledger, other, .. }: &Books) {
    let messages: Vec<Message> = (0..20).map(|_| message("comp_a")).collect();
    let all = [ledger, other].into_iter().cycle().take(6);
    for opened in join_all(all.map(|ledger| ledger.open(QUEUE, &messages, in_seconds(60)))).await {
        opened.unwrap();
    }
    ledger.postpone(QUEUE, messages[0].id, 3, in_seconds(60)).await.unwrap();
    ledger.done(QUEUE, messages[1].id).await.unwrap();
    ledger.dead(QUEUE, &messages[2], "no").await.unwrap();
    ledger.open(QUEUE, &messages, in_seconds(-60)).await.unwrap();
    assert_eq!(ledger.standing(QUEUE, messages[0].id).await.unwrap(), Standing::Pending { attempts: 3 });
    assert_eq!(ledger.standing(QUEUE, messages[1].id).await.unwrap(), Standing::Done);
    assert_eq!(ledger.standing(QUEUE, messages[2].id).await.unwrap(), Standing::Dead);
    assert_eq!(ids_overdue(&**ledger, 100).await, NONE, "when it is due stays as it is, too");
    let account = account(&**ledger, QUEUE).await.unwrap();
    assert_eq!((account.accepted, account.done, account.dead, account.pending), (20, 1, 1, 18));
}

async fn keeps_a_message_as_it_was(Books { ledger, .. }: &Books) {
    let bytes: Vec<u8> = (0..=255).collect();
    let whole = Message { body: bytes.repeat(400).into(), attempts: 4, ..message("comp_a-1_B") };
    ledger.open(QUEUE, std::slice::from_ref(&whole), in_seconds(-1)).await.unwrap();
    assert_eq!(ledger.overdue(QUEUE, now(), in_seconds(600), 10).await.unwrap(), std::slice::from_ref(&whole));
    ledger.dead(QUEUE, &Message { attempts: 5, ..whole.clone() }, "lạ \u{0}").await.unwrap();
    let letters = ledger.dead_letters(None, 10).await.unwrap();
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].message, Message { attempts: 5, ..whole });
    assert_eq!((letters[0].queue.as_str(), letters[0].reason.as_str()), (QUEUE.name(), "lạ \u{0}"));
    assert!((now() - letters[0].died_at).abs() < Duration::from_secs(60));
}

async fn keeps_queues_apart(Books { ledger, .. }: &Books) {
    let one = message("comp_a");
    for queue in Queue::ALL {
        ledger.open(queue, std::slice::from_ref(&one), in_seconds(-1)).await.unwrap();
    }
    ledger.done(Queue::Deliver, one.id).await.unwrap();
    ledger.dead(Queue::Persist, &one, "no").await.unwrap();
    assert_eq!(ledger.standing(Queue::Deliver, one.id).await.unwrap(), Standing::Done);
    assert_eq!(ledger.standing(Queue::Persist, one.id).await.unwrap(), Standing::Dead);
    assert_eq!(ledger.standing(Queue::Analytics, one.id).await.unwrap(), Standing::Pending { attempts: 0 });
    assert_eq!(ids_overdue(&**ledger, 10).await, NONE);
    assert_eq!(ledger.overdue(Queue::Analytics, now(), in_seconds(9), 9).await.unwrap(), [one]);
    assert_eq!(ledger.dead_letters(Some(Queue::Deliver), 10).await.unwrap(), []);
    assert_eq!(ledger.dead_letters(Some(Queue::Persist), 10).await.unwrap().len(), 1);
    let accounts = ledger.accounts().await.unwrap();
    assert!(accounts.len() == 3 && accounts.iter().all(|account| account.accepted == 1 && account.balances()));
}

async fn hears_of_tries_in_their_order(Books { ledger, other, .. }: &Books) {
    let one = message("comp_a");
    ledger.open(QUEUE, std::slice::from_ref(&one), in_seconds(60)).await.unwrap();
    ledger.postpone(QUEUE, one.id, 3, in_seconds(60)).await.unwrap();
    // An old copy, which knows of fewer tries, has come to a retry somewhere else.
    other.postpone(QUEUE, one.id, 1, in_seconds(-60)).await.unwrap();
    assert_eq!(ledger.standing(QUEUE, one.id).await.unwrap(), Standing::Pending { attempts: 3 });
    assert_eq!(ids_overdue(&**ledger, 10).await, NONE);
    // A try that was not made is not counted, and moves when it is due.
    ledger.postpone(QUEUE, one.id, 3, in_seconds(-60)).await.unwrap();
    assert_eq!(ids_overdue(&**ledger, 10).await, [one.id]);
    ledger.done(QUEUE, one.id).await.unwrap();
    ledger.postpone(QUEUE, one.id, 9, in_seconds(-60)).await.unwrap();
    assert_eq!(ledger.standing(QUEUE, one.id).await.unwrap(), Standing::Done);
}

async fn gives_what_is_overdue_in_its_order(Books { ledger, .. }: &Books) {
    let mut messages = Vec::new();
    for late in [30, 10, 20, 40, -600] {
        let one = message("comp_a");
        ledger.open(QUEUE, std::slice::from_ref(&one), in_seconds(-late)).await.unwrap();
        messages.push(one);
    }
    assert_eq!(ids_overdue(&**ledger, 0).await, NONE);
    assert_eq!(ids_overdue(&**ledger, 3).await, [messages[3].id, messages[0].id, messages[2].id]);
    assert_eq!(ids_overdue(&**ledger, 3).await, [messages[1].id]);
    assert_eq!(ids_overdue(&**ledger, 3).await, NONE);
    assert_eq!(account(&**ledger, QUEUE).await.unwrap().pending, 5, "a lease ends nothing");
}

async fn gives_what_is_overdue_to_one_of_many(Books { ledger, other, .. }: &Books) {
    let messages: Vec<Message> = (0..60).map(|_| message("comp_a")).collect();
    ledger.open(QUEUE, &messages, in_seconds(-1)).await.unwrap();
    let mut given = Vec::new();
    while given.len() < 60 {
        let askers = [ledger, other].into_iter().cycle().take(6);
        let round = join_all(askers.map(|ledger| ids_overdue(&**ledger, 7))).await.concat();
        assert!(!round.is_empty(), "{} of 60 were given", given.len());
        given.extend(round);
    }
    let mut expected: Vec<Uuid> = messages.iter().map(|message| message.id).collect();
    expected.sort();
    given.sort();
    assert_eq!(given, expected);
}

async fn gives_again_what_is_overdue_again(Books { ledger, .. }: &Books) {
    let one = message("comp_a");
    ledger.open(QUEUE, std::slice::from_ref(&one), in_seconds(-60)).await.unwrap();
    assert_eq!(ledger.overdue(QUEUE, now(), in_seconds(-1), 9).await.unwrap(), std::slice::from_ref(&one));
    // Whoever had it has died with it.
    assert_eq!(ledger.overdue(QUEUE, now(), in_seconds(60), 9).await.unwrap(), std::slice::from_ref(&one));
    ledger.postpone(QUEUE, one.id, 1, in_seconds(-1)).await.unwrap();
    assert_eq!(ledger.overdue(QUEUE, now(), in_seconds(60), 9).await.unwrap(), [Message { attempts: 1, ..one }]);
}

async fn accounts_for_every_message(Books { ledger, .. }: &Books) {
    assert_eq!(ledger.accounts().await.unwrap(), []);
    let messages: Vec<Message> = (0..6).map(|_| message("comp_a")).collect();
    ledger.open(QUEUE, &messages, in_seconds(-5)).await.unwrap();
    ledger.done(QUEUE, messages[0].id).await.unwrap();
    ledger.done(QUEUE, messages[0].id).await.unwrap();
    ledger.dead(QUEUE, &messages[1], "no").await.unwrap();
    ledger.dead(QUEUE, &messages[1], "no").await.unwrap();
    // One copy was given up and another one arrived: it has arrived.
    ledger.dead(QUEUE, &messages[2], "no").await.unwrap();
    ledger.done(QUEUE, messages[2].id).await.unwrap();
    ledger.dead(QUEUE, &messages[0], "late").await.unwrap();
    let account = account(&**ledger, QUEUE).await.unwrap();
    assert!(account.balances(), "{account:?}");
    assert_eq!((account.accepted, account.done, account.dead), (6, 2, 1));
    assert_eq!((account.pending, account.erased), (3, 0));
    assert!(account.oldest_ms.is_some_and(|ms| ms >= 4_000), "{account:?}");
}

async fn accounts_for_many_at_once(Books { ledger, other, .. }: &Books) {
    let messages: Vec<Message> = (0..300).map(|_| message("comp_a")).collect();
    let work = messages.iter().enumerate().map(|(n, message)| async move {
        let (mine, theirs) = if n % 2 == 0 { (ledger, other) } else { (other, ledger) };
        mine.open(QUEUE, std::slice::from_ref(message), in_seconds(60)).await.unwrap();
        match n % 5 {
            0 => {}
            1 => theirs.dead(QUEUE, message, "no").await.unwrap(),
            _ => theirs.done(QUEUE, message.id).await.unwrap(),
        }
    });
    join_all(work).await;
    let account = account(&**ledger, QUEUE).await.unwrap();
    assert!(account.balances(), "{account:?}");
    assert_eq!((account.accepted, account.done, account.dead, account.pending), (300, 180, 60, 60));
}

async fn lists_what_was_given_up_oldest_first(Books { ledger, .. }: &Books) {
    let mut ids = Vec::new();
    for n in 0..4 {
        let one = message("comp_a");
        ids.push(one.id);
        let queue = if n % 2 == 0 { Queue::Deliver } else { Queue::Persist };
        ledger.dead(queue, &one, &n.to_string()).await.unwrap();
        // Times of the ledger may be milliseconds.
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    let listed = async |queue, limit| {
        let letters = ledger.dead_letters(queue, limit).await.unwrap();
        letters.into_iter().map(|letter| letter.message.id).collect::<Vec<_>>()
    };
    assert_eq!(listed(None, 10).await, ids);
    assert_eq!(listed(None, 3).await, ids[..3]);
    assert_eq!(listed(None, 0).await, NONE);
    assert_eq!(listed(Some(Queue::Persist), 10).await, [ids[1], ids[3]]);
}

async fn writes_down_what_died_unknown(Books { ledger, .. }: &Books) {
    let one = Message { attempts: 7, ..message("comp_a") };
    ledger.dead(Queue::Analytics, &one, "unreadable").await.unwrap();
    assert_eq!(ledger.standing(Queue::Analytics, one.id).await.unwrap(), Standing::Dead);
    let account = account(&**ledger, Queue::Analytics).await.unwrap();
    assert_eq!((account.accepted, account.dead, account.balances()), (1, 1, true));
    assert_eq!(ledger.dead_letters(None, 9).await.unwrap()[0].message, one);
}

async fn redrives_one_or_all(Books { ledger, .. }: &Books) {
    let messages: Vec<Message> = (0..4).map(|_| Message { attempts: 9, ..message("comp_a") }).collect();
    for (n, one) in messages.iter().enumerate() {
        let queue = if n == 3 { Queue::Persist } else { QUEUE };
        ledger.dead(queue, one, "no").await.unwrap();
    }
    assert_eq!(ledger.redrive(None, Some(Uuid::new_v4()), in_seconds(60)).await.unwrap(), []);
    assert_eq!(ledger.redrive(Some(Queue::Persist), Some(messages[0].id), in_seconds(60)).await.unwrap(), []);
    let one = ledger.redrive(None, Some(messages[0].id), in_seconds(60)).await.unwrap();
    let [(queue, redriven)] = one.as_slice() else { panic!("{one:?}") };
    assert_eq!((*queue, redriven.attempts, &redriven.body), (QUEUE, 0, &messages[0].body));
    assert!(now() - redriven.first_queued_at < Duration::from_secs(60), "its time begins anew");
    assert_eq!(ledger.standing(QUEUE, redriven.id).await.unwrap(), Standing::Pending { attempts: 0 });
    let mut of_queue = ledger.redrive(Some(QUEUE), None, in_seconds(-1)).await.unwrap();
    of_queue.sort_by_key(|(_, message)| messages.iter().position(|one| one.id == message.id));
    assert_eq!(of_queue.iter().map(|(_, message)| message.id).collect::<Vec<_>>(), [messages[1].id, messages[2].id]);
    // One that is never published is overdue in its time.
    assert_eq!(ids_overdue(&**ledger, 9).await.len(), 2);
    let all = ledger.redrive(None, None, in_seconds(60)).await.unwrap();
    assert_eq!(all.iter().map(|(queue, _)| *queue).collect::<Vec<_>>(), [Queue::Persist]);
    assert_eq!(ledger.dead_letters(None, 9).await.unwrap(), []);
    assert!(ledger.accounts().await.unwrap().iter().all(|account| account.balances() && account.dead == 0));
}

async fn redrives_once_however_many_ask(Books { ledger, other, .. }: &Books) {
    for _ in 0..20 {
        ledger.dead(QUEUE, &message("comp_a"), "no").await.unwrap();
    }
    let both = tokio::join!(ledger.redrive(None, None, in_seconds(60)), other.redrive(None, None, in_seconds(60)));
    let mut ids: Vec<Uuid> = [both.0.unwrap(), both.1.unwrap()].concat().iter().map(|(_, one)| one.id).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 20);
    assert_eq!(account(&**ledger, QUEUE).await.unwrap().pending, 20);
}

async fn erases_one_company(Books { ledger, .. }: &Books) {
    let ours: Vec<Message> = (0..4).map(|_| message("comp_a")).collect();
    let theirs = message("comp_ab");
    ledger.open(QUEUE, &[ours.as_slice(), std::slice::from_ref(&theirs)].concat(), in_seconds(-1)).await.unwrap();
    ledger.done(QUEUE, ours[0].id).await.unwrap();
    ledger.dead(QUEUE, &ours[1], "no").await.unwrap();
    assert_eq!(ledger.erase(&scope("comp_a")).await.unwrap(), 3);
    assert_eq!(ledger.erase(&scope("comp_a")).await.unwrap(), 0);
    for erased in &ours[1..] {
        assert_eq!(ledger.standing(QUEUE, erased.id).await.unwrap(), Standing::Unknown);
        // What is still on its way of it changes nothing any more.
        ledger.done(QUEUE, erased.id).await.unwrap();
        ledger.postpone(QUEUE, erased.id, 1, in_seconds(-1)).await.unwrap();
    }
    assert_eq!(ledger.dead_letters(None, 9).await.unwrap(), []);
    assert_eq!(ledger.redrive(None, None, in_seconds(-1)).await.unwrap(), []);
    assert_eq!(ids_overdue(&**ledger, 9).await, [theirs.id]);
    let account = account(&**ledger, QUEUE).await.unwrap();
    assert!(account.balances(), "{account:?}");
    assert_eq!((account.accepted, account.done, account.pending, account.erased), (5, 1, 1, 3));
}

async fn erases_what_tells_of_turns(Books { ledger, .. }: &Books) {
    let (company, session) = ("comp_a".parse().unwrap(), "s".parse().unwrap());
    let conversation = ConversationId::of_session(&company, &session);
    let subject = "018bcfe5-6800-7000-8000-000000000000";
    let of = |company: &str| Message {
        body: format!(r#"{{"conversationid":"{conversation}","subject":"{subject}"}}"#).into_bytes().into(),
        ..message(company)
    };
    let (ours, other) = ([of("comp_a"), of("comp_a"), of("comp_a")], [message("comp_a"), of("comp_b")]);
    ledger.open(QUEUE, &[&ours[..], &other[..]].concat(), in_seconds(-1)).await.unwrap();
    ledger.done(QUEUE, ours[0].id).await.unwrap();
    ledger.dead(QUEUE, &ours[1], "no").await.unwrap();
    let turns = Turns { conversation, until: now() };
    assert_eq!(ledger.erase_turns(&scope("comp_a"), turns).await.unwrap(), 2);
    assert_eq!(ledger.erase_turns(&scope("comp_a"), turns).await.unwrap(), 0);
    assert_eq!(ledger.dead_letters(None, 9).await.unwrap(), []);
    let mut left = ids_overdue(&**ledger, 9).await;
    left.sort();
    let mut expected = other.map(|message| message.id);
    expected.sort();
    assert_eq!(left, expected);
    let account = account(&**ledger, QUEUE).await.unwrap();
    assert!(account.balances(), "{account:?}");
    assert_eq!((account.accepted, account.done, account.pending, account.erased), (5, 1, 2, 2));
}

async fn refuses_what_has_no_company(Books { ledger, .. }: &Books) {
    for routing_key in ["", "webhook", "webhook."] {
        let stray = Message { routing_key: routing_key.to_owned(), ..message("comp_a") };
        let answer = ledger.open(QUEUE, &[stray], in_seconds(1)).await;
        assert!(matches!(answer, Err(Error::Invalid(_))), "{routing_key:?} gave {answer:?}");
    }
}
