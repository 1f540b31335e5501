//! Reading documents: bytes of a known format become titled sections of tidy text.
//!
//! Each format is one [`Loader`]; [`Loaders`] picks the right one by file name or media type. A loader keeps
//! what retrieval needs later: the headings above each passage, which lines form a list, and rows of tables
//! that can be understood alone. Every loader reads its input once, without recursion, so that the work grows
//! with the size of a document and never with its nesting.

use std::fmt;
use std::path::Path;

mod compose;
mod decode;
mod html;
mod markdown;
mod outline;
mod table;
mod text;
mod tidy;

pub use html::Html;
pub use markdown::Markdown;
pub use text::PlainText;

/// The largest document that is read unless a limit is set, in bytes.
pub const DEFAULT_LIMIT: u64 = 20 * 1024 * 1024;

/// A document as its loader understood it. All text is in Unicode NFC, with its whitespace tidied.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Loaded {
    /// What the document calls itself, on one line.
    pub title: Option<String>,
    /// The address that the document gives for itself (`http` or `https`).
    pub url: Option<String>,
    /// The primary language subtag that the document states, in lower case (`vi`).
    pub language: Option<String>,
    /// The text, in reading order. Each section has at least one block.
    pub sections: Vec<Section>,
}

impl Loaded {
    /// All blocks in reading order, whatever section they are in.
    pub fn blocks(&self) -> impl Iterator<Item = &Block> {
        self.sections.iter().flat_map(|section| &section.blocks)
    }
}

/// The blocks that stand directly under one heading.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Section {
    /// The path of headings from the top of the document down to this section; empty before the first heading.
    pub headings: Vec<String>,
    /// The blocks between this section's heading and the next one.
    pub blocks: Vec<Block>,
}

/// A piece of text that belongs together. Never blank.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// What the text is.
    pub kind: BlockKind,
    /// The text itself. Lines of lists, rows of tables and lines of code are separated by `\n`.
    pub text: String,
}

/// What a [`Block`] holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BlockKind {
    /// Running text.
    Paragraph,
    /// One line per item, each with its marker, nested items indented.
    List,
    /// One line per row; each cell carries its column's header, as in `Term: 12 months; Rate: 6%`.
    Table,
    /// Preformatted text whose indentation matters.
    Code,
    /// Quoted text.
    Quote,
}

/// Why a document could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The bytes are no text: they hold NUL bytes or mostly control characters.
    #[error("this is binary data, not text")]
    Binary,
    /// There is nothing to read in it.
    #[error("the document holds no readable text")]
    Empty,
    /// The text is neither UTF-8 nor UTF-16 with a byte order mark.
    #[error("the text is not valid UTF-8: the first bad byte is at offset {offset}; save the document as UTF-8")]
    NotUtf8 {
        /// The offset of the first byte that cannot be decoded, in bytes from the start.
        offset: usize,
    },
    /// The document is larger than the limit.
    #[error("the document has {bytes} bytes, more than the limit of {limit}")]
    TooLarge {
        /// The document's size in bytes.
        bytes: u64,
        /// The largest size that is read, in bytes.
        limit: u64,
    },
    /// No loader reads files with this extension.
    #[error("no loader for {}; supported are {}", Named(extension), supported.join(", "))]
    Unsupported {
        /// The file name's extension without its dot; empty when it has none.
        extension: String,
        /// All extensions that can be read.
        supported: Vec<&'static str>,
    },
    /// No loader reads this media type.
    #[error("no loader for the media type {media_type:?}; supported are {}", supported.join(", "))]
    UnsupportedMediaType {
        /// The media type that was asked for.
        media_type: String,
        /// All media types that can be read.
        supported: Vec<&'static str>,
    },
}

/// An extension as people write it, for error messages.
struct Named<'a>(&'a str);

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            "" => f.write_str("files without an extension"),
            extension => write!(f, ".{extension} files"),
        }
    }
}

