//! The contract of the bus. Each check is one promise of `ports::bus`; `bus_contract!` runs all of them on an adapter,
//! each on a bus of its own.

mod crash;
mod embedded;
mod ended;
mod ledger;
mod rabbitmq;
mod support;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::join_all;
use time::OffsetDateTime;
use tokio::time::timeout;
use turnpike::domain::{ConversationId, EventType};
use turnpike::ports::bus::{Bus, Queue, Settlement, Turns};
use uuid::Uuid;

use self::support::{PATIENCE, account, done, message, nothing_comes, take, take_and_finish, turn};
use crate::store::scope;

/// A bus and what must live as long as it does.
pub(crate) type Fresh = (Arc<dyn Bus>, Box<dyn std::any::Any + Send>);

/// Runs checks on the bus that an async function makes, or none where it cannot be had. All of them, but for those after
/// `but not`, which ask for what the port does not promise: books of the bus's own.
macro_rules! bus_contract {
    ($adapter:ident, $make:path) => {
        bus_contract! { @checks $adapter $make;
            does_not_add_an_id_that_the_queue_still_holds publishing_a_dead_letter_again_revives_it
            counts_what_is_done balances_at_every_step says_how_long_the_oldest_has_waited
            counts_what_is_erased
        }
    };
    ($adapter:ident, $make:path, without books) => {
        bus_contract! { @checks $adapter $make; }
    };
    (@checks $adapter:ident $make:path; $($books:ident)*) => {
        mod $adapter {
            bus_contract! { @each $make;
                gives_messages_in_the_order_published gives_a_message_as_it_was_published
                routes_by_topic delivers_all_that_webhooks_are_made_of drops_what_no_queue_takes publishing_nothing_is_fine
                takes_an_id_again_after_it_is_done
                waits_for_the_next_message gives_each_message_to_one_taker gives_again_what_was_dropped
                survives_a_taker_that_goes_away counts_failed_tries does_not_count_a_deferral
                holds_up_no_short_delay_behind_a_long_one publishes_follow_ups_with_done
                gives_up_and_lists_dead_letters lists_dead_letters_by_queue_and_limit forgets_dead_letters_in_time
                redrives_all_or_one_with_tries_forgotten erases_one_company_everywhere
                erases_what_is_read_ahead_or_in_work erases_what_tells_of_turns carries_bodies_of_megabytes says_that_it_can_be_asked
                $($books)*
            }
        }
    };
    (@each $make:path; $($check:ident)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $check() {
            let Some((bus, _guard)) = $make(stringify!($check)).await else { return };
            super::$check(bus).await;
        }
    )*};
}

bus_contract!(on_sqlite, super::embedded::fresh);
bus_contract!(on_rabbitmq, super::rabbitmq::fresh, without books);

fn dead(reason: &str) -> Settlement {
    Settlement::Dead { reason: reason.to_owned() }
}

fn retry(after: Duration) -> Settlement {
    Settlement::Retry { after, reason: "not now".to_owned() }
}

async fn gives_messages_in_the_order_published(bus: Arc<dyn Bus>) {
    let sent: Vec<_> = (0..600).map(|n| turn(&format!("message {n}"))).collect();
    bus.publish(&sent[..250]).await.unwrap();
    for one in &sent[250..] {
        bus.publish(std::slice::from_ref(one)).await.unwrap();
    }
    for expected in &sent {
        assert_eq!(take_and_finish(&*bus, Queue::Persist).await.id, expected.id);
    }
}

async fn gives_a_message_as_it_was_published(bus: Arc<dyn Bus>) {
    let mut sent = turn("{\"lãi suất\": \"5 %\"}");
    sent.first_queued_at = OffsetDateTime::UNIX_EPOCH;
    let before = OffsetDateTime::now_utc() - Duration::from_millis(1);
    bus.publish(std::slice::from_ref(&sent)).await.unwrap();
    let got = take_and_finish(&*bus, Queue::Persist).await;
    assert_eq!((got.id, &got.routing_key, &got.body, got.attempts), (sent.id, &sent.routing_key, &sent.body, 0));
    // When it came to its queue, which the bus knows better than whoever made it.
    assert!(got.first_queued_at >= before && got.first_queued_at <= OffsetDateTime::now_utc());
}

