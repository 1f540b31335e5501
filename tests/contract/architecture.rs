//! The rules that the modules live by, read off the sources.

use std::path::{Path, PathBuf};

/// What each top module may import of the crate besides itself. `roles` and `cli` may import everything.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("ports", &["domain"]),
    ("config", &["domain"]),
    ("runtime", &["config"]),
    ("knowledge", &["ports", "domain"]),
    ("pipeline", &["knowledge", "ports", "config", "domain", "runtime"]),
    ("spool", &["ports", "domain"]),
    ("transfer", &["ports", "domain"]),
    ("jobs", &["ports", "config", "domain", "runtime"]),
    ("web", &[]),
    ("http", &["pipeline", "ports", "config", "domain", "runtime", "web"]),
    ("adapters", &["ports", "config", "domain", "runtime"]),
];

/// Where a company's scope may be made: by whoever has checked a key, was told by the operator, or holds an event.
const MAY_GRANT: &[&str] = &["src/http/auth.rs", "src/cli/", "src/jobs/", "src/domain/company.rs"];

fn sources() -> Vec<(String, String)> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let mut folders = vec![root.join("src")];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(&root).unwrap().display().to_string();
                found.push((name, code(&path)));
            }
        }
    }
    found
}

/// A file without its comments and without its tests, which may use what they like.
fn code(path: &Path) -> String {
    let name = path.display().to_string();
    if name.ends_with("tests.rs") || name.contains("/tests/") || name.ends_with("testing.rs") {
        return String::new();
    }
    let text = std::fs::read_to_string(path).unwrap();
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

#[test]
fn dependencies_point_one_way() {
    let mut wrong = Vec::new();
    for (name, text) in sources() {
        let Some(module) = name.strip_prefix("src/").and_then(|rest| rest.split(['/', '.']).next()) else { continue };
        let Some((_, allowed)) = MAY_IMPORT.iter().find(|(known, _)| *known == module) else { continue };
        for part in text.split("crate::").skip(1) {
            let imported: String = part.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            if imported != module && !allowed.contains(&imported.as_str()) {
                wrong.push(format!("{name} imports {imported}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn adapters_do_not_know_each_other() {
    let mut wrong = Vec::new();
    for (name, text) in sources() {
        let Some(kind) = name.strip_prefix("src/adapters/").and_then(|rest| rest.split(['/', '.']).next()) else {
            continue;
        };
        for part in text.split("crate::adapters::").skip(1) {
            let imported: String = part.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            // The database that two embedded adapters share is no adapter of a port.
            if imported != kind && imported != "sqlite" {
                wrong.push(format!("{name} imports adapters::{imported}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn scopes_are_granted_where_someone_was_checked_and_nowhere_else() {
    let wrong: Vec<String> = sources()
        .into_iter()
        .filter(|(name, text)| {
            text.contains("CompanyScope::granted(") && !MAY_GRANT.iter().any(|allowed| name.starts_with(allowed))
        })
        .map(|(name, _)| name)
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn technologies_stay_in_their_adapters() {
    let homes: &[(&str, &[&str])] = &[
        ("rusqlite", &["src/adapters/"]),
        ("lapin::", &["src/adapters/bus/"]),
        ("mongodb::", &["src/adapters/store/", "src/roles/"]),
        ("bson::", &["src/adapters/store/"]),
        ("qdrant_client", &["src/adapters/index/"]),
        ("qdrant_edge", &["src/adapters/index/"]),
        ("fastembed::", &["src/adapters/embed/", "src/roles/"]),
        ("reqwest", &["src/adapters/"]),
        ("backoff::", &["src/jobs/retry.rs"]),
        ("axum", &["src/http/"]),
        ("whatlang", &["src/pipeline/stages/language"]),
    ];
    let mut wrong = Vec::new();
    for (name, text) in sources() {
        for (technology, places) in homes {
            let used = text.lines().any(|line| {
                let at = line.find(technology);
                at.is_some_and(|at| {
                    !line.split_at(at).0.ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '"')
                })
            });
            if used && !places.iter().any(|place| name.starts_with(place)) {
                wrong.push(format!("{name} uses {technology}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
