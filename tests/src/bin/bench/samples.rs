//! The samples of one quantity.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::contender::Contender;

/// What each program showed, round by round.
#[derive(Debug, Default)]
pub(crate) struct Samples(BTreeMap<Contender, Vec<f64>>);

impl Samples {
    pub(crate) fn add(&mut self, contender: Contender, value: f64) {
        self.0.entry(contender).or_default().push(value);
    }

    /// Returns keywheel's median as a part of `bao agent`'s; none without several runs of both, or when there is nothing to divide by.
    pub(crate) fn ratio(&self) -> Option<f64> {
        let several = |samples: &&Vec<f64>| samples.len() > 1;
        let of = |contender| self.0.get(&contender).filter(several).map(|samples| median(samples));
        let (ours, theirs) = (of(Contender::Keywheel)?, of(Contender::BaoAgent)?);
        (theirs > 0.0).then(|| ours / theirs)
    }

    /// Returns the median and the span of a program's samples, for a reader.
    pub(crate) fn shown(&self, contender: Contender) -> String {
        self.0.get(&contender).map_or_else(String::new, |samples| shown(samples))
    }

    /// Adds all samples and their medians to a row of results.
    pub(crate) fn write_to(&self, row: &mut Value) {
        for (contender, samples) in &self.0 {
            row[contender.name()] = json!({"median": median(samples), "samples": samples});
        }
        row["ratio"] = json!(self.ratio());
    }
}

/// Returns the median of at least one number.
pub(crate) fn median(samples: &[f64]) -> f64 {
    let mut samples = samples.to_vec();
    samples.sort_by(f64::total_cmp);
    let middle = samples.len() / 2;
    if samples.len() % 2 == 1 { samples[middle] } else { f64::midpoint(samples[middle - 1], samples[middle]) }
}

fn shown(samples: &[f64]) -> String {
    let smallest = samples.iter().copied().fold(f64::INFINITY, f64::min);
    let largest = samples.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if samples.len() == 1 {
        return format!("{smallest:.1}");
    }
    format!("{:.2} ({smallest:.2} - {largest:.2})", median(samples))
}
