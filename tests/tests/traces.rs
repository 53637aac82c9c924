//! Traces, as a collector has them: each change with its steps, each call with what came of it, and no value.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot set its stage has failed, and the panic says where"
)]

use std::collections::BTreeMap;
use std::time::Duration;

use keywheel_tests::{Fault, Faults, Launch, Signal, Stage, Witness, wait};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use prost::Message as _;
use serde_json::json;

const BOUND: Duration = Duration::from_secs(20);

fn texts(attributes: &[KeyValue]) -> BTreeMap<&str, &str> {
    let mut texts = BTreeMap::new();
    for attribute in attributes {
        if let Some(Value::StringValue(text)) =
            attribute.value.as_ref().and_then(|value| value.value.as_ref())
        {
            texts.insert(attribute.key.as_str(), text.as_str());
        }
    }
    texts
}

/// Returns all spans that the collector got, each of them from the program that says it is `keywheel`.
fn spans(collector: &Faults) -> Vec<Span> {
    let mut spans = Vec::new();
    for request in collector.arrived() {
        assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", "/v1/traces"));
        assert!(!request.body.windows(6).any(|part| part == b"c4n4ry"), "a value in a trace");
        for resource in ExportTraceServiceRequest::decode(request.body.as_slice()).unwrap().resource_spans {
            let own = resource.resource.unwrap().attributes;
            assert_eq!(texts(&own)["service.name"], "keywheel");
            spans.extend(resource.scope_spans.into_iter().flat_map(|scope| scope.spans));
        }
    }
    spans
}

fn is(span: &Span, name: &str, attributes: &[(&str, &str)]) -> bool {
    let own = texts(&span.attributes);
    span.name == name && attributes.iter().all(|(key, value)| own.get(key) == Some(value))
}

/// Waits until the collector has a span with these attributes.
fn until_span(collector: &Faults, name: &str, attributes: &[(&str, &str)]) -> Span {
    wait::until(BOUND, &format!("{name} {attributes:?}"), || {
        spans(collector).into_iter().find(|span| is(span, name, attributes))
    })
}

#[test]
fn a_collector_sees_what_is_fetched_delivered_and_told() {
    let (stage, witness, collector) = (Stage::set(), Witness::start(), Faults::elsewhere());
    stage.bao.kv_put("secret", "orders/db", &json!({"password": "c4n4ry-1"}));
    let delivery = format!(
        "    secrets: {{db: {{ref: vault://secret/orders/db, refresh: 200ms}}}}\n    on_change: [signal: {{pid_file: {}, signal: SIGHUP}}]\n",
        witness.pid_file().display()
    );
    let agent = Launch::agent(&stage.configuration(&delivery))
        .args(["--sandbox", "on"])
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", collector.address())
        .start();
    agent.wait_ready(BOUND);
    let change = until_span(&collector, "change", &[("delivery", "orders")]);
    for step in ["prepare", "tell"] {
        let step = until_span(&collector, step, &[("delivery", "orders")]);
        assert_eq!((&step.trace_id, &step.parent_span_id), (&change.trace_id, &change.span_id));
        assert!(step.end_time_unix_nano <= change.end_time_unix_nano);
    }
    let reference = ("reference", "vault://secret/orders/db");
    until_span(&collector, "fetch", &[reference, ("provider", "vault"), ("step", "ask")]);
    stage.forbid();
    let refused = until_span(&collector, "fetch", &[reference, ("error.type", "permission denied")]);
    assert_eq!(refused.status.unwrap().code(), StatusCode::Error);
    assert!(!agent.logs().contains("\"span"), "spans are in no log");
}

#[test]
fn a_collector_that_is_not_there_holds_up_nothing() {
    let (stage, collector) = (Stage::set(), Faults::elsewhere());
    stage.bao.kv_put("secret", "orders/db", &json!({"password": "c4n4ry-1"}));
    collector.show(Fault::Hang);
    let delivery = "    secrets: {db: {ref: vault://secret/orders/db, refresh: 200ms}}\n";
    let agent = Launch::agent(&stage.configuration(delivery))
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", collector.address())
        .start();
    agent.wait_ready(BOUND);
    wait::until(BOUND, "a request to the collector", || (collector.count() > 0).then_some(()));
    stage.bao.kv_put("secret", "orders/db", &json!({"password": "c4n4ry-2"}));
    let file = stage.directory().join("db/password");
    let is_there = || std::fs::read_to_string(&file).is_ok_and(|value| value == "c4n4ry-2").then_some(());
    wait::until(BOUND, "the change", is_there);
    agent.process().signal(Signal::TERM);
    assert_eq!(agent.process().wait_for_end(Duration::from_secs(10)).code(), Some(0));
}

#[test]
fn a_protocol_that_is_not_spoken_is_said() {
    let stage = Stage::set();
    let refused = Launch::agent(&stage.configuration("    secrets: {db: vault://secret/orders/db}\n"))
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4317")
        .env("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
        .output();
    assert_eq!(refused.code, Some(64));
    assert!(
        refused.stderr.contains("OTEL_EXPORTER_OTLP_PROTOCOL") && refused.stderr.contains("http/protobuf")
    );
}
