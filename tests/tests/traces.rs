//! Traces, as a collector has them: each change with its steps, each call with what came of it, and no value.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot set its stage has failed, and the panic says where"
)]

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use keywheel_tests::{Fault, Faults, Launch, Stage, Witness, ports, wait};
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
fn a_collector_that_takes_nothing_holds_up_nothing() {
    let faults =
        [Some(Fault::Hang), Some(Fault::TooManyRequests { retry_after: 8 }), Some(Fault::Sealed), None];
    thread::scope(|scope| {
        for fault in faults {
            scope.spawn(move || delivers_in_time(fault));
        }
    });
}

/// Delivers change after change while the collector shows a fault, or is not there at all.
fn delivers_in_time(fault: Option<Fault>) {
    let (stage, collector) = (Stage::set(), Faults::elsewhere());
    stage.bao.kv_put("secret", "orders/db", &json!({"password": "value-0"}));
    let address = match fault {
        Some(fault) => {
            collector.show(fault);
            collector.address()
        }
        None => format!("http://127.0.0.1:{}", ports::free()),
    };
    let delivery = "    secrets: {db: {ref: vault://secret/orders/db, refresh: 200ms}}\n";
    let agent =
        Launch::agent(&stage.configuration(delivery)).env("OTEL_EXPORTER_OTLP_ENDPOINT", &address).start();
    agent.wait_ready(BOUND);
    wait::until(BOUND, "the agent to say so", || {
        (!agent.logged("the collector takes no traces; they are lost until it does").is_empty()).then_some(())
    });
    let file = stage.directory().join("db/password");
    for number in 1..=5 {
        let value = format!("value-{number}");
        stage.bao.kv_put("secret", "orders/db", &json!({"password": value}));
        let begun = wait::monotonic();
        wait::until(BOUND, "the change", || {
            std::fs::read_to_string(&file).is_ok_and(|now| now == value).then_some(())
        });
        let took = wait::monotonic() - begun;
        assert!(took < Duration::from_secs(4), "{address}: a change took {took:?}");
    }
    assert_eq!(agent.terminate(Duration::from_secs(8)), Some(0), "{address}");
}

#[test]
fn a_rolled_back_change_is_a_failed_one() {
    let (stage, collector) = (Stage::set(), Faults::elsewhere());
    stage.bao.kv_put("secret", "orders/db", &json!({"password": "good"}));
    let delivery = format!(
        "    secrets: {{db: {{ref: vault://secret/orders/db, refresh: 200ms}}}}\n    verify: {{exec: [/usr/bin/grep, -q, good, {}], within: 2s, interval: 300ms}}\n",
        stage.directory().join("db/password").display()
    );
    let agent = Launch::agent(&stage.configuration(&delivery))
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", collector.address())
        .env("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20c4n4ry")
        .start();
    agent.wait_ready(BOUND);
    stage.bao.kv_put("secret", "orders/db", &json!({"password": "bad"}));
    let reverted = until_span(&collector, "revert", &[("delivery", "orders")]);
    let change = wait::until(BOUND, "the change to be over", || {
        spans(&collector)
            .into_iter()
            .find(|span| is(span, "change", &[]) && span.trace_id == reverted.trace_id)
    });
    assert_eq!(change.status.clone().unwrap().code(), StatusCode::Error);
    assert!(texts(&change.attributes).contains_key("error.type"));
    let probes = spans(&collector).into_iter().filter(|span| is(span, "probe", &[])).count();
    assert!(probes > 1, "a look at a time");
    assert!(collector.arrived().iter().all(|request| request.headers["authorization"] == "Bearer c4n4ry"));
    assert!(!format!("{}{}", agent.logs(), agent.status()).contains("c4n4ry"));
}

#[test]
fn what_keeps_traces_from_being_sent_is_said_and_keeps_nothing_else() {
    let stage = Stage::set();
    stage.bao.kv_put("secret", "orders/db", &json!({"password": "value"}));
    let agent = Launch::agent(&stage.configuration("    secrets: {db: vault://secret/orders/db}\n"))
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4317")
        .env("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
        .start();
    agent.wait_ready(BOUND);
    let said = agent.logged("no traces are sent").pop().unwrap();
    assert_eq!(
        said["reason"],
        "OTEL_EXPORTER_OTLP_PROTOCOL is \"grpc\", and only \"http/protobuf\" is done here"
    );
}
