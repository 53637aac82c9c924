//! The parts of the bench, each measured for itself.

use crate::options::Options;
use crate::report::Report;
use crate::{copies, dynamic, footprint, polling};

/// What is measured together, on servers of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Section {
    Footprint,
    Polling,
    Copies,
    Dynamic,
}

impl Section {
    pub(crate) const ALL: [Self; 4] = [Self::Footprint, Self::Polling, Self::Copies, Self::Dynamic];

    /// Returns the section of that name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|section| section.name() == name)
    }

    /// Returns the name on the command line and in the results.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Footprint => "footprint",
            Self::Polling => "polling",
            Self::Copies => "copies",
            Self::Dynamic => "dynamic",
        }
    }

    /// Returns what its table shows.
    pub(crate) fn title(self, options: &Options) -> String {
        match self {
            Self::Footprint => "Footprint: each secret asked for every 30 s. The policy lets the versions of a folder be listed, but for `no list`.".into(),
            Self::Polling => "Polling: each secret asked for every 5 s. The policy lets the versions of a folder be listed.".into(),
            Self::Copies => "Memory: copies of values that can be read in it, whole or in parts.".into(),
            Self::Dynamic => format!(
                "Dynamic credentials, in {} s: leases of 6 s and 20 s at most, rotations every 5 s, a login every 100 ms.",
                options.span.as_secs()
            ),
        }
    }

    /// Measures every program, round by round.
    pub(crate) fn measure(self, options: &Options, report: &mut Report<'_>) {
        match self {
            Self::Footprint => footprint::measure(options, report),
            Self::Polling => polling::measure(options, report),
            Self::Copies => copies::measure(options, report),
            Self::Dynamic => dynamic::measure(options, report),
        }
    }
}
