//! The conversation on a microphone and a loudspeaker: until the person has had enough, whatever comes and goes meanwhile.
//!
//! One loop hears the gateway, the devices, the keys and the clock. None of them may end it but the person: a gateway that
//! went away is called again, ever more patiently, and the dialogue goes on, a half-asked question included; a device that
//! was unplugged is waited for. Muted, and between the presses of a push-to-talk key, no sound leaves this process.

mod devices;
mod gateway;

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use solo_audio::Clean;
use solo_proto::gateway::v1::converse_response::Payload;
use solo_proto::gateway::v1::session_control::Control;
use solo_proto::gateway::v1::{EndOfSpeech, Interrupt, Listen, Mute, Played, TurnPhase};
use tokio::time::{MissedTickBehavior, interval};

use self::gateway::{FIRST_WAIT, call};
use super::conversation::Conversation;
use super::hotkey::HotKey;
use super::keys::{Key, Keyboard};
use super::screen::Screen;
use super::sending::Sending;
use super::show::Show;
use super::sink::{Loud, Sink};
use super::unheard::Unheard;
use super::{Arguments, reply_rate};
use crate::audio::ears::Speech;
use crate::audio::pair::{Event, Pair, Wanted};
use crate::failure::{Exit, Failure};
use crate::session::Session;
use crate::settings::Settings;

/// How often the meter moves and the gateway learns how much has been played.
const TICK: Duration = Duration::from_millis(50);
/// The least that is sent at once, in samples: 20 ms.
const PIECE: usize = 320;

type Pending<'a, T> = Pin<Box<dyn Future<Output = Result<T, Failure>> + Send + 'a>>;

/// Talks until the person quits.
pub(super) async fn run(settings: &Settings, arguments: &Arguments) -> Result<(), Failure> {
    let wanted = Wanted {
        input: arguments.input_device.clone(),
        output: arguments.output_device.clone(),
        cancel_echo: !arguments.no_echo_cancellation,
        suppress_noise: arguments.noise_suppression,
    };
    let pair = Pair::open(wanted.clone()).await?;
    // Before the terminal is taken: who has nobody to talk to learns it as from any other command.
    let dialogue = arguments.dialogue.clone().unwrap_or_default();
    let session = call(settings, arguments, dialogue.clone(), Duration::ZERO).await?;
    let keyboard = Keyboard::open(arguments.push)?;
    if arguments.push && !keyboard.is_at_terminal() && arguments.hot_key.is_none() {
        return Err(
            Failure::new(Exit::Usage, "--push-to-talk needs a terminal, whose space bar talks")
                .help("or `--hot-key ctrl+alt+space`, or `--open`"),
        );
    }
    let _hot_key = arguments
        .hot_key
        .as_ref()
        .map(|keys| HotKey::listen(keys, keyboard.sender()))
        .transpose()?;
    let rate = reply_rate(&session)?;
    let mut show = Show {
        json: settings.json,
        to_pipe: false,
        screen: keyboard.is_at_terminal().then(Screen::default),
    };
    show.remark(&format!("{}. {}", pair.names(), help(arguments, &keyboard)))?;
    let mut live = Live {
        settings,
        arguments,
        wanted,
        sending: Sending::new(session.sender()),
        conversation: Conversation::new(
            Sink::Speaker(Box::new(Loud::new(Some(pair.speaker.clone()), rate))),
            arguments.push,
        ),
        session: Some(session),
        calling: None,
        wait: FIRST_WAIT,
        pair: Some(pair),
        looking: None,
        keyboard,
        show,
        dialogue,
        unsent: Clean::default(),
        unheard: Unheard::new(),
        held: false,
        muted: false,
        reported: 0,
    };
    let outcome = live.talk().await;
    // The changing line is no part of what was said.
    live.show.clear()?;
    outcome
}

/// What the keys do, and how a turn begins.
fn help(arguments: &Arguments, keyboard: &Keyboard) -> String {
    let begin = match (arguments.push, arguments.open, keyboard.holds()) {
        (true, _, true) => "Hold space to talk",
        (true, _, false) if keyboard.is_at_terminal() => "Space begins, space ends",
        (true, ..) => "Hold the hot-key to talk",
        (_, true, _) => "Just speak",
        _ => "Say the wake word",
    };
    if keyboard.is_at_terminal() {
        format!("{begin}; Esc stops a reply, m mutes, q quits")
    } else {
        format!("{begin}; Ctrl-C quits")
    }
}

struct Live<'a> {
    settings: &'a Settings,
    arguments: &'a Arguments,
    wanted: Wanted,
    /// The gateway, if it answers.
    session: Option<Session>,
    sending: Sending,
    /// The gateway is being called.
    calling: Option<Pending<'a, Session>>,
    wait: Duration,
    /// The devices, if they are there.
    pair: Option<Pair>,
    /// Devices are being looked for.
    looking: Option<Pending<'static, Pair>>,
    keyboard: Keyboard,
    conversation: Conversation,
    show: Show,
    /// The dialogue that turns go into.
    dialogue: String,
    /// Speech that waits for its piece to fill.
    unsent: Clean,
    /// Speech that has not become words yet.
    unheard: Unheard,
    /// The talk key is held, or was pressed once.
    held: bool,
    muted: bool,
    /// How far the gateway knows the reply to have been played.
    reported: u64,
}

