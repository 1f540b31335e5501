//! LLM providers as they are set.

use std::path::PathBuf;

use super::Secret;

/// A provider.
#[derive(Clone, Debug)]
pub struct Provider {
    /// Its name in the settings, the first half of its models' ids.
    pub name: String,
    /// What it speaks.
    pub kind: ProviderKind,
    /// Its models, the preferred one first.
    pub models: Vec<String>,
    /// Longest wait for its first piece and for a further one, instead of what holds for all.
    pub timeout: Option<std::time::Duration>,
}

/// What a provider speaks.
#[derive(Clone, Debug)]
pub enum ProviderKind {
    /// OpenAI's chat completions.
    OpenAi {
        /// Up to and with `/v1`.
        base_url: String,
        /// The bearer token, if it wants one.
        api_key: Option<Secret>,
    },
    /// Gemini's `streamGenerateContent`.
    Gemini {
        /// Without the version.
        base_url: String,
        /// The key.
        api_key: Option<Secret>,
    },
    /// Answers from a file, for tests and demonstrations.
    Scripted {
        /// The file.
        script: PathBuf,
    },
}
