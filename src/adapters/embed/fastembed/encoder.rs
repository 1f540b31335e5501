//! A loaded model: from texts to unit vectors, and the ways to load one.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use fastembed::{InitOptionsUserDefined, TextEmbedding, TextInitOptions, TokenizerFiles, UserDefinedEmbeddingModel};
use ort::environment::Environment;
use sha2::{Digest, Sha256};

use super::card::{self, Card, Pooling};
use super::{Error, Settings, Source};

/// Texts in, vectors out: what the threads need of a model.
pub(super) trait Encode: Send {
    /// One unit vector for each text, in their order, all in one run of the model.
    ///
    /// # Errors
    /// `Encode`.
    fn encode(&mut self, texts: &[&str]) -> Result<Vec<Vec<f32>>, Error>;
}

/// A session with its tokenizer.
pub(super) struct Encoder {
    model: TextEmbedding,
    dimensions: usize,
}

impl Encode for Encoder {
    fn encode(&mut self, texts: &[&str]) -> Result<Vec<Vec<f32>>, Error> {
        if texts.is_empty() {
            return Ok(Vec::new());
        }
        // A panic in a tokenizer must cost one answer, not all answers after it.
        let run = catch_unwind(AssertUnwindSafe(|| self.model.embed(texts, Some(texts.len()))));
        let vectors = match run {
            Ok(Ok(vectors)) => vectors,
            Ok(Err(source)) => return Err(Error::Encode(Box::new(source))),
            Err(_) => return Err(failed("the model panicked".to_owned())),
        };
        if vectors.len() != texts.len() {
            return Err(failed(format!("{} vectors came back for {} texts", vectors.len(), texts.len())));
        }
        vectors.into_iter().map(|vector| unit(vector, self.dimensions)).collect()
    }
}

/// How to load the model that the settings ask for, as often as it is needed.
pub(super) struct Loader {
    origin: Origin,
    card: Card,
    environment: Environment,
}

enum Origin {
    Directory(PathBuf),
    Hub { model: fastembed::EmbeddingModel, repository: String, cache_dir: PathBuf },
}

impl Loader {
    /// Decides which model it is, and reads its card.
    ///
    /// # Errors
    /// `ModelMissing`, `UnknownModel` or `BadModel`.
    pub(super) fn find(settings: &Settings, environment: Environment) -> Result<Self, Error> {
        let (origin, card) = match (&settings.model_dir, &settings.hub_model) {
            (Some(dir), _) => (Origin::Directory(dir.clone()), Card::read(dir)?),
            (None, Some(name)) => hub_model(name, &settings.cache_dir)?,
            (None, None) => pulled_model(&settings.cache_dir)?,
        };
        Ok(Self { origin, card, environment })
    }

    /// What is known about the model.
    pub(super) fn card(&self) -> &Card {
        &self.card
    }

    /// Loads the model, as often as it is called, to run on so many threads. Gives the model's fingerprint as well: the files may have been
    /// replaced since the last time.
    ///
    /// # Errors
    /// `ModelMissing`, `BadModel` or `Hub`.
    pub(super) fn load(&self, threads: usize) -> Result<(Encoder, String), Error> {
        match &self.origin {
            Origin::Directory(dir) => {
                let files = Files::read(dir)?;
                let hash = Sha256::digest(&files.onnx);
                if let Some(expected) = &self.card.sha256
                    && *expected != card::hex(&hash)
                {
                    let text = format!("model.onnx is not the file that {} described at the start", card::FILE);
                    return Err(Error::BadModel(text.into()));
                }
                let fingerprint = self.card.fingerprint(&[&hash, &files.tokenizer.tokenizer_file]);
                Ok((self.encoder_of(files, threads)?, fingerprint))
            }
            Origin::Hub { model, repository, cache_dir } => {
                let options = TextInitOptions::new(model.clone())
                    .with_environment(self.environment.clone())
                    .with_cache_dir(cache_dir.clone())
                    .with_show_download_progress(false)
                    .with_max_length(self.card.max_tokens)
                    .with_intra_threads(threads)
                    .with_session_config(SPINNING.0, SPINNING.1);
                let model = TextEmbedding::try_new(options)
                    .map_err(|source| Error::Hub { name: repository.clone(), source: Box::new(source) })?;
                let encoder = Encoder { model, dimensions: self.card.dimensions };
                Ok((encoder, self.card.fingerprint(&[repository.as_bytes()])))
            }
        }
    }

    fn encoder_of(&self, files: Files, threads: usize) -> Result<Encoder, Error> {
        let pooling = match self.card.pooling {
            Pooling::Mean => fastembed::Pooling::Mean,
            Pooling::Cls => fastembed::Pooling::Cls,
        };
        let model = UserDefinedEmbeddingModel::new(files.onnx, files.tokenizer).with_pooling(pooling);
        let options = InitOptionsUserDefined::new()
            .with_environment(self.environment.clone())
            .with_max_length(self.card.max_tokens)
            .with_intra_threads(threads)
            .with_session_config(SPINNING.0, SPINNING.1);
        let model = TextEmbedding::try_new_from_user_defined(model, options)
            .map_err(|source| Error::BadModel(Box::new(source)))?;
        Ok(Encoder { model, dimensions: self.card.dimensions })
    }
}

