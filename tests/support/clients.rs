//! Programs in Python and JavaScript that use client libraries from the registries: `tests/clients`, run with what
//! `make tools` installed.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// What runs a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    Python,
    JavaScript,
}

/// Runs a program of `tests/clients` by its name, such as `openai_chat.py`, with its settings in the environment, and
/// gives what it wrote to its output. A program that fails fails the test with all that it said. None, and a line that
/// says so, where the tools are missing.
pub fn run(test: &str, program: &str, settings: &[(&str, &str)]) -> Option<String> {
    let output = output(test, program, settings)?;
    let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{program} failed ({}):\n{said}\n{errors}", output.status);
    Some(said.into_owned())
}

/// As [`run`], for programs that may fail.
pub fn output(test: &str, program: &str, settings: &[(&str, &str)]) -> Option<Output> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(program);
    let language = match source.extension().and_then(|extension| extension.to_str()) {
        Some("py") => Language::Python,
        Some("mjs") => Language::JavaScript,
        other => panic!("{program} is of an unknown kind: {other:?}"),
    };
    let mut command = command(test, language)?;
    let copy = (language == Language::JavaScript).then(|| Beside::put(&source));
    command.arg(copy.as_ref().map_or(source.as_path(), |copy| copy.0.as_path()));
    command.env("PYTHONDONTWRITEBYTECODE", "1").env("NO_PROXY", "127.0.0.1,localhost").stdin(Stdio::null());
    command.envs(settings.iter().copied());
    Some(command.output().unwrap())
}

/// The interpreter with the libraries, to be given a program.
pub fn command(test: &str, language: Language) -> Option<Command> {
    let program = match language {
        Language::Python => tools().join("python/bin/python3"),
        Language::JavaScript => PathBuf::from("node"),
    };
    let stamp = match language {
        Language::Python => tools().join("python/installed"),
        Language::JavaScript => tools().join("node/installed"),
    };
    if !stamp.exists() {
        super::say(&format!("SKIPPED {test}: {} is missing; `make tools` brings it", stamp.display()));
        return None;
    }
    Some(Command::new(program))
}

/// A program copied to where node finds its libraries: it looks for them from the program's own folder upwards.
struct Beside(PathBuf);

impl Beside {
    fn put(source: &Path) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = source.file_name().unwrap().to_string_lossy().into_owned();
        let copy = tools().join("node").join(format!("{}-{number}-{name}", std::process::id()));
        std::fs::copy(source, &copy).unwrap();
        Self(copy)
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn tools() -> PathBuf {
    super::test_tools()
}
