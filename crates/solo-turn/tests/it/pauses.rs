//! When a pause is the end, where both the voice and the words are asked.

use std::time::Duration;

use solo_turn::{Command, Event, Settings, TurnEnd, TurnId, WakeMode};

use crate::turns::Talk;

const TURN: TurnId = TurnId(1);
const FINISHED: f32 = 0.9;
const UNFINISHED: f32 = 0.1;

/// Somebody spoke for a second and pauses since 1,000 ms.
fn paused() -> Talk {
    Talk::paused(Settings {
        wake_mode: WakeMode::Open,
        audio_out_hz: Some(16_000),
        turn_end: TurnEnd {
            probability: 0.5,
            silence: Duration::from_millis(200),
            doubt: Duration::from_millis(600),
            hesitation: Duration::from_millis(900),
            reads: true,
            open_words: vec!["the".into()],
        },
        ..Settings::default()
    })
}

fn judged(talk: &mut Talk, ms: u64, probability: f32) -> Vec<Command> {
    talk.at(
        ms,
        Event::TurnEnd {
            turn: TURN,
            probability,
            silence: Duration::from_millis(ms - 1000),
        },
    )
}

fn read(talk: &mut Talk, ms: u64, text: &str) -> Vec<Command> {
    talk.at(
        ms,
        Event::Candidate {
            turn: TURN,
            text: text.into(),
        },
    )
}

/// When the pause ends the turn, in ms of silence; `None`: only recognition's own end does.
fn end_of(text: &str, probability: f32) -> Option<u64> {
    let mut talk = paused();
    judged(&mut talk, 1100, probability);
    read(&mut talk, 1150, text);
    let deadline = talk.machine.deadline().expect("a deadline").as_millis() as u64;
    let commands = talk.at(deadline, Event::Tick);
    assert!(
        commands.contains(&Command::FinalizeListening { turn: TURN }),
        "{deadline}: {commands:?}"
    );
    // What is left is the longest utterance, a minute on.
    (deadline < 2_000).then(|| deadline - 1000)
}

#[test]
fn voice_and_words_decide_together() {
    assert_eq!(end_of("What is the time?", FINISHED), Some(200));
    assert_eq!(end_of("What is the time?", UNFINISHED), Some(900));
    assert_eq!(end_of("ten of clubs", FINISHED), Some(600));
    assert_eq!(end_of("ten of clubs", UNFINISHED), None);
    assert_eq!(end_of("What is the?", FINISHED), None);
    assert_eq!(end_of("What is the", UNFINISHED), None);
}

#[test]
fn a_voice_that_sounds_finished_waits_for_its_words() {
    let mut talk = paused();
    assert_eq!(judged(&mut talk, 1250, FINISHED), []);
    let commands = read(&mut talk, 1300, "What is the time?");
    assert!(
        commands.contains(&Command::FinalizeListening { turn: TURN }),
        "{commands:?}"
    );
}

#[test]
fn what_the_words_say_is_forgotten_when_the_person_goes_on() {
    let mut talk = paused();
    judged(&mut talk, 1100, FINISHED);
    read(&mut talk, 1150, "What is the time?");
    talk.at(1180, Event::VoiceResumed { turn: TURN });
    talk.machine.audio_arrived(32_000, Duration::from_millis(2000));
    let second = Event::VoicePaused {
        turn: TURN,
        sample: 31_999,
    };
    talk.at(2100, second);
    let event = Event::TurnEnd {
        turn: TURN,
        probability: FINISHED,
        silence: Duration::from_millis(300),
    };
    assert_eq!(talk.at(2300, event), [], "the words of the second pause are not known");
}
