//! What follows from a pause.

use super::*;

/// A session that looks at pauses from 100 ms on, and again every 100 ms.
fn pausing(auto_finalize: bool) -> Session {
    let mut session = session(auto_finalize, Some(1_600));
    session.pausing = Some(PauseSettings {
        candidate: 1_600,
        judge_every: Some(1_600),
    });
    session
}

#[test]
fn a_pause_has_words_and_end_ready_and_is_over_when_somebody_goes_on() {
    let mut session = pausing(true);
    let steps = feed(
        &mut session,
        &[tone(SECOND), silence(4_000), tone(SECOND), silence(SECOND)].concat(),
    );
    assert_eq!(
        kinds(&steps).replace('j', ""),
        "SooopdrooopdED",
        "paused, went on, paused, was over"
    );
    let rehearsed = steps.iter().filter_map(|step| match step {
        Step::Rehearse(utterance) => Some(utterance),
        _ => None,
    });
    let rehearsed: Vec<&Utterance> = rehearsed.collect();
    assert_eq!(
        rehearsed[1].end_sample,
        utterance(&steps).end_sample,
        "what is ready is known to be all"
    );
    assert_eq!(rehearsed[1].start_sample, rehearsed[0].start_sample);
    assert!(rehearsed[1].stretches[0].len() > rehearsed[0].stretches[0].len());
}

#[test]
fn a_moment_of_silence_is_decoded_ahead_and_forgotten_when_somebody_goes_on() {
    let mut session = pausing(true);
    let steps = feed(&mut session, &[tone(SECOND), silence(1_500)].concat());
    assert_eq!(kinds(&steps), "Soo");
    assert!(session.foresees());
    assert_eq!(kinds(&feed(&mut session, &tone(SECOND))), "f");
    assert!(!session.foresees());
}

#[test]
fn nothing_is_decoded_ahead_where_no_partial_words_are_wanted() {
    let mut session = pausing(true);
    session.partial_interval = None;
    let steps = feed(&mut session, &[tone(SECOND), silence(SECOND)].concat());
    assert_eq!(kinds(&steps).replace('j', ""), "SpdED");
}

#[test]
fn pauses_are_judged_by_all_that_was_heard() {
    let mut session = pausing(false);
    let steps = feed(&mut session, &[silence(SECOND), tone(SECOND), silence(4_600)].concat());
    let judged: Vec<&Pause> = steps
        .iter()
        .filter_map(|step| match step {
            Step::Judge(pause) => Some(pause),
            _ => None,
        })
        .collect();
    assert_eq!(judged.len(), 2);
    for pause in judged {
        let voiced = pause.samples.len() as u64 - pause.silence;
        assert!(voiced.abs_diff(SECOND + 3_200) <= 1_024, "{voiced}");
        assert!(pause.silence >= 1_600);
    }
}

#[test]
fn nothing_is_guessed_while_somebody_pauses() {
    let mut session = pausing(false);
    feed(&mut session, &[tone(SECOND), silence(1_000)].concat());
    assert!(session.partial_due().is_none());
    feed(&mut session, &tone(2_000));
    assert!(session.partial_due().is_some());
}

#[test]
fn what_is_forgotten_is_forgotten_with_what_was_ready() {
    let mut session = pausing(false);
    feed(&mut session, &[tone(SECOND), silence(2_000)].concat());
    let steps = session.take(Input::Reset).unwrap();
    assert!(kinds(&steps).ends_with('f'), "{}", kinds(&steps));
}

#[test]
fn where_nobody_judges_a_pause_has_its_words_all_the_same() {
    let mut session = pausing(true);
    session.pausing = Some(PauseSettings {
        candidate: 1_600,
        judge_every: None,
    });
    let steps = feed(
        &mut session,
        &[tone(SECOND), silence(4_000), tone(SECOND), silence(SECOND)].concat(),
    );
    assert_eq!(kinds(&steps), "SooopdrooopdED");
}
