//! The words of one utterance on their way to the client: whole in the end, and piece by piece before, where that is
//! configured. A piece that was sent is never taken back, so only what no later partial transcript can change is sent early.

use serde_json::json;
use solo_proto::stt::v1::ListenResponse;
use solo_proto::stt::v1::listen_response::Payload;

use super::framing::Event;
use super::line::{End, Line};
use crate::convert;
use crate::error::Error;

/// The words so far.
pub(super) struct Transcript {
    /// The model that the client asked for.
    model: Option<String>,
    /// True: pieces are sent while the client speaks.
    streams: bool,
    /// What was sent in pieces.
    sent: String,
    /// The texts of which stt-svc is done.
    finals: Vec<String>,
    language: String,
}

impl Transcript {
    pub(super) fn new(model: Option<String>, streams: bool) -> Self {
        Self {
            model: model.filter(|model| !model.is_empty()),
            streams,
            sent: String::new(),
            finals: Vec::new(),
            language: String::new(),
        }
    }

    /// Says that words will come.
    pub(super) async fn begin(&self, line: &mut Line) -> Result<(), End> {
        if self.streams {
            line.send(Event::new("transcript-start", json!({}))).await?;
        }
        Ok(())
    }

    /// Takes what stt-svc says.
    ///
    /// # Errors
    /// When it listens with another model than the client asked for.
    pub(super) async fn take(&mut self, line: &mut Line, said: ListenResponse) -> Result<(), End> {
        match said.payload {
            Some(Payload::Started(started)) => {
                let asked = self.model.as_ref().filter(|asked| **asked != started.model);
                if let Some(asked) = asked {
                    let problem = format!("there is no model `{asked}`; `{}` is in use", started.model);
                    return Err(Error::invalid("UNKNOWN_MODEL", problem).into());
                }
            }
            Some(Payload::Partial(partial)) if self.streams && !partial.stable_text.is_empty() => {
                self.finals.push(partial.stable_text);
                let known = self.text();
                self.finals.pop();
                self.advance(line, &known).await?;
            }
            Some(Payload::Final(words)) => {
                self.finals.push(words.text);
                self.language = words.language;
            }
            Some(Payload::Rejected(rejected)) => {
                let reason = convert::rejection(rejected.reason());
                tracing::info!(reason, "nothing was understood");
            }
            _ => {}
        }
        Ok(())
    }

    /// Says the whole. Nothing understood is an empty text.
    pub(super) async fn end(mut self, line: &mut Line) -> Result<(), End> {
        let text = self.text();
        if self.streams {
            self.advance(line, &text).await?;
        }
        let mut words = json!({ "text": text });
        if !self.language.is_empty() {
            words["language"] = self.language.as_str().into();
        }
        line.send(Event::new("transcript", words)).await?;
        if self.streams {
            line.send(Event::new("transcript-stop", json!({}))).await?;
        }
        Ok(())
    }

    fn text(&self) -> String {
        self.finals.join(" ")
    }

    /// Sends what is new in a text that goes on from what was sent; one that does not will be in the whole.
    async fn advance(&mut self, line: &mut Line, text: &str) -> Result<(), End> {
        if let Some(more) = text.strip_prefix(&self.sent).filter(|more| !more.is_empty()) {
            let piece = Event::new("transcript-chunk", json!({ "text": more }));
            self.sent = text.to_owned();
            line.send(piece).await?;
        }
        Ok(())
    }
}
