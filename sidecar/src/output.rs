//! Writes to standard output; and a value into a file of the user's choice, whole or not at all.

use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use keywheel_core::SecretValue;
use keywheel_core::payload::Mode;
use rustix::fs::{self, Mode as Permissions, OFlags};

use crate::exit::Failure;

/// Writes `bytes` to standard output.
///
/// # Errors
/// Nobody reads it any more, or there is no room for it.
pub(crate) fn print(bytes: &[u8]) -> Result<(), Failure> {
    let mut stdout = std::io::stdout();
    stdout
        .write_all(bytes)
        .and_then(|()| stdout.flush())
        .map_err(|error| Failure::other(format!("cannot write to standard output: {error}")))
}

/// Puts `value` at `path` with `mode`: written beside it under a private name, then renamed over it.
///
/// # Errors
/// Says which step failed; `path` is then as it was.
pub(crate) fn write_file(path: &Path, value: &SecretValue, mode: Mode) -> Result<(), Failure> {
    let failed = |what: &str, error: std::io::Error| {
        Failure::other(format!("cannot {what} {}: {error}", path.display()))
    };
    let name =
        path.file_name().ok_or_else(|| Failure::usage(format!("{} is not a file's path", path.display())))?;
    let draft = draft_path(path, name);
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = fs::open(&draft, flags, Permissions::RUSR | Permissions::WUSR)
        .map_err(|error| failed("create", error.into()))?;
    let written = write_draft(file, value, mode).and_then(|()| Ok(fs::rename(&draft, path)?));
    written.map_err(|error| {
        // The first error is the one to tell.
        fs::unlink(&draft).ok();
        failed("write", error)
    })
}

fn draft_path(path: &Path, name: &std::ffi::OsStr) -> PathBuf {
    let mut draft = std::ffi::OsString::from(".");
    draft.push(name);
    draft.push(format!(".{}", std::process::id()));
    path.with_file_name(draft)
}

fn write_draft(file: OwnedFd, value: &SecretValue, mode: Mode) -> std::io::Result<()> {
    fs::fchmod(&file, Permissions::from_bits_truncate(mode.bits()))?;
    let mut file = std::fs::File::from(file);
    file.write_all(value.expose_secret())?;
    file.sync_all()
}
