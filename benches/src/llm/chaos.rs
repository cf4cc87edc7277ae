//! A crowd of clients that misbehave, for a bounded time, against an llm-svc that this program started.
//!
//! They connect, ask at random, stream, and vanish: before the first message, in the middle of a stream, by dropping the
//! call, by cutting the connection, by not reading. Some send what must be refused. Whatever the service answers is
//! counted; what it must never do is kept as a fault. Afterwards nothing may be left of them in the service.

mod request;
mod watch;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use solo_proto::llm::v1::FinishReason;
use solo_proto::llm::v1::generate_response::Payload;
use solo_proto::llm::v1::llm_service_client::LlmServiceClient;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};
use tonic_types::StatusExt;

use self::request::Asked;
use super::client::{Ours, request as plain_request};
use super::prompts;
use super::service::{LlmSvc, gauge};

/// Gauges of what runs, waits and is held; all return to zero when nobody asks anything.
pub const GAUGES: [&str; 3] = ["sequences_running", "sequences_waiting", "kv_blocks_in_use"];
/// Requests that the service takes at once: its `llm.queue` and `llm.parallel`.
const PLACES: u64 = 32 + 8;
/// Whoever sees so many others' answers begin has been forgotten, however fast the machine is: a full house may stand
/// before him, later ones of higher priority and of clients that ask less may overtake him.
const OVERTAKEN: u64 = 4 * PLACES;
/// How long an answer without a deadline may keep its client waiting: the whole queue may stand before it.
const STUCK: Duration = Duration::from_secs(240);
/// How long after its deadline a request may still be told so, on a machine that is as busy as can be.
const GRACE: Duration = Duration::from_secs(10);
/// How long the service may take to let go of everything.
const SETTLE: Duration = Duration::from_secs(60);

/// How much chaos.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Clients at once.
    pub clients: usize,
    /// How long.
    pub time: Duration,
    /// What makes it the same chaos again, as far as timing allows.
    pub seed: u64,
}

/// What happened.
#[derive(Debug, Default)]
pub struct Tally {
    /// What the clients saw, by kind.
    pub seen: BTreeMap<String, u64>,
    /// The largest value of each gauge.
    pub peaks: BTreeMap<&'static str, f64>,
    /// What must not happen, each in a sentence.
    pub faults: Vec<String>,
}

/// A [`Tally`] that many add to.
#[derive(Clone, Default)]
pub struct Shared {
    tally: Arc<Mutex<Tally>>,
    /// Requests whose answers have begun.
    begun: Arc<AtomicU64>,
}

