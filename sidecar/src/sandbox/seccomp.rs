//! Holds this process to the system calls that it makes (seccomp, seccomp(2)).
//!
//! A call that is not known here fails with `ENOSYS`, as on a kernel that does not have it: libraries go back to an older one then. What has no place in
//! an agent, whatever asks for it, fails with `EPERM`.

mod calls;

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen as Len, SeccompCmpOp as Op, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};

/// Compiles the filters; none where the architecture is not known.
///
/// # Errors
/// A filter that cannot be made, which is a defect.
pub(super) fn filters() -> Result<Option<[BpfProgram; 2]>, String> {
    let Ok(arch) = TargetArch::try_from(std::env::consts::ARCH) else { return Ok(None) };
    let failed = |error: &dyn std::fmt::Display| format!("the filter of system calls: {error}");
    let compiled = |rules, matched, otherwise| -> Result<BpfProgram, String> {
        let filter = SeccompFilter::new(rules, otherwise, matched, arch).map_err(|error| failed(&error))?;
        filter.try_into().map_err(|error| failed(&error))
    };
    let plain = |calls: &[i64]| calls.iter().map(|call| (*call, Vec::new())).collect::<BTreeMap<_, _>>();
    let mut allow = plain(calls::ALLOWED);
    allow.extend(plain(calls::OLD));
    allow.extend(bounded().map_err(|error| failed(&error))?);
    let unknown = SeccompAction::Errno(libc::ENOSYS.cast_unsigned());
    let forbidden = SeccompAction::Errno(libc::EPERM.cast_unsigned());
    // What the first filter forbids is none of the second one's business: of two answers the kernel takes the stricter one.
    allow.extend(plain(calls::FORBIDDEN));
    Ok(Some([
        compiled(plain(calls::FORBIDDEN), forbidden, SeccompAction::Allow)?,
        compiled(allow, SeccompAction::Allow, unknown)?,
    ]))
}

/// Applies the filters to this thread and those that it starts.
///
/// # Errors
/// Says in words what failed.
pub(super) fn apply(filters: &[BpfProgram; 2]) -> Result<(), String> {
    filters.iter().try_for_each(|filter| {
        seccompiler::apply_filter(filter).map_err(|error| format!("cannot filter system calls: {error}"))
    })
}

/// Returns the calls that are allowed with some arguments alone.
fn bounded() -> Result<BTreeMap<i64, Vec<SeccompRule>>, seccompiler::BackendError> {
    let is = |argument: u8, value: u64| SeccompCondition::new(argument, Len::Dword, Op::Eq, value);
    let has = |argument: u8, mask: u64, value: u64| {
        SeccompCondition::new(argument, Len::Dword, Op::MaskedEq(mask), value)
    };
    let one_of = |argument: u8, values: &[u64]| -> Result<Vec<SeccompRule>, _> {
        values.iter().map(|value| SeccompRule::new(vec![is(argument, *value)?])).collect()
    };
    let number = |value: i32| u64::from(value.cast_unsigned());
    let mut sockets = one_of(0, &[number(libc::AF_UNIX), number(libc::AF_NETLINK)])?;
    // Landlock knows the ports of TCP, and not those of MPTCP and SCTP.
    for family in [libc::AF_INET, libc::AF_INET6] {
        for kind in [libc::SOCK_STREAM, libc::SOCK_DGRAM] {
            for protocol in [0, libc::IPPROTO_TCP, libc::IPPROTO_UDP] {
                let kind = has(1, 0xf, number(kind))?;
                sockets.push(SeccompRule::new(vec![is(0, number(family))?, kind, is(2, number(protocol))?])?);
            }
        }
    }
    let without = |argument: u8, flag: i32| -> Result<Vec<SeccompRule>, _> {
        Ok(vec![SeccompRule::new(vec![has(argument, number(flag), 0)?])?])
    };
    // Threads, and no processes. How clone3(2) is called cannot be seen: libraries go back to this one.
    let thread = number(libc::CLONE_THREAD);
    Ok(BTreeMap::from([
        (libc::SYS_socket, sockets),
        // A connection that begins with a message passes Landlock by.
        (libc::SYS_sendto, without(3, libc::MSG_FASTOPEN)?),
        (libc::SYS_sendmsg, without(2, libc::MSG_FASTOPEN)?),
        (libc::SYS_sendmmsg, without(3, libc::MSG_FASTOPEN)?),
        // The program's code is there already: what comes in as data never becomes code.
        (libc::SYS_mmap, without(2, libc::PROT_EXEC)?),
        (libc::SYS_mprotect, without(2, libc::PROT_EXEC)?),
        (libc::SYS_clone, vec![SeccompRule::new(vec![has(0, thread, thread)?])?]),
        (libc::SYS_prctl, one_of(0, &calls::PRCTL)?),
        (libc::SYS_ioctl, one_of(1, &calls::IOCTL)?),
    ]))
}
