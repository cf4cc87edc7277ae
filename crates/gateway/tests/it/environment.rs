//! A service that is started plainly runs with what its libraries read before `main`, and keeps what a person has set.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use solo_testkit::wait_for;

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Already gone is what is wanted.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn a_service_settles_its_environment_and_respects_what_is_set() {
    let set = [
        "gateway.listen=127.0.0.1:0",
        "gateway.http_listen=127.0.0.1:0",
        "gateway.wyoming.stt_listen=",
        "gateway.wyoming.tts_listen=",
        "gateway.wyoming.wake_listen=",
    ];
    let mut command = Command::new(env!("CARGO_BIN_EXE_gateway"));
    command
        .arg("run")
        .args(set.iter().flat_map(|key| ["--set", key]))
        .env_remove("GLIBC_TUNABLES")
        .env("GOMP_SPINCOUNT", "7")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut running = Running(command.spawn().unwrap());
    let file = format!("/proc/{}/environ", running.0.id());
    let holds = |wanted: &str| {
        let variables = std::fs::read(&file).unwrap();
        variables
            .split(|&byte| byte == 0)
            .any(|variable| variable == wanted.as_bytes())
    };
    wait_for(
        "the service to start itself once more",
        Duration::from_secs(20),
        async || holds("GLIBC_TUNABLES=glibc.malloc.hugetlb=1"),
    )
    .await;
    assert!(holds("GOMP_SPINCOUNT=7"), "what a person has set stays");
    assert!(
        running.0.try_wait().unwrap().is_none(),
        "it is the same process, and it runs"
    );
}
