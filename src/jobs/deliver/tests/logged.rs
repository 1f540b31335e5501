//! Tests of what is written down of deliveries, and of what is done by it: order, replays, the end of patience.

use std::collections::BTreeSet;

use super::*;
use crate::domain::delivery::{Filter, Replay, ReplayState, ReplayStep};
use crate::domain::webhook::{Filter as Wanted, Order};
use uuid::Uuid;

/// What a turn of a conversation leaves for the deliver job.
fn turn(sequence: u64) -> Message {
    let session = "s".parse().unwrap();
    let origin = Origin {
        source: WORKER,
        subject: format!("t-{sequence}"),
        company_id: company(),
        conversation_id: ConversationId::of_session(&company(), &session),
        traceparent: None,
    };
    let data = json!({"channel": "web", "sequence": sequence});
    Message::of_event(&Event::new(EventType::ConversationUpdated, &origin, "", &data).unwrap()).unwrap()
}

async fn spread(job: &Deliver, message: &Message) -> Vec<Message> {
    match job.run(message).await {
        Outcome::Done(follow_ups) => follow_ups,
        other => panic!("{other:?}"),
    }
}

/// A replay of everything.
fn replay(state: ReplayState) -> Replay {
    let now = OffsetDateTime::now_utc();
    Replay {
        id: Uuid::new_v4(),
        company_id: company(),
        filter: Filter::default(),
        state,
        replayed: 0,
        skipped: 0,
        created_at: now,
        updated_at: now,
    }
}

fn ordered() -> Endpoint {
    Endpoint { order: Order::Ordered, ..endpoint("ep_1", &UPDATED) }
}

