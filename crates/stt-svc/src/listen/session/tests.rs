//! A tone stands for voice: the detector by loudness takes it for that.

mod pauses;

use proptest::prelude::*;

use super::*;
use crate::endpoint;
use crate::vad::VoiceModel;

const SECOND: u64 = 16_000;

fn session(auto_finalize: bool, partial_interval: Option<u64>) -> Session {
    let settings = Settings {
        language: None,
        endpoint: endpoint::Settings {
            threshold: 0.5,
            min_speech: 1_600,
            silence: 4_800,
            pre_roll: 3_200,
            playback_raise: 0.2,
        },
        partial_interval,
        pause: None,
        prompt: String::new(),
        auto_finalize,
    };
    Session::new(&settings, VoiceModel::Level.detector(), 60 * SECOND)
}

fn tone(samples: u64) -> Vec<i16> {
    (0..samples).map(|n| if n % 8 < 4 { 6_000 } else { -6_000 }).collect()
}

fn silence(samples: u64) -> Vec<i16> {
    vec![0; samples as usize]
}

/// Feeds 20 ms at a time, as a microphone does.
fn feed(session: &mut Session, samples: &[i16]) -> Vec<Step> {
    let mut steps = Vec::new();
    for chunk in samples.chunks(320) {
        let first_sample = session.heard();
        steps.extend(
            session
                .take(Input::Audio {
                    first_sample,
                    samples: chunk.to_vec(),
                    words: None,
                })
                .unwrap(),
        );
    }
    steps
}

fn kinds(steps: &[Step]) -> String {
    let kind = |step: &Step| match step {
        Step::Say(Output::VoiceStarted { .. }) => 'S',
        Step::Say(Output::VoiceEnded { .. }) => 'E',
        Step::Say(Output::Rejected { .. }) => 'R',
        Step::Say(Output::VoicePaused { .. }) => 'p',
        Step::Say(Output::VoiceResumed { .. }) => 'r',
        Step::Say(_) => '?',
        Step::Decode(_) => 'D',
        Step::Rehearse(_) => 'd',
        Step::Foresee(_) => 'o',
        Step::Judge(_) => 'j',
        Step::Forget => 'f',
    };
    steps.iter().map(kind).collect()
}

fn utterance(steps: &[Step]) -> &Utterance {
    let decode = steps.iter().find_map(|step| match step {
        Step::Decode(utterance) => Some(utterance),
        _ => None,
    });
    decode.expect("something is decoded")
}

#[test]
fn silence_ends_an_utterance_and_hands_it_over_with_its_pre_roll() {
    let mut session = session(true, None);
    let steps = feed(&mut session, &[silence(SECOND), tone(SECOND), silence(SECOND)].concat());
    assert_eq!(kinds(&steps), "SED");
    let utterance = utterance(&steps);
    // Frames of 512 samples are as fine as it gets.
    assert!(
        utterance.start_sample.abs_diff(SECOND - 3_200) <= 512,
        "{}",
        utterance.start_sample
    );
    assert!(
        utterance.end_sample.abs_diff(2 * SECOND) <= 512,
        "{}",
        utterance.end_sample
    );
    assert_eq!(utterance.stretches.len(), 1);
    assert!(utterance.stretches[0].len() as u64 >= SECOND + 3_200);
    assert!(session.is_idle());
}

#[test]
fn without_auto_finalize_a_pause_ends_voice_but_not_the_utterance() {
    let mut session = session(false, None);
    let steps = feed(
        &mut session,
        &[tone(SECOND), silence(SECOND / 2), tone(SECOND), silence(SECOND / 2)].concat(),
    );
    assert_eq!(kinds(&steps), "SESE");
    assert!(!session.is_idle());
    let steps = session.take(Input::Finalize).unwrap();
    assert_eq!(kinds(&steps), "D");
    let utterance = utterance(&steps);
    assert_eq!(utterance.start_sample, 0);
    assert_eq!(utterance.stretches.len(), 1, "a short pause is no cut");
}

