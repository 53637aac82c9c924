//! `keywheel install`: a copy of this program, for a container that has none.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::exit::Failure;

/// Copies this program to `file`, for everybody to run and nobody to write. What is there is taken away first: it may be running.
pub(crate) fn install(file: &Path) -> Result<(), Failure> {
    let copied = match fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => fs::copy("/proc/self/exe", file),
    };
    copied
        .and_then(|_| fs::set_permissions(file, Permissions::from_mode(0o555)))
        .map_err(|error| Failure::other(format!("cannot install {}: {error}", file.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_takes_the_place_of_what_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("keywheel");
        for _ in 0..2 {
            install(&file).unwrap();
        }
        let metadata = fs::metadata(&file).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o777, 0o555);
        assert_eq!(fs::read(&file).unwrap(), fs::read("/proc/self/exe").unwrap());
        let error = install(&folder.path().join("missing/keywheel")).unwrap_err().to_string();
        assert!(error.contains("missing/keywheel"), "{error}");
    }
}
