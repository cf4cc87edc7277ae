//! `solo doctor --compose`: the same questions of Solo in containers. The engine is asked through its own command line, as the
//! person does who types `docker compose`.

mod engine;

use std::collections::HashMap;
use std::io::ErrorKind;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use solo_service::config::path_or;
use solo_service::net;

use super::Finding;
use crate::services;
use crate::terminal::human_bytes;
use engine::{Container, Engine, Trouble};

/// What the containers need together with the default models, in bytes.
const MEMORY: u64 = 4_000_000_000;
/// Seconds by which clocks may differ.
const SKEW: i64 = 2;
/// The user that containers run as.
const USER: u32 = 10_001;

/// Looks at everything, as far as the engine lets it. `environment`: this process's, over the `.env` of the folder it is in.
pub(super) fn all(environment: &HashMap<String, String>) -> Vec<Finding> {
    let engine = match Engine::find() {
        Ok(engine) => engine,
        Err(trouble) => return vec![no_engine(&trouble)],
    };
    let containers = engine.containers();
    let mut findings = vec![
        Finding::good(
            "engine",
            format!("Docker {}, {} processors", engine.version, engine.processors),
        ),
        compose(),
        memory(engine.memory),
        clock(&engine),
        images(&engine, environment),
        models(environment),
    ];
    findings.extend(ports(environment, &containers));
    findings.push(gpu(&engine, &containers));
    findings.extend(states(&engine, &containers));
    findings
}

fn no_engine(trouble: &Trouble) -> Finding {
    let help = match trouble {
        Trouble::Absent => "install Docker Engine with its compose plugin, or run Solo without containers: `solo up`",
        Trouble::Denied(_) => "add yourself to the group: `sudo usermod -aG docker $USER`, then log in again",
        Trouble::Silent(_) => "start it: `sudo systemctl start docker` (Docker Desktop: open it)",
    };
    Finding::bad("engine", trouble.to_string(), help)
}

fn compose() -> Finding {
    match engine::compose_version() {
        Some(version) => Finding::good("compose", version),
        None => Finding::bad(
            "compose",
            "neither `docker compose` nor `docker-compose` answers",
            "install the compose plugin (Debian: apt-get install docker-compose)",
        ),
    }
}

fn memory(bytes: u64) -> Finding {
    let found = format!("the engine has {}", human_bytes(bytes));
    if bytes >= MEMORY {
        return Finding::good("memory", found);
    }
    Finding::bad(
        "memory",
        format!("{found}; the default models want {}", human_bytes(MEMORY)),
        "give the engine more, or choose a smaller chat model: `model = \"smollm2-135m\"` in [llm] of deploy/config/solo.toml",
    )
}

fn clock(engine: &Engine) -> Finding {
    match engine
        .clock
        .map(|clock| (clock.as_second() - Timestamp::now().as_second()).abs())
    {
        Some(skew) if skew > SKEW => Finding::bad(
            "clock",
            format!("the engine's differs from this machine's by {skew} s"),
            "restart the engine's machine, or synchronise its clock (NTP): reminders would ring at other times",
        ),
        Some(_) => Finding::good("clock", "the engine's agrees with this machine's"),
        None => Finding::idle(
            "clock",
            "the engine does not tell its own",
            "compare `date` here and in a container",
        ),
    }
}

fn images(engine: &Engine, environment: &HashMap<String, String>) -> Finding {
    let tag = value_of(environment, "SOLO_VERSION").unwrap_or("dev");
    let wanted = services::ALL.iter().map(|service| service.name).chain(["solo"]);
    let missing: Vec<String> = wanted
        .map(|name| format!("solo/{name}:{tag}"))
        .filter(|image| !engine.has_image(image))
        .collect();
    if missing.is_empty() {
        return Finding::good("images", format!("all there, {tag}"));
    }
    Finding::bad(
        "images",
        format!("not there: {}", missing.join(", ")),
        "`scripts/dev.sh images` builds them, `docker/images.sh load FILE` loads what `docker/images.sh save` made elsewhere",
    )
}

