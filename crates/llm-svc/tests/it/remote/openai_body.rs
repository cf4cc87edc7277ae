//! The engine `openai`: what its server is told.

use llm_svc::backend::openai::{chat, completion};
use llm_svc::backend::settings::{GrammarStyle, OpenAiConfig};
use llm_svc::chat::{Message, Role, Tool, ToolCall, ToolChoice};
use llm_svc::llm::{Format, Generation, Input};
use llm_svc::sampling::Sampling;
use serde_json::{Value, json};
use solo_service::ErrorCode;

use crate::remote::{dialogue, openai_config, question, weather};

fn body(request: &Generation, config: &OpenAiConfig) -> Value {
    let Input::Chat(messages) = &request.input else {
        panic!("messages are wanted")
    };
    chat(request, messages, "small", config).unwrap()
}

#[test]
fn sampling_and_formats_are_passed_on() {
    let config = openai_config("http://x");
    let request = Generation {
        sampling: Sampling {
            temperature: 0.7,
            top_k: 20,
            top_p: 0.8,
            min_p: 0.05,
            repetition_penalty: 1.1,
            seed: Some(u64::MAX),
            logit_bias: vec![(7, -100.0)],
            ..Sampling::default()
        },
        stop: vec!["\n".into()],
        count: 3,
        logprobs: Some(0),
        format: Some(Format::JsonSchema(json!({"type": "object"}))),
        ..question("?")
    };
    let told = body(&request, &config);
    assert_eq!(
        (&told["temperature"], &told["top_p"], &told["min_p"]),
        (&json!(0.7), &json!(0.8), &json!(0.05))
    );
    assert_eq!((&told["top_k"], &told["repeat_penalty"]), (&json!(20), &json!(1.1)));
    assert!(told["seed"].as_u64().unwrap() <= i32::MAX as u64, "{}", told["seed"]);
    assert_eq!(
        (&told["logit_bias"], &told["stop"], &told["n"]),
        (&json!({"7": -100.0}), &json!(["\n"]), &json!(3))
    );
    assert_eq!((&told["logprobs"], &told["top_logprobs"]), (&json!(true), &json!(1)));
    assert_eq!(
        told["response_format"]["json_schema"]["schema"],
        json!({"type": "object"})
    );
}

#[test]
fn what_a_server_has_no_way_to_do_is_refused() {
    let mut config = openai_config("http://x");
    let with = |format| Generation {
        format: Some(format),
        ..question("?")
    };
    let regex = with(Format::Regex("a+".into()));
    let (lark, gbnf) = (
        with(Format::Lark("start: \"a\"".into())),
        with(Format::Gbnf("root ::= \"a\"".into())),
    );
    let refused = |request: &Generation, config: &OpenAiConfig, says: &str| {
        let error = chat(request, &[], "small", config).unwrap_err();
        assert_eq!(
            (error.code(), error.reason()),
            (ErrorCode::FailedPrecondition, "UNSUPPORTED_BY_ENGINE")
        );
        assert!(error.to_string().contains(says), "{error}");
    };
    refused(&regex, &config, "llm.openai.grammar_style");
    config.grammar_style = GrammarStyle::LlamaServer;
    refused(&regex, &config, "no regex");
    refused(&lark, &config, "no lark");
    assert_eq!(body(&gbnf, &config)["grammar"], json!("root ::= \"a\""));
    config.grammar_style = GrammarStyle::Vllm;
    assert_eq!(body(&regex, &config)["structured_outputs"], json!({"regex": "a+"}));
    assert_eq!(
        body(&lark, &config)["structured_outputs"],
        json!({"grammar": "start: \"a\""})
    );
    config.grammar_style = GrammarStyle::VllmGuided;
    assert_eq!(body(&regex, &config)["guided_regex"], json!("a+"));

    config.extended_sampling = false;
    let sampling = Sampling {
        top_k: 5,
        ..Sampling::default()
    };
    refused(
        &Generation {
            sampling,
            ..question("?")
        },
        &config,
        "top_k",
    );
    assert!(body(&question("?"), &config).get("top_k").is_none());

    let tools = Generation {
        tools: vec![weather()],
        tool_choice: ToolChoice::Auto,
        ..question("?")
    };
    assert!(
        completion(&tools, "p", "small", &config)
            .unwrap_err()
            .to_string()
            .contains("without tools")
    );
    config.grammar_style = GrammarStyle::None;
    let schema = with(Format::JsonSchema(json!({})));
    assert!(
        completion(&schema, "p", "small", &config)
            .unwrap_err()
            .to_string()
            .contains("grammar_style")
    );
}

#[test]
fn tools_are_passed_on() {
    let call = ToolCall {
        id: "c1".into(),
        name: "weather".into(),
        arguments: json!({"city": "Oslo"}),
    };
    let messages = vec![
        Message::new(Role::User, "Weather?"),
        Message {
            tool_calls: vec![call],
            ..Message::new(Role::Assistant, "")
        },
        Message {
            tool_call_id: "c1".into(),
            ..Message::new(Role::Tool, "rain")
        },
    ];
    let choose = |tool_choice| Generation {
        tools: vec![weather()],
        tool_choice,
        ..dialogue(messages.clone())
    };
    let config = openai_config("http://x");
    let told = body(&choose(ToolChoice::Auto), &config);
    assert_eq!(told["tools"][0]["function"]["name"], json!("weather"));
    assert_eq!(
        (&told["tool_choice"], &told["parallel_tool_calls"]),
        (&json!("auto"), &json!(false))
    );
    assert_eq!(
        told["messages"][1]["tool_calls"][0]["function"]["arguments"],
        json!("{\"city\":\"Oslo\"}")
    );
    assert_eq!(
        told["messages"][2],
        json!({"role": "tool", "content": "rain", "tool_call_id": "c1"})
    );
    assert_eq!(
        body(&choose(ToolChoice::Required), &config)["tool_choice"],
        json!("required")
    );
    let other = Tool {
        name: "clock".into(),
        ..weather()
    };
    let named = |name: &str| Generation {
        tools: vec![other.clone(), weather()],
        tool_choice: ToolChoice::Named(name.into()),
        ..question("?")
    };
    let told = body(&named("weather"), &config);
    assert_eq!(told["tool_choice"], json!("required"));
    assert_eq!(
        (
            told["tools"].as_array().unwrap().len(),
            &told["tools"][0]["function"]["name"]
        ),
        (1, &json!("weather"))
    );
    assert!(chat(&named("door"), &[], "small", &config).is_err());
    let none = body(&choose(ToolChoice::None), &config);
    assert!(
        none.get("tools").is_none() && none.get("tool_choice").is_none(),
        "what it does not know it cannot call"
    );
}
