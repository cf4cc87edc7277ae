//! What a manifest must be like for the rest of Solo to trust it: unique ids, complete sources, digests that agree.

use std::collections::BTreeSet;

use super::{HubFile, InstalledFile, Manifest, Model, PackageFile, Source};

/// Everything wrong with the manifest, as sentences.
pub(super) fn faults(manifest: &Manifest) -> Vec<String> {
    let mut faults = Vec::new();
    if manifest.version != 1 {
        faults.push(format!("version 1 is wanted, found {}", manifest.version));
    }
    let mut ids = BTreeSet::new();
    for model in &manifest.models {
        if !ids.insert(model.id.as_str()) {
            faults.push(format!("{}: the id stands there twice", model.id));
        }
        faults.extend(
            model_faults(model)
                .into_iter()
                .map(|fault| format!("{}: {fault}", model.id)),
        );
    }
    let known = |id: &String| ids.contains(id.as_str());
    for id in manifest.default.iter().filter(|id| !known(id)) {
        faults.push(format!("default: there is no model {id}"));
    }
    for choice in manifest.recommended_chat.iter().filter(|choice| !known(&choice.model)) {
        faults.push(format!("recommended_chat: there is no model {}", choice.model));
    }
    if !manifest
        .recommended_chat
        .is_sorted_by(|a, b| a.memory_gib < b.memory_gib)
    {
        faults.push("recommended_chat: memory_gib must ascend".to_owned());
    }
    for (i, model) in manifest.models.iter().enumerate() {
        for required in &model.requires {
            // Naming only what stands above makes cycles impossible, except for what is shared by all: the runtime.
            match manifest.models.iter().position(|other| &other.id == required) {
                None => faults.push(format!("{}: requires {required}, which there is not", model.id)),
                Some(j) if j >= i && !manifest.models[j].requires.is_empty() => {
                    faults.push(format!(
                        "{}: requires {required}, which stands below it and has requirements",
                        model.id
                    ));
                }
                Some(_) => {}
            }
        }
    }
    faults
}

fn model_faults(model: &Model) -> Vec<String> {
    let mut faults = Vec::new();
    if !is_id(&model.id) {
        faults.push("an id has lowercase letters, digits, dots and dashes, and starts with a letter".to_owned());
    }
    for (key, text) in [
        ("title", &model.title),
        ("licence", &model.licence),
        ("home", &model.home),
    ] {
        if text.trim().is_empty() {
            faults.push(format!("{key} is empty"));
        }
    }
    if model.files.is_empty() {
        faults.push("no [[model.file]]".to_owned());
    }
    if model.sources.is_empty() {
        faults.push("no [[model.source]]".to_owned());
    }
    for file in &model.files {
        faults.extend(
            file_faults(file)
                .into_iter()
                .map(|fault| format!("file {}: {fault}", file.name)),
        );
    }
    for target in targets(model) {
        let files: Vec<&InstalledFile> = model
            .files
            .iter()
            .filter(|file| concerns(&file.targets, target))
            .collect();
        for (i, file) in files.iter().enumerate() {
            if files[..i]
                .iter()
                .any(|other| other.role == file.role || other.name == file.name)
            {
                faults.push(format!("file {}: its role or its name stands there twice", file.name));
            }
        }
        for source in model.sources.iter().filter(|source| concerns(source.targets(), target)) {
            faults.extend(source_faults(source, &files));
        }
    }
    faults.sort();
    faults.dedup();
    faults
}

fn file_faults(file: &InstalledFile) -> Vec<String> {
    let mut faults = Vec::new();
    if file.name.is_empty() || file.name.starts_with('.') || file.name.contains(['/', '\\']) {
        faults.push("a plain file name is wanted".to_owned());
    }
    if file.role.is_empty() {
        faults.push("role is empty".to_owned());
    }
    if file.bytes == 0 {
        faults.push("bytes is 0".to_owned());
    }
    if file.sha256.is_empty() {
        faults.push("no sha256".to_owned());
    }
    faults.extend(
        file.sha256
            .iter()
            .filter(|sha| !is_sha256(sha))
            .map(|sha| format!("{sha:?} is no sha256")),
    );
    faults
}

