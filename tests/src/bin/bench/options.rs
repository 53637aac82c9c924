//! Reads the command line.

use std::time::Duration;

use crate::contender::Contender;
use crate::section::Section;

/// What is measured, and for how long.
#[derive(Debug)]
pub(crate) struct Options {
    /// What is measured.
    pub(crate) sections: Vec<Section>,
    /// The programs that take part.
    pub(crate) contenders: Vec<Contender>,
    /// How often each is measured.
    pub(crate) rounds: usize,
    /// The footprint's largest number of secrets; the smaller ones are 1, 10, 100.
    pub(crate) secrets: usize,
    /// How long each is watched when its files are there.
    pub(crate) idle: Duration,
    /// How often a polled secret is changed.
    pub(crate) changes: u32,
    /// For how long each one's credentials are used.
    pub(crate) span: Duration,
}

impl Options {
    /// Reads the arguments.
    ///
    /// # Errors
    ///
    /// What to print instead.
    pub(crate) fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self {
            sections: Vec::new(),
            contenders: vec![Contender::Keywheel, Contender::BaoAgent],
            rounds: MINIMUM_ROUNDS,
            secrets: 1000,
            idle: Duration::from_secs(60),
            changes: 5,
            span: Duration::from_secs(120),
        };
        while let Some(argument) = arguments.next() {
            let mut number = || arguments.next().and_then(|value| value.parse().ok()).ok_or(USAGE);
            match argument.as_str() {
                "--quick" => {
                    options.secrets = 100;
                    options.idle = Duration::from_secs(3);
                    options.changes = 1;
                    options.span = Duration::from_secs(15);
                }
                "--rounds" => options.rounds = number()?,
                "--secrets" => options.secrets = number()?,
                "--idle" => options.idle = seconds(number()?)?,
                "--span" => options.span = seconds(number()?)?,
                "--only" => {
                    let name = arguments.next().unwrap_or_default();
                    options.contenders.retain(|contender| contender.name() == name);
                }
                "--section" => {
                    let name = arguments.next().unwrap_or_default();
                    options.sections.push(Section::named(&name).ok_or(USAGE)?);
                }
                _ => return Err(USAGE.into()),
            }
        }
        options.complete()
    }

    /// Lets another one begin in every round.
    pub(crate) fn in_turn(&self, round: usize) -> Vec<Contender> {
        let mut contenders = self.contenders.clone();
        let count = contenders.len();
        contenders.rotate_left(round % count);
        contenders
    }

    fn complete(mut self) -> Result<Self, String> {
        let asked = std::mem::take(&mut self.sections);
        self.sections = Section::ALL.to_vec();
        self.sections.retain(|section| asked.is_empty() || asked.contains(section));
        if self.rounds < MINIMUM_ROUNDS {
            return Err(format!(
                "one run says nothing on a machine that others use: at least {MINIMUM_ROUNDS} rounds"
            ));
        }
        if self.contenders.is_empty() || self.secrets < 2 || self.idle.is_zero() || self.span.is_zero() {
            return Err(USAGE.into());
        }
        Ok(self)
    }
}

fn seconds(number: usize) -> Result<Duration, String> {
    Ok(Duration::from_secs(number.try_into().map_err(|_large| USAGE)?))
}

const MINIMUM_ROUNDS: usize = 3;

const USAGE: &str = "\
usage: cargo xtask bench [--section footprint|polling|copies|dynamic]… [--rounds N] [--secrets N] [--idle SECONDS]
                         [--span SECONDS] [--only keywheel|bao-agent] [--quick]

  --section  what is measured (all): start, memory and idling; 100 secrets every 5 s; copies
             of values in memory; a database's credentials
  --rounds   how often each program is measured (3, and never less)
  --secrets  the footprint's largest number of secrets, after 1, 10 and 100 (1000)
  --idle     how long each program is watched when its files are there (60)
  --span     for how long each program's database credentials are used (120)
  --only     leaves the other one out; prints no ratios
  --quick    100 secrets, 3 idle seconds, 1 change and 15 s of credentials, to see that it works";
