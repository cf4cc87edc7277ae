//! Watched folders: the store equals them, whatever happens to them and to the service.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use memory_svc::embedding::{Embedder, EmbeddingError};
use solo_proto::memory::v1::*;
use solo_service::testing::Harness;
use solo_service::{CancelToken, ErrorCode};
use solo_testkit::wait_for;
use tempfile::TempDir;

use crate::support::*;

pub const SOON: Duration = Duration::from_secs(60);
pub const QUICK: &str = "[memory.watch]\nsettle_ms = 50\nrescan_s = 3600\n";

/// Counts the texts that it embeds.
struct Counting(Arc<AtomicUsize>);

impl Embedder for Counting {
    fn embed(&mut self, texts: &[String], cancel: &CancelToken) -> Result<Vec<Vec<f32>>, EmbeddingError> {
        self.0.fetch_add(texts.len(), Ordering::Relaxed);
        WordVectors.embed(texts, cancel)
    }
}

/// A service, the folder that it watches, and how many texts it embedded.
struct Watched {
    harness: Harness,
    client: Client,
    store: TempDir,
    folder: TempDir,
    embedded: Arc<AtomicUsize>,
}

impl Watched {
    async fn start() -> Self {
        let (store, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let watched = Self::start_in(store, folder).await;
        watched.add(watched.folder.path()).await.unwrap();
        watched
    }

    async fn start_in(store: TempDir, folder: TempDir) -> Self {
        let embedded = Arc::new(AtomicUsize::new(0));
        let loader = loader_with("words", Counting(Arc::clone(&embedded)));
        let harness = start_in(store.path(), QUICK, loader).await.unwrap();
        // The warm-up is none of the folder's.
        embedded.store(0, Ordering::Relaxed);
        Self {
            client: Client::new(harness.channel().await),
            harness,
            store,
            folder,
            embedded,
        }
    }

    async fn restart(self, meanwhile: impl FnOnce(&Path)) -> Self {
        self.harness.stop().await.unwrap();
        meanwhile(self.folder.path());
        Self::start_in(self.store, self.folder).await
    }

    async fn add(&self, path: &Path) -> Result<Watch, tonic::Status> {
        let request = AddWatchRequest {
            path: path.to_str().unwrap().into(),
            collection: String::new(),
        };
        Ok(self.client.add_watch(request).await?.watch.unwrap())
    }

    fn write(&self, name: &str, content: &str) {
        write(self.folder.path(), name, content);
    }

    async fn only(&self) -> Watch {
        let mut list = self.client.list_watches(ListWatchesRequest {}).await.unwrap().watches;
        assert_eq!(list.len(), 1);
        list.remove(0)
    }

    /// Content by path, as the store has it.
    async fn stored(&self) -> BTreeMap<String, String> {
        let root = format!("file://{}/", self.folder.path().display());
        let mut stored = BTreeMap::new();
        for document in self.client.documents().await {
            let name = document.uri.strip_prefix(&root).expect("it lies in the folder");
            // Gone meanwhile: then the next look sees it.
            if let Ok(text) = self.client.text_of(&document.id).await {
                assert!(stored.insert(name.to_owned(), text).is_none(), "{name} is there twice");
            }
        }
        stored
    }

    async fn equals(&self, wanted: &[(&str, &str)]) {
        let wanted: BTreeMap<String, String> = wanted
            .iter()
            .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()))
            .collect();
        wait_for("the folder", SOON, async || self.stored().await == wanted).await;
    }

    /// Waits until the service says that the store equals the folder.
    async fn settled(&self) -> Watch {
        wait_for("the folder", SOON, async || {
            let watch = self.only().await;
            watch.state() == WatchState::Following && watch.done == watch.total
        })
        .await;
        self.only().await
    }
}

