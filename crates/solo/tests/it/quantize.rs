//! `quantize` over an llm-svc that prints what the real one prints. What the real one makes is tested where it lives.

use std::os::unix::fs::PermissionsExt;
use std::process::Output;

use serde_json::Value;

use crate::sandbox::{Sandbox, text, until};

const PROGRESS: &str = r#"{"progress":{"done":1,"total":2,"tensor":"blk.0.attn_q.weight"}}"#;
const DONE: &str = r#"{"done":{"output":"out.gguf","type":"q4_k_m","input_bytes":2000000,"output_bytes":600000,"types":{"F32":{"tensors":2,"bytes":1000},"Q4_K":{"tensors":8,"bytes":599000}},"fallbacks":[{"wanted":"Q4_K","used":"Q5_0","row":896,"tensors":3}],"seconds":1.5}}"#;

/// A sandbox whose llm-svc is this script.
fn sandbox(script: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    let binary = sandbox.path("bin/llm-svc");
    std::fs::remove_file(&binary).unwrap();
    // A shell cannot trap what was ignored when it began, and where the tests run in the background SIGINT is.
    let shell = "/usr/bin/env -S --default-signal=INT sh";
    std::fs::write(&binary, format!("#!{shell}\n{script}\n")).unwrap();
    std::fs::set_permissions(&binary, std::fs::Permissions::from_mode(0o755)).unwrap();
    sandbox
}

fn quantize(sandbox: &Sandbox, more: &[&str]) -> Output {
    sandbox.solo(&[&["quantize", "in.gguf", "out.gguf", "--type", "Q4_K_M"], more].concat())
}

#[test]
fn the_result_is_shown() {
    let sandbox = sandbox(&format!(
        "echo \"$@\" > told\necho '{PROGRESS}'\necho '{{\"checking\":true}}'\necho '{DONE}'"
    ));
    let output = quantize(&sandbox, &["--force", "--allow-requantize"]);
    assert!(output.status.success(), "{}", text(&output));
    let shown = String::from_utf8(output.stdout).unwrap();
    assert_eq!(
        shown,
        "out.gguf q4_k_m, 600 kB instead of 2.0 MB, checked, 1.5 s\n  F32       1.0 kB  in 2 tensors\n  Q4_K      599 kB  \
         in 8 tensors\n  3 tensors are Q5_0 instead of Q4_K: its blocks do not divide their rows of 896\n"
    );
    // No bar where nobody looks.
    assert!(output.stderr.is_empty());
    let told = std::fs::read_to_string(sandbox.path("told")).unwrap();
    assert_eq!(
        told.trim(),
        "quantize --type q4_k_m --force --allow-requantize -- in.gguf out.gguf"
    );
    let output = quantize(&sandbox, &["--json"]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {}", text(&output)));
    assert_eq!(
        (&report["type"], &report["output_bytes"]),
        (&"q4_k_m".into(), &600_000.into())
    );
}

#[test]
fn a_refusal_is_told_in_its_words() {
    let sandbox =
        sandbox("echo '{\"failed\":{\"message\":\"out.gguf is already there\",\"interrupted\":false}}'\nexit 1");
    let output = quantize(&sandbox, &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("error: out.gguf is already there"),
        "{}",
        text(&output)
    );
    // A type that there is not is known here.
    let output = sandbox.solo(&["quantize", "a", "b", "--type", "q4_k_n"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("q4_k_m"),
        "{}",
        text(&output)
    );
}

#[test]
fn a_death_without_a_word_is_no_success() {
    let sandbox = sandbox(&format!("echo '{PROGRESS}'\nkill -9 $$"));
    let output = quantize(&sandbox, &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("ended without a result"),
        "{}",
        text(&output)
    );
}

#[test]
fn an_interruption_reaches_it_and_is_waited_for() {
    let failed = r#"{"failed":{"message":"interrupted; nothing is left behind","interrupted":true}}"#;
    let script = format!(
        "trap 'rm out.gguf.part; echo '\"'\"'{failed}'\"'\"'; exit 130' INT\ntouch out.gguf.part\nwhile :; do sleep 0.05; done"
    );
    let sandbox = sandbox(&script);
    let child = sandbox.spawn(&["quantize", "in.gguf", "out.gguf", "--type", "q8_0"]);
    let part = sandbox.path("out.gguf.part");
    until("it has begun", || part.exists().then_some(()));
    let pid = rustix::process::Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("nothing is left behind"),
        "{}",
        text(&output)
    );
    assert!(!part.exists());
}
