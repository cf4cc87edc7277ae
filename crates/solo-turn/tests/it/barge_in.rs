//! Speech into a reply: what interrupts it and what does not.

use std::time::Duration;

use solo_turn::{BargeIn, Command, Event, Outcome, Phase, Settings, TurnId, WakeMode};

use crate::turns::{Talk, delta, summary, unit};

const REPLY: TurnId = TurnId(1);
const EAR: TurnId = TurnId(2);

fn strings(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// The capital of France is being named.
fn speaking(wake_mode: WakeMode) -> Talk {
    let mut talk = Talk::with(Settings {
        wake_mode,
        audio_out_hz: Some(16_000),
        barge_in: Some(BargeIn {
            voice: Duration::from_millis(250),
            backchannels: strings(&["mhm", "yeah"]),
            interjections: strings(&["no"]),
        }),
        stop_phrases: strings(&["stop", "be quiet"]),
        ..Settings::default()
    });
    talk.at(0, Event::Opened);
    if wake_mode == WakeMode::Keyword {
        talk.at(0, Event::Wake { end_sample: 0 });
    }
    let words = Event::Final {
        turn: REPLY,
        text: "what is the capital of France?".into(),
        end_sample: None,
    };
    talk.at(10, Event::VoiceStarted { turn: REPLY, sample: 1 });
    let commands = talk.at(1000, words);
    assert!(
        commands
            .iter()
            .any(|command| matches!(command, Command::StartListening { turn: EAR, .. })),
        "{commands:?}"
    );
    talk
}

/// And a second of it was heard.
fn spoken(wake_mode: WakeMode) -> Talk {
    let mut talk = speaking(wake_mode);
    talk.at(1100, delta(REPLY, "The capital of France is Paris, on the Seine."));
    let mark = unit(0..45, 0..48_000);
    talk.at(1200, Event::Marked { turn: REPLY, mark });
    talk.at(
        1201,
        Event::AudioSent {
            turn: REPLY,
            samples: 48_000,
        },
    );
    talk.at(1500, Event::Played { samples: 4_800 });
    assert_eq!(talk.machine.phase(), Phase::Speaking);
    talk
}

fn voice() -> Event {
    Event::VoiceStarted {
        turn: EAR,
        sample: 30_000,
    }
}

/// Words of the first `ms` of that voice.
fn partial(text: &str, ms: u64) -> Event {
    Event::Partial {
        turn: EAR,
        text: text.into(),
        end_sample: 30_000 + 16 * ms,
    }
}

fn words(text: &str) -> Event {
    Event::Final {
        turn: EAR,
        text: text.into(),
        end_sample: Some(40_000),
    }
}

#[test]
fn who_has_something_to_say_is_listened_to_and_answered() {
    let mut talk = spoken(WakeMode::Open);
    talk.at(2000, voice());
    assert_eq!(talk.at(2400, partial("what about", 240)), [], "not long enough yet");
    let commands = talk.at(2500, partial("what about", 260));
    assert_eq!(commands[0], Command::CancelReply { turn: REPLY });
    assert_eq!(commands[1], Command::CancelSpeaking { turn: REPLY });
    assert!(matches!(
        commands[2],
        Command::ReportHeard {
            turn: REPLY,
            interrupted: true,
            ..
        }
    ));
    let cut = summary(&commands);
    assert_eq!(cut.outcome, Outcome::Interrupted);
    assert!(cut.heard_bytes < 45);
    assert_eq!(talk.machine.current_turn(), Some(EAR));
    let commands = talk.at(3000, words("what about Berlin?"));
    assert!(
        matches!(&commands[1], Command::CommitTurn { turn: EAR, text, .. } if text == "what about Berlin?"),
        "{commands:?}"
    );
}

#[test]
fn who_only_says_that_they_listen_interrupts_nothing() {
    let mut talk = spoken(WakeMode::Open);
    talk.at(2000, voice());
    assert_eq!(talk.at(2400, partial("Mhm", 400)), []);
    assert_eq!(talk.at(2500, words("Mhm. Yeah.")), []);
    assert_eq!(
        talk.at(
            2600,
            Event::VoiceStarted {
                turn: EAR,
                sample: 50_000
            }
        ),
        []
    );
    assert_eq!(talk.at(2900, Event::Rejected { turn: EAR }), [], "a cough, a door");
    assert_eq!(talk.machine.phase(), Phase::Speaking);
}

/// What somebody said in so many ms of voice, and then no more.
fn short(text: &str, ms: u64) -> [Event; 2] {
    let end = 30_000 + 16 * ms;
    [
        Event::VoiceEnded { turn: EAR, sample: end },
        Event::Final {
            turn: EAR,
            text: text.into(),
            end_sample: Some(end),
        },
    ]
}

#[test]
fn a_hum_in_which_recognition_finds_words_interrupts_nothing_and_a_short_question_does() {
    for (text, ms, interrupts) in [
        ("Thank you, mom.", 240, false),
        ("Thank you, mom.", 260, true),
        ("Why?", 100, true),
        ("Stop.", 100, true),
        ("No.", 100, true),
        ("No idea.", 100, false),
    ] {
        let mut talk = spoken(WakeMode::Open);
        talk.at(2000, voice());
        let [ended, said] = short(text, ms);
        talk.at(2400, ended);
        talk.at(2500, said);
        assert_eq!(talk.machine.phase() != Phase::Speaking, interrupts, "{text} in {ms} ms");
    }
}

#[test]
fn a_no_is_answered_and_a_stop_is_not() {
    for (text, answered) in [("No.", true), ("Stop.", false)] {
        let mut talk = spoken(WakeMode::Open);
        talk.at(2000, voice());
        let [ended, said] = short(text, 100);
        talk.at(2400, ended);
        let commands = talk.at(2500, said);
        let commits = |command: &Command| matches!(command, Command::CommitTurn { turn: EAR, .. });
        assert_eq!(commands.iter().any(commits), answered, "{text}: {commands:?}");
    }
}

#[test]
fn a_stop_word_interrupts_at_once_and_asks_for_no_answer() {
    let mut talk = spoken(WakeMode::Keyword);
    talk.at(2000, voice());
    let commands = talk.at(2050, partial("Stop!", 100));
    assert_eq!(summary(&commands).outcome, Outcome::Interrupted);
    let commands = talk.at(2400, words("Stop!"));
    assert_eq!(
        commands,
        [Command::StopListening { turn: EAR }, Command::Notify(Phase::Idle)]
    );
}

#[test]
fn a_stop_word_that_was_over_before_anybody_noticed_stops_too() {
    let mut talk = spoken(WakeMode::Keyword);
    talk.at(2000, voice());
    let commands = talk.at(2300, words("Be quiet."));
    assert_eq!(summary(&commands).outcome, Outcome::Interrupted);
    assert!(
        !commands
            .iter()
            .any(|command| matches!(command, Command::CommitTurn { .. }))
    );
    assert_eq!(talk.machine.phase(), Phase::Idle);
}

#[test]
fn the_assistants_own_voice_interrupts_nothing() {
    let mut talk = spoken(WakeMode::Open);
    talk.at(2000, voice());
    assert_eq!(talk.at(2900, partial("capital of France is", 900)), []);
    assert_eq!(talk.at(3400, words("The capital of France is Paris.")), []);
    assert_eq!(talk.machine.phase(), Phase::Speaking);
}

#[test]
fn who_goes_on_before_anything_was_spoken_had_not_finished() {
    let mut talk = speaking(WakeMode::Open);
    talk.at(1050, voice());
    let commands = talk.at(1400, partial("and of Spain", 300));
    assert_eq!(summary(&commands).outcome, Outcome::Interrupted);
    let commands = talk.at(2000, words("and of Spain?"));
    assert!(
        matches!(&commands[1], Command::CommitTurn { text, .. } if text == "what is the capital of France? and of Spain?"),
        "{commands:?}"
    );
}

#[test]
fn after_the_reply_the_same_ears_go_on_listening_where_people_speak_freely() {
    let mut talk = spoken(WakeMode::Open);
    talk.at(4000, Event::ReplyDone { turn: REPLY });
    talk.at(4001, Event::AudioDone { turn: REPLY });
    let commands = talk.at(4300, Event::Played { samples: 48_000 });
    assert_eq!(summary(&commands).outcome, Outcome::Done);
    assert!(
        !commands
            .iter()
            .any(|command| matches!(command, Command::StopListening { .. }))
    );
    assert_eq!(talk.machine.current_turn(), Some(EAR));
    assert_eq!(talk.machine.phase(), Phase::Idle, "any voice begins a turn");
}

#[test]
fn after_the_reply_nobody_listens_where_a_keyword_is_wanted_unless_somebody_speaks() {
    let mut talk = spoken(WakeMode::Keyword);
    talk.at(4000, Event::ReplyDone { turn: REPLY });
    talk.at(4001, Event::AudioDone { turn: REPLY });
    let commands = talk.at(4300, Event::Played { samples: 48_000 });
    assert!(commands.contains(&Command::StopListening { turn: EAR }), "{commands:?}");

    let mut talk = spoken(WakeMode::Keyword);
    talk.at(4000, Event::ReplyDone { turn: REPLY });
    talk.at(4001, Event::AudioDone { turn: REPLY });
    talk.at(4250, voice());
    talk.at(4300, Event::Played { samples: 48_000 });
    assert_eq!(talk.machine.phase(), Phase::Listening);
}

#[test]
fn with_the_button_nothing_is_overheard() {
    let mut talk = Talk::with(Settings {
        audio_out_hz: Some(16_000),
        barge_in: Some(BargeIn {
            voice: Duration::ZERO,
            backchannels: Vec::new(),
            interjections: Vec::new(),
        }),
        ..Settings::default()
    });
    talk.at(0, Event::PushToTalk);
    talk.at(900, Event::EndOfSpeech);
    let words = Event::Final {
        turn: REPLY,
        text: "hello".into(),
        end_sample: None,
    };
    let commands = talk.at(1000, words);
    assert!(
        !commands
            .iter()
            .any(|command| matches!(command, Command::StartListening { .. }))
    );
    assert_eq!(talk.machine.listening_turn(), None);
}
