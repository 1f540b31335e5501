//! Exports and imports that are cut short at every step, and gone on with.

use super::*;

#[tokio::test]
async fn an_export_that_is_cut_short_anywhere_is_gone_on_with() {
    let (whole, from) = (tempfile::tempdir().unwrap(), source());
    let expected = export_of(&from, whole.path()).await.unwrap().manifest.companies;
    let (mut steps, mut kept_files) = (0, Vec::new());
    loop {
        let dir = tempfile::tempdir().unwrap();
        from.cut_after(steps);
        let first = export_of(&from, dir.path()).await;
        from.cut_after(i64::MAX);
        if first.is_ok() {
            break;
        }
        assert!(matches!(Archive::open(dir.path()), Err(Error::Incomplete(_))));
        let second = export_of(&from, dir.path()).await.unwrap();
        assert_eq!(second.manifest.companies, expected, "after {steps} steps");
        assert!(!dir.path().join("progress.json").exists());
        kept_files.push(second.kept);
        steps += 1;
    }
    // Each further file that was complete is one less to write.
    assert!(kept_files.is_sorted() && kept_files[0] == 0 && *kept_files.last().unwrap() == 5, "{kept_files:?}");
}

#[tokio::test]
async fn a_file_that_changed_since_it_was_written_is_written_again() {
    let (dir, from) = (tempfile::tempdir().unwrap(), source());
    from.cut_after(8);
    export_of(&from, dir.path()).await.unwrap_err();
    from.cut_after(i64::MAX);
    let path = path_of(dir.path(), &id(), Kind::Documents);
    let mut text = std::fs::read(&path).unwrap();
    text[5] ^= 1;
    std::fs::write(&path, text).unwrap();
    let exported = export_of(&from, dir.path()).await.unwrap();
    assert!(exported.kept > 0);
    let to = Memory::new(encoder("one"));
    assert!(import_into(&to, dir.path()).await.unwrap().comparisons.iter().all(Comparison::agrees));
}

#[tokio::test]
async fn an_import_that_is_cut_short_anywhere_is_gone_on_with() {
    let (dir, from) = (tempfile::tempdir().unwrap(), source());
    export_of(&from, dir.path()).await.unwrap();
    for steps in 0.. {
        let to = Memory::new(encoder("one"));
        to.cut_after(steps);
        let first = import_into(&to, dir.path()).await;
        to.cut_after(i64::MAX);
        if first.is_ok() {
            assert!(steps > 40, "only {steps} steps were tried");
            break;
        }
        let is_readable = to.state.lock().keys.len() == 2;
        let is_whole = to.state.lock().turns.len() == 13 && to.state.lock().passages.len() == 4;
        assert!(is_whole || !is_readable, "the keys came before the rest");
        let second = import_into(&to, dir.path()).await.unwrap();
        assert!(second.comparisons.iter().all(Comparison::agrees), "after {steps} steps: {:#?}", second.comparisons);
        assert_eq!(kept(&to), kept(&from), "after {steps} steps");
    }
}
