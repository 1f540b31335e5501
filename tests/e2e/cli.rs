//! The command line: what it prints, and what it says when something is wrong.

use std::io::Write;

use serde_json::Value;

use crate::support::process::Site;

fn stderr(output: &std::process::Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn the_default_settings_file_is_printed_and_is_right() {
    let site = Site::new("");
    let text = site.ok(&["config", "default"]);
    assert!(text.contains("[server]") && text.contains("# HOST"));
    std::fs::write(site.config_path(), text).unwrap();
    site.ok(&["config", "check"]);
}

#[test]
fn all_mistakes_in_the_settings_are_said_at_once() {
    let site = Site::new("");
    std::fs::write(site.config_path(), "[server]\nport = 99999\n\n[turn]\nheartbeats = 3\n").unwrap();
    let output = site.command(&["serve"]).env("TURNPIKE__LIMITS__STREAMS", "none").output().unwrap();
    assert!(!output.status.success());
    let text = stderr(&output);
    for part in ["turnpike.toml:2", "server.port", "turnpike.toml:5", "turn.heartbeats", "TURNPIKE__LIMITS__STREAMS"] {
        assert!(text.contains(part), "{part} is not in:\n{text}");
    }
}

#[test]
fn folders_are_ingested_once_and_pruned_on_demand() {
    let site = Site::new("");
    site.company("acme");
    let folder = site.path().join("docs");
    std::fs::create_dir_all(folder.join("sub")).unwrap();
    for (name, text) in [
        ("a.md", "# A\n\nMột tài liệu về phí."),
        ("sub/b.html", "<h1>B</h1><p>Giờ mở cửa: 8:00</p>"),
        ("c.txt", "Chính sách đổi trả trong 7 ngày."),
    ] {
        std::fs::write(folder.join(name), text).unwrap();
    }
    std::fs::write(folder.join("bad.md"), [0u8, 159, 146, 150]).unwrap();
    std::fs::write(folder.join("empty.txt"), "").unwrap();
    std::fs::File::create(folder.join("million.txt"))
        .unwrap()
        .write_all("một dòng\n".repeat(1_000_000).as_bytes())
        .unwrap();
    let ingest = |more: &[&str]| -> Value {
        let arguments = [&["ingest", "--company", "acme", "--json", folder.to_str().unwrap()], more].concat();
        serde_json::from_slice(&site.run(&arguments).stdout).unwrap()
    };
    let first = ingest(&[]);
    assert_eq!(first["added"], 4, "{first}");
    let failed: Vec<&str> =
        first["failed"].as_array().unwrap().iter().map(|failure| failure["reason"].as_str().unwrap()).collect();
    assert_eq!(failed.len(), 2, "{failed:?}");
    std::fs::remove_file(folder.join("million.txt")).unwrap();
    std::fs::remove_file(folder.join("bad.md")).unwrap();
    std::fs::write(folder.join("a.md"), "# A\n\nMột tài liệu khác về phí.").unwrap();
    let second = ingest(&[]);
    assert_eq!(
        (&second["updated"], &second["unchanged"], &second["removed"]),
        (&1.into(), &2.into(), &0.into()),
        "{second}"
    );
    std::fs::remove_file(folder.join("empty.txt")).unwrap();
    let third = ingest(&["--prune"]);
    assert_eq!((&third["unchanged"], &third["removed"]), (&3.into(), &1.into()), "{third}");
    let found: Value =
        serde_json::from_str(&site.ok(&["search", "--company", "acme", "--json", "chinh sach doi tra"])).unwrap();
    assert_eq!(found[0]["passage"]["document_id"], "c");
    assert_eq!(site.ok(&["search", "--company", "acme", "thời tiết sao Hỏa thế nào"]).trim(), "nothing relevant");
}

#[test]
fn a_data_directory_in_use_is_said_with_its_owner() {
    let site = Site::new("");
    site.company("acme");
    let server = site.serve();
    let output = site.run(&["search", "--company", "acme", "x"]);
    let text = stderr(&output);
    assert!(
        !output.status.success()
            && text.contains("in use by turnpike serve")
            && text.contains(&server.pid().to_string()),
        "{text}"
    );
    // What can be asked beside a running service can be.
    assert!(site.ok(&["company", "list"]).contains("acme"));
    assert_eq!(site.ledger()["balances"], true);
    let doctor = site.ok(&["doctor"]);
    assert!(doctor.contains("in use") && doctor.contains("switched off"), "{doctor}");
}

#[test]
fn a_mistake_in_a_pipeline_is_said_with_file_line_and_what_to_write() {
    let site = Site::new("");
    let folder = site.path().join("pipelines");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("mine.toml"), "name = \"mine\"\nextends = \"bankin\"\n\n[retrieval]\nlimt = 3\n")
        .unwrap();
    let output = site.run(&["pipeline", "check", folder.to_str().unwrap()]);
    let text = stderr(&output);
    assert!(!output.status.success());
    for part in ["mine.toml:2", "bankin", "mine.toml:5", "limt", "limit"] {
        assert!(text.contains(part), "{part} is not in:\n{text}");
    }
    std::fs::write(folder.join("mine.toml"), "name = \"mine\"\nextends = \"banking\"\n\n[retrieval]\nlimit = 5\n")
        .unwrap();
    site.ok(&["pipeline", "check", folder.to_str().unwrap()]);
}

#[test]
fn the_pipelines_pass_their_own_cases() {
    let site = Site::new("");
    let output = site.run(&["pipeline", "test"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
    assert!(text.contains(" passed, 0 failed"), "{text}");
}

#[test]
fn a_private_address_is_no_webhook_unless_a_setting_allows_it() {
    let site = Site::new("[webhooks]\nallow_private = false\n");
    site.company("acme");
    for url in [
        "http://127.0.0.1/x",
        "http://10.0.0.1/x",
        "http://[::1]/x",
        "http://169.254.169.254/latest",
        "ftp://example.com/",
        "http://u:p@example.com/",
    ] {
        let output = site.run(&["webhook", "add", "--company", "acme", "--url", url]);
        assert!(!output.status.success(), "{url} was accepted");
    }
}

#[test]
fn chat_in_the_terminal_answers_and_keeps_the_turn() {
    let site = Site::new("");
    site.company("acme");
    site.knowledge(
        "acme",
        &[("hours.md", "# Opening hours\n\nOur branches are open from 8:00 to 17:00, Monday to Friday.\n")],
    );
    let text = site.ok(&["chat", "--company", "acme", "When are your branches open?"]);
    assert!(text.contains("8:00") && text.contains("[1]") && text.contains("degraded"), "{text}");
    assert_eq!(site.ledger()["queues"][0]["done"], 1);
}
