//! What can happen in a conversation.

use std::fmt;
use std::time::Duration;

use crate::heard::Mark;

/// A turn of one conversation, counted from 1. A turn has its number from the moment it begins to listen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TurnId(pub u64);

impl fmt::Display for TurnId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// Something that happened. Samples are counted from the start of the conversation's audio, at 16,000 Hz.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The conversation is open.
    Opened,
    /// A keyword was heard; its audio ends at `end_sample`.
    Wake {
        /// Sample after the keyword.
        end_sample: u64,
    },
    /// The person holds the button.
    PushToTalk,
    /// The person let go of the button.
    EndOfSpeech,
    /// The client will send nothing more, but still wants what is under way.
    InputEnded,
    /// Somebody began to speak.
    VoiceStarted {
        /// The listening that says so.
        turn: TurnId,
        /// First voiced sample.
        sample: u64,
    },
    /// Nobody has spoken for the configured silence.
    VoiceEnded {
        /// The listening that says so.
        turn: TurnId,
        /// Last voiced sample.
        sample: u64,
    },
    /// Somebody fell silent, and perhaps goes on.
    VoicePaused {
        /// The listening that says so.
        turn: TurnId,
        /// Last voiced sample.
        sample: u64,
    },
    /// Somebody went on after [`Event::VoicePaused`].
    VoiceResumed {
        /// The listening that says so.
        turn: TurnId,
    },
    /// How likely it is that who paused has finished.
    TurnEnd {
        /// The listening that says so.
        turn: TurnId,
        /// 0.0 to 1.0.
        probability: f32,
        /// Silence up to now.
        silence: Duration,
    },
    /// The words so far, while somebody speaks.
    Partial {
        /// The listening that says so.
        turn: TurnId,
        /// The words.
        text: String,
        /// Sample up to which they were read.
        end_sample: u64,
    },
    /// The words of an utterance that may be over: those of [`Event::Final`], if nobody goes on.
    Candidate {
        /// The listening that says so.
        turn: TurnId,
        /// The words.
        text: String,
    },
    /// What was taken for a voice was none: the tail of the keyword, for instance.
    VoiceWithdrawn {
        /// The listening that it was heard in.
        turn: TurnId,
    },
    /// The words of an utterance.
    Final {
        /// The listening that says so.
        turn: TurnId,
        /// The words; without any, it counts as [`Event::Rejected`].
        text: String,
        /// Last voiced sample, where it is known.
        end_sample: Option<u64>,
    },
    /// An utterance was heard and not believed.
    Rejected {
        /// The listening that says so.
        turn: TurnId,
    },
    /// Listening broke down; it has ended.
    ListenFailed {
        /// The listening that broke down.
        turn: TurnId,
    },
    /// A turn in writing.
    TextInput {
        /// The words.
        text: String,
        /// Whether the reply is to be spoken.
        speak: bool,
    },
    /// More of the reply that is being drafted.
    DraftDelta {
        /// The turn that it may become.
        turn: TurnId,
        /// The text.
        text: String,
    },
    /// The turn was written down; the reply follows from its start.
    Accepted {
        /// The turn.
        turn: TurnId,
        /// Whether the reply is the one that was drafted.
        draft_adopted: bool,
    },
    /// Memory has answered.
    Recalled {
        /// The turn.
        turn: TurnId,
    },
    /// More of the reply.
    ReplyDelta {
        /// The turn.
        turn: TurnId,
        /// The text.
        text: String,
    },
    /// The reply is complete.
    ReplyDone {
        /// The turn.
        turn: TurnId,
    },
    /// The reply broke off; its work has ended.
    ReplyFailed {
        /// The turn.
        turn: TurnId,
    },
    /// Where in the reply the next audio stands.
    Marked {
        /// The turn.
        turn: TurnId,
        /// Text and samples of the reply's audio.
        mark: Mark,
    },
    /// Audio of the reply was handed to the client.
    AudioSent {
        /// The turn.
        turn: TurnId,
        /// Samples handed over so far, in the client's rate.
        samples: u64,
    },
    /// All audio of the reply was handed to the client.
    AudioDone {
        /// The turn.
        turn: TurnId,
    },
    /// Speech broke down; its work has ended.
    SpeakingFailed {
        /// The turn.
        turn: TurnId,
    },
    /// The client says how far it has played. One that ever says so is waited for.
    Played {
        /// Samples of the reply's audio really played, in the client's rate.
        samples: u64,
    },
    /// Stop and be quiet.
    Interrupt,
    /// Hear nothing (true), or hear again (false).
    Mute(bool),
    /// Time has passed; see [`crate::Machine::deadline`].
    Tick,
    /// Finish what is running, begin nothing, then close.
    Drain,
    /// The client is gone.
    Closed,
}
