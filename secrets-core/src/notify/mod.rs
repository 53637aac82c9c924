//! Telling the application.
