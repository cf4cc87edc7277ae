//! Fifty kills at random moments, while documents are put and a watched folder changes: nothing that was acknowledged is lost,
//! nothing is there twice, and the store is sound.
//!
//! The process that is killed is this test binary itself, running [`killed_child`] on the same store.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use solo_proto::memory::v1::*;
use solo_testkit::wait_for;

use crate::support::*;

const STORE: &str = "SOLO_MEMORY_KILLED_STORE";
const ROUND: &str = "SOLO_MEMORY_KILLED_ROUND";
const KILLS: usize = 50;
const CONFIG: &str = "[memory.watch]\nsettle_ms = 10\n[memory.upkeep]\nretain_s = 1\nafter_writes = 5\n";

fn text(uri: usize, round: usize, step: usize) -> String {
    words(&format!("u{uri}r{round}s{step}w"), 300)
}

/// Not a test: puts documents until it is killed, and says so after each acknowledgement.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "the process that another test kills"]
async fn killed_child() {
    let Ok(store) = std::env::var(STORE) else { return };
    let round: usize = std::env::var(ROUND).unwrap().parse().unwrap();
    let harness = start_in(store.as_ref(), CONFIG, loader()).await.unwrap();
    let client = Client::new(harness.channel().await);
    for step in 0.. {
        let uri = step % 4;
        client.put(&format!("note:{uri}"), &text(uri, round, step)).await;
        let mut out = std::io::stdout();
        writeln!(out, "\nacknowledged {uri} {step}").unwrap();
        out.flush().unwrap();
    }
}

/// Starts the child, kills it after `life`, and returns the last step that it acknowledged of each URI.
fn kill_after(store: &Path, round: usize, life: Duration) -> BTreeMap<usize, usize> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "fifty::killed_child", "--ignored", "--nocapture"])
        .env(STORE, store)
        .env(ROUND, round.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    std::thread::sleep(life);
    child.kill().unwrap();
    child.wait().unwrap();
    let mut last = BTreeMap::new();
    for line in output.lines().map_while(Result::ok) {
        let words: Vec<&str> = line.split_whitespace().collect();
        if let ["acknowledged", uri, step] = words[..] {
            last.insert(uri.parse().unwrap(), step.parse().unwrap());
        }
    }
    last
}

/// Changes the folder a little, and what it should hold with it.
fn stir(folder: &Path, wanted: &mut BTreeMap<String, String>, random: &mut StdRng, round: usize) {
    for _ in 0..6 {
        let name = format!("{}/{}.txt", random.random_range(0..3), random.random_range(0..12));
        let path = folder.join(&name);
        if random.random_bool(0.25) && wanted.remove(&name).is_some() {
            std::fs::remove_file(path).unwrap();
            continue;
        }
        let content = format!("round {round} {}", words(&format!("f{}x", random.random::<u16>()), 40));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, &content).unwrap();
        wanted.insert(name, content);
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "two minutes: fifty starts"]
async fn model_fifty_kills_lose_and_double_nothing() {
    let (store, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut random = StdRng::seed_from_u64(50);
    let mut wanted = BTreeMap::new();
    let mut known: BTreeMap<usize, (usize, usize)> = BTreeMap::new();
    let harness = start_in(store.path(), CONFIG, loader()).await.unwrap();
    let client = Client::new(harness.channel().await);
    let path = folder.path().to_str().unwrap().to_owned();
    let collection = String::new();
    client.add_watch(AddWatchRequest { path, collection }).await.unwrap();
    harness.stop().await.unwrap();
    for round in 0..KILLS {
        stir(folder.path(), &mut wanted, &mut random, round);
        let life = Duration::from_millis(random.random_range(300..2500));
        let last = kill_after(store.path(), round, life);
        known.extend(last.into_iter().map(|(uri, step)| (uri, (round, step))));
        if round % 10 != 9 {
            continue;
        }
        let harness = start_in(store.path(), CONFIG, loader()).await.unwrap();
        let client = Client::new(harness.channel().await);
        let root = format!("file://{}/", folder.path().display());
        wait_for("the store to equal the folder", Duration::from_secs(60), async || {
            let mut stored = BTreeMap::new();
            for document in client.documents().await {
                if let Some(name) = document.uri.strip_prefix(&root) {
                    let text = client.text_of(&document.id).await.unwrap_or_default();
                    assert!(stored.insert(name.to_owned(), text).is_none(), "{name} is there twice");
                }
            }
            stored == wanted
        })
        .await;
        let documents = client.documents().await;
        for (uri, acknowledged) in &known {
            let named: Vec<_> = documents.iter().filter(|d| d.uri == format!("note:{uri}")).collect();
            assert_eq!(named.len(), 1, "a document is lost or doubled");
            let shown = client.text_of(&named[0].id).await.unwrap();
            let word = shown.split_whitespace().next().unwrap();
            let (_, rest) = word.split_once('r').unwrap();
            let (round, step) = rest.trim_end_matches("w0").split_once('s').unwrap();
            let there: (usize, usize) = (round.parse().unwrap(), step.parse().unwrap());
            assert!(
                there >= *acknowledged,
                "{acknowledged:?} was acknowledged, {there:?} is there"
            );
            assert_eq!(shown, text(*uri, there.0, there.1), "the text is whole");
        }
        let verified = client.verify(VerifyRequest {}).await.unwrap();
        assert_eq!(verified.problems, Vec::<String>::new());
        assert_eq!(verified.documents, documents.len() as u64);
        harness.stop().await.unwrap();
    }
    assert_eq!(known.len(), 4, "something was acknowledged");
}
