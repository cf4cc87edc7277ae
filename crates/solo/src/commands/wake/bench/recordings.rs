//! The recordings of a folder: what is said in each, and where.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::failure::{Exit, Failure};

const MANIFEST: &str = "manifest.jsonl";

/// A recording, not read yet. As it stands in the manifest.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Recording {
    /// The file; in the manifest from its folder.
    pub(super) file: PathBuf,
    /// The keyword that is said once. `None`: none is.
    pub(super) keyword: Option<String>,
    /// Where it begins.
    pub(super) start_ms: Option<u64>,
    /// Where it ends.
    pub(super) end_ms: Option<u64>,
    /// What else is known: by these results are broken down.
    #[serde(default)]
    pub(super) tags: BTreeMap<String, String>,
}

impl Recording {
    /// Its samples at 16 kHz.
    pub(super) fn samples(&self) -> Result<Vec<i16>, Failure> {
        let name = self.file.display();
        let bytes = fs::read(&self.file).map_err(|e| Failure::failed(format!("{name} cannot be read: {e}")))?;
        let samples = solo_audio::wav::read_speech(&bytes).map_err(|e| {
            Failure::failed(format!("{name} is no WAV file that Solo can read: {e}")).help(format!(
                "convert it: ffmpeg -i {name} -ar 16000 -ac 1 -c:a pcm_s16le OUT.wav"
            ))
        })?;
        if samples.is_empty() {
            return Err(Failure::failed(format!("{name} holds no sound")));
        }
        Ok(samples)
    }
}

/// All recordings of a folder.
///
/// # Errors
/// When it has none, or its manifest or layout is not as it should be; or when none of the keywords is said in any.
pub(super) fn find(folder: &Path, keywords: &[String]) -> Result<Vec<Recording>, Failure> {
    let name = folder.display();
    if !folder.is_dir() {
        return Err(Failure::new(Exit::Usage, format!("{name} is no folder")));
    }
    let manifest = folder.join(MANIFEST);
    let recordings = if manifest.is_file() {
        read(&manifest, folder)?
    } else {
        let mut found = positives(&folder.join("positives"), keywords)?;
        found.extend(negatives(&folder.join("negatives"))?);
        found
    };
    if recordings.is_empty() {
        return Err(Failure::new(Exit::Usage, format!("{name} holds no recordings"))
            .help("put WAV files into positives/KEYWORD/ and negatives/; `solo wake bench --help` tells more"));
    }
    // Those of other keywords tell nothing about these: they are neither positives nor free of anything.
    let unknown = recordings.iter().filter_map(|recording| recording.keyword.as_ref());
    let unknown = unknown
        .filter(|keyword| !keywords.contains(keyword))
        .collect::<Vec<_>>();
    if let (Some(keyword), true) = (unknown.first(), unknown.len() == recordings.len()) {
        return Err(Failure::new(
            Exit::Usage,
            format!(
                "{name} is about \"{keyword}\", and measured is: {}",
                keywords.join(", ")
            ),
        )
        .help(format!("`--keyword {keyword}` measures it")));
    }
    let measured = |recording: &Recording| {
        recording
            .keyword
            .as_ref()
            .is_none_or(|keyword| keywords.contains(keyword))
    };
    Ok(recordings.into_iter().filter(measured).collect())
}

fn read(manifest: &Path, folder: &Path) -> Result<Vec<Recording>, Failure> {
    let name = manifest.display();
    let text = fs::read_to_string(manifest).map_err(|e| Failure::failed(format!("{name} cannot be read: {e}")))?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let recording = |(index, line): (usize, &str)| {
        let mut recording: Recording =
            serde_json::from_str(line).map_err(|e| Failure::failed(format!("{name}, line {}: {e}", index + 1)))?;
        recording.file = folder.join(recording.file);
        Ok(recording)
    };
    lines.map(recording).collect()
}

fn positives(folder: &Path, keywords: &[String]) -> Result<Vec<Recording>, Failure> {
    let mut found = Vec::new();
    for file in files(folder)? {
        let inner = file.strip_prefix(folder).unwrap_or(&file);
        let below = inner.parent().and_then(|parent| parent.iter().next());
        let keyword = match (below, keywords) {
            (Some(keyword), _) => keyword.to_string_lossy().into_owned(),
            (None, [only]) => only.clone(),
            (None, _) => {
                return Err(Failure::new(
                    Exit::Usage,
                    format!(
                        "which keyword does {} say? {} are measured",
                        file.display(),
                        keywords.len()
                    ),
                )
                .help("put it into positives/KEYWORD/, or name one with --keyword"));
            }
        };
        found.push(plain(file, Some(keyword), BTreeMap::new()));
    }
    Ok(found)
}

