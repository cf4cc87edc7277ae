//! `solo memory reembed`: another embedding model for what is stored.

use solo_proto::memory::v1::reembed_response::Payload;
use solo_proto::memory::v1::{ReembedDone, ReembedRequest};
use toml::Value;

use crate::commands::config;
use crate::commands::memory_service::MemoryService;
use crate::failure::Failure;
use crate::settings::Settings;
use crate::terminal;

const BAR: &str = "{bar:24} {pos:>6}/{len:6} pieces {eta:>5} {wide_msg:.dim}";

/// What `solo memory reembed` takes.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// An installed model of kind embedding: `solo models list`
    #[arg(value_name = "MODEL")]
    model: String,
    /// Engine that runs it: onnx or candle [default: the configured one]
    #[arg(long, value_name = "ENGINE")]
    engine: Option<String>,
    /// For onnx: the installed model that is MODEL as a graph [default: the configured one]
    #[arg(long, value_name = "MODEL")]
    weights: Option<String>,
}

/// Makes all vectors anew, and names the model in the configuration.
pub(super) async fn run(
    settings: &Settings,
    service: &mut MemoryService,
    arguments: &Arguments,
) -> Result<(), Failure> {
    let request = ReembedRequest {
        model: arguments.model.clone(),
        engine: arguments.engine.clone().unwrap_or_default(),
        weights: arguments.weights.clone().unwrap_or_default(),
    };
    let answers = service.client.reembed(request).await;
    let mut answers = answers.map_err(service.failed())?.into_inner();
    let bar = terminal::bar(BAR)
        .with_message("Ctrl-C: it goes on; ask again afterwards, which names the model in the configuration");
    let mut done = None;
    while let Some(answer) = answers.message().await.map_err(service.failed())? {
        match answer.payload {
            Some(Payload::Progress(step)) => {
                bar.set_length(step.chunks_total);
                bar.set_position(step.chunks_done);
            }
            Some(Payload::Done(last)) => done = Some(last),
            None => {}
        }
    }
    bar.finish_and_clear();
    let done: ReembedDone = done.ok_or_else(|| {
        Failure::failed("nobody said that all vectors are new").help("`solo logs memory-svc` may say why")
    })?;
    // Or the next start would refuse the store.
    let keys = [
        ("memory.embedding.model", Some(&arguments.model)),
        ("memory.embedding.engine", arguments.engine.as_ref()),
        ("memory.embedding.weights", arguments.weights.as_ref()),
    ];
    for (key, value) in keys {
        if let Some(value) = value {
            config::write(&settings.inputs, key, &Value::String(value.clone())).await?;
        }
    }
    if settings.json {
        return terminal::json(&serde_json::json!({
            "model": done.model,
            "dimension": done.dimension,
            "embedded": done.embedded,
        }));
    }
    let what = match done.embedded {
        0 => "all vectors are of".to_owned(),
        embedded => format!("{embedded} pieces and facts have new vectors, of"),
    };
    terminal::line(format_args!(
        "{what} {}; memory.embedding in the configuration says so",
        done.model
    ))
}
