//! Can this machine do it? What the kernel allows is compared with what a run asks for, before the
//! run, and what is too little is named with the command that raises it.

use std::fmt;
use std::fs;
use std::path::Path;

use super::units::{count, counted};
use crate::files;

/// Files that a run has open beside its connections: the drivers', the output's, libraries'.
const FILES_BESIDES: u64 = 64;
/// What a connection costs the kernel at this end: socket, inode, file, directory entry, and what
/// waits for it. The other end costs as much, if it is on this machine.
const KERNEL_BYTES_PER_CONNECTION: u64 = 4608;
/// What it costs us.
const OWN_BYTES_PER_CONNECTION: u64 = 200;
/// What it costs us under TLS: keys, and what rustls keeps with them (measured: 3,991).
const TLS_BYTES_PER_CONNECTION: u64 = 4 << 10;
/// A source whose ports are taken beyond this makes connect(2) slow.
const PORTS_USED_MAX: f64 = 0.7;
/// `/etc/sysctl.conf` knows nothing narrower.
const PORTS_WIDE: &str = "sysctl -w net.ipv4.ip_local_port_range='1024 65535'";

/// What a run asks for.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Demand {
    /// At a time.
    pub(crate) connections: u64,
    /// Addresses to connect from ([`super::connector::Sources::count`]).
    pub(crate) sources: u64,
    pub(crate) is_unix: bool,
    /// The server is on this machine, and its ends of the connections with it.
    pub(crate) is_local: bool,
    pub(crate) tls: bool,
    /// Connections begun in a second, at most; `None`: as fast as it goes.
    pub(crate) connects_per_s: Option<f64>,
}

/// What the kernel allows; `None` where it does not say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Limits {
    /// `ulimit -n`, after the soft limit was raised to the hard one.
    pub(crate) files: u64,
    pub(crate) files_hard: Option<u64>,
    /// Of all processes, and how many of them are open.
    pub(crate) files_of_system: Option<(u64, u64)>,
    /// The first and the last ephemeral port.
    pub(crate) ports: (u16, u16),
    /// The longest queue of a listener.
    pub(crate) somaxconn: Option<u64>,
    /// Pages that TCP may take before the kernel refuses, and what a page has.
    pub(crate) tcp_mem_pages: Option<u64>,
    pub(crate) page_bytes: u64,
    /// Connections that the firewall follows, and how many it can.
    pub(crate) conntrack: Option<(u64, u64)>,
    pub(crate) memory_available_bytes: Option<u64>,
}

impl Limits {
    /// Of this machine, and this process.
    pub(crate) fn read() -> Self {
        Self::read_under(Path::new("/proc"), files::limit(), files::hard_limit())
    }

    fn read_under(proc: &Path, files: u64, files_hard: Option<u64>) -> Self {
        let numbers = |path: &str| -> Vec<u64> {
            let text = fs::read_to_string(proc.join(path)).unwrap_or_default();
            text.split_whitespace().map_while(|word| word.parse().ok()).collect()
        };
        let number = |path: &str| numbers(path).first().copied();
        let ports = match numbers("sys/net/ipv4/ip_local_port_range")[..] {
            [first, last] => (first.try_into().unwrap_or(0), last.try_into().unwrap_or(u16::MAX)),
            // The kernel's own default.
            _ => (32_768, 60_999),
        };
        let followed = number("sys/net/netfilter/nf_conntrack_count");
        let followed_max = number("sys/net/netfilter/nf_conntrack_max");
        let memory = fs::read_to_string(proc.join("meminfo")).unwrap_or_default();
        let available = memory.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
        let kilobytes = available.and_then(|rest| rest.split_whitespace().next()?.parse().ok());
        Self {
            files,
            files_hard,
            files_of_system: match numbers("sys/fs/file-nr")[..] {
                [open, _, max] => Some((open, max)),
                _ => None,
            },
            ports,
            somaxconn: number("sys/net/core/somaxconn"),
            tcp_mem_pages: numbers("sys/net/ipv4/tcp_mem").get(2).copied(),
            page_bytes: rustix::param::page_size() as u64,
            conntrack: followed.zip(followed_max),
            memory_available_bytes: kilobytes.map(|kilobytes: u64| kilobytes * 1024),
        }
    }

