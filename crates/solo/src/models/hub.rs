//! The model hub: does it answer, and a file of it, taken up where an earlier download broke off.
//!
//! hf-hub's own cache is not used: it would keep a second copy of every model.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use futures::StreamExt;
use hf_hub::{HFClient, HFError};
use solo_models::{HubFile, HubSource};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::progress::Progress;
use super::store::{Staged, remove_all};

/// How long the hub may take to accept a connection before it counts as out of reach.
const ANSWERS_WITHIN: Duration = Duration::from_secs(3);
/// How long it may be silent within a download.
const IDLE: Duration = Duration::from_secs(60);
/// Attempts in a row that bring nothing before a download is given up.
const FRUITLESS_ATTEMPTS: u32 = 3;
/// The pause before such an attempt, times their number.
const PAUSE: Duration = Duration::from_millis(500);

/// The hub that HF_ENDPOINT names, or the official one.
pub(super) struct Hub {
    client: HFClient,
}

impl Hub {
    pub(super) fn new() -> anyhow::Result<Self> {
        let client = HFClient::builder().cache_enabled(false).build();
        Ok(Self {
            client: client.context("the model hub's client cannot be set up")?,
        })
    }

    /// A hub at another address.
    #[cfg(test)]
    fn at(endpoint: &str) -> Self {
        let client = HFClient::builder()
            .cache_enabled(false)
            .endpoint(endpoint)
            .retry_max_attempts(0)
            .build();
        Self {
            client: client.expect("a client needs no network to be built"),
        }
    }

    /// True when it accepts a connection within three seconds.
    pub(super) async fn answers(&self) -> bool {
        let Some(address) = host_and_port(self.client.endpoint()) else {
            return false;
        };
        matches!(timeout(ANSWERS_WITHIN, TcpStream::connect(address)).await, Ok(Ok(_)))
    }

    /// Downloads a file of `bytes` bytes into the folder `staging`, where what arrived stays if it breaks off.
    pub(super) async fn fetch(
        &self,
        source: &HubSource,
        file: &HubFile,
        bytes: u64,
        staging: &Path,
        progress: &Progress,
    ) -> anyhow::Result<Staged> {
        let path = staging.join(&file.install);
        if length(&path) > bytes {
            remove_all(&path);
        }
        progress.phase(bytes, &file.path);
        let mut fruitless = 0;
        loop {
            let have = length(&path);
            progress.set(have);
            if have >= bytes {
                break;
            }
            let Err(error) = self.append(source, file, have, bytes, &path, progress).await else {
                continue;
            };
            fruitless = if length(&path) > have { 0 } else { fruitless + 1 };
            if fruitless == FRUITLESS_ATTEMPTS {
                let kept = "what arrived is kept: the same command goes on from there";
                return Err(error.context(format!("cannot download {} from {} ({kept})", file.path, source.repo)));
            }
            progress.say(&format!("{}: the download broke off ({error:#}), going on", file.path));
            tokio::time::sleep(PAUSE * fruitless).await;
        }
        progress.phase(bytes, "checking");
        let (_, sha256) = solo_models::sha256_file(&path, |n| progress.add(n))
            .with_context(|| format!("cannot read {}", path.display()))?;
        if sha256 != file.sha256 {
            remove_all(&path);
            bail!(
                "{} of {} has the sha256 {sha256}, expected {}",
                file.path,
                source.repo,
                file.sha256
            );
        }
        Ok(Staged {
            name: file.install.clone(),
            path,
            sha256,
        })
    }

    /// Appends what the hub sends from `have` on. Ok means that at least something came.
    async fn append(
        &self,
        source: &HubSource,
        file: &HubFile,
        have: u64,
        bytes: u64,
        path: &Path,
        progress: &Progress,
    ) -> anyhow::Result<()> {
        let (owner, name) = source
            .repo
            .split_once('/')
            .context("the hub repository is not owner/name")?;
        let repository = self.client.model(owner, name);
        let opening = repository
            .download_file_stream()
            .filename(file.path.clone())
            .revision(source.revision.clone())
            .range(have..bytes)
            .send();
        let opened = timeout(IDLE, opening).await.context("the hub is silent")?;
        let (_, mut stream) = opened.map_err(|e| plain(&e))?;
        let mut out = File::options().create(true).append(true).open(path)?;
        let mut written = have;
        loop {
            let chunk = match timeout(IDLE, stream.next()).await.context("the hub is silent")? {
                Some(chunk) => chunk.map_err(|e| plain(&e))?,
                None if written == have => bail!("the hub sends nothing"),
                None => return Ok(()),
            };
            // A hub that ignores the range starts at the beginning and would not stop in time.
            if written + chunk.len() as u64 > bytes {
                out.set_len(have)?;
                bail!("the hub sends more than was asked for");
            }
            out.write_all(&chunk)?;
            written += chunk.len() as u64;
            progress.set(written);
        }
    }
}

/// The innermost cause: the layers above it repeat the address and each other.
fn plain(error: &HFError) -> anyhow::Error {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    anyhow::anyhow!("{cause}")
}

fn length(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |meta| meta.len())
}