async fn routes_by_topic(bus: Arc<dyn Bus>) {
    let sent = [
        message("turn.failed", "comp_a", "failed"),
        message("conversation.updated", "comp_a", "updated"),
        message("turn.completed", "comp_b", "completed"),
        message("webhook.attempt", "comp_b", "attempt"),
    ];
    bus.publish(&sent).await.unwrap();
    for (queue, expected) in [(Queue::Persist, ["failed", "completed"]), (Queue::Deliver, ["updated", "attempt"])] {
        for body in expected {
            assert_eq!(take_and_finish(&*bus, queue).await.body, body);
        }
        nothing_comes(&*bus, queue).await;
    }
}

async fn delivers_all_that_webhooks_are_made_of(bus: Arc<dyn Bus>) {
    let topics = EventType::OFFERED.into_iter().chain([EventType::WebhookAttempt, EventType::WebhookReplay]);
    let sent: Vec<_> = topics.map(|topic| message(topic.as_str(), "comp_a", topic.as_str())).collect();
    bus.publish(&sent).await.unwrap();
    for message in &sent {
        assert_eq!(take_and_finish(&*bus, Queue::Deliver).await.body, message.body);
    }
    for queue in Queue::ALL {
        nothing_comes(&*bus, queue).await;
    }
}

async fn drops_what_no_queue_takes(bus: Arc<dyn Bus>) {
    bus.publish(&[message("turn.received", "comp_a", "nobody wants it")]).await.unwrap();
    for queue in Queue::ALL {
        assert_eq!(account(&*bus, queue).await.accepted, 0);
    }
}

async fn publishing_nothing_is_fine(bus: Arc<dyn Bus>) {
    bus.publish(&[]).await.unwrap();
}

async fn does_not_add_an_id_that_the_queue_still_holds(bus: Arc<dyn Bus>) {
    let one = turn("once");
    bus.publish(&[one.clone(), one.clone()]).await.unwrap();
    bus.publish(std::slice::from_ref(&one)).await.unwrap();
    assert_eq!(account(&*bus, Queue::Persist).await.accepted, 1);
    let taken = take(&*bus, Queue::Persist).await;
    // Also while it is worked on.
    bus.publish(&[one]).await.unwrap();
    taken.settle(done()).await.unwrap();
    nothing_comes(&*bus, Queue::Persist).await;
    let account = account(&*bus, Queue::Persist).await;
    assert_eq!((account.accepted, account.done, account.pending), (1, 1, 0));
}

async fn takes_an_id_again_after_it_is_done(bus: Arc<dyn Bus>) {
    let one = turn("twice");
    for _ in 0..2 {
        bus.publish(std::slice::from_ref(&one)).await.unwrap();
        assert_eq!(take_and_finish(&*bus, Queue::Persist).await.id, one.id);
    }
}

async fn counts_what_is_done(bus: Arc<dyn Bus>) {
    let one = turn("twice");
    for done in 1..=2 {
        bus.publish(std::slice::from_ref(&one)).await.unwrap();
        take_and_finish(&*bus, Queue::Persist).await;
        assert_eq!(account(&*bus, Queue::Persist).await.done, done);
    }
}

async fn waits_for_the_next_message(bus: Arc<dyn Bus>) {
    let mut fastest = Duration::MAX;
    for _ in 0..4 {
        let waiting = tokio::spawn({
            let bus = Arc::clone(&bus);
            async move { take_and_finish(&*bus, Queue::Deliver).await }
        });
        nothing_comes(&*bus, Queue::Persist).await;
        assert!(!waiting.is_finished());
        let sent = message("conversation.updated", "comp_a", "at last");
        let started = Instant::now();
        bus.publish(std::slice::from_ref(&sent)).await.unwrap();
        assert_eq!(waiting.await.unwrap().id, sent.id);
        fastest = fastest.min(started.elapsed());
    }
    assert!(
        fastest < Duration::from_millis(500),
        "takers are not told of messages: the fastest came after {fastest:?}"
    );
}

