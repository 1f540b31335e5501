//! Tests of delivery, with a receiver that answers as it is told. Delays are read from the settlements, not waited for.

use std::collections::HashMap;

use super::super::runner::{DiscardReason, run};
use super::super::testing::{MemoryBus, MemoryLog, MemoryStore, company, endpoint, jobs, webhooks};
use super::*;
use crate::domain::ConversationId;
use crate::domain::event::{Origin, WORKER};
use crate::domain::webhook::{Disabled, Headers, Payload, ROTATION, Secret};
use crate::ports::bus::{Bus, Settlement};
use crate::ports::webhook::{Answer, Error as PostError, Posted, Timing};
use async_trait::async_trait;
use parking_lot::Mutex;
use serde_json::json;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

mod logged;
mod shared;

const UPDATED: [EventType; 1] = [EventType::ConversationUpdated];
const HOUR: Duration = Duration::from_secs(3600);

type Script = dyn Fn(&Request) -> Option<Result<Answer, PostError>> + Send + Sync;

/// Answers by a script; where that has no answer it hangs as long as the adapter's deadline lets it.
struct Scripted {
    script: Box<Script>,
    seen: Mutex<Vec<Request>>,
}

#[async_trait]
impl Sender for Scripted {
    async fn post(&self, request: Request) -> Posted {
        let answer = (self.script)(&request);
        self.seen.lock().push(request);
        let result = match answer {
            Some(answer) => answer,
            None => {
                tokio::time::sleep(webhooks().deadline).await;
                Err(PostError::Timeout(webhooks().deadline))
            }
        };
        Posted { result, timing: Timing::default(), remote_address: None }
    }

    async fn check(&self, url: &str) -> Result<String, PostError> {
        Ok(url.to_owned())
    }
}

fn sender(script: impl Fn(&Request) -> Option<Result<Answer, PostError>> + Send + Sync + 'static) -> Arc<Scripted> {
    Arc::new(Scripted { script: Box::new(script), seen: Mutex::default() })
}

fn status(status: u16, retry_after: Option<&str>) -> Option<Result<Answer, PostError>> {
    Some(Ok(Answer {
        status,
        http_version: "HTTP/1.1",
        retry_after: retry_after.map(str::to_owned),
        headers: Vec::new(),
        body_start: bytes::Bytes::new(),
    }))
}

fn event(subject: &str) -> Event {
    let session = "s".parse().unwrap();
    let origin = Origin {
        source: WORKER,
        subject: subject.to_owned(),
        company_id: company(),
        conversation_id: ConversationId::of_session(&company(), &session),
        traceparent: None,
    };
    Event::new(EventType::ConversationUpdated, &origin, "", &json!({"summary": "Xin chào"})).unwrap()
}

fn to_send(event: &Event, endpoint: &Endpoint) -> Attempt {
    Attempt::of(&parcels::to_send(event, endpoint).unwrap()).unwrap()
}

fn attempt(subject: &str, endpoint: &str) -> Message {
    let parcel = parcels::to_send(&event(subject), &super::super::testing::endpoint(endpoint, &UPDATED)).unwrap();
    Attempt::of(&parcel).unwrap().message(&parcel, None).unwrap()
}

fn job(store: &Arc<MemoryStore>, sender: &Arc<Scripted>) -> Deliver {
    logging_job(store, sender, &Arc::new(MemoryLog::default()))
}

fn logging_job(store: &Arc<MemoryStore>, sender: &Arc<Scripted>, log: &Arc<MemoryLog>) -> Deliver {
    let (directory, log, sender) = (Arc::clone(store) as _, Arc::clone(log) as _, Arc::clone(sender) as _);
    Deliver::new(directory, log, sender, Share::whole(), &webhooks(), &jobs())
}

/// What one try of a fresh job comes to, whose endpoint answers so.
async fn try_once(message: &Message, answer: Option<Result<Answer, PostError>>) -> Outcome {
    let store = MemoryStore::with([endpoint("ep_1", &UPDATED)]);
    let sender = sender(move |_| answer.clone());
    job(&store, &sender).run(message).await
}