fn source_faults(source: &Source, files: &[&InstalledFile]) -> Vec<String> {
    let mut faults = Vec::new();
    let installs: Vec<&str> = match source {
        Source::HuggingFace(hub) => {
            if hub.repo.split('/').filter(|part| !part.is_empty()).count() != 2 || hub.repo.contains(':') {
                faults.push(format!("source {}: repo is owner/name", hub.repo));
            }
            if hub.revision.is_empty() {
                faults.push(format!("source {}: no revision", hub.repo));
            }
            for file in &hub.files {
                faults.extend(hub_file_faults(file, files).map(|fault| format!("source {}: {fault}", hub.repo)));
            }
            hub.files.iter().map(|file| file.install.as_str()).collect()
        }
        Source::Pypi(packages) | Source::Npm(packages) | Source::Debian(packages) => {
            for file in &packages.files {
                let found = package_file_faults(file, files);
                faults.extend(
                    found
                        .into_iter()
                        .map(|fault| format!("source {}: {fault}", file.package)),
                );
            }
            if packages.download == 0 {
                faults.push("a package source does not say how much it downloads".to_owned());
            }
            packages.files.iter().map(|file| file.install.as_str()).collect()
        }
    };
    for file in files {
        if installs.iter().filter(|install| **install == file.name).count() != 1 {
            faults.push(format!("a source does not give {} exactly once", file.name));
        }
    }
    for install in installs
        .iter()
        .filter(|install| !files.iter().any(|file| file.name == **install))
    {
        faults.push(format!("a source gives {install}, which is no file of this model"));
    }
    faults
}

fn hub_file_faults(file: &HubFile, files: &[&InstalledFile]) -> impl Iterator<Item = String> {
    let wrong_digest = !accepted(files, &file.install, &file.sha256);
    wrong_digest
        .then(|| format!("the sha256 of {} is not one of the installed file's", file.path))
        .into_iter()
}

fn package_file_faults(file: &PackageFile, files: &[&InstalledFile]) -> Vec<String> {
    let mut faults = Vec::new();
    if !is_sha256(&file.sha256) {
        faults.push(format!("{:?} is no sha256", file.sha256));
    }
    for (key, text) in [
        ("package", &file.package),
        ("version", &file.version),
        ("path", &file.path),
    ] {
        if text.is_empty() || text.contains(':') || text.starts_with(['-', '/']) || text.contains("..") {
            faults.push(format!("{key} {text:?}: a plain name is wanted"));
        }
    }
    let numbered = file.package.contains("{n") || file.path.contains("{n");
    match (file.parts, numbered) {
        (0, _) => faults.push("parts is 0".to_owned()),
        (1, true) => faults.push("a placeholder with one part".to_owned()),
        (2.., false) => faults.push("several parts and no {n}".to_owned()),
        _ => {}
    }
    match (file.convert, &file.vocabulary) {
        (None, None) if !accepted(files, &file.install, &file.sha256) => {
            faults.push(format!(
                "the sha256 for {} is not one of the installed file's",
                file.install
            ));
        }
        (None, Some(_)) => faults.push("a vocabulary and no convert".to_owned()),
        (Some(_), None) => faults.push("convert wants a vocabulary".to_owned()),
        (Some(_), Some(vocabulary)) => {
            if !is_sha256(&vocabulary.sha256) || vocabulary.bytes == 0 || vocabulary.path.is_empty() {
                faults.push("the vocabulary is incomplete".to_owned());
            }
            if file.bytes.is_none() {
                faults.push("convert wants bytes".to_owned());
            }
        }
        (None, None) => {}
    }
    faults
}

fn accepted(files: &[&InstalledFile], install: &str, sha256: &str) -> bool {
    files
        .iter()
        .any(|file| file.name == install && file.sha256.iter().any(|accepted| accepted == sha256))
}

/// The machines a model distinguishes; one unnamed machine if it distinguishes none.
fn targets(model: &Model) -> BTreeSet<&str> {
    let of_files = model.files.iter().flat_map(|file| &file.targets);
    let of_sources = model.sources.iter().flat_map(|source| source.targets());
    let named: BTreeSet<&str> = of_files.chain(of_sources).map(String::as_str).collect();
    if named.is_empty() { BTreeSet::from([""]) } else { named }
}

fn concerns(targets: &[String], target: &str) -> bool {
    targets.is_empty() || targets.iter().any(|t| t == target)
}

fn is_id(id: &str) -> bool {
    id.starts_with(|c: char| c.is_ascii_lowercase())
        && id
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '.' || c == '-')
        && !id.contains("..")
}

fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.chars().all(|c| c.is_ascii_digit() || ('a'..='f').contains(&c))
}