async fn gives_each_message_to_one_taker(bus: Arc<dyn Bus>) {
    let sent: Vec<_> = (0..300).map(|n| turn(&n.to_string())).collect();
    let takers = (0..10).map(|_| {
        let bus = Arc::clone(&bus);
        tokio::spawn(async move {
            let mut ids = Vec::new();
            for _ in 0..30 {
                ids.push(take_and_finish(&*bus, Queue::Persist).await.id);
            }
            ids
        })
    });
    let takers: Vec<_> = takers.collect();
    bus.publish(&sent).await.unwrap();
    let got: Vec<Uuid> = join_all(takers).await.into_iter().flat_map(Result::unwrap).collect();
    assert_eq!(got.len(), 300);
    assert_eq!(got.into_iter().collect::<HashSet<_>>(), sent.iter().map(|message| message.id).collect());
}

async fn gives_again_what_was_dropped(bus: Arc<dyn Bus>) {
    let sent = [turn("first"), turn("second")];
    bus.publish(&sent).await.unwrap();
    drop(take(&*bus, Queue::Persist).await);
    let mut got = HashSet::new();
    for _ in &sent {
        let message = take_and_finish(&*bus, Queue::Persist).await;
        assert_eq!(message.attempts, 0, "a drop is no failed try");
        got.insert(message.id);
    }
    assert_eq!(got, sent.iter().map(|message| message.id).collect());
}

async fn survives_a_taker_that_goes_away(bus: Arc<dyn Bus>) {
    for round in 0..50u64 {
        let sent = turn("not lost");
        let (taken, ()) = tokio::join!(timeout(Duration::from_micros(round * 40), bus.take(Queue::Persist)), async {
            bus.publish(std::slice::from_ref(&sent)).await.unwrap();
        });
        drop(taken);
        assert_eq!(take_and_finish(&*bus, Queue::Persist).await.id, sent.id);
    }
}

async fn counts_failed_tries(bus: Arc<dyn Bus>) {
    let sent = turn("third time");
    bus.publish(std::slice::from_ref(&sent)).await.unwrap();
    let mut first_queued_at = None;
    // From before the settlement: the delay runs from the moment that the bus notes it, which is some time before the
    // settlement returns.
    let mut settled_at = None::<Instant>;
    for tries in 0..3 {
        let taken = take(&*bus, Queue::Persist).await;
        assert_eq!((taken.message().id, taken.message().attempts), (sent.id, tries));
        assert_eq!(*first_queued_at.get_or_insert(taken.message().first_queued_at), taken.message().first_queued_at);
        let is_due = settled_at.is_none_or(|settled_at| settled_at.elapsed() >= Duration::from_millis(75));
        assert!(is_due, "came before it was due");
        settled_at = Some(Instant::now());
        taken.settle(retry(Duration::from_millis(80))).await.unwrap();
    }
    assert_eq!(account(&*bus, Queue::Persist).await.pending, 1);
}

async fn does_not_count_a_deferral(bus: Arc<dyn Bus>) {
    bus.publish(&[turn("no room")]).await.unwrap();
    let after = Duration::from_millis(80);
    let taken = take(&*bus, Queue::Persist).await;
    let started = Instant::now();
    taken.settle(Settlement::Defer { after }).await.unwrap();
    let taken = take(&*bus, Queue::Persist).await;
    assert!(started.elapsed() >= Duration::from_millis(75), "came before it was due");
    assert_eq!(taken.message().attempts, 0);
}

async fn holds_up_no_short_delay_behind_a_long_one(bus: Arc<dyn Bus>) {
    let (long, short, none) = (turn("long"), turn("short"), turn("none"));
    bus.publish(&[long.clone(), short.clone(), none.clone()]).await.unwrap();
    take(&*bus, Queue::Persist).await.settle(retry(Duration::from_secs(3_600))).await.unwrap();
    take(&*bus, Queue::Persist).await.settle(retry(Duration::from_millis(100))).await.unwrap();
    assert_eq!(take_and_finish(&*bus, Queue::Persist).await.id, none.id);
    assert_eq!(take_and_finish(&*bus, Queue::Persist).await.id, short.id);
    nothing_comes(&*bus, Queue::Persist).await;
}

async fn publishes_follow_ups_with_done(bus: Arc<dyn Bus>) {
    let cause = turn("cause");
    bus.publish(std::slice::from_ref(&cause)).await.unwrap();
    let follow_ups: Vec<_> = (0..3).map(|n| message("webhook.attempt", "comp_a", &n.to_string())).collect();
    let settlement = Settlement::Done { follow_ups: follow_ups.clone() };
    take(&*bus, Queue::Persist).await.settle(settlement).await.unwrap();
    for expected in follow_ups {
        assert_eq!(take_and_finish(&*bus, Queue::Deliver).await.id, expected.id);
    }
    assert_eq!(account(&*bus, Queue::Deliver).await.done, 3);
}

