use super::*;

/// A machine on which nothing is scarce.
const ROOMY: Limits = Limits {
    files: 1 << 20,
    files_hard: Some(1 << 20),
    files_of_system: Some((1_000, 4_000_000)),
    ports: (1_024, 65_535),
    somaxconn: Some(65_536),
    tcp_mem_pages: Some(4_000_000),
    page_bytes: 4096,
    conntrack: None,
    memory_available_bytes: Some(64 << 30),
};

const DEMAND: Demand = Demand {
    connections: 15_000,
    sources: 1,
    is_unix: false,
    is_local: true,
    tls: false,
    connects_per_s: None,
};

/// The one finding that there is.
fn only(demand: &Demand, limits: &Limits) -> (Severity, String, u64) {
    let preflight = Preflight::check(demand, limits);
    let [finding] = &preflight.findings[..] else { panic!("not one: {preflight}") };
    let line = finding.to_string();
    assert!(!line.contains('\n'));
    assert_eq!(preflight.has_errors(), finding.severity == Severity::Error);
    assert_eq!(preflight.has_errors(), preflight.reachable < demand.connections, "{preflight}");
    (finding.severity, line, preflight.reachable)
}

#[test]
fn where_nothing_is_scarce_nothing_is_found() {
    let preflight = Preflight::check(&DEMAND, &ROOMY);
    assert_eq!(preflight.findings, []);
    assert_eq!(preflight.to_string(), "15,000 connections can be had as this machine is");
}

#[test]
fn open_files_are_the_first_limit() {
    let limits = Limits { files: 1_024, ..ROOMY };
    let (severity, line, reachable) = only(&DEMAND, &limits);
    assert_eq!((severity, reachable), (Severity::Error, 1_024 - FILES_BESIDES));
    assert!(line.contains("`ulimit -n 15064`"), "{line}");
    let limits = Limits { files: 4_096, files_hard: Some(4_096), ..ROOMY };
    let (_, line, _) = only(&DEMAND, &limits);
    assert!(line.contains("`ulimit -Hn 15064`") && line.contains("LimitNOFILE=15064"), "{line}");
    let limits = Limits { files_of_system: Some((1_000, 11_000)), ..ROOMY };
    let (severity, line, reachable) = only(&DEMAND, &limits);
    // Both ends are on this machine.
    assert_eq!((severity, reachable), (Severity::Error, 5_000));
    assert!(line.contains("`sysctl -w fs.file-max=31128`"), "{line}");
}

#[test]
fn ports_count_for_each_source() {
    let limits = Limits { ports: (32_768, 60_999), ..ROOMY };
    let demand = Demand { connections: 30_000, ..DEMAND };
    let (severity, line, reachable) = only(&demand, &limits);
    assert_eq!((severity, reachable), (Severity::Error, 28_232));
    assert!(line.contains(PORTS_WIDE), "{line}");
    let demand = Demand { connections: 30_000, sources: 2, ..DEMAND };
    assert_eq!(Preflight::check(&demand, &limits).findings, []);
    let demand = Demand { connections: 20_000, ..DEMAND };
    let (severity, line, _) = only(&demand, &limits);
    assert_eq!(severity, Severity::Warning);
    assert!(line.contains("more than 70 %"), "{line}");
    let demand = Demand { connections: 200_000, connects_per_s: Some(10_000.0), ..DEMAND };
    let (_, line, _) = only(&demand, &limits);
    assert!(line.contains("--source 127.0.0.0/24"), "{line}");
    let demand = Demand { is_local: false, ..demand };
    let (_, line, _) = only(&demand, &limits);
    assert!(line.contains("--source with 4 addresses"), "{line}");
    let demand = Demand { is_unix: true, ..demand };
    assert_eq!(Preflight::check(&demand, &limits).findings, []);
}

