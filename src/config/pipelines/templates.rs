//! Prompt templates: the environment they are compiled in, and the check that they can be rendered.
//!
//! A pipeline is refused when a template of it cannot be rendered, so that a misspelt variable is found
//! when the pipeline is loaded and not by the first customer who meets it.

use std::collections::BTreeMap;

use minijinja::syntax::SyntaxConfig;
use minijinja::{AutoEscape, Environment, Error, UndefinedBehavior, Value, context};

use super::Agent;
use super::problem::{Problem, suggest};
use super::reader::Located;

/// Agents' templates are called by this and the agent's name; included ones by their own name.
pub const AGENT_TEMPLATE_PREFIX: &str = "agent/";

/// What a template may ask for.
const VARIABLES: [&str; 8] =
    ["agent", "company", "context", "has_knowledge", "history", "language", "message", "passages"];

/// An environment for prompts: nothing is escaped, since prompts are not HTML, and an undefined value
/// is an error, since a silent gap in a prompt changes what it says. The filter `fenced` keeps a text
/// from closing the tags that it is quoted between.
pub fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    // Lines that hold nothing but a tag leave no empty line in the prompt. Building fails only where the
    // delimiters are changed too, which they are not.
    environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build().unwrap_or_default());
    environment.add_filter("fenced", fenced);
    environment
}

/// Where a template is written.
pub(super) type Origin<'p> = (&'p str, &'p Located<String>);

/// What is wrong with the templates of one pipeline: syntax, unknown variables, missing includes.
pub(super) fn check(prompts: &BTreeMap<&str, Origin<'_>>, agents: &BTreeMap<Agent, Origin<'_>>) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut environment = environment();
    let mut origins: BTreeMap<String, Origin<'_>> =
        prompts.iter().map(|(name, origin)| ((*name).to_owned(), *origin)).collect();
    for (agent, origin) in agents {
        origins.insert(format!("{AGENT_TEMPLATE_PREFIX}{agent}"), *origin);
    }
    for (name, (file, text)) in &origins {
        if let Err(error) = environment.add_template_owned(name.clone(), text.value.clone()) {
            problems.push(problem(&error, name, &origins));
        } else {
            problems.extend(unknown_variables(&environment, name, file, text));
        }
    }
    if !problems.is_empty() {
        return problems;
    }
    for agent in agents.keys() {
        let name = format!("{AGENT_TEMPLATE_PREFIX}{agent}");
        for sample in [sample(*agent, true), sample(*agent, false)] {
            let rendered = environment.get_template(&name).and_then(|template| template.render(sample));
            if let Err(error) = rendered {
                problems.push(problem(&error, &name, &origins));
                break;
            }
        }
    }
    problems
}

fn unknown_variables(environment: &Environment<'_>, name: &str, file: &str, text: &Located<String>) -> Vec<Problem> {
    let Ok(template) = environment.get_template(name) else { return Vec::new() };
    let mut unknown: Vec<String> = template.undeclared_variables(false).into_iter().collect();
    unknown.retain(|variable| {
        !VARIABLES.contains(&variable.as_str()) && environment.globals().all(|(global, _)| global != variable)
    });
    unknown.sort();
    unknown
        .into_iter()
        .map(|variable| {
            let before = text.value.lines().take_while(|line| !line.contains(&variable)).count();
            Problem::new(file, format!("the template uses `{variable}`, which there is not"))
                .at(text.line + before)
                .hint(suggest(&variable, VARIABLES))
        })
        .collect()
}

/// Says an engine's error in terms of the file. An include's error carries that of the included one.
fn problem(error: &Error, fallback: &str, origins: &BTreeMap<String, Origin<'_>>) -> Problem {
    let mut innermost = error;
    while let Some(cause) = std::error::Error::source(innermost).and_then(|cause| cause.downcast_ref::<Error>()) {
        innermost = cause;
    }
    let place = innermost.name().filter(|name| origins.contains_key(*name)).unwrap_or(fallback);
    let what = innermost.detail().map_or_else(|| innermost.kind().to_string(), str::to_owned);
    let message = format!("the template does not work: {what}");
    match origins.get(place) {
        Some((file, text)) => {
            Problem::new(*file, message).at(text.line + innermost.line().unwrap_or(1).saturating_sub(1))
        }
        None => Problem::new(fallback, message),
    }
}

/// A turn to try templates on, with and without passages and history.
fn sample(agent: Agent, full: bool) -> Value {
    let passages: Vec<Value> = if full {
        vec![context! { n => 1, title => "Title", heading => "Heading", text => "Text" }]
    } else {
        Vec::new()
    };
    let history: Vec<Value> = if full { vec![context! { role => "user", content => "Hello" }] } else { Vec::new() };
    let entries: BTreeMap<String, Value> =
        if full { BTreeMap::from([("page".to_owned(), Value::from("/"))]) } else { BTreeMap::new() };
    context! {
        company => context! { name => "Company", industry => "retail", description => if full { "About" } else { "" } },
        agent => agent.name(),
        language => context! { code => "en", name => "English" },
        has_knowledge => full,
        passages => passages,
        history => history,
        message => "Hello",
        context => Value::from_object(entries),
    }
}

/// Replaces the angle brackets of what looks like a tag by ones that only look like them.
fn fenced(text: &str) -> String {
    text.replace('<', "‹").replace('>', "›")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fenced_text_cannot_close_a_tag() {
        assert_eq!(fenced("a </passage> <rules>"), "a ‹/passage› ‹rules›");
    }
}
