//! `solo talk`: a conversation by voice, on a microphone and a loudspeaker ([`live`]), or out of a recording into a file
//! ([`conversation`]).
//!
//! Both hear the gateway's messages through the same [`conversation::Conversation`] and send sound by the same
//! [`sending::Sending`]; what differs is the [`sink::Sink`], and who says when it is over. By default a wake word begins
//! each turn. With `--push-to-talk` a key does, or the whole recording is the question.

mod conversation;
mod hotkey;
mod keys;
mod live;
mod pace;
mod screen;
mod sending;
mod show;
mod sink;
mod unheard;

use std::path::{Path, PathBuf};
use std::time::Duration;

use solo_audio::{SampleRate, wav};
use solo_proto::audio::v1::{AudioFormat, Encoding};
use solo_proto::gateway::v1::{OpenSession, WakeMode};

use self::conversation::{Conversation, Mode};
use self::show::{Show, phase_name};
use self::sink::{Kept, Sink};
use super::ask::time_zone;
use super::{bytes_of, write_file};
use crate::audio::devices;
use crate::failure::Failure;
use crate::session::Session;
use crate::settings::Settings;
use crate::terminal::{self, FAINT, STRONG};

/// Rate of the reply's audio that is asked for, in Hz: that of the default voice, so that nothing is resampled.
const REPLY_HZ: u32 = 22_050;

/// What `solo talk` takes.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// WAV file to speak instead of you; `-` is standard input
    #[arg(long = "in", value_name = "FILE")]
    pub input: Option<PathBuf>,
    /// WAV file for the reply's audio; `-` is standard output
    #[arg(long, value_name = "FILE", requires = "input")]
    pub out: Option<PathBuf>,
    /// Send the recording as fast as the gateway takes it, not at the pace of real time
    #[arg(long, requires = "input")]
    pub fast: bool,
    /// A wake word begins a turn (this is the default)
    #[arg(long, conflicts_with_all = ["push", "open"])]
    pub wake: bool,
    /// Space or Enter begins a turn and ends it; with `--in` the whole recording is the question
    #[arg(long = "push-to-talk", visible_alias = "push", conflicts_with = "open")]
    pub push: bool,
    /// Any speech begins a turn
    #[arg(long)]
    pub open: bool,
    /// Keys that talk while they are held, whatever window is in front (X11), as in ctrl+alt+space
    #[arg(long, value_name = "KEYS", conflicts_with = "input")]
    pub hot_key: Option<String>,
    /// Microphone: its identifier, or a part of its name
    #[arg(long, value_name = "DEVICE", conflicts_with = "input")]
    pub input_device: Option<String>,
    /// Loudspeaker: its identifier, or a part of its name
    #[arg(long, value_name = "DEVICE", conflicts_with = "input")]
    pub output_device: Option<String>,
    /// Leave what the loudspeaker plays in what the microphone hears (for headsets)
    #[arg(long, conflicts_with = "input")]
    pub no_echo_cancellation: bool,
    /// Take steady noise (a fan, a car) out of what the microphone hears
    #[arg(long, conflicts_with = "input")]
    pub noise_suppression: bool,
    /// List the microphones and loudspeakers
    #[arg(long)]
    pub list_devices: bool,
    /// Go on with this dialogue
    #[arg(long, value_name = "ID")]
    pub dialogue: Option<String>,
    /// Seconds that a turn may take after the recording
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    pub timeout: u64,
}

/// Talks until the person has had enough, or until the recording is over.
pub async fn run(settings: &Settings, arguments: &Arguments) -> Result<(), Failure> {
    if arguments.list_devices {
        return list_devices(settings).await;
    }
    match &arguments.input {
        None => live::run(settings, arguments).await,
        Some(input) => recorded(settings, arguments, input).await,
    }
}

/// Speaks the recording, prints each turn, writes the replies' audio.
async fn recorded(settings: &Settings, arguments: &Arguments, input: &Path) -> Result<(), Failure> {
    let (samples, rate) = recording(input)?;
    let open = opening(arguments, rate, arguments.dialogue.clone().unwrap_or_default());
    let session = Session::open(settings, open).await?;
    let reply_rate = reply_rate(&session)?;
    let mode = Mode {
        push: arguments.push,
        fast: arguments.fast,
        timeout: Duration::from_secs(arguments.timeout),
    };
    let mut show = Show {
        json: settings.json,
        to_pipe: arguments.out.as_deref() == Some(Path::new("-")),
        screen: None,
    };
    let conversation = Conversation::new(Sink::File(Kept::default()), mode.push);
    let heard = conversation.run(session, samples, rate, mode, &mut show).await;
    if let (Some(out), false) = (&arguments.out, heard.audio.is_empty()) {
        write_file(out, &wav::encode(&heard.audio, reply_rate))?;
        let seconds = reply_rate.ms_of(heard.audio.len() as u64) as f64 / 1e3;
        show.remark(&format!("{}: {seconds:.1} s", out.display()))?;
    }
    heard.outcome.map_err(|failure| named(failure, input))
}

/// What opens a conversation in which speech comes at `rate`.
fn opening(arguments: &Arguments, rate: SampleRate, dialogue_id: String) -> OpenSession {
    let format = |hz: u32| AudioFormat {
        encoding: Encoding::S16le as i32,
        sample_rate_hz: hz,
        channels: 1,
    };
    let wake_mode = match (arguments.push, arguments.open) {
        (true, _) => WakeMode::PushToTalk,
        (false, true) => WakeMode::Open,
        (false, false) => WakeMode::Keyword,
    };
    OpenSession {
        audio_in: Some(format(rate.hz())),
        audio_out: Some(format(REPLY_HZ)),
        wake_mode: wake_mode as i32,
        dialogue_id,
        time_zone: time_zone(),
        // A file has no loudspeaker beside it; a microphone's echo is taken out here, unless the person says there is none.
        echo_cancelled: true,
        ..OpenSession::default()
    }
}

/// The rate at which the gateway speaks.
fn reply_rate(session: &Session) -> Result<SampleRate, Failure> {
    let hz = session
        .opened
        .audio_out
        .as_ref()
        .map_or(REPLY_HZ, |format| format.sample_rate_hz);
    SampleRate::new(hz).map_err(|e| Failure::failed(format!("gateway: its audio cannot be used: {e}")))
}

/// `solo talk --list-devices`.
async fn list_devices(settings: &Settings) -> Result<(), Failure> {
    let listing = tokio::task::spawn_blocking(devices::list).await;
    let listed = listing.map_err(|e| Failure::failed(format!("the sound devices cannot be listed: {e}")))??;
    if settings.json {
        return terminal::json(&listed);
    }
    if listed.is_empty() {
        return terminal::line("there is neither a microphone nor a loudspeaker");
    }
    let hz = |hz: Option<u32>, default: bool| {
        hz.map_or_else(String::new, |hz| {
            format!("{hz} Hz{}", if default { ", default" } else { "" })
        })
    };
    let mut rows = vec![vec![
        ("DEVICE".to_owned(), STRONG),
        ("MICROPHONE".to_owned(), STRONG),
        ("LOUDSPEAKER".to_owned(), STRONG),
        ("NAME".to_owned(), STRONG),
    ]];
    rows.extend(listed.into_iter().map(|device| {
        vec![
            (device.id, STRONG),
            (hz(device.input_hz, device.default_input), FAINT),
            (hz(device.output_hz, device.default_output), FAINT),
            (device.name, FAINT),
        ]
    }));
    terminal::line(terminal::columns(&rows))
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
