//! Solo in containers: what `docker compose` starts is what `solo up` starts, each service in a container that can do nothing else,
//! and each can be killed, restarted, doubled. `cargo make compose-test` builds the images and sees to an engine.

use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use solo_tests::compose::{Project, docker};
use solo_tests::{SERVICES, fixture, wait_until};

use crate::conversation::Conversation;

const LONG: &str = "Count from one to thirty in words, separated by commas.";
const SHORT: &str = "Say hello.";

fn port(project: &Project) -> u16 {
    project.get("SOLO_GRPC_PORT").parse().unwrap()
}

async fn a_turn_works(project: &Project) {
    let mut conversation = Conversation::open(port(project)).await;
    conversation.ask(SHORT, true).await;
    let outcome = conversation.until_end().await.unwrap();
    assert!(outcome.error.is_none(), "{outcome:?}");
    assert!(!outcome.reply.is_empty() && outcome.audio_bytes > 0, "{outcome:?}");
}

/// A spoken turn with the recording that asks for the capital of France.
fn a_spoken_turn_works(project: &Project) {
    let out = project.folder.path().join("reply.wav").display().to_string();
    let question = fixture("hey_jarvis_capital_of_france.wav");
    let turn = project.json(&["talk", "--in", &question, "--out", &out, "--json"]);
    assert_eq!(turn["wake"]["keyword"], "hey_jarvis", "{turn}");
    assert!(turn["reply"].as_str().unwrap().contains("Paris"), "{turn}");
    assert!(std::fs::metadata(&out).unwrap().len() > 10_000, "{turn}");
}

/// A conversation that is in the middle of a reply, at the point where the loss of `service` matters most.
async fn in_mid_turn(project: &Project, service: &str) -> Conversation {
    let mut conversation = Conversation::open(port(project)).await;
    conversation.ask(LONG, true).await;
    if service == "tts-svc" {
        conversation.until_audio().await;
    } else {
        conversation.until_reply().await;
    }
    conversation
}

