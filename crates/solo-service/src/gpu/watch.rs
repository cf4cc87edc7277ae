//! Notices that the GPU under an engine is lost, says so, and sees to it that the service comes back.
//!
//! A CUDA context does not survive the loss of its GPU, and nothing in the process that owned it can make another with
//! certainty. So a service whose GPU is gone refuses calls, waits until the GPU answers again, and ends with exit code 70:
//! whoever supervises it starts it anew, on the same device. It never goes on, on another one.

use std::sync::mpsc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use crate::service::Context;

/// How long a GPU may take to answer. A lost one often hangs whoever asks it.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often a GPU that stays lost is spoken of.
const REMINDER: Duration = Duration::from_secs(60);

/// What an engine's GPUs can be asked.
pub trait Watched: Send + 'static {
    /// How they are called: "cuda:0".
    fn device(&self) -> String;

    /// Asks whether they answer. May block.
    ///
    /// # Errors
    /// What is wrong with them.
    fn check(&mut self) -> Result<(), String>;
}

/// Asks the GPUs `every` so often, until the service drains or has to start anew.
pub async fn watch(engine: impl Watched, context: Context, every: Duration) {
    let device = engine.device();
    let Ok(mut probe) = Probe::start(engine) else {
        tracing::error!(
            device,
            "no thread can be had to watch the GPU: its loss will not be noticed"
        );
        return;
    };
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // When its loss was last spoken of; `None`: it answers.
    let mut lost: Option<Instant> = None;
    loop {
        tokio::select! {
            () = context.shutdown.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let answer = probe.ask().await;
        match (answer, &mut lost) {
            (Ok(()), None) => {}
            (Ok(()), Some(_)) => {
                tracing::error!(
                    device,
                    "the GPU answers again: this process ends, so that a new one can use it"
                );
                context.fail();
                return;
            }
            (Err(why), None) => {
                lost = Some(Instant::now());
                context.health.not_serving(&format!("{device} is lost: {why}")).await;
            }
            (Err(why), Some(spoken)) if spoken.elapsed() >= REMINDER => {
                *spoken = Instant::now();
                tracing::warn!(device, why, "the GPU is still lost");
            }
            (Err(_), Some(_)) => {}
        }
    }
}

/// The thread that asks, so that nothing else hangs when it does.
struct Probe {
    questions: mpsc::Sender<oneshot::Sender<Result<(), String>>>,
    /// An answer that is still owed.
    owed: Option<oneshot::Receiver<Result<(), String>>>,
}

impl Probe {
    fn start(mut engine: impl Watched) -> std::io::Result<Self> {
        let (questions, asked) = mpsc::channel::<oneshot::Sender<Result<(), String>>>();
        std::thread::Builder::new()
            .name("gpu-watch".to_owned())
            .spawn(move || {
                for answer in asked {
                    // Whoever asked may have given up.
                    let _ = answer.send(engine.check());
                }
            })?;
        Ok(Self { questions, owed: None })
    }

    async fn ask(&mut self) -> Result<(), String> {
        let mut answer = match self.owed.take() {
            Some(owed) => owed,
            None => {
                let (answer, receiver) = oneshot::channel();
                // A thread that is gone drops the question, which is heard below.
                let _ = self.questions.send(answer);
                receiver
            }
        };
        match timeout(PATIENCE, &mut answer).await {
            Ok(Ok(checked)) => checked,
            Ok(Err(_)) => Err("the thread that asks it is gone".to_owned()),
            Err(_) => {
                self.owed = Some(answer);
                Err(format!("it has not answered for {} s", PATIENCE.as_secs()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use solo_proto::status::v1::ServiceState;

    use super::*;

    /// Answers what it is told to, by turns; then it does not answer at all.
    struct Scripted(mpsc::Receiver<Result<(), String>>);

    impl Watched for Scripted {
        fn device(&self) -> String {
            "cuda:7".to_owned()
        }

        fn check(&mut self) -> Result<(), String> {
            self.0.recv().unwrap_or(Err("the script ended".to_owned()))
        }
    }

    async fn started() -> (Context, mpsc::Sender<Result<(), String>>, tokio::task::JoinHandle<()>) {
        let context = Context::for_tests("llm-svc").await;
        context.health.serving().await;
        let (script, answers) = mpsc::channel();
        let watching = watch(Scripted(answers), context.clone(), Duration::from_millis(1));
        (context, script, tokio::spawn(watching))
    }

    async fn until(what: &str, holds: impl Fn() -> bool) {
        let waited = timeout(Duration::from_secs(30), async {
            while !holds() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
        assert!(waited.await.is_ok(), "{what}");
    }

    #[tokio::test]
    async fn a_lost_gpu_is_said_to_be_lost_and_its_return_ends_the_process() {
        let (context, script, watching) = started().await;
        script.send(Ok(())).unwrap();
        script.send(Err("Xid 79".to_owned())).unwrap();
        until("the loss is noticed", || {
            context.status.state() == ServiceState::NotServing
        })
        .await;
        assert_eq!(context.health.why().as_deref(), Some("cuda:7 is lost: Xid 79"));
        assert!(!context.failed.is_cancelled());
        script.send(Err("Xid 79".to_owned())).unwrap();
        script.send(Ok(())).unwrap();
        watching.await.unwrap();
        assert!(context.failed.is_cancelled());
    }

    #[tokio::test]
    async fn a_healthy_gpu_is_left_alone_until_the_service_drains() {
        let (context, script, watching) = started().await;
        for _ in 0..5 {
            script.send(Ok(())).unwrap();
        }
        context.shutdown.cancel();
        watching.await.unwrap();
        assert_eq!(context.status.state(), ServiceState::Serving);
        assert!(!context.failed.is_cancelled());
    }

    #[tokio::test(start_paused = true)]
    async fn a_gpu_that_hangs_is_lost() {
        let (context, script, watching) = started().await;
        until("silence is noticed", || {
            context.status.state() == ServiceState::NotServing
        })
        .await;
        let why = context.health.why().unwrap();
        assert!(why.contains("has not answered for 10 s"), "{why}");
        // The answer that was owed comes after all.
        script.send(Ok(())).unwrap();
        watching.await.unwrap();
        assert!(context.failed.is_cancelled());
    }
}
