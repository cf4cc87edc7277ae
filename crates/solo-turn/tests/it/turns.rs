//! Turns as people have them, command by command.

use std::time::Duration;

use solo_turn::{
    Command, Event, ListenFrom, Machine, Mark, MarkKind, Notice, Outcome, Phase, Settings, Summary, TurnId, WakeMode,
};

/// A machine and its time.
pub(crate) struct Talk {
    pub(crate) machine: Machine,
    pub(crate) now: Duration,
}

impl Talk {
    pub(crate) fn new(wake_mode: WakeMode, audio_out_hz: Option<u32>) -> Self {
        Self::with(Settings {
            wake_mode,
            audio_out_hz,
            ..Settings::default()
        })
    }

    pub(crate) fn with(settings: Settings) -> Self {
        Self {
            machine: Machine::new(settings),
            now: Duration::ZERO,
        }
    }

    /// Somebody spoke for a second, from 100 ms on as it was heard, and pauses: it was noticed at 1,100 ms.
    pub(crate) fn paused(settings: Settings) -> Self {
        const TURN: TurnId = TurnId(1);
        let mut talk = Self::with(settings);
        talk.at(0, Event::Opened);
        talk.machine.audio_arrived(16_000, Duration::from_millis(1000));
        talk.at(100, Event::VoiceStarted { turn: TURN, sample: 1 });
        talk.at(
            1100,
            Event::VoicePaused {
                turn: TURN,
                sample: 15_999,
            },
        );
        talk
    }

    pub(crate) fn at(&mut self, ms: u64, event: Event) -> Vec<Command> {
        self.now = Duration::from_millis(ms);
        self.machine.on(event, self.now)
    }

    /// A turn in writing up to its commit.
    fn asked(&mut self, speak: bool) -> TurnId {
        let commands = self.at(
            0,
            Event::TextInput {
                text: "what is up?".into(),
                speak,
            },
        );
        let Command::CommitTurn { turn, .. } = commands[0] else {
            panic!("{commands:?}")
        };
        turn
    }
}

pub(crate) fn delta(turn: TurnId, text: &str) -> Event {
    Event::ReplyDelta {
        turn,
        text: text.into(),
    }
}

pub(crate) fn unit(text: std::ops::Range<usize>, samples: std::ops::Range<u64>) -> Mark {
    Mark {
        kind: MarkKind::Unit,
        text_start: text.start,
        text_end: text.end,
        start_sample: samples.start,
        end_sample: samples.end,
    }
}

pub(crate) fn summary(commands: &[Command]) -> &Summary {
    commands
        .iter()
        .find_map(|command| match command {
            Command::EndTurn(summary) => Some(&**summary),
            _ => None,
        })
        .unwrap_or_else(|| panic!("no turn ends in {commands:?}"))
}

#[test]
fn a_turn_in_writing() {
    let mut talk = Talk::new(WakeMode::PushToTalk, None);
    assert_eq!(talk.at(0, Event::Opened), []);
    let turn = TurnId(1);
    assert_eq!(
        talk.at(
            10,
            Event::TextInput {
                text: "hi".into(),
                speak: true
            }
        ),
        [
            Command::CommitTurn {
                turn,
                text: "hi".into(),
                speak: false,
                by_voice: false
            },
            Command::Notify(Phase::Thinking)
        ]
    );
    talk.at(20, Event::Recalled { turn });
    assert_eq!(
        talk.at(60, delta(turn, "Hello.")),
        [Command::ShowReply {
            turn,
            text: "Hello.".into()
        }]
    );
    talk.at(70, delta(turn, " You."));
    let commands = talk.at(80, Event::ReplyDone { turn });
    assert_eq!(
        commands[0],
        Command::ReportHeard {
            turn,
            bytes: 11,
            interrupted: false
        }
    );
    let summary = summary(&commands);
    assert_eq!(
        (summary.outcome, summary.reply.as_str()),
        (Outcome::Done, "Hello. You.")
    );
    let stages = summary.stages;
    assert_eq!(
        (stages.recall, stages.first_token, stages.first_sentence),
        (Some(10), Some(50), Some(60))
    );
    assert_eq!((stages.endpoint, stages.stt, stages.first_audio), (None, None, None));
    assert_eq!(commands.last(), Some(&Command::Notify(Phase::Idle)));
}

