//! Sends what ended to the collector, over HTTP as Protocol Buffers (opentelemetry.io, "OTLP/HTTP").
//!
//! ```text
//! spans of keywheel_core::trace -> SDK -> Queue -> Traces::beside -> collector
//! ```
//!
//! The program's own runtime sends: the SDK's thread would be outside of the sandbox. A collector that does not answer holds up nothing: what does not fit
//! into the queue meanwhile is lost.

use std::pin::pin;
use std::time::Duration;

use keywheel_core::{names, trace};
use keywheel_sidecar::sandbox::COLLECTOR;
use opentelemetry::Context;
use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{SpanExporter, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SdkTracerProvider, Span, SpanData, SpanExporter as _, SpanProcessor};
use tokio::sync::{mpsc, oneshot};
use tracing::level_filters::LevelFilter;
use tracing::{debug, info, warn};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;

use crate::exit::Failure;
use crate::logging::BoxedLayer;

/// What is left to be sent, and the way.
pub(crate) struct Traces {
    exporter: SpanExporter,
    ended: mpsc::Receiver<SpanData>,
}

/// Returns what takes the spans in, and what sends them; nothing where the environment names no collector.
///
/// # Errors
/// A variable that does not say what it should.
pub(crate) fn begin() -> Result<Option<(BoxedLayer, Traces)>, Failure> {
    let value = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let Some(collector) = COLLECTOR.iter().find_map(|name| value(name)) else { return Ok(None) };
    if value("OTEL_SDK_DISABLED").as_deref() == Some("true") {
        return Ok(None);
    }
    for name in PROTOCOLS {
        if let Some(other) = value(name).filter(|protocol| protocol != "http/protobuf") {
            return Err(Failure::usage(format!("{name}: {other:?} is not spoken here; say http/protobuf")));
        }
    }
    let mut client = names::client().redirect(reqwest::redirect::Policy::none()).timeout(PATIENCE);
    if !collector.starts_with("https:") {
        // Nothing to verify: loading the system's authorities would only cost time.
        client = client.tls_certs_only([]);
    }
    let client = client.build().map_err(|_| Failure::other("the client of the collector cannot be made"))?;
    let exporter = SpanExporter::builder().with_http().with_http_client(client).build();
    let mut exporter =
        exporter.map_err(|_| Failure::usage("OTEL_EXPORTER_OTLP_…: not the address of a collector"))?;
    let mut resource =
        Resource::builder().with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
    if value("OTEL_SERVICE_NAME").is_none() {
        resource = resource.with_service_name("keywheel");
    }
    let resource = resource.build();
    exporter.set_resource(&resource);
    let (queue, ended) = mpsc::channel(QUEUE);
    let provider =
        SdkTracerProvider::builder().with_resource(resource).with_span_processor(Queue(queue)).build();
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("keywheel")).with_location(false);
    let layer = layer.with_threads(false).with_tracked_inactivity(false).with_level(false);
    let layer = layer.with_filter(Targets::new().with_target(trace::TARGET, LevelFilter::INFO)).boxed();
    Ok(Some((layer, Traces { exporter, ended })))
}

impl Traces {
    /// Does `work`, and sends meanwhile what ends; at last what is left, for as long as a goodbye may take.
    pub(crate) async fn beside<T>(self, work: impl Future<Output = T>) -> T {
        let (stop, stopped) = oneshot::channel();
        let sending = tokio::spawn(self.send(stopped));
        let result = pin!(work).await;
        drop(stop);
        // Whatever is left then is lost.
        tokio::time::timeout(GOODBYE, sending).await.ok();
        result
    }

    async fn send(mut self, mut stopped: oneshot::Receiver<()>) {
        let (mut is_over, mut is_refused) = (false, false);
        while !is_over {
            let mut batch = Vec::new();
            tokio::select! {
                _ = &mut stopped => is_over = true,
                ended = self.ended.recv() => {
                    batch.extend(ended);
                    // What belongs together goes together.
                    is_over = tokio::time::timeout(PAUSE, &mut stopped).await.is_ok();
                }
            }
            while let Ok(span) = self.ended.try_recv() {
                batch.push(span);
            }
            if batch.is_empty() {
                continue;
            }
            let (count, was_refused) = (batch.len(), is_refused);
            is_refused = self.exporter.export(batch).await.is_err();
            match (was_refused, is_refused) {
                (false, true) => warn!(
                    spans = count,
                    "the collector of traces does not take them; they are lost until it does"
                ),
                (true, false) => info!("the collector takes traces again"),
                _ => debug!(spans = count, "traces"),
            }
        }
    }
}

/// Keeps what has ended until it is sent.
#[derive(Debug)]
struct Queue(mpsc::Sender<SpanData>);

impl SpanProcessor for Queue {
    fn on_start(&self, _span: &mut Span, _context: &Context) {}

    fn on_end(&self, span: SpanData) {
        // Nothing waits for a collector.
        self.0.try_send(span).ok();
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
        Ok(())
    }
}

const PROTOCOLS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"];
const QUEUE: usize = 2048;
const PAUSE: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(10);
const GOODBYE: Duration = Duration::from_secs(2);
