//! One document from its bytes to its passages.

use std::path::PathBuf;

use sha2::{Digest, Sha256};
use time::OffsetDateTime;

use crate::domain::knowledge::{Document, Passage};
use crate::domain::{DocumentId, Language};
use crate::knowledge::load::{self, Loaders};
use crate::knowledge::{chunk, load::Loaded};

/// Characters that a document's language is told by.
const SAMPLE: usize = 2_000;

/// How a document's bytes are to be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Format {
    /// By a file's extension.
    File(PathBuf),
    /// By a media type.
    Media(String),
}

/// What is known of a document beside its content.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Attributes {
    /// Its title, instead of the one it gives itself.
    pub title: Option<String>,
    /// Where it can be read, instead of the address it gives itself.
    pub url: Option<String>,
    /// Its language, whatever it says itself.
    pub language: Option<Language>,
    /// Its language, if it does not say.
    pub default_language: Option<Language>,
    /// The company's industry.
    pub industry: Option<String>,
    /// The folder run that brings it.
    pub collection: Option<String>,
}

/// A document as it was given.
pub(super) struct Source {
    pub(super) id: DocumentId,
    pub(super) format: Format,
    pub(super) content: Vec<u8>,
    pub(super) attributes: Attributes,
}

/// A document cut into passages.
pub(super) struct Cut {
    pub(super) document: Document,
    pub(super) passages: Vec<Passage>,
}

impl Source {
    /// SHA-256 over the content and over all that its passages depend on beside it, in hexadecimal. What made the vectors
    /// is not in it: the index knows that itself.
    pub(super) fn fingerprint(&self, chunking: &chunk::Settings) -> String {
        let Attributes { title, url, language, default_language, industry, collection } = &self.attributes;
        let extension = match &self.format {
            Format::File(path) => path.extension().map(|extension| extension.to_string_lossy().to_lowercase()),
            Format::Media(media) => Some(media.clone()),
        };
        let code = |language: &Option<Language>| language.map(|language| language.code().to_owned());
        let sizes = [chunking.max_chars(), chunking.overlap_chars(), chunking.min_chars()].map(|size| size.to_string());
        let parts = [
            extension,
            title.clone(),
            url.clone(),
            code(language),
            code(default_language),
            industry.clone(),
            collection.clone(),
            Some(sizes.join(" ")),
        ];
        let mut hash = Sha256::new();
        for part in parts {
            // With its length before it, no part runs into the next.
            hash.update(part.as_ref().map_or(u64::MAX, |part| part.len() as u64).to_le_bytes());
            hash.update(part.unwrap_or_default());
        }
        hash.update(&self.content);
        hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Reads the document and cuts it up.
    pub(super) fn cut(
        self,
        loaders: &Loaders,
        chunking: &chunk::Settings,
        detect: &dyn Fn(&str) -> Option<Language>,
    ) -> Result<Cut, load::Error> {
        let fingerprint = self.fingerprint(chunking);
        let Self { id, format, content, attributes } = self;
        let loaded = match &format {
            Format::File(path) => loaders.load_path(path, &content)?,
            Format::Media(media) => loaders.load_media_type(media, &content)?,
        };
        let title = attributes.title.or_else(|| loaded.title.clone()).unwrap_or_else(|| name_of(&id));
        let url = attributes.url.or_else(|| loaded.url.clone());
        let language = attributes
            .language
            .or_else(|| loaded.language.as_deref().and_then(Language::from_code))
            .or(attributes.default_language)
            .or_else(|| detect(&sample(&loaded)));
        let passages: Vec<Passage> = chunk::chunk(&loaded, chunking)
            .into_iter()
            .map(|chunk| Passage {
                document_id: id.clone(),
                ordinal: chunk.ordinal,
                title: title.clone(),
                url: url.clone(),
                headings: chunk.headings,
                text: chunk.text,
                language,
                industry: attributes.industry.clone(),
            })
            .collect();
        let document = Document {
            id,
            title,
            url,
            language,
            fingerprint,
            collection: attributes.collection,
            passages: passages.len(),
            bytes: content.len(),
            updated_at: OffsetDateTime::now_utc(),
        };
        Ok(Cut { document, passages })
    }
}

/// The last part of an id, for a document that has no title.
fn name_of(id: &DocumentId) -> String {
    id.as_str().rsplit('/').find(|part| !part.is_empty()).unwrap_or(id.as_str()).to_owned()
}

fn sample(loaded: &Loaded) -> String {
    loaded.blocks().flat_map(|block| block.text.chars().chain(std::iter::once('\n'))).take(SAMPLE).collect()
}
