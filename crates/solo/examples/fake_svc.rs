//! A service that serves nothing but health and status, for the tests of the runner: they link it under the seven names.
//!
//! It behaves as `$FAKE_DIR/<name>` says, read at every start: `serve` (also when there is no such file), `slow MS`
//! (SERVING after a while), `drain MS` (takes its time to end), `exit CODE TEXT` (says TEXT and ends), `parent` (starts a
//! process of its own). It notes its starts in `$FAKE_DIR/starts` and its orderly ends in `$FAKE_DIR/ends`.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use solo_proto::status::v1::status_service_server::{StatusService, StatusServiceServer};
use solo_proto::status::v1::{GetStatusRequest, GetStatusResponse, ServiceState, ServiceStatus};
use solo_service::config::{Inputs, load_global};
use tonic::{Request, Response, Status};

struct About(String);

#[tonic::async_trait]
impl StatusService for About {
    async fn get_status(&self, _: Request<GetStatusRequest>) -> Result<Response<GetStatusResponse>, Status> {
        let status = ServiceStatus {
            service: self.0.clone(),
            state: ServiceState::Serving as i32,
            engine: "fake".into(),
            model: "fake-1".into(),
            device: "cpu".into(),
            ready_ms: 1,
            rss_bytes: 1_000_000,
            pid: std::process::id(),
            ..ServiceStatus::default()
        };
        Ok(Response::new(GetStatusResponse { status: Some(status) }))
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let name = PathBuf::from(&arguments[0])
        .file_name()
        .expect("a name")
        .to_string_lossy()
        .into_owned();
    let folder = PathBuf::from(std::env::var_os("FAKE_DIR").expect("FAKE_DIR"));
    let file = arguments
        .iter()
        .position(|argument| argument == "--config")
        .map(|i| PathBuf::from(&arguments[i + 1]));
    let behaviour = std::fs::read_to_string(folder.join(&name)).unwrap_or_else(|_| "serve".into());
    let words: Vec<&str> = behaviour.trim().splitn(3, ' ').collect();
    if arguments.iter().any(|argument| argument == "check-config") {
        println!("{name}: the configuration is valid");
        return ExitCode::SUCCESS;
    }
    note(&folder, "starts", &format!("{name} {}", std::process::id()));
    eprintln!("fake {name} starts");
    if let ["exit", code, text] = words[..] {
        eprintln!("error: {text}");
        return ExitCode::from(code.parse::<u8>().expect("an exit code"));
    }
    if words[0] == "parent" {
        #[expect(
            clippy::zombie_processes,
            reason = "whether it ends without being waited for is what is tested"
        )]
        let child = std::process::Command::new("sleep")
            .arg("600")
            .spawn()
            .expect("sleep starts");
        note(&folder, "children", &child.id().to_string());
    }
    die_with_the_runner();
    let global = load_global(&Inputs {
        file,
        ..Inputs::default()
    })
    .expect("configuration");
    let endpoint = global.endpoints.of(&name).expect("a service's name").to_owned();
    let address = endpoint.trim_start_matches("http://").parse().expect("an address");
    let wait = |verb: &str| match words[..] {
        [said, ms] if said == verb => Duration::from_millis(ms.parse().expect("milliseconds")),
        _ => Duration::ZERO,
    };
    let (slow, drain) = (wait("slow"), wait("drain"));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let (reporter, health) = tonic_health::server::health_reporter();
        reporter
            .set_service_status("", tonic_health::ServingStatus::NotServing)
            .await;
        let setting = reporter.clone();
        tokio::spawn(async move {
            tokio::time::sleep(slow).await;
            setting
                .set_service_status("", tonic_health::ServingStatus::Serving)
                .await;
        });
        let mut terminate =
            tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()).expect("a signal handler");
        let served = tonic::transport::Server::builder()
            .add_service(health)
            .add_service(StatusServiceServer::new(About(name.clone())))
            .serve(address);
        tokio::select! {
            result = served => {
                eprintln!("error: {result:?}");
                ExitCode::from(69)
            }
            _ = terminate.recv() => {
                tokio::time::sleep(drain).await;
                note(&folder, "ends", &name);
                ExitCode::SUCCESS
            }
        }
    })
}

/// What solo-service does for the real ones.
fn die_with_the_runner() {
    let Ok(fd) = std::env::var("SOLO_RUNNER_PIPE_FD") else {
        return;
    };
    std::thread::spawn(move || {
        let mut pipe = std::fs::File::open(format!("/proc/self/fd/{fd}")).expect("the runner's pipe");
        let _ = pipe.read(&mut [0]);
        std::process::exit(0);
    });
}

fn note(folder: &std::path::Path, file: &str, line: &str) {
    let mut file = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(folder.join(file))
        .expect("a note");
    file.write_all(format!("{line}\n").as_bytes()).expect("a note");
}
