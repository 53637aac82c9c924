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
    typed(&mut out, ROTATIONS, "What came of rotations since the program began.", "counter");
    for look in looks {
        for (outcome, count) in [("published", look.published), ("failed", look.failed)] {
            line(
                &mut out,
                ROTATIONS,
                &format!("rotation=\"{}\",outcome=\"{outcome}\"", look.name),
                count as f64,
            );
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

const FAMILIES: [(&str, &str, &str, Measure); 4] = [
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
];
const ROTATIONS: &str = "keywheel_rotations_total";
const INCIDENTS: &str = "keywheel_incidents_total";
