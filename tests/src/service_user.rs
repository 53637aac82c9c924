//! Whom a database runs as: it refuses to be root, and Debian's package makes a user for it.

use std::fs;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

/// A user of this machine; `None` is the test's own.
pub(crate) struct ServiceUser(Option<(u32, u32)>);

impl ServiceUser {
    /// Returns the user `name` where the test is root, else the test's own.
    ///
    /// # Panics
    ///
    /// When there is no such user.
    pub(crate) fn of_server(name: &str) -> Self {
        if !rustix::process::geteuid().is_root() {
            return Self(None);
        }
        let users = fs::read_to_string("/etc/passwd").expect("the users of this machine");
        // passwd(5): name:password:UID:GID:…
        let ids = users.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let ids =
            ids.unwrap_or_else(|| panic!("no user {name:?}, which Debian's package of the server makes"));
        let ids: Vec<u32> =
            ids.split(':').skip(1).take(2).map(|id| id.parse().expect("a numeric id")).collect();
        Self(Some((ids[0], ids[1])))
    }

    /// Gives a file or a folder to the user.
    pub(crate) fn own(&self, path: &Path) {
        if let Some((user, group)) = self.0 {
            chown(path, Some(user), Some(group)).expect("a file to give away");
        }
    }

    /// Has a program run as the user.
    pub(crate) fn run(&self, command: &mut Command) {
        if let Some((user, group)) = self.0 {
            // The standard library drops root's other groups, too.
            command.uid(user).gid(group);
        }
    }
}
