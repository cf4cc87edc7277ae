//! A microphone and a loudspeaker that belong together, with the ears between them: what one command has open.
//!
//! When either is gone, both are closed and opened anew: the canceller must learn another room anyway.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::{self, UnboundedReceiver};

use super::Heard;
use super::devices::Direction;
use super::ears::{Ears, Speech};
use super::microphone::Microphone;
use super::speaker::Speaker;
use crate::failure::Failure;

/// A microphone that says nothing for so long is gone, whatever its driver says.
const STILL: Duration = Duration::from_secs(5);

/// Which devices are meant.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Microphone; none: the system's default.
    pub input: Option<String>,
    /// Loudspeaker; none: the system's default.
    pub output: Option<String>,
    /// What the loudspeaker plays is taken out of what the microphone hears.
    pub cancel_echo: bool,
    /// Steady noise is taken out of what the microphone hears.
    pub suppress_noise: bool,
}

/// What came of listening.
#[derive(Debug)]
pub enum Event {
    /// A person, or silence.
    Speech(Speech),
    /// A device is gone, and why.
    Lost(Direction, String),
}

/// Both devices, open.
pub struct Pair {
    /// The loudspeaker.
    pub speaker: Arc<Speaker>,
    microphone: Microphone,
    heard: UnboundedReceiver<Heard>,
    ears: Ears,
    last_captured: Instant,
}

impl Pair {
    /// Opens both, on a thread that may wait for the system.
    ///
    /// # Errors
    /// When there is no such device, or it cannot be opened.
    pub async fn open(wanted: Wanted) -> Result<Self, Failure> {
        let opening = tokio::task::spawn_blocking(move || {
            let (sender, heard) = mpsc::unbounded_channel();
            // The microphone first: without it there is nothing to be said of a loudspeaker.
            let microphone = Microphone::open(wanted.input.as_deref(), sender.clone())?;
            let speaker = Speaker::open(wanted.output.as_deref(), sender)?;
            let reference = wanted.cancel_echo.then_some(speaker.rate);
            let ears = Ears::new(microphone.rate, reference);
            Ok(Self {
                ears: if wanted.suppress_noise {
                    ears.suppressing_noise()
                } else {
                    ears
                },
                speaker: Arc::new(speaker),
                microphone,
                heard,
                last_captured: Instant::now(),
            })
        });
        opening
            .await
            .map_err(|e| Failure::failed(format!("the sound devices cannot be opened: {e}")))?
    }

    /// "Built-in Microphone and Headphones".
    pub fn names(&self) -> String {
        if self.microphone.name == self.speaker.name {
            return self.speaker.name.clone();
        }
        format!("{} and {}", self.microphone.name, self.speaker.name)
    }

    /// What is heard next. May be dropped while it waits: nothing is lost.
    pub async fn next(&mut self) -> Event {
        loop {
            let still = self.last_captured + STILL;
            let heard = tokio::select! {
                heard = self.heard.recv() => heard,
                () = tokio::time::sleep_until(still.into()) => {
                    return Event::Lost(Direction::Input, format!("it has been still for {} s", STILL.as_secs()));
                }
            };
            match heard {
                Some(Heard::Lost(direction, why)) => return Event::Lost(direction, why),
                Some(heard) => {
                    if matches!(heard, Heard::Captured(_)) {
                        self.last_captured = Instant::now();
                    }
                    if let Some(speech) = self.ears.hear(&heard) {
                        return Event::Speech(speech);
                    }
                }
                None => return Event::Lost(Direction::Input, "its stream has ended".into()),
            }
        }
    }
}