pub fn write(folder: &Path, name: &str, content: &str) {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, content).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_to_a_folder_happens_to_the_store() {
    let watched = Watched::start().await;
    let folder = watched.folder.path();
    watched.write("a.txt", "the first file");
    watched.write("deep/er/b.md", "# Second\n\nfile");
    watched
        .equals(&[("a.txt", "the first file"), ("deep/er/b.md", "# Second\n\nfile")])
        .await;
    let embedded = watched.embedded.load(Ordering::Relaxed);
    watched.write("a.txt", "the first file, changed");
    std::fs::rename(folder.join("deep"), folder.join("moved")).unwrap();
    watched
        .equals(&[
            ("a.txt", "the first file, changed"),
            ("moved/er/b.md", "# Second\n\nfile"),
        ])
        .await;
    assert_eq!(
        watched.embedded.load(Ordering::Relaxed),
        embedded + 1,
        "what has another name only is not embedded again"
    );
    std::fs::remove_file(folder.join("a.txt")).unwrap();
    watched.equals(&[("moved/er/b.md", "# Second\n\nfile")]).await;
    std::fs::remove_dir_all(folder.join("moved")).unwrap();
    watched.equals(&[]).await;
    assert_eq!(watched.settled().await.files, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changed_while_the_service_was_down_is_found_at_its_start() {
    let watched = Watched::start().await;
    let name = |n: usize| format!("{}/{n}.txt", n % 7);
    for n in 0..120 {
        watched.write(&name(n), &format!("file number{n}"));
    }
    wait_for("the folder", SOON, async || {
        watched.client.documents().await.len() == 120
    })
    .await;
    let watched = watched
        .restart(|folder| {
            for n in 0..12 {
                write(folder, &name(n), &format!("changed number{n}"));
            }
            for n in 12..18 {
                std::fs::remove_file(folder.join(name(n))).unwrap();
            }
            for n in 18..22 {
                std::fs::rename(folder.join(name(n)), folder.join(format!("renamed{n}.txt"))).unwrap();
            }
        })
        .await;
    let wanted: Vec<(String, String)> = (0..120)
        .filter(|n| !(12..18).contains(n))
        .map(|n| match n {
            0..12 => (name(n), format!("changed number{n}")),
            18..22 => (format!("renamed{n}.txt"), format!("file number{n}")),
            _ => (name(n), format!("file number{n}")),
        })
        .collect();
    let wanted: Vec<(&str, &str)> = wanted.iter().map(|(n, t)| (n.as_str(), t.as_str())).collect();
    watched.equals(&wanted).await;
    assert_eq!(
        watched.embedded.load(Ordering::Relaxed),
        12,
        "only what changed is embedded"
    );
    assert_eq!(watched.settled().await.files, 114);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_taken_in_is_named_with_the_reason() {
    let watched = Watched::start().await;
    watched.write("good.txt", "a good file");
    watched.write("line\nbreak é.txt", "an odd name");
    watched.write("broken.pdf", "%PDF-1.4 and nothing");
    watched.write("latin.txt", "x");
    std::fs::write(watched.folder.path().join("latin.txt"), b"Gr\xFC\xDFe").unwrap();
    watched.write("picture.png", "no text");
    watched.write(
        "letter.eml",
        "Subject: Map\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nSee there.\r\n--b\r\n\
         Content-Disposition: attachment; filename=map.pdf\r\n\r\nxx\r\n--b--\r\n",
    );
    watched.write("empty.txt", "");
    watched.write("secret/hidden.txt", "ignored");
    watched.write(".soloignore", "secret/\n");
    std::os::unix::fs::symlink("/etc/hostname", watched.folder.path().join("link.txt")).unwrap();
    let long = "x".repeat(900_000);
    watched.write("long.txt", &long);
    wait_for("the folder", SOON, async || {
        let watch = watched.only().await;
        (watch.failures.len(), watch.unsupported, watch.files) == (5, 1, 4)
    })
    .await;
    watched
        .equals(&[
            ("good.txt", "a good file"),
            ("letter.eml", "Subject: Map\nAttachments: map.pdf\n\nSee there."),
            ("line%0Abreak%20%C3%A9.txt", "an odd name"),
            ("long.txt", &long[..262_144]),
        ])
        .await;
    let failures = watched.only().await.failures;
    let reason = |name: &str| {
        let failure = failures.iter().find(|failure| failure.path.ends_with(name));
        failure.unwrap_or_else(|| panic!("{name} is not named")).reason.clone()
    };
    assert!(reason("broken.pdf").contains("broken"));
    assert!(reason("letter.eml").starts_with("taken in, but the attachments"));
    assert!(reason("latin.txt").contains("not UTF-8"));
    assert!(reason("empty.txt").contains("no text"));
    assert!(reason("link.txt").contains("not followed"));
    // Once it is mended, it is taken in.
    watched.write("latin.txt", "Grüße");
    wait_for("the folder", SOON, async || watched.only().await.failures.len() == 4).await;
    assert!(watched.stored().await.contains_key("latin.txt"));
    // What is not ignored any more, too.
    watched.write(".soloignore", "");
    wait_for("the folder", SOON, async || {
        watched.stored().await.contains_key("secret/hidden.txt")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_is_gone_takes_nothing_with_it() {
    let watched = Watched::start().await;
    watched.write("a.txt", "the only file");
    watched.equals(&[("a.txt", "the only file")]).await;
    let (folder, elsewhere) = (watched.folder.path().to_owned(), watched.store.path().join("away"));
    let watched = watched
        .restart(|folder| std::fs::rename(folder, &elsewhere).unwrap())
        .await;
    wait_for("the folder", SOON, async || {
        watched.only().await.state() == WatchState::Waiting
    })
    .await;
    assert!(watched.only().await.problem.contains("not there"));
    assert_eq!(watched.only().await.path, folder.to_str().unwrap());
    assert_eq!(watched.client.documents().await.len(), 1);
    std::fs::rename(&elsewhere, &folder).unwrap();
    watched.write("b.txt", "another");
    watched
        .equals(&[("a.txt", "the only file"), ("b.txt", "another")])
        .await;
    assert_eq!(watched.settled().await.problem, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn watches_are_added_listed_and_removed_by_their_owner() {
    let watched = Watched::start().await;
    watched.write("x/a.txt", "the only file");
    watched.equals(&[("x/a.txt", "the only file")]).await;
    let watch = watched.only().await;
    for path in [watched.folder.path(), &watched.folder.path().join("x")] {
        let message = refused(watched.add(path).await, ErrorCode::InvalidArgument, "WATCH_OVERLAPS");
        assert!(message.contains(&watch.id), "{message}");
    }
    for path in ["/nowhere/at/all", "relative", "/etc/hostname"] {
        refused(watched.add(path.as_ref()).await, ErrorCode::InvalidArgument, "BAD_PATH");
    }
    let eve = watched.client.of("eve");
    assert!(
        eve.list_watches(ListWatchesRequest {})
            .await
            .unwrap()
            .watches
            .is_empty()
    );
    let remove = |id: &str, keep_documents| RemoveWatchRequest {
        id: id.into(),
        keep_documents,
    };
    refused(
        eve.remove_watch(remove(&watch.id, false)).await,
        ErrorCode::NotFound,
        "WATCH_NOT_FOUND",
    );
    let kept = watched.client.remove_watch(remove(&watch.id, true)).await.unwrap();
    assert_eq!((kept.documents, watched.client.documents().await.len()), (0, 1));
    let again = watched.add(watched.folder.path()).await.unwrap();
    watched.settled().await;
    assert_eq!(watched.client.documents().await.len(), 1, "what was kept is known");
    let removed = watched.client.remove_watch(remove(&again.id, false)).await.unwrap();
    assert_eq!((removed.documents, watched.client.documents().await.len()), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn forgetting_everything_ends_the_watches_too() {
    let watched = Watched::start().await;
    watched.write("a.txt", "about me");
    watched.equals(&[("a.txt", "about me")]).await;
    let selector = Some(forget_request::Selector::Everything(true));
    watched.client.forget(ForgetRequest { selector }).await.unwrap();
    watched.write("b.txt", "about me, too");
    let list = watched.client.list_watches(ListWatchesRequest {}).await.unwrap();
    assert!(list.watches.is_empty());
    let watched = watched.restart(|_| ()).await;
    assert!(watched.client.documents().await.is_empty());
}
