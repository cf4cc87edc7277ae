//! Known sequences, and properties that hold for any.

use proptest::prelude::*;

use super::*;

const FRAME: u64 = 512;

fn settings() -> Settings {
    Settings {
        threshold: 0.5,
        min_speech: 2 * FRAME,
        silence: 3 * FRAME,
        pre_roll: 0,
        playback_raise: 0.2,
    }
}

fn run(endpointer: &mut Endpointer, probabilities: &[f32]) -> Vec<(usize, Event)> {
    let frames = probabilities.iter().enumerate();
    frames
        .filter_map(|(n, p)| Some((n, endpointer.push(n as u64 * FRAME, FRAME, *p)?)))
        .collect()
}

#[test]
fn voice_is_dated_back_to_its_first_and_last_voiced_sample() {
    let events = run(
        &mut Endpointer::new(settings()),
        &[0.0, 0.9, 0.9, 0.9, 0.0, 0.0, 0.0, 0.0],
    );
    assert_eq!(
        events,
        [
            (2, Event::Started { sample: FRAME }),
            (6, Event::Ended { sample: 4 * FRAME - 1 })
        ]
    );
}

#[test]
fn a_click_starts_nothing() {
    assert!(run(&mut Endpointer::new(settings()), &[0.0, 0.9, 0.0, 0.9, 0.0, 0.9, 0.0]).is_empty());
}

#[test]
fn a_short_pause_ends_nothing() {
    let events = run(
        &mut Endpointer::new(settings()),
        &[0.9, 0.9, 0.0, 0.0, 0.9, 0.0, 0.0, 0.0],
    );
    assert_eq!(
        events,
        [
            (1, Event::Started { sample: 0 }),
            (7, Event::Ended { sample: 5 * FRAME - 1 })
        ]
    );
}

#[test]
fn a_fading_syllable_stays_voiced_and_a_new_one_must_rise_above_the_threshold() {
    let events = run(
        &mut Endpointer::new(settings()),
        &[0.9, 0.9, 0.4, 0.4, 0.4, 0.3, 0.4, 0.4, 0.4],
    );
    assert_eq!(
        events,
        [
            (1, Event::Started { sample: 0 }),
            (7, Event::Ended { sample: 5 * FRAME - 1 })
        ]
    );
}

#[test]
fn playback_raises_the_bar_but_never_out_of_reach() {
    let mut endpointer = Endpointer::new(settings());
    endpointer.set_playing(true);
    assert!(run(&mut endpointer, &[0.6; 4]).is_empty());
    assert_eq!(run(&mut endpointer, &[0.8; 2]).len(), 1);
    let mut endpointer = Endpointer::new(Settings {
        threshold: 0.9,
        playback_raise: 1.0,
        ..settings()
    });
    endpointer.set_playing(true);
    assert_eq!(run(&mut endpointer, &[0.96; 4]).len(), 1);
}

#[test]
fn stop_ends_what_is_running_and_nothing_else() {
    let mut endpointer = Endpointer::new(settings());
    assert_eq!(endpointer.stop(), None);
    run(&mut endpointer, &[0.9, 0.9]);
    assert!(endpointer.speaking());
    assert_eq!(endpointer.stop(), Some(Event::Ended { sample: 2 * FRAME - 1 }));
    assert!(!endpointer.speaking());
}

proptest! {
    #[test]
    fn events_alternate_and_keep_their_lengths(
        probabilities in prop::collection::vec(0.0_f32..=1.0, 0..400),
        threshold in 0.05_f32..1.0,
        min_speech in 0_u64..6,
        silence in 1_u64..12,
    ) {
        let settings =
            Settings { threshold, min_speech: min_speech * FRAME, silence: silence * FRAME, ..settings() };
        let events = run(&mut Endpointer::new(settings), &probabilities);
        let mut last_end = None;
        for pair in events.chunks(2) {
            let (at, Event::Started { sample: start }) = pair[0] else { panic!("an end without a start") };
            prop_assert!(start % FRAME == 0);
            prop_assert!((at as u64 + 1) * FRAME - start >= settings.min_speech);
            prop_assert!(probabilities[(start / FRAME) as usize] >= threshold);
            prop_assert!(last_end.is_none_or(|end| start > end));
            if let Some((at, event)) = pair.get(1) {
                let Event::Ended { sample: end } = *event else { panic!("two starts in a row") };
                prop_assert!(end >= start);
                prop_assert!((*at as u64 + 1) * FRAME - (end + 1) >= settings.silence);
                last_end = Some(end);
            }
        }
    }

    #[test]
    fn below_the_threshold_nothing_ever_starts(probabilities in prop::collection::vec(0.0_f32..0.5, 0..200)) {
        prop_assert!(run(&mut Endpointer::new(settings()), &probabilities).is_empty());
    }
}
