//! Medians, spans and ratios: a table to read and a file to keep.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use keywheel_tests::built;
use serde_json::{Value, json};

use crate::contender::Contender;
use crate::measure::Run;
use crate::options::Options;

/// All that was measured.
#[derive(Debug)]
pub(crate) struct Report<'a> {
    options: &'a Options,
    samples: BTreeMap<(Quantity, usize), BTreeMap<Contender, Vec<f64>>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Quantity {
    Start,
    StartCpu,
    StartRequests,
    Resident,
    Cpu,
    Requests,
    Binary,
}

impl<'a> Report<'a> {
    /// Begins a report; the programs' sizes are known already.
    pub(crate) fn new(options: &'a Options) -> Self {
        let mut report = Self { options, samples: BTreeMap::new() };
        for contender in &options.contenders {
            let bytes = contender.program().metadata().expect("the program").len();
            report.sample(Quantity::Binary, 0, *contender, megabytes(bytes));
        }
        report
    }

    /// Adds one run.
    pub(crate) fn add(&mut self, contender: Contender, secrets: usize, run: &Run) {
        let minutes = run.idle.as_secs_f64() / 60.0;
        let number = |count: usize| f64::from(u32::try_from(count).unwrap_or(u32::MAX));
        self.sample(Quantity::Start, secrets, contender, run.start.as_secs_f64() * 1000.0);
        self.sample(Quantity::StartCpu, secrets, contender, run.start_cpu.as_secs_f64() * 1000.0);
        self.sample(Quantity::StartRequests, secrets, contender, number(run.start_requests));
        self.sample(Quantity::Resident, secrets, contender, megabytes(run.resident));
        self.sample(Quantity::Cpu, secrets, contender, run.cpu.as_secs_f64() / minutes);
        self.sample(Quantity::Requests, secrets, contender, number(run.requests) / minutes);
    }

    /// Writes `keywheel-vs-bao-agent.json` and returns its path.
    pub(crate) fn write(&self) -> PathBuf {
        let folder =
            std::env::var_os("KEYWHEEL_BENCH_RESULTS").map_or_else(|| "target/bench".into(), PathBuf::from);
        std::fs::create_dir_all(&folder).expect("a folder for results");
        let path = folder.join("keywheel-vs-bao-agent.json");
        let text = serde_json::to_string_pretty(&self.json()).expect("JSON");
        std::fs::write(&path, text).expect("a results file");
        path
    }

    fn sample(&mut self, quantity: Quantity, secrets: usize, contender: Contender, value: f64) {
        self.samples.entry((quantity, secrets)).or_default().entry(contender).or_default().push(value);
    }

    fn json(&self) -> Value {
        let rows: Vec<_> = self
            .samples
            .iter()
            .map(|((quantity, secrets), by_contender)| {
                let mut row = json!({"quantity": quantity.name(), "secrets": secrets});
                for (contender, samples) in by_contender {
                    row[contender.name()] = json!({"median": median(samples), "samples": samples});
                }
                row["ratio"] = json!(ratio(by_contender));
                row
            })
            .collect();
        json!({
            "rounds": self.options.rounds,
            "idle_seconds": self.options.idle.as_secs(),
            "openbao": built::bao_version(),
            "rows": rows,
        })
    }
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Options { rounds, idle, .. } = self.options;
        writeln!(
            f,
            "Medians (smallest - largest) of {rounds} rounds, {} idle seconds each, {}.\n",
            idle.as_secs(),
            built::bao_version()
        )?;
        write!(f, "| |")?;
        for contender in &self.options.contenders {
            write!(f, " {contender} |")?;
        }
        writeln!(f, " ratio |\n|---|{}---:|", "---:|".repeat(self.options.contenders.len()))?;
        for ((quantity, secrets), by_contender) in &self.samples {
            write!(f, "| {} |", quantity.title(*secrets))?;
            for contender in &self.options.contenders {
                write!(f, " {} |", shown(&by_contender[contender]))?;
            }
            writeln!(
                f,
                " {} |",
                ratio(by_contender).map_or_else(String::new, |ratio| format!("{ratio:.3}"))
            )?;
        }
        Ok(())
    }
}

impl Quantity {
    fn name(self) -> &'static str {
        match self {
            Self::Start => "start_to_files_milliseconds",
            Self::StartCpu => "cpu_until_files_milliseconds",
            Self::StartRequests => "requests_until_files",
            Self::Resident => "resident_megabytes",
            Self::Cpu => "cpu_seconds_per_idle_minute",
            Self::Requests => "requests_per_idle_minute",
            Self::Binary => "program_megabytes",
        }
    }

    fn title(self, secrets: usize) -> String {
        let of = if secrets == 1 { "1 secret".into() } else { format!("{secrets} secrets") };
        match self {
            Self::Start => format!("start to files, {of} (ms)"),
            Self::StartCpu => format!("CPU until files, {of} (ms)"),
            Self::StartRequests => format!("requests until files, {of}"),
            Self::Resident => format!("resident memory, {of} (MB)"),
            Self::Cpu => format!("CPU seconds per idle minute, {of}"),
            Self::Requests => format!("requests per idle minute, {of}"),
            Self::Binary => "program (MB)".into(),
        }
    }
}

/// Returns keywheel's median as a part of `bao agent`'s; none without both, or when there is nothing to divide by.
fn ratio(by_contender: &BTreeMap<Contender, Vec<f64>>) -> Option<f64> {
    let of = |contender| by_contender.get(&contender).map(|samples| median(samples));
    let (ours, theirs) = (of(Contender::Keywheel)?, of(Contender::BaoAgent)?);
    (theirs > 0.0).then(|| ours / theirs)
}

fn shown(samples: &[f64]) -> String {
    let smallest = samples.iter().copied().fold(f64::INFINITY, f64::min);
    let largest = samples.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if samples.len() == 1 {
        return format!("{smallest:.1}");
    }
    format!("{:.2} ({smallest:.2} - {largest:.2})", median(samples))
}

fn median(samples: &[f64]) -> f64 {
    let mut samples = samples.to_vec();
    samples.sort_by(f64::total_cmp);
    let middle = samples.len() / 2;
    if samples.len() % 2 == 1 { samples[middle] } else { f64::midpoint(samples[middle - 1], samples[middle]) }
}

/// Whole kilobytes are exact in an `f64`.
fn megabytes(bytes: u64) -> f64 {
    f64::from(u32::try_from(bytes / 1024).unwrap_or(u32::MAX)) * 1024.0 / 1e6
}
