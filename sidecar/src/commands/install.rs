//! `keywheel install`: a copy of this program, for a container that has none.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::exit::Failure;

/// Copies this program to `file`, for everybody to run and nobody to write. It takes the place of what is there, which may be running, as a whole.
pub(crate) fn install(file: &Path) -> Result<(), Failure> {
    replace(file).map_err(|error| Failure::other(format!("cannot install {}: {error}", file.display())))
}

#[expect(clippy::disallowed_methods, reason = "a program is no delivered file")]
fn replace(file: &Path) -> io::Result<()> {
    let mut beside = file.as_os_str().to_owned();
    beside.push(".new");
    // An earlier copy that came to no end cannot be written over.
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::copy("/proc/self/exe", &beside)?;
    fs::set_permissions(&beside, Permissions::from_mode(0o555))?;
    fs::rename(&beside, file)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn a_copy_takes_the_place_of_what_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("keywheel");
        // A copy that was broken off, and one that is there.
        fs::copy("/proc/self/exe", folder.path().join("keywheel.new")).unwrap();
        install(&file).unwrap();
        let running = fs::File::open(&file).unwrap();
        install(&file).unwrap();
        assert_eq!(running.metadata().unwrap().nlink(), 0, "what is open is not written over");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        let metadata = fs::metadata(&file).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o777, 0o555);
        assert_eq!(fs::read(&file).unwrap(), fs::read("/proc/self/exe").unwrap());
        let error = install(&folder.path().join("missing/keywheel")).unwrap_err().to_string();
        assert!(error.contains("missing/keywheel"), "{error}");
    }
}