#[tokio::test]
async fn an_event_is_spread_over_the_endpoints_that_listen() {
    let mut disabled = endpoint("ep_2", &UPDATED);
    disabled.disabled = Some(Disabled::now("gone"));
    let mut foreign = endpoint("ep_4", &UPDATED);
    foreign.company_id = "comp_2".parse().unwrap();
    let other = endpoint("ep_3", &[EventType::MessageCreated]);
    let store = MemoryStore::with([endpoint("ep_1", &UPDATED), disabled, other, foreign, endpoint("ep_5", &UPDATED)]);
    let sender = sender(|_| panic!("nothing is posted yet"));
    let message = Message::of_event(&event("t")).unwrap();
    let Outcome::Done(attempts) = job(&store, &sender).run(&message).await else { panic!() };
    let mut to: Vec<String> = attempts
        .iter()
        .map(|it| serde_json::from_slice::<serde_json::Value>(&it.body).unwrap()["data"]["endpoint_id"].to_string())
        .collect();
    to.sort();
    assert_eq!(to, ["\"ep_1\"", "\"ep_5\""]);
    assert!(attempts.iter().all(|it| it.routing_key == "webhook.attempt.comp_1"));
    let Outcome::Done(again) = job(&store, &sender).run(&message).await else { panic!() };
    let ids = |messages: &[Message]| messages.iter().map(|it| it.id).collect::<std::collections::BTreeSet<_>>();
    assert_eq!(ids(&attempts), ids(&again));
    assert_eq!(ids(&attempts).len(), 2);
}

