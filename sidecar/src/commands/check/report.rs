//! Findings as lines for a reader.

use keywheel_core::examine::{Finding, Outcome};

use crate::exit::Failure;
use crate::output;
use crate::terminal::{self, Colour};

/// Prints findings, and remembers what was wrong.
#[derive(Default)]
pub(super) struct Report {
    first: Option<Failure>,
    wrong: usize,
}

impl Report {
    /// Prints the findings about one thing, a line each.
    ///
    /// # Errors
    /// Nobody reads them any more.
    pub(super) fn section(&mut self, kind: &str, name: &str, findings: &[Finding]) -> Result<(), Failure> {
        if findings.is_empty() {
            return Ok(());
        }
        let width = findings.iter().map(|finding| finding.subject.chars().count()).max().unwrap_or_default();
        let mut text = format!("\n{kind} {name}\n");
        for Finding { subject, outcome } in findings {
            let (mark, words) = match outcome {
                Outcome::Good(words) => (terminal::painted("✓", Colour::Green), words.clone()),
                Outcome::LeftAlone(why) => ("-".to_owned(), format!("not tried: {why}")),
                Outcome::Bad(error) => {
                    self.wrong += 1;
                    self.first.get_or_insert_with(|| Failure::from(error.clone()));
                    (terminal::painted("✗", Colour::Red), error.to_string())
                }
            };
            text.push_str(&format!("  {mark} {subject:<width$}  {words}\n"));
        }
        output::print(text.as_bytes())
    }

    /// Ends with the first thing that was wrong.
    ///
    /// # Errors
    /// Something was wrong.
    pub(super) fn end(self) -> Result<(), Failure> {
        let Some(first) = self.first else { return Ok(()) };
        let (noun, verb) = if self.wrong == 1 { ("thing", "is") } else { ("things", "are") };
        Err(Failure::coded(format!("{} {noun} {verb} wrong", self.wrong), first.code()))
    }
}
