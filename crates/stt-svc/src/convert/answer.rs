//! To the contract.

use std::time::Duration;

use solo_audio::SampleRate;
use solo_proto::stt::v1::rejected_transcript::Reason as WireReason;
use solo_proto::stt::v1::voice_activity::Kind;
use solo_proto::stt::v1::{self as proto, listen_response, transcribe_response};

use crate::Stt;
use crate::engine::{self, Word};
use crate::gate::Reason;
use crate::{listen, transcribe};

/// What a transcription says, as the contract has it.
pub(crate) fn transcribe_output(output: transcribe::Output) -> proto::TranscribeResponse {
    use transcribe_response::Payload;
    let payload = match output {
        transcribe::Output::Progress { done_ms, total_ms } => Payload::Progress(proto::Progress { done_ms, total_ms }),
        transcribe::Output::Segment {
            start_ms,
            end_ms,
            decoded,
        } => Payload::Segment(proto::Segment {
            start_ms,
            end_ms,
            text: decoded.text,
            words: words(decoded.words),
            avg_logprob: decoded.avg_logprob,
            no_speech_prob: decoded.no_speech_prob,
        }),
        transcribe::Output::Summary {
            text,
            language,
            duration_ms,
            processing_ms,
            model,
        } => {
            let real_time_factor = processing_ms as f32 / duration_ms.max(1) as f32;
            Payload::Summary(proto::TranscribeSummary {
                text,
                language,
                duration_ms,
                processing_ms,
                real_time_factor,
                model,
            })
        }
    };
    proto::TranscribeResponse { payload: Some(payload) }
}

/// What a live stream says, as the contract has it.
pub(crate) fn listen_output(output: listen::Output, stt: &Stt) -> proto::ListenResponse {
    use listen_response::Payload;
    let payload = match output {
        listen::Output::Started => Payload::Started(proto::ListenStarted {
            engine: stt.decoder.info().engine.to_owned(),
            model: stt.decoder.info().model.clone(),
            turn_model: stt
                .turn_model
                .as_ref()
                .map_or_else(String::new, |model| model.id().to_owned()),
        }),
        listen::Output::VoiceStarted { sample, heard } => voice_activity(Kind::Started, sample, heard),
        listen::Output::VoiceEnded { sample, heard } => voice_activity(Kind::Ended, sample, heard),
        listen::Output::VoicePaused { sample, heard } => voice_activity(Kind::Paused, sample, heard),
        listen::Output::VoiceResumed { sample, heard } => voice_activity(Kind::Resumed, sample, heard),
        listen::Output::TurnEnd {
            probability,
            silence,
            heard,
        } => Payload::TurnEnd(proto::TurnEnd {
            probability,
            silence_ms: u32::try_from(SampleRate::SPEECH.ms_of(silence)).unwrap_or(u32::MAX),
            heard_samples: heard,
        }),
        listen::Output::Candidate {
            decoded,
            end_sample,
            spent,
        } => Payload::Candidate(proto::CandidateTranscript {
            text: decoded.text,
            confidence: decoded.confidence,
            end_sample,
            decode_ms: ms(spent),
        }),
        listen::Output::Partial { partial, end_sample } => Payload::Partial(proto::PartialTranscript {
            stable_text: partial.stable,
            unstable_text: partial.unstable,
            end_sample,
        }),
        listen::Output::Final {
            decoded,
            start_sample,
            end_sample,
            spent,
        } => Payload::Final(proto::FinalTranscript {
            text: decoded.text,
            words: words(decoded.words),
            confidence: decoded.confidence,
            language: decoded.language,
            start_sample,
            end_sample,
            decode_ms: ms(spent),
        }),
        listen::Output::Rejected {
            reason,
            text,
            start_sample,
            end_sample,
        } => {
            let reason = match reason {
                Reason::NoVoice => WireReason::NoVoice,
                Reason::NoSpeech => WireReason::NoSpeech,
                Reason::LowConfidence => WireReason::LowConfidence,
                Reason::Repetition => WireReason::Repetition,
                Reason::PhantomPhrase => WireReason::PhantomPhrase,
            };
            Payload::Rejected(proto::RejectedTranscript {
                reason: reason.into(),
                text,
                start_sample,
                end_sample,
            })
        }
    };
    proto::ListenResponse { payload: Some(payload) }
}

fn voice_activity(kind: Kind, sample: u64, heard_samples: u64) -> listen_response::Payload {
    listen_response::Payload::VoiceActivity(proto::VoiceActivity {
        kind: kind.into(),
        sample,
        heard_samples,
    })
}

fn words(words: Vec<Word>) -> Vec<proto::Word> {
    let word = |Word {
                    text,
                    start_ms,
                    end_ms,
                    probability,
                }| proto::Word {
        text,
        start_ms,
        end_ms,
        probability,
    };
    words.into_iter().map(word).collect()
}

fn ms(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}

/// The models that there are, the one in use first.
pub(crate) fn models(stt: &Stt) -> proto::ListModelsResponse {
    let info = stt.decoder.info();
    let english = |id: &str| {
        if id.ends_with(".en") {
            vec!["en".to_owned()]
        } else {
            Vec::new()
        }
    };
    let mut models: Vec<proto::SpeechModel> = engine::stt_models()
        .map(|model| proto::SpeechModel {
            id: model.id.clone(),
            languages: english(&model.id),
            installed: solo_models::is_installed(&stt.context.global.models_dir, model),
            active: model.id == info.model,
        })
        .collect();
    models.sort_by_key(|model| !model.active);
    proto::ListModelsResponse { models }
}
