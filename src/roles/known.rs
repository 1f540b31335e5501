//! What a gateway knows of companies and keys, kept in its data directory: a gateway that starts while the database does not
//! answer serves those that it knew. Only where the directory is not in the data directory anyway.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::http::auth::{Gate, Known};
use crate::ports::directory::Directory;

/// Between news and its being written, so that what comes together is written together.
const SOON: Duration = Duration::from_millis(200);
/// Between two writes.
const EVERY: Duration = Duration::from_secs(5);
/// What has not changed is still confirmed from time to time, and written then.
const AT_LEAST_EVERY: Duration = Duration::from_secs(3600);
/// How often companies that are gone are looked for: what was removed by another gateway goes here too.
const LOOK_EVERY: Duration = Duration::from_secs(600);

/// Lets a gate believe what an earlier process wrote. A file that cannot be read is as none.
pub(super) async fn recall(gate: &Gate, path: &Path) {
    match read(path) {
        Ok(known) => gate.recall(known).await,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "what was known of companies and keys cannot be read");
        }
    }
}

/// Writes what a gate knows whenever it knows something new, and forgets what is gone.
pub(super) async fn keep(gate: Arc<Gate>, directory: Arc<dyn Directory>, path: PathBuf) {
    let mut looked = Instant::now();
    loop {
        tokio::select! {
            () = gate.news() => tokio::time::sleep(SOON).await,
            () = tokio::time::sleep(AT_LEAST_EVERY) => {}
            () = tokio::time::sleep_until(looked + LOOK_EVERY) => {
                looked = Instant::now();
                forget_gone(&gate, directory.as_ref()).await;
                continue;
            }
        }
        let (known, path) = (gate.known(), path.clone());
        let written = tokio::task::spawn_blocking(move || write(&known, &path)).await;
        if let Ok(Err(error)) = written {
            tracing::warn!(%error, "what is known of companies and keys was not written; a gateway that starts while the database is away does not know them");
        }
        tokio::time::sleep(EVERY).await;
    }
}

async fn forget_gone(gate: &Gate, directory: &dyn Directory) {
    match directory.companies().await {
        Ok(companies) => {
            let companies: HashSet<_> = companies.into_iter().map(|company| company.id).collect();
            gate.forget_others(&companies).await;
        }
        Err(error) => tracing::debug!(%error, "which companies are gone is not known"),
    }
}

fn read(path: &Path) -> io::Result<Known> {
    Ok(serde_json::from_reader(BufReader::new(File::open(path)?))?)
}