async fn gives_up_and_lists_dead_letters(bus: Arc<dyn Bus>) {
    let sent = [turn("one"), turn("two")];
    bus.publish(&sent).await.unwrap();
    take(&*bus, Queue::Persist).await.settle(retry(Duration::from_millis(50))).await.unwrap();
    for _ in &sent {
        let taken = take(&*bus, Queue::Persist).await;
        let reason = format!("gone after {} tries", taken.message().attempts);
        taken.settle(dead(&reason)).await.unwrap();
    }
    let letters = bus.dead_letters(None, 10).await.unwrap();
    // The first one was tried again after the second had come up.
    let seen: Vec<_> = letters.iter().map(|letter| (letter.message.id, &*letter.reason, &*letter.queue)).collect();
    let expected = [
        (sent[1].id, "gone after 0 tries", "turnpike.persist"),
        (sent[0].id, "gone after 1 tries", "turnpike.persist"),
    ];
    assert_eq!(seen, expected);
    assert_eq!((letters[1].message.attempts, &*letters[1].message.body), (1, b"one".as_slice()));
    assert!(letters[0].died_at <= letters[1].died_at);
    nothing_comes(&*bus, Queue::Persist).await;
}

async fn lists_dead_letters_by_queue_and_limit(bus: Arc<dyn Bus>) {
    let sent = [turn("a"), turn("b"), message("webhook.attempt", "comp_a", "c")];
    bus.publish(&sent).await.unwrap();
    for queue in [Queue::Persist, Queue::Persist, Queue::Deliver] {
        take(&*bus, queue).await.settle(dead("done for")).await.unwrap();
    }
    for (queue, limit, expected) in [
        (None, 10, vec![0, 1, 2]),
        (None, 2, vec![0, 1]),
        (None, 0, vec![]),
        (Some(Queue::Persist), 10, vec![0, 1]),
        (Some(Queue::Deliver), 10, vec![2]),
    ] {
        let ids: Vec<_> =
            bus.dead_letters(queue, limit).await.unwrap().iter().map(|letter| letter.message.id).collect();
        assert_eq!(ids, expected.into_iter().map(|n: usize| sent[n].id).collect::<Vec<_>>(), "{queue:?} {limit}");
    }
}

async fn redrives_all_or_one_with_tries_forgotten(bus: Arc<dyn Bus>) {
    let sent = [turn("a"), turn("b"), message("webhook.attempt", "comp_a", "c")];
    bus.publish(&sent).await.unwrap();
    take(&*bus, Queue::Persist).await.settle(retry(Duration::ZERO)).await.unwrap();
    for queue in [Queue::Persist, Queue::Persist, Queue::Deliver] {
        take(&*bus, queue).await.settle(dead("done for")).await.unwrap();
    }
    assert_eq!(bus.redrive(None, Some(Uuid::now_v7())).await.unwrap(), 0);
    assert_eq!(bus.redrive(Some(Queue::Deliver), Some(sent[0].id)).await.unwrap(), 0);
    assert_eq!(bus.redrive(None, Some(sent[0].id)).await.unwrap(), 1);
    let taken = take(&*bus, Queue::Persist).await;
    assert_eq!((taken.message().id, taken.message().attempts), (sent[0].id, 0));
    assert_eq!(bus.redrive(Some(Queue::Deliver), None).await.unwrap(), 1);
    assert_eq!(take_and_finish(&*bus, Queue::Deliver).await.id, sent[2].id);
    assert_eq!(bus.redrive(None, None).await.unwrap(), 1);
    assert_eq!(take_and_finish(&*bus, Queue::Persist).await.id, sent[1].id);
    assert_eq!(bus.dead_letters(None, 10).await.unwrap(), []);
}

async fn publishing_a_dead_letter_again_revives_it(bus: Arc<dyn Bus>) {
    let sent = turn("again");
    bus.publish(std::slice::from_ref(&sent)).await.unwrap();
    take(&*bus, Queue::Persist).await.settle(dead("too early")).await.unwrap();
    bus.publish(std::slice::from_ref(&sent)).await.unwrap();
    assert!(account(&*bus, Queue::Persist).await.balances());
    assert_eq!(take_and_finish(&*bus, Queue::Persist).await.id, sent.id);
    assert!(account(&*bus, Queue::Persist).await.balances());
}

