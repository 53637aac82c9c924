//! Sends what ended to the collector, over HTTP as Protocol Buffers (opentelemetry.io, "OTLP/HTTP").
//!
//! ```text
//! spans of keywheel_core::trace -> SDK -> Queue -> Traces::beside -> collector
//! ```
//!
//! The program's own runtime sends: the SDK's thread would be outside of the sandbox. A collector that does not answer holds up nothing: what does not fit
//! into the queue meanwhile is lost.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use keywheel_core::environment::Environment;
use keywheel_core::{names, trace};
use keywheel_sidecar::collector;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{RetryPolicy, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SdkTracerProvider, Span, SpanData, SpanExporter as _, SpanProcessor};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, Url};
use tokio::sync::{mpsc, oneshot};
use tracing::level_filters::LevelFilter;
use tracing::{debug, info, warn};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;

use crate::logging::BoxedLayer;

/// What is left to be sent, and the way.
pub(crate) struct Traces {
    exporter: SpanExporter,
    ended: mpsc::Receiver<SpanData>,
    /// How many did not fit into the queue.
    lost: Arc<AtomicU64>,
}

/// Returns what takes the spans in, and what sends them; nothing where the environment names no collector.
///
/// # Errors
/// Says in words what keeps traces from being sent.
pub(crate) fn begin() -> Result<Option<(BoxedLayer, Traces)>, String> {
    let environment = Environment::of_process();
    let Some(collector) = collector::named(&environment)? else { return Ok(None) };
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(client(&collector, environment.first(&AUTHORITIES))?)
        .with_timeout(PATIENCE)
        // Its waits would be the whole program's, which has one thread.
        .with_retry_policy(RetryPolicy::disabled())
        .build();
    let mut exporter = exporter.map_err(|_| "a variable OTEL_EXPORTER_OTLP_… is not what it should be")?;
    let resource = resource(&environment);
    exporter.set_resource(&resource);
    let (queue, ended) = mpsc::channel(QUEUE);
    let lost = Arc::<AtomicU64>::default();
    let processor = Queue { spans: queue, lost: Arc::clone(&lost) };
    let provider =
        SdkTracerProvider::builder().with_resource(resource).with_span_processor(processor).build();
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("keywheel")).with_location(false);
    let layer = layer.with_threads(false).with_tracked_inactivity(false).with_level(false);
    let layer = layer.with_filter(Targets::new().with_target(trace::TARGET, LevelFilter::INFO)).boxed();
    Ok(Some((layer, Traces { exporter, ended, lost })))
}

fn client(collector: &Url, authorities: Option<&str>) -> Result<Client, String> {
    let mut client = names::client().redirect(Policy::none()).timeout(PATIENCE);
    if let Some(file) = authorities {
        let pem = std::fs::read(file).map_err(|error| format!("cannot read {file}: {error}"))?;
        let trusted =
            Certificate::from_pem_bundle(&pem).map_err(|_| format!("{file} is not PEM certificates"))?;
        client = client.tls_certs_only(trusted);
    } else if collector.scheme() == "http" {
        // Nothing to verify: loading the system's authorities would only cost time.
        client = client.tls_certs_only([]);
    }
    client.build().map_err(|_| "the client of the collector cannot be made".into())
}

/// Returns who speaks: what the environment says, else this program.
fn resource(environment: &Environment) -> Resource {
    let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    let resource = Resource::builder().with_attribute(version);
    let attributes = environment.value("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default();
    let is_named = environment.value("OTEL_SERVICE_NAME").is_some()
        || attributes.split(',').any(|attribute| attribute.trim().starts_with("service.name="));
    if is_named { resource.build() } else { resource.with_service_name("keywheel").build() }
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
                (false, true) => warn!(count, "the collector takes no traces; they are lost until it does"),
                (true, false) => info!("the collector takes traces again"),
                _ => debug!(count, "traces"),
            }
            let count = self.lost.swap(0, Ordering::Relaxed);
            if count > 0 && !is_refused {
                warn!(count, "there were more traces than the collector took; they are lost");
            }
        }
    }
}

/// Keeps what has ended until it is sent.
#[derive(Debug)]
struct Queue {
    spans: mpsc::Sender<SpanData>,
    lost: Arc<AtomicU64>,
}

impl SpanProcessor for Queue {
    fn on_start(&self, _span: &mut Span, _context: &Context) {}

    fn on_end(&self, span: SpanData) {
        // Nothing waits for a collector.
        if self.spans.try_send(span).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
        Ok(())
    }
}

const AUTHORITIES: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "OTEL_EXPORTER_OTLP_CERTIFICATE"];
const QUEUE: usize = 2048;
const PAUSE: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(10);
const GOODBYE: Duration = Duration::from_secs(2);
