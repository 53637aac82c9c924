//! How rotations stand, as Prometheus metrics. Labels are names from the configuration, nothing else.

use keywheel_core::rotation::{Look, MEASURES};

use super::incidents::Outcome;
use crate::admin::metrics::{begin, line, typed};

/// Writes all metrics.
pub(super) fn write(looks: &[Look], outcomes: Option<&[(Outcome, u64); Outcome::ALL.len()]>) -> String {
    let mut out = begin();
    for measure in MEASURES {
        typed(&mut out, measure.name, measure.help, measure.kind);
        for (labels, value) in looks.iter().flat_map(|look| measure.of(look)) {
            line(&mut out, measure.name, &labels, value);
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

const INCIDENTS: &str = "keywheel_incidents_total";
