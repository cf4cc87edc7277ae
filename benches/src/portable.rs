//! What images hold, compiled for any machine of its kind and for size (docker/binaries.sh), beside the same sources compiled for
//! this machine alone: everything that computes, through its service, in turn.

use std::path::Path;
use std::time::Instant;

use rand::SeedableRng;
use rand::rngs::StdRng;
use solo_tests::{Layout, Stack};
use tonic::transport::{Channel, Endpoint};

use crate::llm::client::{Ours, request};
use crate::llm::prompts;
use crate::memory::ingest::{documents, take_in};
use crate::memory::search;
use crate::memory::service::{Client, MemorySvc, config};
use crate::percentile;
use crate::report::{Limit, Sheet, Target, row, target};
use crate::voice::corpus;
use crate::voice::hearing::transcribe;
use crate::voice::scenarios::TEXTS;
use crate::voice::speaking::speak;

/// CPU threads of each.
pub const THREADS: usize = 2;
/// Vectors that are searched.
const VECTORS: usize = 100_000;
/// Documents of a round.
const DOCUMENTS: usize = 10;
/// Engines of llm-svc.
const ENGINES: [&str; 2] = ["llama-cpp", "candle"];

/// One of the two builds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Who {
    /// For any machine of its kind.
    Portable,
    /// For this machine alone.
    Native,
}

impl Who {
    /// Both, the other one first each time.
    fn in_turn(round: u32) -> [Self; 2] {
        if round.is_multiple_of(2) {
            [Self::Portable, Self::Native]
        } else {
            [Self::Native, Self::Portable]
        }
    }
}

/// What was measured of them.
pub type Samples = crate::report::Samples<Who>;

const COLUMNS: &[(Who, &str)] = &[(Who::Portable, "as in images"), (Who::Native, "for this machine")];

/// Hearing, speaking and answering.
pub const VOICE: Sheet<Who> = Sheet {
    columns: COLUMNS,
    rows: &[
        row("transcribe", "stt-svc: a sentence to text, ms", 0),
        row("speak", "tts-svc: three sentences to speech, ms", 0),
        row("llama-cpp prefill", "llm-svc, llama.cpp: a token of the prompt, ms", 2),
        row("llama-cpp decode", "llm-svc, llama.cpp: a token of the answer, ms", 2),
        row("candle prefill", "llm-svc, candle: a token of the prompt, ms", 2),
        row("candle decode", "llm-svc, candle: a token of the answer, ms", 2),
    ],
    targets: &[
        within("stt-svc: ≤ 1.05", "transcribe"),
        within("tts-svc: ≤ 1.05", "speak"),
        within("llm-svc, llama.cpp, prompt: ≤ 1.05", "llama-cpp prefill"),
        within("llm-svc, llama.cpp, answer: ≤ 1.05", "llama-cpp decode"),
        within("llm-svc, candle, prompt: ≤ 1.05", "candle prefill"),
        within("llm-svc, candle, answer: ≤ 1.05", "candle decode"),
    ],
};

/// Searching and taking in.
pub const MEMORY: Sheet<Who> = Sheet {
    columns: COLUMNS,
    rows: &[
        row("search", "memory-svc: a search among 100,000 vectors, ms", 3),
        row("search p99", "memory-svc: the slowest of a hundred, ms", 3),
        row("take in", "memory-svc: a document of 1,300 words taken in, ms", 0),
    ],
    targets: &[
        within("memory-svc, search: ≤ 1.05", "search"),
        within("memory-svc, taking in: ≤ 1.05", "take in"),
    ],
};

/// Five percent more time than what is compiled for one machine.
const fn within(label: &'static str, metric: &'static str) -> Target<Who> {
    target(
        label,
        (metric, Who::Portable),
        (metric, Who::Native),
        Limit::AtMost(1.05),
    )
}

/// Hearing, speaking and answering, `rounds` times; the binaries of images are in `images`, the others beside the caller.
///
/// # Panics
/// When a service does not start or answer.
pub async fn voice(images: &Path, rounds: u32, samples: &mut Samples) {
    let stage = Stage::set(images);
    // The first round warms everybody up.
    for round in 0..=rounds {
        let mut uncounted = Samples::default();
        let samples = if round == 0 { &mut uncounted } else { &mut *samples };
        hear(&stage, round, samples).await;
        say(&stage, round, samples).await;
        for engine in ENGINES {
            answer(&stage, round, engine, samples).await;
        }
        eprintln!("voice, round {round} of {rounds}");
    }
}

