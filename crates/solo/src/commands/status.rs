//! `solo status`: all services as the gateway sees them, wherever they run.

use serde::Serialize;
use solo_proto::gateway::v1::gateway_service_client::GatewayServiceClient;
use solo_proto::gateway::v1::{GetStatusRequest, GetStatusResponse, ServiceAtAddress};
use solo_proto::status::v1::ServiceState;

use crate::connection;
use crate::failure::{Exit, Failure};
use crate::services::GATEWAY;
use crate::session;
use crate::settings::Settings;
use crate::terminal::{self, BAD, FAINT, GOOD, STRONG, WARN, human_bytes, paint};

/// `solo status --json`.
#[derive(Debug, Serialize)]
struct Overview<'a> {
    ready: bool,
    services: Vec<Shown<'a>>,
}

#[derive(Debug, Serialize)]
struct Shown<'a> {
    service: &'a str,
    address: &'a str,
    state: &'static str,
    version: Option<&'a str>,
    pid: Option<u32>,
    engine: Option<&'a str>,
    engine_reason: Option<&'a str>,
    model: Option<&'a str>,
    device: Option<&'a str>,
    ready_ms: Option<u64>,
    rss_bytes: Option<u64>,
    queue: Option<Queue>,
    gauges: Vec<Gauge<'a>>,
    gpus: Vec<Gpu<'a>>,
    error: Option<&'a str>,
}

#[derive(Debug, Serialize)]
struct Queue {
    depth: u32,
    capacity: u32,
    oldest_ms: u64,
}

#[derive(Debug, Serialize)]
struct Gauge<'a> {
    name: &'a str,
    unit: &'a str,
    value: f64,
}

#[derive(Debug, Serialize)]
struct Gpu<'a> {
    index: u32,
    name: &'a str,
    memory_used_bytes: u64,
    memory_total_bytes: u64,
    utilization_percent: u32,
    temperature_celsius: u32,
}

/// Prints the overview; the exit code says whether Solo is ready.
pub async fn run(settings: &Settings) -> Result<Exit, Failure> {
    let gateway = session::gateway()?;
    let channel = connection::to(settings, gateway).await?;
    let response = GatewayServiceClient::new(channel).get_status(GetStatusRequest {}).await;
    let response = response
        .map_err(|status| Failure::from_status(GATEWAY, &status))?
        .into_inner();
    let overview = Overview::from(&response);
    if settings.json {
        terminal::json(&overview)?;
    } else {
        terminal::line(table(&overview))?;
    }
    Ok(if overview.ready { Exit::Ok } else { Exit::Unavailable })
}

impl<'a> From<&'a GetStatusResponse> for Overview<'a> {
    fn from(response: &'a GetStatusResponse) -> Self {
        Self {
            ready: response.ready,
            services: response.services.iter().map(Shown::from).collect(),
        }
    }
}

impl<'a> From<&'a ServiceAtAddress> for Shown<'a> {
    fn from(at: &'a ServiceAtAddress) -> Self {
        let said = |text: &'a str| Some(text).filter(|text| !text.is_empty());
        let status = at.status.as_ref();
        Self {
            service: &at.service,
            address: &at.address,
            state: status.map_or("unreachable", |status| state(status.state())),
            version: status.and_then(|s| said(&s.version)),
            pid: status.map(|s| s.pid).filter(|pid| *pid > 0),
            engine: status.and_then(|s| said(&s.engine)),
            engine_reason: status.and_then(|s| said(&s.engine_reason)),
            model: status.and_then(|s| said(&s.model)),
            device: status.and_then(|s| said(&s.device)),
            ready_ms: status.map(|s| s.ready_ms).filter(|ms| *ms > 0),
            rss_bytes: status.map(|s| s.rss_bytes).filter(|bytes| *bytes > 0),
            queue: status.and_then(|s| s.queue.as_ref()).map(|queue| Queue {
                depth: queue.depth,
                capacity: queue.capacity,
                oldest_ms: queue.oldest_ms,
            }),
            gauges: status
                .iter()
                .flat_map(|s| &s.gauges)
                .map(|gauge| Gauge {
                    name: &gauge.name,
                    unit: &gauge.unit,
                    value: gauge.value,
                })
                .collect(),
            gpus: status
                .iter()
                .flat_map(|s| &s.gpus)
                .map(|gpu| Gpu {
                    index: gpu.index,
                    name: &gpu.name,
                    memory_used_bytes: gpu.memory_used_bytes,
                    memory_total_bytes: gpu.memory_total_bytes,
                    utilization_percent: gpu.utilization_percent,
                    temperature_celsius: gpu.temperature_celsius,
                })
                .collect(),
            error: said(&at.error),
        }
    }
}

