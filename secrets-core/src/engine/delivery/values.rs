//! The values of a delivery's secrets: the newest, those behind what is visible, and until when those last that it would go back to.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use jiff::Timestamp;
use smol_str::SmolStr;

use crate::config::{OnForbidden, SecretConfig};
use crate::engine::acknowledge::InUse;
use crate::error::{Error, ErrorKind};
use crate::keeper::KeeperHandle;
use crate::secret::Secret;
use crate::transaction::Versions;

/// The secrets of a delivery by name, each with a value.
pub(super) type Secrets = BTreeMap<SmolStr, Arc<Secret>>;
/// Which value of each secret it is, in the order of the inputs.
pub(in crate::engine) type Revisions = Vec<u64>;
/// The secrets of a delivery by name; everybody who looks at them has the same ones.
pub(in crate::engine) type Inputs = Arc<BTreeMap<SmolStr, Input>>;

/// One secret of a delivery: what the configuration says of it, and who keeps it.
#[derive(Clone, Debug)]
pub(in crate::engine) struct Input {
    pub(in crate::engine) config: SecretConfig,
    pub(in crate::engine) handle: KeeperHandle,
}

/// A good value of every secret.
#[derive(Debug)]
pub(super) struct Newest {
    pub(super) secrets: Secrets,
    pub(super) revisions: Revisions,
    pub(super) versions: Versions,
}

/// What a delivery knows of the values of its secrets.
#[derive(Debug)]
pub(super) struct Values {
    pub(super) inputs: Inputs,
    /// Those that have no value yet, as far as was looked: the last one is looked at first. Once there is a value, there always is one.
    missing: Vec<KeeperHandle>,
    /// Those whose source's refusal counts, with what it does.
    reacting: Vec<(OnForbidden, KeeperHandle)>,
    /// Those that were taken last; empty before the first time.
    taken: Revisions,
    /// Those behind what is visible.
    pub(super) visible: Revisions,
    /// What the sources call those, in the order of the inputs; empty where the application may not work with them.
    versions: Vec<SmolStr>,
    /// Those that the application is known to work with, each with its end.
    base: Vec<(u64, Option<Timestamp>)>,
    /// Where it is said which versions that is, of the secrets of which it is to be said.
    pub(super) in_use: Option<InUse>,
}

impl Values {
    pub(super) fn new(inputs: Inputs) -> Self {
        let missing = inputs.values().rev().map(|input| input.handle.clone()).collect();
        let reacting = inputs.values().filter(|input| input.config.on_forbidden != OnForbidden::Keep);
        let reacting = reacting.map(|input| (input.config.on_forbidden, input.handle.clone())).collect();
        Self {
            inputs,
            missing,
            reacting,
            taken: Revisions::new(),
            visible: Revisions::new(),
            versions: Vec::new(),
            base: Vec::new(),
            in_use: None,
        }
    }

    /// Returns the newest good values, once there is one of every secret and where they are not those that were taken last.
    pub(super) fn newer(&mut self) -> Option<Newest> {
        if !self.are_present() || (!self.inputs.is_empty() && self.changed().next().is_none()) {
            return None;
        }
        let (mut secrets, mut revisions) = (Secrets::new(), Revisions::new());
        for (name, input) in self.inputs.iter() {
            let kept = input.handle.kept();
            secrets.insert(name.clone(), kept.secret?);
            revisions.push(kept.revision);
        }
        Some(Newest { versions: versions(&secrets), secrets, revisions })
    }

    /// Tells whether there is a value of every secret.
    fn are_present(&mut self) -> bool {
        while self.missing.pop_if(|handle| handle.revision() > 0).is_some() {}
        self.missing.is_empty()
    }

    /// Returns the secrets that have another value than the one that was taken last.
    fn changed(&self) -> impl Iterator<Item = &Input> {
        let inputs = self.inputs.values().enumerate();
        inputs
            .filter(|(at, input)| self.taken.get(*at) != Some(&input.handle.revision()))
            .map(|(_, input)| input)
    }

    /// Notes that these values were looked at, and are not to be looked at again.
    pub(super) fn take(&mut self, revisions: &Revisions) {
        self.taken.clone_from(revisions);
    }

    /// Returns the values that were taken last.
    pub(super) fn taken(&self) -> &Revisions {
        &self.taken
    }

