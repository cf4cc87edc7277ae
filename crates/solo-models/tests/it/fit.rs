//! Plans for models of real shapes, and for any budget: never more than it, never worse for more.

use std::sync::LazyLock;

use proptest::prelude::*;
use solo_models::fit::{Budget, Demand, GPU_RESERVE, KvType, Needs, Outcome, Plan, largest_context};
use solo_models::gguf::{Facts, Header};

use crate::shapes::{HALF, SEVEN, SEVENTY, Shape, THIRTEEN};

const GB: u64 = 1_000_000_000;
const CHAT: Demand = Demand {
    context: 4096,
    kv: KvType::F16,
    batch: 512,
};

fn plan(shape: Shape, budget: &Budget, demand: &Demand) -> Plan {
    let (header, facts) = shape.model();
    Plan::of(&header, &facts, budget, demand)
}

fn budget(ram: u64, gpus: &[u64]) -> Budget {
    Budget {
        ram,
        gpus: gpus.to_vec(),
    }
}

#[test]
fn needs_are_those_of_the_published_models() {
    let (header, facts) = SEVEN.model();
    let needs = Needs::of(&header, &facts, &CHAT);
    // 6.74 billion weights, nearly all at 4.5 bits.
    assert!((3_780_000_000..3_800_000_000).contains(&needs.weights), "{needs:?}");
    // 32 blocks × 4,096 tokens × (4,096 + 4,096) numbers × 2 bytes: 2 GiB.
    assert_eq!(needs.kv, 2 << 30);
    let half = Demand {
        kv: KvType::Q8_0,
        ..CHAT
    };
    assert_eq!(Needs::of(&header, &facts, &half).kv, (2 << 30) * 34 / 64);
    // Eight heads of keys and values for 64 of queries.
    let (header, facts) = SEVENTY.model();
    assert_eq!(Needs::of(&header, &facts, &CHAT).kv, 80 * 4096 * 2048 * 2);
    // llama.cpp reports 298.5 MiB for this model and batch; most of it are the scores of 151,936 tokens.
    let (header, facts) = HALF.model();
    let compute = Needs::of(&header, &facts, &CHAT).compute;
    assert!((298 << 20..400 << 20).contains(&compute), "{compute}");
}

#[test]
fn a_small_model_fits_whole_in_ram() {
    let plan = plan(HALF, &budget(4 * GB, &[]), &CHAT);
    let Outcome::Whole(placement) = &plan.outcome else {
        panic!("{plan}")
    };
    assert_eq!((placement.ram, placement.gpu_layers()), (plan.needs.total(), 0));
    assert!(plan.to_string().starts_with("fits whole: "), "{plan}");
}

#[test]
fn thirteen_billion_go_partly_onto_eight_gigabytes() {
    let small = plan(THIRTEEN, &budget(32 * GB, &[8 * GB]), &CHAT);
    let Outcome::Partly(placement) = &small.outcome else {
        panic!("{small}")
    };
    assert_eq!(placement.layers, 41);
    assert!((24..36).contains(&placement.gpu_layers()), "{small}");
    assert!(placement.gpus[0].bytes <= 8 * GB && placement.ram > GB, "{placement:?}");
    let words = format!("fits with {} of 41 layers on the GPU: GPU 0 ", placement.gpu_layers());
    assert!(small.to_string().starts_with(&words), "{small}");

    let large = plan(THIRTEEN, &budget(32 * GB, &[24 * GB]), &CHAT);
    assert!(
        matches!(&large.outcome, Outcome::Whole(placement) if placement.gpu_layers() == 41),
        "{large}"
    );
    // Keys and values in half the room leave more of it for layers.
    let quantised = Demand {
        kv: KvType::Q8_0,
        ..CHAT
    };
    let tighter = plan(THIRTEEN, &budget(32 * GB, &[8 * GB]), &quantised);
    assert!(tighter.placement().unwrap().gpu_layers() > placement.gpu_layers());
}

#[test]
fn seventy_billion_are_split_across_gpus() {
    let split = plan(SEVENTY, &budget(64 * GB, &[24 * GB, 24 * GB]), &CHAT);
    let Outcome::Whole(placement) = &split.outcome else {
        panic!("{split}")
    };
    assert_eq!(placement.gpu_layers(), 81);
    assert_eq!(
        placement.tensor_split(),
        placement.gpus.iter().map(|s| s.layers as f32).collect::<Vec<_>>()
    );
    assert!(
        placement
            .gpus
            .iter()
            .all(|share| share.layers > 20 && share.bytes <= 24 * GB),
        "{split}"
    );
    assert!(
        split.to_string().starts_with("fits whole on the GPUs: GPU 0 "),
        "{split}"
    );
    // A GPU too small for anything is passed over.
    let uneven = plan(SEVENTY, &budget(64 * GB, &[GB / 2, 80 * GB]), &CHAT);
    let shares = &uneven.placement().unwrap().gpus;
    assert_eq!((shares[0].layers, shares[0].bytes, shares[1].layers), (0, 0, 81));
}

