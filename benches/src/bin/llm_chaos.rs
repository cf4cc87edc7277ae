//! Many clients that vanish at random, or `kill -9`, against an llm-svc of its own on loopback. Ends by itself.
//!
//! It fails when anything was left of the clients, when health was ever anything but SERVING, or when a client saw what it
//! must not see; it prints what was seen in either case.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use solo_benches::llm::service::LlmSvc;
use solo_benches::llm::{chaos, kill};

/// Lets a crowd of misbehaving clients loose on an llm-svc of its own.
#[derive(Debug, Parser)]
struct Options {
    /// Clients at once.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=512))]
    clients: u16,
    /// For so many seconds.
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// The same seed asks for the same things.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Kills the service while it loads, computes a prompt, and makes tokens, instead.
    #[arg(long)]
    kill: bool,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let options = Options::parse();
    let mut service = LlmSvc::start("").await;
    let faults = if options.kill {
        kill::kills(&mut service).await
    } else {
        crowd(&mut service, &options).await
    };
    if faults.is_empty() {
        println!("no fault");
        return ExitCode::SUCCESS;
    }
    for fault in &faults {
        println!("FAULT {fault}");
    }
    println!("the end of llm-svc's log:");
    let log = service.log();
    let lines: Vec<&str> = log.lines().collect();
    for line in &lines[lines.len().saturating_sub(20)..] {
        println!("  {line}");
    }
    ExitCode::FAILURE
}

async fn crowd(service: &mut LlmSvc, options: &Options) -> Vec<String> {
    let before = resident(service).await;
    let start = Instant::now();
    let tally = chaos::run(
        service,
        chaos::Options {
            clients: options.clients.into(),
            time: Duration::from_secs(options.seconds),
            seed: options.seed,
        },
    )
    .await;
    println!(
        "{} clients, {:.0} s, seed {}; resident {before:.0} MiB before, {:.0} MiB after",
        options.clients,
        start.elapsed().as_secs_f64(),
        options.seed,
        resident(service).await
    );
    for (what, count) in &tally.seen {
        println!("{count:8} {what}");
    }
    for (gauge, peak) in &tally.peaks {
        println!("{gauge}: at most {peak:.0}");
    }
    tally.faults
}

async fn resident(service: &LlmSvc) -> f64 {
    let bytes = service.status().await.map_or(0, |status| status.rss_bytes);
    bytes as f64 / (1024.0 * 1024.0)
}
