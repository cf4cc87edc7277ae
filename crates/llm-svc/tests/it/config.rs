//! The configuration section.

use llm_svc::{Config, DEFINITION, EngineSetting};
use solo_service::config::{Inputs, load};

fn section(text: &str) -> Result<Config, String> {
    let inputs = Inputs {
        inline: Some(text.to_owned()),
        ..Inputs::default()
    };
    load::<Config>("llm", DEFINITION.defaults, &inputs)
        .map(|(_, config)| config)
        .map_err(|faults| faults.to_string())
}

#[test]
fn the_defaults_are_whole() {
    let config = section("").unwrap();
    assert_eq!(config.listen.to_string(), "127.0.0.1:50053");
    assert_eq!(config.engine, EngineSetting::Auto);
    assert_eq!(config.model, "qwen2.5-coder-0.5b");
    assert!(config.model_file().is_none());
}

#[test]
fn all_faults_are_told_at_once() {
    let faults =
        section("[llm]\ndevice = \"tpu\"\nbatch = 0\nmodel = \"\"\n[llm.sampling]\ntop_p = 1.5\n").unwrap_err();
    for key in ["llm.device", "llm.batch", "llm.model", "llm.sampling.top_p"] {
        assert!(faults.contains(key), "{faults}");
    }
    assert!(section("[llm]\nengnie = \"candle\"\n").unwrap_err().contains("engnie"));
    assert!(section("[llm]\nengine = \"vllm\"\n").is_err());
    assert!(
        section("[llm]\nmodel = \"/some/where/model.bin\"\n")
            .unwrap_err()
            .contains("llm.model")
    );
}

#[test]
fn a_model_may_be_a_file() {
    let config = section("[llm]\nmodel = \"/models/Some-7B.gguf\"\ndevice = \"cuda:1\"\n").unwrap();
    assert_eq!(config.model_file().unwrap().to_str(), Some("/models/Some-7B.gguf"));
}

#[test]
fn other_servers_are_configured() {
    let config = section("[llm]\nengine = \"openai\"\nmodel = \"Qwen/Qwen2.5-7B\"\n").unwrap();
    assert!(
        !config.openai.enabled && !config.ollama.enabled,
        "none is asked unless it is wanted"
    );
    assert_eq!(config.openai.base_url, "http://127.0.0.1:8080/v1");
    let faults = section(
        "[llm]\nengine = \"openai\"\n[llm.openai]\nbase_url = \"localhost:8080\"\napi_key_env = \"sk-secret!\"\n\
         models = [\"a\"]\nextended_sampling = false\n[llm.openai.limits]\nretries = 99\n\
         [llm.ollama]\nbase_url = \"http://me:secret@host\"\n[llm.ollama.limits]\nidle_timeout_s = 0.0\n",
    )
    .unwrap_err();
    for key in [
        "llm.openai.base_url",
        "llm.openai.api_key_env",
        "llm.openai.models",
        "llm.openai.limits.retries",
        "llm.sampling.top_k",
        "llm.ollama.base_url",
        "llm.ollama.limits.idle_timeout_s",
    ] {
        assert!(faults.contains(key), "{key}: {faults}");
    }
    assert!(!faults.contains("secret"), "{faults}");
    assert!(
        section("[llm.openai]\ngrammar_style = \"ebnf\"\n")
            .unwrap_err()
            .contains("grammar_style")
    );
}
