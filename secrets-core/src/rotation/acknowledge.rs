//! Who uses a new value, by what replicas say of themselves.
//!
//! An agent that delivered a version, and saw the application work with it, writes so in one document beside the secret: its own name, and the
//! version. The rotator counts those that name the version that it published. They can keep the old value longer than `overlap`, and never
//! shorter: a replica that lies, or is heard twice, does no more harm than there would be without it.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use super::course::{Course, Phase};
use super::store::{Fields, Revision};
use crate::clock::later;
use crate::config::Section;
use crate::error::{Error, ErrorKind, Result};
use crate::provider::Provider;
use crate::reference::SecretRef;
use crate::value::Value;

/// Whom a rotation waits for before the old value goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Acknowledge {
    /// How many replicas have to say that they use the new value.
    pub expect: u32,
    /// For how long they are waited for, from the publication on.
    pub deadline: Duration,
}

impl Acknowledge {
    /// Reads `expect` and `deadline`.
    pub(super) fn parse(mut section: Section<'_>) -> Option<Self> {
        let (expect, deadline) = (section.required("expect"), section.required("deadline"));
        if expect.is_some_and(|expect: u32| !(1..=MOST).contains(&(expect as usize))) {
            section.mistake(format!("`expect` is 1 at least, and {MOST} at most"));
        }
        section.finish();
        Some(Self { expect: expect?, deadline: deadline? })
    }

    /// Returns until when the old value is kept although its overlap is over, when so many have acknowledged; none where it may go. What
    /// somebody has whom it is not for is kept for nobody.
    pub fn keeps_until(self, course: &Course, acknowledged: usize, now: Timestamp) -> Option<Timestamp> {
        let (Phase::Published { attempt, .. }, Some(last)) = (course.phase(), course.last()) else {
            return None;
        };
        let deadline = later(last.at, self.deadline);
        let is_awaited = !attempt.is_emergency && !self.is_complete(acknowledged);
        (is_awaited && now < deadline).then_some(deadline)
    }

    /// Tells whether that many are enough.
    pub fn is_complete(self, acknowledged: usize) -> bool {
        u32::try_from(acknowledged).is_ok_and(|count| count >= self.expect)
    }
}

/// Which version each replica says that it uses.
#[derive(Debug, Default)]
pub(crate) struct Acknowledgements(BTreeMap<String, String>);

impl Acknowledgements {
    /// Reads them; what is none is left out.
    pub(crate) fn parse(fields: Option<&Fields>) -> Self {
        let said = |(replica, version): (&String, &Value)| match version {
            Value::Bytes(version) => Some((replica.clone(), version.expose_text()?.to_owned())),
            _ => None,
        };
        Self(fields.into_iter().flatten().filter_map(said).collect())
    }

    /// Counts the replicas that use exactly what was published.
    pub(crate) fn count(&self, published: &Revision) -> usize {
        self.0.values().filter(|version| version.as_str() == published.as_str()).count()
    }

    /// Returns them with that of `replica`; none where it is there. Those of later versions stay, unless that makes too many; what else
    /// is not of this version is dropped.
    fn with(&self, replica: &str, version: &str) -> Option<Fields> {
        if self.0.get(replica).is_some_and(|known| known == version) {
            return None;
        }
        let others = || self.0.iter().filter(|(other, _)| *other != replica);
        let same = others().filter(|(_, said)| *said == version);
        let later = others().filter(|(_, said)| is_later(said, version));
        let kept = same.chain(later).take(MOST - 1);
        let kept = kept.map(|(other, said)| (other.clone(), said.as_str().into()));
        Some(kept.chain([(replica.to_owned(), version.into())]).collect())
    }
}

fn is_later(other: &str, version: &str) -> bool {
    matches!((other.parse::<u64>(), version.parse::<u64>()), (Ok(other), Ok(version)) if other > version)
}

/// How many replicas are written down: what fits into one secret, and is more than say so of one.
const MOST: usize = 4096;

