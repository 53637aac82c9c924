//! Holds this process to files, ports and signals that it is allowed (Landlock, landlock(7)).

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, LandlockStatus, NetPort,
    PathBeneath, PathFd, Ruleset, RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetError, Scope,
    make_bitflags, path_beneath_rules,
};

use super::allowed::Allowed;
use super::places;

/// Closes the files, ports and signals, as far as the kernel can, and returns what it cannot.
///
/// # Errors
/// Says in words what failed; where `is_strict`, also what the kernel cannot do.
pub(super) fn close(allowed: &Allowed, is_strict: bool) -> Result<Vec<&'static str>, String> {
    let written = allowed.write.iter().map(PathFd::new).collect::<Result<Vec<_>, _>>();
    let written = written.map_err(|error| format!("a folder that is written to: {error}"))?;
    let level = if is_strict { CompatLevel::HardRequirement } else { CompatLevel::BestEffort };
    let status = ruleset(allowed, written, level).and_then(RulesetCreated::restrict_self);
    let status = status.map_err(|error| match is_strict {
        true => format!("this kernel's Landlock cannot do all of it: {error}"),
        false => format!("Landlock: {error}"),
    })?;
    let abi = match status.landlock {
        LandlockStatus::Available { effective_abi, .. } => effective_abi,
        _ => ABI::Unsupported,
    };
    Ok(SINCE.iter().filter(|(since, _)| abi < *since).map(|(_, what)| *what).collect())
}

fn ruleset(
    allowed: &Allowed,
    written: Vec<PathFd>,
    level: CompatLevel,
) -> Result<RulesetCreated, RulesetError> {
    let mut scope: BitFlags<Scope> = Scope::AbstractUnixSocket.into();
    if !allowed.signals {
        scope |= Scope::Signal;
    }
    let ports = |ports: &BTreeSet<u16>, access: AccessNet| -> Vec<Result<NetPort, RulesetError>> {
        ports.iter().map(|port| Ok(NetPort::new(*port, access))).collect()
    };
    let written = written.into_iter().map(|folder| Ok::<_, RulesetError>(PathBeneath::new(folder, WRITE)));
    Ruleset::default()
        .set_compatibility(level)
        .handle_access(AccessFs::from_all(ABI::V5))?
        .handle_access(AccessNet::from_all(ABI::V4))?
        .scope(scope)?
        .create()?
        // A file has fewer rights than a folder, which is no failure of the kernel's.
        .set_compatibility(CompatLevel::BestEffort)
        .add_rules(path_beneath_rules(readable(allowed), READ))?
        .add_rules(written)?
        .add_rules(path_beneath_rules(&allowed.sockets, AccessFs::MakeSock | AccessFs::RemoveFile))?
        .add_rules(ports(&allowed.needs.ports, AccessNet::ConnectTcp))?
        .add_rules(ports(&allowed.bind, AccessNet::BindTcp))
}

fn readable(allowed: &Allowed) -> BTreeSet<PathBuf> {
    let files = allowed.needs.files.iter().flat_map(|file| places::of_file(file));
    let trees = allowed.needs.trees.iter().map(|tree| places::of_tree(tree));
    let system_files = SYSTEM_FILES.iter().flat_map(|file| places::of_file(Path::new(file)));
    files.chain(trees).chain(system_files).chain(SYSTEM_TREES.iter().map(PathBuf::from)).collect()
}

/// What is missing before each version of Landlock.
const SINCE: [(ABI, &str); 5] = [
    (ABI::V1, "files"),
    (ABI::V3, "truncation of files"),
    (ABI::V4, "TCP ports"),
    (ABI::V5, "controls of devices"),
    (ABI::V6, "abstract Unix sockets and signals"),
];

const READ: BitFlags<AccessFs> = make_bitflags!(AccessFs::{ReadFile | ReadDir});
const WRITE: BitFlags<AccessFs> = make_bitflags!(AccessFs::{
    ReadFile | ReadDir | WriteFile | RemoveDir | RemoveFile | MakeDir | MakeReg | MakeSym | Refer | Truncate
});

/// What every program reads to find hosts, and to know its own machine.
const SYSTEM_FILES: [&str; 12] = [
    "/etc/gai.conf",
    "/etc/host.conf",
    "/etc/hosts",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/etc/nsswitch.conf",
    "/etc/resolv.conf",
    "/etc/services",
    "/proc/self/mountinfo",
    "/proc/swaps",
    "/proc/sys/kernel/hostname",
    "/dev/urandom",
];

/// The libraries that find hosts, the system's certificate authorities, and the time zones.
const SYSTEM_TREES: [&str; 14] = [
    "/etc/ca-certificates",
    "/etc/pki/ca-trust",
    "/etc/pki/tls/cert.pem",
    "/etc/pki/tls/certs",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
    "/etc/ssl/certs",
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/usr/local/share/ca-certificates",
    "/usr/share/ca-certificates",
    "/usr/share/zoneinfo",
];
