//! A look at a delivery directory as a delivery would find it; nothing is made or changed.

use std::fs;
use std::os::fd::OwnedFd;

use rustix::fs::{Access, AtFlags, accessat, fstat};
use rustix::io::Errno;
use rustix::process::{getegid, geteuid, getgroups};

use super::atomic_dir::Settings;
use super::failure::{Failure, OPERATION};
use super::room::Room;
use super::volume::{self, Volume};
use crate::error::{Error, Result};
use crate::payload::Owner;

/// Says in words how the directory is, or is going to be made: its volume, and how much room that has.
///
/// # Errors
/// As for [`AtomicDir::open`](super::AtomicDir::open), and what would keep files from being written there or given to their owner.
pub fn examine(settings: &Settings) -> Result<String> {
    look(settings).map_err(|error| error.with("directory", settings.directory.display()))
}

fn look(settings: &Settings) -> Result<String> {
    let (folder, missing) = volume::nearest(&settings.directory, settings.allow_disk)?;
    let failed = || Failure::of("look at", settings.directory.display());
    is_writable(&folder, settings)?;
    if let Some(owner) = settings.owner {
        can_give(owner)?;
    }
    let volume = Volume::of(&folder).map_err(failed())?;
    let room = Room::free(&folder).map_err(failed())?;
    let is_there = if missing.is_empty() { "" } else { ", to be made" };
    let room = if room.is_limited() { format!("{room} free") } else { "no limit".to_owned() };
    Ok(format!("{volume}, {room}{is_there}"))
}

fn is_writable(folder: &OwnedFd, settings: &Settings) -> Result<()> {
    let wanted = Access::WRITE_OK | Access::EXEC_OK;
    match accessat(folder, ".", wanted, AtFlags::EACCESS) {
        Ok(()) => Ok(()),
        Err(Errno::ACCESS | Errno::PERM) => {
            let owner = fstat(folder).map_err(Failure::of("look at", settings.directory.display()))?;
            let user = geteuid().as_raw();
            let reason = format!(
                "user {user} may not write here; it belongs to user {} and group {}",
                owner.st_uid, owner.st_gid
            );
            let help = "run Keywheel as that user; in a pod, set `fsGroup`";
            Err(Error::config(OPERATION, reason).with_help(help))
        }
        Err(errno) => Err(Failure::of("write to", settings.directory.display())(errno).into()),
    }
}

/// Checks that this process may give files to `owner`.
fn can_give(owner: Owner) -> Result<()> {
    let own_groups = getgroups().unwrap_or_default();
    let is_own_user = owner.uid.is_none_or(|uid| uid == geteuid().as_raw());
    let is_own_group = owner
        .gid
        .is_none_or(|gid| gid == getegid().as_raw() || own_groups.iter().any(|group| group.as_raw() == gid));
    if (is_own_user && is_own_group) || may_chown() {
        return Ok(());
    }
    let Owner { uid, gid } = owner;
    let user = uid.map(|uid| format!("user {uid}"));
    let group = gid.map(|gid| format!("group {gid}"));
    let wanted: Vec<String> = user.into_iter().chain(group).collect();
    let reason = format!("this process may not give files to {}", wanted.join(" and "));
    Err(Error::config(OPERATION, reason)
        .with_help("leave `owner` out, run Keywheel as that user and group, or with the capability CHOWN"))
}

/// Tells whether the process has `CAP_CHOWN` (capabilities(7)).
fn may_chown() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let effective = effective.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    effective.is_some_and(|mask| mask & 1 == 1)
}
