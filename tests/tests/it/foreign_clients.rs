//! Clients that are not ours: gRPC's own Python packages, which know nothing of Solo, debug every port. Wyoming's is in
//! `wyoming.rs`.

use std::path::{Path, PathBuf};
use std::process::Command;

use solo_tests::Stack;

/// A virtual environment with the pinned packages, made once beside the build.
pub(crate) fn python() -> PathBuf {
    let target = std::env::current_exe().unwrap().ancestors().nth(3).unwrap().to_owned();
    let requirements = Path::new(env!("CARGO_MANIFEST_DIR")).join("foreign/requirements.txt");
    let python = target.join("foreign-clients/bin/python");
    let stamp = target.join("foreign-clients/installed");
    let wanted = std::fs::read_to_string(&requirements).unwrap();
    if std::fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return python;
    }
    let folder = target.join("foreign-clients");
    let run = |command: &mut Command| {
        let output = command.output().unwrap();
        assert!(
            output.status.success(),
            "{command:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    };
    run(Command::new("python3").args(["-m", "venv"]).arg(&folder));
    run(Command::new(&python)
        .args(["-m", "pip", "install", "--quiet", "-r"])
        .arg(&requirements));
    std::fs::write(stamp, wanted).unwrap();
    python
}

#[test]
#[ignore = "needs models: cargo make test-models"]
fn reflection_and_health_answer_strangers_on_every_port() {
    let stack = Stack::up();
    let probe = Path::new(env!("CARGO_MANIFEST_DIR")).join("foreign/grpc_probe.py");
    let python = python();
    for (service, name) in [
        ("gateway", "solo.gateway.v1.GatewayService"),
        ("stt-svc", "solo.stt.v1.SttService"),
        ("tts-svc", "solo.tts.v1.TtsService"),
        ("llm-svc", "solo.llm.v1.LlmService"),
        ("memory-svc", "solo.memory.v1.MemoryService"),
        ("agent-svc", "solo.agent.v1.AgentService"),
        ("wake-svc", "solo.wake.v1.WakeService"),
    ] {
        for wanted in [name, "solo.status.v1.StatusService", "solo.events.v1.EventService"] {
            let output = Command::new(&python)
                .arg(&probe)
                .args([&stack.layout.port(service).to_string(), wanted])
                .output()
                .unwrap();
            let said = String::from_utf8_lossy(&output.stdout);
            assert!(
                output.status.success(),
                "{service}: {}",
                String::from_utf8_lossy(&output.stderr)
            );
            assert!(said.starts_with(wanted), "{said}");
        }
    }
}
