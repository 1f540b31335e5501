//! What has to be known about a model beside its weights: the card, `model.toml`, that lies with them, or a row
//! of the table here for the models of the hub.

use std::path::Path;

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::Error;

/// The file of a model directory that describes the model.
pub(super) const FILE: &str = "model.toml";

/// How a text's token vectors become one vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Pooling {
    /// The mean over the tokens that are not padding.
    Mean,
    /// The vector of the first token.
    Cls,
}

/// A model's description.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Card {
    pub(super) name: String,
    pub(super) dimensions: usize,
    pub(super) pooling: Pooling,
    /// Put before every question, as the model was trained.
    #[serde(default)]
    pub(super) query_prefix: String,
    /// Put before every passage.
    #[serde(default)]
    pub(super) passage_prefix: String,
    /// Codes of the languages that it knows; `*` stands for all.
    pub(super) languages: Vec<String>,
    /// Longer texts are cut here.
    pub(super) max_tokens: usize,
    /// Of `model.onnx`, in hexadecimal. A model without one is taken as it is.
    #[serde(default)]
    pub(super) sha256: Option<String>,
}

impl Card {
    /// Reads the card of a model directory.
    ///
    /// # Errors
    /// `ModelMissing` without the file, `BadModel` when it cannot be understood.
    pub(super) fn read(dir: &Path) -> Result<Self, Error> {
        let text = std::fs::read_to_string(dir.join(FILE))
            .map_err(|_| Error::ModelMissing { dir: dir.to_owned(), file: FILE.to_owned() })?;
        let card: Self = toml::from_str(&text).map_err(|source| Error::BadModel(Box::new(source)))?;
        if card.dimensions == 0 || card.max_tokens < 3 {
            return Err(Error::BadModel(format!("{FILE} gives dimensions or max_tokens that no model has").into()));
        }
        Ok(card)
    }

    /// The card of a model of the hub, by its repository there.
    pub(super) fn of_hub_model(repository: &str, dimensions: usize) -> Self {
        let lower = repository.to_lowercase();
        let family = FAMILIES.iter().find(|family| lower.contains(family.mark)).unwrap_or(&PLAIN);
        Self {
            name: repository.rsplit('/').next().unwrap_or(repository).to_owned(),
            dimensions,
            // fastembed knows the pooling of the hub's models itself; this value is for the fingerprint alone.
            pooling: Pooling::Mean,
            query_prefix: family.query_prefix.to_owned(),
            passage_prefix: family.passage_prefix.to_owned(),
            languages: vec![family.language.to_owned()],
            max_tokens: 512,
            sha256: None,
        }
    }

    /// A short name for everything that decides what a vector looks like: vectors with different fingerprints
    /// must not be compared. `parts` are the weights and the tokenizer, or what stands for them.
    pub(super) fn fingerprint(&self, parts: &[&[u8]]) -> String {
        let settings =
            format!("{:?}\u{0}{}\u{0}{}\u{0}{}", self.pooling, self.query_prefix, self.passage_prefix, self.max_tokens);
        let mut digest = Sha256::new();
        for part in parts.iter().copied().chain([settings.as_bytes()]) {
            // Hashing each part by itself keeps the borders between them.
            digest.update(Sha256::digest(part));
        }
        hex(&digest.finalize()).chars().take(32).collect()
    }
}

/// Bytes in lower-case hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What the models of one family have in common, from their authors' model cards.
struct Family {
    /// Part of the repository's name, in lower case. The first family that matches wins.
    mark: &'static str,
    query_prefix: &'static str,
    passage_prefix: &'static str,
    language: &'static str,
}

const SEARCH: &str = "Represent this sentence for searching relevant passages: ";

const FAMILIES: &[Family] = &[
    Family { mark: "multilingual-e5", query_prefix: "query: ", passage_prefix: "passage: ", language: "*" },
    Family { mark: "multilingual", query_prefix: "", passage_prefix: "", language: "*" },
    Family { mark: "bge-m3", query_prefix: "", passage_prefix: "", language: "*" },
    Family {
        mark: "embeddinggemma",
        query_prefix: "task: search result | query: ",
        passage_prefix: "title: none | text: ",
        language: "*",
    },
    Family {
        mark: "-zh-", query_prefix: "为这个句子生成表示以用于检索相关文章：", passage_prefix: "", language: "zh"
    },
    Family { mark: "bge-", query_prefix: SEARCH, passage_prefix: "", language: "en" },
    Family { mark: "mxbai-", query_prefix: SEARCH, passage_prefix: "", language: "en" },
    Family { mark: "arctic-embed", query_prefix: SEARCH, passage_prefix: "", language: "en" },
    Family { mark: "nomic-", query_prefix: "search_query: ", passage_prefix: "search_document: ", language: "en" },
    Family { mark: "modernbert-", query_prefix: "search_query: ", passage_prefix: "search_document: ", language: "en" },
];

/// English and without prefixes, as most models are.
const PLAIN: Family = Family { mark: "", query_prefix: "", passage_prefix: "", language: "en" };

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "name = \"m\"\ndimensions = 4\npooling = \"mean\"\nlanguages = [\"en\"]\nmax_tokens = 16\n\
                        query_prefix = \"q: \"\nsource = \"somewhere\"\n";

    fn card(text: &str) -> Result<Card, Error> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(FILE), text).unwrap();
        Card::read(dir.path())
    }

    #[test]
    fn a_card_is_read_and_the_optional_parts_may_be_absent() {
        let card = card(TEXT).unwrap();
        assert_eq!(
            (card.pooling, card.query_prefix.as_str(), card.passage_prefix.as_str()),
            (Pooling::Mean, "q: ", "")
        );
        assert_eq!(card.sha256, None);
    }

    #[test]
    fn cards_that_cannot_be_right_are_refused() {
        assert!(matches!(card("name = "), Err(Error::BadModel(_))));
        assert!(matches!(card(&TEXT.replace("mean", "median")), Err(Error::BadModel(_))));
        assert!(matches!(card(&TEXT.replace("= 4", "= 0")), Err(Error::BadModel(_))));
        let empty = tempfile::tempdir().unwrap();
        assert!(matches!(Card::read(empty.path()), Err(Error::ModelMissing { file, .. }) if file == FILE));
    }

    #[test]
    fn the_fingerprint_changes_with_whatever_changes_the_vectors() {
        let one = card(TEXT).unwrap();
        let same = one.fingerprint(&[b"weights", b"tokenizer"]);
        assert_eq!(one.fingerprint(&[b"weights", b"tokenizer"]), same);
        assert_ne!(one.fingerprint(&[b"weightst", b"okenizer"]), same);
        let other = card(&TEXT.replace("q: ", "query: ")).unwrap();
        assert_ne!(other.fingerprint(&[b"weights", b"tokenizer"]), same);
    }

    #[test]
    fn families_are_told_apart() {
        let e5 = Card::of_hub_model("intfloat/multilingual-e5-small", 384);
        assert_eq!((e5.name.as_str(), e5.query_prefix.as_str()), ("multilingual-e5-small", "query: "));
        assert_eq!(e5.languages, ["*"]);
        assert_eq!(Card::of_hub_model("Xenova/bge-small-zh-v1.5", 512).languages, ["zh"]);
        assert_eq!(Card::of_hub_model("Qdrant/all-MiniLM-L6-v2-onnx", 384).query_prefix, "");
    }
}
