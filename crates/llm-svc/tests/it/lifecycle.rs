//! Models come and go: loading with progress, places, times to stay, and starts that cannot work.

use std::sync::Arc;
use std::time::Duration;

use llm_svc::{DEFINITION, build};
use solo_proto::events::v1::event_service_client::EventServiceClient;
use solo_proto::events::v1::subscribe_response::Payload as Told;
use solo_proto::events::v1::{Event, EventKind, SubscribeRequest, event};
use solo_proto::llm::v1::llm_service_client::LlmServiceClient;
use solo_proto::llm::v1::load_model_response::Payload;
use solo_proto::llm::v1::{
    GenerateRequest, GetModelRequest, ListModelsRequest, LoadModelRequest, Model, UnloadModelRequest,
};
use solo_service::error::Fault;
use solo_service::testing::Harness;
use solo_service::{ErrorCode, StartupError};
use solo_testkit::wait_for;
use tonic::transport::Channel;

use crate::grpc::{ask, generate, start, try_start};
use crate::scripted::Scripted;
use crate::tiny::Tiny;

const DEFAULT: &str = "qwen2.5-coder-0.5b";
const OTHER: &str = "smollm2-135m";

async fn models(client: &mut LlmServiceClient<Channel>) -> Vec<Model> {
    client
        .list_models(ListModelsRequest {})
        .await
        .unwrap()
        .into_inner()
        .models
}

async fn loaded(client: &mut LlmServiceClient<Channel>) -> Vec<String> {
    models(client)
        .await
        .into_iter()
        .filter(|model| model.loaded)
        .map(|model| model.id)
        .collect()
}

fn on(model: &str) -> GenerateRequest {
    GenerateRequest {
        model: model.into(),
        ..ask("hi")
    }
}

/// A duration on the wire.
fn seconds(seconds: i64) -> Option<prost_types::Duration> {
    Some(prost_types::Duration { seconds, nanos: 0 })
}

#[tokio::test]
async fn models_are_described() {
    let service = start("").await;
    let mut client = service.client().await;
    let models = models(&mut client).await;
    assert_eq!(models[0].id, DEFAULT, "the configured one first");
    let model = &models[0];
    assert!(model.installed && model.loaded && !model.supports_tools);
    assert_eq!(
        (model.architecture.as_str(), model.engine.as_str()),
        ("llama", "llama-cpp")
    );
    assert_eq!((model.context_length, model.trained_context_length), (4096, 1 << 20));
    assert_eq!(model.kv_bytes_per_1k_tokens, 128 * 2 * 1000);
    assert!(model.parameters > 10_000 && model.file_bytes > 10_000);
    let absent = models.iter().find(|model| model.id == "qwen2.5-coder-1.5b").unwrap();
    assert!(!absent.installed && !absent.loaded);
    let got = client
        .get_model(GetModelRequest { model: OTHER.into() })
        .await
        .unwrap()
        .into_inner();
    assert_eq!(got.model.unwrap().id, OTHER);
    let missing = client
        .get_model(GetModelRequest { model: "gpt-9".into() })
        .await
        .unwrap_err();
    assert_eq!(Fault::from(&missing).reason, "UNKNOWN_MODEL");
}

#[tokio::test]
async fn a_model_is_loaded_on_demand_and_the_oldest_makes_room() {
    let service = start("max_loaded_models = 2").await;
    let mut client = service.client().await;
    assert_eq!(generate(&mut client, on(OTHER)).await.unwrap().started.model, OTHER);
    assert_eq!(service.engines.alive(), 2);
    let on_candle = GenerateRequest {
        engine: "candle".into(),
        ..on(OTHER)
    };
    assert_eq!(generate(&mut client, on_candle).await.unwrap().started.engine, "candle");
    assert_eq!(service.engines.alive(), 2);
    assert_eq!(loaded(&mut client).await, [OTHER], "the default was used longest ago");
    generate(&mut client, on("")).await.unwrap();
    assert_eq!((service.engines.alive(), loaded(&mut client).await.len()), (2, 2));
}

#[tokio::test]
async fn loading_tells_how_far_it_has_come() {
    let service = start("").await;
    let mut client = service.client().await;
    let request = LoadModelRequest {
        model: OTHER.into(),
        keep_alive: seconds(-1),
    };
    let mut stream = client.load_model(request).await.unwrap().into_inner();
    let mut shares = Vec::new();
    let model = loop {
        match stream.message().await.unwrap().unwrap().payload.unwrap() {
            Payload::Progress(share) => shares.push(share),
            Payload::Loaded(model) => break model,
        }
    };
    assert!(stream.message().await.unwrap().is_none());
    assert!(model.loaded && model.id == OTHER);
    assert!(
        shares.is_sorted() && shares.iter().all(|share| (0.0..=1.0).contains(share)),
        "{shares:?}"
    );
    assert_eq!(service.engines.alive(), 2);

    let unknown = LoadModelRequest {
        model: "gpt-9".into(),
        keep_alive: None,
    };
    let mut stream = client.load_model(unknown).await.unwrap().into_inner();
    assert_eq!(
        Fault::from(&stream.message().await.unwrap_err()).reason,
        "UNKNOWN_MODEL"
    );
}

