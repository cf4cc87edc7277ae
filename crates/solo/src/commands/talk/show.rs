//! What a person sees of a turn while it happens; a program gets one object when it is over.

use solo_proto::gateway::v1::TurnPhase;

use super::screen::{Screen, Status};
use crate::commands::ask::show_sources;
use crate::failure::Failure;
use crate::terminal::{self, BAD, FAINT, STRONG, WARN, paint};
use crate::turn::Turn;

/// Where it is shown, and how.
pub(super) struct Show {
    /// One JSON object a turn, nothing else.
    pub(super) json: bool,
    /// Standard output is the audio.
    pub(super) to_pipe: bool,
    /// A person looks at a terminal while they speak.
    pub(super) screen: Option<Screen>,
}

impl Show {
    fn text(&mut self, text: &str) -> Result<(), Failure> {
        match (self.json, self.to_pipe, &mut self.screen) {
            (true, ..) => Ok(()),
            (false, true, _) => {
                terminal::remark(text.trim_end());
                Ok(())
            }
            (false, false, Some(screen)) => screen.text(text),
            (false, false, None) => terminal::write(text),
        }
    }

    pub(super) fn remark(&mut self, text: &str) -> Result<(), Failure> {
        self.text(&format!("{}\n", paint(FAINT, text)))
    }

    /// Something that went wrong and is being mended.
    pub(super) fn warning(&mut self, text: &str) -> Result<(), Failure> {
        if self.json {
            // A program that reads standard output is not disturbed; who looks at standard error wants to know.
            terminal::remark(text);
        }
        self.text(&format!("{}\n", paint(WARN, text)))
    }

    pub(super) fn failure(&mut self, failure: &Failure) -> Result<(), Failure> {
        if self.json {
            terminal::remark(terminal::explain(failure));
        }
        self.text(&format!("{}\n", terminal::explain(failure)))
    }

    pub(super) fn status(&mut self, status: &Status) -> Result<(), Failure> {
        match (&mut self.screen, self.json) {
            (Some(screen), false) => screen.status(status),
            _ => Ok(()),
        }
    }

    /// Takes the changing line away.
    pub(super) fn clear(&mut self) -> Result<(), Failure> {
        self.screen.as_mut().map_or(Ok(()), Screen::clear)
    }

    pub(super) fn wake(&mut self, keyword: &str, score: f32, at_ms: u64) -> Result<(), Failure> {
        let line = format!("wake  {keyword} ({score:.2}) at {:.2} s", at_ms as f64 / 1e3);
        self.remark(&line)
    }

    pub(super) fn transcript(&mut self, text: &str) -> Result<(), Failure> {
        self.text(&format!(
            "{}  {text}\n{} ",
            paint(STRONG, "you "),
            paint(STRONG, "solo")
        ))
    }

    pub(super) fn reply(&mut self, delta: &str) -> Result<(), Failure> {
        self.text(delta)
    }

    pub(super) fn rejected(&mut self, reason: &str, text: &str) -> Result<(), Failure> {
        self.remark(&format!("heard and not believed ({reason}): {text}"))
    }

    pub(super) fn turn(&mut self, turn: &Turn) -> Result<(), Failure> {
        if self.json {
            return if self.to_pipe {
                Ok(())
            } else {
                terminal::json(&turn.spoken())
            };
        }
        self.text("\n")?;
        if let Some(error) = &turn.error {
            self.text(&format!("{}\n", paint(BAD, &error.message)))?;
        }
        if turn.summary.as_ref().is_some_and(|summary| summary.interrupted) {
            self.text(&format!("{}\n", paint(WARN, "(interrupted)")))?;
        }
        if !self.to_pipe {
            self.clear()?;
            show_sources(turn)?;
        }
        self.remark(&times(turn))
    }
}

/// What a phase is called.
pub(super) fn phase_name(phase: Option<TurnPhase>) -> &'static str {
    match phase {
        Some(TurnPhase::Listening | TurnPhase::Deciding) => "listening",
        Some(TurnPhase::Thinking) => "thinking",
        Some(TurnPhase::Speaking) => "speaking",
        Some(TurnPhase::Idle) => "waiting",
        Some(TurnPhase::Unspecified) | None => "connecting",
    }
}

/// "voice to voice 980 ms (endpoint 412, stt 430, …)".
fn times(turn: &Turn) -> String {
    let spoken = turn.spoken();
    let stages = [
        ("endpoint", spoken.stages_ms.endpoint),
        ("stt", spoken.stages_ms.stt),
        ("recall", spoken.stages_ms.recall),
        ("first token", spoken.stages_ms.llm_first_token),
        ("first sentence", spoken.stages_ms.llm_first_sentence),
        ("first audio", spoken.stages_ms.tts_first_audio),
    ];
    let stages: Vec<String> = stages
        .iter()
        .filter_map(|(name, ms)| ms.map(|ms| format!("{name} {ms}")))
        .collect();
    let total = spoken
        .voice_to_voice_ms
        .map_or_else(|| "nothing was spoken".into(), |ms| format!("voice to voice {ms} ms"));
    if stages.is_empty() {
        total
    } else {
        format!("{total} ({})", stages.join(", "))
    }
}
