//! The same on object storage, spoken to over HTTP: moto's S3, started by each test. `cargo make test-s3` says where Python and
//! the credentials come from.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use solo_proto::memory::v1::*;
use solo_testkit::wait_for;
use tempfile::TempDir;

use crate::pair::{Pair, both_write, each_sees_the_others_writes, one_of_two_supersedes};
use crate::support::*;

const SOON: Duration = Duration::from_secs(30);
const BUCKET: &str = "solo";

/// A server with an empty bucket, which ends with the test.
struct Server {
    process: Child,
    port: u16,
    data: TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ended_before = self.process.kill();
        let _status = self.process.wait();
    }
}

impl Server {
    async fn start() -> Self {
        let python = std::env::var("SOLO_MOTO").expect("SOLO_MOTO names a Python that has moto: `cargo make test-s3`");
        assert!(
            std::env::var("AWS_ACCESS_KEY_ID").is_ok(),
            "credentials come from the environment: `cargo make test-s3`"
        );
        // Free a moment ago; the server cannot tell which one it took.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let process = Command::new(python)
            .args([
                concat!(env!("CARGO_MANIFEST_DIR"), "/tests/s3/server.py"),
                &port.to_string(),
            ])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let server = Self {
            process,
            port,
            data: tempfile::tempdir().unwrap(),
        };
        wait_for("a bucket", SOON, async || {
            server.make_bucket().is_ok_and(|answer| answer.contains(" 200 "))
        })
        .await;
        server
    }

    fn make_bucket(&self) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        let host = format!("127.0.0.1:{}", self.port);
        write!(
            stream,
            "PUT /{BUCKET} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    fn overrides(&self) -> String {
        let endpoint = format!("http://127.0.0.1:{}", self.port);
        format!(
            "refresh_ms = 50\n[memory.s3]\nendpoint = {endpoint:?}\nregion = \"us-east-1\"\nallow_http = true\n\
             [memory.upkeep]\nafter_writes = 8\n[global]\ndata_dir = {:?}\n",
            self.data.path()
        )
    }

    async fn pair(&self, place: &str) -> Pair {
        Pair::start_at(Path::new(&format!("s3://{BUCKET}/{place}")), &self.overrides()).await
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs moto: cargo make test-s3"]
async fn s3_a_store_in_a_bucket_is_there_after_a_restart() {
    let server = Server::start().await;
    let place = format!("s3://{BUCKET}/a/store");
    let start = async || {
        start_in(Path::new(&place), &server.overrides(), loader())
            .await
            .unwrap()
    };
    let harness = start().await;
    let client = Client::new(harness.channel().await);
    client.put("file:///heron", "a heron in the reeds").await;
    let owl = client.put("file:///owl", "an owl in the barn").await.document;
    client.put("file:///heron", &words("heron", 450)).await;
    client.delete(&[&owl.id]).await.unwrap();
    harness.stop().await.unwrap();
    let harness = start().await;
    let client = Client::new(harness.channel().await);
    let documents = client.documents().await;
    assert_eq!((documents.len(), documents[0].version), (1, 2));
    assert_eq!(client.text_of(&documents[0].id).await.unwrap(), words("heron", 450));
    assert_eq!(client.find("heron7").await.len(), documents[0].chunks as usize);
    assert_eq!(
        client.verify(VerifyRequest {}).await.unwrap().problems,
        Vec::<String>::new()
    );
    assert!(
        std::fs::read_dir(server.data.path().join("memory"))
            .unwrap()
            .next()
            .is_none(),
        "all is in the bucket"
    );
    harness.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs moto: cargo make test-s3"]
async fn s3_two_services_see_each_others_writes() {
    let server = Server::start().await;
    let mut pair = server.pair("seen").await;
    each_sees_the_others_writes(&pair).await;
    pair.restart_second().await;
    each_sees_the_others_writes(&pair).await;
    pair.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs moto: cargo make test-s3"]
async fn s3_two_services_write_the_same_documents_at_once() {
    let server = Server::start().await;
    both_write(&server.pair("both").await, 4).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs moto: cargo make test-s3"]
async fn s3_of_two_that_supersede_a_fact_one_wins() {
    let server = Server::start().await;
    one_of_two_supersedes(&server.pair("facts").await, 3).await;
}
