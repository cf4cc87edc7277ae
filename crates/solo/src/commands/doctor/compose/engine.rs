//! What the engine says of itself and of Solo's containers.

use std::fmt;
use std::process::{Command, Stdio};

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;
use solo_service::exit;

use super::USER;

/// Every image of Solo, and so every container of one, carries it: the name of its service.
const LABEL: &str = "solo.service";

/// The service of the container that fetches models: the command line itself.
const FETCHER: &str = "solo";

/// Why there is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Trouble {
    /// No `docker` is installed.
    Absent,
    /// It lets this person not in.
    Denied(String),
    /// It does not answer.
    Silent(String),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("`docker` is not installed"),
            Self::Denied(said) | Self::Silent(said) => f.write_str(said),
        }
    }
}

/// An engine that answers.
pub(super) struct Engine {
    pub(super) version: String,
    pub(super) processors: u64,
    /// Bytes.
    pub(super) memory: u64,
    pub(super) clock: Option<Timestamp>,
    /// Whether it can give NVIDIA GPUs to containers.
    pub(super) nvidia: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Info {
    #[serde(default)]
    server_version: String,
    #[serde(default, rename = "NCPU")]
    processors: u64,
    #[serde(default)]
    mem_total: u64,
    #[serde(default)]
    system_time: String,
    #[serde(default)]
    runtimes: serde_json::Map<String, Value>,
    #[serde(default)]
    server_errors: Vec<String>,
}

impl Engine {
    /// Asks the engine that `docker` talks to.
    pub(super) fn find() -> Result<Self, Trouble> {
        let output = Command::new("docker")
            .args(["info", "--format", "{{json .}}"])
            .stdin(Stdio::null())
            .output()
            .map_err(|_| Trouble::Absent)?;
        let said = String::from_utf8_lossy(&output.stderr);
        let info: Option<Info> = serde_json::from_slice(&output.stdout).ok();
        let problem = info
            .as_ref()
            .and_then(|info| info.server_errors.first().cloned())
            .or_else(|| (!output.status.success()).then(|| first_line(&said)));
        if let Some(problem) = problem {
            return Err(if problem.contains("permission denied") {
                Trouble::Denied(problem)
            } else {
                Trouble::Silent(problem)
            });
        }
        let info = info.ok_or_else(|| Trouble::Silent("what `docker info` says is not understood".to_owned()))?;
        Ok(Self {
            version: info.server_version,
            processors: info.processors,
            memory: info.mem_total,
            clock: info.system_time.parse().ok(),
            nvidia: info.runtimes.contains_key("nvidia"),
        })
    }

    pub(super) fn has_image(&self, image: &str) -> bool {
        ask(&["image", "inspect", "--format", "{{.Id}}", image]).is_some()
    }

    /// Solo's containers, whoever started them.
    pub(super) fn containers(&self) -> Vec<Container> {
        let filter = format!("label={LABEL}");
        let ids = ask(&["ps", "--all", "--quiet", "--filter", &filter]).unwrap_or_default();
        let ids: Vec<&str> = ids.split_whitespace().collect();
        if ids.is_empty() {
            return Vec::new();
        }
        let inspected = ask(&[&["inspect"], ids.as_slice()].concat()).unwrap_or_default();
        let all: Vec<Value> = serde_json::from_str(&inspected).unwrap_or_default();
        all.iter().map(Container::read).collect()
    }

    /// Whether the driver's tool finds a GPU inside.
    pub(super) fn sees_gpu(&self, container: &Container) -> bool {
        ask(&["exec", &container.id, "nvidia-smi", "-L"]).is_some_and(|listed| listed.contains("GPU 0"))
    }

    /// The last error that it logged, or else its last line.
    pub(super) fn last_error(&self, container: &Container) -> String {
        let output = Command::new("docker")
            .args(["logs", "--tail", "20", &container.id])
            .stdin(Stdio::null())
            .output();
        let text = output
            .map(|output| [output.stdout, output.stderr].concat())
            .unwrap_or_default();
        let text = anstream::adapter::strip_str(&String::from_utf8_lossy(&text)).to_string();
        let lines = || text.lines().rev().map(str::trim).filter(|line| !line.is_empty());
        let error = lines().find_map(|line| line.strip_prefix("error: "));
        error.or_else(|| lines().next()).unwrap_or_default().to_owned()
    }
}

/// One of Solo's containers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Container {
    pub(super) id: String,
    pub(super) service: String,
    /// "running", "exited", "restarting", …
    state: String,
    exit_code: i64,
    /// Whether the kernel ended it for what it took.
    out_of_memory: bool,
    /// "healthy", "unhealthy", "starting"; empty where nobody looks.
    health: String,
    /// Whether it was given GPUs.
    pub(super) gpus: bool,
    /// As `docker` calls it.
    name: String,
    image: String,
    /// Ports of this machine.
    published: Vec<u16>,
}

impl Container {
    fn read(inspected: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let state = &inspected["State"];
        Self {
            id: text(&inspected["Id"]),
            service: text(&inspected["Config"]["Labels"][LABEL]),
            state: text(&state["Status"]),
            exit_code: state["ExitCode"].as_i64().unwrap_or(0),
            out_of_memory: state["OOMKilled"].as_bool().unwrap_or(false),
            health: text(&state["Health"]["Status"]),
            name: text(&inspected["Name"]).trim_start_matches('/').to_owned(),
            image: text(&inspected["Config"]["Image"]),
            published: ports(&inspected["HostConfig"]["PortBindings"]),
            gpus: inspected["HostConfig"]["DeviceRequests"]
                .as_array()
                .is_some_and(|requests| !requests.is_empty()),
        }
    }