#[test]
fn a_long_pause_is_not_decoded() {
    let mut session = session(false, None);
    feed(
        &mut session,
        &[tone(SECOND), silence(20 * SECOND), tone(SECOND), silence(SECOND)].concat(),
    );
    let steps = session.take(Input::Finalize).unwrap();
    let stretches = &utterance(&steps).stretches;
    assert_eq!(stretches.len(), 2);
    assert!(stretches.iter().all(|stretch| (stretch.len() as u64) < 2 * SECOND));
}

#[test]
fn finalize_in_the_middle_of_a_word_ends_voice_and_takes_what_there_is() {
    let mut session = session(false, None);
    feed(&mut session, &[silence(SECOND / 2), tone(SECOND)].concat());
    let steps = session.take(Input::Finalize).unwrap();
    assert_eq!(kinds(&steps), "ED");
    assert!(utterance(&steps).stretches[0].len() as u64 > SECOND);
}

#[test]
fn finalize_without_voice_is_rejected_without_a_decode() {
    let mut session = session(false, None);
    feed(&mut session, &silence(SECOND));
    let steps = session.take(Input::Finalize).unwrap();
    let wanted = Output::Rejected {
        reason: Reason::NoVoice,
        text: String::new(),
        start_sample: 0,
        end_sample: SECOND - 1,
    };
    assert_eq!(steps, [Step::Say(wanted)]);
    // And before a single sample.
    let steps = self::session(false, None).take(Input::Finalize).unwrap();
    assert_eq!(kinds(&steps), "R");
}

#[test]
fn reset_forgets() {
    let mut session = session(false, None);
    feed(&mut session, &tone(SECOND));
    assert_eq!(kinds(&session.take(Input::Reset).unwrap()), "Ef");
    assert!(session.is_idle());
    assert_eq!(kinds(&session.take(Input::Finalize).unwrap()), "R");
}

#[test]
fn the_end_of_the_stream_finalizes_only_where_silence_would() {
    let mut automatic = session(true, None);
    feed(&mut automatic, &tone(SECOND));
    assert_eq!(kinds(&automatic.close()), "ED");
    let mut manual = session(false, None);
    feed(&mut manual, &tone(SECOND));
    assert_eq!(kinds(&manual.close()), "E");
}

#[test]
fn a_monologue_is_cut_into_stretches_and_loses_nothing() {
    let mut session = session(true, None);
    let mut steps = feed(&mut session, &tone(40 * SECOND));
    steps.extend(feed(&mut session, &silence(SECOND)));
    let utterance = utterance(&steps);
    assert_eq!(utterance.stretches.len(), 2);
    assert!(
        utterance
            .stretches
            .iter()
            .all(|stretch| stretch.len() as u64 <= MAX_WINDOW)
    );
    let total: usize = utterance.stretches.iter().map(Vec::len).sum();
    assert!(total as u64 >= 40 * SECOND, "{total}");
}

#[test]
fn an_utterance_that_never_ends_is_given_its_own_final() {
    let mut session = session(false, None);
    let steps = feed(&mut session, &tone(130 * SECOND));
    assert_eq!(kinds(&steps), "SDD");
    assert!(!session.is_idle());
}

#[test]
fn partials_come_at_their_pace_and_only_while_somebody_speaks() {
    let mut session = session(true, Some(SECOND / 2));
    let mut due = Vec::new();
    for chunk in [silence(SECOND), tone(2 * SECOND), silence(SECOND)]
        .concat()
        .chunks(320)
    {
        let first_sample = session.heard();
        session
            .take(Input::Audio {
                first_sample,
                samples: chunk.to_vec(),
                words: None,
            })
            .unwrap();
        due.extend(
            session
                .partial_due()
                .map(|(mark, end, samples)| (mark.utterance, end, samples.len() as u64)),
        );
    }
    assert!((3..=5).contains(&due.len()), "{due:?}");
    assert!(
        due.windows(2)
            .all(|pair| pair[1].1 - pair[0].1 >= SECOND / 2 && pair[1].2 > pair[0].2),
        "{due:?}"
    );
    assert!(due.iter().all(|(utterance, _, _)| *utterance == due[0].0));
}

