//! Texts of three sentences, spoken.

use super::{Samples, Stage, Who};
use crate::percentile;
use crate::voice::speaking::{Spoken, peer_speak, speak};

/// What is spoken.
pub(crate) const TEXTS: [&str; 5] = [
    "The train to the coast leaves at nine in the morning. It stops in two small towns on the way, where you can buy \
     something to eat. You will see the sea after about two hours.",
    "Bread needs only flour, water, salt and time. Let the dough rest over night in a cool place, so that it gets its \
     taste. Bake it in a very hot oven until the crust is dark.",
    "Your first meeting tomorrow is with the people from the library. They would like to talk about the new reading \
     room, and they have asked for an hour. After that the day is free.",
    "Cats sleep for most of the day because hunting takes so much strength. Even those that never hunt keep this habit. \
     In the evening, when the light fades, they wake up and want to play.",
    "It will rain in the afternoon, so take a coat with you. The wind comes from the west and grows stronger towards the \
     evening. On Sunday it will be dry and a little warmer.",
];

/// Each text, each contender in turn.
pub async fn tts(stage: &Stage, samples: &mut Samples, round: usize) {
    // Not timed: whoever has not been asked for a while is cold.
    for who in Who::in_turn(round) {
        one(stage, who, "Good morning.").await;
    }
    let mut spoken: [Vec<Spoken>; 2] = Default::default();
    for (index, text) in TEXTS.iter().take(stage.scale.texts).enumerate() {
        for who in Who::in_turn(round + index) {
            spoken[usize::from(who == Who::Peer)].push(one(stage, who, text).await);
        }
    }
    for (who, all) in [Who::Ours, Who::Peer].into_iter().zip(spoken) {
        let first = all.iter().map(|spoken| spoken.first_audio * 1000.0);
        samples.record("tts first", who, percentile(first, 0.5));
        let sum = |of: fn(&Spoken) -> f64| all.iter().map(of).sum::<f64>();
        let whole = Spoken {
            total: sum(|spoken| spoken.total),
            seconds: sum(|spoken| spoken.seconds),
            ..Spoken::default()
        };
        samples.record("tts rtf", who, whole.real_time_factor());
        samples.record("tts seconds", who, whole.seconds / all.len() as f64);
    }
}

async fn one(stage: &Stage, who: Who, text: &str) -> Spoken {
    match who {
        Who::Ours => {
            let tts = stage.channel("tts-svc").await;
            speak(tts, text).await.expect("tts-svc speaks")
        }
        Who::Peer => peer_speak(stage.peer.caller(), text).await,
    }
}
