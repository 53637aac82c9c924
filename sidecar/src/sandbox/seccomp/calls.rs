//! The system calls, by what they are for.

use libc::*;

/// What is allowed whatever its arguments.
#[rustfmt::skip]
pub(super) const ALLOWED: &[c_long] = &[
    // Files.
    SYS_close, SYS_close_range, SYS_copy_file_range, SYS_dup, SYS_dup3, SYS_faccessat, SYS_faccessat2, SYS_fallocate,
    SYS_fchmod, SYS_fchmodat, SYS_fchown, SYS_fchownat, SYS_fcntl, SYS_fdatasync, SYS_flock, SYS_fstat, SYS_fstatfs,
    SYS_fsync, SYS_ftruncate, SYS_getcwd, SYS_getdents64, SYS_linkat, SYS_lseek, SYS_mkdirat, SYS_newfstatat, SYS_openat,
    SYS_openat2, SYS_pread64, SYS_preadv, SYS_pwrite64, SYS_pwritev, SYS_read, SYS_readlinkat, SYS_readv, SYS_renameat,
    SYS_renameat2, SYS_statfs, SYS_statx, SYS_symlinkat, SYS_umask, SYS_unlinkat, SYS_utimensat, SYS_write, SYS_writev,
    SYS_inotify_add_watch, SYS_inotify_init1, SYS_inotify_rm_watch,
    // Waiting.
    SYS_clock_getres, SYS_clock_gettime, SYS_clock_nanosleep, SYS_epoll_create1, SYS_epoll_ctl, SYS_epoll_pwait,
    SYS_epoll_pwait2, SYS_eventfd2, SYS_futex, SYS_gettimeofday, SYS_nanosleep, SYS_pipe2, SYS_ppoll, SYS_pselect6,
    SYS_restart_syscall, SYS_timerfd_create, SYS_timerfd_gettime, SYS_timerfd_settime,
    // Memory; see also the calls that are bounded.
    SYS_brk, SYS_madvise, SYS_membarrier, SYS_memfd_secret, SYS_mlock, SYS_mlock2, SYS_mremap, SYS_munlock, SYS_munmap,
    // The process and its threads.
    SYS_exit, SYS_exit_group, SYS_get_robust_list, SYS_getcpu, SYS_getegid, SYS_geteuid, SYS_getgid, SYS_getpid,
    SYS_getppid, SYS_getrandom, SYS_getrusage, SYS_gettid, SYS_getuid, SYS_prlimit64, SYS_rseq, SYS_sched_getaffinity,
    SYS_sched_yield, SYS_set_robust_list, SYS_set_tid_address, SYS_sysinfo, SYS_uname, SYS_wait4, SYS_waitid,
    // Signals.
    SYS_kill, SYS_pidfd_open, SYS_pidfd_send_signal, SYS_rt_sigaction, SYS_rt_sigprocmask, SYS_rt_sigreturn,
    SYS_rt_sigtimedwait, SYS_sigaltstack, SYS_tgkill, SYS_tkill,
    // Network; see also the calls that are bounded.
    SYS_accept, SYS_accept4, SYS_bind, SYS_connect, SYS_getpeername, SYS_getsockname, SYS_getsockopt, SYS_listen,
    SYS_recvfrom, SYS_recvmmsg, SYS_recvmsg, SYS_setsockopt, SYS_shutdown, SYS_socketpair,
];

/// What the architecture has from older times, and libraries still use.
#[rustfmt::skip]
#[cfg(target_arch = "x86_64")]
pub(super) const OLD: &[c_long] = &[
    SYS_access, SYS_chmod, SYS_dup2, SYS_epoll_wait, SYS_getdents, SYS_getrlimit, SYS_lstat, SYS_mkdir, SYS_open, SYS_pipe,
    SYS_poll, SYS_readlink, SYS_rename, SYS_rmdir, SYS_select, SYS_stat, SYS_symlink, SYS_time, SYS_unlink,
];
/// None: this architecture came later.
#[cfg(not(target_arch = "x86_64"))]
pub(super) const OLD: &[c_long] = &[];

/// What has no place in an agent, whatever asks for it.
#[rustfmt::skip]
pub(super) const FORBIDDEN: &[c_long] = &[
    // Other programs.
    SYS_execve, SYS_execveat,
    // Other processes.
    SYS_kcmp, SYS_pidfd_getfd, SYS_process_madvise, SYS_process_vm_readv, SYS_process_vm_writev, SYS_ptrace,
    // Namespaces and mounts.
    SYS_chroot, SYS_fsconfig, SYS_fsmount, SYS_fsopen, SYS_fspick, SYS_mount, SYS_mount_setattr, SYS_move_mount,
    SYS_open_by_handle_at, SYS_open_tree, SYS_pivot_root, SYS_setns, SYS_umount2, SYS_unshare,
    // Rights.
    SYS_capset, SYS_personality, SYS_setfsgid, SYS_setfsuid, SYS_setgid, SYS_setgroups, SYS_setregid, SYS_setresgid,
    SYS_setresuid, SYS_setreuid, SYS_setuid,
    // The kernel's keys, tracing, and ways in that have been its weak points.
    SYS_add_key, SYS_bpf, SYS_fanotify_init, SYS_io_uring_enter, SYS_io_uring_register, SYS_io_uring_setup, SYS_keyctl,
    SYS_perf_event_open, SYS_request_key, SYS_userfaultfd,
    // The machine.
    SYS_acct, SYS_adjtimex, SYS_clock_adjtime, SYS_clock_settime, SYS_delete_module, SYS_finit_module, SYS_init_module,
    SYS_kexec_load, SYS_mknodat, SYS_quotactl, SYS_reboot, SYS_setdomainname, SYS_sethostname, SYS_settimeofday,
    SYS_swapoff, SYS_swapon, SYS_syslog, SYS_vhangup,
];

/// What prctl(2) is used for: the names of threads and of memory, and `PR_GET_AUXV`, what the kernel told this process at its start.
pub(super) const PRCTL: [u64; 4] = [PR_SET_NAME as u64, PR_GET_NAME as u64, PR_SET_VMA as u64, 0x4155_5856];

/// What ioctl(2) is used for: to set descriptors (`FIONBIO`, `FIONREAD`, `FIOCLEX`), and to know a terminal (`TCGETS`, `TCGETS2`, `TIOCGWINSZ`).
/// The type of these constants differs by C library.
pub(super) const IOCTL: [u64; 6] = [0x5421, 0x541b, 0x5451, 0x5401, 0x802c_542a, 0x5413];