#[test]
fn what_may_fail_is_a_warning() {
    let limits = Limits { memory_available_bytes: Some(100 << 20), ..ROOMY };
    let preflight = Preflight::check(&DEMAND, &limits);
    assert_eq!(preflight.findings[0].severity, Severity::Warning);
    assert!(!preflight.has_errors() && preflight.reachable < 15_000);
    assert!(preflight.to_string().contains("134 MiB of memory while idle, and 100 MiB"));
    let limits = Limits { tcp_mem_pages: Some(20_000), ..ROOMY };
    let (severity, line, _) = only(&DEMAND, &limits);
    assert_eq!(severity, Severity::Warning);
    assert!(line.contains("`sysctl -w net.ipv4.tcp_mem='30000 30000 60000'`"), "{line}");
    let limits = Limits { conntrack: Some((50_000, 60_000)), ..ROOMY };
    let (severity, line, _) = only(&DEMAND, &limits);
    assert_eq!(severity, Severity::Warning);
    assert!(line.contains("nf_conntrack_max=130000"), "{line}");
    let limits = Limits { somaxconn: Some(4_096), ..ROOMY };
    let (severity, line, _) = only(&DEMAND, &limits);
    assert_eq!(severity, Severity::Note);
    assert!(line.contains("net.core.somaxconn=16384"), "{line}");
    let slowly = Demand { connects_per_s: Some(1_000.0), ..DEMAND };
    assert_eq!(Preflight::check(&slowly, &limits).findings, []);
}

#[test]
fn the_gravest_comes_first() {
    let limits = Limits { files: 1_024, somaxconn: Some(128), ..ROOMY };
    let preflight = Preflight::check(&DEMAND, &limits);
    let severities = preflight.findings.iter().map(|finding| finding.severity);
    assert_eq!(severities.collect::<Vec<_>>(), [Severity::Error, Severity::Note]);
    let text = preflight.to_string();
    assert!(text.starts_with("error: ") && text.ends_with("as this machine is"), "{text}");
    assert!(text.contains("960 of 15,000 connections"), "{text}");
}

#[test]
fn tls_takes_memory_too() {
    let limits = Limits { memory_available_bytes: Some(160 << 20), ..ROOMY };
    assert_eq!(Preflight::check(&DEMAND, &limits).findings, []);
    let tls = Demand { tls: true, ..DEMAND };
    assert_eq!(Preflight::check(&tls, &limits).findings.len(), 1);
}

#[test]
fn this_machine_can_be_asked() {
    let limits = Limits::read();
    assert!(limits.files > 0 && limits.files_hard.is_none_or(|hard| hard >= limits.files));
    assert!(limits.ports_per_source() > 0 && limits.page_bytes >= 4096);
    assert!(limits.memory_available_bytes.is_some_and(|bytes| bytes > 0));
}

#[test]
fn what_the_kernel_says_is_read_and_what_it_does_not_say_is_not_made_up() {
    let root = std::env::temp_dir().join(format!("sockeye-preflight-{}", std::process::id()));
    let write = |path: &str, text: &str| {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    let nothing = Limits::read_under(&root, 7, None);
    assert_eq!(
        nothing,
        Limits {
            files: 7,
            ports: (32_768, 60_999),
            page_bytes: rustix::param::page_size() as u64,
            ..Limits::default()
        }
    );
    write("sys/net/ipv4/ip_local_port_range", "1024\t2047\n");
    write("sys/net/ipv4/tcp_mem", "1\t2\t3\n");
    write("sys/net/core/somaxconn", "4096\n");
    write("sys/fs/file-nr", "100\t0\t2000\n");
    write("sys/net/netfilter/nf_conntrack_count", "5\n");
    write("sys/net/netfilter/nf_conntrack_max", "6\n");
    write("meminfo", "MemTotal: 9 kB\nMemAvailable:       3 kB\n");
    let limits = Limits::read_under(&root, 7, Some(8));
    assert_eq!(limits.ports_per_source(), 1_024);
    assert_eq!((limits.tcp_mem_pages, limits.somaxconn), (Some(3), Some(4_096)));
    assert_eq!((limits.files_of_system, limits.conntrack), (Some((100, 2_000)), Some((5, 6))));
    assert_eq!((limits.memory_available_bytes, limits.files_hard), (Some(3_072), Some(8)));
    fs::remove_dir_all(&root).unwrap();
}
