//! Finding and loading ONNX Runtime.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use ort::environment::Environment;

use super::Error;

/// ONNX Runtime allows one environment in the life of a process, so it is made once and kept for good.
static ENVIRONMENT: Mutex<Option<Environment>> = Mutex::new(None);

/// Loads ONNX Runtime: the library that is named, or else the one in `cache_dir/onnxruntime`.
///
/// The first library that loads stays for the life of the process. `ort` panics where it cannot load
/// its library by itself, so this has to come before everything else.
///
/// # Errors
/// `LibraryMissing` or `BadLibrary`. A library that is named and missing is an error, not a reason to search on.
pub(super) fn load(named: Option<&Path>, cache_dir: &Path) -> Result<Environment, Error> {
    let path = find(named, cache_dir)?;
    let mut environment = ENVIRONMENT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(loaded) = environment.as_ref() {
        return Ok(loaded.clone());
    }
    let builder = ort::init_from(&path)
        .map_err(|source| Error::BadLibrary { path: path.clone(), source: source.to_string().into() })?;
    let made = builder
        .with_name("turnpike")
        .with_telemetry(false)
        .build()
        .map_err(|source| Error::BadLibrary { path, source: Box::new(source) })?;
    Ok(environment.insert(made).clone())
}

fn find(named: Option<&Path>, cache_dir: &Path) -> Result<PathBuf, Error> {
    if let Some(named) = named {
        // A bare file name is for the system's loader to find.
        if named.components().count() == 1 && !named.exists() {
            return Ok(named.to_owned());
        }
        if named.is_file() {
            // `ort` takes a relative path as relative to the program.
            return std::path::absolute(named).map_err(|_| missing(named));
        }
        return Err(missing(named));
    }
    let directory = cache_dir.join("onnxruntime");
    let entries = std::fs::read_dir(&directory).into_iter().flatten().flatten();
    // Where several versions lie side by side the choice must not depend on the order of the directory.
    let newest = entries.map(|entry| entry.path()).filter(|path| path.file_name().is_some_and(is_library)).max();
    match newest {
        Some(path) => std::path::absolute(&path).map_err(|_| missing(&path)),
        None => Err(missing(&directory.join("libonnxruntime.*"))),
    }
}

fn is_library(name: &OsStr) -> bool {
    // The dot keeps out `libonnxruntime_providers_shared.so`.
    name == "onnxruntime.dll" || name.to_string_lossy().starts_with("libonnxruntime.")
}

fn missing(path: &Path) -> Error {
    Error::LibraryMissing { looked_in: vec![path.to_owned()] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_library_is_found_among_its_neighbours() {
        let cache = tempfile::tempdir().unwrap();
        let directory = cache.path().join("onnxruntime");
        std::fs::create_dir(&directory).unwrap();
        for name in ["LICENSE", "libonnxruntime_providers_shared.so", "libonnxruntime.so.1.31.1"] {
            std::fs::write(directory.join(name), "").unwrap();
        }
        assert_eq!(find(None, cache.path()).unwrap(), directory.join("libonnxruntime.so.1.31.1"));
    }

    #[test]
    fn a_missing_library_is_an_error_that_names_the_place() {
        let cache = tempfile::tempdir().unwrap();
        assert!(matches!(load(None, cache.path()), Err(Error::LibraryMissing { looked_in })
            if looked_in == [cache.path().join("onnxruntime/libonnxruntime.*")]));
        let named = cache.path().join("nowhere.so");
        assert!(
            matches!(load(Some(&named), cache.path()), Err(Error::LibraryMissing { looked_in }) if looked_in == [named.clone()])
        );
    }
}
