//! Nothing leaves the machine: a spoken turn in a network namespace that has a loopback and nothing else.

use std::process::Command;

use solo_tests::{Layout, binary, fixture};

#[test]
#[ignore = "needs models: cargo make test-models"]
fn a_spoken_turn_passes_with_loopback_only() {
    let allowed = Command::new("unshare")
        .args(["--map-root-user", "--net", "true"])
        .status();
    if !allowed.is_ok_and(|status| status.success()) {
        println!("skipped: this machine does not let its people make network namespaces");
        return;
    }
    let layout = Layout::new("");
    let solo = binary("solo").display().to_string();
    let question = fixture("hey_jarvis_capital_of_france.wav");
    // Python raises the loopback: it is there wherever Solo is built, iproute2 is not.
    let raise = "import fcntl,socket,struct; s=socket.socket(); \
                 fcntl.ioctl(s, 0x8914, struct.pack('16sh22x', b'lo', 0x1 | 0x40))";
    let script = format!(
        "set -e; python3 -c \"{raise}\"; ! python3 -c \"import socket; socket.create_connection(('192.0.2.1', 80), 1)\" 2>/dev/null; \
         '{solo}' up --detach >&2; '{solo}' talk --in '{question}' --json; '{solo}' down >&2"
    );
    let mut inside = Command::new("unshare");
    inside.args(["--map-root-user", "--net", "sh", "-c", &script]);
    // The layout's environment, without its program.
    for (variable, value) in layout.command("solo").get_envs() {
        match value {
            Some(value) => inside.env(variable, value),
            None => inside.env_remove(variable),
        };
    }
    let output = inside.current_dir(layout.folder.path()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{said}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let turn: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert!(turn["reply"].as_str().unwrap().contains("Paris"), "{turn}");
}
