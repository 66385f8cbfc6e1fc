//! Why io_uring is not to be had, and what to do about it, in one line. The kernel's error alone
//! does not tell: EPERM may be a container's seccomp profile, a sysctl or a security module.

use std::fmt;
use std::fs;
use std::io;

const DISABLED: &str = "/proc/sys/kernel/io_uring_disabled";
const GROUP: &str = "/proc/sys/kernel/io_uring_group";
/// Of the thread that asks: filters belong to threads.
const STATUS: &str = "/proc/thread-self/status";

/// What was tried, and what it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trial {
    Thread,
    Ring,
    Buffers,
    Receive,
}

impl Trial {
    const fn failed(self) -> &'static str {
        match self {
            Self::Thread => "no thread",
            Self::Ring => "no ring",
            Self::Buffers => "no buffer ring",
            Self::Receive => "no multishot receive",
        }
    }

    /// The feature that an old kernel has not.
    const fn feature(self) -> &'static str {
        match self {
            Self::Thread | Self::Ring => "cooperative task work came with Linux 5.19",
            Self::Buffers => "buffer rings came with Linux 5.19",
            Self::Receive => "multishot receives came with Linux 6.0",
        }
    }
}

/// What this machine says about itself and us.
#[derive(Debug, Clone, Copy, Default)]
struct Surroundings {
    /// `kernel.io_uring_disabled`; `None` before Linux 6.6, and without io_uring.
    disabled: Option<u8>,
    /// `kernel.io_uring_group`, where there is one.
    group: Option<u32>,
    /// A seccomp filter is on this thread.
    filtered: bool,
}

impl Surroundings {
    fn of_this_thread() -> Self {
        let status = fs::read_to_string(STATUS).unwrap_or_default();
        let seccomp = status.lines().find_map(|line| line.strip_prefix("Seccomp:"));
        Self {
            disabled: number(DISABLED),
            group: number(GROUP),
            filtered: seccomp.is_some_and(|mode| mode.trim() == "2"),
        }
    }
}

fn number<N: std::str::FromStr>(file: &str) -> Option<N> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

/// Why io_uring is not to be had: the cause and the remedy, in one line.
#[derive(Debug)]
pub struct Unavailable {
    trial: Trial,
    cause: io::Error,
    surroundings: Surroundings,
}

impl Unavailable {
    pub(super) fn new(trial: Trial, cause: io::Error) -> Self {
        Self { trial, cause, surroundings: Surroundings::of_this_thread() }
    }
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { trial, cause, surroundings } = self;
        write!(f, "{}: {cause}; ", trial.failed())?;
        match (cause.raw_os_error(), *surroundings) {
            (Some(libc::EPERM), Surroundings { disabled: Some(2), .. }) => f.write_str(
                "sysctl kernel.io_uring_disabled is 2, which forbids it to all: set it to 0",
            ),
            (Some(libc::EPERM), Surroundings { disabled: Some(1), group, .. }) => {
                f.write_str("sysctl kernel.io_uring_disabled is 1: set it to 0, ")?;
                match group {
                    Some(group) => write!(f, "or run in group {group} (kernel.io_uring_group)"),
                    None => f.write_str("or kernel.io_uring_group to a group of this process"),
                }
            }
            // A kernel with the sysctl has io_uring: it was not the kernel that knew nothing of it.
            (Some(libc::EPERM | libc::EACCES), Surroundings { filtered: true, .. })
            | (Some(libc::ENOSYS), Surroundings { filtered: true, disabled: Some(_), .. }) => f
                .write_str(
                    "a seccomp profile forbids it, as those of containers do: \
                     allow io_uring_setup, io_uring_enter and io_uring_register",
                ),
            (Some(libc::EPERM | libc::EACCES), _) => {
                f.write_str("a security module, such as SELinux, forbids it: allow io_uring there")
            }
            (Some(libc::ENOSYS), _) => {
                f.write_str("this kernel has no io_uring: it takes Linux 6.0 with CONFIG_IO_URING")
            }
            (Some(libc::EINVAL), _) => {
                write!(f, "this kernel is too old: {}; it takes Linux 6.0", trial.feature())
            }
            (Some(libc::ENOMEM), _) => f.write_str(
                "rings take locked memory: raise RLIMIT_MEMLOCK (`ulimit -l`, LimitMEMLOCK=)",
            ),
            (Some(libc::EMFILE), _) => {
                f.write_str("there are no file descriptors left: raise `ulimit -n`")
            }
            (Some(libc::ENFILE), _) => {
                f.write_str("the system has no file descriptors left: raise sysctl fs.file-max")
            }
            _ => f.write_str("the epoll backend needs none of it"),
        }
    }
}

impl std::error::Error for Unavailable {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.cause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Surroundings = Surroundings { disabled: Some(0), group: None, filtered: false };
    const FILTERED: Surroundings = Surroundings { filtered: true, ..PLAIN };

    #[track_caller]
    fn assert_says(trial: Trial, errno: i32, surroundings: Surroundings, remedy: &str) {
        let cause = io::Error::from_raw_os_error(errno);
        let line = Unavailable { trial, cause, surroundings }.to_string();
        assert!(line.starts_with(trial.failed()), "{line}");
        assert!(line.contains(remedy) && !line.contains('\n'), "{line}");
    }

    #[test]
    fn what_forbids_it_is_told_apart() {
        let sysctl = |disabled, group| Surroundings { disabled: Some(disabled), group, ..FILTERED };
        assert_says(Trial::Ring, libc::EPERM, sysctl(2, None), "disabled is 2");
        assert_says(Trial::Ring, libc::EPERM, sysctl(1, Some(990)), "group 990");
        assert_says(Trial::Ring, libc::EPERM, sysctl(1, None), "kernel.io_uring_group to a");
        assert_says(Trial::Ring, libc::EPERM, FILTERED, "seccomp");
        assert_says(Trial::Buffers, libc::EACCES, FILTERED, "io_uring_register");
        assert_says(Trial::Ring, libc::EPERM, PLAIN, "SELinux");
        // Before the sysctl there were filters, too.
        let old = Surroundings { disabled: None, ..FILTERED };
        assert_says(Trial::Ring, libc::EPERM, old, "seccomp");
    }

    #[test]
    fn a_kernel_without_it_is_told_from_a_filter_that_says_so() {
        assert_says(Trial::Ring, libc::ENOSYS, FILTERED, "seccomp");
        assert_says(Trial::Ring, libc::ENOSYS, PLAIN, "CONFIG_IO_URING");
        let none = Surroundings { disabled: None, ..FILTERED };
        assert_says(Trial::Ring, libc::ENOSYS, none, "CONFIG_IO_URING");
    }

    #[test]
    fn what_an_old_kernel_lacks_is_named() {
        assert_says(Trial::Ring, libc::EINVAL, PLAIN, "task work came with Linux 5.19");
        assert_says(Trial::Buffers, libc::EINVAL, PLAIN, "buffer rings came with Linux 5.19");
        assert_says(Trial::Receive, libc::EINVAL, PLAIN, "receives came with Linux 6.0");
    }

    #[test]
    fn limits_are_named() {
        assert_says(Trial::Ring, libc::ENOMEM, PLAIN, "RLIMIT_MEMLOCK");
        assert_says(Trial::Buffers, libc::ENOMEM, PLAIN, "RLIMIT_MEMLOCK");
        assert_says(Trial::Ring, libc::EMFILE, PLAIN, "ulimit -n");
        assert_says(Trial::Ring, libc::ENFILE, PLAIN, "fs.file-max");
        assert_says(Trial::Receive, libc::EIO, PLAIN, "epoll");
    }
}