fn negatives(folder: &Path) -> Result<Vec<Recording>, Failure> {
    let recording = |file: PathBuf| {
        let below = file.strip_prefix(folder).ok().and_then(Path::parent);
        let kind = below.filter(|below| !below.as_os_str().is_empty());
        let tags = kind.map(|kind| ("kind".to_owned(), kind.display().to_string()));
        plain(file.clone(), None, tags.into_iter().collect())
    };
    Ok(files(folder)?.into_iter().map(recording).collect())
}

fn plain(file: PathBuf, keyword: Option<String>, tags: BTreeMap<String, String>) -> Recording {
    Recording {
        file,
        keyword,
        start_ms: None,
        end_ms: None,
        tags,
    }
}

/// The audio files below a folder, in the order of their names; hidden files and text are none of them. None where there is
/// no folder.
fn files(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        if !folder.is_dir() {
            continue;
        }
        let unreadable = |e: std::io::Error| Failure::failed(format!("{} cannot be read: {e}", folder.display()));
        for entry in fs::read_dir(&folder).map_err(unreadable)? {
            let path = entry.map_err(unreadable)?.path();
            let hidden = path
                .file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with('.'));
            let text = path
                .extension()
                .is_some_and(|kind| ["txt", "tsv", "md", "json"].iter().any(|text| kind == *text));
            if hidden || text {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        folder
    }

    fn names(keywords: &[&str]) -> Vec<String> {
        keywords.iter().map(|keyword| (*keyword).to_owned()).collect()
    }

    #[test]
    fn folders_say_what_is_said() {
        let folder = folder(&[
            ("positives/alexa/b.wav", ""),
            ("positives/alexa/a.wav", ""),
            ("positives/other/a.wav", ""),
            ("negatives/x.wav", ""),
            ("negatives/near/y.wav", ""),
            ("negatives/notes.txt", ""),
        ]);
        let found = find(folder.path(), &names(&["alexa"])).unwrap();
        let found: Vec<_> = found
            .iter()
            .map(|recording| {
                let file = recording.file.strip_prefix(folder.path()).unwrap().to_str().unwrap();
                (
                    file,
                    recording.keyword.as_deref(),
                    recording.tags.get("kind").map(String::as_str),
                )
            })
            .collect();
        assert_eq!(
            found,
            [
                ("positives/alexa/a.wav", Some("alexa"), None),
                ("positives/alexa/b.wav", Some("alexa"), None),
                ("negatives/near/y.wav", None, Some("near")),
                ("negatives/x.wav", None, None),
            ]
        );
    }

    #[test]
    fn a_manifest_says_more() {
        let line = r#"{"file": "a.wav", "keyword": "alexa", "end_ms": 900, "tags": {"snr": "5 dB"}}"#;
        let good = folder(&[(MANIFEST, &format!("{line}\n\n{{\"file\": \"b.wav\"}}\n"))]);
        let found = find(good.path(), &names(&["alexa"])).unwrap();
        assert_eq!(
            (found.len(), found[0].end_ms, found[1].keyword.as_deref()),
            (2, Some(900), None)
        );
        assert_eq!(found[0].tags["snr"], "5 dB");
        let wrong = folder(&[(MANIFEST, "{\"file\": \"b.wav\"}\n{\"fiel\": \"b.wav\"}\n")]);
        let failure = find(wrong.path(), &names(&["alexa"])).unwrap_err();
        assert!(
            failure.message.contains("line 2") && failure.message.contains("fiel"),
            "{failure}"
        );
    }

    #[test]
    fn what_cannot_be_measured_is_said() {
        let failed = |files: &[(&str, &str)], keywords: &[&str]| {
            let folder = folder(files);
            find(folder.path(), &names(keywords)).unwrap_err()
        };
        let empty = failed(&[], &["alexa"]);
        assert!(empty.message.contains("no recordings") && empty.help.unwrap().contains("positives/KEYWORD"));
        let which = failed(&[("positives/a.wav", "")], &["alexa", "hey_jarvis"]);
        assert!(which.message.contains("which keyword does"), "{which}");
        let other = failed(&[("positives/alexa/a.wav", "")], &["hey_jarvis"]);
        assert!(other.help.unwrap().contains("--keyword alexa"));
        let nowhere = find(Path::new("/nowhere/at/all"), &names(&["alexa"])).unwrap_err();
        assert!(nowhere.message.contains("no folder"), "{nowhere}");
        let noise = folder(&[("negatives/a.mp3", "ID3")]);
        let found = find(noise.path(), &names(&["alexa"])).unwrap();
        let failure = found[0].samples().unwrap_err();
        assert!(failure.message.contains("a.mp3 is no WAV") && failure.help.unwrap().contains("ffmpeg"));
    }
}
