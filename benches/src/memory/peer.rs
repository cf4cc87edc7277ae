//! What memory-svc is held against: sentence-transformers and Chroma (`benches/peers/memory`).

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use solo_testkit::fixtures::require_model;

use super::{DIMENSION, MODEL, THREADS};
use crate::process::{peak_mib, peers, tied};

fn program(name: &str) -> Command {
    let program = peers()
        .expect("the machine names a cache folder")
        .join("memory/venv/bin")
        .join(name);
    assert!(
        program.is_file(),
        "{} is not there: run `cargo make bench-peers-memory`",
        program.display()
    );
    Command::new(program)
}

/// The Python process. Dropping it ends it.
pub struct Python {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Python {
    /// Starts it and waits until its model is loaded and warm.
    pub fn start() -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/memory/peer.py");
        let weights = require_model(MODEL, "model.safetensors");
        let mut command = program("python");
        command
            .arg(script)
            .arg("--model")
            .arg(weights.parent().expect("a file lies in a folder"))
            .args(["--threads", &THREADS.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = tied(&mut command).spawn().expect("Python runs");
        let input = child.stdin.take().expect("its input is a pipe");
        let output = BufReader::new(child.stdout.take().expect("its output is a pipe"));
        let mut python = Self { child, input, output };
        python.answer();
        python
    }

    /// Fills the Chroma at a port with vectors; the name of its collection.
    pub fn fill(&mut self, vectors: &Path, count: usize, port: u16) -> String {
        let answer = self.ask(&json!({ "fill": vectors, "count": count, "dimension": DIMENSION, "port": port }));
        answer["collection"].as_str().expect("a collection").to_owned()
    }

    /// Takes documents in; pieces, seconds and the peak of its memory in MiB.
    pub fn ingest(&mut self, documents: &Path, folder: &Path) -> (f64, f64, f64) {
        let answer = self.ask(&json!({ "ingest": documents, "folder": folder }));
        let number = |key: &str| answer[key].as_f64().expect("a number");
        (number("pieces"), number("seconds"), number("peak_mib"))
    }

    fn ask(&mut self, job: &Value) -> Value {
        writeln!(self.input, "{job}").expect("Python reads");
        self.input.flush().expect("Python reads");
        self.answer()
    }

    fn answer(&mut self) -> Value {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("Python answers");
        serde_json::from_str(&line).unwrap_or_else(|_| panic!("Python ended, or said {line:?}"))
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        // Already gone is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Chroma's server. Dropping it ends it.
pub struct Chroma {
    child: Child,
    port: u16,
    http: reqwest::Client,
}

impl Chroma {
    /// Starts it on a folder and waits until it answers.
    pub async fn start(folder: &Path) -> Self {
        let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = free.local_addr().expect("a bound port").port();
        drop(free);
        let mut command = program("chroma");
        command
            .args(["run", "--host", "127.0.0.1", "--port", &port.to_string(), "--path"])
            .arg(folder)
            .env("ANONYMIZED_TELEMETRY", "False")
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        let child = tied(&mut command).spawn().expect("Chroma runs");
        let chroma = Self {
            child,
            port,
            http: reqwest::Client::new(),
        };
        let limit = Instant::now() + Duration::from_secs(60);
        let heartbeat = format!("http://127.0.0.1:{port}/api/v2/heartbeat");
        while chroma.http.get(&heartbeat).send().await.is_err() {
            assert!(Instant::now() < limit, "Chroma does not answer");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        chroma
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The most memory that it ever had resident, in MiB.
    pub fn peak_mib(&self) -> f64 {
        peak_mib(self.child.id())
    }

    /// The rows nearest to a vector, with their texts and what is kept with them.
    pub async fn search(&self, collection: &str, vector: &[f32], limit: usize) -> Vec<usize> {
        let address = format!(
            "http://127.0.0.1:{}/api/v2/tenants/default_tenant/databases/default_database/collections/{collection}/query",
            self.port
        );
        let query = json!({
            "query_embeddings": [vector],
            "n_results": limit,
            "include": ["documents", "metadatas", "distances"],
        });
        let answer = self.http.post(address).json(&query).send().await.expect("an answer");
        let answer: Value = answer.json().await.expect("JSON");
        let ids = answer["ids"][0]
            .as_array()
            .unwrap_or_else(|| panic!("Chroma said {answer}"));
        ids.iter()
            .map(|id| id.as_str().and_then(|id| id.parse().ok()).expect("a row's number"))
            .collect()
    }
}

impl Drop for Chroma {
    fn drop(&mut self) {
        // Already gone is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
