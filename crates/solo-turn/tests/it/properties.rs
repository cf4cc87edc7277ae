//! Any order of events, at any pace: everything that is started is ended exactly once, and the next turn works.

use std::time::Duration;

use proptest::prelude::*;
use solo_turn::{
    BargeIn, Command, Event, Machine, Mark, MarkKind, Outcome, Phase, Settings, TurnEnd, TurnId, WakeMode,
};

/// An event before it is known which turn is under way.
#[derive(Debug, Clone)]
enum Step {
    /// Something that belongs to no turn.
    Plain(Event),
    /// Something that a leg says, of the turn that many turns ago.
    Leg(Leg, u64),
}

#[derive(Debug, Clone)]
enum Leg {
    VoiceStarted(u64),
    VoiceEnded(u64),
    VoiceWithdrawn,
    VoicePaused(u64),
    VoiceResumed,
    TurnEnd(f32, u64),
    Partial(&'static str),
    Candidate(&'static str),
    DraftDelta(&'static str),
    Accepted(bool),
    Final(&'static str, Option<u64>),
    Rejected,
    ListenFailed,
    Recalled,
    Delta(&'static str),
    Done,
    Failed,
    Marked(u64),
    AudioSent(u64),
    AudioDone,
    SpeakingFailed,
}

impl Leg {
    fn of(&self, turn: TurnId) -> Event {
        match *self {
            Self::VoiceStarted(sample) => Event::VoiceStarted { turn, sample },
            Self::VoiceEnded(sample) => Event::VoiceEnded { turn, sample },
            Self::VoiceWithdrawn => Event::VoiceWithdrawn { turn },
            Self::VoicePaused(sample) => Event::VoicePaused { turn, sample },
            Self::VoiceResumed => Event::VoiceResumed { turn },
            Self::TurnEnd(probability, silence) => Event::TurnEnd {
                turn,
                probability,
                silence: Duration::from_millis(silence),
            },
            Self::Partial(text) => Event::Partial {
                turn,
                text: text.into(),
                end_sample: 9_000,
            },
            Self::Candidate(text) => Event::Candidate {
                turn,
                text: text.into(),
            },
            Self::DraftDelta(text) => Event::DraftDelta {
                turn,
                text: text.into(),
            },
            Self::Accepted(draft_adopted) => Event::Accepted { turn, draft_adopted },
            Self::Final(text, end_sample) => Event::Final {
                turn,
                text: text.into(),
                end_sample,
            },
            Self::Rejected => Event::Rejected { turn },
            Self::ListenFailed => Event::ListenFailed { turn },
            Self::Recalled => Event::Recalled { turn },
            Self::Delta(text) => Event::ReplyDelta {
                turn,
                text: text.into(),
            },
            Self::Done => Event::ReplyDone { turn },
            Self::Failed => Event::ReplyFailed { turn },
            Self::Marked(end_sample) => {
                let mark = Mark {
                    kind: MarkKind::Unit,
                    text_start: 0,
                    text_end: 3,
                    start_sample: 0,
                    end_sample,
                };
                Event::Marked { turn, mark }
            }
            Self::AudioSent(samples) => Event::AudioSent { turn, samples },
            Self::AudioDone => Event::AudioDone { turn },
            Self::SpeakingFailed => Event::SpeakingFailed { turn },
        }
    }
}

fn words() -> impl Strategy<Value = &'static str> {
    prop_oneof![
        3 => Just("turn it on"),
        2 => Just("turn it on, please"),
        1 => Just("öl"),
        1 => Just("stop"),
        1 => Just("mhm"),
        1 => Just("it is"),
        1 => Just("")
    ]
}

fn leg() -> impl Strategy<Value = Leg> {
    prop_oneof![
        (0..90_000u64).prop_map(Leg::VoiceStarted),
        (0..90_000u64).prop_map(Leg::VoiceEnded),
        Just(Leg::VoiceWithdrawn),
        (0..90_000u64).prop_map(Leg::VoicePaused),
        Just(Leg::VoiceResumed),
        (0.0..1.0f32, 0..1000u64).prop_map(|(probability, silence)| Leg::TurnEnd(probability, silence)),
        words().prop_map(Leg::Partial),
        words().prop_map(Leg::Candidate),
        prop_oneof![Just("It"), Just(" is. "), Just("önig"), Just("")].prop_map(Leg::DraftDelta),
        any::<bool>().prop_map(Leg::Accepted),
        (words(), prop::option::of(0..90_000u64)).prop_map(|(text, end)| Leg::Final(text, end)),
        Just(Leg::Rejected),
        Just(Leg::ListenFailed),
        Just(Leg::Recalled),
        prop_oneof![Just("It"), Just(" is. "), Just("önig"), Just("")].prop_map(Leg::Delta),
        Just(Leg::Done),
        Just(Leg::Failed),
        (1..50_000u64).prop_map(Leg::Marked),
        (0..50_000u64).prop_map(Leg::AudioSent),
        Just(Leg::AudioDone),
        Just(Leg::SpeakingFailed),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let plain = prop_oneof![
        3 => (0..90_000u64).prop_map(|end_sample| Event::Wake { end_sample }),
        3 => Just(Event::PushToTalk),
        3 => Just(Event::EndOfSpeech),
        2 => any::<bool>().prop_map(|speak| Event::TextInput { text: "what?".into(), speak }),
        1 => Just(Event::TextInput { text: "  ".into(), speak: true }),
        2 => (0..50_000u64).prop_map(|samples| Event::Played { samples }),
        2 => Just(Event::Interrupt),
        1 => any::<bool>().prop_map(Event::Mute),
        3 => Just(Event::Tick),
    ];
    let age = prop_oneof![6 => Just(0u64), 3 => Just(1u64), 1 => 2..4u64];
    prop_oneof![2 => plain.prop_map(Step::Plain), 5 => (leg(), age).prop_map(|(leg, age)| Step::Leg(leg, age))]
}

fn settings() -> impl Strategy<Value = Settings> {
    (
        prop_oneof![
            Just(WakeMode::PushToTalk),
            Just(WakeMode::Keyword),
            Just(WakeMode::Open)
        ],
        prop::option::of(Just(16_000u32)),
        prop_oneof![Just(Duration::ZERO), Just(Duration::from_secs(3))],
        any::<bool>(),
        any::<bool>(),
    )
        .prop_map(
            |(wake_mode, audio_out_hz, follow_up, wake_interrupts, barges_in)| Settings {
                wake_mode,
                audio_out_hz,
                follow_up,
                wake_interrupts,
                barge_in: barges_in.then(|| BargeIn {
                    voice: Duration::from_millis(250),
                    backchannels: vec!["mhm".into()],
                    interjections: vec!["no".into()],
                }),
                stop_phrases: vec!["stop".into()],
                turn_end: TurnEnd {
                    reads: barges_in,
                    ..Settings::default().turn_end
                },
                ..Settings::default()
            },
        )
}

/// Runs a machine and holds it to its promises.
struct Audit {
    machine: Machine,
    now: Duration,
    listening: Option<TurnId>,
    turn: Option<TurnId>,
    reply: Option<TurnId>,
    shown: usize,
    speaking: Option<TurnId>,
    /// What is spoken is held back.
    held: bool,
    draft: Option<TurnId>,
    reported: bool,
    closed: bool,
    newest: TurnId,
    ended: Vec<(TurnId, Outcome)>,
}

impl Audit {
    fn new(settings: Settings) -> Self {
        let mut audit = Self {
            machine: Machine::new(settings),
            now: Duration::ZERO,
            listening: None,
            turn: None,
            reply: None,
            shown: 0,
            speaking: None,
            held: false,
            draft: None,
            reported: false,
            closed: false,
            newest: TurnId(0),
            ended: Vec::new(),
        };
        audit.feed(Event::Opened);
        audit
    }

    fn step(&mut self, step: &Step, pause_ms: u64) {
        self.now += Duration::from_millis(pause_ms);
        self.machine.audio_arrived(self.now.as_millis() as u64 * 16, self.now);
        let event = match step {
            Step::Plain(event) => event.clone(),
            Step::Leg(leg, age) => leg.of(TurnId(self.newest.0.saturating_sub(*age))),
        };
        // What speech that is held back says is held back, too.
        let of_speech = matches!(
            event,
            Event::Marked { .. } | Event::AudioSent { .. } | Event::AudioDone { .. } | Event::SpeakingFailed { .. }
        );
        if self.held && of_speech {
            return;
        }
        self.feed(event);
    }

    fn feed(&mut self, event: Event) {
        match event {
            Event::ListenFailed { turn } => _ = self.listening.take_if(|running| *running == turn),
            Event::ReplyDone { turn } | Event::ReplyFailed { turn } => {
                _ = self.reply.take_if(|running| *running == turn);
            }
            Event::AudioDone { turn } | Event::SpeakingFailed { turn } => {
                _ = self.speaking.take_if(|running| *running == turn);
            }
            _ => {}
        }
        let before = self.machine.phase();
        let commands = self.machine.on(event, self.now);
        assert!(!self.closed || commands.is_empty(), "after the end: {commands:?}");
        let mut notified = None;
        for command in commands {
            self.hold(command, &mut notified);
        }
        let after = self.machine.phase();
        assert_eq!(
            notified,
            (before != after).then_some(after),
            "a change of state is told once"
        );
        assert_eq!(self.machine.current_turn(), self.turn.or(self.listening));
        assert_eq!(self.machine.listening_turn(), self.listening);
        assert!(self.draft.is_none() || self.draft == self.listening);
        if !self.machine.is_idle() {
            assert!(self.machine.deadline().is_some(), "every wait has an end");
        }
    }

    fn hold(&mut self, command: Command, notified: &mut Option<solo_turn::Phase>) {
        assert!(!self.closed, "after the end: {command:?}");
        match command {
            Command::StartListening { turn, .. } => {
                assert_eq!(self.listening, None);
                assert!(turn > self.newest);
                self.newest = turn;
                self.listening = Some(turn);
            }
            Command::FinalizeListening { turn } => assert_eq!(self.listening, Some(turn)),
            Command::StopListening { turn } => assert_eq!(self.listening.take(), Some(turn)),
            Command::Draft { turn, text } => {
                assert_eq!((self.listening, self.turn), (Some(turn), None));
                assert!(!text.trim().is_empty());
                self.draft = Some(turn);
            }
            Command::DropDraft { turn } => {
                assert_eq!(self.draft.take(), Some(turn));
                assert_eq!(self.speaking, None, "what was prepared is spoken still");
            }
            Command::CommitTurn { turn, text, .. } => {
                assert_eq!((self.listening, self.turn, self.reply), (None, None, None));
                assert!(turn >= self.newest && !text.trim().is_empty());
                assert!(self.draft.take().is_none_or(|draft| draft == turn));
                self.newest = turn;
                (self.turn, self.reply, self.shown, self.reported) = (Some(turn), Some(turn), 0, false);
            }
            Command::CancelReply { turn } => assert_eq!(self.reply.take(), Some(turn)),
            Command::ShowReply { turn, text } => {
                assert_eq!(self.reply, Some(turn));
                self.shown += text.len();
            }
            Command::StartSpeaking { turn } => {
                assert_eq!((self.speaking, self.turn), (None, Some(turn)));
                self.speaking = Some(turn);
            }
            Command::SpeakAhead { turn } => {
                assert_eq!((self.speaking, self.draft), (None, Some(turn)));
                (self.speaking, self.held) = (Some(turn), true);
            }
            Command::ReleaseSpeech { turn } => {
                assert_eq!((self.speaking, self.turn, self.held), (Some(turn), Some(turn), true));
                self.held = false;
            }
            Command::SpeakDelta { turn, .. } | Command::FinishSpeaking { turn } => {
                assert_eq!(self.speaking, Some(turn));
            }
            Command::CancelSpeaking { turn } => {
                assert_eq!(self.speaking.take(), Some(turn));
                self.held = false;
            }
            Command::ReportHeard { turn, bytes, .. } => {
                assert_eq!(self.turn, Some(turn));
                assert!(!self.reported && bytes <= self.shown, "{bytes} of {}", self.shown);
                self.reported = true;
            }
            Command::EndTurn(summary) => {
                assert_eq!(self.turn.take(), Some(summary.turn));
                assert_eq!((self.reply, self.speaking), (None, None), "work outlives its turn");
                assert_eq!(summary.reply.len(), self.shown);
                assert!(self.reported || summary.outcome == Outcome::Failed);
                self.ended.push((summary.turn, summary.outcome));
            }
            Command::Notify(phase) => assert_eq!(notified.replace(phase), None),
            Command::CloseSession => {
                assert_eq!((self.listening, self.turn), (None, None));
                self.closed = true;
            }
            Command::PlayChime | Command::PlaySorry { .. } | Command::Notice { .. } => {}
        }
    }

    /// Lets time pass, and nothing else, until nothing is under way.
    fn wait_until_idle(&mut self) {
        for _ in 0..20 {
            if self.machine.is_idle() || self.closed {
                return;
            }
            self.now = self.now.max(self.machine.deadline().expect("every wait has an end"));
            self.feed(Event::Tick);
        }
        panic!("still {:?} after 20 deadlines", self.machine.phase());
    }

    /// A turn by button that goes well.
    fn good_turn(&mut self) {
        self.feed(Event::Mute(false));
        self.feed(Event::PushToTalk);
        let turn = self.newest;
        assert_eq!(self.listening, Some(turn));
        self.feed(Event::VoiceStarted { turn, sample: 1 });
        self.feed(Event::Candidate {
            turn,
            text: "good".into(),
        });
        assert_eq!(self.draft, Some(turn));
        self.feed(Event::DraftDelta {
            turn,
            text: "Fi".into(),
        });
        self.feed(Event::EndOfSpeech);
        self.feed(Event::Final {
            turn,
            text: "good".into(),
            end_sample: None,
        });
        assert_eq!(self.reply, Some(turn));
        self.feed(Event::Accepted {
            turn,
            draft_adopted: true,
        });
        assert!(!self.held);
        self.feed(Event::ReplyDelta {
            turn,
            text: "Fine.".into(),
        });
        self.feed(Event::ReplyDone { turn });
        if self.speaking.is_some() {
            self.feed(Event::AudioSent { turn, samples: 100 });
            self.feed(Event::AudioDone { turn });
            self.feed(Event::Played { samples: 100 });
        }
        assert_eq!(self.ended.last(), Some(&(turn, Outcome::Done)));
    }
}

/// Found by the property below: the audio had ended, words came for what was said into the reply, and the last ones never did.
#[test]
fn words_into_a_reply_that_never_come_are_given_up() {
    let settings = Settings {
        wake_mode: WakeMode::Open,
        follow_up: Duration::ZERO,
        barge_in: Some(BargeIn {
            voice: Duration::from_millis(250),
            backchannels: Vec::new(),
            interjections: Vec::new(),
        }),
        ..Settings::default()
    };
    let mut audit = Audit::new(settings);
    let turn = audit.newest;
    audit.feed(Event::Final {
        turn,
        text: "turn it on".into(),
        end_sample: None,
    });
    let turn = audit.newest;
    audit.feed(Event::VoiceStarted { turn, sample: 0 });
    audit.feed(Event::InputEnded);
    audit.feed(Event::Candidate {
        turn,
        text: "and off again".into(),
    });
    assert_eq!(audit.machine.phase(), Phase::Deciding);
    audit.wait_until_idle();
    assert!(audit.closed);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn after_any_events_the_next_turn_works(
        settings in settings(),
        steps in prop::collection::vec((step(), 0..3000u64), 0..60),
    ) {
        let mut audit = Audit::new(settings);
        for (step, pause) in &steps {
            audit.step(step, *pause);
        }
        audit.wait_until_idle();
        audit.good_turn();
        audit.wait_until_idle();
        audit.feed(Event::Closed);
        prop_assert_eq!((audit.listening, audit.turn, audit.reply, audit.speaking), (None, None, None, None));
    }

    #[test]
    fn a_conversation_that_is_to_end_ends(
        settings in settings(),
        steps in prop::collection::vec((step(), 0..3000u64), 0..30),
        last in prop_oneof![Just(Event::Drain), Just(Event::InputEnded)],
        more in prop::collection::vec((step(), 0..3000u64), 0..10),
    ) {
        let mut audit = Audit::new(settings);
        for (step, pause) in &steps {
            audit.step(step, *pause);
        }
        audit.feed(last);
        for (step, pause) in &more {
            audit.step(step, *pause);
        }
        audit.wait_until_idle();
        prop_assert!(audit.closed);
    }
}