/// Idle threads of a session sleep. By default they spin for a while, which takes the processor away from the streams.
const SPINNING: (&str, &str) = ("session.intra_op.allow_spinning", "0");

/// The files of a model directory.
struct Files {
    onnx: Vec<u8>,
    tokenizer: TokenizerFiles,
}

impl Files {
    fn read(dir: &Path) -> Result<Self, Error> {
        let read = |file: &str| {
            std::fs::read(dir.join(file))
                .map_err(|_| Error::ModelMissing { dir: dir.to_owned(), file: file.to_owned() })
        };
        Ok(Self {
            onnx: read("model.onnx")?,
            tokenizer: TokenizerFiles {
                tokenizer_file: read("tokenizer.json")?,
                config_file: read("config.json")?,
                special_tokens_map_file: read("special_tokens_map.json")?,
                tokenizer_config_file: read("tokenizer_config.json")?,
            },
        })
    }
}

/// A model of the hub by its repository, or by the last part of it.
fn hub_model(name: &str, cache_dir: &Path) -> Result<(Origin, Card), Error> {
    let known = TextEmbedding::list_supported_models().into_iter().find(|info| {
        let last = info.model_code.rsplit('/').next().unwrap_or_default();
        name.eq_ignore_ascii_case(&info.model_code) || name.eq_ignore_ascii_case(last)
    });
    let info = known.ok_or_else(|| Error::UnknownModel { name: name.to_owned() })?;
    let card = Card::of_hub_model(&info.model_code, info.dim);
    let origin = Origin::Hub { model: info.model, repository: info.model_code, cache_dir: cache_dir.to_owned() };
    Ok((origin, card))
}

/// The model that was pulled. Where there are several, one that knows all languages, then the first by name.
fn pulled_model(cache_dir: &Path) -> Result<(Origin, Card), Error> {
    let entries = std::fs::read_dir(cache_dir).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut found = Vec::new();
    for dir in entries.filter(|dir| dir.join(card::FILE).is_file()) {
        // A pull that is under way works in a hidden directory.
        if dir.file_name().is_some_and(|name| !name.to_string_lossy().starts_with('.')) {
            found.push((Card::read(&dir)?, dir));
        }
    }
    let best =
        found.into_iter().min_by_key(|(card, dir)| (!card.languages.iter().any(|code| code == "*"), dir.clone()));
    let (card, dir) =
        best.ok_or_else(|| Error::ModelMissing { dir: cache_dir.to_owned(), file: format!("*/{}", card::FILE) })?;
    Ok((Origin::Directory(dir), card))
}

/// The vector at length one.
fn unit(mut vector: Vec<f32>, dimensions: usize) -> Result<Vec<f32>, Error> {
    if vector.len() != dimensions {
        return Err(failed(format!("a vector has {} dimensions instead of {dimensions}", vector.len())));
    }
    let length = vector.iter().map(|value| value * value).sum::<f32>().sqrt();
    if !length.is_finite() || length <= f32::EPSILON {
        return Err(failed(format!("a vector has the length {length}")));
    }
    for value in &mut vector {
        *value /= length;
    }
    Ok(vector)
}

fn failed(text: String) -> Error {
    let source: Source = text.into();
    Error::Encode(source)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_come_out_at_length_one_or_not_at_all() {
        assert_eq!(unit(vec![3.0, 4.0], 2).unwrap(), [0.6, 0.8]);
        assert!(matches!(unit(vec![0.0, 0.0], 2), Err(Error::Encode(_))));
        assert!(matches!(unit(vec![f32::NAN, 1.0], 2), Err(Error::Encode(_))));
        assert!(matches!(unit(vec![1.0], 2), Err(Error::Encode(_))));
    }

    #[test]
    fn a_model_of_the_hub_is_found_by_either_name() {
        for name in ["intfloat/multilingual-e5-small", "multilingual-e5-small", "Multilingual-E5-Small"] {
            let (_, card) = hub_model(name, Path::new("cache")).unwrap();
            assert_eq!((card.name.as_str(), card.dimensions), ("multilingual-e5-small", 384));
        }
        assert!(matches!(hub_model("e6", Path::new("cache")), Err(Error::UnknownModel { name }) if name == "e6"));
    }

    #[test]
    fn the_pulled_model_that_knows_more_languages_is_taken() {
        let cache = tempfile::tempdir().unwrap();
        assert!(matches!(pulled_model(cache.path()), Err(Error::ModelMissing { .. })));
        for (dir, languages) in [("a", "\"en\""), ("b", "\"*\""), (".pull-1", "\"*\"")] {
            let dir = cache.path().join(dir);
            std::fs::create_dir(&dir).unwrap();
            let text = format!(
                "name = \"{}\"\ndimensions = 4\npooling = \"cls\"\nlanguages = [{languages}]\nmax_tokens = 16\n",
                dir.file_name().unwrap().to_string_lossy()
            );
            std::fs::write(dir.join(card::FILE), text).unwrap();
        }
        assert_eq!(pulled_model(cache.path()).unwrap().1.name, "b");
    }

    #[test]
    fn the_missing_file_is_named() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("model.onnx"), "").unwrap();
        let error = Files::read(dir.path()).err();
        assert!(matches!(error, Some(Error::ModelMissing { file, .. }) if file == "tokenizer.json"));
    }
}
