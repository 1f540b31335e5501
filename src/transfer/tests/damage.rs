//! Files and folders that are not what an export wrote, or that are not an export's.

use super::*;

#[tokio::test]
async fn nobody_else_may_read_what_is_secret() {
    use std::os::unix::fs::PermissionsExt;
    let (root, from) = (tempfile::tempdir().unwrap(), source());
    let dir = root.path().join("a/b");
    export_of(&from, &dir).await.unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&dir), 0o700);
    for kind in Kind::ALL {
        assert_eq!(mode(&path_of(&dir, &id(), kind)), 0o600, "{kind:?}");
    }
    assert_eq!(mode(&dir.join("manifest.json")), 0o600);
}

#[tokio::test]
async fn damage_is_found_before_anything_is_written() {
    let (dir, from) = (tempfile::tempdir().unwrap(), source());
    export_of(&from, dir.path()).await.unwrap();
    for kind in Kind::ALL {
        let path = path_of(dir.path(), &id(), kind);
        let whole = std::fs::read(&path).unwrap();
        let damaged = |content: Option<Vec<u8>>| {
            let (dir, path) = (dir.path().to_owned(), path.clone());
            async move {
                match content {
                    Some(content) => std::fs::write(&path, content).unwrap(),
                    None => std::fs::remove_file(&path).unwrap(),
                }
                let to = Memory::new(encoder("one"));
                let error = import_into(&to, &dir).await.unwrap_err();
                assert_eq!(kept(&to), State::default(), "something was written");
                assert!(error.to_string().contains(kind.file_name()), "{error}");
                error
            }
        };
        let mut flipped = whole.clone();
        let middle = flipped.len() / 2;
        flipped[middle] ^= 1;
        assert!(matches!(damaged(Some(flipped)).await, Error::Damaged(_)), "{kind:?}");
        let cut = whole[..whole.len() - 1].to_vec();
        assert!(matches!(damaged(Some(cut)).await, Error::Size { .. }), "{kind:?}");
        let longer = [whole.as_slice(), b"\n"].concat();
        assert!(matches!(damaged(Some(longer)).await, Error::Size { .. }), "{kind:?}");
        assert!(matches!(damaged(None).await, Error::Missing(_)), "{kind:?}");
        std::fs::write(&path, whole).unwrap();
    }
    assert!(import_into(&Memory::new(encoder("one")), dir.path()).await.is_ok());
}

#[tokio::test]
async fn a_manifest_that_is_none_says_so() {
    let (dir, from) = (tempfile::tempdir().unwrap(), source());
    assert!(matches!(Archive::open(dir.path()), Err(Error::NoManifest(_))));
    export_of(&from, dir.path()).await.unwrap();
    let path = dir.path().join("manifest.json");
    let text = std::fs::read_to_string(&path).unwrap();
    let with = |from: &str, to: &str| {
        assert!(text.contains(from));
        std::fs::write(&path, text.replacen(from, to, 1)).unwrap();
        Archive::open(dir.path()).unwrap_err()
    };
    assert!(matches!(with("\"version\": 1", "\"version\": 2"), Error::Version { found: 2, known: 1, .. }));
    assert!(matches!(with("turnpike-export", "something"), Error::Manifest { .. }));
    assert!(matches!(with("turns.jsonl", "terns.jsonl"), Error::Manifest { .. }));
    assert!(matches!(with("{", ""), Error::Manifest { .. }));
    std::fs::write(&path, &text).unwrap();
    let archive = Archive::open(dir.path()).unwrap();
    assert_eq!(archive.companies(&[]).unwrap(), [id()]);
    let other = archive.companies(&["other".parse().unwrap()]).unwrap_err().to_string();
    assert!(other.contains("other") && other.contains("acme"), "{other}");
}

#[tokio::test]
async fn a_folder_with_anything_else_in_it_is_left_alone() {
    let (dir, from) = (tempfile::tempdir().unwrap(), source());
    std::fs::write(dir.path().join("notes.txt"), "mine").unwrap();
    assert!(matches!(export_of(&from, dir.path()).await, Err(Error::Foreign(_))));
    std::fs::remove_file(dir.path().join("notes.txt")).unwrap();
    export_of(&from, dir.path()).await.unwrap();
    assert!(matches!(export_of(&from, dir.path()).await, Err(Error::Complete(_))));
}
