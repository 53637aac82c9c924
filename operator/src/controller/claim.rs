//! Which of the schedules that have one target keeps it: a pure decision.
//!
//! The oldest of a namespace has it, and of those that are equally old the first by name: the others would rotate what it has just rotated. One that is paused or
//! is being deleted has none. Schedules of
//! other namespaces count for nothing: one could keep another from rotating, and who may write the secret is its source's to say.

use std::sync::Arc;

use keywheel_core::SecretRef;

use super::resource::RotationSchedule;

/// Returns the name of that of `all` which has the target in place of `schedule`, if there is one.
pub(super) fn holder(schedule: &RotationSchedule, all: &[Arc<RotationSchedule>]) -> Option<String> {
    let target = target(schedule)?;
    let older = all.iter().filter(|other| {
        place(other) == place(schedule)
            && rank(other) < rank(schedule)
            && other.metadata.deletion_timestamp.is_none()
            && !other.spec.schedule.paused
            && self::target(other).as_ref() == Some(&target)
    });
    older.min_by(|one, other| rank(one).cmp(&rank(other)))?.metadata.name.clone()
}

/// Returns the namespace of a schedule, and the server that its references are about, with the namespace there.
fn place(schedule: &RotationSchedule) -> (Option<&str>, &str, Option<&str>) {
    let provider = &schedule.spec.provider;
    let namespace = schedule.metadata.namespace.as_deref();
    (namespace, provider.address.trim_end_matches('/'), provider.namespace.as_deref())
}

/// Orders the schedules of a namespace. How old each is, the API server says, to the second.
fn rank(schedule: &RotationSchedule) -> impl Ord {
    (&schedule.metadata.creation_timestamp, &schedule.metadata.name)
}

/// Returns what is rotated; nothing where that is a mistake.
fn target(schedule: &RotationSchedule) -> Option<SecretRef> {
    schedule.spec.target.parse::<SecretRef>().ok().map(|target| target.whole())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    type Parts = (usize, usize, usize, u32, Option<bool>);

    /// Returns a schedule whose name is `number`.
    fn schedule(number: usize, (namespace, address, target, second, absent): Parts) -> RotationSchedule {
        let namespace = ["shop", "bank"][namespace];
        // Of each, two are one.
        let address = ["https://v", "https://v/", "https://w"][address];
        let target = ["vault://secret/db", "vault://secret/d%62", "vault://secret/api"][target];
        let mut whole = json!({
            "apiVersion": "keywheel.dev/v1alpha1", "kind": "RotationSchedule",
            "metadata": {
                "name": format!("s{number:02}"), "namespace": namespace,
                "creationTimestamp": format!("2026-11-22T09:00:0{second}Z"),
            },
            "spec": {
                "target": target,
                "provider": {"address": address, "auth": {"role": "r"}},
                "schedule": {"every": "1h"}, "strategy": {"random": {}}, "serviceAccountName": "a",
            },
        });
        match absent {
            Some(true) => whole["metadata"]["deletionTimestamp"] = "2026-11-22T10:00:00Z".into(),
            Some(false) => whole["spec"]["schedule"]["paused"] = true.into(),
            None => {}
        }
        serde_json::from_value(whole).unwrap()
    }

    /// Returns what two schedules must not both keep.
    fn claim((namespace, address, target, ..): &Parts) -> (usize, bool, bool) {
        (*namespace, *address == 2, *target == 2)
    }

    proptest! {
        /// Of those with one target, the oldest that stays has it, whatever the order in which they are seen.
        #[test]
        fn each_target_has_one_that_keeps_it(
            parts in prop::collection::vec((0..2_usize, 0..3_usize, 0..3_usize, 0..3_u32, any::<Option<bool>>()), 1..12),
            turn in any::<prop::sample::Index>(),
        ) {
            let mut all: Vec<_> = parts.iter().enumerate().map(|(number, parts)| Arc::new(schedule(number, *parts))).collect();
            let own = all.clone();
            all.rotate_left(turn.index(parts.len()));
            for (number, one) in own.iter().enumerate() {
                let same = |other: &usize| claim(&parts[*other]) == claim(&parts[number]);
                let age = |number: usize| (parts[number].3, number);
                let first = (0..parts.len()).filter(|other| same(other) && parts[*other].4.is_none()).min_by_key(|other| age(*other));
                let expected = first.filter(|first| age(*first) < age(number)).map(|first| format!("s{first:02}"));
                prop_assert_eq!(holder(one, &all), expected, "{:?}", parts);
            }
        }
    }
}
