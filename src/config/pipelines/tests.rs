//! Tests of loading, joining and refusing pipeline files.

use super::*;

fn load(files: &[(&str, &str)]) -> Result<PipelineSet, Vec<Problem>> {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(directory.path().join(name), text).unwrap();
    }
    PipelineSet::load(Some(directory.path()))
}

/// The problems of one file, without the temporary directory's name.
fn problems(files: &[(&str, &str)]) -> Vec<String> {
    let shorten = |problem: &Problem| {
        let file = Path::new(&problem.file).file_name().unwrap().to_string_lossy().into_owned();
        Problem { file, ..problem.clone() }.to_string()
    };
    load(files).expect_err("the files are wrong").iter().map(shorten).collect()
}

#[test]
fn builtin_pipelines_load() {
    let set = match PipelineSet::load(None) {
        Ok(set) => set,
        Err(problems) => panic!("{}", problems.iter().map(|p| format!("{p}\n")).collect::<String>()),
    };
    let names: Vec<&str> = set.iter().map(|pipeline| pipeline.name.as_str()).collect();
    assert_eq!(
        names,
        ["default", "banking", "education", "healthcare", "hotel", "insurance", "real_estate", "restaurant", "retail"]
    );
}

#[test]
fn industries_are_found_by_any_spelling() {
    let set = PipelineSet::builtin();
    for (industry, expected) in [
        ("banking", "banking"),
        ("Real Estate", "real_estate"),
        ("real-estate", "real_estate"),
        (" HOTEL ", "hotel"),
        ("beekeeping", "default"),
        ("", "default"),
    ] {
        assert_eq!(set.for_industry(industry).name, expected, "{industry:?}");
    }
}

#[test]
fn children_append_examples_and_override_fields() {
    let set = load(&[
        (
            "shop.toml",
            r#"
name = "shop"
industries = ["Pet Shop"]
[intents.information]
examples = ["do you sell hamsters"]
[intents.adoption]
agent = "general"
examples = ["can I adopt a cat"]
[agents.sales]
temperature = 1.5
models = ["openai/gpt-4o-mini", "local/org/model"]
[retrieval]
limit = 5
[language]
default = "en"
"#,
        ),
        ("kennel.toml", "name = \"kennel\"\nextends = \"shop\"\n[retrieval]\nthreshold = 0\n"),
    ])
    .unwrap();
    let root = set.get(ROOT).unwrap();
    let shop = set.for_industry("pet_shop");
    let kennel = set.get("kennel").unwrap();

    let inherited = root.intent("information").unwrap().examples.len();
    let examples = &shop.intent("information").unwrap().examples;
    assert_eq!((examples.len(), examples.last().unwrap().as_str()), (inherited + 1, "do you sell hamsters"));
    assert_eq!(shop.intent("information").unwrap().agent, Agent::Information);
    assert_eq!(kennel.intent("adoption").unwrap().agent, Agent::General);

    assert_eq!(shop.agent(Agent::Sales).temperature, 1.5);
    assert_eq!(shop.agent(Agent::Sales).prompt, root.agent(Agent::Sales).prompt);
    assert_eq!(shop.agent(Agent::Sales).models[1].to_string(), "local/org/model");
    assert_eq!(kennel.retrieval, RetrievalSettings { limit: 5, threshold: 0.0, ..root.retrieval });
    assert_eq!(kennel.language.default, Language::from_code("en"));
    assert!(kennel.industries.is_empty(), "industries are not inherited");
}

#[test]
fn a_file_replaces_the_builtin_of_its_name_and_takes_industries_over() {
    let set = load(&[
        ("b.toml", "name = \"banking\"\nindustries = [\"banking\"]\n[retrieval]\nlimit = 9\n"),
        ("m.toml", "name = \"motel\"\nindustries = [\"hotel\"]\n"),
    ])
    .unwrap();
    assert_eq!(set.for_industry("banking").retrieval.limit, 9);
    assert_eq!(set.for_industry("hotel").name, "motel");
    assert!(set.get("hotel").is_some());
}