    /// Ports that one source has for one destination.
    pub(crate) const fn ports_per_source(&self) -> u64 {
        let (first, last) = self.ports;
        (last as u64 + 1).saturating_sub(first as u64)
    }
}

/// How grave a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Severity {
    /// Good to know.
    Note,
    /// It may be slow, or fail.
    Warning,
    /// It cannot work.
    Error,
}

/// One thing that was looked at and is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) severity: Severity,
    /// One line: what is too little for what.
    pub(crate) what: String,
    /// The command, or option, that mends it.
    pub(crate) remedy: String,
}

/// All that was found, the gravest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Preflight {
    asked: u64,
    /// Connections that can be had as things are.
    pub(crate) reachable: u64,
    pub(crate) findings: Vec<Finding>,
}

impl Preflight {
    /// Compares.
    pub(crate) fn check(demand: &Demand, limits: &Limits) -> Self {
        let mut checks = Checks { demand, limits, findings: Vec::new(), reachable: u64::MAX };
        checks.files();
        checks.ports();
        checks.memory();
        checks.queue();
        checks.conntrack();
        let Checks { mut findings, reachable, .. } = checks;
        findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
        Self { asked: demand.connections, reachable, findings }
    }

    /// Whether it cannot work.
    pub(crate) fn has_errors(&self) -> bool {
        self.findings.iter().any(|finding| finding.severity == Severity::Error)
    }
}

struct Checks<'a> {
    demand: &'a Demand,
    limits: &'a Limits,
    findings: Vec<Finding>,
    reachable: u64,
}

