//! Delivery into a directory.