/// Lets a turn end that lost a service, or did not: it ends.
async fn ends(mut conversation: Conversation, service: &str) {
    let end = tokio::time::timeout(Duration::from_secs(60), conversation.until_end()).await;
    let end = end.unwrap_or_else(|_| panic!("the turn hangs without {service}"));
    if let Ok(outcome) = end {
        let named = outcome.error.as_ref().is_none_or(|error| error.service == service);
        assert!(named, "{service}: {outcome:?}");
    } else {
        assert_eq!(service, "gateway", "the conversation breaks off with the gateway alone");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Docker: cargo make compose-test"]
async fn compose_survives_the_loss_of_every_service_and_keeps_what_it_knows() {
    let project = Project::new();
    project.up();
    a_spoken_turn_works(&project);
    project.solo(&[
        "remember",
        "The spare keys are in the blue tin.",
        "--title",
        "Spare keys",
    ]);
    for service in SERVICES {
        let conversation = in_mid_turn(&project, service).await;
        project.compose_ok(&["kill", "--signal", "KILL", service]);
        ends(conversation, service).await;
        project.compose_ok(&["up", "--detach", "--no-build"]);
        project.wait_healthy(&[service]);
        a_turn_works(&project).await;
        let conversation = in_mid_turn(&project, service).await;
        project.compose_ok(&["restart", service]);
        ends(conversation, service).await;
        project.wait_healthy(&[service]);
        a_turn_works(&project).await;
    }
    project.compose_ok(&["down"]);
    project.up();
    let found = project.json(&["search", "where are the spare keys", "--json"]);
    assert!(found[0]["text"].as_str().unwrap().contains("blue tin"), "{found}");
    a_spoken_turn_works(&project);
    project.compose_ok(&["down", "--volumes"]);
    assert_eq!(project.remains(), "");
}

#[test]
#[ignore = "needs Docker: cargo make compose-test"]
fn compose_containers_can_do_nothing_else() {
    let project = Project::new();
    project.up();
    for service in SERVICES {
        let container = project.container(service);
        let host = &container["HostConfig"];
        assert_eq!(container["Config"]["User"], "10001:10001", "{service}");
        assert_eq!(host["ReadonlyRootfs"], true, "{service}");
        assert_eq!(host["CapDrop"][0], "ALL", "{service}");
        assert!(host["Memory"].as_u64().unwrap() > 0, "{service} may take all memory");
        // What the kernel says of the service, not what was asked for.
        let status = std::fs::read_to_string(format!("/proc/{}/status", child(&container))).unwrap();
        let field = |name: &str| {
            status
                .lines()
                .find_map(|line| line.strip_prefix(name))
                .unwrap()
                .trim()
                .to_owned()
        };
        assert_eq!(field("CapEff:"), "0000000000000000", "{service}");
        assert_eq!(field("CapBnd:"), "0000000000000000", "{service}");
        assert_eq!(field("NoNewPrivs:"), "1", "{service}");
        assert!(field("Uid:").starts_with("10001"), "{service}: {}", field("Uid:"));
        let id = container["Id"].as_str().unwrap();
        assert!(
            !inside(id, "touch /usr/local/bin/x 2>/dev/null"),
            "{service} can write its root"
        );
        assert!(
            inside(
                id,
                &format!(
                    "zgrep -q {} /usr/local/share/doc/solo/third-party.txt.gz",
                    licence(service)
                )
            ),
            "{service} does not bring the licences of what it is made of"
        );
        let networks = container["NetworkSettings"]["Networks"].as_object().unwrap();
        let ways_out = networks.keys().filter(|name| !is_internal(name)).count();
        let expected = usize::from(["gateway", "agent-svc"].contains(&service));
        assert_eq!(ways_out, expected, "{service}: {:?}", networks.keys());
        let published: Vec<&Value> = container["NetworkSettings"]["Ports"]
            .as_object()
            .unwrap()
            .values()
            .filter(|bound| !bound.is_null())
            .collect();
        assert_eq!(published.is_empty(), service != "gateway", "{service}: {published:?}");
        assert!(
            published.iter().all(|bound| bound[0]["HostIp"] == "127.0.0.1"),
            "{published:?}"
        );
    }
    // A process whose parent is gone is buried by PID 1.
    let container = project.container("agent-svc");
    let id = container["Id"].as_str().unwrap();
    docker(&["exec", id, "sh", "-c", "sh -c 'sleep 0.3 &'"]);
    wait_until("the orphan has ended", || !processes(id).contains("sleep"));
    assert!(!processes(id).contains(" Z"), "{}", processes(id));
    health_follows(&project);
    // SIGTERM drains and ends well.
    project.compose_ok(&["stop"]);
    for service in SERVICES {
        let state = &project.container(service)["State"];
        assert_eq!(state["ExitCode"], 0, "{service}: {state}");
        assert_eq!(state["OOMKilled"], false, "{service}: {state}");
    }
}

/// Words of a licence that asks to come along.
fn licence(service: &str) -> &'static str {
    match service {
        // espeak-ng's.
        "tts-svc" => "'GNU GENERAL PUBLIC LICENSE'",
        // KissFFT's, in microWakeWord.
        "wake-svc" => "'Mark Borgerding'",
        "stt-svc" | "llm-svc" => "'The ggml authors'",
        _ => "'Permission is hereby granted'",
    }
}

/// A service that does not answer is unhealthy, and healthy again when it does.
fn health_follows(project: &Project) {
    let container = project.container("wake-svc");
    let health = || project.container("wake-svc")["State"]["Health"]["Status"].clone();
    signal(&container, "STOP");
    wait_until("it is unhealthy", || health() == "unhealthy");
    signal(&container, "CONT");
    wait_until("it is healthy again", || health() == "healthy");
    // One that dies by itself is started again.
    signal(&container, "KILL");
    wait_until("it is started again", || {
        project.container("wake-svc")["RestartCount"] == 1
    });
    project.wait_healthy(&["wake-svc"]);
}

/// The service in a container: the child of its init.
fn child(container: &Value) -> u32 {
    let init = &container["State"]["Pid"];
    let children = std::fs::read_to_string(format!("/proc/{init}/task/{init}/children")).unwrap();
    children.split_whitespace().next().unwrap().parse().unwrap()
}

/// Whether a command works in a container, as the container's user.
fn inside(id: &str, command: &str) -> bool {
    let output = Command::new("docker").args(["exec", id, "sh", "-c", command]).output();
    output.unwrap().status.success()
}

fn is_internal(network: &str) -> bool {
    docker(&["network", "inspect", "--format", "{{.Internal}}", network]).trim() == "true"
}

/// Sends a signal to the service in a container.
fn signal(container: &Value, name: &str) {
    let id = container["Id"].as_str().unwrap();
    assert!(
        inside(id, &format!("kill -{name} $(cat /proc/1/task/1/children)")),
        "it runs"
    );
}

fn processes(id: &str) -> String {
    docker(&["top", id, "-eo", "pid,stat,comm"])
}

#[test]
#[ignore = "needs Docker: cargo make compose-test"]
fn compose_scales_a_service_and_loses_only_what_was_on_the_one_that_dies() {
    let project = Project::new();
    project.up();
    project.compose_ok(&["up", "--detach", "--no-build", "--scale", "stt-svc=2"]);
    project.wait_healthy(&["stt-svc"]);
    wait_until("the gateway knows both", || {
        let status = project.json(&["status", "--json"]);
        status.to_string().matches("\"stt-svc\"").count() >= 2
    });
    let both = project.containers("stt-svc");
    assert_eq!(both.len(), 2);
    let recording = fixture("hey_jarvis_capital_of_france.wav");
    let worked = |id: &Value| {
        let stats = docker(&["exec", id.as_str().unwrap(), "cat", "/proc/1/task/1/children"]);
        let child = stats.split_whitespace().next().unwrap().to_owned();
        let stat = docker(&["exec", id.as_str().unwrap(), "cat", &format!("/proc/{child}/stat")]);
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        fields[11].parse::<u64>().unwrap()
    };
    let before: Vec<u64> = both.iter().map(|container| worked(&container["Id"])).collect();
    for _ in 0..4 {
        project.solo(&["transcribe", &recording]);
    }
    for (container, before) in both.iter().zip(before) {
        let spent = worked(&container["Id"]) - before;
        assert!(spent > 5, "one of them did nothing: {spent} ticks");
    }
    let dies = &both[0]["Id"];
    let at_rest = worked(dies);
    let running: Vec<_> = (0..4)
        .map(|_| project.begin(&["transcribe", &recording, "--json"]))
        .collect();
    wait_until("it works", || worked(dies) > at_rest + 5);
    docker(&["kill", dies.as_str().unwrap()]);
    let outcomes: Vec<_> = running
        .into_iter()
        .map(|child| child.wait_with_output().unwrap())
        .collect();
    let lost: Vec<String> = outcomes
        .iter()
        .filter(|outcome| !outcome.status.success())
        .map(|outcome| String::from_utf8_lossy(&outcome.stderr).into_owned())
        .collect();
    assert!((1..=2).contains(&lost.len()), "{lost:?}");
    assert!(lost.iter().all(|error| error.contains("stt-svc")), "{lost:?}");
    a_spoken_turn_works(&project);
}

/// What `solo doctor --compose` says of a thing: each finding's sentence and remedy.
fn doctor(project: &Project, check: &str) -> String {
    let mut command = project.command(&["doctor", "--compose", "--json"]);
    command.envs(project.environment());
    let output = command.output().unwrap();
    let all: Value = serde_json::from_slice(&output.stdout).unwrap();
    let of_check = all
        .as_array()
        .unwrap()
        .iter()
        .filter(|finding| finding["check"] == check);
    of_check
        .map(|finding| format!("{} | {}\n", finding["found"], finding["help"]))
        .collect()
}

/// Starts some services, which must fail; what was said.
fn fails(project: &Project, args: &[&str]) -> String {
    let output = project.compose(&[&["up", "--detach", "--no-build"], args].concat());
    assert!(!output.status.success(), "{args:?} works");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
#[ignore = "needs Docker: cargo make compose-test"]
fn compose_says_who_has_the_port() {
    let project = Project::new();
    let taken = std::net::TcpListener::bind(("127.0.0.1", project.get("SOLO_HTTP_PORT").parse().unwrap())).unwrap();
    let said = fails(&project, &[]);
    assert!(said.contains("in use") || said.contains("already allocated"), "{said}");
    let found = doctor(&project, "ports");
    assert!(
        found.contains(&format!("process {}", std::process::id())) && found.contains("SOLO_HTTP_PORT"),
        "{found}"
    );
    drop(taken);
    project.up();
    assert!(doctor(&project, "ports").contains("published by the gateway"));
    assert!(
        doctor(&project, "services").contains("all running and healthy"),
        "{}",
        doctor(&project, "services")
    );
}

#[test]
#[ignore = "needs Docker: cargo make compose-test"]
fn compose_says_that_a_volume_is_somebody_elses() {
    let project = Project::new();
    let folder = project.folder.path().join("root's");
    std::fs::create_dir(&folder).unwrap();
    let mut project = project;
    project.overlay(&format!(
        "services:\n  memory-svc:\n    volumes: [{:?}]\n",
        format!("{}:/data", folder.display())
    ));
    let said = fails(&project, &["memory-svc", "agent-svc"]);
    assert!(said.contains("memory-svc"), "{said}");
    wait_until("it has given up", || {
        project.container("memory-svc")["State"]["Status"] == "exited"
    });
    let found = doctor(&project, "services");
    assert!(found.contains("memory-svc ended with exit code"), "{found}");
    assert!(found.contains("/data") && found.contains("10001"), "no remedy: {found}");
}

#[test]
#[ignore = "needs Docker: cargo make compose-test"]
fn compose_says_that_models_are_missing_and_cannot_be_fetched() {
    let mut project = Project::new();
    let empty = project.folder.path().join("models");
    std::fs::create_dir(&empty).unwrap();
    std::fs::set_permissions(&empty, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    project.set("SOLO_MODELS_DIR", &empty.display().to_string());
    // As where there is no network.
    project.overlay(
        "services:\n  models:\n    environment: { HF_ENDPOINT: \"http://127.0.0.1:9\", PIP_INDEX_URL: \"http://127.0.0.1:9\", PIP_RETRIES: \"0\" }\n",
    );
    let said = fails(&project, &[]);
    assert!(said.contains("models"), "{said}");
    let found = doctor(&project, "services");
    assert!(
        found.contains("models were not fetched") && found.contains("SOLO_MODELS_DIR"),
        "{found}"
    );
    // Without the fetcher a service says it by itself.
    project.compose_ok(&["up", "--detach", "--no-build", "--no-deps", "stt-svc"]);
    wait_until("it has given up", || {
        project.container("stt-svc")["State"]["Status"] == "exited"
    });
    let found = doctor(&project, "services");
    assert!(found.contains("stt-svc ended with exit code 66"), "{found}");
    assert!(
        found.contains("solo models pull whisper-base") && found.contains("docker compose run --rm models models pull"),
        "{found}"
    );
}

#[test]
#[ignore = "needs Docker: cargo make compose-test"]
fn compose_says_that_a_service_needs_more_memory() {
    let mut project = Project::new();
    project.set("SOLO_LLM_MEMORY", "200m");
    fails(&project, &["agent-svc"]);
    wait_until("it has given up", || {
        project.container("llm-svc")["State"]["Status"] == "exited"
    });
    let found = doctor(&project, "services");
    assert!(
        found.contains("llm-svc was ended for taking more memory") && found.contains("SOLO_LLM_MEMORY"),
        "{found}"
    );
}

#[test]
#[ignore = "needs Docker: cargo make compose-test"]
fn compose_with_gpus_says_that_there_is_none() {
    if std::path::Path::new("/dev/nvidiactl").exists() {
        eprintln!("skipped: this machine has a GPU");
        return;
    }
    let mut project = Project::new();
    // The image is another one, which only a GPU is worth building.
    let gpu = std::fs::read_to_string(solo_tests::compose::root().join("deploy/compose.gpu.yaml")).unwrap();
    project.overlay(&gpu.replace("solo/llm-svc-gpu", "solo/llm-svc"));
    let said = fails(&project, &["llm-svc"]);
    assert!(said.contains("could not select device driver"), "{said}");
    let found = doctor(&project, "gpu");
    assert!(
        found.contains("llm-svc is to have a GPU") && found.contains("nvidia-container-toolkit"),
        "{found}"
    );
}
