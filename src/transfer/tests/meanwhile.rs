//! Sources that go on while they are read, and time that goes on between export and import.

use super::*;
use crate::domain::webhook::Disabled;

#[tokio::test]
async fn a_head_counts_the_turns_that_are_exported_with_it_while_more_come_in() {
    // One comes into a conversation that was read already, before its head is; one into a conversation to come.
    let all = ["s1", "s2", "s3", "s4"].map(|session| [(session, None), (session, Some(100))]);
    for (session, retention_days) in all.into_iter().flatten() {
        let (dir, from, to) = (tempfile::tempdir().unwrap(), source(), Memory::new(encoder("one")));
        from.state.lock().companies.insert(id(), company(retention_days));
        *from.meanwhile.lock() = Some(Box::new(move |state: &mut State| {
            let conversation = ConversationId::of_session(&id(), &session.parse().unwrap());
            let last = state.heads[&conversation].last_sequence;
            (1..=2).for_each(|n| state.add(turn(session, last + n, now())));
        }));
        export_of(&from, dir.path()).await.unwrap();
        let imported = import_into(&to, dir.path()).await.unwrap();
        assert!(imported.comparisons.iter().all(Comparison::agrees), "{session}: {:#?}", imported.comparisons);
        let state = to.state.lock();
        for head in state.heads.values() {
            let turns = state.turns.keys().filter(|(id, _)| *id == head.conversation_id).count() as u64;
            assert_eq!((head.last_sequence, head.message_count), (turns, 2 * turns), "{session}");
        }
        // None was left out that a head of the source counted when it was read.
        assert_eq!(state.turns.len(), 15, "{session}");
    }
}

#[tokio::test]
async fn a_turn_that_is_counted_and_not_there_is_taken_out_of_the_count() {
    let (dir, from, to) = (tempfile::tempdir().unwrap(), source(), Memory::new(encoder("one")));
    let conversation = ConversationId::of_session(&id(), &"s2".parse().unwrap());
    from.state.lock().turns.remove(&(conversation, 7));
    let exported = export_of(&from, dir.path()).await.unwrap();
    assert_eq!(exported.missing, 0);
    import_into(&to, dir.path()).await.unwrap();
    let head = to.state.lock().heads[&conversation].clone();
    assert_eq!((head.last_sequence, head.message_count), (6, 12));
    // One in the middle leaves a gap, and that is said.
    from.state.lock().turns.remove(&(conversation, 3));
    let second = tempfile::tempdir().unwrap();
    assert_eq!(export_of(&from, second.path()).await.unwrap().missing, 1);
}

#[tokio::test]
async fn a_later_export_catches_up() {
    let (dir, from, to) = (tempfile::tempdir().unwrap(), source(), Memory::new(encoder("one")));
    export_of(&from, dir.path()).await.unwrap();
    import_into(&to, dir.path()).await.unwrap();
    {
        let mut state = from.state.lock();
        state.add(turn("s2", 8, now()));
        state.add(turn("s9", 1, now()));
        state.endpoints[0].disabled = Some(Disabled::now("answered 410"));
        state.keys.push(ApiKey::issue(id(), KeyScope::Backend, [9; 24], now()).0);
        let document = "a".parse().unwrap();
        state.documents.get_mut(&document).unwrap().fingerprint = "other".into();
        state.documents.get_mut(&document).unwrap().passages = 0;
        state.passages.insert(document, Vec::new());
    }
    let later = tempfile::tempdir().unwrap();
    export_of(&from, later.path()).await.unwrap();
    let imported = import_into(&to, later.path()).await.unwrap();
    assert!(imported.comparisons.iter().all(Comparison::agrees), "{:#?}", imported.comparisons);
    assert_eq!(kept(&to), kept(&from));
}

#[tokio::test]
async fn each_turn_keeps_its_time_to_go_and_what_is_too_old_stays_behind() {
    let (dir, from, to) = (tempfile::tempdir().unwrap(), source(), Memory::new(encoder("one")));
    let days = Duration::days(1);
    {
        let mut state = from.state.lock();
        (state.turns, state.heads) = Default::default();
        state.companies.insert(id(), company(Some(10)));
        // Two days are left to the export below, and they pass before the import.
        let ages = [("s1", vec![9, 5, 1]), ("s2", vec![9, 9]), ("s3", vec![2])];
        for (session, ages) in ages {
            for (sequence, age) in (1..).zip(ages) {
                state.add(turn(session, sequence, now() - days * age));
            }
        }
    }
    let exported = export_of(&from, dir.path()).await.unwrap();
    assert_eq!(exported.manifest.companies[0].files[&Kind::Turns].rows, 6);
    // The clock of these tests cannot be set: what was exported is made older instead, and written anew.
    let mut older = from.state.lock().clone();
    for (turn, _) in older.turns.values_mut() {
        turn.record.finished_at -= days * 2;
    }
    let again = tempfile::tempdir().unwrap();
    let mut kept_longer = company(Some(100));
    std::mem::swap(&mut from.state.lock().turns, &mut older.turns);
    from.state.lock().companies.insert(id(), kept_longer.clone());
    export_of(&from, again.path()).await.unwrap();
    kept_longer.retention_days = Some(10);
    let path = path_of(again.path(), &id(), Kind::Company);
    let text = serde_json::to_string(&kept_longer).unwrap() + "\n";
    resign(again.path(), &path, &text);
    let imported = import_into(&to, again.path()).await.unwrap();
    assert!(imported.comparisons.iter().all(Comparison::agrees), "{:#?}", imported.comparisons);
    assert_eq!(imported.expired, 3);
    let state = to.state.lock();
    let held: Vec<(&str, u64)> =
        state.turns.values().map(|(turn, _)| (turn.record.session_id.as_str(), turn.sequence)).collect();
    assert_eq!(held.len(), 3, "{held:?}");
    assert_eq!(state.heads.len(), 2);
    for (turn, keep_until) in state.turns.values() {
        assert_eq!(*keep_until, Some(turn.record.finished_at + days * 10));
    }
}

/// Puts another text in place of a file of an export, and its checksum into the manifest.
fn resign(dir: &Path, path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
    let mut writer = files::Writer::counting();
    writer.row(&serde_json::from_str::<serde_json::Value>(text).unwrap()).unwrap();
    let manifest_path = dir.join("manifest.json");
    let mut manifest = Manifest::read(&manifest_path).unwrap();
    manifest.note(&id(), Kind::Company, writer.finish().unwrap());
    manifest.write(&manifest_path).unwrap();
}