#[test]
fn what_does_not_fit_says_what_would() {
    let long = Demand {
        context: 131_072,
        ..CHAT
    };
    let plan_of = |ram| plan(SEVENTY, &budget(ram, &[]), &long);
    let Outcome::DoesNotFit(shortage) = plan_of(64 * GB).outcome else {
        panic!()
    };
    assert_eq!(shortage.has, 64 * GB);
    assert!(shortage.needs > 80 * GB, "{shortage:?}");
    let context = shortage.largest_context.unwrap();
    let at = |context| plan(SEVENTY, &budget(64 * GB, &[]), &Demand { context, ..long });
    assert!(at(context).placement().is_some() && at(context + 256).placement().is_none());
    let words = plan_of(64 * GB).to_string();
    assert!(
        words.contains(&format!("the largest context that would fit is {context} tokens")),
        "{words}"
    );
    assert!(words.contains("needs ") && words.contains("has 64.0 GB"), "{words}");
    let words = plan_of(16 * GB).to_string();
    assert!(
        words.ends_with("choose a smaller quantisation or a smaller model"),
        "{words}"
    );
    // A tiny GPU is no help, and no secret.
    let words = plan(HALF, &budget(4 * GB, &[GB / 4]), &CHAT).to_string();
    assert!(words.contains("cannot hold a single layer"), "{words}");
}

#[test]
fn a_tied_output_is_copied_onto_the_gpu() {
    let (header, facts) = HALF.model();
    let whole = Plan::of(&header, &facts, &budget(4 * GB, &[8 * GB]), &CHAT);
    let Outcome::Whole(placement) = &whole.outcome else {
        panic!("{whole}")
    };
    let embedding = header.tensor("token_embd.weight").unwrap().bytes;
    assert_eq!(placement.ram, embedding);
    let needs = &whole.needs;
    assert_eq!(placement.gpus[0].bytes, GPU_RESERVE + needs.total());
}

static MODELS: LazyLock<Vec<(Header, Facts)>> =
    LazyLock::new(|| [SEVEN, THIRTEEN, SEVENTY, HALF].iter().map(Shape::model).collect());

fn demands() -> impl Strategy<Value = Demand> {
    let kinds = prop::sample::select(vec![KvType::F32, KvType::F16, KvType::Q8_0]);
    (1_u64..200_000, kinds, 1_u64..2048).prop_map(|(context, kv, batch)| Demand { context, kv, batch })
}

fn budgets() -> impl Strategy<Value = Budget> {
    (0..100 * GB, prop::collection::vec(0..50 * GB, 0..4)).prop_map(|(ram, gpus)| Budget { ram, gpus })
}

proptest! {
    #[test]
    fn a_plan_stays_in_its_budget(model in 0_usize..4, budget in budgets(), demand in demands()) {
        let (header, facts) = &MODELS[model];
        let plan = Plan::of(header, facts, &budget, &demand);
        prop_assert!(!plan.to_string().is_empty());
        match &plan.outcome {
            Outcome::Whole(placement) | Outcome::Partly(placement) => {
                prop_assert!(placement.ram <= budget.ram);
                prop_assert_eq!(placement.gpus.len(), budget.gpus.len());
                for (share, room) in placement.gpus.iter().zip(&budget.gpus) {
                    prop_assert!(share.bytes <= *room);
                    prop_assert_eq!(share.layers == 0, share.bytes == 0);
                }
                prop_assert!(placement.gpu_layers() <= placement.layers);
                // Nothing is lost on the way.
                let held = placement.gpus.iter().fold(placement.ram, |sum, share| sum + share.bytes);
                prop_assert!(held >= plan.needs.weights + plan.needs.kv);
            }
            Outcome::DoesNotFit(shortage) => {
                prop_assert!(shortage.needs > shortage.has);
                if let Some(context) = shortage.largest_context {
                    prop_assert!(context < demand.context);
                    let shorter = Plan::of(header, facts, &budget, &Demand { context, ..demand });
                    prop_assert!(shorter.placement().is_some());
                }
            }
        }
    }

    #[test]
    fn more_budget_is_never_worse(
        model in 0_usize..4, budget in budgets(), demand in demands(), ram in 0..20 * GB, vram in 0..20 * GB, at in 0_usize..4
    ) {
        let (header, facts) = &MODELS[model];
        let mut more = budget.clone();
        more.ram += ram;
        if at < more.gpus.len() {
            more.gpus[at] += vram;
        } else if at == 3 {
            more.gpus.push(vram);
        }
        let (before, after) = (Plan::of(header, facts, &budget, &demand), Plan::of(header, facts, &more, &demand));
        if let Some(placement) = before.placement() {
            let better = after.placement();
            prop_assert!(better.is_some_and(|better| better.gpu_layers() >= placement.gpu_layers()));
        }
        let context = |budget| largest_context(header, facts, budget, &demand);
        prop_assert!(context(&more) >= context(&budget));
    }

    #[test]
    fn more_context_never_needs_less(model in 0_usize..4, demand in demands(), more in 1_u64..10_000) {
        let (header, facts) = &MODELS[model];
        let needs = |context| Needs::of(header, facts, &Demand { context, ..demand }).total();
        prop_assert!(needs(demand.context + more) > needs(demand.context));
    }
}
