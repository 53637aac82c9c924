//! Uniform choices by the operating system's generator.

use std::fmt;

use zeroize::Zeroizing;

use crate::error::{Error, ErrorKind, Result};

/// Random numbers, drawn from the operating system in small pools that are wiped.
pub(super) struct Random {
    pool: Zeroizing<[u8; 256]>,
    used: usize,
}

impl Default for Random {
    fn default() -> Self {
        Self { pool: Zeroizing::new([0; 256]), used: 256 }
    }
}

impl fmt::Debug for Random {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Random")
    }
}

impl Random {
    /// Returns so many bytes.
    pub(super) fn bytes(&mut self, count: usize) -> Result<Zeroizing<Vec<u8>>> {
        let mut bytes = Zeroizing::new(vec![0; count]);
        fill(&mut bytes)?;
        Ok(bytes)
    }

    /// Returns one of up to 65,536 things, each with the same probability.
    pub(super) fn choose<'a, T>(&mut self, things: &'a [T]) -> Result<&'a T> {
        loop {
            let drawn = self.draw()?;
            if let Some(chosen) = fair(drawn, things.len()).and_then(|index| things.get(index)) {
                return Ok(chosen);
            }
        }
    }

    fn draw(&mut self) -> Result<u16> {
        if self.used + 2 > self.pool.len() {
            fill(self.pool.as_mut_slice())?;
            self.used = 0;
        }
        let drawn = [self.pool[self.used], self.pool[self.used + 1]];
        self.used += 2;
        Ok(u16::from_le_bytes(drawn))
    }
}

fn fill(bytes: &mut [u8]) -> Result<()> {
    getrandom::fill(bytes).map_err(|_| {
        Error::new(ErrorKind::Unavailable, "generate", "the operating system gives no random numbers")
    })
}

/// Makes an index below `count` of a number. The remainder alone would favour the first ones: numbers beyond the last whole multiple of `count` make none.
fn fair(drawn: u16, count: usize) -> Option<usize> {
    let drawn = usize::from(drawn);
    let usable = (DRAWS / count.max(1)) * count;
    (drawn < usable).then(|| drawn % count)
}

const DRAWS: usize = 1 << 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_index_comes_of_equally_many_numbers() {
        for count in [1, 2, 3, 10, 26, 62, 94, 255, 256, 2047, 2048, 40_000, 65_536] {
            let mut found = vec![0; count];
            for drawn in 0..=u16::MAX {
                if let Some(index) = fair(drawn, count) {
                    found[index] += 1;
                }
            }
            assert!(found.iter().all(|times| *times == DRAWS / count), "{count}");
        }
    }
}