#[tokio::test]
async fn models_that_come_and_go_are_events() {
    let service = start("").await;
    let mut client = service.client().await;
    let wanted = SubscribeRequest {
        after: None,
        kinds: vec![EventKind::ModelState.into()],
    };
    let mut bus = EventServiceClient::new(service.harness.channel().await);
    let mut events = bus.subscribe(wanted).await.unwrap().into_inner();
    let started = events.message().await.unwrap().unwrap();
    assert!(matches!(started.payload, Some(Told::Started(_))), "{started:?}");
    generate(&mut client, on(OTHER)).await.unwrap();
    let gone = UnloadModelRequest { model: OTHER.into() };
    client.unload_model(gone).await.unwrap();
    let mut states: Vec<String> = Vec::new();
    while states.last().is_none_or(|state| state != "unloaded") {
        let told = events.message().await.unwrap().unwrap().payload;
        let Some(Told::Event(Event {
            payload: Some(event::Payload::ModelState(model)),
            ..
        })) = told
        else {
            panic!("only states of models were asked for: {told:?}");
        };
        assert_eq!(model.model, OTHER);
        states.push(model.state);
    }
    states.dedup();
    assert_eq!(states, ["loading", "ready", "unloaded"]);
}

#[tokio::test]
async fn unloading_gives_memory_back() {
    let service = start("").await;
    let mut client = service.client().await;
    let freed = client
        .unload_model(UnloadModelRequest { model: DEFAULT.into() })
        .await
        .unwrap()
        .into_inner();
    assert!(freed.freed_bytes > 10_000);
    assert_eq!(service.engines.alive(), 0);
    let again = client
        .unload_model(UnloadModelRequest { model: DEFAULT.into() })
        .await
        .unwrap_err();
    assert_eq!(Fault::from(&again).reason, "MODEL_NOT_LOADED");
    assert_eq!(
        generate(&mut client, on("")).await.unwrap().text(),
        "hi",
        "the next request loads it again"
    );
}

#[tokio::test]
async fn models_stay_as_long_as_they_were_told() {
    let service = start("").await;
    let mut client = service.client().await;
    generate(
        &mut client,
        GenerateRequest {
            keep_alive: seconds(0),
            ..on(OTHER)
        },
    )
    .await
    .unwrap();
    wait_for("the model to go", Duration::from_secs(10), async || {
        service.engines.alive() == 1
    })
    .await;

    let once = LoadModelRequest {
        model: OTHER.into(),
        keep_alive: seconds(0),
    };
    let mut stream = client.load_model(once).await.unwrap().into_inner();
    while stream.message().await.unwrap().is_some() {}
    assert_eq!(service.engines.alive(), 2, "until the next request has ended");
    generate(&mut client, on(OTHER)).await.unwrap();
    wait_for("the model to go", Duration::from_secs(10), async || {
        service.engines.alive() == 1
    })
    .await;

    let short = Some(prost_types::Duration {
        seconds: 0,
        nanos: 50_000_000,
    });
    generate(
        &mut client,
        GenerateRequest {
            keep_alive: short,
            ..on(OTHER)
        },
    )
    .await
    .unwrap();
    wait_for("the model's time to pass", Duration::from_secs(10), async || {
        service.engines.alive() == 1
    })
    .await;
    assert_eq!(loaded(&mut client).await, [DEFAULT]);
}

#[tokio::test]
async fn a_missing_or_damaged_model_keeps_the_service_from_starting() {
    let models = tempfile::tempdir().unwrap();
    let engines = Arc::new(Scripted::default());
    let missing = try_start(&models, &engines, "").await.err().unwrap();
    assert_eq!(missing.exit_code(), 66);
    assert!(
        missing
            .to_string()
            .contains("run `solo models pull qwen2.5-coder-0.5b`"),
        "{missing}"
    );

    Tiny::default().install(models.path(), DEFAULT);
    std::fs::write(
        models.path().join(DEFAULT).join("model.gguf"),
        b"GGUF\x03\0\0\0 nonsense",
    )
    .unwrap();
    let damaged = try_start(&models, &engines, "").await.err().unwrap();
    assert_eq!(damaged.exit_code(), 66);
    assert!(
        damaged.to_string().contains("is damaged") && damaged.to_string().contains("solo models verify"),
        "{damaged}"
    );

    let unknown = try_start(&models, &engines, "model = \"gpt-9\"").await.err().unwrap();
    assert!(unknown.to_string().contains("there is no model \"gpt-9\""), "{unknown}");
    let no_file = try_start(&models, &engines, "model = \"/no/such/file.gguf\"")
        .await
        .err()
        .unwrap();
    assert!(no_file.to_string().contains("/no/such/file.gguf"), "{no_file}");
    let no_device = try_start(&models, &engines, "device = \"cuda\"").await.err().unwrap();
    assert!(
        matches!(&no_device, StartupError::Config(text) if text.contains("CUDA")),
        "{no_device}"
    );
}

#[tokio::test]
async fn the_real_engines_serve_a_file_that_configuration_names() {
    for engine in ["llama-cpp", "candle"] {
        let folder = tempfile::tempdir().unwrap();
        Tiny::default().open(folder.path());
        let path = folder.path().join("mine.gguf");
        std::fs::rename(folder.path().join("tiny/model.gguf"), &path).unwrap();
        let section = format!("[llm]\nengine = \"{engine}\"\nmodel = {path:?}\nthreads = 2\n");
        let harness = Harness::start(DEFINITION, &section, build).await.unwrap();
        let mut client = LlmServiceClient::new(harness.channel().await);
        let request = GenerateRequest {
            max_tokens: 12,
            ..ask("hello")
        };
        let answer = generate(&mut client, request).await.unwrap();
        assert_eq!(
            (answer.started.model.as_str(), answer.started.engine.as_str()),
            ("mine", engine)
        );
        assert!(answer.finished.usage.unwrap().completion_tokens <= 12);
        let unknown = generate(&mut client, on("tiny")).await.unwrap_err();
        assert_eq!(Fault::from(&unknown).code, ErrorCode::NotFound);
        harness.stop().await.unwrap();
    }
}
