//! 1, 2, 4 and 8 clients at once: different questions under one system prompt, which every contender has in its cache.

use std::time::Instant;

use futures::future::join_all;

use super::{Samples, Stage};
use crate::llm::bare::Job;
use crate::llm::client::{Chat, Ours, request};
use crate::llm::{Timed, Who, prompts};
use crate::{Spread, percentile};

const CLIENTS: [usize; 4] = [1, 2, 4, 8];
const MAX_TOKENS: u32 = 96;

/// Each number of clients, each contender in turn. Rates count the prompts' time, so they are what the clients see.
pub async fn concurrent(stage: &mut Stage, samples: &mut Samples, round: usize) {
    // Not timed: it brings the system prompt into the caches. The bare loop gets it as its job's shared part.
    let warm = prompts::shared(191);
    stage.ours.ask(request(&warm, 1)).await.expect("llm-svc answers");
    join_all(stage.peers.iter().map(|peer| peer.ask(&warm, 1))).await;

    let clients: usize = CLIENTS.iter().sum();
    for (index, count) in CLIENTS.into_iter().enumerate() {
        let first = round * clients + CLIENTS[..index].iter().sum::<usize>();
        let chats: Vec<Chat> = (first..first + count).map(prompts::shared).collect();
        for who in Who::in_turn(round + index) {
            match who {
                Who::Bare => bare(stage, samples, &chats).await,
                Who::Ours => {
                    let mut clients = Vec::new();
                    for _ in &chats {
                        clients.push(Ours::new(stage.service.channel().await.expect("llm-svc serves")));
                    }
                    let start = Instant::now();
                    let asked = clients.iter_mut().zip(&chats);
                    let answers = join_all(asked.map(|(client, chat)| client.ask(request(chat, MAX_TOKENS)))).await;
                    let wall = start.elapsed().as_secs_f64();
                    let answers = answers.into_iter().collect::<Result<Vec<_>, _>>();
                    record(samples, who, wall, &answers.expect("llm-svc answers"));
                }
                Who::Peer if stage.peers.is_empty() => {}
                Who::Peer => {
                    let start = Instant::now();
                    let asked = stage.peers.iter().zip(&chats);
                    let answers = join_all(asked.map(|(client, chat)| client.ask(chat, MAX_TOKENS))).await;
                    let wall = start.elapsed().as_secs_f64();
                    let answers = answers.into_iter().collect::<Result<Vec<_>, _>>();
                    record(samples, who, wall, &answers.expect("llama-server answers"));
                }
            }
        }
    }
}

fn record(samples: &mut Samples, who: Who, wall: f64, answers: &[Timed]) {
    let count = answers.len();
    let tokens: u32 = answers.iter().map(|answer| answer.tokens).sum();
    samples.record(format!("{count} total"), who, f64::from(tokens) / wall);
    latencies(samples, who, answers.iter().map(Timed::ttft_ms).collect());
    let short = answers.iter().filter(|answer| answer.tokens < MAX_TOKENS).count();
    if short > 0 {
        eprintln!("{who:?}: {short} of {count} answers ended before {MAX_TOKENS} tokens");
    }
}

fn latencies(samples: &mut Samples, who: Who, ttft_ms: Vec<f64>) {
    let count = ttft_ms.len();
    let slow = percentile(ttft_ms.iter().copied(), 0.95);
    samples.record(format!("{count} p50"), who, Spread::of(ttft_ms).median);
    samples.record(format!("{count} p95"), who, slow);
}

async fn bare(stage: &mut Stage, samples: &mut Samples, chats: &[Chat]) {
    let count = chats.len();
    let mut prompts = Vec::with_capacity(count);
    for chat in chats {
        prompts.push(stage.ours.tokens(chat).await.expect("llm-svc renders"));
    }
    let mut job = Job::of(prompts.clone(), MAX_TOKENS);
    if count == 1 {
        // Alone it has nothing in common with itself: what it shares with the question that warmed the caches is taken.
        let warm = stage.ours.tokens(&prompts::shared(191)).await.expect("llm-svc renders");
        let mut pair = Job::of(vec![prompts.remove(0), warm], MAX_TOKENS);
        pair.prompts.truncate(1);
        job = pair;
    }
    let outcome = stage.bare.run(&job);
    samples.record(format!("{count} total"), Who::Bare, outcome.total_rate());
    samples.record(format!("{count} decode"), Who::Bare, outcome.decode_rate());
    latencies(samples, Who::Bare, outcome.ttft_ms);
}
