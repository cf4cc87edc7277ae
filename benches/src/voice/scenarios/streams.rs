//! Many people speak at once, each to a stream of their own, at the pace of real time.

use std::time::Duration;

use futures::future::join_all;

use super::{Samples, Stage, Who};
use crate::percentile;
use crate::voice::corpus::Clip;
use crate::voice::hearing::{Heard, listen, peer_listen, transcribe};
use crate::voice::words::Errors;

/// One begins after another, so that they speak at the same time but do not stop at the same time.
const APART: Duration = Duration::from_millis(150);
/// By how much the end of the voice, as it was heard, may come before the real one: what the detector misses of a last sound.
const TOLERANCE_MS: f64 = 300.0;

/// All streams of one contender at once, then of the other.
pub async fn streams(stage: &Stage, samples: &mut Samples, round: usize) {
    let clips: Vec<&Clip> = stage.turns.iter().cycle().take(stage.scale.streams).collect();
    let mut alone = Errors::default();
    for clip in &clips {
        let heard = transcribe(stage.channel("stt-svc").await, &clip.samples).await;
        alone += Errors::of(&clip.words, &heard.expect("stt-svc transcribes").0);
    }
    for who in Who::in_turn(round) {
        let streams = clips.iter().enumerate().map(|(index, clip)| async move {
            tokio::time::sleep(APART * index as u32).await;
            match who {
                Who::Ours => {
                    let heard = listen(stage.channel("stt-svc").await, clip).await;
                    heard
                        .inspect_err(|status| eprintln!("{who:?} {}: {status}", clip.name))
                        .ok()
                }
                Who::Peer => peer_listen(stage.peer.caller(), clip).await,
            }
        });
        let heard: Vec<Option<Heard>> = join_all(streams).await;
        let mut errors = Errors::default();
        for (clip, heard) in clips.iter().zip(&heard) {
            errors += Errors::of(&clip.words, heard.as_ref().map_or("", |heard| heard.words.as_str()));
        }
        samples.record("streams", who, clips.len() as f64);
        samples.record("streams wer", who, errors.percent());
        let missing = heard.iter().filter(|heard| heard.is_none()).count();
        samples.record("streams missing", who, missing as f64);
        if who == Who::Ours {
            let early = heard
                .iter()
                .flatten()
                .filter(|heard| heard.shift < -TOLERANCE_MS)
                .count();
            samples.record("streams cut", who, (missing + early) as f64);
            samples.record("streams wrong", who, errors.wrong as f64);
            samples.record("streams wrong alone", who, alone.wrong as f64);
            samples.record("streams wrong above", who, errors.wrong as f64 - alone.wrong as f64);
        }
        let known: Vec<&Heard> = heard.iter().flatten().collect();
        if known.is_empty() {
            continue;
        }
        let of = |value: fn(&Heard) -> f64| known.iter().map(move |heard| value(heard));
        for (share, name) in [(0.5, "p50"), (0.95, "p95"), (1.0, "longest")] {
            samples.record(
                format!("streams {name}"),
                who,
                percentile(of(|heard| heard.after_voice), share),
            );
        }
    }
}
