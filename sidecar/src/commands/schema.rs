//! `keywheel schema`: what a configuration may say, for editors.

use crate::exit::Failure;
use crate::output;

/// Prints the JSON Schema of a configuration of this program.
pub(crate) fn schema() -> Result<(), Failure> {
    let schema = keywheel_core::schema::of(&keywheel_providers::registry());
    output::print(format!("{schema:#}\n").as_bytes())
}
