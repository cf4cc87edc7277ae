//! What was acknowledged survives `kill -9`; what was under way happened wholly or not at all.
//!
//! The process that is killed is this test binary itself, running [`crash_child`] on the same store.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use solo_proto::memory::v1::*;

use crate::support::*;

const FOLDER: &str = "SOLO_MEMORY_CRASH_FOLDER";
const ROUND: &str = "SOLO_MEMORY_CRASH_ROUND";
const URIS: usize = 5;

/// A document that says which version of which document each of its words belongs to.
fn text(uri: usize, round: usize, step: usize) -> String {
    words(&format!("u{uri}r{round}s{step}w"), 450)
}

/// Round and step of a text.
fn parse(text: &str) -> (usize, usize) {
    let word = text.split_whitespace().next().unwrap();
    let (_, rest) = word.split_once('r').unwrap();
    let (round, rest) = rest.split_once('s').unwrap();
    (round.parse().unwrap(), rest.split_once('w').unwrap().0.parse().unwrap())
}

/// Not a test: puts documents until it is killed, and says so after each acknowledgement.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "the process that another test kills"]
async fn crash_child() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let round: usize = std::env::var(ROUND).unwrap().parse().unwrap();
    let harness = start_in(
        folder.as_ref(),
        "[memory.upkeep]\nretain_s = 1\nafter_writes = 3\n",
        loader(),
    )
    .await
    .unwrap();
    let client = Client::new(harness.channel().await);
    for step in 0.. {
        let uri = step % URIS;
        client.put(&format!("file:///{uri}"), &text(uri, round, step)).await;
        let mut out = std::io::stdout();
        writeln!(out, "\nacknowledged {uri} {step}").unwrap();
        out.flush().unwrap();
    }
}

/// Starts the child, waits for so many acknowledgements, kills it, and returns the last one of each URI.
fn crash(folder: &std::path::Path, round: usize, acknowledgements: usize) -> BTreeMap<usize, usize> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "durability::crash_child", "--ignored", "--nocapture"])
        .env(FOLDER, folder)
        .env(ROUND, round.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut last = BTreeMap::new();
    let mut read = |line: &str| {
        let mut words = line.split_whitespace();
        if words.next() == Some("acknowledged") {
            let mut number = || words.next().unwrap().parse::<usize>().unwrap();
            last.insert(number(), number());
            return 1;
        }
        0
    };
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut seen = 0;
    while seen < acknowledgements {
        seen += read(&lines.next().expect("the child lives until it is killed").unwrap());
    }
    child.kill().unwrap();
    child.wait().unwrap();
    // What it had acknowledged before the signal came counts too; a torn last line does not.
    for line in lines
        .map_while(Result::ok)
        .filter(|line| line.split_whitespace().count() == 3)
    {
        read(&line);
    }
    last
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let mut known: BTreeMap<usize, (usize, usize)> = BTreeMap::new();
    for (round, acknowledgements) in [1, 4, 7, 11].into_iter().enumerate() {
        let last = crash(folder.path(), round, acknowledgements);
        known.extend(last.into_iter().map(|(uri, step)| (uri, (round, step))));
        let harness = start_in(folder.path(), "", loader()).await.unwrap();
        let client = Client::new(harness.channel().await);
        let documents = client.documents().await;
        for (uri, acknowledged) in &known {
            let named: Vec<_> = documents.iter().filter(|d| d.uri == format!("file:///{uri}")).collect();
            assert_eq!(named.len(), 1, "a document is lost or doubled");
            let shown = client.text_of(&named[0].id).await.unwrap();
            let (round, step) = parse(&shown);
            assert!(
                (round, step) >= *acknowledged,
                "{uri}: {acknowledged:?} was acknowledged, {round} {step} is there"
            );
            assert_eq!(shown, text(*uri, round, step), "the text is whole");
        }
        // Every chunk that can be found belongs to its document's present version, and none is missing.
        let found = client
            .search(SearchRequest {
                limit: 100,
                ..query("u0")
            })
            .await
            .unwrap();
        let chunks: u64 = documents.iter().map(|document| u64::from(document.chunks)).sum();
        assert_eq!((found.searched, found.hits.len() as u64), (chunks, chunks.min(100)));
        let status = harness.context().status.snapshot();
        let stored = status.gauges.iter().find(|gauge| gauge.name == "chunks").unwrap().value;
        assert_eq!(stored, chunks as f64, "strays were swept");
        harness.stop().await.unwrap();
    }
}
