//! Generations: the folders that hold all files of one delivery, and the link that says which one is current.

use std::fmt;
use std::os::fd::{AsFd, OwnedFd};

use jiff::Timestamp;
use rustix::fs::readlinkat;
use rustix::io::Errno;

use super::failure::Failure;
use super::folder;
use crate::clock::Clock;

/// The link to the current generation.
pub(super) const DATA: &str = "..data";
/// The name under which a link is made before it is renamed to its place.
pub(super) const DATA_TMP: &str = "..data_tmp";

/// The name of a generation: `..YYYY_MM_DD_hh_mm_ss.nnnnnnnnn`, in UTC.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Generation(String);

impl Generation {
    fn made_at(time: Timestamp) -> Self {
        Self(time.strftime("..%Y_%m_%d_%H_%M_%S.%9f").to_string())
    }

    /// Takes `name` when it has the form of a generation's name; the kubelet's, whose random end has up to ten digits, have it too.
    pub(super) fn parse(name: &str) -> Option<Self> {
        let (seconds, end) = name.strip_prefix("..")?.split_once('.')?;
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let parts: Vec<&str> = seconds.split('_').collect();
        let widths_fit = parts.iter().map(|part| part.len()).eq([4, 2, 2, 2, 2, 2]);
        let valid =
            widths_fit && parts.into_iter().all(digits) && (1..=10).contains(&end.len()) && digits(end);
        valid.then(|| Self(name.into()))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Names generations by the clock, and none twice: not even when the clock stands still or goes back.
#[derive(Debug)]
pub(super) struct Names {
    clock: Clock,
    last: Timestamp,
}

impl Names {
    pub(super) fn new(clock: Clock) -> Self {
        Self { clock, last: Timestamp::MIN }
    }

    /// Returns the next name and the time that it says.
    pub(super) fn next(&mut self) -> (Generation, Timestamp) {
        let after_last = self.last.saturating_add(jiff::SignedDuration::from_nanos(1));
        self.last = self.clock.now().max(after_last.unwrap_or(self.last));
        (Generation::made_at(self.last), self.last)
    }
}

/// The generation that `..data` names, held open.
#[derive(Debug)]
pub(super) struct Current {
    pub(super) name: Generation,
    pub(super) folder: OwnedFd,
}

impl Current {
    /// Finds the current generation of the delivery directory `root`.
    ///
    /// There is none when `..data` is missing, is no link, points to anything but the plain name of a generation, or to one that is no
    /// folder or may not be opened: such a link is never followed, only replaced.
    pub(super) fn find(root: impl AsFd) -> Result<Option<Self>, Failure> {
        let target = match readlinkat(&root, DATA, Vec::new()) {
            Ok(target) => target,
            Err(Errno::NOENT | Errno::INVAL) => return Ok(None),
            Err(errno) => return Err(Failure::of("read", DATA)(errno)),
        };
        let Some(name) = target.to_str().ok().and_then(Generation::parse) else {
            return Ok(None);
        };
        match folder::open(root, name.as_str()) {
            Ok(folder) => Ok(Some(Self { name, folder })),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::ACCESS) => Ok(None),
            Err(errno) => Err(Failure::of("open", name)(errno)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_time_in_utc_to_the_nanosecond() {
        let time: Timestamp = "2026-11-22T07:00:00.000456789Z".parse().unwrap();
        let name = Generation::made_at(time);
        assert_eq!(name.as_str(), "..2026_11_22_07_00_00.000456789");
        assert_eq!(Generation::parse(name.as_str()), Some(name));
        let whole: Timestamp = "2026-11-22T07:00:00Z".parse().unwrap();
        assert_eq!(Generation::made_at(whole).as_str(), "..2026_11_22_07_00_00.000000000");
    }

    #[test]
    fn no_name_is_given_twice() {
        let clock = Clock::paused("2026-11-22T07:00:00Z".parse().unwrap());
        let mut names = Names::new(clock);
        let given: Vec<String> = (0..100).map(|_| names.next().0.to_string()).collect();
        assert!(given.is_sorted_by(|a, b| a < b), "{given:?}");
    }

    #[test]
    fn only_plain_names_are_generations() {
        assert!(Generation::parse("..2026_11_22_07_00_00.3021784562").is_some());
        for other in [
            "",
            "..data",
            "..data_tmp",
            "2026_11_22_07_00_00.1",
            "..2026_11_22_07_00_00",
            "..2026_11_22_07_00_00.",
            "..2026_11_22_07_00.1",
            "..2026_11_22_07_00_00.1/..",
            "../2026_11_22_07_00_00.1",
            "/etc",
            "..2026_11_22_07_00_00.12345678901",
            "..２026_11_22_07_00_00.1",
        ] {
            assert!(Generation::parse(other).is_none(), "{other:?}");
        }
    }
}
