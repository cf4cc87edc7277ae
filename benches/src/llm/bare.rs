//! The bare loop: `crates/llm-svc/examples/bare_llama.rs` in a process of its own.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use super::THREADS;
use crate::process::{HUGE_PAGES, tied};

/// What to compute.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Job {
    /// What all prompts begin with; computed before the clock starts.
    pub shared: Vec<u32>,
    /// What each goes on with.
    pub prompts: Vec<Vec<u32>>,
    /// Tokens that each sequence makes at most.
    pub max_tokens: u32,
}

impl Job {
    /// Prompts as the model is given them; what they have in common is split off.
    pub fn of(prompts: Vec<Vec<u32>>, max_tokens: u32) -> Self {
        let shortest = prompts.iter().map(Vec::len).min().unwrap_or(0);
        // Each keeps a token to compute: it is what gives the first logits.
        let shared = (0..shortest.saturating_sub(1))
            .take_while(|&index| prompts.iter().all(|prompt| prompt[index] == prompts[0][index]))
            .count();
        Self {
            shared: prompts[0][..shared].to_vec(),
            prompts: prompts.iter().map(|prompt| prompt[shared..].to_vec()).collect(),
            max_tokens,
        }
    }

    /// One prompt, of which nothing is computed beforehand.
    pub fn cold(prompt: Vec<u32>, max_tokens: u32) -> Self {
        Self {
            shared: Vec::new(),
            prompts: vec![prompt],
            max_tokens,
        }
    }
}

/// What it took.
#[derive(Debug, Clone, serde::Deserialize)]
pub struct Outcome {
    /// From the first prompt's first token to the last sequence's last, in ms.
    pub wall_ms: f64,
    /// From the same moment to each sequence's first token, in ms.
    pub ttft_ms: Vec<f64>,
    /// From the moment when all sequences had their first token to the end, in ms.
    pub decode_ms: f64,
    /// Tokens that each sequence made.
    pub tokens: Vec<u32>,
}

impl Outcome {
    /// Tokens a second, prompts included.
    pub fn total_rate(&self) -> f64 {
        f64::from(self.tokens.iter().sum::<u32>()) / self.wall_ms * 1000.0
    }

    /// Tokens a second after the first of each.
    pub fn decode_rate(&self) -> f64 {
        f64::from(self.tokens.iter().map(|tokens| tokens.saturating_sub(1)).sum::<u32>()) / self.decode_ms * 1000.0
    }
}

/// The running loop. Dropping it ends it.
pub struct Bare {
    child: Child,
    jobs: Option<ChildStdin>,
    outcomes: BufReader<ChildStdout>,
}

impl Bare {
    /// Starts it; the model is loaded when the first job is done.
    ///
    /// # Panics
    /// When it is not built.
    pub fn start(model: &Path) -> Self {
        let mut command = Command::new(solo_tests::binary("examples/bare_llama"));
        command
            .arg(model)
            .arg(THREADS.to_string())
            .envs(HUGE_PAGES)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = tied(&mut command).spawn().expect("bare_llama runs");
        let jobs = child.stdin.take();
        let outcomes = BufReader::new(child.stdout.take().expect("it was piped"));
        Self { child, jobs, outcomes }
    }

    /// Does a job.
    ///
    /// # Panics
    /// When it cannot; it says why on standard error.
    pub fn run(&mut self, job: &Job) -> Outcome {
        let jobs = self.jobs.as_mut().expect("open until dropped");
        let mut line = serde_json::to_string(job).expect("numbers");
        line.push('\n');
        jobs.write_all(line.as_bytes()).expect("bare_llama reads");
        let mut line = String::new();
        self.outcomes.read_line(&mut line).expect("bare_llama writes");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("bare_llama said {line:?}: {error}"))
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        // The end of its input is the end of its work.
        self.jobs = None;
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_prompts_have_in_common_is_split_off() {
        let job = Job::of(vec![vec![1, 2, 3, 4], vec![1, 2, 5]], 8);
        assert_eq!(job.shared, [1, 2]);
        assert_eq!(job.prompts, [vec![3, 4], vec![5]]);
        let same = Job::of(vec![vec![1, 2], vec![1, 2]], 8);
        assert_eq!(
            (same.shared, same.prompts),
            (vec![1], vec![vec![2], vec![2]]),
            "each keeps a token"
        );
    }
}
