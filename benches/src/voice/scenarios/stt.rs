//! Recordings of known words, transcribed; and the spoken turns as live streams, one at a time.

use super::{Samples, Stage, Who};
use crate::percentile;
use crate::voice::corpus::{self, Clip};
use crate::voice::hearing::{Heard, listen, peer_listen, peer_transcribe, transcribe};
use crate::voice::words::Errors;

/// Both sets, each clip each contender in turn, then live.
pub async fn stt(stage: &Stage, samples: &mut Samples, round: usize) {
    let (librivox, cards) = (corpus::librivox(), corpus::cards());
    // Not timed: whoever has not been asked for a while is cold.
    for who in Who::in_turn(round) {
        recorded(stage, who, &librivox[0]).await;
    }
    set(stage, samples, round, "librivox", &librivox).await;
    set(stage, samples, round, "cards", &cards).await;
    live(stage, samples, round).await;
}

async fn set(stage: &Stage, samples: &mut Samples, round: usize, name: &str, clips: &[Clip]) {
    let mut sums = [(0.0, Errors::default()), (0.0, Errors::default())];
    for (index, clip) in clips.iter().enumerate() {
        for who in Who::in_turn(round + index) {
            let (words, seconds) = recorded(stage, who, clip).await;
            let (time, errors) = &mut sums[usize::from(who == Who::Peer)];
            *time += seconds;
            let wrong = Errors::of(&clip.words, &words);
            if wrong.wrong > 0 {
                eprintln!("{who:?} {}: {} wrong in {words:?}", clip.name, wrong.wrong);
            }
            *errors += wrong;
        }
    }
    let audio: f64 = clips.iter().map(Clip::seconds).sum();
    samples.record(format!("{name} audio"), Who::Ours, audio);
    for (who, (time, errors)) in [Who::Ours, Who::Peer].into_iter().zip(sums) {
        samples.record(format!("{name} ms"), who, time / clips.len() as f64 * 1000.0);
        samples.record(format!("{name} wer"), who, errors.percent());
    }
    let more = sums[0].1.percent() - sums[1].1.percent();
    samples.record(format!("{name} wer above"), Who::Ours, more);
}

async fn recorded(stage: &Stage, who: Who, clip: &Clip) -> (String, f64) {
    match who {
        Who::Ours => {
            let stt = stage.channel("stt-svc").await;
            transcribe(stt, &clip.samples).await.expect("stt-svc transcribes")
        }
        Who::Peer => peer_transcribe(stage.peer.caller(), &clip.samples).await,
    }
}

async fn live(stage: &Stage, samples: &mut Samples, round: usize) {
    let mut sums: [(Vec<Heard>, Errors); 2] = Default::default();
    for (index, clip) in stage.clips().iter().enumerate() {
        for who in Who::in_turn(round + index) {
            let heard = match who {
                Who::Ours => {
                    let stt = stage.channel("stt-svc").await;
                    let heard = listen(stt, clip).await;
                    heard
                        .inspect_err(|status| eprintln!("{who:?} {}: {status}", clip.name))
                        .ok()
                }
                Who::Peer => peer_listen(stage.peer.caller(), clip).await,
            };
            let (all, errors) = &mut sums[usize::from(who == Who::Peer)];
            *errors += Errors::of(&clip.words, heard.as_ref().map_or("", |heard| heard.words.as_str()));
            all.extend(heard);
        }
    }
    for (who, (all, errors)) in [Who::Ours, Who::Peer].into_iter().zip(sums) {
        samples.record("live missing", who, (stage.clips().len() - all.len()) as f64);
        samples.record("live wer", who, errors.percent());
        if all.is_empty() {
            continue;
        }
        let of = |value: fn(&Heard) -> f64| all.iter().map(value);
        samples.record("live after end p50", who, percentile(of(|heard| heard.after_end), 0.5));
        samples.record("live after end p95", who, percentile(of(|heard| heard.after_end), 0.95));
        samples.record(
            "live after voice p50",
            who,
            percentile(of(|heard| heard.after_voice), 0.5),
        );
        if who == Who::Ours {
            let partials = of(|heard| heard.partials as f64).sum::<f64>() / all.len() as f64;
            samples.record("live partials", who, partials);
        }
    }
}
