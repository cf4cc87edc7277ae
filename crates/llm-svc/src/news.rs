//! What the rest of Solo hears of models as they come and go: events, which a dashboard shows as they happen.

use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use solo_proto::events::v1::ModelStatePayload;
use solo_proto::events::v1::event::Payload;
use solo_service::EventPublisher;

use crate::engine::Progress;

/// Shares of a load that are told apart.
const PARTS: f32 = 20.0;

/// Publishes the states of models. Cheap to clone.
#[derive(Clone)]
pub struct News(EventPublisher);

impl News {
    /// News on this publisher.
    pub fn new(events: EventPublisher) -> Self {
        Self(events)
    }

    /// Says that a model is being loaded, and how far, beside whatever `progress` is told.
    pub fn loading(&self, model: &str, progress: Progress) -> Progress {
        self.tell(model, "loading", 0.0, "");
        let (news, model, told) = (self.clone(), model.to_owned(), AtomicU32::new(0));
        Arc::new(move |share| {
            // Engines report every tensor.
            let part = (share.clamp(0.0, 1.0) * PARTS) as u32;
            if told.fetch_max(part, Ordering::Relaxed) < part {
                news.tell(&model, "loading", share, "");
            }
            progress(share)
        })
    }

    /// Says that a model answers.
    pub fn ready(&self, model: &str) {
        self.tell(model, "ready", 1.0, "");
    }

    /// Says that a model could not be loaded.
    pub fn failed(&self, model: &str, why: &impl Display) {
        self.tell(model, "failed", 0.0, &why.to_string());
    }

    /// Says that a model is gone.
    pub fn unloaded(&self, model: &str) {
        self.tell(model, "unloaded", 0.0, "");
    }

    fn tell(&self, model: &str, state: &str, progress: f32, message: &str) {
        let payload = ModelStatePayload {
            model: model.to_owned(),
            state: state.to_owned(),
            progress,
            message: message.to_owned(),
        };
        self.0.publish("", "", Payload::ModelState(payload));
    }
}
