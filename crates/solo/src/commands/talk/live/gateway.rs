//! The gateway, as long as it is there: what it is told and sent, and how it is called again when it is gone.

use std::time::{Duration, Instant};

use solo_audio::{Clean, SampleRate};
use solo_proto::gateway::v1::session_control::Control;
use solo_proto::gateway::v1::{EndOfSpeech, Listen, Mute};
use tokio::time::{sleep, timeout};

use super::Live;
use crate::commands::talk::sending::Sending;
use crate::commands::talk::sink::{Loud, Sink};
use crate::commands::talk::{Arguments, opening, reply_rate};
use crate::failure::{Exit, Failure};
use crate::session::Session;
use crate::settings::Settings;

/// Sound that the gateway does not take for so long is not taken any more.
const STALLED: Duration = Duration::from_secs(3);
/// Waiting before the gateway is called again: at first, and at most.
pub(super) const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(8);
/// What is sent once more goes in pieces of so many samples: 100 ms, as the contract asks.
const PIECE_AGAIN: usize = 1_600;

/// Opens a conversation after a while.
pub(super) async fn call(
    settings: &Settings,
    arguments: &Arguments,
    dialogue: String,
    after: Duration,
) -> Result<Session, Failure> {
    sleep(after).await;
    let open = opening(arguments, SampleRate::SPEECH, dialogue);
    Session::open(settings, open).await
}

impl Live<'_> {
    /// Tells the gateway, if it is there.
    pub(super) async fn say(&mut self, control: Control) -> Result<(), Failure> {
        let Some(session) = &self.session else { return Ok(()) };
        let sender = session.sender();
        match timeout(STALLED, sender.control(control)).await {
            Ok(true) => Ok(()),
            Ok(false) | Err(_) => self.cut_off(None),
        }
    }

    /// Lets the gateway hear, if it is there.
    pub(super) async fn send(&mut self, samples: &Clean) -> Result<(), Failure> {
        if self.session.is_none() || samples.strict.is_empty() {
            return Ok(());
        }
        let sending = self.sending.send_with_words(&samples.strict, &samples.gentle);
        match timeout(STALLED, sending).await {
            Ok(true) => Ok(()),
            // Why, the responses say; if they say nothing, it stands still.
            Ok(false) => Ok(()),
            Err(_) => self.cut_off(None),
        }
    }

    /// The gateway is gone, or refuses to go on.
    pub(super) fn cut_off(&mut self, failure: Option<Failure>) -> Result<(), Failure> {
        if let Some(failure) = failure.as_ref().filter(|failure| failure.exit != Exit::Unavailable) {
            return Err(failure.clone());
        }
        self.session = None;
        self.silence();
        self.reported = 0;
        self.unheard.cut_off(Instant::now());
        let lost = if self.conversation.break_off() {
            "the gateway is gone, and the turn with it"
        } else {
            "the gateway is gone"
        };
        self.show.warning(&format!("{lost}; calling it again"))?;
        self.wait = FIRST_WAIT;
        self.call_again();
        Ok(())
    }

    fn call_again(&mut self) {
        let (settings, arguments, dialogue) = (self.settings, self.arguments, self.dialogue.clone());
        self.calling = Some(Box::pin(call(settings, arguments, dialogue, self.wait)));
        self.wait = (self.wait * 2).min(LONGEST_WAIT);
    }

    pub(super) async fn called(&mut self, called: Result<Session, Failure>) -> Result<(), Failure> {
        self.calling = None;
        match called {
            Ok(session) => {
                let rate = reply_rate(&session)?;
                let speaker = self.pair.as_ref().map(|pair| pair.speaker.clone());
                self.conversation.sink = Sink::Speaker(Box::new(Loud::new(speaker, rate)));
                self.sending = Sending::new(session.sender());
                self.session = Some(session);
                self.wait = FIRST_WAIT;
                self.show.remark("the gateway is back; the dialogue goes on")?;
                if self.muted {
                    self.say(Control::Mute(Mute { muted: true })).await?;
                }
                self.say_again().await
            }
            Err(failure) if failure.exit == Exit::Unavailable => {
                self.call_again();
                Ok(())
            }
            Err(failure) => Err(failure),
        }
    }

    /// What was said and not understood before the connection broke, and while there was none.
    async fn say_again(&mut self) -> Result<(), Failure> {
        let again = self.unheard.heard_again(Instant::now());
        self.held = again.as_ref().is_some_and(|again| again.pressed && !again.released);
        let Some(again) = again else { return Ok(()) };
        if again.pressed {
            self.say(Control::Listen(Listen {})).await?;
        }
        for piece in again.samples.chunks(PIECE_AGAIN) {
            let piece = Clean {
                strict: piece.to_vec(),
                gentle: Vec::new(),
            };
            self.send(&piece).await?;
        }
        if again.released {
            self.say(Control::EndOfSpeech(EndOfSpeech {})).await?;
        }
        Ok(())
    }
}
