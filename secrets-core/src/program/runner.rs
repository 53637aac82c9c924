//! Programs that run elsewhere than in this process: they are listed before anything else happens, and asked for by their place in the list.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::{Ended, Failure, Occasion, Program, is_generation};
use crate::config::{Config, DeliveryConfig};
use crate::error::{Error, Result};
use crate::notify::{Event, Notifier};
use crate::probe::Check;
use crate::validate::Validator;

/// A program that a configuration names, and the delivery that it runs for.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Listed {
    delivery: String,
    directory: PathBuf,
    program: Program,
}

/// One run that is asked for. There is no path and no argument in it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Call {
    /// Which program: its place in the list.
    pub program: usize,
    /// The name of the generation.
    pub generation: String,
    /// Whether the program runs for a generation that is not visible yet, and so for its folder.
    pub is_staged: bool,
}

/// Runs listed programs.
#[async_trait]
pub trait Programs: fmt::Debug + Send + Sync {
    /// Runs one, and tells how it ended.
    ///
    /// # Errors
    /// Says in words why nobody is there who runs it.
    ///
    /// # Cancel safety
    /// The program is killed with its group when this is dropped.
    async fn run(&self, call: &Call, program: &Program) -> std::result::Result<Ended, String>;
}

/// Who runs the programs of a list. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Runner {
    list: Arc<[Listed]>,
    programs: Arc<dyn Programs>,
}

/// Who runs one program, and which of its list that is.
#[derive(Clone, Debug)]
pub(crate) struct Assigned {
    runner: Runner,
    place: usize,
}

impl Listed {
    /// Lists the programs of a configuration.
    pub fn all(config: &Config) -> Vec<Self> {
        let of_delivery = |delivery: &DeliveryConfig| {
            let mut delivery = delivery.clone();
            let (name, directory) = (delivery.name.clone(), delivery.directory.clone());
            let listed = move |program: &mut Program| Self {
                delivery: name.clone(),
                directory: directory.clone(),
                program: program.clone(),
            };
            programs(&mut delivery).into_iter().map(listed).collect::<Vec<_>>()
        };
        config.deliveries.iter().flat_map(of_delivery).collect()
    }

    /// Returns the program.
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// Returns what the program runs for when it is asked for by `call`: nothing where that does not name a generation of the delivery's directory.
    pub fn occasion(&self, call: &Call) -> Option<Occasion> {
        let Call { generation, is_staged, .. } = call;
        is_generation(generation).then(|| Occasion {
            delivery: self.delivery.clone(),
            directory: if *is_staged { self.directory.join(generation) } else { self.directory.clone() },
            generation: generation.clone(),
        })
    }

    fn is(&self, delivery: &str, directory: &Path, program: &Program) -> bool {
        let unassigned = Program { assigned: None, ..program.clone() };
        self.delivery == delivery && self.directory == directory && self.program == unassigned
    }
}

impl Runner {
    /// Makes a runner of `list`.
    pub fn new(list: Vec<Listed>, programs: impl Programs + 'static) -> Self {
        Self { list: list.into(), programs: Arc::new(programs) }
    }

    /// Has every program of the delivery run there.
    ///
    /// # Errors
    /// [`Config`](crate::ErrorKind::Config) for a program that is not in the list.
    pub(crate) fn assign(&self, delivery: &mut DeliveryConfig) -> Result<()> {
        let (name, directory) = (delivery.name.clone(), delivery.directory.clone());
        for program in programs(delivery) {
            let place = self.list.iter().position(|listed| listed.is(&name, &directory, program));
            let place = place.ok_or_else(|| {
                let reason =
                    "a program of a hook is another one than at the start, and nothing else may be run";
                Error::config("start", reason)
                    .with("program", &*program)
                    .with("delivery", &name)
                    .with_help("start it again")
            })?;
            program.assigned = Some(Assigned { runner: self.clone(), place });
        }
        Ok(())
    }
}

impl Assigned {
    pub(super) async fn run(&self, program: &Program, event: &Event) -> Ended {
        let is_staged = self.runner.list.get(self.place).is_some_and(|own| own.directory != event.directory);
        let call = Call { program: self.place, generation: event.generation.clone(), is_staged };
        let ended = self.runner.programs.run(&call, program).await;
        ended.unwrap_or_else(|reason| Failure::new(reason).into())
    }
}

impl PartialEq for Assigned {
    fn eq(&self, other: &Self) -> bool {
        self.place == other.place && Arc::ptr_eq(&self.runner.programs, &other.runner.programs)
    }
}

impl Eq for Assigned {}

/// Returns the programs of a delivery, in the order in which they run.
fn programs(delivery: &mut DeliveryConfig) -> Vec<&mut Program> {
    let change = &mut delivery.change;
    let validate = change.validate.iter_mut().filter_map(|validator| match validator {
        Validator::Exec(program) => Some(program),
        _ => None,
    });
    let on_change = change.on_change.iter_mut().filter_map(|told| match &mut told.notifier {
        Notifier::Exec(program) => Some(program),
        _ => None,
    });
    let verify = change.verify.iter_mut().filter_map(|probe| match &mut probe.check {
        Check::Exec(program) => Some(program),
        _ => None,
    });
    validate.chain(on_change).chain(verify).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn listed() -> Listed {
        let program = Program::new(vec!["/bin/check".into()], Duration::from_secs(1));
        Listed { delivery: "orders".into(), directory: "/run/orders".into(), program }
    }

    #[test]
    fn a_call_leads_into_the_deliverys_directory_and_nowhere_else() {
        let occasion = |generation: &str, is_staged| {
            let call = Call { program: 0, generation: generation.into(), is_staged };
            listed().occasion(&call).map(|occasion| occasion.directory)
        };
        let good = "..2026_11_22_07_00_00.123456789";
        assert_eq!(occasion(good, false), Some("/run/orders".into()));
        assert_eq!(occasion(good, true), Some(format!("/run/orders/{good}").into()));
        for bad in ["", "..", ".", "/etc", "..data", "../../etc", "..2026_11_22_07_00_00.1/../../etc", "a"] {
            assert_eq!(occasion(bad, true), None, "{bad:?}");
            assert_eq!(occasion(bad, false), None, "{bad:?}");
        }
    }

    #[test]
    fn a_program_is_known_by_all_that_it_is() {
        let own = listed();
        let program = own.program.clone();
        assert!(own.is("orders", Path::new("/run/orders"), &program));
        assert!(!own.is("other", Path::new("/run/orders"), &program));
        assert!(!own.is("orders", Path::new("/run/other"), &program));
        let argued = Program { command: vec!["/bin/check".into(), "-f".into()], ..program.clone() };
        assert!(!own.is("orders", Path::new("/run/orders"), &argued));
        let longer = Program { timeout: Duration::from_secs(2), ..program };
        assert!(!own.is("orders", Path::new("/run/orders"), &longer));
    }
}
