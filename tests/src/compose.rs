//! Solo in containers for one test: compose.yaml with images of the development build, a project of its own, free ports, the
//! models of this machine. What it started it stops by name.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use solo_testkit::models_dir;

use crate::{SERVICES, binary, wait_until};

/// A project: what `docker compose` is told, and the folder that holds what it makes.
pub struct Project {
    /// Holds configurations and recordings; goes with the value.
    pub folder: TempDir,
    name: String,
    environment: BTreeMap<String, String>,
    files: Vec<PathBuf>,
}

impl Project {
    /// Nothing runs yet.
    ///
    /// # Panics
    /// When there is no engine: `cargo make compose-test` sees to one.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let name = format!("solo-test-{}", std::process::id());
        let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").expect("a free port"));
        let [http, grpc] = listeners.map(|listener| listener.local_addr().expect("bound").port().to_string());
        let mut project = Self {
            folder,
            name,
            environment: BTreeMap::new(),
            files: vec![root().join("compose.yaml")],
        };
        project.set("SOLO_VERSION", &version());
        project.set("SOLO_HTTP_PORT", &http);
        project.set("SOLO_GRPC_PORT", &grpc);
        project.set("SOLO_MODELS_DIR", &models_dir().display().to_string());
        // The `.env` of the repository is the person's, not the test's.
        std::fs::write(project.folder.path().join("env"), "").expect("an empty file");
        project
    }

    /// What `.env` would say.
    pub fn set(&mut self, variable: &str, value: &str) {
        self.environment.insert(variable.to_owned(), value.to_owned());
    }

    /// What a variable says.
    pub fn get(&self, variable: &str) -> &str {
        self.environment.get(variable).map_or("", String::as_str)
    }

    /// All variables.
    pub fn environment(&self) -> &BTreeMap<String, String> {
        &self.environment
    }

    /// Lays another file over compose.yaml.
    pub fn overlay(&mut self, text: &str) {
        let file = self.folder.path().join(format!("overlay-{}.yaml", self.files.len()));
        std::fs::write(&file, text).expect("an overlay");
        self.files.push(file);
    }

    /// `docker compose ARGS…` of this project.
    pub fn compose(&self, args: &[&str]) -> Output {
        let plugin = Command::new("docker").args(["compose", "version"]).output();
        let mut command = if plugin.is_ok_and(|output| output.status.success()) {
            let mut command = Command::new("docker");
            command.arg("compose");
            command
        } else {
            Command::new("docker-compose")
        };
        command.arg("--project-name").arg(&self.name);
        command.arg("--project-directory").arg(root());
        command.arg("--env-file").arg(self.folder.path().join("env"));
        for file in &self.files {
            command.arg("--file").arg(file);
        }
        command
            .args(args)
            .envs(&self.environment)
            .stdin(Stdio::null())
            .output()
            .expect("compose runs")
    }

    /// The same, which must work; its standard output.
    ///
    /// # Panics
    /// With all it said, when it fails.
    pub fn compose_ok(&self, args: &[&str]) -> String {
        text_of(&format!("compose {args:?}"), self.compose(args))
    }

    /// Starts everything and waits until it is healthy.
    pub fn up(&self) {
        self.compose_ok(&["up", "--detach", "--no-build"]);
        self.wait_healthy(&SERVICES);
    }

    /// Waits until every container of these services is healthy.
    pub fn wait_healthy(&self, services: &[&str]) {
        wait_until(&format!("{services:?} are healthy"), || {
            services.iter().all(|service| {
                let containers = self.containers(service);
                !containers.is_empty()
                    && containers.iter().all(|container| {
                        // Of one that ended the engine remembers how it was.
                        let state = &container["State"];
                        state["Status"] == "running" && state["Health"]["Status"] == "healthy"
                    })
            })
        });
    }

    /// What `docker inspect` says of the containers of a service, in no order.
    pub fn containers(&self, service: &str) -> Vec<Value> {
        let project = format!("label=com.docker.compose.project={}", self.name);
        let service = format!("label=com.docker.compose.service={service}");
        let ids = docker(&["ps", "--all", "--quiet", "--filter", &project, "--filter", &service]);
        let ids: Vec<&str> = ids.split_whitespace().collect();
        if ids.is_empty() {
            return Vec::new();
        }
        let inspected = docker(&[&["inspect"], ids.as_slice()].concat());
        serde_json::from_str(&inspected).expect("docker inspect prints JSON")
    }

    /// The one container of a service.
    pub fn container(&self, service: &str) -> Value {
        let mut all = self.containers(service);
        assert_eq!(all.len(), 1, "{service} has one container");
        all.remove(0)
    }

    /// A command of the command line, towards this project's gateway.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(binary("solo"));
        for (variable, _) in std::env::vars().filter(|(variable, _)| variable.starts_with("SOLO_")) {
            command.env_remove(variable);
        }
        command
            .args(args)
            .env(
                "SOLO_GLOBAL__ENDPOINTS__GATEWAY",
                format!("http://127.0.0.1:{}", self.get("SOLO_GRPC_PORT")),
            )
            .env("SOLO_DATA_DIR", self.folder.path().join("data"))
            .env("XDG_CONFIG_HOME", self.folder.path())
            .env("NO_COLOR", "1")
            .current_dir(self.folder.path())
            .stdin(Stdio::null());
        command
    }

    /// Runs `solo ARGS…`; its standard output.
    ///
    /// # Panics
    /// With all it said, when it fails.
    pub fn solo(&self, args: &[&str]) -> String {
        text_of(
            &format!("solo {args:?}"),
            self.command(args).output().expect("solo runs"),
        )
    }

    /// The same, parsed as JSON.
    pub fn json(&self, args: &[&str]) -> Value {
        let text = self.solo(args);
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("solo {args:?} prints no JSON ({error}): {text}"))
    }

    /// Begins `solo ARGS…`.
    pub fn begin(&self, args: &[&str]) -> Child {
        self.command(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("solo runs")
    }

    /// What is left of the project: containers, volumes, networks.
    pub fn remains(&self) -> String {
        let project = format!("label=com.docker.compose.project={}", self.name);
        ["container", "volume", "network"]
            .map(|kind| {
                let all: &[&str] = if kind == "container" { &["--all"] } else { &[] };
                docker(&[&[kind, "ls", "--quiet", "--filter", &project], all].concat())
            })
            .concat()
    }
}

impl Default for Project {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let said = self.compose(&["logs", "--no-color", "--tail", "40"]);
            eprintln!("{}", String::from_utf8_lossy(&said.stdout));
        }
        self.compose(&["down", "--volumes", "--remove-orphans", "--timeout", "5"]);
    }
}

/// The tag of the images: SOLO_VERSION, or "dev".
pub fn version() -> String {
    std::env::var("SOLO_VERSION").unwrap_or_else(|_| "dev".to_owned())
}

/// What `docker ARGS…` prints.
///
/// # Panics
/// With all it said, when it fails.
pub fn docker(args: &[&str]) -> String {
    let output = Command::new("docker").args(args).stdin(Stdio::null()).output();
    text_of(&format!("docker {args:?}"), output.expect("docker runs"))
}

fn text_of(what: &str, output: Output) -> String {
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{what}: {}\n{out}\n{err}", output.status);
    out.into_owned()
}

/// The repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("this package stands in the repository")
}