/// A variable, where it says anything: to compose an empty one is none.
fn value_of<'a>(environment: &'a HashMap<String, String>, name: &str) -> Option<&'a str> {
    environment
        .get(name)
        .map(String::as_str)
        .filter(|value| !value.is_empty())
}

/// Whether the containers' user can read the models of this machine, where it is to.
fn models(environment: &HashMap<String, String>) -> Finding {
    let Some(named) = value_of(environment, "SOLO_MODELS_DIR") else {
        return Finding::good("models", "fetched into the volume \"models\"");
    };
    if !named.starts_with(['/', '.', '~']) {
        return Finding::bad(
            "models",
            format!("SOLO_MODELS_DIR={named}: compose takes that for the name of a volume"),
            "a path of a folder begins with / or ./",
        );
    }
    let folder = path_or(named, PathBuf::new);
    if !folder.is_dir() {
        return Finding::bad(
            "models",
            format!("SOLO_MODELS_DIR: there is no folder {}", folder.display()),
            "`solo --config deploy/config/solo.toml models pull` fetches models; without SOLO_MODELS_DIR they go into a volume",
        );
    }
    // Folders above do not matter: only this one is in the containers.
    let models = std::fs::read_dir(&folder).into_iter().flatten().flatten();
    let files = models.flat_map(|model| {
        let inside = std::fs::read_dir(model.path()).into_iter().flatten().flatten();
        inside.map(|file| file.path()).chain([model.path()])
    });
    match files.chain([folder.clone()]).find(|path| !readable(path)) {
        Some(closed) => Finding::bad(
            "models",
            format!("{} cannot be read by the containers' user ({USER})", closed.display()),
            format!("chmod -R o+rX {}", folder.display()),
        ),
        None => Finding::good("models", folder.display().to_string()),
    }
}

fn readable(path: &Path) -> bool {
    let Ok(metadata) = path.metadata() else { return false };
    let wanted = if metadata.is_dir() { 0o5 } else { 0o4 };
    let mode = metadata.permissions().mode();
    if metadata.uid() == USER {
        mode >> 6 & wanted == wanted
    } else if metadata.gid() == USER {
        mode >> 3 & wanted == wanted
    } else {
        mode & wanted == wanted
    }
}

/// Whether the gateway's ports are free, or its own.
fn ports(environment: &HashMap<String, String>, containers: &[Container]) -> Vec<Finding> {
    let address = value_of(environment, "SOLO_PUBLISH").unwrap_or("127.0.0.1");
    let port = |name: &str, default: u16| match value_of(environment, name) {
        Some(text) => (name.to_owned(), text.parse().ok()),
        None => (name.to_owned(), Some(default)),
    };
    let wanted = [port("SOLO_HTTP_PORT", 8080), port("SOLO_GRPC_PORT", 50050)];
    let faults: Vec<Finding> = wanted
        .into_iter()
        .filter_map(|(name, port)| {
            let help = format!("stop it, or set {name} in .env to another port");
            let Some(port) = port else {
                return Some(Finding::bad(
                    "ports",
                    format!("{name} is no port"),
                    "a number from 1 to 65535 is wanted",
                ));
            };
            if containers.iter().any(|container| container.publishes(port)) {
                return None;
            }
            let refused = TcpListener::bind((address, port)).err();
            // What only root may have the engine may have.
            let refused = refused.filter(|error| error.kind() != ErrorKind::PermissionDenied);
            refused.map(|error| {
                let found = match net::port_owner(port) {
                    Some(owner) => format!("{port} is taken by {} (process {})", owner.name, owner.pid),
                    None => format!("{address}:{port} cannot be had: {error}"),
                };
                Finding::bad("ports", found, help)
            })
        })
        .collect();
    if faults.is_empty() {
        vec![Finding::good("ports", "free, or published by the gateway")]
    } else {
        faults
    }
}