fn state(state: ServiceState) -> &'static str {
    match state {
        ServiceState::Starting => "starting",
        ServiceState::Serving => "serving",
        ServiceState::NotServing => "not_serving",
        ServiceState::Draining => "draining",
        ServiceState::Unspecified => "unknown",
    }
}

fn table(overview: &Overview<'_>) -> String {
    let head = [
        "SERVICE", "STATE", "ENGINE", "MODEL", "DEVICE", "MEMORY", "QUEUE", "ADDRESS",
    ];
    let mut rows = vec![head.iter().map(|text| ((*text).to_owned(), STRONG)).collect::<Vec<_>>()];
    let mut notes = String::new();
    for shown in &overview.services {
        let plain = anstyle::Style::new();
        let style = match shown.state {
            "serving" => GOOD,
            "unreachable" => BAD,
            _ => WARN,
        };
        let text = |text: Option<&str>| text.unwrap_or("-").to_owned();
        rows.push(vec![
            (shown.service.to_owned(), plain),
            (shown.state.to_owned(), style),
            (text(shown.engine), plain),
            (text(shown.model), plain),
            (text(shown.device), plain),
            (shown.rss_bytes.map_or_else(|| "-".into(), human_bytes), plain),
            (
                shown
                    .queue
                    .as_ref()
                    .map_or_else(|| "-".into(), |q| format!("{}/{}", q.depth, q.capacity)),
                plain,
            ),
            (shown.address.to_owned(), FAINT),
        ]);
        for why in [shown.error, shown.engine_reason].into_iter().flatten() {
            notes.push_str(&format!("\n{}", paint(FAINT, format_args!("{}: {why}", shown.service))));
        }
        for gauge in &shown.gauges {
            let unit = if gauge.unit == "1" { "" } else { gauge.unit };
            let line = format!("{}: {} {:.2} {unit}", shown.service, gauge.name, gauge.value);
            notes.push_str(&format!("\n{}", paint(FAINT, line.trim_end())));
        }
    }
    let ready = if overview.ready {
        paint(GOOD, "ready")
    } else {
        paint(BAD, "not ready")
    };
    format!("{}{notes}\nSolo is {ready}", terminal::columns(&rows))
}

#[cfg(test)]
mod tests {
    use solo_proto::status::v1::ServiceStatus;

    use super::*;

    #[test]
    fn a_service_that_does_not_answer_is_shown_with_the_reason() {
        let response = GetStatusResponse {
            ready: false,
            services: vec![
                ServiceAtAddress {
                    service: "llm-svc".into(),
                    address: "127.0.0.1:50053".into(),
                    status: None,
                    error: "connection refused".into(),
                },
                ServiceAtAddress {
                    service: "stt-svc".into(),
                    status: Some(ServiceStatus {
                        state: ServiceState::Serving as i32,
                        engine: "whisper".into(),
                        ..Default::default()
                    }),
                    ..Default::default()
                },
            ],
        };
        let overview = Overview::from(&response);
        let json = serde_json::to_value(&overview).unwrap();
        assert_eq!(json["services"][0]["state"], "unreachable");
        assert_eq!(json["services"][0]["error"], "connection refused");
        assert!(json["services"][0]["engine"].is_null());
        assert_eq!(json["services"][1]["engine"], "whisper");
        let text = anstream::adapter::strip_str(&table(&overview)).to_string();
        assert!(
            text.contains("llm-svc: connection refused") && text.ends_with("Solo is not ready"),
            "{text}"
        );
    }
}