#[test]
fn voice_is_looked_for_in_one_way_of_hearing_and_words_are_read_from_the_other() {
    let mut session = session(true, None);
    let voice = [silence(SECOND), tone(SECOND), silence(SECOND)].concat();
    let words: Vec<i16> = (0..voice.len()).map(|n| (n % 1_000) as i16).collect();
    let mut decoded = Vec::new();
    for (voice, words) in voice.chunks(320).zip(words.chunks(320)) {
        let input = Input::Audio {
            first_sample: session.heard(),
            samples: voice.to_vec(),
            words: Some(words.to_vec()),
        };
        for step in session.take(input).unwrap() {
            if let Step::Decode(utterance) = step {
                decoded.push(utterance);
            }
        }
    }
    let [utterance] = decoded.as_slice() else {
        panic!("one utterance is wanted: {decoded:?}");
    };
    let start = utterance.start_sample as usize;
    let stretch = &utterance.stretches[0];
    assert!(start > SECOND as usize / 2, "what is read says nothing of voice");
    assert_eq!(stretch[..], words[start..start + stretch.len()]);
}

#[test]
fn lost_audio_is_silence_and_positions_stay_true() {
    let mut session = session(true, None);
    feed(&mut session, &tone(SECOND));
    let steps = session
        .take(Input::Audio {
            first_sample: 2 * SECOND,
            samples: silence(320),
            words: None,
        })
        .unwrap();
    assert_eq!(kinds(&steps), "ED");
    assert_eq!(session.heard(), 2 * SECOND + 320);
}

#[test]
fn audio_that_goes_back_or_leaps_is_refused() {
    let mut session = session(true, None);
    // A stream may begin anywhere.
    session
        .take(Input::Audio {
            first_sample: 1_000_000,
            samples: silence(320),
            words: None,
        })
        .unwrap();
    for first_sample in [0, 1_000_319, 1_000_321 + MAX_GAP] {
        let error = session
            .take(Input::Audio {
                first_sample,
                samples: silence(320),
                words: None,
            })
            .unwrap_err();
        assert!(
            matches!(
                error,
                SttError::OutOfOrder {
                    expected: 1_000_320,
                    ..
                }
            ),
            "{error}"
        );
    }
}

#[test]
fn memory_is_bounded_while_nobody_speaks() {
    let mut session = session(true, None);
    feed(&mut session, &silence(60 * SECOND));
    assert!(session.audio.samples.len() < SECOND as usize);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn whatever_comes_every_start_has_an_end_and_utterances_never_overlap(
        script in prop::collection::vec((0_u8..6, 1_u64..40_000), 1..25),
        auto_finalize in any::<bool>(),
    ) {
        let mut session = session(auto_finalize, None);
        let mut steps = Vec::new();
        for (what, length) in script {
            match what {
                0 | 1 => steps.extend(feed(&mut session, &tone(length))),
                2 | 3 => steps.extend(feed(&mut session, &silence(length))),
                4 => steps.extend(session.take(Input::Finalize).unwrap()),
                _ => steps.extend(session.take(Input::Reset).unwrap()),
            }
        }
        steps.extend(session.close());
        let (mut speaking, mut floor) = (false, 0);
        for step in &steps {
            match step {
                Step::Say(Output::VoiceStarted { sample, heard }) => {
                    prop_assert!(!speaking && sample < heard);
                    speaking = true;
                }
                Step::Say(Output::VoiceEnded { sample, heard }) => {
                    prop_assert!(speaking && sample < heard);
                    speaking = false;
                }
                Step::Decode(utterance) => {
                    prop_assert!(utterance.start_sample >= floor, "{} < {floor}", utterance.start_sample);
                    prop_assert!(utterance.end_sample >= utterance.start_sample);
                    prop_assert!(utterance.stretches.iter().all(|s| !s.is_empty() && s.len() as u64 <= MAX_WINDOW));
                    floor = utterance.end_sample + 1;
                }
                _ => {}
            }
        }
        prop_assert!(!speaking);
    }
}
