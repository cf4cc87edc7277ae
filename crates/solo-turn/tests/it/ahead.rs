//! What is prepared in a pause, and when a pause is the end.

use std::time::Duration;

use solo_turn::{Command, Event, Outcome, Phase, Settings, TurnId, WakeMode};

use crate::turns::{Talk, delta, summary};

const TURN: TurnId = TurnId(1);

fn candidate(text: &str) -> Event {
    Event::Candidate {
        turn: TURN,
        text: text.into(),
    }
}

fn drafted(text: &str) -> Event {
    Event::DraftDelta {
        turn: TURN,
        text: text.into(),
    }
}

fn ending(probability: f32, silence_ms: u64) -> Event {
    Event::TurnEnd {
        turn: TURN,
        probability,
        silence: Duration::from_millis(silence_ms),
    }
}

fn words(text: &str) -> Event {
    Event::Final {
        turn: TURN,
        text: text.into(),
        end_sample: Some(15_999),
    }
}

/// Somebody spoke for a second and pauses since.
fn paused() -> Talk {
    Talk::paused(Settings {
        wake_mode: WakeMode::Open,
        audio_out_hz: Some(16_000),
        ..Settings::default()
    })
}

#[test]
fn an_answer_is_prepared_in_the_pause_and_heard_as_soon_as_the_turn_is_accepted() {
    let mut talk = paused();
    assert_eq!(talk.machine.phase(), Phase::Deciding);
    assert_eq!(
        talk.at(1150, candidate("what time is it?")),
        [Command::Draft {
            turn: TURN,
            text: "what time is it?".into()
        }]
    );
    assert_eq!(
        talk.at(1180, drafted("It is")),
        [
            Command::SpeakAhead { turn: TURN },
            Command::SpeakDelta {
                turn: TURN,
                text: "It is".into()
            }
        ]
    );
    assert_eq!(
        talk.at(1200, ending(0.9, 200)),
        [Command::FinalizeListening { turn: TURN }],
        "it sounds finished, and has been silent for long enough"
    );
    let commands = talk.at(1201, words("what time is it?"));
    assert_eq!(commands[0], Command::StopListening { turn: TURN });
    assert!(matches!(
        commands[1],
        Command::CommitTurn {
            turn: TURN,
            speak: true,
            ..
        }
    ));
    let accepted = Event::Accepted {
        turn: TURN,
        draft_adopted: true,
    };
    assert_eq!(talk.at(1202, accepted), [Command::ReleaseSpeech { turn: TURN }]);
    talk.at(
        1203,
        Event::AudioSent {
            turn: TURN,
            samples: 160,
        },
    );
    assert_eq!(talk.machine.phase(), Phase::Speaking);
    // The reply comes from its start; what is spoken already is shown and not spoken again.
    let shown = |text: &str| Command::ShowReply {
        turn: TURN,
        text: text.into(),
    };
    assert_eq!(talk.at(1204, delta(TURN, "It ")), [shown("It ")]);
    let spoken = Command::SpeakDelta {
        turn: TURN,
        text: " noon.".into(),
    };
    assert_eq!(talk.at(1205, delta(TURN, "is noon.")), [spoken, shown("is noon.")]);
    let commands = talk.at(1206, Event::ReplyDone { turn: TURN });
    assert_eq!(commands, [Command::FinishSpeaking { turn: TURN }]);
    let commands = talk.at(1300, Event::AudioDone { turn: TURN });
    let summary = summary(&commands);
    assert_eq!((summary.drafted, summary.outcome), (true, Outcome::Done));
    assert_eq!(summary.reply, "It is noon.");
    let stages = summary.stages;
    assert_eq!(
        (stages.draft, stages.endpoint, stages.first_audio),
        (Some(150), Some(200), Some(203))
    );
}

#[test]
fn who_goes_on_takes_back_what_was_prepared() {
    let mut talk = paused();
    talk.at(1150, candidate("turn on the"));
    talk.at(1180, drafted("What"));
    talk.at(1190, ending(0.9, 150));
    assert_eq!(
        talk.at(1195, Event::VoiceResumed { turn: TURN }),
        [
            Command::CancelSpeaking { turn: TURN },
            Command::DropDraft { turn: TURN },
            Command::Notify(Phase::Listening)
        ]
    );
    assert_eq!(talk.at(1180, drafted(" is")), [], "a late word of it");
    assert_eq!(talk.at(1300, Event::Tick), [], "the end that was near is near no more");
    assert_eq!(talk.machine.phase(), Phase::Listening);
}

#[test]
fn a_pause_that_sounds_finished_too_early_ends_when_it_is_long_enough() {
    let mut talk = paused();
    assert_eq!(talk.at(1100, ending(0.8, 100)), []);
    assert_eq!(talk.machine.deadline(), Some(Duration::from_millis(1200)));
    assert_eq!(talk.at(1200, Event::Tick), [Command::FinalizeListening { turn: TURN }]);
}

#[test]
fn a_pause_that_sounds_unfinished_does_not_end_the_turn() {
    let mut talk = paused();
    assert_eq!(talk.at(1100, ending(0.9, 100)), []);
    assert_eq!(talk.at(1150, ending(0.1, 150)), [], "and it is judged anew");
    assert_eq!(talk.at(1200, Event::Tick), []);
    assert_eq!(talk.at(1900, ending(0.2, 900)), []);
    let ended = Event::VoiceEnded {
        turn: TURN,
        sample: 15_999,
    };
    talk.at(2200, ended);
    let commands = talk.at(2201, words("turn on the"));
    assert!(matches!(commands[1], Command::CommitTurn { .. }), "{commands:?}");
}

#[test]
fn a_draft_that_is_not_adopted_is_not_heard() {
    let mut talk = paused();
    talk.at(1150, candidate("what time is it?"));
    talk.at(1180, drafted("It is"));
    talk.at(1200, ending(0.9, 200));
    talk.at(1201, words("what time is it?"));
    let refused = Event::Accepted {
        turn: TURN,
        draft_adopted: false,
    };
    assert_eq!(talk.at(1202, refused), [Command::CancelSpeaking { turn: TURN }]);
    assert_eq!(
        talk.at(1300, delta(TURN, "Noon.")),
        [
            Command::StartSpeaking { turn: TURN },
            Command::SpeakDelta {
                turn: TURN,
                text: "Noon.".into()
            },
            Command::ShowReply {
                turn: TURN,
                text: "Noon.".into()
            }
        ]
    );
}

#[test]
fn other_words_than_those_that_were_drafted_are_answered_anew() {
    let mut talk = paused();
    talk.at(1150, candidate("what time is"));
    talk.at(1180, drafted("It is"));
    talk.at(1200, ending(0.9, 200));
    let commands = talk.at(1201, words("what time is it in Rome?"));
    assert_eq!(commands[1], Command::CancelSpeaking { turn: TURN });
    assert!(matches!(&commands[2], Command::CommitTurn { text, .. } if text == "what time is it in Rome?"));
}

#[test]
fn another_candidate_takes_the_place_of_the_first() {
    let mut talk = paused();
    talk.at(1150, candidate("what time"));
    assert_eq!(talk.at(1160, candidate("what  time")), [], "the same words");
    talk.at(1180, drafted("Hm"));
    let draft = Command::Draft {
        turn: TURN,
        text: "what time is it".into(),
    };
    assert_eq!(
        talk.at(1190, candidate("what time is it")),
        [Command::CancelSpeaking { turn: TURN }, draft]
    );
}
