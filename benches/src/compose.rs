//! Solo in containers beside `solo up`: the same binaries, the same models, in turn. How long until all services are healthy, how long
//! until a voice answers, and what both take when nothing is asked; and how large the images are.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;
use solo_tests::compose::{Project, docker, version};
use solo_tests::{SERVICES, Stack, fixture};

use crate::report::{Limit, Sheet, Target, bound, row, target};

/// Spoken turns of a round, after one that is not counted.
const TURNS: usize = 8;
/// How long nothing is asked before memory is looked at.
const IDLE: Duration = Duration::from_secs(10);

/// Who is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Who {
    /// The containers.
    Compose,
    /// The process runner.
    Runner,
}

/// What was measured of them.
pub type Samples = crate::report::Samples<Who>;

/// The tables.
pub const SHEET: Sheet<Who> = Sheet {
    columns: &[(Who::Compose, "docker compose up"), (Who::Runner, "solo up")],
    rows: &[
        row("start", "from nothing to all healthy, s", 1),
        row("turn", "voice to voice, ms", 0),
        row("idle", "memory of all services, idle, MB", 0),
        row("after", "memory of all services after the turns, MB", 0),
        row("gateway", "image of gateway beyond its base, MB", 1),
        row("wake-svc", "image of wake-svc, MB", 1),
        row("stt-svc", "image of stt-svc, MB", 1),
        row("tts-svc", "image of tts-svc, MB", 1),
        row("llm-svc", "image of llm-svc, MB", 1),
        row("memory-svc", "image of memory-svc, MB", 1),
        row("agent-svc", "image of agent-svc, MB", 1),
    ],
    targets: &[
        bound(
            "from nothing to all healthy, s: ≤ 20",
            ("start", Who::Compose),
            Limit::AtMost(20.0),
        ),
        target(
            "voice to voice, over that of `solo up`: ≤ 1.10",
            ("turn", Who::Compose),
            ("turn", Who::Runner),
            Limit::AtMost(1.10),
        ),
        bound(
            "memory of all services, idle, MB: ≤ 1,600",
            ("idle", Who::Compose),
            Limit::AtMost(1600.0),
        ),
        image("image of gateway, MB: ≤ 40", "gateway", 40.0),
        image("image of wake-svc, MB: ≤ 90", "wake-svc", 90.0),
        image("image of stt-svc, MB: ≤ 90", "stt-svc", 90.0),
        image("image of tts-svc, MB: ≤ 90", "tts-svc", 90.0),
        image("image of llm-svc, MB: ≤ 40", "llm-svc", 40.0),
        image("image of memory-svc, MB: ≤ 150", "memory-svc", 150.0),
        image("image of agent-svc, MB: ≤ 50", "agent-svc", 50.0),
    ],
};

const fn image(label: &'static str, service: &'static str, megabytes: f64) -> Target<Who> {
    bound(label, (service, Who::Compose), Limit::AtMost(megabytes))
}

/// Measures both `rounds` times, in turn.
///
/// # Panics
/// When one of them does not start or answer.
pub fn compose(rounds: u32, samples: &mut Samples) {
    // What the first start reads from the disk the others find in memory.
    drop(Stack::up());
    let version = version();
    let beneath = size("debian:bookworm-slim");
    for service in SERVICES {
        let beyond = size(&format!("solo/{service}:{version}")) - beneath;
        samples.record(service, Who::Compose, beyond);
    }
    for round in 1..=rounds {
        eprintln!("round {round} of {rounds}");
        let started = Instant::now();
        let project = Project::new();
        project.up();
        samples.record("start", Who::Compose, started.elapsed().as_secs_f64());
        let pids = || {
            SERVICES
                .iter()
                .map(|service| child(&project.container(service)))
                .collect::<Vec<_>>()
        };
        measure(Who::Compose, samples, project.folder.path(), &pids(), |args| {
            project.json(args)
        });
        drop(project);

        let started = Instant::now();
        let stack = Stack::up();
        samples.record("start", Who::Runner, started.elapsed().as_secs_f64());
        let pids: Vec<u32> = SERVICES.iter().map(|service| stack.pid(service)).collect();
        measure(Who::Runner, samples, stack.layout.folder.path(), &pids, |args| {
            stack.json(args)
        });
    }
}

fn measure(who: Who, samples: &mut Samples, folder: &Path, pids: &[u32], json: impl Fn(&[&str]) -> Value) {
    std::thread::sleep(IDLE);
    samples.record("idle", who, megabytes(pids));
    let (question, out) = (fixture("hey_jarvis_capital_of_france.wav"), folder.join("reply.wav"));
    let out = out.display().to_string();
    let turn = || {
        let turn = json(&["talk", "--in", &question, "--out", &out, "--json"]);
        turn["voice_to_voice_ms"].as_f64().expect("a turn is timed")
    };
    turn();
    for _ in 0..TURNS {
        samples.record("turn", who, turn());
    }
    samples.record("after", who, megabytes(pids));
}

/// How large an image is, in MB.
fn size(image: &str) -> f64 {
    let bytes = docker(&["image", "inspect", "--format", "{{.Size}}", image]);
    bytes.trim().parse::<f64>().expect("an image has a size") / 1e6
}

/// The service in a container: the child of its init.
fn child(container: &Value) -> u32 {
    let init = &container["State"]["Pid"];
    let children = std::fs::read_to_string(format!("/proc/{init}/task/{init}/children")).expect("a running container");
    let first = children.split_whitespace().next().expect("its init runs the service");
    first.parse().expect("a process")
}

/// What some processes have resident, what they share counted once, in MB. Wants to be whoever they are, or root.
fn megabytes(pids: &[u32]) -> f64 {
    let kib = |pid: &u32| -> f64 {
        let rollup =
            std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).expect("a process that may be looked into");
        let line = rollup
            .lines()
            .find_map(|line| line.strip_prefix("Pss:"))
            .expect("Linux says how much");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    };
    pids.iter().map(kib).sum::<f64>() * 1024.0 / 1e6
}