#[tokio::test]
async fn a_delivery_is_written_down_before_it_is_on_its_way_and_with_every_try() {
    let (store, log) = (MemoryStore::with([endpoint("ep_1", &UPDATED)]), Arc::new(MemoryLog::default()));
    let works = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let sender = {
        let works = Arc::clone(&works);
        sender(move |_| status(if works.load(std::sync::atomic::Ordering::Relaxed) { 204 } else { 500 }, None))
    };
    let job = logging_job(&store, &sender, &log);
    let mut attempts = spread(&job, &turn(1)).await;
    assert_eq!((log.states(), attempts.len()), (vec![State::Pending], 1));
    let Outcome::Retry { .. } = job.run(&attempts[0]).await else { panic!() };
    assert_eq!(log.states(), [State::Pending]);
    works.store(true, std::sync::atomic::Ordering::Relaxed);
    attempts[0].attempts = 1;
    spread(&job, &attempts[0]).await;
    let kept = log.parcels.lock()[0].delivery.standing.clone();
    assert_eq!((kept.state, kept.attempts, kept.status, kept.reason), (State::Delivered, 2, Some(204), None));
    let tries: Vec<_> = log.attempts.lock().iter().map(|(_, it)| (it.number, it.outcome.clone(), it.status)).collect();
    assert_eq!(tries, [(1, "status".to_owned(), Some(500)), (2, "delivered".to_owned(), Some(204))]);
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_delivery_is_written_down_when_the_log_is_back() {
    let (store, log) = (MemoryStore::with([ordered()]), Arc::new(MemoryLog::default()));
    let breaking = Arc::clone(&log);
    let sender = sender(move |_| {
        *breaking.error.lock() = Some(|| store::Error::Unavailable("away".to_owned()));
        status(200, None)
    });
    let job = logging_job(&store, &sender, &log);
    let attempt = spread(&job, &turn(1)).await.remove(0);
    let back = async {
        tokio::time::sleep(Duration::from_secs(60)).await;
        *log.error.lock() = None;
    };
    let (outcome, ()) = tokio::join!(job.run(&attempt), back);
    assert!(matches!(outcome, Outcome::Done(_)), "{outcome:?}");
    assert_eq!((log.states(), sender.seen.lock().len()), (vec![State::Delivered], 1));
}

#[tokio::test(start_paused = true)]
async fn a_log_that_fails_afterwards_makes_nothing_go_out_twice() {
    let (store, log) = (MemoryStore::with([endpoint("ep_1", &UPDATED)]), Arc::new(MemoryLog::default()));
    let sender = sender(|_| status(200, None));
    let job = logging_job(&store, &sender, &log);
    let attempts = spread(&job, &turn(1)).await;
    *log.error.lock() = Some(|| store::Error::Unavailable("away".to_owned()));
    assert!(spread(&job, &attempts[0]).await.is_empty());
    let Outcome::Retry { .. } = job.run(&turn(2)).await else { panic!("nothing goes out unwritten") };
    assert_eq!(sender.seen.lock().len(), 1);
}

#[tokio::test]
async fn what_arrived_is_not_given_up_when_its_message_comes_again_too_late() {
    let (store, log) = (MemoryStore::with([endpoint("ep_1", &UPDATED)]), Arc::new(MemoryLog::default()));
    let works = Arc::new(std::sync::atomic::AtomicBool::new(true));
    let answers = Arc::clone(&works);
    let sender =
        sender(move |_| status(if answers.load(std::sync::atomic::Ordering::Relaxed) { 204 } else { 500 }, None));
    let job = logging_job(&store, &sender, &log);
    let mut late = spread(&job, &turn(1)).await.remove(0);
    assert!(spread(&job, &late).await.is_empty());
    works.store(false, std::sync::atomic::Ordering::Relaxed);
    for n in 2..8 {
        let other = spread(&job, &turn(n)).await.remove(0);
        job.run(&other).await;
    }
    // Nobody could tell the bus that it arrived, and now the breaker is open.
    (late.attempts, late.first_queued_at) = (3, OffsetDateTime::now_utc() - HOUR * 72);
    assert_eq!(job.run(&late).await, Outcome::Done(Vec::new()));
    assert_eq!(log.states()[0], State::Delivered);
}

#[tokio::test]
async fn a_try_that_says_gone_is_written_down_when_the_endpoint_cannot_be_disabled() {
    let (store, log) = (MemoryStore::with([endpoint("ep_1", &UPDATED)]), Arc::new(MemoryLog::default()));
    let breaking = Arc::clone(&store);
    let sender = sender(move |_| {
        *breaking.error.lock() = Some(|| store::Error::Unavailable("away".to_owned()));
        status(410, None)
    });
    let job = logging_job(&store, &sender, &log);
    let attempt = spread(&job, &turn(1)).await.remove(0);
    let Outcome::Retry { reason, .. } = job.run(&attempt).await else { panic!("it is tried again") };
    assert!(reason.contains("410") && reason.contains("away"), "{reason}");
    let kept = log.attempts.lock().iter().map(|(_, it)| it.outcome.clone()).collect::<Vec<_>>();
    assert_eq!(kept, ["gone"]);
}

#[tokio::test]
async fn what_a_disabled_endpoint_misses_is_kept_for_a_replay() {
    let mut disabled = endpoint("ep_1", &UPDATED);
    disabled.disabled = Some(Disabled::now("by hand"));
    let (store, log) = (MemoryStore::with([disabled]), Arc::new(MemoryLog::default()));
    let job = logging_job(&store, &sender(|_| panic!("it is disabled")), &log);
    assert!(spread(&job, &turn(1)).await.is_empty());
    let kept = log.parcels.lock()[0].clone();
    assert_eq!(kept.delivery.standing.state, State::Discarded);
    assert!(kept.payload.is_some());
}

#[tokio::test]
async fn an_ordered_endpoint_gets_the_next_after_the_last_has_arrived_or_died() {
    let (store, log) = (MemoryStore::with([ordered()]), Arc::new(MemoryLog::default()));
    let sender = sender(|_| status(204, None));
    let job = logging_job(&store, &sender, &log);
    let one = spread(&job, &turn(1)).await.remove(0);
    let two = spread(&job, &turn(2)).await.remove(0);
    let Outcome::Defer { .. } = job.run(&two).await else { panic!("the first is on its way") };
    assert!(sender.seen.lock().is_empty());
    spread(&job, &one).await;
    spread(&job, &two).await;
    assert_eq!(sender.seen.lock().len(), 2);
    // The one before is dead: nobody waits for it.
    let three = spread(&job, &turn(3)).await.remove(0);
    let four = spread(&job, &turn(4)).await.remove(0);
    log.parcels.lock()[2].delivery.standing.state = State::Dead;
    spread(&job, &four).await;
    drop(three);
}

#[tokio::test]
async fn an_ordered_endpoint_waits_for_a_turn_of_which_no_word_has_come_but_not_for_long() {
    let (store, log) = (MemoryStore::with([ordered()]), Arc::new(MemoryLog::default()));
    let job = logging_job(&store, &sender(|_| status(204, None)), &log);
    let mut second = spread(&job, &turn(2)).await.remove(0);
    second.first_queued_at = OffsetDateTime::now_utc();
    let Outcome::Defer { .. } = job.run(&second).await else { panic!("the first may be about to come") };
    second.first_queued_at -= Duration::from_secs(11);
    spread(&job, &second).await;
    // Between turns that are known one is missing: it is about to come.
    let mut fourth = spread(&job, &turn(4)).await.remove(0);
    fourth.first_queued_at = OffsetDateTime::now_utc() - Duration::from_secs(50);
    let Outcome::Defer { .. } = job.run(&fourth).await else { panic!("the third is about to come") };
    fourth.first_queued_at -= Duration::from_secs(11);
    spread(&job, &fourth).await;
}

#[tokio::test]
async fn what_a_turn_brings_comes_in_its_order_whatever_is_heard_of_first() {
    let events = [EventType::ConversationCreated, EventType::MessageCreated, EventType::ConversationUpdated];
    let hears_all = Endpoint { order: Order::Ordered, ..endpoint("ep_1", &events) };
    let (store, log) = (MemoryStore::with([hears_all]), Arc::new(MemoryLog::default()));
    let sender = sender(|_| status(204, None));
    let job = logging_job(&store, &sender, &log);
    let told = |event_type, data: &serde_json::Value| {
        let of: Event = serde_json::from_slice(&turn(1).body).unwrap();
        let event = Event::new(event_type, &of.origin(WORKER), &data.to_string(), data).unwrap();
        Message::of_event(&event).unwrap()
    };
    let mut updated = spread(&job, &turn(1)).await.remove(0);
    let begun = told(EventType::ConversationCreated, &json!({}));
    let [question, answer] = ["user", "assistant"].map(|role| {
        told(EventType::MessageCreated, &json!({"sequence": 1, "message": {"role": role, "content": "…"}}))
    });
    let begun = spread(&job, &begun).await.remove(0);
    spread(&job, &begun).await;
    let question = spread(&job, &question).await.remove(0);
    spread(&job, &question).await;
    let Outcome::Defer { .. } = job.run(&updated).await else { panic!("the answer is about to come") };
    let answer = spread(&job, &answer).await.remove(0);
    let Outcome::Defer { .. } = job.run(&updated).await else { panic!("the answer is on its way") };
    spread(&job, &answer).await;
    spread(&job, &updated).await;
    assert_eq!(sender.seen.lock().len(), 4);
    // Another turn has no answer, and its end is told all the same.
    let second = told(EventType::MessageCreated, &json!({"sequence": 2, "message": {"role": "user", "content": "…"}}));
    let second = spread(&job, &second).await.remove(0);
    spread(&job, &second).await;
    updated = spread(&job, &turn(2)).await.remove(0);
    let Outcome::Defer { .. } = job.run(&updated).await else { panic!("there may be an answer") };
    updated.first_queued_at -= Duration::from_secs(6);
    spread(&job, &updated).await;
    assert_eq!(sender.seen.lock().len(), 6);
}

#[tokio::test]
async fn what_the_filter_leaves_out_holds_up_nobody() {
    let filter = Wanted { channels: BTreeSet::from(["zalo".to_owned()]), ..Wanted::default() };
    let picky = Endpoint { filter, ..ordered() };
    let (store, log) = (MemoryStore::with([picky]), Arc::new(MemoryLog::default()));
    let job = logging_job(&store, &sender(|_| status(204, None)), &log);
    assert!(spread(&job, &turn(1)).await.is_empty());
    assert_eq!(log.states(), [State::Discarded]);
    assert!(log.parcels.lock()[0].payload.is_none());
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_has_failed_for_days_is_disabled_and_one_that_has_for_hours_is_not() {
    let (store, log) = (MemoryStore::with([endpoint("ep_1", &UPDATED)]), Arc::new(MemoryLog::default()));
    let job = logging_job(&store, &sender(|_| status(500, None)), &log);
    let id: crate::domain::EndpointId = "ep_1".parse().unwrap();
    log.failing_since.lock().insert(id.clone(), OffsetDateTime::now_utc() - 4 * 24 * HOUR);
    for n in 0..8 {
        job.run(&attempt(&format!("t-{n}"), "ep_1")).await;
    }
    assert_eq!(store.endpoints.lock()[&id].disabled, None);
    log.failing_since.lock().insert(id.clone(), OffsetDateTime::now_utc() - 6 * 24 * HOUR);
    // The breaker lets one through to see.
    tokio::time::sleep(gate::LONGEST_BREAK).await;
    let last = attempt("t-9", "ep_1");
    assert!(matches!(job.run(&last).await, Outcome::Defer { .. }));
    let disabled = store.endpoints.lock()[&id].disabled.clone().unwrap();
    assert!(disabled.reason.starts_with("every try since "), "{}", disabled.reason);
    let Outcome::Done(told) = job.run(&last).await else { panic!("it tells of it when it comes again") };
    assert_eq!(told[0].routing_key, "endpoint.disabled.comp_1");
}

#[tokio::test]
async fn a_replay_goes_on_step_by_step_and_a_step_made_again_makes_the_same_messages() {
    let (store, log) = (MemoryStore::with([endpoint("ep_1", &UPDATED)]), Arc::new(MemoryLog::default()));
    let sender = sender(|_| status(204, None));
    let job = logging_job(&store, &sender, &log);
    for n in 1..=250 {
        spread(&job, &turn(n)).await;
    }
    for parcel in log.parcels.lock().iter_mut() {
        parcel.delivery.standing.state = State::Dead;
    }
    log.parcels.lock()[7].payload = None;
    let replay = replay(ReplayState::Running);
    let scope = CompanyScope::granted(company());
    log.add_replay(&scope, &replay, replay.created_at).await.unwrap();
    let first = ReplayStep::first(&replay).event(WORKER, &company()).unwrap();
    let mut step = Message::of_event(&first).unwrap();
    let mut sent = BTreeSet::new();
    for round in 0..3 {
        let mut follow_ups = spread(&job, &step).await;
        let again = spread(&job, &step).await;
        let ids = |messages: &[Message]| messages.iter().map(|it| it.id).collect::<Vec<_>>();
        assert_eq!(ids(&follow_ups), ids(&again), "after a crash in step {round}");
        step = follow_ups.pop().unwrap();
        assert_eq!(step.routing_key, "webhook.replay.comp_1");
        let Outcome::Defer { .. } = job.run(&step).await else { panic!("it runs ahead of its endpoint") };
        for message in follow_ups {
            sent.insert(message.id);
            spread(&job, &message).await;
        }
    }
    assert_eq!(log.replay(&scope, replay.id).await.unwrap().unwrap().state, ReplayState::Running);
    assert!(spread(&job, &step).await.is_empty());
    assert_eq!((sent.len(), sender.seen.lock().len()), (249, 249));
    let kept = log.replay(&scope, replay.id).await.unwrap().unwrap();
    assert_eq!((kept.state, kept.replayed, kept.skipped), (ReplayState::Done, 249, 1));
    let request = &sender.seen.lock()[0];
    let id = request.headers.iter().find(|(name, _)| name == "webhook-id").unwrap().1.clone();
    assert!(log.parcels.lock().iter().any(|it| it.delivery.webhook_id == id), "a replay keeps the webhook-id");
}

#[tokio::test]
async fn of_two_replays_at_once_one_makes_each_delivery_again() {
    let (store, log) = (MemoryStore::with([endpoint("ep_1", &UPDATED)]), Arc::new(MemoryLog::default()));
    let job = logging_job(&store, &sender(|_| status(204, None)), &log);
    for n in 1..=2 {
        spread(&job, &turn(n)).await;
    }
    log.parcels.lock().iter_mut().for_each(|parcel| parcel.delivery.standing.state = State::Dead);
    let scope = CompanyScope::granted(company());
    let mut made = Vec::new();
    for replay in [replay(ReplayState::Running), replay(ReplayState::Running)] {
        log.add_replay(&scope, &replay, replay.created_at).await.unwrap();
        let first = ReplayStep::first(&replay).event(WORKER, &company()).unwrap();
        let follow_ups = spread(&job, &Message::of_event(&first).unwrap()).await;
        let attempts = follow_ups.iter().filter(|it| it.routing_key == "webhook.attempt.comp_1").count();
        let kept = log.replay(&scope, replay.id).await.unwrap().unwrap();
        made.push((attempts, kept.replayed, kept.skipped));
    }
    assert_eq!(made, [(2, 2, 0), (0, 0, 2)]);
}

#[tokio::test]
async fn a_replay_that_was_cancelled_goes_no_further() {
    let (store, log) = (MemoryStore::with([endpoint("ep_1", &UPDATED)]), Arc::new(MemoryLog::default()));
    let job = logging_job(&store, &sender(|_| panic!("nothing is sent")), &log);
    spread(&job, &turn(1)).await;
    log.parcels.lock()[0].delivery.standing.state = State::Dead;
    let replay = replay(ReplayState::Cancelled);
    log.add_replay(&CompanyScope::granted(company()), &replay, replay.created_at).await.unwrap();
    let step = Message::of_event(&ReplayStep::first(&replay).event(WORKER, &company()).unwrap()).unwrap();
    assert!(spread(&job, &step).await.is_empty());
    assert_eq!(log.states(), [State::Dead]);
    // A worker died when it had made the delivery pending, and before its message was out.
    {
        let delivery = &mut log.parcels.lock()[0].delivery;
        (delivery.replay_id, delivery.round, delivery.standing.state) = (Some(replay.id), 1, State::Pending);
    }
    assert_eq!(spread(&job, &step).await.len(), 1, "a delivery that is pending has a message");
}
