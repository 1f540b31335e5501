//! A company's knowledge: documents, and the passages they are searched by.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use uuid::Uuid;

use super::id::DocumentId;
use super::language::Language;

/// A document as it is registered: its text lives in the index, as passages.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Document {
    /// The document.
    pub id: DocumentId,
    /// Its title.
    pub title: String,
    /// Where it can be read.
    pub url: Option<String>,
    /// Its language.
    pub language: Option<Language>,
    /// SHA-256 of its content and of the settings it was cut by, in hexadecimal: when it is the same, nothing is to do.
    pub fingerprint: String,
    /// The folder run that brought it, if any: what `--prune` compares with.
    pub collection: Option<String>,
    /// Passages in the index.
    pub passages: usize,
    /// Size of its content in bytes.
    pub bytes: usize,
    /// When it was last put.
    #[serde(with = "time::serde::rfc3339")]
    pub updated_at: OffsetDateTime,
}

/// One passage of a document, as it is searched and shown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Passage {
    /// The document it is of.
    pub document_id: DocumentId,
    /// Its place in the document, from 0.
    pub ordinal: usize,
    /// The document's title.
    pub title: String,
    /// Where the document can be read.
    pub url: Option<String>,
    /// The headings it stands under, outermost first.
    pub headings: Vec<String>,
    /// Its text.
    pub text: String,
    /// Its language.
    pub language: Option<Language>,
    /// The company's industry.
    pub industry: Option<String>,
}

impl Passage {
    /// The passage's id: it follows from the document and the place.
    pub fn id(&self) -> Uuid {
        const NAMESPACE: Uuid = Uuid::from_u128(0xb3a1_02c7_6f0d_4d5c_a7c1_90f4_13de_8a52);
        Uuid::new_v5(&NAMESPACE, format!("{}#{}", self.document_id, self.ordinal).as_bytes())
    }

    /// What is encoded for search: the title and headings say what a table row or a short list is about.
    pub fn search_text(&self) -> String {
        let mut text = self.title.clone();
        for heading in self.headings.iter().filter(|heading| **heading != self.title) {
            text.push_str(" > ");
            text.push_str(heading);
        }
        text.push('\n');
        text.push_str(&self.text);
        text
    }
}

/// A sparse vector: parallel lists of dimensions (ascending, each once) and their weights.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SparseVector {
    /// The dimensions.
    pub indices: Vec<u32>,
    /// The weight of each.
    pub values: Vec<f32>,
}

/// A passage with its vectors, ready for the index.
#[derive(Clone, Debug, PartialEq)]
pub struct EncodedPassage {
    /// The passage.
    pub passage: Passage,
    /// Its dense vector, unit length; absent without an embedding model.
    pub dense: Option<Vec<f32>>,
    /// Its sparse vector.
    pub sparse: SparseVector,
}
