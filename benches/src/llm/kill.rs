//! `kill -9` of llm-svc while it loads, computes a prompt, and makes tokens; each time it is started anew and answers.
//!
//! Those who were being answered must be told, at once and by an error: a stream that just stays silent would leave the
//! dialogue hanging.

use std::time::{Duration, Instant};

use solo_proto::llm::v1::generate_response::Payload;
use solo_proto::llm::v1::llm_service_client::LlmServiceClient;
use solo_proto::status::v1::ServiceState;
use tokio::task::JoinSet;
use tonic::transport::Channel;

use super::chaos::answers;
use super::client::request;
use super::prompts;
use super::service::LlmSvc;

/// How long a client may take to notice that the service is gone.
const NOTICE: Duration = Duration::from_secs(5);
/// Clients that are being answered when the service is killed.
const OTHERS: usize = 4;

/// Kills a serving llm-svc three times; gives what must not happen, each in a sentence.
pub async fn kills(service: &mut LlmSvc) -> Vec<String> {
    let mut faults = Vec::new();
    for (phase, outcome) in [
        ("load", during_load(service).await),
        ("prefill", during_answer(service, 0).await),
        ("decode", during_answer(service, 5).await),
    ] {
        match outcome {
            Ok(seen) => eprintln!("killed during {phase}: {seen}"),
            Err(problem) => faults.push(format!("killed during {phase}: {problem}")),
        }
    }
    faults
}

async fn during_load(service: &mut LlmSvc) -> Result<String, String> {
    service.kill();
    service.relaunch();
    let start = Instant::now();
    loop {
        match service.status().await.map(|status| status.state()) {
            Ok(ServiceState::Starting) => break,
            Ok(state) => return Err(format!("it was {} already", state.as_str_name())),
            Err(_) if start.elapsed() < Duration::from_secs(60) => tokio::time::sleep(Duration::from_millis(2)).await,
            Err(status) => return Err(format!("it does not say that it is starting: {status}")),
        }
    }
    service.kill();
    again(service).await
}

/// Kills it when a request has begun and shown `pieces` pieces of text, while others are being answered.
async fn during_answer(service: &mut LlmSvc, pieces: usize) -> Result<String, String> {
    let mut others = JoinSet::new();
    for number in 0..OTHERS {
        let channel = service.channel().await.map_err(|error| error.to_string())?;
        others.spawn(until_error(channel, number));
    }
    let channel = service.channel().await.map_err(|error| error.to_string())?;
    // Long enough that its prefill cannot be over before it is looked for.
    let words = if pieces == 0 { 3000 } else { 20 };
    let asked = request(&prompts::cold(80_000 + pieces, words), 1000);
    let mut client = LlmServiceClient::new(channel);
    let mut stream = client
        .generate(asked)
        .await
        .map_err(|status| status.to_string())?
        .into_inner();
    let (mut begun, mut shown) = (false, 0);
    while !begun || shown < pieces {
        match stream.message().await {
            Ok(Some(message)) => match message.payload {
                Some(Payload::Started(_)) => begun = true,
                Some(Payload::Text(_)) => shown += 1,
                Some(Payload::Finished(_)) => return Err("it was done before it was killed".into()),
                _ => {}
            },
            Ok(None) => return Err("the stream ended by itself".into()),
            Err(status) => return Err(status.to_string()),
        }
    }
    if pieces == 0 {
        // Some of the prompt shall be computed.
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    service.kill();
    let told = async {
        loop {
            match stream.message().await {
                // What was on its way still arrives.
                Ok(Some(message)) if matches!(message.payload, Some(Payload::Finished(_))) => {
                    return Err("a killed service finished its answer".to_owned());
                }
                Ok(Some(_)) => {}
                Ok(None) => return Err("the stream of a killed service ended as if all were well".to_owned()),
                Err(status) => return Ok(status.code()),
            }
        }
    };
    let code = tokio::time::timeout(NOTICE, told)
        .await
        .map_err(|_| format!("its client was not told within {NOTICE:?}"))??;
    let all = async {
        while let Some(ended) = others.join_next().await {
            ended.map_err(|panic| panic.to_string())??;
        }
        Ok::<_, String>(())
    };
    tokio::time::timeout(NOTICE, all)
        .await
        .map_err(|_| format!("other clients were not told within {NOTICE:?}"))??;
    Ok(format!("its clients were told {code:?}; {}", again(service).await?))
}

/// Asks one thing after another until the service is gone; a refusal because it is busy is an answer.
async fn until_error(channel: Channel, number: usize) -> Result<(), String> {
    let mut client = LlmServiceClient::new(channel);
    for round in 0..10_000 {
        let asked = request(&prompts::shared(number * 16 + round), 200);
        let mut stream = match client.generate(asked).await {
            Ok(stream) => stream.into_inner(),
            Err(status) if status.code() == tonic::Code::ResourceExhausted => {
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
            Err(_) => return Ok(()),
        };
        loop {
            match stream.message().await {
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(_) => return Ok(()),
            }
        }
    }
    Err("the service was never gone".into())
}

/// Starts it on the same port and asks something.
async fn again(service: &mut LlmSvc) -> Result<String, String> {
    let start = Instant::now();
    service.relaunch();
    service.serving().await;
    let ready = start.elapsed();
    answers(service).await?;
    Ok(format!("it served again after {:.1} s", ready.as_secs_f64()))
}