    /// Has the values that were taken looked at again.
    pub(super) fn take_back(&mut self) {
        self.taken.clear();
    }

    /// Notes what is visible.
    pub(super) fn show(&mut self, revisions: Revisions, versions: &Versions) {
        self.visible = revisions;
        self.versions =
            self.inputs.keys().filter_map(|name| versions.get(name.as_str())).map(SmolStr::from).collect();
    }

    /// Returns what the sources call what is visible, by the secrets' names; nothing where the application may not work with it.
    pub(super) fn versions(&self) -> Versions {
        let versions = self.inputs.keys().zip(&self.versions);
        versions.map(|(name, version)| (name.to_string(), version.to_string())).collect()
    }

    /// Notes that what is visible is what the application works with.
    pub(super) fn commit(&mut self) {
        self.base = self.visible.iter().map(|revision| (*revision, None)).collect();
        self.observe();
    }

    /// Says which versions are behind what is visible, which the application works with.
    pub(super) fn acknowledge(&self) {
        let Some(in_use) = &self.in_use else { return };
        let said = self.inputs.values().zip(&self.versions).filter(|(input, _)| input.config.acknowledge);
        let versions = said.map(|(input, version)| (input.config.reference.whole(), version.to_string()));
        in_use.send_modify(|in_use| in_use.extend(versions));
    }

    /// Notes that the application may not work with what was visible.
    pub(super) fn withdraw(&mut self) {
        self.versions.clear();
    }

    /// Notes that what the application works with is visible again.
    pub(super) fn go_back(&mut self) {
        self.versions.clear();
        self.visible = self.base.iter().map(|(revision, _)| *revision).collect();
    }

    /// Looks up until when the values last that the application works with, as long as they are the newest or the ones before.
    pub(super) fn observe(&mut self) {
        for ((revision, ends_at), input) in self.base.iter_mut().zip(self.inputs.values()) {
            let kept = input.handle.kept();
            if kept.revision == *revision {
                *ends_at = kept.deadline;
            } else if kept.revision == *revision + 1 {
                *ends_at = kept.replaced_ends_at;
            }
        }
    }

    /// Returns when the first of the values ends that the application works with.
    pub(super) fn base_ends_at(&self) -> Option<Timestamp> {
        self.base.iter().filter_map(|(_, ends_at)| *ends_at).min()
    }

    /// Returns why the source of a secret refuses, if it is one of which the configuration says `reaction`.
    pub(super) fn refused(&self, reaction: OnForbidden) -> Option<Error> {
        let reacting = self.reacting.iter().filter(|(own, _)| *own == reaction);
        reacting
            .filter_map(|(_, handle)| handle.kept().error)
            .find(|error| error.kind() == ErrorKind::PermissionDenied)
    }

    /// Where there is a newer value than the one that was taken, has the other secrets asked at once, so that those which were written together
    /// become visible together. One whose source fails is left to its own pace.
    pub(super) async fn settle(&self) {
        if self.taken.is_empty() {
            return;
        }
        let new = self.changed().count();
        if new > 0 && self.inputs.len() - new <= SETTLE_AT_MOST {
            let old = self.inputs.values().zip(&self.taken);
            let old = old.filter(|(input, taken)| input.handle.revision() == **taken).map(|(input, _)| input);
            let answering = old.filter(|input| input.handle.kept().error.is_none());
            join_all(answering.map(|input| input.handle.refresh(SETTLE_WITHIN))).await;
        }
    }
}

/// Returns the versions of secrets, by their names.
pub(super) fn versions(secrets: &Secrets) -> Versions {
    secrets.iter().map(|(name, secret)| (name.to_string(), secret.version().to_string())).collect()
}

/// How long the other secrets of a delivery are waited for after one changed.
const SETTLE_WITHIN: Duration = Duration::from_millis(500);
/// How many other secrets are asked then; beyond it a change would cost more requests than it is worth.
const SETTLE_AT_MOST: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_withdrawal_leaves_what_counts_as_visible() {
        let mut values = Values::new(Inputs::default());
        values.show(vec![3], &Versions::new());
        values.versions = vec!["7".into()];
        values.withdraw();
        assert_eq!((values.visible, values.versions), (vec![3], Vec::new()));
    }
}
