//! Bad input: each kind has its own message with the remedy, and the service serves on.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Output;

use solo_proto::llm::v1::llm_service_client::LlmServiceClient;
use solo_proto::llm::v1::{ContentPart, GenerateRequest, Message, Role, content_part};
use solo_proto::stt::v1::stt_service_client::SttServiceClient;
use solo_proto::stt::v1::{TranscribeConfig, TranscribeRequest, transcribe_request};
use solo_tests::{Layout, SERVICES, Stack, fixture};
use tonic::Code;
use tonic::transport::{Channel, Endpoint};

/// A WAV file of 16-bit PCM whose header says whatever it is told to.
fn wav(file: &Path, channels: u16, rate: u32, declared: u32, data: &[u8]) {
    let mut out = std::fs::File::create(file).unwrap();
    let block = channels * 2;
    let mut header = Vec::new();
    header.extend(b"RIFF");
    header.extend((36 + declared).to_le_bytes());
    header.extend(b"WAVEfmt ");
    header.extend(16_u32.to_le_bytes());
    header.extend(1_u16.to_le_bytes());
    header.extend(channels.to_le_bytes());
    header.extend(rate.to_le_bytes());
    header.extend((rate * u32::from(block)).to_le_bytes());
    header.extend(block.to_le_bytes());
    header.extend(16_u16.to_le_bytes());
    header.extend(b"data");
    header.extend(declared.to_le_bytes());
    out.write_all(&header).unwrap();
    out.write_all(data).unwrap();
}

fn refused(output: &Output, wanted: &[&str]) {
    let said = String::from_utf8_lossy(&output.stderr).to_lowercase();
    assert!(
        !output.status.success(),
        "it succeeded: {}",
        String::from_utf8_lossy(&output.stdout)
    );
    for word in wanted {
        assert!(said.contains(&word.to_lowercase()), "{word:?} is not in: {said}");
    }
}

async fn channel(stack: &Stack, service: &str) -> Channel {
    let endpoint = format!("http://127.0.0.1:{}", stack.layout.port(service));
    Endpoint::from_shared(endpoint).unwrap().connect().await.unwrap()
}