/// Whether a container that was given GPUs sees one.
fn gpu(engine: &Engine, containers: &[Container]) -> Finding {
    let given: Vec<&Container> = containers.iter().filter(|container| container.gpus).collect();
    let host = Path::new("/dev/nvidiactl").exists();
    if given.is_empty() {
        return match (host, engine.nvidia) {
            (true, false) => Finding::idle(
                "gpu",
                "this machine has one, the engine cannot give it to containers",
                "install nvidia-container-toolkit, then `docker compose -f compose.yaml -f deploy/compose.gpu.yaml up -d`",
            ),
            (true, true) => Finding::idle(
                "gpu",
                "there is one, and no container was given it",
                "`docker compose -f compose.yaml -f deploy/compose.gpu.yaml up -d`",
            ),
            (false, _) => Finding::good("gpu", "none, and none is asked for"),
        };
    }
    let names = |containers: &[&Container]| {
        let names: Vec<&str> = containers.iter().map(|container| container.service.as_str()).collect();
        names.join(", ")
    };
    // What a running one sees says more than what machine and engine show: GPUs come in several ways.
    let (running, down): (Vec<_>, Vec<_>) = given.into_iter().partition(|container| container.running());
    let blind: Vec<_> = running
        .iter()
        .copied()
        .filter(|container| !engine.sees_gpu(container))
        .collect();
    if !blind.is_empty() {
        return Finding::bad(
            "gpu",
            format!("{} was given a GPU and sees none", names(&blind)),
            "`nvidia-smi` on this machine, then `nvidia-ctk runtime configure` and a restart of the engine",
        );
    }
    if running.is_empty() && (!host || !engine.nvidia) {
        let why = if host {
            "the engine cannot give it one"
        } else {
            "this machine shows none"
        };
        return Finding::bad(
            "gpu",
            format!("{} is to have a GPU, and {why}", names(&down)),
            "install NVIDIA's driver and nvidia-container-toolkit, or start without deploy/compose.gpu.yaml",
        );
    }
    let all = [running, down].concat();
    Finding::good("gpu", format!("given to {}", names(&all)))
}

fn states(engine: &Engine, containers: &[Container]) -> Vec<Finding> {
    if containers.is_empty() {
        return vec![Finding::idle(
            "services",
            "no container of Solo is there",
            "`docker compose up -d`",
        )];
    }
    let mut faults = Vec::new();
    for container in containers {
        // Asking is slow, and most are well.
        if container.trouble("").is_none() {
            continue;
        }
        let last = engine.last_error(container);
        if let Some((found, help)) = container.trouble(&last) {
            let found = if last.is_empty() {
                found
            } else {
                format!("{found}: {last}")
            };
            faults.push(Finding::bad("services", found, help));
        }
    }
    if faults.is_empty() {
        let running = |name: &str| {
            containers
                .iter()
                .any(|container| container.service == name && container.running())
        };
        let missing: Vec<&str> = services::ALL
            .iter()
            .map(|service| service.name)
            .filter(|name| !running(name))
            .collect();
        return vec![if missing.is_empty() {
            Finding::good("services", "all running and healthy")
        } else {
            Finding::idle(
                "services",
                format!("not running: {}", missing.join(", ")),
                "`docker compose up -d`",
            )
        }];
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_of_models_that_compose_takes_for_a_volume_is_named() {
        let with = |folder: &str| models(&HashMap::from([("SOLO_MODELS_DIR".to_owned(), folder.to_owned())]));
        let volume = with("models");
        assert_eq!(volume.ok, Some(false));
        assert!(volume.found.contains("volume"), "{volume:?}");
        // To compose, and so here, that is as if it were not set.
        assert_eq!(with("").ok, Some(true));
        let folder = tempfile::tempdir().unwrap();
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(with(&folder.path().display().to_string()).ok, Some(true));
    }
}