#[test]
fn a_turn_by_keyword_is_measured_from_the_last_voiced_sample() {
    let mut talk = Talk::new(WakeMode::Keyword, Some(22_050));
    talk.at(0, Event::Opened);
    let turn = TurnId(1);
    assert_eq!(
        talk.at(1000, Event::Wake { end_sample: 15_000 }),
        [
            Command::StartListening {
                turn,
                from: ListenFrom::Sample(15_000),
                auto_end: true
            },
            Command::PlayChime,
            Command::Notify(Phase::Listening)
        ]
    );
    for chunk in 1..=40u64 {
        talk.machine
            .audio_arrived(chunk * 1600, Duration::from_millis(chunk * 100));
    }
    talk.at(1300, Event::VoiceStarted { turn, sample: 17_000 });
    // Sample 48,000 is there 3 s after the start.
    assert_eq!(
        talk.at(3500, Event::VoiceEnded { turn, sample: 47_999 }),
        [Command::Notify(Phase::Deciding)]
    );
    let said = Event::Final {
        turn,
        text: " turn on the light ".into(),
        end_sample: Some(47_999),
    };
    assert_eq!(
        talk.at(3700, said),
        [
            Command::StopListening { turn },
            Command::CommitTurn {
                turn,
                text: "turn on the light".into(),
                speak: true,
                by_voice: true
            },
            Command::Notify(Phase::Thinking)
        ]
    );
    assert_eq!(
        talk.at(3900, delta(turn, "Done.")),
        [
            Command::StartSpeaking { turn },
            Command::SpeakDelta {
                turn,
                text: "Done.".into()
            },
            Command::ShowReply {
                turn,
                text: "Done.".into()
            }
        ]
    );
    assert_eq!(
        talk.at(3950, Event::ReplyDone { turn }),
        [Command::FinishSpeaking { turn }]
    );
    talk.at(
        4000,
        Event::Marked {
            turn,
            mark: unit(0..5, 0..2205),
        },
    );
    assert_eq!(
        talk.at(4010, Event::AudioSent { turn, samples: 2205 }),
        [Command::Notify(Phase::Speaking)]
    );
    let commands = talk.at(4020, Event::AudioDone { turn });
    let stages = summary(&commands).stages;
    assert_eq!(stages.endpoint, Some(500));
    assert_eq!(stages.stt, Some(700));
    assert_eq!(stages.first_token, Some(900));
    assert_eq!(stages.first_sentence, Some(950));
    assert_eq!(stages.first_audio, Some(1010));
}

#[test]
fn letting_go_of_the_button_ends_the_utterance() {
    let mut talk = Talk::new(WakeMode::PushToTalk, None);
    let turn = TurnId(1);
    assert_eq!(
        talk.at(0, Event::PushToTalk),
        [
            Command::StartListening {
                turn,
                from: ListenFrom::Now,
                auto_end: false
            },
            Command::Notify(Phase::Listening)
        ]
    );
    // A pause does not end it: the person still holds the button.
    assert_eq!(talk.at(900, Event::VoiceEnded { turn, sample: 9000 }), []);
    assert_eq!(
        talk.at(1500, Event::EndOfSpeech),
        [Command::FinalizeListening { turn }, Command::Notify(Phase::Deciding)]
    );
    assert_eq!(talk.at(1510, Event::EndOfSpeech), []);
    let commands = talk.at(1600, Event::Rejected { turn });
    assert_eq!(
        commands,
        [Command::StopListening { turn }, Command::Notify(Phase::Idle)]
    );
}

#[test]
fn pressing_again_before_the_words_are_there_goes_on() {
    let mut talk = Talk::new(WakeMode::PushToTalk, None);
    talk.at(0, Event::PushToTalk);
    let turn = TurnId(1);
    talk.at(500, Event::EndOfSpeech);
    assert_eq!(talk.at(600, Event::PushToTalk), [Command::Notify(Phase::Listening)]);
    assert_eq!(
        talk.at(
            700,
            Event::Final {
                turn,
                text: "one".into(),
                end_sample: None
            }
        ),
        []
    );
    talk.at(900, Event::EndOfSpeech);
    let commands = talk.at(
        950,
        Event::Final {
            turn,
            text: "two".into(),
            end_sample: None,
        },
    );
    assert!(commands.contains(&Command::CommitTurn {
        turn,
        text: "one two".into(),
        speak: false,
        by_voice: true
    }));
}