/// Reads the documents of one format.
pub trait Loader: fmt::Debug + Send + Sync {
    /// The media types of the format in lower case, the usual one first.
    fn media_types(&self) -> &'static [&'static str];

    /// The file name extensions of the format in lower case, without their dot, the usual one first.
    fn extensions(&self) -> &'static [&'static str];

    /// Reads one document.
    ///
    /// # Errors
    /// When the bytes are not a document of this format or hold no readable text.
    fn load(&self, bytes: &[u8]) -> Result<Loaded, Error>;
}

/// The formats that can be read, and the size up to which they are.
#[derive(Debug)]
pub struct Loaders {
    loaders: Vec<Box<dyn Loader>>,
    limit: u64,
}

impl Default for Loaders {
    /// Plain text, Markdown and HTML, up to [`DEFAULT_LIMIT`].
    fn default() -> Self {
        Self { loaders: vec![Box::new(PlainText), Box::new(Markdown), Box::new(Html)], limit: DEFAULT_LIMIT }
    }
}

impl Loaders {
    /// Sets the largest size of a document, in bytes.
    #[must_use]
    pub fn with_limit(mut self, limit: u64) -> Self {
        self.limit = limit;
        self
    }

    /// Adds a format. It is preferred to those added before it where they claim the same extension or media type.
    #[must_use]
    pub fn with(mut self, loader: impl Loader + 'static) -> Self {
        self.loaders.push(Box::new(loader));
        self
    }

    /// Whether a document of this many bytes is small enough, so that a file can be refused before it is read.
    ///
    /// # Errors
    /// [`Error::TooLarge`].
    pub fn check_size(&self, bytes: u64) -> Result<(), Error> {
        if bytes > self.limit {
            return Err(Error::TooLarge { bytes, limit: self.limit });
        }
        Ok(())
    }

    /// The loader for a file, by the extension of its name in any case.
    ///
    /// # Errors
    /// [`Error::Unsupported`], with all that is supported.
    pub fn for_path(&self, path: &Path) -> Result<&dyn Loader, Error> {
        let extension = path.extension().map(|it| it.to_string_lossy().to_lowercase()).unwrap_or_default();
        self.find(|loader| loader.extensions().contains(&extension.as_str())).ok_or_else(|| Error::Unsupported {
            extension: extension.clone(),
            supported: self.loaders.iter().flat_map(|loader| loader.extensions()).copied().collect(),
        })
    }

    /// The loader for a media type in any case, parameters such as `; charset=utf-8` ignored.
    ///
    /// # Errors
    /// [`Error::UnsupportedMediaType`], with all that is supported.
    pub fn for_media_type(&self, media_type: &str) -> Result<&dyn Loader, Error> {
        let essence = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        self.find(|loader| loader.media_types().contains(&essence.as_str())).ok_or_else(|| {
            Error::UnsupportedMediaType {
                media_type: essence.clone(),
                supported: self.loaders.iter().flat_map(|loader| loader.media_types()).copied().collect(),
            }
        })
    }

    /// Reads the content of a file with the loader for its name.
    ///
    /// # Errors
    /// As [`Loaders::check_size`], [`Loaders::for_path`] and [`Loader::load`].
    pub fn load_path(&self, path: &Path, bytes: &[u8]) -> Result<Loaded, Error> {
        let loader = self.for_path(path)?;
        self.check_size(bytes.len() as u64)?;
        loader.load(bytes)
    }

    /// Reads a document of a stated media type.
    ///
    /// # Errors
    /// As [`Loaders::check_size`], [`Loaders::for_media_type`] and [`Loader::load`].
    pub fn load_media_type(&self, media_type: &str, bytes: &[u8]) -> Result<Loaded, Error> {
        let loader = self.for_media_type(media_type)?;
        self.check_size(bytes.len() as u64)?;
        loader.load(bytes)
    }

    fn find(&self, fits: impl Fn(&dyn Loader) -> bool) -> Option<&dyn Loader> {
        self.loaders.iter().rev().map(AsRef::as_ref).find(|loader| fits(*loader))
    }
}

#[cfg(test)]
mod tests;
