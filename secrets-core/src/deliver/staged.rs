//! A change of a delivery directory in parts, for whoever has to look at a generation before it is visible, or to go back behind it.
//!
//! ```text
//! stage -> publish -> commit
//!   |         |
//! discard   revert
//! ```

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use super::atomic_dir::{AtomicDir, Written, located};
use super::compare::Change;
use super::failure::{Failure, OPERATION};
use super::folder;
use super::generation::{Current, Generation};
use super::links;
use super::manifest::Sources;
use super::publish::{discard, swap};
use super::remove;
use crate::error::{Error, ErrorKind, Result};
use crate::payload::Payload;

/// A generation that is complete, and that nobody sees through the visible names yet.
#[derive(Debug)]
pub struct Staged {
    pub(super) generation: Generation,
    pub(super) changes: Vec<Change>,
    pub(super) visible: BTreeSet<String>,
}

impl Staged {
    /// Returns the name of its folder.
    pub fn generation(&self) -> &str {
        self.generation.as_str()
    }
}

impl AtomicDir {
    /// Does the first half of [`write`](Self::write), steps 1 to 4; returns `None` when the current generation is what was wanted already.
    ///
    /// What is staged is [published](Self::publish) or [discarded](Self::discard); the next [`open`](Self::open) takes what is neither
    /// for what a crash left.
    ///
    /// # Errors
    /// As [`write`](Self::write) has before step 5: nothing is left behind then.
    pub fn stage(&mut self, payload: &Payload, sources: &Sources) -> Result<Option<Staged>> {
        self.try_stage(payload, sources).map_err(|error| located(error, &self.settings))
    }

    /// Returns the folder of what is staged, for programs that look at it.
    pub fn path_of(&self, staged: &Staged) -> PathBuf {
        self.settings.directory.join(staged.generation.as_str())
    }

    /// Does the second half of [`write`](Self::write), steps 5 to 8.
    ///
    /// # Errors
    /// As [`write`](Self::write) has from step 5 on. Where the generation did not become visible, it is removed.
    pub fn publish(&mut self, staged: Staged) -> Result<Written> {
        let Staged { generation, changes, visible } = staged;
        self.make_current(&generation, true).map_err(|failure| located(failure.into(), &self.settings))?;
        // 7 and 8
        links::mend(&self.root, &visible.iter().map(String::as_str).collect())
            .map_err(|failure| located(failure.into(), &self.settings))?;
        Ok(Written::Published { generation: generation.to_string(), changes })
    }

    /// Removes what was staged.
    pub fn discard(&mut self, staged: &Staged) {
        discard(&self.root, &staged.generation, &self.settings);
    }

    /// Has the current generation stay, however long, until [`commit`](Self::commit): it may have to come back. One that is held already
    /// stays the one that is held.
    ///
    /// # Errors
    /// [`Deliver`](ErrorKind::Deliver) when `..data` cannot be read.
    pub fn hold(&mut self) -> Result<()> {
        if self.held.is_none() {
            self.held = self.current_generation()?.as_deref().and_then(Generation::parse);
        }
        Ok(())
    }

    /// Lets the generation that is held go, after `overlap`, as one that was replaced at this moment.
    ///
    /// # Errors
    /// [`Deliver`](ErrorKind::Deliver) when `..data` cannot be read; it is held all the same then.
    pub fn commit(&mut self) -> Result<()> {
        let current = self.current_generation()?;
        if let Some(held) = self.held.take()
            && current.as_deref() != Some(held.as_str())
        {
            self.retire(held);
        }
        Ok(())
    }

    /// Removes the generations that were replaced, whatever is left of their `overlap`, and the one that is held.
    ///
    /// # Errors
    /// [`Deliver`](ErrorKind::Deliver), naming the first that could not be removed.
    pub fn forget_replaced(&mut self) -> Result<()> {
        let replaced: Vec<Generation> = self.retired.take_all().into_iter().chain(self.held.take()).collect();
        remove::retired(&self.root, &replaced)
            .map(drop)
            .map_err(|failure| located(failure.into(), &self.settings))
    }

    /// Makes the generation that is held the current one again, by one rename, with the visible links that it had. Returns its name.
    ///
    /// # Errors
    /// [`Deliver`](ErrorKind::Deliver) when there is none, when it is gone, or with the system's reason; before the rename nothing has changed.
    pub fn revert(&mut self) -> Result<String> {
        let Some(held) = self.held.clone() else {
            let reason = "no earlier generation is held";
            return Err(located(Error::new(ErrorKind::Deliver, OPERATION, reason), &self.settings));
        };
        let revert = || -> Result<BTreeSet<String>, Failure> {
            let folder = folder::open(&self.root, held.as_str()).map_err(Failure::of("open", &held))?;
            links::visible_in(&folder)
        };
        let reverted = revert().and_then(|visible| {
            self.make_current(&held, false)?;
            links::mend(&self.root, &visible.iter().map(String::as_str).collect())
        });
        reverted.map_err(|failure| located(failure.into(), &self.settings))?;
        Ok(held.to_string())
    }

    /// Steps 5 and 6; a generation that `is_new` is removed when it does not become current.
    fn make_current(&mut self, generation: &Generation, is_new: bool) -> Result<(), Failure> {
        let before = Current::find(&self.root)?.map(|current| current.name);
        let mut swapped = swap(&self.root, generation, self.durable, &self.settings);
        if swapped.as_ref().is_err_and(Failure::is_full)
            && remove::retired(&self.root, &self.retired.take_all()).is_ok_and(|removed| removed > 0)
        {
            swapped = swap(&self.root, generation, self.durable, &self.settings);
        }
        if let Err(failure) = swapped {
            if is_new {
                discard(&self.root, generation, &self.settings);
            }
            return Err(failure);
        }
        self.retired.forget(generation);
        if let Some(before) =
            before.filter(|before| before != generation && Some(before) != self.held.as_ref())
        {
            self.retire(before);
        }
        Ok(())
    }

    /// Keeps a generation that was replaced for `overlap`, and removes those that are too many now.
    fn retire(&mut self, name: Generation) {
        let now = self.clock.instant();
        let until = now.checked_add(self.settings.overlap).unwrap_or(now + LONGEST_OVERLAP);
        let surplus = self.retired.add(name, until);
        if let Err(failure) = remove::retired(&self.root, &surplus) {
            failure.log(&self.settings, "remove a retired generation");
        }
    }
}

/// An overlap so long that it cannot be added to the clock is this long.
const LONGEST_OVERLAP: Duration = Duration::from_secs(365 * 24 * 60 * 60);
