//! `solo up` and what talks to it, over fake services.

use std::net::TcpListener;
use std::process::{Child, Output};
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};

use crate::sandbox::{PATIENCE, SECTIONS, Sandbox, name, text, until};

fn pid_of(row: &serde_json::Value) -> u32 {
    u32::try_from(row["pid"].as_u64().unwrap_or_else(|| panic!("no process: {row}"))).unwrap()
}

fn send(pid: u32, signal: Signal) {
    kill_process(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(), signal).unwrap();
}

/// A process that has ended may wait as a zombie for a parent that never asks.
fn is_alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

fn until_dead(pids: &[u32]) {
    until("processes end", || pids.iter().all(|pid| !is_alive(*pid)).then_some(()));
}

fn end_of(child: Child) -> Output {
    child.wait_with_output().unwrap()
}

#[test]
fn detach_returns_when_all_serve_and_down_stops_all() {
    let sandbox = Sandbox::new();
    sandbox.behave("llm", "slow 700");
    let begun = Instant::now();
    let up = sandbox.solo(&["up", "--detach"]);
    assert!(up.status.success(), "{}", text(&up));
    assert!(begun.elapsed().as_millis() >= 700, "it did not wait for the slow one");
    let shown = String::from_utf8_lossy(&up.stdout).into_owned();
    for section in SECTIONS {
        assert!(shown.contains(&name(section)), "{shown}");
    }
    assert!(shown.contains("Solo is ready: 7 services serve"), "{shown}");
    let rows = sandbox.ps();
    let keys: Vec<&String> = rows[0].as_object().unwrap().keys().collect();
    let wanted = [
        "service",
        "address",
        "pid",
        "state",
        "restarts",
        "engine",
        "model",
        "device",
        "ready_ms",
        "rss_bytes",
    ];
    assert_eq!(keys, wanted);
    for (row, section) in rows.iter().zip(SECTIONS) {
        assert_eq!(row["service"], name(section));
        assert_eq!(row["address"], format!("127.0.0.1:{}", sandbox.port(section)));
        assert_eq!(
            (&row["state"], &row["engine"], &row["restarts"]),
            (&"serving".into(), &"fake".into(), &0.into())
        );
        assert!(is_alive(pid_of(row)));
    }
    let pids: Vec<u32> = rows.iter().map(pid_of).collect();
    let down = sandbox.solo(&["down"]);
    assert!(down.status.success(), "{}", text(&down));
    assert!(
        pids.iter().all(|pid| !is_alive(*pid)),
        "down returned before all had ended"
    );
    assert_eq!(
        sandbox.notes("ends").first().map(String::as_str),
        Some("gateway"),
        "the gateway ends first"
    );
    assert_eq!(sandbox.notes("ends").len(), SECTIONS.len(), "all ended in order");
    assert_eq!(sandbox.ps(), Vec::<serde_json::Value>::new());
    let again = sandbox.solo(&["down"]);
    assert!(
        again.status.success() && text(&again).contains("was not running"),
        "{}",
        text(&again)
    );
}

#[test]
fn a_killed_service_is_started_again() {
    let sandbox = Sandbox::new();
    let up = sandbox.solo(&["up", "-d"]);
    assert!(up.status.success(), "{}", text(&up));
    let before = pid_of(&sandbox.row("stt").unwrap());
    send(before, Signal::KILL);
    let row = until("stt-svc serves again", || {
        sandbox
            .row("stt")
            .filter(|row| row["state"] == "serving" && row["pid"] != before)
    });
    assert_eq!(row["restarts"], 1);
    assert_eq!(sandbox.starts("stt"), 2);
    assert_eq!(sandbox.starts("tts"), 1, "the others go on");
    let logs = sandbox.solo(&["logs", "stt"]);
    let logs = String::from_utf8_lossy(&logs.stdout).into_owned();
    assert!(logs.contains("stt-svc was killed by signal 9 (SIGKILL)"), "{logs}");
    assert_eq!(logs.matches("fake stt-svc starts").count(), 2, "{logs}");
}