impl Shared {
    fn with<T>(&self, work: impl FnOnce(&mut Tally) -> T) -> T {
        work(&mut self.tally.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns when somebody who begins to wait now has waited for too long, and says why that is so.
    async fn stuck(&self) -> String {
        let (start, before) = (Instant::now(), self.begun.load(Ordering::Relaxed));
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let overtaken = self.begun.load(Ordering::Relaxed) - before;
            if overtaken >= OVERTAKEN {
                return format!("was overtaken by {overtaken} others in {:.0?}", start.elapsed());
            }
            if start.elapsed() >= STUCK {
                return format!("was stuck for {STUCK:?}");
            }
        }
    }

    fn saw(&self, what: impl Into<String>) {
        self.with(|tally| *tally.seen.entry(what.into()).or_default() += 1);
    }

    fn fault(&self, what: impl Into<String>) {
        let what = what.into();
        self.with(|tally| {
            // The first hundred tell the story.
            if tally.faults.len() < 100 {
                eprintln!("fault: {what}");
                tally.faults.push(what);
            }
        });
    }
}

/// Lets the crowd loose, waits until all are gone, and looks at what they left.
pub async fn run(service: &mut LlmSvc, options: Options) -> Tally {
    let tally = Shared::default();
    let endpoint = service.endpoint();
    let health = tokio::spawn(watch::health(endpoint.clone(), tally.clone()));
    let gauges = tokio::spawn(watch::gauges(endpoint.clone(), tally.clone()));
    let until = Instant::now() + options.time;
    let mut crowd = tokio::task::JoinSet::new();
    for client in 0..options.clients {
        let dice = StdRng::seed_from_u64(options.seed.wrapping_mul(1_000_003).wrapping_add(client as u64));
        crowd.spawn(misbehave(endpoint.clone(), dice, until, tally.clone()));
    }
    while let Some(ended) = crowd.join_next().await {
        if let Err(panic) = ended {
            tally.fault(format!("a client of ours panicked: {panic}"));
        }
    }
    gauges.abort();
    settled(service, &tally).await;
    fresh(service, &tally).await;
    health.abort();
    if !service.is_alive() {
        tally.fault("llm-svc has ended");
    }
    tally.with(std::mem::take)
}

/// One client, until the time is up and its last request has ended.
async fn misbehave(endpoint: Endpoint, mut dice: StdRng, until: Instant, tally: Shared) {
    let mut connection: Option<Channel> = None;
    while Instant::now() < until {
        let channel = match connection.take() {
            Some(channel) => channel,
            None => match endpoint.connect().await {
                Ok(channel) => channel,
                Err(error) => {
                    tally.fault(format!("no connection: {error}"));
                    tokio::time::sleep(Duration::from_millis(500)).await;
                    continue;
                }
            },
        };
        let asked = Asked::at_random(&mut dice);
        let refused = tokio::select! {
            refused = play(channel.clone(), &asked, &tally) => refused,
            why = tally.stuck() => {
                tally.fault(format!("a request {why}: {asked:?}"));
                false
            }
        };
        if refused {
            // Knocking at once again would only measure the door.
            tokio::time::sleep(Duration::from_millis(dice.random_range(20..500))).await;
        }
        // Half of those who vanish cut the connection, too.
        let cut = asked.fate != request::Fate::Finish && dice.random_bool(0.5);
        connection = (!cut).then_some(channel);
    }
}

/// Asks, and does with the answer what was planned. True when it was refused.
async fn play(channel: Channel, asked: &Asked, tally: &Shared) -> bool {
    let start = Instant::now();
    let mut client = LlmServiceClient::new(channel);
    let opening = client.generate(asked.request());
    let opened = match asked.fate {
        request::Fate::DropCall(after) => match tokio::time::timeout(after, opening).await {
            Ok(opened) => opened,
            Err(_) => {
                tally.saw("vanished: before any message");
                return false;
            }
        },
        _ => opening.await,
    };
    let mut stream = match opened {
        Ok(stream) => stream.into_inner(),
        Err(status) => return refused(&status, asked, start, tally),
    };
    let (mut messages, mut finished, mut started) = (0_u32, 0_u32, false);
    loop {
        match asked.fate {
            request::Fate::After(limit) if messages >= limit => {
                tally.saw("vanished: in the middle");
                return false;
            }
            request::Fate::NotReading(time) if messages >= 1 => {
                tokio::time::sleep(time).await;
                tally.saw("vanished: without reading");
                return false;
            }
            request::Fate::DropCall(time) if start.elapsed() > time => {
                tally.saw("vanished: in the middle");
                return false;
            }
            _ => {}
        }
        match stream.message().await {
            Ok(Some(message)) => {
                messages += 1;
                match message.payload {
                    Some(Payload::Started(_)) => {
                        if !std::mem::replace(&mut started, true) {
                            tally.begun.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                    Some(Payload::Finished(end)) => {
                        finished += 1;
                        let reason = FinishReason::try_from(end.reason).unwrap_or_default();
                        tally.saw(format!("answered: {}", reason.as_str_name()));
                    }
                    Some(Payload::Text(_) | Payload::ToolCall(_)) if !started => {
                        tally.fault("text came before `started`");
                    }
                    Some(_) => {}
                    None => tally.fault("a message without a payload"),
                }
            }
            Ok(None) if asked.bad.is_some() => {
                tally.fault(format!("answered, but must be refused: {asked:?}"));
                return false;
            }
            Ok(None) => {
                if finished != asked.choices() {
                    tally.fault(format!("{finished} of {} choices were finished", asked.choices()));
                }
                return false;
            }
            Err(status) => return refused(&status, asked, start, tally),
        }
    }
}

/// Judges a refusal; true when the service was busy.
fn refused(status: &Status, asked: &Asked, start: Instant, tally: &Shared) -> bool {
    let reason = status
        .get_details_error_info()
        .map_or_else(String::new, |info| format!(" {}", info.reason));
    let code = status.code();
    let kind = format!("refused: {code:?}{reason}");
    if let Some(expected) = asked.bad {
        if code != expected && code != Code::ResourceExhausted {
            tally.fault(format!("{kind}, but {expected:?} was due: {}", status.message()));
        }
        tally.saw(kind);
        return code == Code::ResourceExhausted;
    }
    match code {
        Code::ResourceExhausted => {
            if status.get_details_retry_info().is_none() {
                tally.fault("ResourceExhausted came without a retry hint");
            }
        }
        // tonic's own client says Cancelled when it was faster than the service.
        Code::DeadlineExceeded | Code::Cancelled if asked.deadline.is_some() => {
            let late = start.elapsed().saturating_sub(asked.deadline.unwrap_or_default());
            if late > GRACE {
                tally.fault(format!("a deadline was kept {late:?} too late"));
            }
        }
        // A build that cannot do structured output yet says so.
        Code::Unimplemented if asked.is_constrained() => {}
        _ => tally.fault(format!("{kind}: {}: {asked:?}", status.message())),
    }
    tally.saw(kind);
    code == Code::ResourceExhausted
}

/// Waits until the gauges say that nothing is left.
async fn settled(service: &LlmSvc, tally: &Shared) {
    let start = Instant::now();
    loop {
        let left = match service.status().await {
            Ok(status) => {
                let missing: Vec<&str> = GAUGES
                    .into_iter()
                    .filter(|name| gauge(&status, name).is_none())
                    .collect();
                if !missing.is_empty() {
                    return tally.fault(format!("the status has no gauge {}", missing.join(", ")));
                }
                let held = GAUGES
                    .into_iter()
                    .filter_map(|name| Some((name, gauge(&status, name)?)));
                held.filter(|(_, value)| *value != 0.0)
                    .map(|(name, value)| format!("{name} is {value}"))
                    .collect::<Vec<_>>()
            }
            Err(status) => vec![format!("the status cannot be had: {status}")],
        };
        if left.is_empty() {
            eprintln!(
                "the gauges were back to zero after {:.1} s",
                start.elapsed().as_secs_f64()
            );
            break;
        }
        if start.elapsed() > SETTLE {
            return tally.fault(format!("{SETTLE:?} after the last client: {}", left.join(", ")));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // A gauge that never moved has shown nothing.
    for name in ["sequences_running", "kv_blocks_in_use"] {
        if tally.with(|tally| tally.peaks.get(name).copied().unwrap_or(0.0)) == 0.0 {
            tally.fault(format!("{name} was zero all the time"));
        }
    }
}

/// Somebody who behaves is answered.
async fn fresh(service: &LlmSvc, tally: &Shared) {
    if let Err(problem) = answers(service).await {
        tally.fault(format!("a fresh request was not answered: {problem}"));
    }
}

/// Asks one plain question.
///
/// # Errors
/// Why there is no answer, in words.
pub async fn answers(service: &LlmSvc) -> Result<(), String> {
    let channel = service.channel().await.map_err(|error| error.to_string())?;
    let asked = plain_request(&prompts::shared(0), 8);
    let answer = tokio::time::timeout(Duration::from_secs(60), Ours::new(channel).ask(asked)).await;
    match answer {
        Ok(Ok(answer)) if answer.tokens > 0 => Ok(()),
        Ok(Ok(_)) => Err("it has no tokens".into()),
        Ok(Err(status)) => Err(status.to_string()),
        Err(_) => Err("it took longer than a minute".into()),
    }
}
