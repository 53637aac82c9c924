//! How all rotations stand, for `/metrics`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use keywheel_core::rotation::{Look, MEASURES};

use crate::metrics::Families;

/// The last look at each schedule, by its namespace and name.
#[derive(Clone, Debug, Default)]
pub(super) struct Board(Arc<Mutex<BTreeMap<String, Look>>>);

impl Board {
    /// Takes a look; what was published before is added to it.
    pub(super) fn note(&self, mut look: Look) {
        let mut looks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = looks.remove(&look.name) {
            // Where nobody could look, it stands as it stood.
            look.standing = look.standing.or(known.standing);
            look.published += known.published;
            look.failed += known.failed;
        }
        looks.insert(look.name.clone(), look);
    }

    /// Forgets all but those that `is_there` knows.
    pub(super) fn retain(&self, is_there: impl Fn(&str) -> bool) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|name, _| is_there(name));
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
        let looks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for measure in MEASURES {
            // Names of objects in a cluster need no escapes.
            let lines = looks.values().flat_map(|look| measure.of(look));
            let lines = lines.map(|(labels, value)| (format!("{{{labels}}}"), value));
            families.add(measure.name, measure.kind, measure.help, lines);
        }
        families.finish()
    }
}
