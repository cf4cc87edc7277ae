//! What Solo by voice is held against: the rows and targets of the issue that it was built for, a sheet for each scenario.

use super::Who;
use super::conversation::{ENDPOINT, HIDDEN, LLM_FIRST_SENTENCE, LLM_FIRST_TOKEN, RECALL, STT, TTS_FIRST_AUDIO};
use crate::report::{Limit, Sheet, bound, row, row_of, target};

/// What was measured of the contenders.
pub type Samples = crate::report::Samples<Who>;

/// Stages of a turn, in their order.
pub const STAGES: [&str; 7] = [
    ENDPOINT,
    STT,
    RECALL,
    LLM_FIRST_TOKEN,
    LLM_FIRST_SENTENCE,
    TTS_FIRST_AUDIO,
    HIDDEN,
];

const COLUMNS: &[(Who, &str)] = &[(Who::Ours, "Solo"), (Who::Peer, "Python stack")];

/// Spoken turns, one at a time.
pub const TURNS: Sheet<Who> = Sheet {
    columns: COLUMNS,
    rows: &[
        row("turns p50", "last voiced sample → first audio, p50, ms", 0),
        row("turns p95", "the same, p95, ms", 0),
        row("turns audible p50", "→ first audible sample, p50, ms", 0),
        row("turns endpoint", "end of the turn decided after, p50, ms", 0),
        row("turns stt", "words there after, p50, ms", 0),
        row("turns recall", "memory recalled after, p50, ms", 0),
        row("turns llm first token", "first token after, p50, ms", 0),
        row("turns llm first sentence", "first sentence after, p50, ms", 0),
        row("turns tts first audio", "first audio made after, p50, ms", 0),
        row(
            "turns hidden",
            "work after the words that was done before the decision, p50, ms",
            0,
        ),
        row("turns wer", "words misunderstood, %", 1),
        row("turns failed", "turns without an answer aloud", 0),
    ],
    targets: &[
        target(
            "last voiced sample → first audio, p50: ≤ 0.35 × the Python stack",
            ("turns p50", Who::Ours),
            ("turns p50", Who::Peer),
            Limit::AtMost(0.35),
        ),
        target(
            "the same, p95",
            ("turns p95", Who::Ours),
            ("turns p95", Who::Peer),
            Limit::AtMost(0.35),
        ),
        bound("p50 in ms: about 450", ("turns p50", Who::Ours), Limit::None),
    ],
};

/// Speech to text.
pub const STT_SHEET: Sheet<Who> = Sheet {
    columns: COLUMNS,
    rows: &[
        row_of(
            "librivox ms",
            "LibriVox, {} s in five clips, ms a clip",
            0,
            "librivox audio",
        ),
        row("librivox wer", "its word error rate, %", 1),
        row_of("cards ms", "cards, {} s in five clips, ms a clip", 0, "cards audio"),
        row("cards wer", "its word error rate, %", 1),
        row(
            "live after end p50",
            "live: words after the end of the turn, p50, ms",
            0,
        ),
        row("live after end p95", "the same, p95, ms", 0),
        row(
            "live after voice p50",
            "live: words after the last voiced sample, p50, ms",
            0,
        ),
        row("live partials", "live: partial transcripts of an utterance", 1),
        row("live wer", "live: word error rate, %", 1),
        row("live missing", "live: utterances without words", 0),
    ],
    targets: &[
        target(
            "LibriVox, time: ≤ 0.35 × faster-whisper int8",
            ("librivox ms", Who::Ours),
            ("librivox ms", Who::Peer),
            Limit::AtMost(0.35),
        ),
        bound(
            "LibriVox, word error rate above faster-whisper's, in points: ≤ 0",
            ("librivox wer above", Who::Ours),
            Limit::AtMost(0.0),
        ),
        target(
            "cards, time (not judged)",
            ("cards ms", Who::Ours),
            ("cards ms", Who::Peer),
            Limit::None,
        ),
        bound(
            "live, words after the end of the turn, p50: ≤ 150 ms",
            ("live after end p50", Who::Ours),
            Limit::AtMost(150.0),
        ),
        bound("the same, p95", ("live after end p95", Who::Ours), Limit::AtMost(150.0)),
    ],
};

/// Text to speech.
pub const TTS: Sheet<Who> = Sheet {
    columns: COLUMNS,
    rows: &[
        row_of(
            "tts first",
            "three sentences of {} s, first audio, ms",
            0,
            "tts seconds",
        ),
        row("tts rtf", "all of it, real-time factor", 3),
        row("tts seconds", "its length, s", 1),
    ],
    targets: &[
        target(
            "first audio: ≤ 0.5 × piper-tts",
            ("tts first", Who::Ours),
            ("tts first", Who::Peer),
            Limit::AtMost(0.5),
        ),
        target(
            "real-time factor: ≤ 1.0 × piper-tts",
            ("tts rtf", Who::Ours),
            ("tts rtf", Who::Peer),
            Limit::AtMost(1.0),
        ),
    ],
};