/// Searching and taking in, `rounds` times.
///
/// # Panics
/// When memory-svc does not start or answer.
pub async fn memory(images: &Path, rounds: u32, samples: &mut Samples) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (portable, native) = (folder.path().join("portable"), folder.path().join("native"));
    let queries = search::store(&portable, VECTORS).await;
    search::copy(&portable, &native);
    let layout = |store: Option<&Path>, who| located(Layout::new(&config(store)), who, images);
    {
        let portable = MemorySvc::start_on(layout(Some(&portable), Who::Portable)).await;
        let native = MemorySvc::start_on(layout(Some(&native), Who::Native)).await;
        let mut clients = [portable.client().await, native.client().await];
        for round in 0..=rounds {
            for who in Who::in_turn(round) {
                let took = searches(&mut clients[who as usize], &queries).await;
                if round > 0 {
                    samples.record("search", who, percentile(took.iter().copied(), 0.5));
                    samples.record("search p99", who, percentile(took, 0.99));
                }
            }
        }
        eprintln!("searched");
    }
    let portable = MemorySvc::start_on(layout(None, Who::Portable)).await;
    let native = MemorySvc::start_on(layout(None, Who::Native)).await;
    let mut random = StdRng::seed_from_u64(13);
    for round in 0..=rounds {
        let documents = documents(&mut random, round, DOCUMENTS);
        for who in Who::in_turn(round) {
            let started = Instant::now();
            let service = if who == Who::Portable { &portable } else { &native };
            take_in(service, &documents).await;
            if round > 0 {
                samples.record("take in", who, ms(started) / DOCUMENTS as f64);
            }
        }
    }
    eprintln!("taken in");
}

/// Both, all services.
struct Stage {
    portable: Stack,
    native: Stack,
}

impl Stage {
    fn set(images: &Path) -> Self {
        let up = |who| {
            let layout = Layout::new(&format!("[global]\nthreads = {THREADS}\n"));
            Stack::up_on(located(layout, who, images))
        };
        Self {
            portable: up(Who::Portable),
            native: up(Who::Native),
        }
    }

    async fn channel(&self, who: Who, service: &str) -> Channel {
        let stack = match who {
            Who::Portable => &self.portable,
            Who::Native => &self.native,
        };
        let address = format!("http://127.0.0.1:{}", stack.layout.port(service));
        let endpoint = Endpoint::from_shared(address).expect("a URL");
        endpoint.connect().await.expect("it serves")
    }
}

fn located(layout: Layout, who: Who, images: &Path) -> Layout {
    match who {
        Who::Portable => layout.with_binaries(images),
        Who::Native => layout,
    }
}

/// Five sentences of a novel.
async fn hear(stage: &Stage, round: u32, samples: &mut Samples) {
    let clips = corpus::librivox();
    let mut took = [0.0; 2];
    for (index, clip) in (0..).zip(&clips) {
        for who in Who::in_turn(round + index) {
            let stt = stage.channel(who, "stt-svc").await;
            let (_, seconds) = transcribe(stt, &clip.samples).await.expect("stt-svc transcribes");
            took[who as usize] += seconds * 1e3;
        }
    }
    for who in Who::in_turn(round) {
        samples.record("transcribe", who, took[who as usize] / clips.len() as f64);
    }
}

/// Five texts.
async fn say(stage: &Stage, round: u32, samples: &mut Samples) {
    let mut took = [0.0; 2];
    for (index, text) in (0..).zip(TEXTS) {
        for who in Who::in_turn(round + index) {
            let tts = stage.channel(who, "tts-svc").await;
            took[who as usize] += speak(tts, text).await.expect("tts-svc speaks").total * 1e3;
        }
    }
    for who in Who::in_turn(round) {
        samples.record("speak", who, took[who as usize] / TEXTS.len() as f64);
    }
}

/// About 400 tokens in, 64 out; the engine is loaded and warm before it is timed.
async fn answer(stage: &Stage, round: u32, engine: &str, samples: &mut Samples) {
    for who in Who::in_turn(round) {
        let mut llm = Ours::new(stage.channel(who, "llm-svc").await);
        for (number, tokens, counted) in [(70_000, 4, false), (80_000, 360, true)] {
            let chat = prompts::cold(number + round as usize, tokens);
            let mut asked = request(&chat, if counted { 64 } else { 2 });
            engine.clone_into(&mut asked.engine);
            let answer = llm.ask(asked).await.expect("llm-svc answers");
            if counted {
                let computed = f64::from(answer.prompt_tokens - answer.cached_tokens);
                samples.record(
                    format!("{engine} prefill"),
                    who,
                    f64::from(answer.prefill_ms) / computed,
                );
                samples.record(format!("{engine} decode"), who, 1e3 / answer.decode_rate());
            }
        }
    }
}

async fn searches(client: &mut Client, queries: &[Vec<f32>]) -> Vec<f64> {
    let mut took = Vec::new();
    for query in queries {
        let started = Instant::now();
        let found = client.search(search::request(query)).await;
        took.push(ms(started));
        assert!(!found.hits.is_empty(), "something is near");
    }
    took
}

fn ms(started: Instant) -> f64 {
    started.elapsed().as_secs_f64() * 1e3
}
