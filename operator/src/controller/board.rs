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

impl Looks {
    /// Forgets the schedules that are gone.
    fn forget(&mut self) {
        let there: BTreeSet<String> =
            self.store.iter().flat_map(Store::state).map(|schedule| path(&schedule)).collect();
        self.looks.retain(|name, _| there.contains(name));
    }
}

impl Board {
    /// Shows the schedules of a leader, or none.
    pub(super) fn show(&self, store: Option<Store<RotationSchedule>>) {
        *self.lock() = Looks { looks: BTreeMap::new(), store };
    }

    /// Takes a look; what was published before is added to it.
    pub(super) fn note(&self, mut look: Look) {
        let mut shown = self.lock();
        shown.forget();
        let looks = &mut shown.looks;
        if let Some(known) = looks.remove(&look.name) {
            // Where nobody could look, it stands as it stood.
            look.standing = look.standing.or(known.standing);
            look.published += known.published;
            look.failed += known.failed;
        }
        looks.insert(look.name.clone(), look);
    }

    /// Shows nothing more of a schedule.
    pub(super) fn leave_out(&self, name: &str) {
        self.lock().looks.remove(name);
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
        shown.forget();
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

#[cfg(test)]
mod tests {
    use keywheel_core::SecretRef;
    use kube::runtime::reflector::store::Writer;
    use kube::runtime::watcher::Event;

    use super::*;

    fn schedule(name: &str) -> RotationSchedule {
        let whole = serde_json::json!({
            "apiVersion": "keywheel.dev/v1alpha1", "kind": "RotationSchedule", "metadata": {"name": name, "namespace": "shop"},
            "spec": {
                "target": "vault://secret/db", "schedule": {"every": "1h"}, "strategy": {"random": {}}, "serviceAccountName": "a",
                "provider": {"address": "https://vault.test", "auth": {"role": "a"}},
            },
        });
        serde_json::from_value(whole).unwrap()
    }

    fn look(name: &str) -> Look {
        let target = "vault://secret/db".parse::<SecretRef>().unwrap().to_string();
        Look {
            name: name.into(),
            target,
            strategy: "random",
            standing: None,
            error: None,
            published: 1,
            failed: 0,
        }
    }

    #[test]
    fn schedules_that_are_gone_are_forgotten_also_where_nobody_asks_for_metrics() {
        let (board, mut writer) = (Board::default(), Writer::<RotationSchedule>::default());
        board.show(Some(writer.as_reader()));
        for number in 0..100 {
            let name = format!("s{number}");
            writer.apply_watcher_event(&Event::Apply(schedule(&name)));
            board.note(look(&format!("shop/{name}")));
            writer.apply_watcher_event(&Event::Delete(schedule(&name)));
        }
        assert_eq!(board.lock().looks.len(), 1, "the last one, until somebody looks");
        assert!(!board.write(true).contains("shop/s"));
    }
}