#[test]
fn what_cannot_work_is_not_started_again_and_told_together() {
    let sandbox = Sandbox::new();
    sandbox.behave(
        "stt",
        "exit 66 model \"whisper-base\" is not installed: run `solo models pull whisper-base`",
    );
    sandbox.behave("tts", "exit 64 tts.speed: 0.5 to 2.0 is wanted, found 9");
    for arguments in [&["up"][..], &["up", "--detach"]] {
        let starts = sandbox.starts("stt");
        let up = sandbox.solo(arguments);
        assert_eq!(up.status.code(), Some(64), "{}", text(&up));
        let said = String::from_utf8_lossy(&up.stderr).into_owned();
        assert!(
            said.starts_with("error: Solo did not start: 2 of 7 services failed"),
            "{said}"
        );
        assert!(said.contains("help: `solo models pull whisper-base`"), "{said}");
        assert!(said.contains("tts.speed: 0.5 to 2.0 is wanted, found 9"), "{said}");
        assert_eq!(sandbox.starts("stt"), starts + 1, "64 and 66 are not tried again");
        assert_eq!(
            sandbox.ps(),
            Vec::<serde_json::Value>::new(),
            "what had started was stopped"
        );
    }
}

#[test]
fn a_crash_loop_is_capped_and_explained() {
    let sandbox = Sandbox::new();
    sandbox.behave("llm", "exit 1 boom");
    let up = sandbox.solo(&["up", "--only", "llm,stt"]);
    assert_eq!(up.status.code(), Some(1), "{}", text(&up));
    let said = String::from_utf8_lossy(&up.stderr).into_owned();
    assert!(
        said.contains("llm-svc crashed 5 times within 60 s; the last time it exited with code 1"),
        "{said}"
    );
    assert!(said.contains("| error: boom"), "{said}");
    assert_eq!(sandbox.starts("llm"), 5);
    assert_eq!(sandbox.starts("stt"), 1);
    assert_eq!(sandbox.starts("tts"), 0, "--only");
}

#[test]
fn a_killed_runner_leaves_nothing_behind() {
    let sandbox = Sandbox::new();
    let mut runner = sandbox.spawn(&["up"]);
    let pids: Vec<u32> = sandbox.until_serving().iter().map(pid_of).collect();
    send(runner.id(), Signal::KILL);
    runner.wait().unwrap();
    until_dead(&pids);
    let up = sandbox.solo(&["up", "--detach"]);
    assert!(
        up.status.success(),
        "the next start finds everything free: {}",
        text(&up)
    );
}

#[test]
fn a_taken_port_names_the_culprit() {
    let sandbox = Sandbox::new();
    let _held = TcpListener::bind(("127.0.0.1", sandbox.port("stt"))).unwrap();
    let up = sandbox.solo(&["up"]);
    assert_eq!(up.status.code(), Some(1), "{}", text(&up));
    let said = String::from_utf8_lossy(&up.stderr).into_owned();
    assert!(
        said.contains(&format!("port {} of stt-svc is taken by", sandbox.port("stt"))),
        "{said}"
    );
    assert!(said.contains(&format!("(process {})", std::process::id())), "{said}");
    assert_eq!(sandbox.notes("starts"), Vec::<String>::new(), "nothing was started");
}

#[test]
fn the_second_runner_is_refused() {
    let sandbox = Sandbox::new();
    let runner = sandbox.spawn(&["up"]);
    sandbox.until_serving();
    for arguments in [&["up"][..], &["up", "--detach"]] {
        let second = sandbox.solo(arguments);
        assert_eq!(second.status.code(), Some(1), "{}", text(&second));
        assert!(
            text(&second).contains(&format!("Solo is already running (process {})", runner.id())),
            "{}",
            text(&second)
        );
    }
    assert_eq!(sandbox.starts("stt"), 1);
    send(runner.id(), Signal::INT);
    let output = end_of(runner);
    assert!(output.status.success(), "{}", text(&output));
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(shown.contains("stt-svc    serving"), "{shown}");
    assert!(shown.contains("Solo is ready: 7 services serve"), "{shown}");
    assert_eq!(sandbox.notes("ends").len(), SECTIONS.len(), "Ctrl-C ends all in order");
}

