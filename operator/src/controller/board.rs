//! How all rotations stand, for `/metrics`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use keywheel_core::rotation::{Look, MEASURES};
use kube::runtime::reflector::Store;

use super::resource::RotationSchedule;
use super::work::path;
use crate::metrics::Families;

/// The last look at each schedule that is there.
#[derive(Clone, Debug, Default)]
pub(super) struct Board(Arc<Mutex<Looks>>);

#[derive(Debug, Default)]
struct Looks {
    /// By namespace and name.
    looks: BTreeMap<String, Look>,
    /// What there is, for who leads.
    store: Option<Store<RotationSchedule>>,
}

impl Board {
    /// Shows the schedules of a leader, or none.
    pub(super) fn show(&self, store: Option<Store<RotationSchedule>>) {
        *self.lock() = Looks { looks: BTreeMap::new(), store };
    }

    /// Takes a look; what was published before is added to it.
    pub(super) fn note(&self, mut look: Look) {
        let looks = &mut self.lock().looks;
        if let Some(known) = looks.remove(&look.name) {
            // Where nobody could look, it stands as it stood.
            look.standing = look.standing.or(known.standing);
            look.published += known.published;
            look.failed += known.failed;
        }
        looks.insert(look.name.clone(), look);
    }

    /// Writes the metrics of a replica that leads, or does not.
    pub(super) fn write(&self, leads: bool) -> String {
        let mut families = Families::begin();
        families.add(
            "keywheel_controller_leader",
            "gauge",
            "Whether this replica is the one that rotates.",
            [(String::new(), f64::from(u8::from(leads)))],
        );
        let mut shown = self.lock();
        let there: BTreeSet<String> =
            shown.store.iter().flat_map(Store::state).map(|schedule| path(&schedule)).collect();
        shown.looks.retain(|name, _| there.contains(name));
        for measure in MEASURES {
            // Names of objects in a cluster need no escapes.
            let lines = shown.looks.values().flat_map(|look| measure.of(look));
            let lines = lines.map(|(labels, value)| (format!("{{{labels}}}"), value));
            families.add(measure.name, measure.kind, measure.help, lines);
        }
        families.finish()
    }

    fn lock(&self) -> MutexGuard<'_, Looks> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
