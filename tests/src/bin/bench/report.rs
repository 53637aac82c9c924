//! Medians, spans and ratios: tables to read and a file to keep.

use std::fmt;
use std::path::PathBuf;

use keywheel_tests::built;
use serde_json::{Value, json};

use crate::contender::Contender;
use crate::figure::Figure;
use crate::options::Options;
use crate::samples::Samples;
use crate::section::Section;

/// All that was measured.
#[derive(Debug)]
pub(crate) struct Report<'a> {
    options: &'a Options,
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    section: Section,
    quantity: &'static str,
    secrets: usize,
    title: String,
    samples: Samples,
}

impl<'a> Report<'a> {
    /// Begins a report.
    pub(crate) fn new(options: &'a Options) -> Self {
        Self { options, rows: Vec::new() }
    }

    /// Adds what one run showed.
    pub(crate) fn add(
        &mut self,
        section: Section,
        contender: Contender,
        figures: impl IntoIterator<Item = Figure>,
    ) {
        for figure in figures {
            let value = figure.value;
            self.row(section, figure).samples.add(contender, value);
        }
    }

    /// Writes `keywheel-vs-bao-agent.json` and the same as `.md`, and returns their paths.
    pub(crate) fn write(&self) -> [PathBuf; 2] {
        let folder =
            std::env::var_os("KEYWHEEL_BENCH_RESULTS").map_or_else(|| "target/bench".into(), PathBuf::from);
        std::fs::create_dir_all(&folder).expect("a folder for results");
        let json = serde_json::to_string_pretty(&self.json()).expect("JSON");
        [("json", json), ("md", self.to_string())].map(|(extension, text)| {
            let path = folder.join("keywheel-vs-bao-agent").with_extension(extension);
            std::fs::write(&path, text).expect("a results file");
            path
        })
    }

    /// Finds the figure's row; a new one goes below the others of its quantity.
    fn row(&mut self, section: Section, figure: Figure) -> &mut Row {
        let Figure { quantity, secrets, title, .. } = figure;
        let is_akin = |row: &Row| row.section == section && row.quantity == quantity;
        let found = self.rows.iter().position(|row| is_akin(row) && row.secrets == secrets);
        let index = found.unwrap_or_else(|| {
            let last = self.rows.iter().rposition(is_akin);
            let index = last.map_or(self.rows.len(), |last| last + 1);
            self.rows.insert(index, Row { section, quantity, secrets, title, samples: Samples::default() });
            index
        });
        &mut self.rows[index]
    }

    fn json(&self) -> Value {
        let rows: Vec<_> = self
            .rows
            .iter()
            .map(|Row { section, quantity, secrets, samples, .. }| {
                let mut row = json!({"section": section.name(), "quantity": quantity, "secrets": secrets});
                samples.write_to(&mut row);
                row
            })
            .collect();
        json!({
            "rounds": self.options.rounds,
            "idle_seconds": self.options.idle.as_secs(),
            "dynamic_seconds": self.options.span.as_secs(),
            "openbao": built::bao_version(),
            "rows": rows,
        })
    }

    fn table(&self, section: Section, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let contenders = &self.options.contenders;
        write!(f, "| |")?;
        for contender in contenders {
            write!(f, " {contender} |")?;
        }
        writeln!(f, " ratio |\n|---|{}---:|", "---:|".repeat(contenders.len()))?;
        for Row { title, samples, .. } in self.rows.iter().filter(|row| row.section == section) {
            write!(f, "| {title} |")?;
            for contender in contenders {
                write!(f, " {} |", samples.shown(*contender))?;
            }
            let ratio = samples.ratio().map_or_else(String::new, |ratio| format!("{ratio:.3}"));
            writeln!(f, " {ratio} |")?;
        }
        Ok(())
    }
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Options { rounds, idle, sections, .. } = self.options;
        writeln!(
            f,
            "Medians (smallest - largest) of {rounds} rounds, {} idle seconds each, {}.",
            idle.as_secs(),
            built::bao_version()
        )?;
        for section in sections {
            writeln!(f, "\n{}\n", section.title(self.options))?;
            self.table(*section, f)?;
        }
        Ok(())
    }
}