#[test]
fn restart_waits_for_the_end_and_the_new_start() {
    let sandbox = Sandbox::new();
    sandbox.behave("stt", "drain 300");
    let up = sandbox.solo(&["up", "-d"]);
    assert!(up.status.success(), "{}", text(&up));
    let before = pid_of(&sandbox.row("stt").unwrap());
    let restart = sandbox.solo(&["restart", "stt", "--json"]);
    assert!(restart.status.success(), "{}", text(&restart));
    let row: serde_json::Value = serde_json::from_slice(&restart.stdout).unwrap();
    assert_eq!((&row["service"], &row["state"]), (&"stt-svc".into(), &"serving".into()));
    assert_ne!(row["pid"], before);
    assert_eq!(sandbox.notes("ends"), ["stt-svc"], "it finished what was running");

    // A restart that cannot work says why, and the next one may.
    sandbox.behave("stt", "exit 64 stt.threads: no such key");
    let failed = sandbox.solo(&["restart", "stt-svc"]);
    assert_eq!(failed.status.code(), Some(64), "{}", text(&failed));
    assert!(text(&failed).contains("stt.threads: no such key"), "{}", text(&failed));
    assert_eq!(sandbox.row("stt").unwrap()["state"], "failed");
    sandbox.behave("stt", "serve");
    let mended = sandbox.solo(&["restart", "stt-svc"]);
    assert!(mended.status.success(), "{}", text(&mended));
    assert_eq!(sandbox.row("stt").unwrap()["state"], "serving");
}

#[test]
fn what_a_service_started_ends_with_it() {
    let sandbox = Sandbox::new();
    sandbox.behave("agent", "parent");
    let up = sandbox.solo(&["up", "-d"]);
    assert!(up.status.success(), "{}", text(&up));
    let children: Vec<u32> = sandbox
        .notes("children")
        .iter()
        .map(|pid| pid.parse().unwrap())
        .collect();
    assert!(is_alive(children[0]));
    send(pid_of(&sandbox.row("agent").unwrap()), Signal::KILL);
    until_dead(&children[..1]);
}

#[test]
fn a_service_that_does_not_end_is_killed() {
    let sandbox = Sandbox::new();
    // The drain deadline of the sandbox is 3 s; this one would take 10 minutes.
    sandbox.behave("memory", "drain 600000");
    let up = sandbox.solo(&["up", "-d"]);
    assert!(up.status.success(), "{}", text(&up));
    let pid = pid_of(&sandbox.row("memory").unwrap());
    let begun = Instant::now();
    let down = sandbox.solo(&["down"]);
    assert!(down.status.success(), "{}", text(&down));
    assert!(!is_alive(pid));
    assert!(begun.elapsed() < PATIENCE, "{:?}", begun.elapsed());
}

#[test]
fn a_start_that_takes_too_long_names_who_is_late() {
    let sandbox = Sandbox::new();
    sandbox.behave("llm", "slow 600000");
    let up = sandbox.solo(&["up", "--timeout", "2"]);
    assert_eq!(up.status.code(), Some(69), "{}", text(&up));
    assert!(
        text(&up).contains("Solo is not ready after 2 s: llm-svc (starting)"),
        "{}",
        text(&up)
    );
}

#[test]
fn the_control_socket_is_private() {
    use std::os::unix::fs::PermissionsExt;
    let sandbox = Sandbox::new();
    let up = sandbox.solo(&["up", "-d", "--only", "stt"]);
    assert!(up.status.success(), "{}", text(&up));
    let mode = |path: &str| std::fs::metadata(sandbox.path(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode("data/run/solo.sock"), 0o600);
    assert_eq!(mode("data/run"), 0o700);
}

#[test]
fn a_service_of_another_machine_is_not_started_here() {
    let sandbox = Sandbox::new();
    let set = sandbox.solo(&["config", "set", "global.endpoints.llm", "http://llm.example:50053"]);
    assert!(set.status.success(), "{}", text(&set));
    let up = sandbox.solo(&["up", "-d"]);
    assert!(up.status.success(), "{}", text(&up));
    assert!(
        text(&up).contains("llm-svc    is at llm.example:50053 by configuration"),
        "{}",
        text(&up)
    );
    assert_eq!(sandbox.starts("llm"), 0);
    assert_eq!(sandbox.ps().len(), SECTIONS.len() - 1);
}

#[test]
fn a_closed_output_does_not_end_the_services() {
    let sandbox = Sandbox::new();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut runner = sandbox.command(&["up"]).stdout(writer).spawn().unwrap();
    sandbox.until_serving();
    send(runner.id(), Signal::TERM);
    assert!(runner.wait().unwrap().success());
    assert_eq!(sandbox.notes("ends").len(), SECTIONS.len());
}