async fn balances_at_every_step(bus: Arc<dyn Bus>) {
    let expect = async |accepted, done, dead, pending| {
        let account = account(&*bus, Queue::Persist).await;
        assert_eq!((account.accepted, account.done, account.dead, account.pending), (accepted, done, dead, pending));
        assert!(account.balances());
    };
    expect(0, 0, 0, 0).await;
    bus.publish(&(0..4).map(|n| turn(&n.to_string())).collect::<Vec<_>>()).await.unwrap();
    expect(4, 0, 0, 4).await;
    let taken = take(&*bus, Queue::Persist).await;
    expect(4, 0, 0, 4).await;
    taken.settle(done()).await.unwrap();
    expect(4, 1, 0, 3).await;
    take(&*bus, Queue::Persist).await.settle(dead("no")).await.unwrap();
    expect(4, 1, 1, 2).await;
    take(&*bus, Queue::Persist).await.settle(retry(Duration::from_secs(3_600))).await.unwrap();
    expect(4, 1, 1, 2).await;
    bus.redrive(None, None).await.unwrap();
    expect(4, 1, 0, 3).await;
}

async fn forgets_dead_letters_in_time(bus: Arc<dyn Bus>) {
    bus.publish(&[message("conversation.updated", "comp_a", "one"), message("conversation.updated", "comp_a", "two")])
        .await
        .unwrap();
    take(&*bus, Queue::Deliver).await.settle(dead("no")).await.unwrap();
    assert_eq!(bus.expire(OffsetDateTime::now_utc() - Duration::from_secs(60)).await.unwrap(), 0);
    assert_eq!(bus.dead_letters(None, 10).await.unwrap().len(), 1);
    assert_eq!(bus.expire(OffsetDateTime::now_utc() + Duration::from_secs(60)).await.unwrap(), 1);
    assert_eq!(bus.dead_letters(None, 10).await.unwrap(), []);
    let deliver = account(&*bus, Queue::Deliver).await;
    assert_eq!((deliver.accepted, deliver.dead, deliver.erased, deliver.pending), (2, 0, 1, 1));
    assert!(deliver.balances());
    assert_eq!(bus.redrive(None, None).await.unwrap(), 0);
    assert_eq!(take_and_finish(&*bus, Queue::Deliver).await.body, "two");
}

async fn says_how_long_the_oldest_has_waited(bus: Arc<dyn Bus>) {
    assert_eq!(account(&*bus, Queue::Persist).await.oldest_ms, None);
    bus.publish(&[turn("old")]).await.unwrap();
    let deadline = Instant::now() + PATIENCE;
    while account(&*bus, Queue::Persist).await.oldest_ms.unwrap() < 30 {
        assert!(Instant::now() < deadline, "it does not grow older");
        tokio::task::yield_now().await;
    }
    take_and_finish(&*bus, Queue::Persist).await;
    assert_eq!(account(&*bus, Queue::Persist).await.oldest_ms, None);
}

async fn erases_one_company_everywhere(bus: Arc<dyn Bus>) {
    let ours: Vec<_> = (0..4).map(|n| message("conversation.updated", "comp_a", &n.to_string())).collect();
    bus.publish(&ours).await.unwrap();
    bus.publish(&[turn("persist")]).await.unwrap();
    bus.publish(&[message("conversation.updated", "comp_ab", "theirs")]).await.unwrap();
    take_and_finish(&*bus, Queue::Deliver).await;
    take(&*bus, Queue::Deliver).await.settle(dead("no")).await.unwrap();
    take(&*bus, Queue::Deliver).await.settle(retry(Duration::from_secs(3_600))).await.unwrap();
    // Three of the deliver queue, and the turn, which is to be stored and to be counted.
    assert_eq!(bus.erase(&scope("comp_a")).await.unwrap(), 5);
    assert_eq!(bus.dead_letters(None, 10).await.unwrap(), []);
    let deliver = account(&*bus, Queue::Deliver).await;
    assert_eq!((deliver.accepted, deliver.done, deliver.erased, deliver.pending), (5, 1, 3, 1));
    assert!(deliver.balances() && account(&*bus, Queue::Persist).await.balances());
    assert_eq!(take_and_finish(&*bus, Queue::Deliver).await.body, "theirs");
    assert_eq!(bus.erase(&scope("comp_a")).await.unwrap(), 0);
    nothing_comes(&*bus, Queue::Persist).await;
}