#[test]
fn going_on_while_the_words_are_written_down_is_not_cut_off() {
    let mut talk = Talk::new(WakeMode::Keyword, None);
    talk.at(0, Event::Wake { end_sample: 0 });
    let turn = TurnId(1);
    talk.at(100, Event::VoiceStarted { turn, sample: 100 });
    talk.at(900, Event::VoiceEnded { turn, sample: 9000 });
    talk.at(950, Event::VoiceStarted { turn, sample: 15_000 });
    assert_eq!(
        talk.at(
            990,
            Event::Final {
                turn,
                text: "set a timer".into(),
                end_sample: Some(9000)
            }
        ),
        []
    );
    talk.at(1900, Event::VoiceEnded { turn, sample: 25_000 });
    let commands = talk.at(
        2000,
        Event::Final {
            turn,
            text: "for tea".into(),
            end_sample: Some(25_000),
        },
    );
    assert!(
        commands
            .iter()
            .any(|command| matches!(command, Command::CommitTurn { text, .. } if text == "set a timer for tea"))
    );
}

#[test]
fn silence_after_the_keyword_ends_with_a_notice() {
    let mut talk = Talk::new(WakeMode::Keyword, Some(16_000));
    talk.at(0, Event::Wake { end_sample: 0 });
    let turn = TurnId(1);
    // A cough is no words, but there is time left.
    talk.at(1000, Event::VoiceStarted { turn, sample: 100 });
    talk.at(1500, Event::VoiceEnded { turn, sample: 900 });
    assert_eq!(
        talk.at(1600, Event::Rejected { turn }),
        [Command::Notify(Phase::Listening)]
    );
    assert_eq!(talk.machine.deadline(), Some(Duration::from_secs(6)));
    assert_eq!(talk.at(5999, Event::Tick), []);
    assert_eq!(
        talk.at(6000, Event::Tick),
        [
            Command::StopListening { turn },
            Command::Notice {
                turn,
                notice: Notice::NothingHeard
            },
            Command::Notify(Phase::Idle)
        ]
    );
}

#[test]
fn the_tail_of_the_keyword_is_no_voice() {
    let mut talk = Talk::new(WakeMode::Keyword, None);
    talk.at(0, Event::Wake { end_sample: 0 });
    let turn = TurnId(1);
    talk.at(100, Event::VoiceStarted { turn, sample: 0 });
    assert_eq!(talk.at(600, Event::VoiceWithdrawn { turn }), []);
    assert_eq!(
        talk.machine.deadline(),
        Some(Duration::from_secs(6)),
        "the person still has time to speak"
    );
}

#[test]
fn an_interrupted_reply_keeps_what_was_played() {
    let mut talk = Talk::new(WakeMode::PushToTalk, Some(16_000));
    talk.at(0, Event::Played { samples: 0 });
    let turn = talk.asked(true);
    talk.at(10, delta(turn, "One two. Three four."));
    talk.at(
        20,
        Event::Marked {
            turn,
            mark: unit(0..8, 0..16_000),
        },
    );
    talk.at(20, Event::AudioSent { turn, samples: 16_000 });
    talk.at(
        20,
        Event::Marked {
            turn,
            mark: unit(9..20, 16_000..32_000),
        },
    );
    talk.at(20, Event::AudioSent { turn, samples: 32_000 });
    talk.at(1020, Event::Played { samples: 16_000 });
    let commands = talk.at(1100, Event::Interrupt);
    assert_eq!(
        commands[..3],
        [
            Command::CancelReply { turn },
            Command::CancelSpeaking { turn },
            Command::ReportHeard {
                turn,
                bytes: 8,
                interrupted: true
            }
        ]
    );
    assert_eq!(summary(&commands).outcome, Outcome::Interrupted);
    assert_eq!(
        talk.at(1200, delta(turn, "late")),
        [],
        "a late word of an interrupted turn is dropped"
    );
}

#[test]
fn where_a_client_does_not_say_the_clock_estimates_what_it_played() {
    let mut talk = Talk::new(WakeMode::PushToTalk, Some(16_000));
    let turn = talk.asked(true);
    talk.at(10, delta(turn, "One two. Three four."));
    talk.at(
        1000,
        Event::Marked {
            turn,
            mark: unit(0..8, 0..16_000),
        },
    );
    talk.at(1000, Event::AudioSent { turn, samples: 16_000 });
    talk.at(
        1000,
        Event::Marked {
            turn,
            mark: unit(9..20, 16_000..32_000),
        },
    );
    talk.at(1000, Event::AudioSent { turn, samples: 32_000 });
    let commands = talk.at(2000, Event::Interrupt);
    assert!(
        commands.contains(&Command::ReportHeard {
            turn,
            bytes: 8,
            interrupted: true
        }),
        "{commands:?}"
    );
}