/// Writes a file that is there whole or not at all, for its owner alone.
fn write(known: &Known, path: &Path) -> io::Result<()> {
    let part = path.with_extension("tmp");
    let file = OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(&part)?;
    let mut out = BufWriter::new(file);
    serde_json::to_writer(&mut out, known)?;
    out.flush()?;
    out.get_ref().sync_all()?;
    fs::rename(part, path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use axum::http::{HeaderMap, StatusCode, header};
    use axum::response::IntoResponse;
    use tempfile::TempDir;
    use time::OffsetDateTime;

    use super::*;
    use crate::config::{self, Settings, Sources};
    use crate::domain::{ApiKey, Company, CompanyScope, KeyScope};
    use crate::roles::stores::Stores;
    use crate::runtime::tasks;

    fn settings(dir: &Path, more: &[(&str, &str)]) -> Settings {
        let flags = more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let dir = ("storage.data_dir".to_owned(), dir.display().to_string());
        config::load(&Sources { flags: flags.chain([dir]).collect(), ..Sources::default() }).unwrap()
    }

    /// A gate on a directory that answers, and one on a directory that does not.
    fn gates(dir: &TempDir) -> (Arc<Gate>, Gate, Arc<dyn Directory>) {
        let embedded = settings(dir.path(), &[("store.backend", "embedded")]);
        let directory = Stores::open(&embedded).unwrap().directory;
        let away = [("store.backend", "mongodb"), ("store.uri", "mongodb://127.0.0.1:1/"), ("store.timeout_s", "1")];
        let away = settings(dir.path(), &away);
        let successor = Gate::new(Stores::open(&away).unwrap().directory, &away);
        (Arc::new(Gate::new(Arc::clone(&directory), &embedded)), successor, directory)
    }

    async fn add(directory: &dyn Directory, company: &str, secret_of: u8) -> HeaderMap {
        let now = OffsetDateTime::now_utc();
        let company = Company::new(company.parse().unwrap(), now);
        directory.put_company(&company).await.unwrap();
        let (key, secret) = ApiKey::issue(company.id, KeyScope::Backend, [secret_of; 24], now);
        directory.add_key(&key).await.unwrap();
        HeaderMap::from_iter([(header::AUTHORIZATION, format!("Bearer {secret}").parse().unwrap())])
    }

    async fn admits(gate: &Gate, headers: &HeaderMap) -> Result<String, StatusCode> {
        let caller = gate.admit(headers, None, KeyScope::Backend).await;
        caller.map(|caller| caller.company.id.to_string()).map_err(|problem| problem.into_response().status())
    }

    /// Waits until the file says so.
    async fn until_written(path: &Path, is_so: impl Fn(&str) -> bool) -> String {
        for _ in 0..1_000 {
            let text = fs::read_to_string(path).unwrap_or_default();
            if is_so(&text) {
                return text;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("it is not written: {:?}", fs::read_to_string(path));
    }

    #[tokio::test]
    async fn a_gate_believes_what_the_one_before_it_knew_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("known.json");
        let (gate, successor, directory) = gates(&dir);
        let (acme, other) = (add(directory.as_ref(), "acme", 1).await, add(directory.as_ref(), "other", 2).await);
        let keeping = tasks::spawn("known", keep(Arc::clone(&gate), Arc::clone(&directory), path.clone()));
        assert_eq!(admits(&gate, &acme).await, Ok("acme".to_owned()));
        let text = until_written(&path, |text| text.contains("acme")).await;
        keeping.abort();
        let secret = acme[header::AUTHORIZATION].to_str().unwrap().trim_start_matches("Bearer ");
        assert!(!text.contains(secret), "the key itself is written down: {text}");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        recall(&successor, &path).await;
        assert_eq!(admits(&successor, &acme).await, Ok("acme".to_owned()));
        assert_eq!(admits(&successor, &other).await, Err(StatusCode::SERVICE_UNAVAILABLE));
    }

    #[tokio::test]
    async fn what_is_forgotten_goes_from_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("known.json");
        let (gate, _, directory) = gates(&dir);
        let (acme, other) = (add(directory.as_ref(), "acme", 1).await, add(directory.as_ref(), "other", 2).await);
        for (headers, company) in [(&acme, "acme"), (&other, "other")] {
            assert_eq!(admits(&gate, headers).await, Ok(company.to_owned()));
        }
        let keeping = tasks::spawn("known", keep(Arc::clone(&gate), Arc::clone(&directory), path.clone()));
        until_written(&path, |text| text.contains("acme") && text.contains("other")).await;
        // Removed at another gateway.
        directory.remove_company(&CompanyScope::granted("other".parse().unwrap())).await.unwrap();
        forget_gone(&gate, directory.as_ref()).await;
        let text = until_written(&path, |text| !text.contains("other")).await;
        assert!(text.contains("acme"), "{text}");
        keeping.abort();
    }

    #[tokio::test]
    async fn what_was_confirmed_a_day_ago_is_believed_no_more() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("known.json");
        let (gate, successor, directory) = gates(&dir);
        let acme = add(directory.as_ref(), "acme", 1).await;
        assert_eq!(admits(&gate, &acme).await, Ok("acme".to_owned()));
        let mut known = gate.known();
        let ago = OffsetDateTime::now_utc() - Duration::from_secs(24 * 3600 + 1);
        known.keys.iter_mut().for_each(|row| row.confirmed_at = ago);
        write(&known, &path).unwrap();
        recall(&successor, &path).await;
        assert_eq!(admits(&successor, &acme).await, Err(StatusCode::SERVICE_UNAVAILABLE));
    }

    #[tokio::test]
    async fn a_file_that_cannot_be_read_is_as_none() {
        let dir = tempfile::tempdir().unwrap();
        let (gate, ..) = gates(&dir);
        for text in ["", "{", r#"{"companies": 1}"#] {
            let path = dir.path().join("known.json");
            fs::write(&path, text).unwrap();
            recall(&gate, &path).await;
            assert!(gate.known().keys.is_empty());
        }
    }
}