/// "https://host[:port]/…" as what a socket connects to.
fn host_and_port(endpoint: &str) -> Option<(String, u16)> {
    let (scheme, rest) = endpoint.split_once("://")?;
    let default = if scheme == "http" { 80 } else { 443 };
    let authority = rest.split('/').next()?.rsplit('@').next()?;
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => {
            Some((host.trim_matches(['[', ']']).to_owned(), port.parse().ok()?))
        }
        _ => Some((authority.trim_matches(['[', ']']).to_owned(), default)),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use sha2::{Digest, Sha256};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    const WEIGHTS: &[u8] = b"0123456789abcdefghijklmnopqrstuvwxyz";

    /// A hub with one file, which hangs up after `piece` bytes of each answer. Counts the downloads.
    async fn hub(piece: usize) -> (String, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let downloads = Arc::new(AtomicUsize::new(0));
        let count = downloads.clone();
        tokio::spawn(async move {
            loop {
                let (mut socket, _) = listener.accept().await.unwrap();
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    match socket.read_u8().await {
                        Ok(byte) => request.push(byte),
                        // Somebody only wanted to know whether the hub answers.
                        Err(_) => break,
                    }
                }
                if request.is_empty() {
                    continue;
                }
                let request = String::from_utf8(request).unwrap().to_lowercase();
                assert!(request.contains(" /o/n/resolve/r1/dir/weights.bin "), "{request}");
                let start = request
                    .lines()
                    .find_map(|line| line.strip_prefix("range: bytes="))
                    .map_or(0, |range| range.split('-').next().unwrap().parse::<usize>().unwrap());
                let rest = &WEIGHTS[start..];
                let head = format!(
                    "HTTP/1.1 {}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                    if start > 0 { "206 Partial Content" } else { "200 OK" },
                    rest.len()
                );
                socket.write_all(head.as_bytes()).await.unwrap();
                if request.starts_with("get") {
                    count.fetch_add(1, Ordering::SeqCst);
                    socket.write_all(&rest[..rest.len().min(piece)]).await.unwrap();
                }
            }
        });
        (endpoint, downloads)
    }

    fn source(sha256: &str) -> HubSource {
        HubSource {
            repo: "o/n".to_owned(),
            revision: "r1".to_owned(),
            tested: true,
            note: None,
            targets: vec![],
            files: vec![HubFile {
                install: "model.bin".to_owned(),
                path: "dir/weights.bin".to_owned(),
                bytes: None,
                sha256: sha256.to_owned(),
            }],
        }
    }

    async fn fetch(endpoint: &str, sha256: &str, staging: &Path) -> anyhow::Result<Staged> {
        let source = source(sha256);
        let progress = Progress::new("m", 0);
        Hub::at(endpoint)
            .fetch(&source, &source.files[0], WEIGHTS.len() as u64, staging, &progress)
            .await
    }

    #[tokio::test]
    async fn a_download_that_breaks_off_goes_on_where_it_was() {
        let (endpoint, downloads) = hub(10).await;
        assert!(Hub::at(&endpoint).answers().await);
        let dir = tempfile::tempdir().unwrap();
        // What an earlier run left.
        fs::write(dir.path().join("model.bin"), &WEIGHTS[..6]).unwrap();
        let staged = fetch(&endpoint, &hex::encode(Sha256::digest(WEIGHTS)), dir.path())
            .await
            .unwrap();
        assert_eq!(fs::read(&staged.path).unwrap(), WEIGHTS);
        assert_eq!(downloads.load(Ordering::SeqCst), 3, "30 bytes, 10 at a time");
    }

    #[tokio::test]
    async fn wrong_bytes_are_thrown_away() {
        let (endpoint, _) = hub(100).await;
        let dir = tempfile::tempdir().unwrap();
        let error = fetch(&endpoint, &"0".repeat(64), dir.path())
            .await
            .unwrap_err()
            .to_string();
        assert!(error.starts_with("dir/weights.bin of o/n has the sha256 "), "{error}");
        assert!(!dir.path().join("model.bin").exists());
    }

    #[tokio::test]
    async fn a_hub_that_is_gone_does_not_answer() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        drop(listener);
        assert!(!Hub::at(&endpoint).answers().await);
        let dir = tempfile::tempdir().unwrap();
        let error = fetch(&endpoint, "", dir.path()).await.unwrap_err().to_string();
        assert!(error.contains("the same command goes on from there"), "{error}");
    }

    #[test]
    fn addresses_of_endpoints() {
        assert_eq!(
            host_and_port("https://hub.example"),
            Some(("hub.example".to_owned(), 443))
        );
        assert_eq!(
            host_and_port("http://hub.example/prefix"),
            Some(("hub.example".to_owned(), 80))
        );
        assert_eq!(
            host_and_port("http://127.0.0.1:8123/"),
            Some(("127.0.0.1".to_owned(), 8123))
        );
        assert_eq!(host_and_port("http://[::1]:80"), Some(("::1".to_owned(), 80)));
        assert_eq!(host_and_port("https://[::1]"), Some(("::1".to_owned(), 443)));
        assert_eq!(host_and_port("nonsense"), None);
    }
}
