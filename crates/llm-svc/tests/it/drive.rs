//! Drives lanes by hand, one request at a time, as the service's thread does.

use std::sync::Arc;
use std::time::{Duration, Instant};

use llm_svc::answer::{Event, Finished, Interrupted, Job};
use llm_svc::device::{Device, DeviceSetting};
use llm_svc::engine::StepEngine;
use llm_svc::lane::{Lane, LaneOptions, Request};
use solo_service::{CancelToken, Priority};
use tokio::sync::mpsc;

/// A model with its lane, and the one for requests with a seed.
pub(crate) struct Session {
    shared: Lane,
    exact: Option<Lane>,
}

pub(crate) fn options() -> LaneOptions {
    LaneOptions {
        parallel: 8,
        step: Duration::from_millis(80),
        exact: None,
    }
}

/// A request that nobody else cares about, and where its answer comes.
pub(crate) fn request(
    job: &Job,
    cancel: &CancelToken,
) -> (Request, mpsc::UnboundedReceiver<Result<Event, Interrupted>>) {
    let (sink, events) = mpsc::unbounded_channel();
    let request = Request {
        job: job.clone(),
        client: "test".into(),
        priority: Priority::Normal,
        deadline: None,
        asked: Instant::now(),
        cancel: cancel.clone(),
        sink,
        place: None,
    };
    (request, events)
}

impl Session {
    /// Prompts with a seed are computed in pieces of `piece` tokens.
    pub(crate) fn new(engine: Box<dyn StepEngine>, piece: usize) -> Self {
        let exact = (!engine.capabilities().batch_invariant).then(|| {
            let options = LaneOptions {
                exact: Some(piece),
                ..options()
            };
            Lane::new(engine.exact_twin(piece).unwrap(), &options)
        });
        Self {
            shared: Lane::new(engine, &options()),
            exact,
        }
    }

    pub(crate) fn warm_up(&mut self) {
        self.shared.warm_up().unwrap();
    }

    /// The lane that answers a job.
    pub(crate) fn lane(&mut self, job: &Job) -> &mut Lane {
        match &mut self.exact {
            Some(exact) if job.sampling.seed.is_some() => exact,
            _ => &mut self.shared,
        }
    }

    /// Answers, showing what comes.
    pub(crate) fn answer(
        &mut self,
        job: &Job,
        show: &mut dyn FnMut(Event),
        cancel: &CancelToken,
    ) -> Result<Finished, Interrupted> {
        let (request, mut events) = request(job, cancel);
        let lane = self.lane(job);
        lane.submit(request);
        loop {
            lane.admit();
            lane.step();
            while let Ok(event) = events.try_recv() {
                match event? {
                    Event::Finished(finished) => return Ok(finished),
                    // Whoever has gone does not see what was on its way.
                    _ if cancel.is_cancelled() => {}
                    event => show(event),
                }
            }
        }
    }
}

/// Where the tests with real weights compute: SOLO_TEST_DEVICE, "cpu" or "cuda:N"; else the processor.
pub(crate) fn device() -> Device {
    let wanted = std::env::var("SOLO_TEST_DEVICE").unwrap_or_else(|_| "cpu".to_owned());
    match DeviceSetting::parse(&wanted).unwrap() {
        DeviceSetting::Cpu => Device::Cpu,
        DeviceSetting::Gpus(ordinals) => Device::Cuda(ordinals),
        other => panic!("SOLO_TEST_DEVICE names one device, not {other:?}"),
    }
}

/// Whether loading is to go on: always.
pub(crate) fn unwatched() -> llm_svc::engine::Progress {
    Arc::new(|_| true)
}