impl Live<'_> {
    async fn talk(&mut self) -> Result<(), Failure> {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                // What the gateway says comes first: an interrupted reply must fall silent at once.
                biased;
                message = next(&mut self.session) => match message {
                    Ok(Some((turn_id, payload))) => self.hear(&turn_id, &payload)?,
                    Ok(None) => self.cut_off(None)?,
                    Err(failure) => self.cut_off(Some(failure))?,
                },
                key = self.keyboard.next() => if self.press(key).await? { return Ok(()) },
                pressed = tokio::signal::ctrl_c() => {
                    return pressed.map_err(|e| Failure::failed(format!("cannot handle Ctrl-C: {e}")));
                }
                event = listen(&mut self.pair) => match event {
                    Event::Speech(speech) => self.speech(&speech).await?,
                    Event::Lost(direction, why) => self.lost(direction, &why).await?,
                },
                called = pending(&mut self.calling) => self.called(called).await?,
                found = pending(&mut self.looking) => self.found(found)?,
                _ = tick.tick() => self.tick().await?,
            }
        }
    }

    fn hear(&mut self, turn_id: &str, payload: &Payload) -> Result<(), Failure> {
        let Some(session) = &self.session else { return Ok(()) };
        self.unheard.hear(payload);
        if let Payload::Summary(summary) = payload {
            self.reported = 0;
            if !summary.dialogue_id.is_empty() {
                self.dialogue.clone_from(&summary.dialogue_id);
            }
        }
        self.conversation
            .hear(turn_id, payload, &session.sender(), &mut self.show)?;
        match payload {
            // What belongs to a turn is told when it ends.
            Payload::Error(error) if turn_id.is_empty() => self.show.failure(&crate::turn::failure_of(error)),
            // A key that was pressed once has done its work when the turn went on without a second press.
            Payload::State(state) if !self.arguments.push && state.phase() != TurnPhase::Listening => {
                self.held = false;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// True when it is the end.
    async fn press(&mut self, key: Key) -> Result<bool, Failure> {
        match key {
            Key::Quit => return Ok(true),
            Key::Mute => {
                self.muted = !self.muted;
                self.unsent = Clean::default();
                self.unheard.forget();
                self.say(Control::Mute(Mute { muted: self.muted })).await?;
            }
            Key::Stop => self.stop().await?,
            Key::Press => self.begin().await?,
            Key::Release => self.end().await?,
            Key::Toggle if self.held => self.end().await?,
            Key::Toggle => self.begin().await?,
        }
        Ok(false)
    }

    /// The person begins to talk: whatever is being said falls silent.
    async fn begin(&mut self) -> Result<(), Failure> {
        if self.muted {
            return self.show.remark("the microphone is muted: m lets it hear again");
        }
        self.held = true;
        self.unheard.pressed();
        self.hush().await?;
        self.say(Control::Listen(Listen {})).await
    }

    async fn end(&mut self) -> Result<(), Failure> {
        if !std::mem::take(&mut self.held) {
            return Ok(());
        }
        let rest = std::mem::take(&mut self.unsent);
        self.unheard.said(&rest.strict);
        self.unheard.released();
        self.send(&rest).await?;
        self.say(Control::EndOfSpeech(EndOfSpeech {})).await
    }

    async fn stop(&mut self) -> Result<(), Failure> {
        self.held = false;
        self.unheard.forget();
        self.hush().await?;
        self.say(Control::Interrupt(Interrupt {})).await
    }

    /// The loudspeaker falls silent at once; the gateway learns how far it had come.
    async fn hush(&mut self) -> Result<(), Failure> {
        self.silence();
        self.report_played().await
    }

    fn silence(&mut self) {
        if let Sink::Speaker(loud) = &mut self.conversation.sink {
            loud.stop("");
        }
    }

    async fn report_played(&mut self) -> Result<(), Failure> {
        let samples = self.conversation.sink.played();
        if samples <= self.reported {
            return Ok(());
        }
        self.reported = samples;
        self.say(Control::Played(Played { samples })).await
    }

    async fn speech(&mut self, speech: &Speech) -> Result<(), Failure> {
        // Between presses nobody wants to be heard; the meter would say otherwise.
        let listened_to = !self.muted && (self.held || !self.arguments.push);
        self.conversation.status.level_dbfs = listened_to.then_some(speech.level_dbfs);
        if !listened_to {
            self.unsent = Clean::default();
            return Ok(());
        }
        self.unsent.strict.extend(&speech.samples.strict);
        self.unsent.gentle.extend(&speech.samples.gentle);
        if self.unsent.strict.len() < PIECE {
            return Ok(());
        }
        let piece = std::mem::take(&mut self.unsent);
        self.unheard.said(&piece.strict);
        self.send(&piece).await
    }

    async fn tick(&mut self) -> Result<(), Failure> {
        self.report_played().await?;
        self.conversation.status.muted = self.muted;
        let Self { conversation, show, .. } = self;
        show.status(&conversation.status)
    }
}

/// The gateway's next message; waits for ever where there is no gateway.
async fn next(session: &mut Option<Session>) -> Result<Option<(String, Payload)>, Failure> {
    match session {
        Some(session) => session.next_of_turn().await,
        None => std::future::pending().await,
    }
}

/// What the devices hear next; waits for ever where there are none.
async fn listen(pair: &mut Option<Pair>) -> Event {
    match pair {
        Some(pair) => pair.next().await,
        None => std::future::pending().await,
    }
}

/// What comes of something that was begun; waits for ever where nothing was.
async fn pending<T>(future: &mut Option<Pending<'_, T>>) -> Result<T, Failure> {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}