    /// Whether it runs and has this port of the machine.
    pub(super) fn publishes(&self, port: u16) -> bool {
        self.running() && self.published.contains(&port)
    }

    pub(super) fn running(&self) -> bool {
        self.state == "running"
    }

    /// What is wrong with it, and the remedy. `last`: the last line that it logged.
    pub(super) fn trouble(&self, last: &str) -> Option<(String, String)> {
        if self.service == FETCHER {
            // It is there to end.
            let help = if last.contains("cannot write") {
                format!(
                    "SOLO_MODELS_DIR cannot be written by the containers' user ({USER}): `solo --config deploy/config/solo.toml models pull` needs no container"
                )
            } else {
                "models are fetched where there is a network; without one, SOLO_MODELS_DIR in .env names a folder with them".to_owned()
            };
            let found = format!("models were not fetched (exit code {})", self.exit_code);
            return (self.state == "exited" && self.exit_code != 0).then_some((found, help));
        }
        let (service, code) = (&self.service, self.exit_code);
        let again = format!("`docker compose logs {service}` says more; `docker compose up -d` tries again");
        if self.out_of_memory && !self.running() {
            let section = service.trim_end_matches("-svc").to_uppercase();
            return Some((
                format!("{service} was ended for taking more memory than it may"),
                format!("set SOLO_{section}_MEMORY in .env to more, or choose a smaller model"),
            ));
        }
        let ended = matches!(self.state.as_str(), "exited" | "dead" | "restarting") && code != 0;
        if ended {
            let why = match u8::try_from(code) {
                Ok(exit::CONFIG) => {
                    "its configuration is wrong: correct deploy/config/solo.toml, then `docker compose up -d`"
                        .to_owned()
                }
                Ok(exit::UNAVAILABLE) if last.contains("Permission denied") => format!(
                    "its volume is somebody else's; the containers' user is {USER}: `docker run --rm --user 0 --entrypoint chown \
                     --volumes-from {} {} -R {USER}:{USER} /data`",
                    self.name, self.image
                ),
                Ok(exit::MISSING_MODEL) => {
                    "a model is missing: `docker compose run --rm models models pull ID` fetches it, with the name above".to_owned()
                }
                _ => again,
            };
            let doing = if self.state == "restarting" {
                "keeps ending"
            } else {
                "ended"
            };
            return Some((format!("{service} {doing} with exit code {code}"), why));
        }
        (self.health == "unhealthy").then(|| (format!("{service} runs and does not serve"), again))
    }
}

/// The version of whichever answers: `docker compose` or `docker-compose`.
pub(super) fn compose_version() -> Option<String> {
    let plugin = ask(&["compose", "version", "--short"]).map(|version| format!("docker compose {}", version.trim()));
    plugin.or_else(|| {
        let output = Command::new("docker-compose")
            .args(["version", "--short"])
            .stdin(Stdio::null())
            .output()
            .ok()?;
        let version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        output.status.success().then(|| format!("docker-compose {version}"))
    })
}

/// What `docker ARGS…` prints; `None` where it fails.
fn ask(arguments: &[&str]) -> Option<String> {
    let output = Command::new("docker")
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The ports of the host in Docker's `PortBindings`.
fn ports(bindings: &Value) -> Vec<u16> {
    let all = bindings.as_object().into_iter().flat_map(|all| all.values());
    let bound = all.filter_map(Value::as_array).flatten();
    bound
        .filter_map(|bound| bound["HostPort"].as_str()?.parse().ok())
        .collect()
}

fn first_line(text: &str) -> String {
    let line = text
        .lines()
        .find(|line| !line.trim().is_empty())
        .unwrap_or("it does not answer");
    line.trim_start_matches("ERROR: ").to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn container(state: Value) -> Container {
        Container::read(&json!({
            "Id": "1", "State": state, "Config": { "Labels": { "solo.service": "llm-svc" } }, "HostConfig": { "DeviceRequests": null },
        }))
    }

    #[test]
    fn what_ails_a_container_comes_with_the_remedy() {
        let ailing = |state| container(state).trouble("");
        assert_eq!(
            ailing(json!({ "Status": "running", "Health": { "Status": "healthy" } })),
            None
        );
        // It did what it was there for.
        assert_eq!(ailing(json!({ "Status": "exited", "ExitCode": 0 })), None);
        let (found, help) = ailing(json!({ "Status": "restarting", "ExitCode": 64 })).unwrap();
        assert_eq!(found, "llm-svc keeps ending with exit code 64");
        assert!(help.contains("deploy/config/solo.toml"), "{help}");
        let (_, help) = ailing(json!({ "Status": "exited", "ExitCode": 66 })).unwrap();
        assert!(help.contains("docker compose run --rm models models pull"), "{help}");
        let (found, help) = ailing(json!({ "Status": "exited", "ExitCode": 137, "OOMKilled": true })).unwrap();
        assert!(
            found.contains("memory") && help.contains("SOLO_LLM_MEMORY"),
            "{found}; {help}"
        );
        let denied =
            container(json!({ "Status": "exited", "ExitCode": 69 })).trouble("error: /data: Permission denied");
        assert!(denied.unwrap().1.contains("chown"));
        let (found, _) = ailing(json!({ "Status": "running", "Health": { "Status": "unhealthy" } })).unwrap();
        assert_eq!(found, "llm-svc runs and does not serve");
    }
}
