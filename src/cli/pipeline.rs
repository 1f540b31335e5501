//! `turnpike pipeline`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;

use super::Common;
use crate::config::pipelines::PipelineSet;
use crate::pipeline::catalog::Catalog;
use crate::pipeline::stages::intent::run_cases;
use crate::pipeline::stages::language::{Detector, Hints};

#[derive(Subcommand)]
pub(super) enum Command {
    /// Check the built-in pipelines and those of a folder, all mistakes at once
    Check {
        /// The folder; the one of the settings otherwise
        dir: Option<PathBuf>,
    },
    /// Run the test cases that the pipelines carry
    Test {
        /// The folder; the one of the settings otherwise
        dir: Option<PathBuf>,
        /// Only this pipeline
        #[arg(long)]
        only: Option<String>,
    },
}

pub(super) async fn run(common: Common, command: Command) -> anyhow::Result<ExitCode> {
    let settings = common.settings(&[], Some("warn"))?;
    let (Command::Check { dir } | Command::Test { dir, .. }) = &command;
    let dir = dir.clone().or_else(|| settings.pipelines_dir.clone());
    let set = match PipelineSet::load(dir.as_deref()) {
        Ok(set) => set,
        Err(problems) => {
            for problem in &problems {
                eprintln!("{problem}");
            }
            return Ok(ExitCode::FAILURE);
        }
    };
    let catalog = Catalog::new(set)?;
    let mut pipelines: Vec<_> = catalog.iter().collect();
    pipelines.sort_by(|a, b| a.definition.name.cmp(&b.definition.name));
    let Command::Test { only, .. } = command else {
        say!("{} pipelines are right", pipelines.len());
        return Ok(ExitCode::SUCCESS);
    };
    let detector = Detector::new();
    let (mut passed, mut failed) = (0, 0);
    for pipeline in pipelines {
        let definition = &pipeline.definition;
        if only.as_ref().is_some_and(|only| *only != definition.name) {
            continue;
        }
        let hints = Hints { allowed: &definition.language.supported, prior: None };
        let results = run_cases(definition, pipeline.classifier(), |text| detector.detect(text, &hints).language);
        for result in &results {
            if result.failures.is_empty() {
                passed += 1;
            } else {
                failed += 1;
                say!("{}:{}: {}", definition.file, result.case.line, result.case.message);
                for failure in &result.failures {
                    say!("    {failure}");
                }
            }
        }
    }
    say!("{passed} passed, {failed} failed");
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