/// Writes down that `replica` uses `version` of a secret.
///
/// # Errors
/// [`ErrorKind::Conflict`] when others wrote at the same moment: it is tried again; otherwise as for [`Store::look`](super::Store::look).
pub(crate) async fn acknowledge(
    provider: &dyn Provider,
    secret: &SecretRef,
    replica: &str,
    version: &str,
) -> Result<()> {
    let Some(store) = provider.store() else {
        return Err(Error::new(ErrorKind::Unsupported, "acknowledge", "the provider only reads"));
    };
    let place = store.acknowledgements_of(&secret.whole()).await?;
    let found = store.look(&place).await?;
    match Acknowledgements::parse(found.fields.as_ref()).with(replica, version) {
        Some(fields) => store.write(&place, &fields, &found.revision, replica).await.map(drop),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::rotation::course::{Attempt, Event, Rules, Step};

    fn said(replicas: &[(&str, &str)]) -> Acknowledgements {
        Acknowledgements(
            replicas.iter().map(|(replica, version)| ((*replica).into(), (*version).into())).collect(),
        )
    }

    #[test]
    fn one_that_repeats_itself_counts_once_and_other_versions_do_not() {
        let all = said(&[("a", "7"), ("b", "6"), ("c", "8")]);
        assert_eq!(all.count(&Revision::new(7)), 1);
        assert!(said(&[("a", "7")]).with("a", "7").is_none());
        let fields = said(&[("a", "7"), ("b", "6")]).with("b", "7").unwrap();
        assert_eq!(Acknowledgements::parse(Some(&fields)).count(&Revision::new(7)), 2);
    }

    #[test]
    fn a_replica_that_lags_takes_nothing_back_and_old_versions_are_dropped() {
        let fields = said(&[("a", "10"), ("c", "8")]).with("b", "9").unwrap();
        let all = Acknowledgements::parse(Some(&fields));
        assert_eq!((all.count(&Revision::new(10)), all.count(&Revision::new(9)), all.0.len()), (1, 1, 2));
        let fields = said(&[("a", "9"), ("b", "9")]).with("a", "10").unwrap();
        assert_eq!(fields.keys().collect::<Vec<_>>(), ["a"]);
    }

    #[test]
    fn a_version_that_never_was_silences_nobody() {
        let fields = said(&[("x", "99999"), ("a", "7")]).with("b", "7").unwrap();
        assert_eq!(Acknowledgements::parse(Some(&fields)).count(&Revision::new(7)), 2);
    }

    #[test]
    fn the_document_stays_small_and_keeps_what_is_said_of_this_version() {
        let crowd = |version: &'static str| {
            (0..MOST).map(move |number| (format!("{version}-{number}"), version.to_owned()))
        };
        let full = Acknowledgements(crowd("8").chain([("a".into(), "7".into())]).collect());
        let fields = full.with("z", "7").unwrap();
        assert_eq!(fields.len(), MOST);
        assert_eq!(Acknowledgements::parse(Some(&fields)).count(&Revision::new(7)), 2);
        let full = Acknowledgements(crowd("7").collect());
        assert_eq!(Acknowledgements::parse(full.with("z", "7").as_ref()).count(&Revision::new(7)), MOST);
    }

    #[test]
    fn what_else_is_in_the_document_counts_for_nothing() {
        let fields = serde_json::from_str(r#"{"a": 7, "b": ["7"], "c": "7", "d": null}"#).unwrap();
        assert_eq!(Acknowledgements::parse(Some(&fields)).count(&Revision::new(7)), 1);
        assert_eq!(Acknowledgements::parse(None).count(&Revision::new(7)), 0);
    }

    /// Returns when the old value goes, in seconds after the publication, when replicas acknowledge at `times`.
    fn goes_at(rules: Rules, wanted: Acknowledge, is_emergency: bool, times: &[u64]) -> u64 {
        let at = |seconds| later(Timestamp::UNIX_EPOCH, Duration::from_secs(seconds));
        let attempt = Attempt { token: "t".into(), begun_at: at(0), base: Revision::new(1), is_emergency };
        let mut course = Course::default();
        for event in [Event::Created(attempt), Event::Set, Event::Tested, Event::Published(Revision::new(2))]
        {
            course.note(event, rules, at(0));
        }
        let may_go = |second: &u64| {
            let count = times.iter().filter(|time| *time <= second).count();
            course.next(at(*second), false) == Step::Retire
                && wanted.keeps_until(&course, count, at(*second)).is_none()
        };
        (0..10_000).find(may_go).unwrap()
    }

    proptest! {
        #[test]
        fn the_old_value_goes_when_all_have_it_never_before_its_overlap_and_never_after_the_deadline(
            overlap in 0u64..100, more in 0u64..200, expect in 1u32..6, times in proptest::collection::vec(0u64..400, 0..8),
        ) {
            let seconds = Duration::from_secs;
            let rules = Rules { overlap: seconds(overlap), is_gapless: true };
            let wanted = Acknowledge { expect, deadline: seconds(overlap + more) };
            let goes = goes_at(rules, wanted, false, &times);
            let mut sorted = times.clone();
            sorted.sort_unstable();
            let complete = sorted.get(expect as usize - 1).copied().unwrap_or(u64::MAX);
            prop_assert_eq!(goes, complete.min(overlap + more).max(overlap));
            prop_assert_eq!(goes_at(rules, wanted, true, &times), 0, "an emergency waits for nobody");
            // One more never makes it later.
            let others = [times, vec![0]].concat();
            prop_assert!(goes_at(rules, wanted, false, &others) <= goes);
        }
    }
}
