//! A validator of JSON Schema that nobody here wrote: fastjsonschema.

use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::built;

/// Holds each document to the schema; returns what is wrong with it, if anything is.
///
/// # Panics
///
/// When the validator cannot be run, or the schema is none.
pub fn mistakes(schema: &Value, documents: &[Value]) -> Vec<Option<String>> {
    let mut python = Command::new("python3");
    python.args(["-c", PROGRAM]).env("PYTHONPATH", built::fastjsonschema());
    let mut python = python.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("python3");
    let asked = json!({"schema": schema, "documents": documents}).to_string();
    // The answer comes after the end of the question, so that neither waits for the other.
    python.stdin.take().expect("its input").write_all(asked.as_bytes()).expect("the question");
    let output = python.wait_with_output().expect("the answer");
    assert!(output.status.success(), "the validator failed: {}", output.status);
    serde_json::from_slice(&output.stdout).expect("an answer for each")
}

const PROGRAM: &str = include_str!("validate.py");
