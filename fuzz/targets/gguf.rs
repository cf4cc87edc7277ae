//! A model file's header: counts, lengths and offsets are claims by a stranger.
#![no_main]

use libfuzzer_sys::fuzz_target;
use llm_svc::tokenizer::{BpeTokenizer, Specials};
use solo_models::fit::{Budget, Demand, KvType, Plan};
use solo_models::gguf::{Facts, Header};

/// The file may claim to be larger than what is read of it.
const REST: u64 = 1 << 30;

fuzz_target!(|data: &[u8]| {
    let Ok(header) = Header::read(data, data.len() as u64 + REST) else {
        return;
    };
    let _ = Specials::of(&header);
    let _ = BpeTokenizer::of(&header);
    let Ok(facts) = Facts::of(&header) else {
        return;
    };
    let demand = Demand {
        context: u64::from(facts.trained_context),
        kv: KvType::Q8_0,
        batch: 512,
    };
    let budget = Budget {
        ram: 8 << 30,
        gpus: vec![4 << 30, 6 << 30],
    };
    let _ = Plan::of(&header, &facts, &budget, &demand).to_string();
});
