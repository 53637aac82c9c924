//! Characters by class.

use zeroize::Zeroizing;

use super::number;
use super::random::Random;
use crate::error::{Error, ErrorKind, Result};
use crate::secret::SecretValue;

/// A class of ASCII characters.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Class {
    Lower,
    Upper,
    Digit,
    Symbol,
}

impl Class {
    /// Returns its characters: of symbols all 32 that are no letter, digit or blank.
    pub(super) fn characters(self) -> Vec<u8> {
        let is_one = |byte: &u8| match self {
            Self::Lower => byte.is_ascii_lowercase(),
            Self::Upper => byte.is_ascii_uppercase(),
            Self::Digit => byte.is_ascii_digit(),
            Self::Symbol => byte.is_ascii_punctuation(),
        };
        (0..=127).filter(is_one).collect()
    }
}

/// Classes of characters that have none in common, each with at least one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Alphabet {
    classes: Vec<Vec<u8>>,
    all: Vec<u8>,
}

impl Alphabet {
    pub(super) fn new(classes: impl IntoIterator<Item = Vec<u8>>) -> Self {
        let classes: Vec<Vec<u8>> = classes.into_iter().collect();
        Self { all: classes.concat(), classes }
    }

    /// Makes a text of at least one character of each class. One without is thrown away as a whole: to put the missing character in would make some texts
    /// likelier than others.
    pub(super) fn text(&self, length: usize, random: &mut Random) -> Result<SecretValue> {
        let mut text = Zeroizing::new(vec![0; length]);
        for _ in 0..MOST_TRIES {
            for place in text.iter_mut() {
                *place = *random.choose(&self.all)?;
            }
            if self.classes.iter().all(|class| text.iter().any(|byte| class.contains(byte))) {
                return Ok(SecretValue::copy_of(&text));
            }
        }
        let reason = "the operating system's random numbers are not random";
        Err(Error::new(ErrorKind::Unavailable, "generate", reason))
    }

    /// Returns the logarithm of the number of texts: of all, less those that lack a class, by inclusion and exclusion.
    pub(super) fn bits(&self, length: usize) -> f64 {
        let all = number(self.all.len());
        let of_subset = |subset: u32| {
            let lacks = |index: &usize| subset & (1 << index) != 0;
            let lacking: usize =
                (0..self.classes.len()).filter(lacks).map(|index| self.classes[index].len()).sum();
            let part = ((all - number(lacking)) / all).powf(number(length));
            if subset.count_ones().is_multiple_of(2) { part } else { -part }
        };
        let complete: f64 = (0..1 << self.classes.len()).map(of_subset).sum();
        number(length) * all.log2() + complete.log2()
    }
}

/// Of the policies that are allowed, the one with the rarest texts needs some fifty tries.
const MOST_TRIES: u32 = 100_000;