#[test]
#[ignore = "needs models: cargo make test-models"]
fn recordings_that_cannot_be_read_are_refused_one_by_one() {
    let stack = Stack::up_with("[stt]\nmax_seconds = 30\n");
    let folder = stack.layout.folder.path().to_owned();
    let transcribe = |name: &str, make: &dyn Fn(&Path)| {
        let file: PathBuf = folder.join(name);
        make(&file);
        stack.layout.solo(&["transcribe", &file.display().to_string()])
    };
    let second = vec![0_u8; 32_000];
    refused(
        &transcribe("empty.wav", &|file| std::fs::write(file, "").unwrap()),
        &["no audio"],
    );
    refused(
        &transcribe("no-samples.wav", &|file| wav(file, 1, 16_000, 0, &[])),
        &["no audio"],
    );
    refused(
        &transcribe("0hz.wav", &|file| wav(file, 1, 0, 32_000, &second)),
        &["rate"],
    );
    refused(
        &transcribe("7ch.wav", &|file| wav(file, 7, 16_000, 14_000, &second[..14_000])),
        &["7", "channels"],
    );
    refused(
        &transcribe("cut.wav", &|file| wav(file, 1, 16_000, 64_000, &second)),
        &["truncated"],
    );
    refused(
        &transcribe("long.wav", &|file| {
            wav(file, 1, 16_000, 32_000 * 31, &second.repeat(31))
        }),
        &["30", "max_seconds"],
    );
    refused(
        &transcribe("song.txt", &|file| std::fs::write(file, "la la la").unwrap()),
        &["format"],
    );
    let words = stack.json(&["transcribe", &fixture("question_only.wav"), "--json"]);
    assert!(
        words["text"].as_str().unwrap().to_lowercase().contains("france"),
        "{words}"
    );
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs models: cargo make test-models"]
async fn requests_that_cannot_be_answered_are_refused_one_by_one() {
    let stack = Stack::up();
    let message = |text: String| Message {
        role: Role::User.into(),
        parts: vec![ContentPart {
            part: Some(content_part::Part::Text(text)),
        }],
        ..Message::default()
    };
    let mut llm = LlmServiceClient::new(channel(&stack, "llm-svc").await);

    let long = GenerateRequest {
        messages: vec![message("word ".repeat(200_000))],
        ..Default::default()
    };
    let refusal = llm.generate(long).await.err().unwrap();
    assert!(
        matches!(refusal.code(), Code::InvalidArgument | Code::ResourceExhausted),
        "{refusal}"
    );

    let request = GenerateRequest {
        model: "gpt-9".into(),
        messages: vec![message("hi".into())],
        ..Default::default()
    };
    let refusal = llm.generate(request).await.err().unwrap();
    assert_eq!(refusal.code(), Code::NotFound, "{refusal}");
    assert!(refusal.message().contains("gpt-9"), "{refusal}");

    let mut unknown = message("hi".into());
    unknown.role = 99;
    let refusal = llm
        .generate(GenerateRequest {
            messages: vec![unknown],
            ..Default::default()
        })
        .await
        .err()
        .unwrap();
    assert_eq!(refusal.code(), Code::InvalidArgument, "{refusal}");
    assert!(refusal.message().contains("99"), "{refusal}");

    let config = TranscribeConfig {
        task: 42,
        ..TranscribeConfig::default()
    };
    let config = TranscribeRequest {
        payload: Some(transcribe_request::Payload::Config(config)),
    };
    let mut stt = SttServiceClient::new(channel(&stack, "stt-svc").await);
    let refusal = match stt.transcribe(tokio_stream::iter([config])).await {
        Ok(answer) => answer.into_inner().message().await.err().unwrap(),
        Err(refusal) => refusal,
    };
    assert_eq!(refusal.code(), Code::InvalidArgument, "{refusal}");
    assert!(refusal.message().contains("42"), "{refusal}");

    let out = stack.layout.folder.path().join("a.wav").display().to_string();
    refused(
        &stack
            .layout
            .solo(&["say", "Hello.", "--voice", "nobody", "--out", &out]),
        &["nobody", "voice"],
    );
    refused(
        &stack.layout.solo(&["ask", &"word ".repeat(24_000)]),
        &["119999 characters", "16000"],
    );

    for service in SERVICES {
        assert!(stack.is_serving(service), "{service}");
    }
    assert!(!stack.solo(&["ask", "Say hello."]).trim().is_empty());
}

#[test]
#[ignore = "needs models: cargo make test-models"]
fn models_that_are_missing_or_damaged_are_named_with_the_command() {
    let models = tempfile::tempdir().unwrap();
    let layout = Layout::new(&format!(
        "[global]\nmodels_dir = {:?}\n",
        models.path().display().to_string()
    ));
    let run = |service: &str| layout.command(service).output().unwrap();

    for (service, command) in [
        ("llm-svc", "solo models pull qwen2.5-coder-0.5b"),
        ("stt-svc", "solo models pull"),
        ("tts-svc", "solo models pull"),
        ("memory-svc", "solo models pull minilm-l6-v2"),
        ("wake-svc", "solo models pull micro-hey-jarvis"),
    ] {
        let output = run(service);
        assert_eq!(
            output.status.code(),
            Some(66),
            "{service}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        refused(&output, &[command]);
    }

    let folder = models.path().join("qwen2.5-coder-0.5b");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(
        folder.join("model.gguf"),
        [b"GGUF".as_slice(), &3_u32.to_le_bytes(), &[0xff; 64]].concat(),
    )
    .unwrap();
    let output = run("llm-svc");
    assert_eq!(
        output.status.code(),
        Some(66),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    refused(&output, &["damaged", "solo models verify qwen2.5-coder-0.5b"]);
}

#[test]
#[ignore = "spawns services: cargo make test-models"]
fn configurations_that_cannot_work_are_refused_as_a_whole() {
    let layout = Layout::new("[stt]\nengin = \"whisper\"\nthreads = \"many\"\n[llm]\nengine = \"abacus\"\n");
    let output = layout.command("stt-svc").arg("check-config").output().unwrap();
    assert_eq!(output.status.code(), Some(64));
    refused(
        &output,
        &[
            "2 faults",
            "stt.engin",
            "did you mean `engine`",
            "stt.threads",
            "solo.toml",
        ],
    );
    let output = layout.command("llm-svc").arg("check-config").output().unwrap();
    assert_eq!(output.status.code(), Some(64));
    refused(&output, &["llm.engine", "abacus"]);
}

#[test]
#[ignore = "spawns services: cargo make test-models"]
fn a_taken_port_names_who_has_it() {
    let layout = Layout::new("");
    let taken = std::net::TcpListener::bind(("127.0.0.1", layout.port("stt-svc"))).unwrap();
    let me = std::process::id().to_string();
    refused(&layout.solo(&["up"]), &["taken", &me]);
    let output = layout.command("stt-svc").output().unwrap();
    assert_eq!(output.status.code(), Some(69));
    refused(&output, &["taken", &me]);
    drop(taken);
}
