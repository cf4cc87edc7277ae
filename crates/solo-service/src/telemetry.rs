//! Logs for people or programs, and traces over OTLP when `OTEL_EXPORTER_OTLP_ENDPOINT` is set.

use std::error::Error;

use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry};

use crate::config::{GlobalConfig, LogFormat};

/// Keeps telemetry going; flushes what is left when told to.
pub(crate) struct Telemetry {
    traces: Option<SdkTracerProvider>,
}

impl Telemetry {
    /// Installs the process's subscriber. A line that cannot be written is lost without a word: when the runner is gone, so
    /// is the reader of stderr, and the drain must go on.
    ///
    /// `RUST_LOG`, where set, takes the place of the configured filter.
    pub(crate) fn install(service: &'static str, global: &GlobalConfig) -> Result<Self, Box<dyn Error + Send + Sync>> {
        opentelemetry::global::set_text_map_propagator(TraceContextPropagator::new());
        let filter = EnvFilter::try_from_default_env().or_else(|_| EnvFilter::try_new(&global.log_filter))?;
        let lines: Box<dyn Layer<Registry> + Send + Sync> = match global.log_format {
            // A log file or a pipe is read by programs and pagers: colours only where a person looks.
            LogFormat::Plain => {
                let colours = std::io::IsTerminal::is_terminal(&std::io::stderr());
                Box::new(
                    tracing_subscriber::fmt::layer()
                        .with_writer(std::io::stderr)
                        .log_internal_errors(false)
                        .with_ansi(colours)
                        .with_target(false),
                )
            }
            LogFormat::Json => Box::new(
                tracing_subscriber::fmt::layer()
                    .json()
                    .with_writer(std::io::stderr)
                    .log_internal_errors(false),
            ),
        };
        // An empty variable is unset, says OpenTelemetry's specification.
        let traces = std::env::var_os("OTEL_EXPORTER_OTLP_ENDPOINT")
            .filter(|endpoint| !endpoint.is_empty())
            .map(|_| exporter(service))
            .transpose()?;
        let spans = traces
            .as_ref()
            .map(|provider| tracing_opentelemetry::layer().with_tracer(provider.tracer(service)));
        tracing_subscriber::registry()
            .with(lines)
            .with(spans)
            .with(filter)
            .try_init()?;
        Ok(Self { traces })
    }

    /// Sends what has not been sent. Blocks; call it last.
    pub(crate) fn flush(self) {
        if let Some(Err(error)) = self.traces.map(|provider| provider.shutdown()) {
            crate::app::complain(format_args!("traces were lost at the end: {error}"));
        }
    }
}

/// The endpoint and its options come from OpenTelemetry's own environment variables.
fn exporter(service: &'static str) -> Result<SdkTracerProvider, Box<dyn Error + Send + Sync>> {
    let exporter = opentelemetry_otlp::SpanExporter::builder().with_tonic().build()?;
    let resource = Resource::builder().with_service_name(service).build();
    Ok(SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_resource(resource)
        .build())
}
