//! What a terminal shows beyond text.

use std::io::IsTerminal;

/// The colours that are used, as ECMA-48 numbers them (SGR).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Colour {
    /// Something is wrong.
    Red = 31,
    /// It is as it should be.
    Green = 32,
    /// Look at it.
    Yellow = 33,
}

/// Moves to the upper left corner and clears the screen.
pub(crate) const CLEAR: &str = "\x1b[H\x1b[2J";

/// Tells whether standard output is a terminal.
pub(crate) fn is_output() -> bool {
    std::io::stdout().is_terminal()
}

/// Colours `text` where standard output is a terminal whose user has not asked for none (no-color.org).
pub(crate) fn painted(text: &str, colour: Colour) -> String {
    let wants_none = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    match is_output() && !wants_none {
        true => format!("\x1b[{}m{text}\x1b[0m", colour as u8),
        false => text.to_owned(),
    }
}
