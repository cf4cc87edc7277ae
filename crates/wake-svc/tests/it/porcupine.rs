//! Porcupine's engine against a library that speaks its interface: `fake_porcupine.c`, compiled here by the linker's own
//! compiler. Picovoice's library is not ours to have.

use std::path::{Path, PathBuf};
use std::process::Command;

use solo_proto::wake::v1::wake_service_client::WakeServiceClient;
use solo_proto::wake::v1::{KeywordConfig, ListKeywordsRequest};
use solo_service::StartupError;
use solo_service::testing::Harness;
use tempfile::TempDir;
use tonic::transport::Channel;

use crate::fake::{chunks, config, keyword, listen};

/// A variable of the test's environment that is there and is no key: the fake takes its value for one.
const KEY: &str = "PATH";

/// A folder with the library and what it reads.
struct Porcupine {
    folder: TempDir,
}

impl Porcupine {
    /// `version` is what the library says it is; `answer` is written where it looks for what to answer.
    fn new(version: &str, answer: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/fake_porcupine.c");
        let output = Command::new("cc")
            .args(["-shared", "-fPIC", "-o"])
            .arg(folder.path().join("libpv_porcupine.so"))
            .arg(format!("-DVERSION=\"{version}\""))
            .arg(source)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let porcupine = Self { folder };
        std::fs::write(porcupine.path("porcupine_params.pv"), answer).unwrap();
        std::fs::write(porcupine.path("jarvis.ppn"), "").unwrap();
        std::fs::write(porcupine.path("alexa.ppn"), "").unwrap();
        porcupine
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    async fn start(&self, more: &str) -> Result<(Harness, WakeServiceClient<Channel>), StartupError> {
        let path = |name: &str| self.path(name).display().to_string();
        let key = if more.contains("access_key_env") {
            String::new()
        } else {
            format!("access_key_env = \"{KEY}\"\n")
        };
        let library = if more.contains("library =") {
            String::new()
        } else {
            format!("library = {:?}\n", path("libpv_porcupine.so"))
        };
        let overrides = format!(
            "[wake]\nengine = \"porcupine\"\nkeywords = [\"jarvis=0.3\"]\n[wake.porcupine]\n{key}{library}parameters = {:?}\n\
             keyword_files = [\"jarvis={}\", \"alexa={}\"]\n{more}",
            path("porcupine_params.pv"),
            path("jarvis.ppn"),
            path("alexa.ppn"),
        );
        let harness = Harness::start(wake_svc::DEFINITION, &overrides, wake_svc::build).await?;
        let client = WakeServiceClient::new(harness.channel().await);
        Ok((harness, client))
    }

    async fn refused(&self, more: &str) -> StartupError {
        self.start(more).await.err().expect("it should not have started")
    }
}

#[tokio::test]
async fn its_keywords_are_heard_where_they_end() {
    let porcupine = Porcupine::new("4.0.0", "");
    let (_harness, mut client) = porcupine.start("").await.unwrap();
    // The fake hears keyword n in a frame that begins with 1000 + n, when its sensitivity is at least the second sample.
    let mut samples = vec![0; 512 * 8];
    samples[512 * 2] = 1000;
    samples[512 * 2 + 1] = 70;
    samples[512 * 5] = 1001;
    for length in [160, 512, 1600] {
        let both = vec![keyword("jarvis"), keyword("alexa")];
        let requests = [vec![config(both)], chunks(0, &samples, length)].concat();
        let (started, wakes) = listen(&mut client, requests).await.unwrap();
        assert_eq!(started.engine, "porcupine");
        let heard: Vec<_> = wakes
            .iter()
            .map(|wake| (wake.keyword.as_str(), wake.end_sample, wake.score))
            .collect();
        assert_eq!(
            heard,
            [("jarvis", 512 * 3, 1.0), ("alexa", 512 * 6, 1.0)],
            "chunks of {length}"
        );
    }
    // A threshold of 0.4 is a sensitivity of 0.6: not enough for 70 of a hundred.
    let strict = KeywordConfig {
        threshold: Some(0.4),
        ..keyword("jarvis")
    };
    let requests = [vec![config(vec![strict])], chunks(0, &samples, 512)].concat();
    assert_eq!(listen(&mut client, requests).await.unwrap().1, []);
    let twice = KeywordConfig {
        trigger_count: Some(2),
        ..keyword("jarvis")
    };
    let refused = listen(&mut client, vec![config(vec![twice])]).await.unwrap_err();
    assert!(refused.message().contains("1 to 1 is wanted"), "{}", refused.message());
    let listed = client.list_keywords(ListKeywordsRequest {}).await.unwrap().into_inner();
    let listed: Vec<_> = listed
        .keywords
        .iter()
        .map(|known| {
            (
                known.keyword.as_str(),
                known.active,
                known.installed,
                known.licence.as_str(),
            )
        })
        .collect();
    assert_eq!(
        listed,
        [
            ("jarvis", true, true, "LicenseRef-Picovoice"),
            ("alexa", false, true, "LicenseRef-Picovoice")
        ]
    );
}

#[tokio::test]
async fn what_keeps_it_from_listening_is_told_apart() {
    let porcupine = Porcupine::new("4.0.0", "");
    let no_key = porcupine.refused("access_key_env = \"SOLO_TEST_NO_SUCH_KEY\"").await;
    assert!(
        matches!(&no_key, StartupError::Config(text) if text.contains("SOLO_TEST_NO_SUCH_KEY holds none")),
        "{no_key}"
    );
    let missing = porcupine.refused("library = \"/nowhere/libpv_porcupine.so\"").await;
    assert!(
        matches!(&missing, StartupError::MissingModel { message } if message.contains("/nowhere/libpv_porcupine.so, which is not there")),
        "{missing}"
    );
    let text = porcupine.path("porcupine_params.pv");
    let damaged = porcupine
        .refused(&format!("library = {:?}", text.display().to_string()))
        .await;
    assert!(damaged.to_string().contains("cannot be loaded"), "{damaged}");
    let old = Porcupine::new("3.0.0", "").refused("").await;
    assert!(
        old.to_string()
            .contains("it is Porcupine 3.0.0, and version 4 is wanted"),
        "{old}"
    );

    let answers = async |answer: &str| Porcupine::new("4.0.0", answer).refused("").await;
    let key = std::env::var(KEY).unwrap();
    let bad_key = answers("3 echo-key").await;
    assert!(
        matches!(&bad_key, StartupError::Config(text) if text.contains("holds no valid AccessKey")),
        "{bad_key}"
    );
    let offline = answers("8 echo-key").await;
    assert!(
        matches!(&offline, StartupError::Engine(error) if error.to_string().contains("offline")),
        "{offline}"
    );
    for error in [&bad_key, &offline] {
        assert!(!error.to_string().contains(&key), "the key is not repeated: {error}");
    }
    let refused = answers("11 opaque").await;
    assert!(
        refused.to_string().contains("Picovoice refused the AccessKey"),
        "{refused}"
    );
    println!("{no_key}\n{missing}\n{damaged}\n{old}\n{bad_key}\n{offline}\n{refused}");
}
