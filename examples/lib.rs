//! Runnable examples of Keywheel.
