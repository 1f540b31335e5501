//! The contract of what processes know of each other. `cluster_contract!` runs all checks on an adapter, each on an empty
//! cluster of its own.

use std::any::Any;
use std::sync::Arc;

use futures::future::join_all;
use time::OffsetDateTime;
use turnpike::domain::{ConversationId, SessionId, TurnId};
use turnpike::ports::cluster::{Claim, Cluster, Member, TurnAccount, Whereabouts};

use crate::store::scope;

/// Two processes' views of one cluster.
pub(crate) struct Processes {
    pub(crate) cluster: Arc<dyn Cluster>,
    pub(crate) other: Arc<dyn Cluster>,
    /// What must live as long as the cluster does.
    pub(crate) _guard: Box<dyn Any + Send + Sync>,
}

/// Runs every check on the cluster that an async function makes, or none where its server is missing.
macro_rules! cluster_contract {
    ($adapter:ident, $make:path) => {
        mod $adapter {
            cluster_contract! { @each $make;
                knows_its_members forgets_who_is_silent_unless_turns_are_owed says_where_a_turn_runs
                gives_the_turn_that_began_last keeps_companies_apart gives_a_key_to_the_first_who_claims_it
                gives_a_key_to_one_of_many gives_a_key_up_for_its_turn_alone erases_one_company
            }
        }
    };
    (@each $make:path; $($check:ident)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $check() {
            if let Some(processes) = $make().await {
                super::$check(&processes).await;
            }
        }
    )*};
}

cluster_contract!(on_mongodb, crate::store::mongodb::fresh_processes);

fn member(id: &str) -> Member {
    let now = OffsetDateTime::now_utc();
    Member {
        id: id.to_owned(),
        roles: vec!["gateway".to_owned(), "worker".to_owned()],
        jobs: vec!["deliver".to_owned()],
        url: Some(format!("http://{id}:8080")),
        version: "0.1.0".to_owned(),
        started_at: now - time::Duration::hours(1),
        seen_at: now,
        turns: Some(TurnAccount { accepted: 9, ended: 8, lost: 1 }),
        streams: Some(3),
    }
}

fn conversation(session: &str) -> ConversationId {
    ConversationId::of_session(&"comp_a".parse().unwrap(), &session.parse::<SessionId>().unwrap())
}

fn running(session: &str) -> Whereabouts {
    Whereabouts {
        turn_id: TurnId::generate(),
        conversation_id: conversation(session),
        url: Some("http://10.0.0.1:8080".to_owned()),
        has_ended: false,
    }
}

fn claim(key: &str) -> Claim {
    Claim { key: key.to_owned(), fingerprint: "f".repeat(64), turn_id: TurnId::generate() }
}

async fn knows_its_members(Processes { cluster, other, .. }: &Processes) {
    assert_eq!(cluster.members().await.unwrap(), []);
    let (a, b) = (member("a"), Member { url: None, turns: None, ..member("b") });
    cluster.report(&b).await.unwrap();
    other.report(&a).await.unwrap();
    assert_eq!(cluster.members().await.unwrap(), [a.clone(), b.clone()]);
    let later = Member { turns: Some(TurnAccount { accepted: 20, ended: 3, lost: 0 }), roles: vec![], ..a };
    cluster.report(&later).await.unwrap();
    assert_eq!(other.members().await.unwrap(), [later, b]);
}

async fn forgets_who_is_silent_unless_turns_are_owed(Processes { cluster, .. }: &Processes) {
    let seen_at = OffsetDateTime::now_utc() - time::Duration::minutes(11);
    let owes = TurnAccount { accepted: 9, ended: 7, lost: 1 };
    cluster.report(&Member { seen_at, ..member("silent") }).await.unwrap();
    cluster.report(&Member { seen_at, turns: None, ..member("silent worker") }).await.unwrap();
    let indebted = Member { seen_at, turns: Some(owes), ..member("indebted") };
    cluster.report(&indebted).await.unwrap();
    assert_eq!(cluster.members().await.unwrap(), std::slice::from_ref(&indebted));
    // Its turns have come to their end.
    cluster.report(&Member { turns: Some(TurnAccount { ended: 8, ..owes }), ..indebted }).await.unwrap();
    assert_eq!(cluster.members().await.unwrap(), []);
}

async fn says_where_a_turn_runs(Processes { cluster, other, .. }: &Processes) {
    let (scope, turn) = (scope("comp_a"), running("s"));
    assert_eq!(other.whereabouts(&scope, turn.turn_id).await.unwrap(), None);
    cluster.announce(&scope, &turn).await.unwrap();
    assert_eq!(other.whereabouts(&scope, turn.turn_id).await.unwrap(), Some(turn.clone()));
    let ended = Whereabouts { has_ended: true, url: None, ..turn.clone() };
    cluster.announce(&scope, &ended).await.unwrap();
    assert_eq!(other.whereabouts(&scope, turn.turn_id).await.unwrap(), Some(ended.clone()));
    let all = join_all((0..10).map(|_| cluster.announce(&scope, &ended))).await;
    assert!(all.iter().all(Result::is_ok), "{all:?}");
}

