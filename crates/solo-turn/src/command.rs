//! What is to be done.
//!
//! | Starts work | Ended by exactly one of |
//! |---|---|
//! | [`Command::StartListening`] | [`Command::StopListening`], `Event::ListenFailed` |
//! | [`Command::Draft`] | [`Command::DropDraft`], [`Command::CommitTurn`]; a second `Draft` takes its place |
//! | [`Command::CommitTurn`] (the reply) | [`Command::CancelReply`], `Event::ReplyDone`, `Event::ReplyFailed` |
//! | [`Command::CommitTurn`] (the turn) | [`Command::EndTurn`] |
//! | [`Command::StartSpeaking`], [`Command::SpeakAhead`] | [`Command::CancelSpeaking`], `Event::AudioDone`, `Event::SpeakingFailed` |

use crate::event::TurnId;
use crate::stages::StageOffsets;

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Open a stream to speech recognition.
    StartListening {
        /// The turn that it may become.
        turn: TurnId,
        /// Where its audio begins.
        from: ListenFrom,
        /// True: recognition ends an utterance by itself after silence. False: only on [`Command::FinalizeListening`].
        auto_end: bool,
    },
    /// Transcribe what was heard, now.
    FinalizeListening {
        /// The listening.
        turn: TurnId,
    },
    /// Close the stream to speech recognition.
    StopListening {
        /// The listening.
        turn: TurnId,
    },
    /// Prepare an answer in case that this is all that is said; nobody may notice.
    Draft {
        /// The turn that it may become.
        turn: TurnId,
        /// What was said so far.
        text: String,
    },
    /// The person goes on: forget what was prepared.
    DropDraft {
        /// The turn.
        turn: TurnId,
    },
    /// What was said is a turn: answer it.
    CommitTurn {
        /// The turn.
        turn: TurnId,
        /// What was said.
        text: String,
        /// Whether the reply will be spoken.
        speak: bool,
        /// Whether it was said by voice.
        by_voice: bool,
    },
    /// Stop preparing the reply.
    CancelReply {
        /// The turn.
        turn: TurnId,
    },
    /// Show more of the reply.
    ShowReply {
        /// The turn.
        turn: TurnId,
        /// The text.
        text: String,
    },
    /// Open a stream to speech synthesis.
    StartSpeaking {
        /// The turn.
        turn: TurnId,
    },
    /// Open a stream to speech synthesis, and keep its audio back until [`Command::ReleaseSpeech`].
    SpeakAhead {
        /// The turn that it may become.
        turn: TurnId,
    },
    /// What was spoken ahead may be heard.
    ReleaseSpeech {
        /// The turn.
        turn: TurnId,
    },
    /// Speak this next.
    SpeakDelta {
        /// The turn.
        turn: TurnId,
        /// The text.
        text: String,
    },
    /// No more text will come.
    FinishSpeaking {
        /// The turn.
        turn: TurnId,
    },
    /// Fall silent at once, and forget audio that was not handed over yet.
    CancelSpeaking {
        /// The turn.
        turn: TurnId,
    },
    /// Tell the dialogue what of the reply the person has got.
    ReportHeard {
        /// The turn.
        turn: TurnId,
        /// Bytes of the reply, from its start.
        bytes: usize,
        /// True when the reply was cut there.
        interrupted: bool,
    },
    /// Say by a sound that the keyword was heard.
    PlayChime,
    /// Say in recorded words that something went wrong.
    PlaySorry {
        /// The turn.
        turn: TurnId,
    },
    /// Tell the person something.
    Notice {
        /// The turn.
        turn: TurnId,
        /// What.
        notice: Notice,
    },
    /// The state has changed.
    Notify(Phase),
    /// The turn is over.
    EndTurn(Box<Summary>),
    /// The conversation is over.
    CloseSession,
}

/// Where the audio of a listening begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListenFrom {
    /// With the next sample that arrives.
    Now,
    /// With this one, counted from the start of the conversation's audio.
    Sample(u64),
}

/// Something to tell the person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// The keyword was heard, and then nobody spoke.
    NothingHeard,
    /// Speech recognition did not say what was said in time.
    NoTranscript,
    /// The reply was not complete in time.
    ReplyTimedOut,
    /// Speech synthesis stood still.
    SpeechTimedOut,
}

/// Where a conversation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Nothing is going on.
    Idle,
    /// It hears a person.
    Listening,
    /// The person fell silent; perhaps the turn is over.
    Deciding,
    /// A reply is being prepared.
    Thinking,
    /// The reply is being spoken.
    Speaking,
}

/// How a turn ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The reply is complete, and the person has got it.
    Done,
    /// The person interrupted it.
    Interrupted,
    /// The reply broke off or came too late.
    Failed,
}

/// A turn that is over.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// The turn.
    pub turn: TurnId,
    /// How it ended.
    pub outcome: Outcome,
    /// Whether it was said by voice.
    pub by_voice: bool,
    /// What was said.
    pub transcript: String,
    /// What was answered.
    pub reply: String,
    /// Bytes of the reply that the person has got.
    pub heard_bytes: usize,
    /// Whether the reply was drafted before the turn was over.
    pub drafted: bool,
    /// When each stage was done.
    pub stages: StageOffsets,
}
