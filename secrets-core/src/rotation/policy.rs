//! What a generated value looks like: characters of some classes, random bytes in some notation, or words.
//!
//! Values come from the operating system's generator (`getrandom(2)`), each that the policy allows with the same probability.

mod alphabet;
mod random;
mod read;

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use zeroize::Zeroizing;

use self::alphabet::{Alphabet, Class};
use self::random::Random;
use crate::error::{Error, ErrorKind, Result};
use crate::secret::SecretValue;

/// A rule by which values are made; one that exists gives at least [`MIN_BITS`](Self::MIN_BITS) bits of chance.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Policy(Form);

#[derive(Clone, Debug, Eq, PartialEq)]
enum Form {
    /// So many characters, at least one of each class.
    Characters { length: usize, alphabet: Alphabet },
    /// So many random bytes, in some notation.
    Bytes { count: usize, notation: Notation },
    /// A UUID of version 4 (RFC 9562), which has 122 random bits.
    Uuid,
    /// So many words of a list of 2048.
    Words { count: usize, separator: String },
}

/// How bytes are written as text.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Notation {
    /// Two lower-case digits a byte.
    Hex,
    /// With padding (RFC 4648, section 4).
    Base64,
    /// Without padding (RFC 4648, section 5).
    Base64Url,
}

impl Policy {
    /// The least chance that a policy may give, in bits.
    pub const MIN_BITS: f64 = 64.0;

    /// Makes a value.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] when the operating system gives no random numbers.
    pub fn generate(&self) -> Result<SecretValue> {
        let mut random = Random::default();
        match &self.0 {
            Form::Characters { length, alphabet } => alphabet.text(*length, &mut random),
            Form::Bytes { count, notation } => notation.text(&random.bytes(*count)?),
            Form::Uuid => uuid(&mut random),
            Form::Words { count, separator } => words(*count, separator, &mut random),
        }
    }

    /// Returns how many bits of chance a value has: the logarithm of the number of values that are possible, all of which are equally likely.
    pub fn entropy_bits(&self) -> f64 {
        match &self.0 {
            Form::Characters { length, alphabet } => alphabet.bits(*length),
            Form::Bytes { count, .. } => 8.0 * number(*count),
            Form::Uuid => 122.0,
            Form::Words { count, .. } => WORD_BITS * number(*count),
        }
    }
}

impl Default for Policy {
    /// Returns 32 letters and digits.
    fn default() -> Self {
        let alphabet = Alphabet::new([Class::Lower, Class::Upper, Class::Digit].map(Class::characters));
        Self(Form::Characters { length: 32, alphabet })
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Form::Characters { length, .. } => write!(f, "{length} characters"),
            Form::Bytes { count, notation: Notation::Hex } => write!(f, "{count} bytes in hexadecimal"),
            Form::Bytes { count, .. } => write!(f, "{count} bytes in base64"),
            Form::Uuid => f.write_str("a UUID"),
            Form::Words { count, .. } => write!(f, "{count} words"),
        }
    }
}

impl Notation {
    fn text(self, bytes: &[u8]) -> Result<SecretValue> {
        let mut text = Zeroizing::new(vec![0; 2 * bytes.len() + 4]);
        let length = match self {
            Self::Hex => Ok(hex(bytes, &mut text)),
            Self::Base64 => STANDARD.encode_slice(bytes, &mut text),
            Self::Base64Url => URL_SAFE_NO_PAD.encode_slice(bytes, &mut text),
        };
        let length = length
            .map_err(|_| Error::new(ErrorKind::Invalid, "generate", "the value is longer than its buffer"))?;
        Ok(SecretValue::copy_of(&text[..length]))
    }
}

fn hex(bytes: &[u8], text: &mut [u8]) -> usize {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (byte, digits) in bytes.iter().zip(text.chunks_exact_mut(2)) {
        digits.copy_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    }
    2 * bytes.len()
}

fn uuid(random: &mut Random) -> Result<SecretValue> {
    let mut bytes = random.bytes(16)?;
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let mut digits = Zeroizing::new([0; 32]);
    hex(&bytes, digits.as_mut_slice());
    let mut text = Zeroizing::new(Vec::with_capacity(36));
    for part in [0..8, 8..12, 12..16, 16..20, 20..32] {
        if !text.is_empty() {
            text.push(b'-');
        }
        text.extend_from_slice(&digits[part]);
    }
    Ok(SecretValue::copy_of(&text))
}

fn words(count: usize, separator: &str, random: &mut Random) -> Result<SecretValue> {
    let list: Vec<&str> = WORDS.lines().collect();
    let longest = list.iter().map(|word| word.len()).max().unwrap_or_default();
    let mut text = Zeroizing::new(Vec::with_capacity(count * (longest + separator.len())));
    for index in 0..count {
        if index > 0 {
            text.extend_from_slice(separator.as_bytes());
        }
        text.extend_from_slice(random.choose(&list)?.as_bytes());
    }
    Ok(SecretValue::copy_of(&text))
}

#[allow(clippy::cast_precision_loss, reason = "a count of characters, far below 2^52")]
fn number(count: usize) -> f64 {
    count as f64
}

/// The English list of BIP 39, of 2048 words that differ in their first four letters; by Pavol Rusnak, under the MIT licence beside it.
const WORDS: &str = include_str!("policy/words.txt");
const WORD_BITS: f64 = 11.0;

#[cfg(test)]
mod tests;
