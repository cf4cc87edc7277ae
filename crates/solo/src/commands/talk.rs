//! `solo talk --in question.wav`: a recording goes to the gateway as a microphone's sound would, at the pace of real time;
//! the reply's audio comes back into a file.
//!
//! By default a wake word in the recording begins each turn, and silence follows the recording until the turn is over.
//! With `--push` the whole recording is the question.

mod conversation;
mod pace;

use std::path::{Path, PathBuf};
use std::time::Duration;

use solo_audio::{SampleRate, pcm, wav};
use solo_proto::audio::v1::{AudioFormat, Encoding};
use solo_proto::gateway::v1::{OpenSession, WakeMode};

use self::conversation::{Conversation, Mode};
use super::ask::{show_sources, time_zone};
use super::{bytes_of, write_file};
use crate::cli::Gateway;
use crate::failure::Failure;
use crate::session::Session;
use crate::settings::Settings;
use crate::terminal::{self, BAD, FAINT, STRONG, paint};
use crate::turn::Turn;

/// Rate of the reply's audio that is asked for, in Hz: that of the default voice, so that nothing is resampled.
const REPLY_HZ: u32 = 22_050;

/// What `solo talk` takes.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// WAV file to speak; `-` is standard input
    #[arg(long = "in", value_name = "FILE")]
    pub input: PathBuf,
    /// WAV file for the reply's audio; `-` is standard output
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Send the recording as fast as the gateway takes it, not at the pace of real time
    #[arg(long)]
    pub fast: bool,
    /// A wake word in the recording begins a turn (this is the default)
    #[arg(long, conflicts_with = "push")]
    pub wake: bool,
    /// The whole recording is the question, as if a button were held
    #[arg(long)]
    pub push: bool,
    /// Go on with this dialogue
    #[arg(long, value_name = "ID")]
    pub dialogue: Option<String>,
    /// Seconds that a turn may take after the recording
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    pub timeout: u64,
    /// Where the gateway answers.
    #[command(flatten)]
    pub gateway: Gateway,
}

/// Speaks the recording, prints each turn, writes the replies' audio.
pub async fn run(settings: &Settings, arguments: &Arguments) -> Result<(), Failure> {
    let (samples, rate) = recording(&arguments.input)?;
    let format = |hz: u32| AudioFormat {
        encoding: Encoding::S16le as i32,
        sample_rate_hz: hz,
        channels: 1,
    };
    let wake_mode = if arguments.push {
        WakeMode::PushToTalk
    } else {
        WakeMode::Keyword
    };
    let open = OpenSession {
        audio_in: Some(format(rate.hz())),
        audio_out: Some(format(REPLY_HZ)),
        wake_mode: wake_mode as i32,
        dialogue_id: arguments.dialogue.clone().unwrap_or_default(),
        time_zone: time_zone(),
        ..OpenSession::default()
    };
    let session = Session::open(settings, arguments.gateway.endpoint.as_deref(), open).await?;
    let reply_hz = session
        .opened
        .audio_out
        .as_ref()
        .map_or(REPLY_HZ, |format| format.sample_rate_hz);
    let reply_rate =
        SampleRate::new(reply_hz).map_err(|e| Failure::failed(format!("gateway: its audio cannot be used: {e}")))?;
    let mode = Mode {
        push: arguments.push,
        fast: arguments.fast,
        timeout: Duration::from_secs(arguments.timeout),
    };
    let mut show = Show {
        json: settings.json,
        to_pipe: arguments.out.as_deref() == Some(Path::new("-")),
    };
    let heard = Conversation::new(session, mode).run(samples, rate, &mut show).await;
    if let (Some(out), false) = (&arguments.out, heard.audio.is_empty()) {
        write_file(out, &wav::encode(&heard.audio, reply_rate))?;
        let seconds = reply_rate.ms_of(heard.audio.len() as u64) as f64 / 1e3;
        show.remark(&format!("{}: {seconds:.1} s", out.display()))?;
    }
    heard.outcome.map_err(|failure| named(failure, &arguments.input))
}

/// The recording: one channel at its own rate; the gateway converts once, as it does for every client.
fn recording(path: &Path) -> Result<(Vec<i16>, SampleRate), Failure> {
    let bytes = bytes_of(path)?;
    let wav = wav::read(&bytes).map_err(|error| {
        let text = solo_service::error::chain(&error);
        Failure::failed(format!("{}: {text}", path.display()))
            .help("`solo talk` takes WAV; `solo transcribe` takes other formats too")
    })?;
    Ok((wav.mono_i16(), wav.sample_rate))
}

fn named(mut failure: Failure, input: &Path) -> Failure {
    failure.message = failure.message.replace("{recording}", &input.display().to_string());
    failure
}

/// What a person sees of a turn while it happens; a program gets one object when it is over.
struct Show {
    json: bool,
    /// Standard output is the audio.
    to_pipe: bool,
}

impl Show {
    fn text(&self, text: &str) -> Result<(), Failure> {
        match (self.json, self.to_pipe) {
            (true, _) => Ok(()),
            (false, true) => {
                terminal::remark(text.trim_end());
                Ok(())
            }
            (false, false) => terminal::write(text),
        }
    }

    fn remark(&self, text: &str) -> Result<(), Failure> {
        self.text(&format!("{}\n", paint(FAINT, text)))
    }

    fn wake(&self, keyword: &str, score: f32, at_ms: u64) -> Result<(), Failure> {
        let line = format!("wake  {keyword} ({score:.2}) at {:.2} s", at_ms as f64 / 1e3);
        self.remark(&line)
    }

    fn transcript(&self, text: &str) -> Result<(), Failure> {
        self.text(&format!(
            "{}  {text}\n{} ",
            paint(STRONG, "you "),
            paint(STRONG, "solo")
        ))
    }

    fn reply(&self, delta: &str) -> Result<(), Failure> {
        self.text(delta)
    }

    fn rejected(&self, reason: &str, text: &str) -> Result<(), Failure> {
        self.remark(&format!("heard and not believed ({reason}): {text}"))
    }

    fn turn(&self, turn: &Turn) -> Result<(), Failure> {
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
        if !self.to_pipe {
            show_sources(turn)?;
        }
        self.remark(&times(turn))
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

/// Bytes of s16le as samples.
fn samples_of(data: &[u8]) -> Result<Vec<i16>, Failure> {
    pcm::from_s16le(data).map_err(|e| Failure::failed(format!("gateway: its audio is broken: {e}")))
}
