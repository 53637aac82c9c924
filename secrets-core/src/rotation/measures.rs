//! What is counted of a rotation, for whoever shows it as metrics.

use jiff::Timestamp;

use super::course::Phase;
use super::desk::Look;

/// One measure of each rotation.
#[derive(Clone, Copy, Debug)]
pub struct Measure {
    /// The metric's name.
    pub name: &'static str,
    /// What it is.
    pub help: &'static str,
    /// `gauge` or `counter`.
    pub kind: &'static str,
    /// Its values by what tells them apart, which may be nothing.
    values: &'static [(Option<&'static str>, Read)],
}

type Read = fn(&Look) -> Option<f64>;

impl Measure {
    /// Returns what it says of a rotation: the labels of each value, and the value.
    pub fn of(&self, look: &Look) -> impl Iterator<Item = (String, f64)> {
        self.values.iter().filter_map(|(outcome, value)| {
            let rotation = format!("rotation=\"{}\"", look.name);
            let labels = match outcome {
                Some(outcome) => format!("{rotation},outcome=\"{outcome}\""),
                None => rotation,
            };
            Some((labels, value(look)?))
        })
    }
}

/// All measures.
pub const MEASURES: [Measure; 5] = [
    Measure {
        name: "keywheel_rotation_replaced_timestamp_seconds",
        help: "When the value was last replaced.",
        kind: "gauge",
        values: &[(None, |look| look.standing.as_ref()?.replaced_at.map(seconds))],
    },
    Measure {
        name: "keywheel_rotation_due_timestamp_seconds",
        help: "When the next rotation is due.",
        kind: "gauge",
        values: &[(None, |look| look.standing.as_ref()?.due_at.map(seconds))],
    },
    Measure {
        name: "keywheel_rotation_under_way",
        help: "Whether a rotation is under way, its overlap counted.",
        kind: "gauge",
        values: &[(None, |look| {
            Some(one_if(!matches!(look.standing.as_ref()?.course.phase(), Phase::Idle)))
        })],
    },
    Measure {
        name: "keywheel_rotation_failed",
        help: "Whether the last attempt failed.",
        kind: "gauge",
        values: &[(None, |look| Some(one_if(look.error.is_some())))],
    },
    Measure {
        name: "keywheel_rotations_total",
        help: "What came of rotations since the program began.",
        kind: "counter",
        values: &[
            (Some("published"), |look| Some(look.published as f64)),
            (Some("failed"), |look| Some(look.failed as f64)),
        ],
    },
];

fn one_if(holds: bool) -> f64 {
    f64::from(u8::from(holds))
}

fn seconds(at: Timestamp) -> f64 {
    at.as_millisecond() as f64 / 1000.0
}