#[tokio::test]
async fn id_and_body_are_the_same_in_every_try_and_the_signature_is_the_standards() {
    let store = MemoryStore::with([endpoint("ep_1", &UPDATED)]);
    let sender = sender(|_| status(500, None));
    let job = job(&store, &sender);
    let mut message = attempt("t", "ep_1");
    for attempts in 0..3 {
        message.attempts = attempts;
        job.run(&message).await;
    }
    let seen = sender.seen.lock();
    assert_eq!(seen.len(), 3);
    let event = event("t");
    for request in seen.iter() {
        let header: HashMap<_, _> = request.headers.iter().cloned().collect();
        assert_eq!(header["webhook-id"], format!("msg_{}", event.id.simple()));
        assert_eq!(header["content-type"], "application/json");
        assert!(header["user-agent"].starts_with("Turnpike/"));
        assert_eq!(request.body, seen[0].body);
        let timestamp: i64 = header["webhook-timestamp"].parse().unwrap();
        assert!((OffsetDateTime::now_utc().unix_timestamp() - timestamp).abs() < 60);
        let secret = endpoint("ep_1", &UPDATED).secret;
        let expected = secret.sign(&header["webhook-id"], timestamp, &request.body).unwrap();
        assert_eq!(header["webhook-signature"], expected);
    }
    let body = String::from_utf8(seen[0].body.to_vec()).unwrap();
    assert!(body.starts_with(r#"{"type":"conversation.updated","timestamp":""#), "{body}");
    assert!(body.ends_with(r#"","data":{"summary":"Xin chào"}}"#), "{body}");
}

#[tokio::test]
async fn retries_follow_the_schedule_whatever_went_wrong() {
    for answer in [
        status(500, None),
        status(302, Some("1")),
        status(400, None),
        status(404, Some("1")),
        status(429, None),
        status(503, Some("soon")),
        Some(Err(PostError::Dns("no such name".to_owned()))),
        Some(Err(PostError::Address("10.0.0.1".to_owned()))),
    ] {
        for attempts in [0, 1, 2, 5, 13] {
            let message = Message { attempts, ..attempt("t", "ep_1") };
            let Outcome::Retry { after, .. } = try_once(&message, answer.clone()).await else { panic!("{answer:?}") };
            let step = (5.0 * 2f64.powi(attempts as i32)).min(36_000.0);
            let after = after.as_secs_f64();
            assert!(after >= step * 0.79 && after <= step * 1.21, "{answer:?}, attempt {attempts}: {after} s");
        }
    }
}

#[tokio::test]
async fn retry_after_is_honoured_up_to_the_longest_delay() {
    let message = attempt("t", "ep_1");
    for code in [429, 503] {
        for (text, seconds) in [("1", 1), ("120", 120), ("999999999", 12 * 3600)] {
            let Outcome::Retry { after, .. } = try_once(&message, status(code, Some(text))).await else { panic!() };
            assert_eq!(after, Duration::from_secs(seconds), "{code} {text}");
        }
    }
}

#[tokio::test]
async fn gone_disables_the_endpoint_and_the_message_that_showed_it_tells_of_it() {
    let store = MemoryStore::with([endpoint("ep_1", &UPDATED), endpoint("ep_2", &[EventType::EndpointDisabled])]);
    let sender = sender(|_| status(410, None));
    let job = job(&store, &sender);
    let shows_it = attempt("t", "ep_1");
    let Outcome::Defer { after } = job.run(&shows_it).await else { panic!("it comes again") };
    assert!(after < Duration::from_secs(1), "at once: {after:?}");
    let disabled = store.endpoints.lock()[&"ep_1".parse().unwrap()].disabled.clone().unwrap();
    assert_eq!((disabled.reason.as_str(), disabled.by), ("answered 410 Gone", Some(shows_it.id)));
    assert_eq!(job.run(&attempt("u", "ep_1")).await, Outcome::Discarded(DiscardReason::EndpointDisabled));
    assert_eq!(job.run(&attempt("u", "ep_9")).await, Outcome::Discarded(DiscardReason::EndpointGone));

    // However often it comes, for a worker may die after each time, it tells the same.
    let Outcome::Done(told) = job.run(&shows_it).await else { panic!() };
    let Outcome::Done(again) = job.run(&shows_it).await else { panic!() };
    assert_eq!((told.len(), told[0].id), (1, again[0].id));
    assert_eq!(told[0].routing_key, "endpoint.disabled.comp_1");
    let event: serde_json::Value = serde_json::from_slice(&told[0].body).unwrap();
    assert_eq!(event["data"]["endpoint_id"], "ep_1");
    assert_eq!(
        (&event["data"]["reason"], event["data"]["disabled_at"].is_string()),
        (&json!("answered 410 Gone"), true)
    );
    let Outcome::Done(attempts) = job.run(&told[0]).await else { panic!() };
    let to: Vec<_> = attempts
        .iter()
        .map(|it| serde_json::from_slice::<serde_json::Value>(&it.body).unwrap()["data"]["endpoint_id"].clone())
        .collect();
    assert_eq!(to, ["ep_2"], "the others that ask for it hear of it");
    assert_eq!(sender.seen.lock().len(), 1, "something was sent after it was gone");
}

#[tokio::test]
async fn a_webhook_dies_when_its_time_is_up_and_not_before() {
    let mut message = attempt("t", "ep_1");
    message.attempts = 14;
    message.first_queued_at = OffsetDateTime::now_utc() - HOUR * 71;
    let Outcome::Retry { after, .. } = try_once(&message, status(500, None)).await else { panic!() };
    assert!(after <= HOUR && after > HOUR - Duration::from_secs(60), "the last try comes in time: {after:?}");
    message.first_queued_at = OffsetDateTime::now_utc() - HOUR * 72;
    let Outcome::Dead { reason } = try_once(&message, status(500, None)).await else { panic!() };
    assert!(reason.contains("259200 s") && reason.contains("answered 500"), "{reason}");
    assert_eq!(try_once(&message, status(204, None)).await, Outcome::Done(Vec::new()));
}

#[tokio::test]
async fn a_webhook_dies_in_time_though_the_breaker_keeps_it_from_trying() {
    let store = MemoryStore::with([endpoint("ep_1", &UPDATED)]);
    let sender = sender(|_| status(500, None));
    let job = job(&store, &sender);
    let mut message = attempt("t", "ep_1");
    for _ in 0..5 {
        assert!(matches!(job.run(&message).await, Outcome::Retry { .. }));
    }
    assert!(matches!(job.run(&message).await, Outcome::Defer { .. }), "the breaker is open");
    message.first_queued_at -= HOUR * 72;
    let Outcome::Dead { reason } = job.run(&message).await else { panic!() };
    assert!(reason.contains("answered 500"), "{reason}");
    assert_eq!(sender.seen.lock().len(), 5);
}

#[tokio::test]
async fn a_bad_secret_is_tried_again_and_not_blamed_on_the_endpoint() {
    let mut broken = endpoint("ep_1", &UPDATED);
    broken.secret = serde_json::from_str(r#""whsec_?""#).unwrap();
    let store = MemoryStore::with([broken]);
    let sender = sender(|_| status(200, None));
    let job = job(&store, &sender);
    for _ in 0..10 {
        let Outcome::Retry { reason, .. } = job.run(&attempt("t", "ep_1")).await else { panic!() };
        assert!(reason.contains("secret"), "{reason}");
    }
    store.endpoints.lock().values_mut().for_each(|it| it.secret = endpoint("ep_1", &UPDATED).secret);
    assert_eq!(job.run(&attempt("t", "ep_1")).await, Outcome::Done(Vec::new()));
}

#[tokio::test]
async fn poison_dies_and_our_own_directory_is_waited_for() {
    let store = MemoryStore::with([]);
    let sender = sender(|_| None);
    let job = job(&store, &sender);
    let good = attempt("t", "ep_1");
    let text = String::from_utf8(good.body.to_vec()).unwrap();
    for body in ["nonsense".to_owned(), text.replace("webhook.attempt", "turn.completed"), text.replace("payload", "p")]
    {
        let outcome = job.run(&Message { body: body.clone().into(), ..good.clone() }).await;
        assert!(matches!(outcome, Outcome::Dead { .. }), "{body}: {outcome:?}");
    }
    *store.error.lock() = Some(|| store::Error::Unavailable("away".to_owned()));
    let old = Message { first_queued_at: OffsetDateTime::UNIX_EPOCH, ..good };
    assert!(matches!(job.run(&old).await, Outcome::Retry { .. }));
}

fn done(settled: &[(Message, Settlement)]) -> usize {
    settled.iter().filter(|it| matches!(it.1, Settlement::Done { .. })).count()
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_hangs_holds_up_no_other() {
    let store = MemoryStore::with([endpoint("ep_hangs", &UPDATED), endpoint("ep_good", &UPDATED)]);
    let sender = sender(|request| if request.url.contains("hangs") { None } else { status(200, None) });
    // The hanging endpoint's messages are all in front.
    let hanging = (0..500).map(|n| attempt(&format!("t{n}"), "ep_hangs"));
    let good = (0..500).map(|n| attempt(&format!("t{n}"), "ep_good"));
    let bus = MemoryBus::with(hanging.chain(good));
    let shutdown = CancellationToken::new();
    let begun = Instant::now();
    let watch = async {
        tokio::time::timeout(HOUR, bus.until(|settled| done(settled) == 500)).await.unwrap();
        assert!(begun.elapsed() < webhooks().deadline, "the good ones took {:?}", begun.elapsed());
        let in_flight = sender.seen.lock().iter().filter(|it| it.url.contains("hangs")).count();
        assert!(in_flight > 0 && in_flight <= 16, "{in_flight} requests at a time to one endpoint");
        shutdown.cancel();
    };
    tokio::join!(run(Arc::new(job(&store, &sender)), Arc::clone(&bus) as Arc<dyn Bus>, shutdown.clone()), watch);
}

#[tokio::test(start_paused = true)]
async fn more_endpoints_that_hang_than_there_are_places_hold_up_no_other() {
    let hung: Vec<String> = (0..2 * webhooks().concurrency).map(|n| format!("ep_hangs{n}")).collect();
    let good = || endpoint("ep_good", &UPDATED);
    let store = MemoryStore::with(hung.iter().map(|id| endpoint(id, &UPDATED)).chain([good()]));
    let sender = sender(|request| if request.url.contains("hangs") { None } else { status(200, None) });
    // Theirs are all in front, and come again.
    let hanging = |turn: usize| hung.iter().map(move |id| attempt(&format!("t{turn}"), id)).collect::<Vec<_>>();
    let well = |turn: usize| (0..100).map(move |n| attempt(&format!("t{turn}-{n}"), "ep_good")).collect::<Vec<_>>();
    let bus = MemoryBus::with([hanging(1), well(1), hanging(2), well(2)].concat());
    let shutdown = CancellationToken::new();
    let begun = Instant::now();
    let watch = async {
        tokio::time::timeout(HOUR, bus.until(|settled| done(settled) == 200)).await.unwrap();
        assert!(begun.elapsed() < gate::PROMPT * 4, "the good ones took {:?}", begun.elapsed());
        shutdown.cancel();
    };
    tokio::join!(run(Arc::new(job(&store, &sender)), Arc::clone(&bus) as Arc<dyn Bus>, shutdown.clone()), watch);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_under_way_is_waited_for_at_the_end() {
    let store = MemoryStore::with([endpoint("ep_1", &UPDATED)]);
    // It answers at the last moment, with a failure.
    let sender = sender(|_| None);
    let bus = MemoryBus::with([attempt("t", "ep_1")]);
    let shutdown = CancellationToken::new();
    let watch = async {
        while sender.seen.lock().is_empty() {
            tokio::task::yield_now().await;
        }
        shutdown.cancel();
    };
    tokio::join!(run(Arc::new(job(&store, &sender)), Arc::clone(&bus) as Arc<dyn Bus>, shutdown.clone()), watch);
    let settled = bus.settled();
    assert!(matches!(&settled[..], [(_, Settlement::Retry { .. })]), "{settled:?}");
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_recovers_gets_everything_in_the_end() {
    let store = MemoryStore::with([endpoint("ep_1", &UPDATED)]);
    let healthy_at = Instant::now() + Duration::from_secs(300);
    let sender = sender(move |_| if Instant::now() < healthy_at { status(500, None) } else { status(200, None) });
    let bus = MemoryBus::with((0..200).map(|n| attempt(&format!("t{n}"), "ep_1")));
    let shutdown = CancellationToken::new();
    let watch = async {
        tokio::time::timeout(HOUR, bus.until(|settled| done(settled) == 200)).await.unwrap();
        // While it was down, the breaker let few requests through.
        assert!(sender.seen.lock().len() < 250, "{} requests", sender.seen.lock().len());
        shutdown.cancel();
    };
    tokio::join!(run(Arc::new(job(&store, &sender)), Arc::clone(&bus) as Arc<dyn Bus>, shutdown.clone()), watch);
}

#[tokio::test]
async fn an_endpoint_hears_of_the_conversations_that_it_asked_for() {
    let only = |channels: &[&str], intents: &[&str]| {
        let mut endpoint = endpoint("ep_1", &UPDATED);
        endpoint.filter.channels = channels.iter().map(|&it| it.to_owned()).collect();
        endpoint.filter.intents = intents.iter().map(|&it| it.to_owned()).collect();
        endpoint
    };
    let told = async |endpoint, data: serde_json::Value| {
        let store = MemoryStore::with([endpoint]);
        let event = Event::new(EventType::ConversationUpdated, &event("t").origin(WORKER), "", &data).unwrap();
        let message = Message::of_event(&event).unwrap();
        let Outcome::Done(attempts) = job(&store, &sender(|_| None)).run(&message).await else { panic!() };
        !attempts.is_empty()
    };
    let sale = json!({"channel": "web", "intent": "sales_inquiry"});
    assert!(told(only(&[], &[]), sale.clone()).await);
    assert!(told(only(&["web", "zalo"], &["sales_inquiry"]), sale.clone()).await);
    assert!(!told(only(&["zalo"], &[]), sale.clone()).await);
    assert!(!told(only(&["web"], &["support"]), sale).await);
    // What an event does not know of, it is not judged by.
    assert!(told(only(&["web"], &["support"]), json!({"channel": "web"})).await);
}

#[tokio::test]
async fn a_thin_webhook_says_what_happened_and_no_word_of_what_was_said() {
    let mut thin = endpoint("ep_1", &UPDATED);
    thin.payload = Payload::Thin;
    let data = json!({"turn_id": "t", "sequence": 3, "summary": "xin", "messages": [{"content": "chào"}]});
    let event = Event::new(EventType::ConversationUpdated, &event("t").origin(WORKER), "", &data).unwrap();
    let body: serde_json::Value = serde_json::from_slice(&to_send(&event, &thin).body()).unwrap();
    assert_eq!(body["data"], json!({"turn_id": "t", "sequence": 3}));
    assert_eq!(body["type"], "conversation.updated");
}

#[tokio::test]
async fn while_a_secret_is_replaced_both_sign_and_own_headers_go_along() {
    let mut endpoint = endpoint("ep_1", &UPDATED);
    let (old, new) = (endpoint.secret.clone(), Secret::key_pair([3; 32]));
    endpoint.headers = Headers::try_from(std::collections::BTreeMap::from([("X-Key".into(), "k".into())])).unwrap();
    let now = OffsetDateTime::now_utc();
    endpoint.rotate(new.clone(), now);
    let signatures = |endpoint: &Endpoint, at: OffsetDateTime| {
        let attempt = to_send(&event("t"), endpoint);
        let headers: HashMap<_, _> = sign::headers(endpoint, &attempt, at).unwrap().into_iter().collect();
        assert_eq!(headers["x-key"], "k");
        let expected = |secret: &Secret| {
            secret.sign(&attempt.webhook_id, at.unix_timestamp(), attempt.payload.get().as_bytes()).unwrap()
        };
        (headers["webhook-signature"].clone(), format!("{} {}", expected(&new), expected(&old)), expected(&new))
    };
    let (signed, both, _) = signatures(&endpoint, now + ROTATION - time::Duration::SECOND);
    assert_eq!(signed, both);
    let (signed, _, alone) = signatures(&endpoint, now + ROTATION);
    assert_eq!(signed, alone);
}

#[tokio::test]
async fn an_endpoint_may_have_a_schedule_of_its_own() {
    let mut impatient = endpoint("ep_1", &UPDATED);
    impatient.retries.initial_delay_s = Some(60);
    impatient.retries.give_up_after_s = Some(3600);
    let store = MemoryStore::with([impatient]);
    let job = job(&store, &sender(|_| status(500, None)));
    let mut message = attempt("t", "ep_1");
    let Outcome::Retry { after, .. } = job.run(&message).await else { panic!() };
    assert!((Duration::from_secs(45)..=Duration::from_secs(75)).contains(&after), "{after:?}");
    message.first_queued_at -= HOUR;
    assert!(matches!(job.run(&message).await, Outcome::Dead { .. }));
}
