//! What a conversation is told when it opens.

use std::time::Duration;

/// How a turn by voice begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WakeMode {
    /// The client says when it begins and when it ends.
    PushToTalk,
    /// A keyword begins it, silence ends it.
    Keyword,
    /// Any speech begins it, silence ends it.
    Open,
}

/// What a conversation is told when it opens.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How a turn by voice begins.
    pub wake_mode: WakeMode,
    /// Rate of the audio that the client plays, in Hz; `None`: it plays none, and nothing is spoken.
    pub audio_out_hz: Option<u32>,
    /// Time after the keyword in which somebody has to begin to speak.
    pub listen_timeout: Duration,
    /// Longest utterance; then it counts as ended.
    pub max_utterance: Duration,
    /// Time that speech recognition has for the words of an ended utterance.
    pub final_timeout: Duration,
    /// Time from the end of what was said to the end of the reply's text.
    pub reply_timeout: Duration,
    /// Longest time in which speech synthesis may stand still after the reply's text is complete.
    pub speech_timeout: Duration,
    /// Time by which a client's playback may lag behind the clock before it is no longer waited for.
    pub playback_grace: Duration,
    /// Time in which a person may go on without the keyword after a spoken reply. Zero: not at all.
    pub follow_up: Duration,
    /// Time before listening is tried again where it has to be open all the time.
    pub retry_after: Duration,
    /// Whether the keyword interrupts a reply.
    pub wake_interrupts: bool,
    /// When a pause is the end of a turn.
    pub turn_end: TurnEnd,
    /// When speech interrupts a reply; `None`: it does not.
    pub barge_in: Option<BargeIn>,
    /// What makes the assistant be quiet at once, and asks for no reply when nothing else is said.
    pub stop_phrases: Vec<String>,
}

/// When a pause is the end of a turn.
#[derive(Debug, Clone, PartialEq)]
pub struct TurnEnd {
    /// Probability from which who paused sounds finished.
    pub probability: f32,
    /// Silence that has to pass all the same.
    pub silence: Duration,
    /// Silence that has to pass where the voice sounds finished and the words are no whole sentence.
    pub doubt: Duration,
    /// Silence that has to pass where the words are a whole sentence and the voice sounds as if it went on.
    pub hesitation: Duration,
    /// Whether the words count, too. They must come in each pause ([`Event::Candidate`](crate::Event::Candidate)): before
    /// them, nothing ends.
    pub reads: bool,
    /// Words after which something is missing ("the", "and").
    pub open_words: Vec<String>,
}

/// When speech interrupts a reply.
#[derive(Debug, Clone, PartialEq)]
pub struct BargeIn {
    /// How long somebody has to speak, from their first voiced sample on. What is shorter is a sound of listening, unless it
    /// asks something or is one of [`Settings::stop_phrases`].
    pub voice: Duration,
    /// Words by which people say that they listen ("yeah"): alone, or with a hum, they interrupt nothing.
    pub backchannels: Vec<String>,
    /// Words that interrupt however short they are, alone ("no"). Unlike [`Settings::stop_phrases`] they are a turn.
    pub interjections: Vec<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            wake_mode: WakeMode::PushToTalk,
            audio_out_hz: None,
            listen_timeout: Duration::from_secs(6),
            max_utterance: Duration::from_secs(60),
            final_timeout: Duration::from_secs(20),
            reply_timeout: Duration::from_secs(120),
            speech_timeout: Duration::from_secs(20),
            playback_grace: Duration::from_secs(2),
            follow_up: Duration::ZERO,
            retry_after: Duration::from_secs(2),
            wake_interrupts: true,
            turn_end: TurnEnd {
                probability: 0.5,
                silence: Duration::from_millis(200),
                doubt: Duration::from_millis(500),
                hesitation: Duration::from_millis(600),
                reads: false,
                open_words: Vec::new(),
            },
            barge_in: None,
            stop_phrases: Vec::new(),
        }
    }
}
