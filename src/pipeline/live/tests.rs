//! Readers that come, go and come back; what is cut; how a turn ends.

use super::*;

pub(super) fn turn() -> Arc<LiveTurn> {
    let company_id: CompanyId = "c".parse().unwrap();
    let session_id: SessionId = "s".parse().unwrap();
    LiveTurn::new(TurnHead {
        turn_id: TurnId::generate(),
        conversation_id: ConversationId::of_session(&company_id, &session_id),
        company_id,
        session_id,
        channel: "web".to_owned(),
    })
}

pub(super) fn content(text: &str) -> TurnEvent {
    TurnEvent::Content(text.into())
}

pub(super) fn done() -> TurnEvent {
    TurnEvent::Done { finish_reason: FinishReason::Stop, usage: Usage::default(), degraded: vec![] }
}

#[tokio::test]
async fn a_reader_that_comes_back_misses_nothing_and_gets_nothing_twice() {
    let turn = turn();
    let mut first = turn.read(0);
    turn.push(TurnEvent::Start);
    turn.push(content("a"));
    assert_eq!(first.next().await.map(|(first, events)| (first, events.len())), Some((1, 2)));
    drop(first);
    turn.push(content("b"));
    turn.push(done());
    let mut second = turn.read(2);
    assert_eq!(second.next().await, Some((3, vec![content("b"), done()])));
    assert_eq!(second.next().await, None);
}

#[tokio::test(start_paused = true)]
async fn a_turn_is_abandoned_only_after_the_grace_without_a_reader() {
    let turn = turn();
    let grace = Duration::from_secs(10);
    let reader = turn.read(0);
    assert!(tokio::time::timeout(Duration::from_secs(60), turn.abandoned(grace)).await.is_err());
    drop(reader);
    assert!(tokio::time::timeout(Duration::from_secs(9), turn.abandoned(grace)).await.is_err());
    let reader = turn.read(0);
    assert!(tokio::time::timeout(Duration::from_secs(60), turn.abandoned(grace)).await.is_err());
    drop(reader);
    assert!(tokio::time::timeout(Duration::from_secs(11), turn.abandoned(grace)).await.is_ok());
}

#[tokio::test]
async fn only_what_was_handed_out_since_the_last_reset_counts_as_delivered() {
    let turn = turn();
    let mut reader = turn.read(0);
    turn.push(content("lost"));
    turn.push(TurnEvent::Reset { reason: "provider_failed" });
    turn.push(content("kept"));
    reader.next().await;
    turn.push(content("not read"));
    drop(reader);
    assert_eq!(turn.attendance(), (false, 4));
}

#[tokio::test]
async fn what_is_cut_is_gone_for_those_who_come_later() {
    let turn = turn();
    let mut reader = turn.read(0);
    turn.push(content("got"));
    reader.next().await;
    turn.push(content("never sent"));
    drop(reader);
    assert_eq!(turn.cut(), "got");
    turn.push(done());
    assert_eq!(turn.read(1).next().await, Some((2, vec![done()])));
}

#[tokio::test]
async fn every_stream_of_an_ended_turn_ends_with_its_last_event() {
    let turn = turn();
    turn.push(TurnEvent::Start);
    turn.push(done());
    for after in [2, 3, 99_999] {
        assert_eq!(turn.read(after).next().await, Some((2, vec![done()])), "after {after}");
    }
}