impl Checks<'_> {
    fn find(&mut self, severity: Severity, what: String, remedy: impl Into<String>) {
        self.findings.push(Finding { severity, what, remedy: remedy.into() });
    }

    /// A limit that no connection gets past.
    fn cap(&mut self, reachable: u64, what: impl FnOnce(u64, u64) -> String, remedy: String) {
        self.reachable = self.reachable.min(reachable);
        if self.demand.connections > reachable {
            self.find(Severity::Error, what(self.demand.connections, reachable), remedy);
        }
    }

    fn files(&mut self) {
        let Limits { files, files_hard, files_of_system, .. } = *self.limits;
        let needed = self.demand.connections.saturating_add(FILES_BESIDES);
        let remedy = match files_hard {
            Some(hard) if needed > hard => format!(
                "as root, `ulimit -Hn {needed}` in the shell that starts this (or \
                 /etc/security/limits.conf, LimitNOFILE={needed} of systemd, --ulimit nofile of \
                 Docker); or more processes"
            ),
            _ => format!("`ulimit -n {needed}`"),
        };
        self.cap(
            files.saturating_sub(FILES_BESIDES),
            |asked, _| format!("{asked} connections need {needed} open files, and {files} may be"),
            remedy,
        );
        let Some((open, max)) = files_of_system else { return };
        let ends = if self.demand.is_local { 2 } else { 1 };
        let left = max.saturating_sub(open) / ends;
        let raised = open.saturating_add(needed.saturating_mul(ends));
        self.cap(
            left,
            |asked, left| {
                format!("{asked} connections: the machine has files for {left} more, of {max}")
            },
            format!("`sysctl -w fs.file-max={raised}`"),
        );
    }

    fn ports(&mut self) {
        if self.demand.is_unix {
            return;
        }
        let (first, last) = self.limits.ports;
        let sources = self.demand.sources.max(1);
        let ports = self.limits.ports_per_source();
        let reachable = ports.saturating_mul(sources);
        // As the widest range has them.
        let sources_needed = self.demand.connections.div_ceil(64_512);
        let remedy = match (sources_needed, self.demand.is_local) {
            (0 | 1, _) => format!("`{PORTS_WIDE}`"),
            (count, true) => {
                format!("--source 127.0.0.0/24, or `{PORTS_WIDE}` and {count} sources")
            }
            (count, false) => {
                format!("--source with {count} addresses of this machine, and `{PORTS_WIDE}`")
            }
        };
        self.cap(
            reachable,
            |asked, reachable| {
                format!(
                    "{asked} connections need as many local ports, and there are {reachable}: \
                     {first} to {last} at {sources} source(s)"
                )
            },
            remedy,
        );
        let comfortable = (reachable as f64 * PORTS_USED_MAX) as u64;
        if (comfortable..=reachable).contains(&self.demand.connections) {
            let what = format!(
                "{} connections take more than {:.0} % of the local ports ({first} to {last}): \
                 each connect will search for one",
                self.demand.connections,
                PORTS_USED_MAX * 100.0
            );
            self.find(Severity::Warning, what, format!("more of --source, or `{PORTS_WIDE}`"));
        }
    }

    fn memory(&mut self) {
        let ends = if self.demand.is_local { 2 } else { 1 };
        let tls = if self.demand.tls { TLS_BYTES_PER_CONNECTION } else { 0 };
        let own = OWN_BYTES_PER_CONNECTION + tls;
        let each = KERNEL_BYTES_PER_CONNECTION * ends + own;
        let needed = each.saturating_mul(self.demand.connections);
        if let Some(available) = self.limits.memory_available_bytes
            && needed > available
        {
            self.reachable = self.reachable.min(available / each);
            let what = format!(
                "{} connections need about {} MiB of memory while idle, and {} MiB are there",
                self.demand.connections,
                needed >> 20,
                available >> 20
            );
            self.find(Severity::Warning, what, "fewer connections, or several machines");
        }
        let Some(pages) = self.limits.tcp_mem_pages.filter(|_| !self.demand.is_unix) else {
            return;
        };
        // An idle connection has none; one with data under way has at least a page at an end.
        if self.demand.connections.saturating_mul(ends) > pages {
            let what = format!(
                "TCP may take {pages} pages of {} bytes for what is under way, and {} connections \
                 that are busy at once need one each",
                self.limits.page_bytes, self.demand.connections
            );
            let raised = self.demand.connections.saturating_mul(ends * 2);
            let remedy = format!("`sysctl -w net.ipv4.tcp_mem='{0} {0} {raised}'`", raised / 2);
            self.find(Severity::Warning, what, remedy);
        }
    }

    /// What comes faster than it is accepted waits in the listener's queue, and then is dropped,
    /// and tried again a second later: connect times in whole seconds come from there.
    fn queue(&mut self) {
        let Some(somaxconn) = self.limits.somaxconn.filter(|_| self.demand.is_local) else {
            return;
        };
        let at_once = self.demand.connects_per_s.unwrap_or(f64::INFINITY);
        let burst = (at_once.min(self.demand.connections as f64)) as u64;
        if burst > somaxconn {
            let what = format!(
                "up to {burst} connections come within a second, and a listener's queue holds \
                 {somaxconn}: those that are dropped try again a second later"
            );
            let remedy = format!(
                "`sysctl -w net.core.somaxconn={}` and the server's backlog, or fewer at a time",
                burst.next_power_of_two()
            );
            self.find(Severity::Note, what, remedy);
        }
    }

    fn conntrack(&mut self) {
        let Some((followed, max)) = self.limits.conntrack.filter(|_| !self.demand.is_unix) else {
            return;
        };
        let needed = followed.saturating_add(self.demand.connections);
        if needed > max {
            let what = format!(
                "the firewall follows {followed} of {max} connections, and drops what begins \
                 beyond (nf_conntrack): {} more do not fit",
                self.demand.connections
            );
            let remedy = format!("`sysctl -w net.netfilter.nf_conntrack_max={}`", needed * 2);
            self.find(Severity::Warning, what, remedy);
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Note => "note",
            Severity::Warning => "warning",
            Severity::Error => "error",
        };
        write!(f, "{severity}: {}; do: {}", self.what, self.remedy)
    }
}

/// What `--preflight` prints: a line for each finding, and what can be had.
impl fmt::Display for Preflight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for finding in &self.findings {
            writeln!(f, "{finding}")?;
        }
        let Self { asked, reachable, .. } = self;
        let all = counted(*asked, "connection");
        if asked <= reachable {
            write!(f, "{all} can be had as this machine is")
        } else {
            write!(f, "{} of {all} can be had as this machine is", count(*reachable))
        }
    }
}

#[cfg(test)]
mod tests;
