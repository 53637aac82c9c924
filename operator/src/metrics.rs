//! Metrics in Prometheus' text format 0.0.4.

use std::fmt::Write;

/// Families of metrics, as far as they are written.
#[derive(Debug)]
pub(crate) struct Families(String);

impl Families {
    /// Begins with the version that runs.
    pub(crate) fn begin() -> Self {
        let mut families = Self(String::new());
        let version = format!("{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"));
        families.add("keywheel_operator_build_info", "gauge", "The version that runs.", [(version, 1.0)]);
        families
    }

    /// Adds a family, with the labels and the value of each line; those of a histogram have a suffix before their labels.
    pub(crate) fn add(
        &mut self,
        name: &str,
        kind: &str,
        help: &str,
        lines: impl IntoIterator<Item = (String, f64)>,
    ) {
        // Writing to a String does not fail.
        write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n").ok();
        for (labels, value) in lines {
            writeln!(self.0, "{name}{labels} {value}").ok();
        }
    }

    /// Returns all that was written.
    pub(crate) fn finish(self) -> String {
        self.0
    }
}