async fn gives_the_turn_that_began_last(Processes { cluster, other, .. }: &Processes) {
    let scope = scope("comp_a");
    assert_eq!(other.turn_before(&scope, conversation("s"), TurnId::generate()).await.unwrap(), None);
    let turns: Vec<Whereabouts> = (0..4).map(|n| running(if n == 3 { "another" } else { "s" })).collect();
    // They are heard of in another order than they began in.
    for n in [3, 1, 2, 0] {
        cluster.announce(&scope, &turns[n]).await.unwrap();
    }
    assert_eq!(other.turn_before(&scope, conversation("s"), TurnId::generate()).await.unwrap(), Some(turns[2].clone()));
    // A turn that asks what came before it is not the answer itself.
    assert_eq!(other.turn_before(&scope, conversation("s"), turns[2].turn_id).await.unwrap(), Some(turns[1].clone()));
}

async fn keeps_companies_apart(Processes { cluster, .. }: &Processes) {
    let (a, b, turn) = (scope("comp_a"), scope("comp_b"), running("s"));
    cluster.announce(&a, &turn).await.unwrap();
    assert_eq!(cluster.whereabouts(&b, turn.turn_id).await.unwrap(), None);
    assert_eq!(cluster.turn_before(&b, turn.conversation_id, TurnId::generate()).await.unwrap(), None);
    let (ours, theirs) = (claim("key"), claim("key"));
    assert_eq!(cluster.claim(&a, &ours).await.unwrap(), ours);
    assert_eq!(cluster.claim(&b, &theirs).await.unwrap(), theirs);
    cluster.disclaim(&b, &ours).await.unwrap();
    assert_eq!(cluster.claim(&a, &theirs).await.unwrap(), ours);
}

async fn gives_a_key_to_the_first_who_claims_it(Processes { cluster, other, .. }: &Processes) {
    let (scope, first) = (scope("comp_a"), claim("khoá /$.\u{0}"));
    assert_eq!(cluster.claim(&scope, &first).await.unwrap(), first);
    assert_eq!(other.claim(&scope, &claim(&first.key)).await.unwrap(), first);
    assert_eq!(other.claim(&scope, &first).await.unwrap(), first, "it may be asked again");
    let second = claim("another key");
    assert_eq!(other.claim(&scope, &second).await.unwrap(), second);
}

async fn gives_a_key_to_one_of_many(Processes { cluster, other, .. }: &Processes) {
    let scope = scope("comp_a");
    for round in 0..5 {
        let claims: Vec<Claim> = (0..12).map(|_| claim(&round.to_string())).collect();
        let all = claims.iter().zip([cluster, other].into_iter().cycle());
        let given = join_all(all.map(|(claim, cluster)| cluster.claim(&scope, claim))).await;
        let first = given[0].as_ref().unwrap();
        assert!(claims.contains(first));
        assert!(given.iter().all(|claim| claim.as_ref().unwrap() == first), "{given:?}");
    }
}

async fn gives_a_key_up_for_its_turn_alone(Processes { cluster, other, .. }: &Processes) {
    let (scope, first, second) = (scope("comp_a"), claim("key"), claim("key"));
    cluster.claim(&scope, &first).await.unwrap();
    other.disclaim(&scope, &second).await.unwrap();
    assert_eq!(other.claim(&scope, &second).await.unwrap(), first);
    cluster.disclaim(&scope, &first).await.unwrap();
    cluster.disclaim(&scope, &first).await.unwrap();
    assert_eq!(other.claim(&scope, &second).await.unwrap(), second);
}

async fn erases_one_company(Processes { cluster, .. }: &Processes) {
    let (a, b) = (scope("comp_a"), scope("comp_b"));
    let turn = running("s");
    for scope in [&a, &b] {
        cluster.announce(scope, &turn).await.unwrap();
        cluster.claim(scope, &Claim { turn_id: turn.turn_id, ..claim("key") }).await.unwrap();
    }
    cluster.erase(&a).await.unwrap();
    cluster.erase(&a).await.unwrap();
    assert_eq!(cluster.whereabouts(&a, turn.turn_id).await.unwrap(), None);
    assert_eq!(cluster.turn_before(&a, turn.conversation_id, TurnId::generate()).await.unwrap(), None);
    let anew = claim("key");
    assert_eq!(cluster.claim(&a, &anew).await.unwrap(), anew);
    assert_eq!(cluster.whereabouts(&b, turn.turn_id).await.unwrap(), Some(turn.clone()));
    assert_eq!(cluster.claim(&b, &claim("key")).await.unwrap().turn_id, turn.turn_id);
}