#[test]
fn a_client_that_reports_is_waited_for() {
    let mut talk = Talk::new(WakeMode::PushToTalk, Some(16_000));
    talk.at(0, Event::Played { samples: 0 });
    let turn = talk.asked(true);
    talk.at(10, delta(turn, "One."));
    talk.at(20, Event::ReplyDone { turn });
    talk.at(30, Event::AudioSent { turn, samples: 16_000 });
    assert_eq!(talk.at(40, Event::AudioDone { turn }), []);
    assert_eq!(talk.machine.phase(), Phase::Speaking);
    let commands = talk.at(1040, Event::Played { samples: 16_000 });
    assert_eq!(
        commands[0],
        Command::ReportHeard {
            turn,
            bytes: 4,
            interrupted: false
        }
    );
    assert!(talk.machine.is_idle());
}

#[test]
fn a_client_that_stops_reporting_is_not_waited_for_for_ever() {
    let mut talk = Talk::new(WakeMode::PushToTalk, Some(16_000));
    talk.at(0, Event::Played { samples: 0 });
    let turn = talk.asked(true);
    talk.at(10, delta(turn, "One."));
    talk.at(20, Event::ReplyDone { turn });
    talk.at(30, Event::AudioSent { turn, samples: 16_000 });
    talk.at(40, Event::AudioDone { turn });
    assert_eq!(talk.machine.deadline(), Some(Duration::from_millis(3030)));
    assert_eq!(summary(&talk.at(3030, Event::Tick)).outcome, Outcome::Done);
}

#[test]
fn when_speech_breaks_down_the_reply_goes_on_in_writing() {
    let mut talk = Talk::new(WakeMode::PushToTalk, Some(16_000));
    let turn = talk.asked(true);
    talk.at(10, delta(turn, "One."));
    assert_eq!(
        talk.at(20, Event::SpeakingFailed { turn }),
        [Command::PlaySorry { turn }]
    );
    assert_eq!(
        talk.at(30, delta(turn, " Two.")),
        [Command::ShowReply {
            turn,
            text: " Two.".into()
        }]
    );
    let commands = talk.at(40, Event::ReplyDone { turn });
    assert_eq!(
        commands[0],
        Command::ReportHeard {
            turn,
            bytes: 9,
            interrupted: false
        }
    );
    assert_eq!(summary(&commands).outcome, Outcome::Done);
}

#[test]
fn a_reply_that_fails_ends_its_turn_and_the_next_one_works() {
    let mut talk = Talk::new(WakeMode::PushToTalk, Some(16_000));
    let turn = talk.asked(true);
    talk.at(10, delta(turn, "One"));
    let commands = talk.at(20, Event::ReplyFailed { turn });
    assert_eq!(
        commands[..2],
        [Command::CancelSpeaking { turn }, Command::PlaySorry { turn }]
    );
    assert_eq!(summary(&commands).outcome, Outcome::Failed);
    assert!(
        !commands
            .iter()
            .any(|command| matches!(command, Command::ReportHeard { .. }))
    );
    assert_eq!(talk.asked(false), TurnId(2));
}

#[test]
fn a_reply_that_takes_too_long_is_cut() {
    let mut talk = Talk::new(WakeMode::PushToTalk, None);
    let turn = talk.asked(false);
    talk.at(10, delta(turn, "On"));
    let commands = talk.at(120_000, Event::Tick);
    assert_eq!(
        commands[..3],
        [
            Command::Notice {
                turn,
                notice: Notice::ReplyTimedOut
            },
            Command::CancelReply { turn },
            Command::ReportHeard {
                turn,
                bytes: 2,
                interrupted: true
            }
        ]
    );
    assert_eq!(summary(&commands).outcome, Outcome::Failed);
}

#[test]
fn the_keyword_interrupts_a_reply() {
    let mut talk = Talk::new(WakeMode::Keyword, Some(16_000));
    let turn = talk.asked(true);
    let commands = talk.at(10, Event::Wake { end_sample: 160 });
    assert_eq!(commands[0], Command::CancelReply { turn });
    assert!(
        matches!(commands[3], Command::StartListening { turn: TurnId(2), .. }),
        "{commands:?}"
    );
    assert_eq!(commands.last(), Some(&Command::Notify(Phase::Listening)));
}

