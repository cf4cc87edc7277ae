//! Commands that need no services, and what commands say when there are none.

use std::io::Read;
use std::process::Stdio;

use crate::sandbox::{Sandbox, text};

#[test]
fn completions_are_made_for_every_shell() {
    let sandbox = Sandbox::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = sandbox.solo(&["completions", shell]);
        assert!(output.status.success(), "{}", text(&output));
        assert!(
            String::from_utf8_lossy(&output.stdout).contains("transcribe"),
            "{shell}"
        );
    }
}

#[test]
fn exit_codes_are_explained() {
    let sandbox = Sandbox::new();
    for arguments in [&["exit-codes"][..], &["help", "exit-codes"], &["--help"]] {
        let output = sandbox.solo(arguments);
        assert!(output.status.success(), "{}", text(&output));
        assert!(
            String::from_utf8_lossy(&output.stdout).contains("66  a model is not installed"),
            "{}",
            text(&output)
        );
    }
    assert_eq!(sandbox.solo(&["up", "--nonsense"]).status.code(), Some(2));
}

#[test]
fn a_closed_output_ends_a_command_quietly() {
    let sandbox = Sandbox::new();
    for arguments in [
        &["completions", "bash"][..],
        &["config", "get"],
        &["exit-codes"],
        &["--help"],
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut child = sandbox
            .command(arguments)
            .stdout(writer)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = String::new();
        child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        let status = child.wait().unwrap();
        assert!(status.success(), "{arguments:?}: {status} {said}");
        assert_eq!(said, "", "{arguments:?}");
    }
}

#[test]
fn without_solo_the_remedy_is_named() {
    let sandbox = Sandbox::new();
    let wav = sandbox.path("a.wav");
    std::fs::write(
        &wav,
        solo_audio::wav::encode(&[0; 1600], solo_audio::SampleRate::SPEECH),
    )
    .unwrap();
    let wav = wav.to_str().unwrap();
    for arguments in [
        &["ask", "hello"][..],
        &["say", "hello", "--out", "b.wav"],
        &["transcribe", wav],
        &["remember", "x"],
        &["search", "x"],
        &["talk", "--in", wav],
        &["status"],
    ] {
        let output = sandbox.solo(arguments);
        assert_eq!(output.status.code(), Some(69), "{arguments:?}: {}", text(&output));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.starts_with("error: Solo is not running"), "{arguments:?}: {said}");
        assert!(
            said.ends_with("\n  help: start it with `solo up`, or in containers with `docker compose up -d`\n"),
            "{arguments:?}: {said}"
        );
        assert_eq!(String::from_utf8_lossy(&output.stdout), "");
    }
    let output = sandbox.solo(&["restart", "stt"]);
    assert_eq!(output.status.code(), Some(69), "{}", text(&output));
    let output = sandbox.solo(&["ps"]);
    assert!(
        output.status.success() && text(&output).contains("solo up"),
        "{}",
        text(&output)
    );
}

