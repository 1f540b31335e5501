//! The programs in the documents, taken out of them and run where their language is on the machine.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::clients;

/// What is run, and what runs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verifier {
    Python,
    JavaScript,
    Go,
    Java,
    Php,
    /// JavaScript with a public key.
    PublicKey,
    /// The standard's own library.
    OfficialPython,
    /// The standard's own library.
    OfficialJavaScript,
}

impl Verifier {
    /// Those that check a shared secret.
    pub const SHARED: [Self; 7] = [
        Self::Python,
        Self::JavaScript,
        Self::Go,
        Self::Java,
        Self::Php,
        Self::OfficialPython,
        Self::OfficialJavaScript,
    ];
}

/// A request as a verifier sees it. What is absent was not sent.
#[derive(Clone, Debug)]
pub struct Case {
    pub what: String,
    pub id: Option<String>,
    pub timestamp: Option<String>,
    pub signatures: Option<String>,
    pub body: Vec<u8>,
}

/// The programs of a document that are written in a language, in their order.
pub fn of(document: &str, language: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(document);
    let text = std::fs::read_to_string(path).unwrap();
    let fence = format!("```{language}\n");
    let blocks = text.split(&fence).skip(1).map(|rest| rest.split("```").next().unwrap().to_owned());
    blocks.collect()
}

/// Writes cases where a program can read them: one to a line, what was not sent as `-`, the rest in base64.
pub fn cases(dir: &Path, cases: &[Case]) -> PathBuf {
    let path = dir.join("cases");
    let field = |bytes: Option<&[u8]>| match bytes {
        Some(bytes) if !bytes.is_empty() => BASE64_STANDARD.encode(bytes),
        _ => "-".to_owned(),
    };
    let line = |case: &Case| {
        let headers = [&case.id, &case.timestamp, &case.signatures];
        let mut fields: Vec<String> = headers.iter().map(|it| field(it.as_deref().map(str::as_bytes))).collect();
        fields.push(field(Some(&case.body)));
        fields.join(" ")
    };
    std::fs::write(&path, cases.iter().map(line).collect::<Vec<_>>().join("\n") + "\n").unwrap();
    path
}

/// What a verifier says of each case under a secret. None, and a line that says so, where its language is missing.
pub fn judge(test: &str, verifier: Verifier, secret: &str, asked: &[Case]) -> Option<Vec<bool>> {
    let dir = tempfile::tempdir().unwrap();
    let cases = cases(dir.path(), asked);
    let settings = [("SECRET", secret), ("CASES", cases.to_str().unwrap())];
    let said = match verifier {
        Verifier::OfficialPython => clients::run(test, "webhook_verify.py", &settings)?,
        Verifier::OfficialJavaScript => clients::run(test, "webhook_verify.mjs", &settings)?,
        _ => {
            let mut command = prepared(test, verifier, dir.path())?;
            run(command.envs(settings).env("HOME", home()))
        }
    };
    let said: Vec<bool> = said.lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!(said.len(), asked.len(), "{verifier:?}");
    Some(said)
}

/// Puts a verifier's program with its driver into a folder, and gives the command that runs it there.
fn prepared(test: &str, verifier: Verifier, dir: &Path) -> Option<Command> {
    let guide = |language: &str, index: usize| of("docs/WEBHOOKS.md", language).swap_remove(index);
    let write = |name: &str, text: &str| {
        let path = dir.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    let driver = |name: &str| write(name, &driver(name));
    let (program, arguments): (&str, &[&str]) = match verifier {
        Verifier::Python => {
            write("snippet.py", &guide("python", 0));
            driver("driver.py");
            ("python3", &["driver.py"])
        }
        Verifier::JavaScript | Verifier::PublicKey => {
            write("snippet.mjs", &guide("js", usize::from(verifier == Verifier::PublicKey)));
            driver("driver.mjs");
            ("node", &["driver.mjs"])
        }
        Verifier::Go => {
            write("go.mod", "module guide\n\ngo 1.19\n");
            write("webhooks/webhooks.go", &guide("go", 0));
            driver("driver.go");
            ("go", &["run", "."])
        }
        Verifier::Java => {
            write("Webhooks.java", &guide("java", 0));
            driver("Driver.java");
            let mut compiler = program(test, "javac")?;
            run(compiler.args(["Webhooks.java", "Driver.java"]).current_dir(dir));
            ("java", &["Driver"])
        }
        Verifier::Php => {
            write("snippet.php", &guide("php", 0));
            driver("driver.php");
            ("php", &["driver.php"])
        }
        Verifier::OfficialPython | Verifier::OfficialJavaScript => unreachable!("they are no snippets"),
    };
    let mut command = self::program(test, program)?;
    command.args(arguments).current_dir(dir).env("PYTHONDONTWRITEBYTECODE", "1");
    // Go must not look for a newer self, or for modules: all that is needed is there.
    command.env("GOTOOLCHAIN", "local").env("GOPROXY", "off").env("GOFLAGS", "-mod=mod");
    Some(command)
}

/// A program of `tests/clients/verify`.
pub fn driver(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/verify").join(name);
    std::fs::read_to_string(path).unwrap()
}

/// A program of the machine, or a line that says that a part of the test is skipped for want of it.
pub fn program(test: &str, name: &str) -> Option<Command> {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&paths).any(|folder| folder.join(name).is_file());
    if !found {
        super::say(&format!("SKIPPED a part of {test}: {name} is not installed"));
    }
    found.then(|| Command::new(name))
}

/// Runs a command to its end and gives its output. One that fails fails the test.
pub fn run(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?} failed ({}):\n{said}\n{errors}", output.status);
    said.into_owned()
}

/// Where compilers keep what they have made: the user's own home, or the folder of the tests.
fn home() -> std::ffi::OsString {
    std::env::var_os("HOME").unwrap_or_else(|| env!("CARGO_TARGET_TMPDIR").into())
}