#[test]
fn open_mode_listens_whenever_nothing_is_under_way() {
    let mut talk = Talk::new(WakeMode::Open, None);
    let turn = TurnId(1);
    assert_eq!(
        talk.at(0, Event::Opened),
        [Command::StartListening {
            turn,
            from: ListenFrom::Now,
            auto_end: true
        }]
    );
    assert_eq!(talk.machine.deadline(), None);
    assert_eq!(
        talk.at(100, Event::VoiceStarted { turn, sample: 0 }),
        [Command::Notify(Phase::Listening)]
    );
    talk.at(200, Event::VoiceEnded { turn, sample: 900 });
    talk.at(
        300,
        Event::Final {
            turn,
            text: "hi".into(),
            end_sample: Some(900),
        },
    );
    let commands = talk.at(400, Event::ReplyDone { turn });
    assert!(
        matches!(commands[2], Command::StartListening { turn: TurnId(2), .. }),
        "{commands:?}"
    );
    let commands = talk.at(500, Event::ListenFailed { turn: TurnId(2) });
    assert_eq!(commands, [], "nobody spoke, so nobody is told");
    assert_eq!(talk.machine.deadline(), Some(Duration::from_millis(2500)));
    assert!(matches!(
        talk.at(2500, Event::Tick)[0],
        Command::StartListening { turn: TurnId(3), .. }
    ));
    assert_eq!(
        talk.at(2600, Event::Mute(true)),
        [Command::StopListening { turn: TurnId(3) }]
    );
    assert!(matches!(
        talk.at(2700, Event::Mute(false))[0],
        Command::StartListening { .. }
    ));
}

#[test]
fn a_follow_up_needs_no_keyword() {
    let settings = Settings {
        wake_mode: WakeMode::Keyword,
        audio_out_hz: Some(16_000),
        follow_up: Duration::from_secs(4),
        ..Settings::default()
    };
    let mut talk = Talk::with(settings);
    let turn = TurnId(1);
    talk.at(0, Event::Wake { end_sample: 0 });
    talk.at(
        100,
        Event::Final {
            turn,
            text: "hi".into(),
            end_sample: None,
        },
    );
    talk.at(200, delta(turn, "Hello."));
    talk.at(210, Event::ReplyDone { turn });
    talk.at(220, Event::AudioSent { turn, samples: 100 });
    let commands = talk.at(230, Event::AudioDone { turn });
    assert!(
        matches!(
            commands[2],
            Command::StartListening {
                from: ListenFrom::Now,
                ..
            }
        ),
        "{commands:?}"
    );
    let commands = talk.at(4230, Event::Tick);
    assert!(
        !commands.iter().any(|command| matches!(command, Command::Notice { .. })),
        "it just ends: {commands:?}"
    );
    assert!(talk.machine.is_idle());
}

#[test]
fn draining_finishes_the_turn_and_begins_none() {
    let mut talk = Talk::new(WakeMode::PushToTalk, None);
    let turn = talk.asked(false);
    assert_eq!(talk.at(10, Event::Drain), []);
    assert_eq!(talk.at(20, Event::PushToTalk), []);
    talk.at(30, delta(turn, "One."));
    let commands = talk.at(40, Event::ReplyDone { turn });
    assert_eq!(commands.last(), Some(&Command::CloseSession));
    assert_eq!(talk.at(50, Event::PushToTalk), []);
}

#[test]
fn the_end_of_the_input_ends_the_utterance_and_then_the_conversation() {
    let mut talk = Talk::new(WakeMode::Keyword, None);
    talk.at(0, Event::Wake { end_sample: 0 });
    let turn = TurnId(1);
    assert_eq!(talk.at(100, Event::InputEnded)[0], Command::FinalizeListening { turn });
    talk.at(
        200,
        Event::Final {
            turn,
            text: "hi".into(),
            end_sample: None,
        },
    );
    let commands = talk.at(300, Event::ReplyDone { turn });
    assert_eq!(commands.last(), Some(&Command::CloseSession));
}

#[test]
fn hanging_up_stops_everything() {
    let mut talk = Talk::new(WakeMode::PushToTalk, Some(16_000));
    let turn = talk.asked(true);
    talk.at(10, delta(turn, "One."));
    let commands = talk.at(20, Event::Closed);
    assert_eq!(
        commands[..2],
        [Command::CancelReply { turn }, Command::CancelSpeaking { turn }]
    );
    assert_eq!(talk.at(30, Event::PushToTalk), []);
    assert_eq!(talk.machine.deadline(), None);
}