#[test]
fn a_bad_recording_is_refused_before_anybody_is_asked() {
    let sandbox = Sandbox::new();
    std::fs::write(sandbox.path("no.wav"), b"this is no audio").unwrap();
    let output = sandbox.solo(&["talk", "--in", "no.wav"]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    assert!(text(&output).contains("no.wav: not a WAV file"), "{}", text(&output));
    let output = sandbox.solo(&["transcribe", "missing.wav"]);
    assert!(
        text(&output).contains("missing.wav cannot be read"),
        "{}",
        text(&output)
    );
    assert_eq!(sandbox.solo(&["ask", " "]).status.code(), Some(2));
}

#[test]
fn a_key_can_be_read_and_changed() {
    let sandbox = Sandbox::new();
    let get = |key: &str| {
        String::from_utf8_lossy(&sandbox.solo(&["config", "get", key]).stdout)
            .trim()
            .to_owned()
    };
    assert_eq!(get("global.drain_ms"), "3000");
    assert_eq!(get("stt.language"), "en");
    let set = sandbox.solo(&["config", "set", "stt.language", "de"]);
    assert!(set.status.success(), "{}", text(&set));
    assert_eq!(get("stt.language"), "de");
    let refused = sandbox.solo(&["config", "set", "global.drain_ms", "9999999"]);
    assert_eq!(refused.status.code(), Some(64), "{}", text(&refused));
    assert!(
        text(&refused).contains("error: global.drain_ms: 0 to 600000 is wanted"),
        "{}",
        text(&refused)
    );
    assert_eq!(get("global.drain_ms"), "3000", "nothing was changed");
    let unknown = sandbox.solo(&["config", "set", "stt.langauge", "de"]);
    assert_eq!(unknown.status.code(), Some(64), "{}", text(&unknown));
    assert!(
        text(&unknown).contains("did you mean `stt.language`?"),
        "{}",
        text(&unknown)
    );
    let path = sandbox.solo(&["config", "path"]);
    assert_eq!(
        String::from_utf8_lossy(&path.stdout).trim(),
        sandbox.path("solo.toml").to_str().unwrap()
    );
    let unset = sandbox.solo(&["config", "unset", "stt.language"]);
    assert!(unset.status.success(), "{}", text(&unset));
    assert_eq!(get("stt.language"), "en");
    let json = sandbox.solo(&["config", "get", "wake.keywords", "--json"]);
    assert_eq!(String::from_utf8_lossy(&json.stdout).trim(), r#"["hey_jarvis"]"#);
    let left: Vec<_> = std::fs::read_dir(sandbox.path(""))
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    assert!(
        left.iter()
            .all(|name| !name.to_string_lossy().starts_with(".solo.toml")),
        "{left:?}"
    );
}

#[test]
fn wrong_configuration_is_told_with_all_its_faults() {
    let sandbox = Sandbox::new();
    std::fs::write(sandbox.path("solo.toml"), "[global]\ndrain = 3\nthreads = \"many\"\n").unwrap();
    let output = sandbox.solo(&["ps"]);
    assert_eq!(output.status.code(), Some(64), "{}", text(&output));
    let said = text(&output);
    assert!(
        said.contains("global.drain: no such key") && said.contains("global.threads"),
        "{said}"
    );
    assert!(
        sandbox.solo(&["completions", "bash"]).status.success(),
        "needs no configuration"
    );
    let doctor = sandbox.solo(&["doctor", "--json"]);
    assert_eq!(doctor.status.code(), Some(1), "{}", text(&doctor));
    let findings: serde_json::Value = serde_json::from_slice(&doctor.stdout).unwrap();
    let bad = findings
        .as_array()
        .unwrap()
        .iter()
        .find(|finding| finding["ok"] == false)
        .unwrap();
    assert_eq!(bad["check"], "configuration");
}

#[test]
fn the_doctor_names_what_is_missing() {
    let sandbox = Sandbox::new();
    let mut doctor = sandbox.command(&["doctor", "--json"]);
    let output = doctor
        .env("SOLO_MODELS_DIR", sandbox.path("no-models"))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    let findings: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let find = |check: &str| {
        findings
            .as_array()
            .unwrap()
            .iter()
            .filter(|f| f["check"] == check)
            .cloned()
            .collect::<Vec<_>>()
    };
    assert!(
        find("models")
            .iter()
            .any(|f| f["help"] == "`solo models pull whisper-base`"),
        "{findings}"
    );
    assert!(
        find("models")
            .iter()
            .any(|f| f["help"] == "`solo models pull micro-hey-jarvis`"),
        "{findings}"
    );
    assert_eq!(find("configuration")[0]["ok"], true, "{findings}");
    assert_eq!(find("ports")[0]["ok"], true, "{findings}");
    assert!(find("services")[0]["ok"].is_null(), "{findings}");
}

#[test]
fn the_version_is_the_packages() {
    let sandbox = Sandbox::new();
    let output = sandbox.solo(&["version"]);
    assert_eq!(
        String::from_utf8_lossy(&output.stdout).trim(),
        format!("solo {}", env!("CARGO_PKG_VERSION"))
    );
}

#[test]
fn without_ids_the_models_are_fetched_that_the_configuration_names() {
    let sandbox = Sandbox::new();
    let pull = |arguments: &[&str]| {
        let arguments = [&["models", "pull", "--offline"][..], arguments].concat();
        let mut command = sandbox.command(&arguments);
        let output = command.env("SOLO_MODELS_DIR", sandbox.path("models")).output().unwrap();
        assert_eq!(output.status.code(), Some(66), "{}", text(&output));
        text(&output)
    };
    let changes = [
        "--set",
        "llm.model=smollm2-135m",
        "--set",
        "tts.voice=nobody",
        "--set",
        "wake.keyword=x",
    ];
    let said = pull(&changes);
    assert!(
        said.contains("smollm2-135m") && !said.contains("qwen2.5-coder-0.5b"),
        "{said}"
    );
    assert!(said.contains("tts.voice names nobody"), "{said}");
    assert!(said.contains("wake.keyword"), "{said}");
    let said = pull(&[&changes[..], &["--default"]].concat());
    assert!(
        said.contains("qwen2.5-coder-0.5b") && said.contains("piper-en-us-joe"),
        "{said}"
    );
}
