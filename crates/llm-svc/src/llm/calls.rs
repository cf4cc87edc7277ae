//! Tool calls out of answers: what comes as text leaves as text and calls.

use futures::StreamExt;

use super::terms::Answered;
use crate::answer::Reason;
use crate::backend::Answer;
use crate::chat::Tool;
use crate::tools::{Piece, ToolStream, Trust};

/// The same answers, `count` of them, with the calls of `tools` told from text.
pub(super) fn told(mut answer: Answer, tools: &[Tool], count: usize, trust: Trust) -> Answer {
    let names: Vec<String> = tools.iter().map(|tool| tool.name.clone()).collect();
    let mut streams: Vec<ToolStream> = (0..count).map(|_| ToolStream::new(names.clone(), trust)).collect();
    Box::pin(async_stream::stream! {
        while let Some(item) = answer.next().await {
            match item {
                Ok(Answered::Text { index, text, mut tokens }) => {
                    let Some(stream) = streams.get_mut(index) else { continue };
                    for piece in stream.push(&text) {
                        let mut shown = piece_of(index, piece);
                        if let Answered::Text { tokens: scored, .. } = &mut shown {
                            scored.append(&mut tokens);
                        }
                        yield Ok(shown);
                    }
                    if !tokens.is_empty() {
                        yield Ok(Answered::Text { index, text: String::new(), tokens });
                    }
                }
                Ok(Answered::Finished { index, mut finished }) => {
                    let Some(stream) = streams.get_mut(index) else { continue };
                    let ended = stream.finish();
                    for piece in ended.pieces {
                        yield Ok(piece_of(index, piece));
                    }
                    if ended.calls > 0 && finished.reason == Reason::Stop {
                        finished.reason = Reason::ToolCalls;
                    }
                    yield Ok(Answered::Finished { index, finished });
                }
                other => yield other,
            }
        }
    })
}

fn piece_of(index: usize, piece: Piece) -> Answered {
    match piece {
        Piece::Text(text) => Answered::Text {
            index,
            text,
            tokens: Vec::new(),
        },
        Piece::Call {
            call,
            begins,
            arguments,
        } => Answered::ToolCall {
            index,
            call,
            begins,
            arguments,
        },
    }
}