#[test]
fn all_mistakes_of_all_files_are_reported_at_once() {
    let first = r#"name = "first"
extend = "default"
[retrieval]
limit = 0
treshold = 0.3
threshold = 1.5
filter_language = "yes"
[intents.complaint]
agent = "suport"
examples = ["a", 3]
[intents.empty]
[agents.sale]
prompt = "x"
[agents.sales]
models = ["gpt"]
temperature = "hot"
[language]
default = "xx"
[[cases]]
message = "hello"
[[cases]]
message = "hello"
intent = "suport"
"#;
    let second = "name = \"second\"\nextends = \"frist\"\n";
    let third = "name = \"third\"\n[intents\nexamples = 1\n";
    assert_eq!(
        problems(&[("first.toml", first), ("second.toml", second), ("third.toml", third)]),
        [
            "first.toml:2: unknown key `extend` (did you mean `extends`?)",
            "first.toml:4: `retrieval.limit` must lie between 1 and 50",
            "first.toml:5: unknown key `retrieval.treshold` (did you mean `threshold`?)",
            "first.toml:6: `retrieval.threshold` must lie between 0 and 1",
            "first.toml:7: `retrieval.filter_language` must be true or false, not a string",
            "first.toml:9: there is no agent `suport` (did you mean `support`?)",
            "first.toml:10: `intents.complaint.examples[]` must be a string, not a whole number",
            "first.toml:11: the intent `empty` has no examples (it is recognised by them; give it fifteen or more)",
            "first.toml:11: the intent `empty` names no agent (add `agent = \"sales\"`, `information`, `support` or `general`)",
            "first.toml:12: there is no agent `sale` (did you mean `sales`?)",
            "first.toml:15: `gpt` names no provider's model (write `provider/model`, for example `openai/gpt-4o-mini`)",
            "first.toml:16: `agents.sales.temperature` must be a number, not a string",
            "first.toml:18: unknown language `xx` (an ISO 639-1 code such as `vi` or `en`)",
            "first.toml:19: a case needs a `message` and the `intent` expected of it",
            "first.toml:23: the case expects `suport`, which is no intent (did you mean `support`?)",
            "second.toml:2: `second` extends `frist`, which there is not (did you mean `first`?)",
            "third.toml:2: not TOML: unclosed table, expected `]`",
        ]
    );
}

#[test]
fn circles_are_refused() {
    let files = [("a.toml", "name = \"a\"\nextends = \"b\"\n"), ("b.toml", "name = \"b\"\nextends = \"a\"\n")];
    assert_eq!(
        problems(&files),
        ["a.toml:2: `a` extends itself, by way of `b`", "b.toml:2: `b` extends itself, by way of `a`"]
    );
    assert_eq!(
        problems(&[("d.toml", "name = \"default\"\nextends = \"banking\"\n")]).first().map(String::as_str),
        Some("d.toml:2: `default` extends itself, by way of `banking`")
    );
}

#[test]
fn names_and_industries_are_given_once() {
    assert_eq!(
        problems(&[
            ("a.toml", "name = \"zoo\"\nindustries = [\"animals\"]\n"),
            ("b.toml", "name = \"zoo\"\n"),
            ("c.toml", "name = \"circus\"\nindustries = [\"Animals\"]\n"),
            ("d.toml", "industries = []\n"),
            ("e.toml", "name = \"Big Zoo\"\n"),
        ])
        .iter()
        .map(|problem| problem.split(" in ").next().unwrap().to_owned())
        .collect::<Vec<_>>(),
        [
            "a.toml:2: the industry `animals` is served by `circus` already",
            "b.toml:1: the pipeline `zoo` is",
            "d.toml:1: the pipeline has no name (add `name = \"…\"` at the top)",
            "e.toml:1: `Big Zoo` is no name for a pipeline (small letters, digits, `_` and `-`)",
        ]
    );
}

#[test]
fn template_mistakes_are_found_at_their_line() {
    let file = r#"name = "shop"
[prompts]
tone = """
Be kind.
Be {{ compny.name }}.
"""
[agents.sales]
prompt = """
{% include "tone" %}
{% if has_knowledge %}
never closed
"""
[agents.support]
prompt = "{% include \"tune\" %}"
"#;
    assert_eq!(
        problems(&[("shop.toml", file)]),
        [
            "shop.toml:5: the template uses `compny`, which there is not (did you mean `company`?)",
            "shop.toml:11: the template does not work: unexpected end of input, expected end of block",
        ]
    );
    let file =
        "name = \"shop\"\n[agents.support]\nprompt = '''\nHello\n{% include \"tune\" %}\n{{ company.nmae }}\n'''\n";
    assert_eq!(
        problems(&[("shop.toml", file)]),
        ["shop.toml:5: the template does not work: tried to include non-existing template 'tune'"]
    );
    let file = "name = \"shop\"\n[agents.support]\nprompt = '''\nHello\n\n{{ company.nmae }}\n'''\n";
    // The engine names the value in debug builds only.
    let found = problems(&[("shop.toml", file)]);
    assert!(found.iter().all(|problem| problem.starts_with("shop.toml:6: ") && problem.contains("undefined")));
    assert_eq!(found.len(), 1);
}

#[test]
fn a_missing_directory_is_a_problem() {
    let problems = PipelineSet::load(Some(Path::new("no/such/directory"))).expect_err("it is missing");
    assert!(problems.iter().any(|problem| problem.to_string().starts_with("no/such/directory: cannot be read")));
}