async fn erases_what_is_read_ahead_or_in_work(bus: Arc<dyn Bus>) {
    bus.publish(&[turn("in work"), turn("dropped"), turn("read ahead")]).await.unwrap();
    let (in_work, dropped) = (take(&*bus, Queue::Persist).await, take(&*bus, Queue::Persist).await);
    // Each is in two queues.
    assert_eq!(bus.erase(&scope("comp_a")).await.unwrap(), 6);
    // Another company's messages are read before the erased one is dropped, which must not come back between them.
    let theirs = [0, 1].map(|n| message("turn.completed", "comp_b", &n.to_string()));
    bus.publish(&theirs).await.unwrap();
    assert_eq!(take_and_finish(&*bus, Queue::Persist).await.id, theirs[0].id);
    drop(dropped);
    assert_eq!(take_and_finish(&*bus, Queue::Persist).await.id, theirs[1].id);
    let follow_up = message("webhook.attempt", "comp_a", "of an erased turn");
    in_work.settle(Settlement::Done { follow_ups: vec![follow_up] }).await.unwrap();
    for expected in &theirs {
        assert_eq!(take_and_finish(&*bus, Queue::Analytics).await.id, expected.id);
    }
    for queue in Queue::ALL {
        nothing_comes(&*bus, queue).await;
        assert!(account(&*bus, queue).await.balances());
    }
}

async fn erases_what_tells_of_turns(bus: Arc<dyn Bus>) {
    let until = OffsetDateTime::now_utc();
    let conversations = [0, 1].map(|n| {
        let session = format!("s{n}").parse().unwrap();
        ConversationId::of_session(&"comp_a".parse().unwrap(), &session)
    });
    let body = |conversation: usize, subject: &str| {
        format!(r#"{{"conversationid":"{}","subject":"{subject}"}}"#, conversations[conversation])
    };
    // One that began long before, and one of long after.
    let (old, new) = ("018bcfe5-6800-7000-8000-000000000000", "7fffffff-ffff-7000-8000-000000000000");
    let ours = turn(&body(0, old));
    let others = [turn(&body(0, new)), turn(&body(1, old)), message("turn.completed", "comp_b", &body(0, old))];
    bus.publish(&[ours.clone(), message("conversation.updated", "comp_a", &body(0, old))]).await.unwrap();
    bus.publish(&others).await.unwrap();
    // Given up, it lies elsewhere.
    take(&*bus, Queue::Analytics).await.settle(dead("no")).await.unwrap();
    let turns = Turns { conversation: conversations[0], until };
    assert_eq!(bus.erase_turns(&scope("comp_a"), turns).await.unwrap(), 3);
    assert_eq!(bus.dead_letters(None, 10).await.unwrap(), []);
    for queue in [Queue::Persist, Queue::Analytics] {
        for other in &others {
            assert_eq!(take_and_finish(&*bus, queue).await.id, other.id);
        }
    }
    nothing_comes(&*bus, Queue::Deliver).await;
    assert_eq!(bus.erase_turns(&scope("comp_a"), turns).await.unwrap(), 0);
    for queue in Queue::ALL {
        assert!(account(&*bus, queue).await.balances());
    }
}

async fn counts_what_is_erased(bus: Arc<dyn Bus>) {
    bus.publish(&[turn("in work"), turn("waits")]).await.unwrap();
    let in_work = take(&*bus, Queue::Persist).await;
    bus.erase(&scope("comp_a")).await.unwrap();
    in_work.settle(done()).await.unwrap();
    let account = account(&*bus, Queue::Persist).await;
    assert_eq!((account.accepted, account.done, account.erased), (2, 0, 2));
}

async fn carries_bodies_of_megabytes(bus: Arc<dyn Bus>) {
    let sent: Vec<_> = (0..4).map(|n| turn(&format!("{n}").repeat(4_000_000))).collect();
    bus.publish(&sent).await.unwrap();
    for expected in sent {
        assert!(take_and_finish(&*bus, Queue::Persist).await.body == expected.body);
    }
}

async fn says_that_it_can_be_asked(bus: Arc<dyn Bus>) {
    bus.check().await.unwrap();
}
