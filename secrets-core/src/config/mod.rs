//! The configuration file, `keywheel.yaml`: read once, checked whole, every mistake reported with its place.

mod duration;
mod node;
mod section;

pub use self::duration::{DurationError, format_duration, parse_duration};
pub use self::node::Place;
pub use self::section::{Item, Mistake, Mistakes, Section, Setting};
