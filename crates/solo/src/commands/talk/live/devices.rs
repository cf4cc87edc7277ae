//! The microphone and the loudspeaker, as long as they are there: one that was unplugged is waited for.

use std::time::Duration;

use solo_proto::gateway::v1::Interrupt;
use solo_proto::gateway::v1::session_control::Control;
use tokio::time::sleep;

use super::Live;
use crate::audio::devices::Direction;
use crate::audio::pair::Pair;
use crate::commands::talk::sink::Sink;
use crate::failure::Failure;

/// Waiting before devices are looked for again.
const DEVICE_WAIT: Duration = Duration::from_secs(2);

impl Live<'_> {
    /// A device is gone. A reply that nobody hears is stopped; the conversation waits.
    pub(super) async fn lost(&mut self, direction: Direction, why: &str) -> Result<(), Failure> {
        let sounding = matches!(&self.conversation.sink, Sink::Speaker(loud) if loud.is_sounding());
        self.pair = None;
        if let Sink::Speaker(loud) = &mut self.conversation.sink {
            loud.replace(None);
        }
        self.conversation.status.level_dbfs = None;
        let name = direction.name();
        self.show
            .warning(&format!("the {name} is gone ({why}); it is waited for"))?;
        self.look_again();
        if sounding || self.held {
            self.held = false;
            self.unheard.forget();
            self.say(Control::Interrupt(Interrupt {})).await?;
        }
        Ok(())
    }

    fn look_again(&mut self) {
        let wanted = self.wanted.clone();
        self.looking = Some(Box::pin(async move {
            sleep(DEVICE_WAIT).await;
            Pair::open(wanted).await
        }));
    }

    pub(super) fn found(&mut self, found: Result<Pair, Failure>) -> Result<(), Failure> {
        self.looking = None;
        let Ok(pair) = found else {
            // Why there was none has been said, and it may be plugged in any moment.
            self.look_again();
            return Ok(());
        };
        if let Sink::Speaker(loud) = &mut self.conversation.sink {
            loud.replace(Some(pair.speaker.clone()));
        }
        let text = format!("sound is back: {}", pair.names());
        self.pair = Some(pair);
        self.show.remark(&text)
    }
}
