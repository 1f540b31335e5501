//! The description of the HTTP interface: every change of it is seen in review, and it says of each route all that a
//! client has to know.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde_json::Value;

/// What an operation is called in a path's description.
const METHODS: &[&str] = &["get", "put", "post", "delete", "patch"];

fn description() -> Value {
    serde_json::to_value(turnpike::http::description()).unwrap()
}

/// All operations: method and path, and what is said of them.
fn operations(description: &Value) -> Vec<(String, &Value)> {
    let paths = description["paths"].as_object().unwrap();
    let all = paths.iter().flat_map(|(path, item)| {
        let methods = METHODS.iter().filter_map(|method| item.get(*method).map(|operation| (method, operation)));
        methods.map(move |(method, operation)| (format!("{} {path}", method.to_uppercase()), operation))
    });
    all.collect()
}

#[test]
fn a_change_of_the_interface_is_a_change_of_its_file() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/openapi.json");
    let now = format!("{:#}\n", description());
    if std::env::var_os("TURNPIKE_RENEW").is_some() {
        std::fs::write(&path, now).unwrap();
        return;
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    let differs = now.lines().zip(kept.lines()).position(|(now, kept)| now != kept);
    if let Some(line) = differs.or_else(|| (now != kept).then(|| now.lines().count().min(kept.lines().count()))) {
        let around = |text: &str| {
            text.lines().skip(line.saturating_sub(3)).take(7).map(|line| format!("    {line}\n")).collect::<String>()
        };
        panic!(
            "docs/openapi.json is not what the code describes, from line {} on. If the change is meant, run `make openapi` \
             and look at the difference.\n  the file:\n{}  the code:\n{}",
            line + 1,
            around(&kept),
            around(&now),
        );
    }
}

#[test]
fn every_operation_is_described_in_full() {
    let description = description();
    let tags: BTreeSet<&str> =
        description["tags"].as_array().unwrap().iter().filter_map(|tag| tag["name"].as_str()).collect();
    let (mut wrong, mut names) = (Vec::new(), BTreeSet::new());
    for (operation, said) in operations(&description) {
        let mut check = |holds: bool, what: &str| {
            if !holds {
                wrong.push(format!("{operation}: {what}"));
            }
        };
        check(said["summary"].as_str().is_some_and(|summary| !summary.ends_with('.')), "a summary, not a sentence");
        check(said["operationId"].as_str().is_some_and(|id| names.insert(id.to_owned())), "an id of its own");
        let groups: Vec<&str> = said["tags"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        check(matches!(groups.as_slice(), [group] if tags.contains(group)), "one tag that is described");
        check(said["security"].is_array(), "who may ask");
        for parameter in said["parameters"].as_array().into_iter().flatten() {
            let name = parameter["name"].as_str().unwrap_or_default();
            check(parameter["description"].is_string(), &format!("what the parameter {name} is"));
        }
        for (_, content) in said["requestBody"]["content"].as_object().into_iter().flatten() {
            let schema =
                content["schema"]["$ref"].as_str().and_then(|name| description.pointer(name.trim_start_matches('#')));
            let places = [Some(content), schema];
            let has_example =
                places.iter().flatten().any(|place| ["example", "examples"].iter().any(|key| place.get(key).is_some()));
            check(has_example, "an example of the body");
        }
        let responses = said["responses"].as_object().unwrap();
        check(
            responses.keys().any(|status| status.starts_with('2') || status == "101"),
            "an answer that is none of errors",
        );
        let asks_for_key =
            said["security"].as_array().is_some_and(|all| all.iter().any(|one| one["bearer"].is_array()));
        check(
            !asks_for_key || ["401", "4XX"].iter().any(|status| responses.contains_key(*status)),
            "that it may refuse a key",
        );
        for (status, response) in responses {
            let known = response["$ref"]
                .as_str()
                .is_none_or(|name| description.pointer(name.trim_start_matches('#')).is_some());
            check(known, &format!("what {status} refers to"));
        }
    }
    assert!(wrong.is_empty(), "missing:\n{}", wrong.join("\n"));
}

#[test]
fn every_schema_that_is_named_is_there_and_says_what_its_fields_are() {
    let description = description();
    let mut wrong = Vec::new();
    let mut rest = vec![&description];
    while let Some(value) = rest.pop() {
        match value {
            Value::Object(fields) => {
                if let Some(name) = fields.get("$ref").and_then(Value::as_str)
                    && description.pointer(name.trim_start_matches('#')).is_none()
                {
                    wrong.push(format!("{name} is not there"));
                }
                rest.extend(fields.values());
            }
            Value::Array(values) => rest.extend(values),
            _ => {}
        }
    }
    for (name, schema) in description["components"]["schemas"].as_object().unwrap() {
        if !["description", "oneOf", "allOf"].iter().any(|key| schema[*key].is_string() || schema[*key].is_array()) {
            wrong.push(format!("{name} is not described"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The types of the sources that describe themselves, by the name that they have in the description.
#[test]
fn no_two_types_have_one_name_in_the_description() {
    let mut folders = vec![PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src")];
    let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                for described in text.split("ToSchema)]").skip(1) {
                    let head: Vec<&str> =
                        described.lines().take_while(|line| !line.trim_end().ends_with('}')).collect();
                    let name = head.iter().find_map(|line| {
                        let renamed = line.split("schema(as = ").nth(1);
                        let declared = line.split("struct ").nth(1).or_else(|| line.split("enum ").nth(1));
                        let name: String = renamed.or(declared)?.chars().take_while(|c| c.is_alphanumeric()).collect();
                        Some(name)
                    });
                    let place = path.display().to_string();
                    places.entry(name.unwrap_or_default()).or_default().push(place);
                }
            }
        }
    }
    places.retain(|name, places| places.len() > 1 && !name.is_empty());
    assert!(places.is_empty(), "give one of each its own name by #[schema(as = …)]: {places:#?}");
}
