//! Which of the schedules that have one target keeps it: a pure decision.
//!
//! The oldest of a namespace has it, and of those that are equally old the first by name: the others would rotate what it has just rotated. Schedules of
//! other namespaces count for nothing: one could keep another from rotating, and who may write the secret is its source's to say.

use std::sync::Arc;

use keywheel_core::SecretRef;

use super::resource::RotationSchedule;

/// Returns the name of one of `all` that has the target before `schedule` does, if there is any.
pub(super) fn holder(schedule: &RotationSchedule, all: &[Arc<RotationSchedule>]) -> Option<String> {
    let target = target(schedule)?;
    let holder = all.iter().find(|other| {
        place(other) == place(schedule)
            && rank(other) < rank(schedule)
            && other.metadata.deletion_timestamp.is_none()
            && self::target(other).as_ref() == Some(&target)
    });
    holder?.metadata.name.clone()
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

    type Parts = (usize, usize, usize, u32, bool);

    /// Returns a schedule whose name is `number`.
    fn schedule(number: usize, (namespace, address, target, second, is_deleted): Parts) -> RotationSchedule {
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
        if is_deleted {
            whole["metadata"]["deletionTimestamp"] = "2026-11-22T10:00:00Z".into();
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
            parts in prop::collection::vec((0..2_usize, 0..3_usize, 0..3_usize, 0..3_u32, any::<bool>()), 1..12),
            turn in any::<prop::sample::Index>(),
        ) {
            let mut all: Vec<_> = parts.iter().enumerate().map(|(number, parts)| Arc::new(schedule(number, *parts))).collect();
            let own = all.clone();
            all.rotate_left(turn.index(parts.len()));
            for (number, one) in own.iter().enumerate() {
                let same = |other: &usize| claim(&parts[*other]) == claim(&parts[number]);
                let age = |number: usize| (parts[number].3, number);
                let first = (0..parts.len()).filter(|other| same(other) && !parts[*other].4).min_by_key(|other| age(*other));
                let holder = holder(one, &all);
                prop_assert_eq!(holder.is_none(), first.is_none_or(|first| age(number) <= age(first)), "{:?}", parts);
                let place = holder.map(|name| own.iter().position(|one| one.metadata.name.as_ref() == Some(&name)).unwrap());
                prop_assert!(place.is_none_or(|place| same(&place) && age(place) < age(number)));
            }
        }
    }
}
