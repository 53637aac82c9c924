//! How rotations stand, as Prometheus metrics. Labels are names from the configuration, nothing else.

use keywheel_core::rotation::{Look, Phase};

use super::incidents::Outcome;
use crate::admin::metrics::{begin, line, seconds, typed};

type Measure = fn(&Look) -> Option<f64>;

/// Writes all metrics.
pub(super) fn write(looks: &[Look], outcomes: Option<&[(Outcome, u64); Outcome::ALL.len()]>) -> String {
    let mut out = begin();
    for (name, help, kind, value) in FAMILIES {
        typed(&mut out, name, help, kind);
        for look in looks {
            if let Some(value) = value(look) {
                line(&mut out, name, &format!("rotation=\"{}\"", look.name), value);
            }
        }
    }
    if let Some(outcomes) = outcomes {
        typed(&mut out, INCIDENTS, "What came of the incidents that were reported.", "counter");
        for (outcome, count) in outcomes {
            line(&mut out, INCIDENTS, &format!("outcome=\"{}\"", outcome.as_str()), *count as f64);
        }
    }
    out
}

const FAMILIES: [(&str, &str, &str, Measure); 5] = [
    ("keywheel_rotation_replaced_timestamp_seconds", "When the value was last replaced.", "gauge", |look| {
        look.standing.as_ref()?.replaced_at.map(seconds)
    }),
    ("keywheel_rotation_due_timestamp_seconds", "When the next rotation is due.", "gauge", |look| {
        look.standing.as_ref()?.due_at.map(seconds)
    }),
    (
        "keywheel_rotation_under_way",
        "Whether a rotation is under way, its overlap counted.",
        "gauge",
        |look| {
            let phase = look.standing.as_ref()?.course.phase();
            Some(f64::from(u8::from(!matches!(phase, Phase::Idle))))
        },
    ),
    ("keywheel_rotation_failed", "Whether the last attempt failed.", "gauge", |look| {
        Some(f64::from(u8::from(look.error.is_some())))
    }),
    (
        "keywheel_rotations_total",
        "How often a new value was published since the program began.",
        "counter",
        |look| Some(look.published as f64),
    ),
];
const INCIDENTS: &str = "keywheel_incidents_total";