/// Everything at once.
pub const LOAD: Sheet<Who> = Sheet {
    columns: COLUMNS,
    rows: &[
        row("load p50", "last voiced sample → first audio, p50, ms", 0),
        row("load p95", "the same, p95, ms", 0),
        row("load endpoint", "end of the turn decided after, p50, ms", 0),
        row("load stt", "words there after, p50, ms", 0),
        row("load llm first token", "first token after, p50, ms", 0),
        row("load llm first sentence", "first sentence after, p50, ms", 0),
        row("load wer", "words misunderstood, %", 1),
        row("load failed", "turns without an answer aloud", 0),
    ],
    targets: &[
        target(
            "Solo, p95: ≤ 2 × p50",
            ("load p95", Who::Ours),
            ("load p50", Who::Ours),
            Limit::AtMost(2.0),
        ),
        target(
            "the Python stack, p95 over p50",
            ("load p95", Who::Peer),
            ("load p50", Who::Peer),
            Limit::None,
        ),
        target(
            "p50: Solo over the Python stack",
            ("load p50", Who::Ours),
            ("load p50", Who::Peer),
            Limit::None,
        ),
    ],
};

/// Many streams.
pub const STREAMS: Sheet<Who> = Sheet {
    columns: COLUMNS,
    rows: &[
        row_of(
            "streams p50",
            "{} streams: last voiced sample → words, p50, ms",
            0,
            "streams",
        ),
        row("streams p95", "the same, p95, ms", 0),
        row("streams longest", "the longest, ms", 0),
        row("streams wer", "word error rate, %", 1),
        row("streams missing", "utterances without words", 0),
        row("streams wrong", "wrong words", 0),
        row(
            "streams wrong alone",
            "wrong words in the same clips as recordings, one at a time",
            0,
        ),
    ],
    targets: &[
        bound(
            "utterances that are missing, or end before they did: 0",
            ("streams cut", Who::Ours),
            Limit::AtMost(0.0),
        ),
        bound(
            "more wrong words than in the same clips as recordings, one at a time: 0",
            ("streams wrong above", Who::Ours),
            Limit::AtMost(0.0),
        ),
    ],
};

/// Pauses in the middle of sentences.
pub const PAUSES: Sheet<Who> = Sheet {
    columns: COLUMNS,
    rows: &[
        row_of("pauses cut", "{} sentences with a pause: cut off in it", 0, "pauses"),
        row(
            "pauses cut hesitating",
            "half of them after a function word: cut off",
            0,
        ),
        row("pauses cut between phrases", "half of them between phrases: cut off", 0),
        row("pauses cut 300", "pauses of 300 ms: cut off", 0),
        row("pauses cut 500", "500 ms", 0),
        row("pauses cut 700", "700 ms", 0),
        row("pauses cut 900", "900 ms", 0),
        row("pauses cut 1200", "1,200 ms", 0),
        row("pauses after", "who was not cut off: end of the turn after, p50, ms", 0),
    ],
    targets: &[target(
        "cut off: ≤ 0.5 × 500 ms of silence alone",
        ("pauses cut", Who::Ours),
        ("pauses cut", Who::Peer),
        Limit::AtMost(0.5),
    )],
};

/// A loudspeaker in front of the microphone.
pub const ECHO: Sheet<Who> = Sheet {
    columns: &[(Who::Ours, "Solo")],
    rows: &[
        row("echo spoken", "the assistant speaks alone, s", 0),
        row("echo false", "it interrupts itself", 0),
        row("echo wakes", "it hears a keyword in itself", 0),
        row(
            "echo interruptions",
            "people speak into its speech, as loud as its echo",
            0,
        ),
        row("echo caught", "it stops, %", 1),
        row("echo noticed p50", "it stops after the first sound, p50, ms", 0),
        row("echo noticed p95", "the same, p95, ms", 0),
        row_of(
            "echo obeyed",
            "of {} times \"stop\", \"wait, no\" and the like it stops",
            0,
            "echo stops",
        ),
        row_of(
            "echo disturbed",
            "of {} nods (\"mm-hmm\"), coughs and doors so many stop it",
            0,
            "echo nods",
        ),
    ],
    targets: &[
        bound("it interrupts itself: 0", ("echo false", Who::Ours), Limit::AtMost(0.0)),
        bound(
            "it hears a keyword in itself: 0",
            ("echo wakes", Who::Ours),
            Limit::AtMost(0.0),
        ),
        bound(
            "interruptions caught: ≥ 95 %",
            ("echo caught", Who::Ours),
            Limit::AtLeast(95.0),
        ),
        bound(
            "\"stop\" that is not obeyed: 0",
            ("echo disobeyed", Who::Ours),
            Limit::AtMost(0.0),
        ),
        bound(
            "nods, coughs and doors that stop it: 0",
            ("echo disturbed", Who::Ours),
            Limit::AtMost(0.0),
        ),
    ],
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_faster_and_as_good_recogniser_holds_its_targets() {
        let mut samples = Samples::default();
        samples.record("librivox ms", Who::Ours, 170.0);
        samples.record("librivox ms", Who::Peer, 500.0);
        samples.record("librivox audio", Who::Ours, 23.4);
        samples.record("librivox wer above", Who::Ours, 1.4);
        let tables = samples.tables(&STT_SHEET);
        assert!(
            tables.contains("| LibriVox, 23 s in five clips, ms a clip | 170 (170–170) | 500 (500–500) |"),
            "{tables}"
        );
        assert!(tables.contains("| 0.340 (0.340–0.340) | yes |"), "{tables}");
        assert!(tables.contains("in points: ≤ 0 | 1.4 (1.4–1.4) | **no** |"), "{tables}");
    }
}
