//! Everything at once: several conversations, a recording that is transcribed over and over, and for Solo documents that are
//! taken in and a microphone that waits for its wake word, too; the Python stack has neither.

use futures::future::{join, join_all};
use solo_proto::gateway::v1::WakeMode;
use solo_proto::memory::v1::memory_service_client::MemoryServiceClient;
use solo_proto::memory::v1::put_document_request::Payload;
use solo_proto::memory::v1::{DocumentHeader, PutDocumentRequest};
use tonic::transport::Channel;

use super::turns::one;
use super::{Samples, Stage, Tally, Who};
use crate::voice::conversation::Conversation;
use crate::voice::corpus;
use crate::voice::hearing::{peer_transcribe, transcribe};
use crate::voice::microphone::Microphone;

/// Sentences of a document.
const SENTENCES: usize = 150;

/// All turns of a round, spread over the conversations; one contender after the other.
pub async fn load(stage: &Stage, samples: &mut Samples, round: usize) {
    for who in Who::in_turn(round) {
        let conversations = (0..stage.scale.conversations).map(|first| async move {
            let mut tally = Vec::new();
            for clip in stage.clips().iter().skip(first).step_by(stage.scale.conversations) {
                tally.push((clip, one(stage, who, clip).await));
            }
            tally
        });
        let turns = tokio::select! {
            turns = join_all(conversations) => turns,
            never = background(stage, who) => match never {},
        };
        let mut tally = Tally::default();
        for (clip, turn) in turns.into_iter().flatten() {
            tally.take(who, clip, turn);
        }
        tally.record(samples, "load", who);
    }
}

/// Goes on until it is dropped.
async fn background(stage: &Stage, who: Who) -> std::convert::Infallible {
    match who {
        Who::Ours => {
            let heard = async {
                loop {
                    listen_for_keyword(stage).await;
                }
            };
            join(heard, join(recordings(stage, who), documents(stage))).await.0
        }
        Who::Peer => recordings(stage, who).await,
    }
}

async fn recordings(stage: &Stage, who: Who) -> std::convert::Infallible {
    let recording = corpus::joined(&corpus::librivox());
    loop {
        match who {
            Who::Ours => {
                let stt = stage.channel("stt-svc").await;
                let heard = transcribe(stt, &recording.samples).await;
                let (_, seconds) = heard.expect("stt-svc transcribes under load");
                eprintln!("{who:?}: {:.0} s transcribed in {seconds:.1} s", recording.seconds());
            }
            Who::Peer => {
                let (_, seconds) = peer_transcribe(stage.peer.caller(), &recording.samples).await;
                eprintln!("{who:?}: {:.0} s transcribed in {seconds:.1} s", recording.seconds());
            }
        }
    }
}

async fn documents(stage: &Stage) -> std::convert::Infallible {
    let memory = stage.channel("memory-svc").await;
    let mut number = 0;
    loop {
        number += 1;
        put(memory.clone(), number)
            .await
            .expect("memory-svc takes it under load");
    }
}

/// A document like no other, about nothing that is asked.
async fn put(memory: Channel, number: usize) -> Result<(), tonic::Status> {
    let text: String = (0..SENTENCES)
        .map(|line| {
            format!(
                "Crate {} of shipment {number} holds {} spare bolts.\n",
                line * 7,
                line + number
            )
        })
        .collect();
    let header = DocumentHeader {
        uri: format!("note:shipment-{number}"),
        media_type: "text/plain".into(),
        ..DocumentHeader::default()
    };
    let messages = [Payload::Header(header), Payload::Data(text.into_bytes())];
    let messages = messages.map(|payload| PutDocumentRequest { payload: Some(payload) });
    let mut answers = MemoryServiceClient::new(memory)
        .put_document(tokio_stream::iter(messages))
        .await?
        .into_inner();
    while answers.message().await?.is_some() {}
    Ok(())
}

/// A quiet room that waits for its wake word.
async fn listen_for_keyword(stage: &Stage) {
    let gateway = stage.channel("gateway").await;
    let conversation = Conversation::open(gateway, WakeMode::Keyword).await;
    let conversation = conversation.expect("the gateway listens for a keyword under load");
    let mut microphone = Microphone::new(&[]);
    loop {
        let piece = microphone.next().await;
        conversation.hear(&piece, microphone.position() - piece.len());
    }
}
