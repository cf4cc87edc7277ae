//! Ready-time and resident memory: `solo up --detach` to its return, five times, with what each service says of itself
//! when nothing is asked of it. The first start is not counted: it reads the models from disk.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Instant;

use serde_json::Value;
use solo_benches::{Spread, profile, publish};
use solo_tests::{Layout, SERVICES};

const ROUNDS: usize = 5;

fn main() {
    let layout = Layout::new("");
    let run = |args: &[&str]| {
        let output = layout.solo(args);
        assert!(
            output.status.success(),
            "solo {args:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        output.stdout
    };
    let mut up = Vec::new();
    let mut ready: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    let mut resident: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for round in 0..=ROUNDS {
        let start = Instant::now();
        run(&["up", "--detach"]);
        let elapsed = start.elapsed();
        let services: Value = serde_json::from_slice(&run(&["ps", "--json"])).expect("JSON");
        run(&["down"]);
        eprintln!("round {round} of {ROUNDS}: ready in {:.1} s", elapsed.as_secs_f64());
        if round == 0 {
            continue;
        }
        up.push(elapsed.as_secs_f64() * 1000.0);
        for row in services.as_array().expect("a list") {
            let name = SERVICES
                .iter()
                .find(|name| row["service"] == **name)
                .expect("a service of ours");
            ready
                .entry(name)
                .or_default()
                .push(row["ready_ms"].as_f64().expect("a number"));
            resident
                .entry(name)
                .or_default()
                .push(row["rss_bytes"].as_f64().expect("a number") / (1024.0 * 1024.0));
        }
    }
    let mut table = String::new();
    writeln!(
        table,
        "Median (smallest–largest) of {ROUNDS} starts; `solo up --detach` returned after {} ms.\n",
        Spread::of(up)
    )
    .expect("a string");
    writeln!(
        table,
        "| service | ready, ms | resident when idle, MiB |\n|---|---:|---:|"
    )
    .expect("a string");
    for name in SERVICES {
        let row = (Spread::of(ready[name].clone()), Spread::of(resident[name].clone()));
        writeln!(table, "| {name} | {} | {} |", row.0, row.1).expect("a string");
    }
    let total: f64 = resident.values().map(|values| Spread::of(values.clone()).median).sum();
    writeln!(table, "| all | | {total:.0} |").expect("a string");
    print!("{table}");
    publish("startup", "cargo make bench-startup", &profile(), &table);
}
