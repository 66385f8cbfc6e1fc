//! The house rules that a machine can check.

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// All sources of the workspace, by their path from its root.
fn sources() -> Vec<(String, String)> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() && name != "target" && !name.starts_with('.') {
                walk(&path, found);
            } else if name.ends_with(".rs") {
                found.push(path);
            }
        }
    }
    let root = root();
    let mut found = Vec::new();
    for folder in ["crates", "loadgen", "benches", "tests"] {
        walk(&root.join(folder), &mut found);
    }
    let sources: Vec<_> = found
        .into_iter()
        .map(|path| {
            let name = path.strip_prefix(&root).unwrap().to_string_lossy().into_owned();
            (name, fs::read_to_string(path).unwrap())
        })
        .collect();
    assert!(sources.len() > 50, "the sources were found");
    sources
}

fn source(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Code lines: without comments, documentation and doctests among them.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//"))
}

const HOT: &[&str] = &[
    "crates/sockeye-codec/src/frame.rs",
    "crates/sockeye-codec/src/decode.rs",
    "crates/sockeye-codec/src/partial.rs",
    "crates/sockeye-codec/src/encode.rs",
    "crates/sockeye-codec/src/connection.rs",
    "crates/sockeye-driver/src/epoll.rs",
    "crates/sockeye-driver/src/sockets.rs",
    "crates/sockeye-driver/src/sockets/receive.rs",
    "crates/sockeye-driver/src/uring.rs",
    "crates/sockeye-driver/src/uring/ring.rs",
    "crates/sockeye-driver/src/uring/buffers.rs",
    "crates/sockeye-driver/src/uring/receive.rs",
    "crates/sockeye-driver/src/uring/sends.rs",
    "crates/sockeye/src/compress.rs",
    "crates/sockeye/src/ctx.rs",
    "crates/sockeye/src/session.rs",
    "crates/sockeye/src/shard.rs",
    "crates/sockeye/src/shard/deadlines.rs",
    "crates/sockeye/src/shard/outward.rs",
    "crates/sockeye/src/tls.rs",
    "crates/sockeye/src/tls/link.rs",
    "crates/sockeye/src/tls/tx.rs",
];

/// Functions longer than this do more than one thing.
const FUNCTION_LINES_MAX: usize = 70;

#[test]
fn hot_files_are_short_and_format_nothing() {
    for name in HOT {
        let text = source(name);
        let lines = text.lines().count();
        assert!(lines <= 500, "{name} has {lines} lines");
        for (n, line) in code(&text) {
            for banned in ["format!(", ".to_string()", "println!("] {
                assert!(!line.contains(banned), "{name}:{}: {banned} in a hot file", n + 1);
            }
        }
    }
}

#[test]
fn functions_are_short() {
    for (name, text) in sources() {
        let lines: Vec<_> = text.lines().collect();
        for (n, line) in lines.iter().enumerate() {
            let indent = line.len() - line.trim_start().len();
            let begins = line.trim_start().split('(').next().unwrap_or_default();
            let words = format!(" {begins}");
            if line.trim_start().starts_with("//") || !words.contains(" fn ") {
                continue;
            }
            // A declaration, or a body on the same line.
            let opens = lines[n..].iter().map(|line| line.trim_end());
            let mut opens = opens.filter(|line| line.ends_with(['{', ';', '}']));
            if !opens.next().is_some_and(|line| line.ends_with('{')) {
                continue;
            }
            // rustfmt puts the closing brace where the function's line begins.
            let end = lines[n..].iter().position(|line| {
                line.len() - line.trim_start().len() == indent && line.trim() == "}"
            });
            let length = end.unwrap_or(0);
            assert!(length <= FUNCTION_LINES_MAX, "{name}:{}: {length} lines: {begins}", n + 1);
        }
    }
}

#[test]
fn unsafe_is_where_it_may_be() {
    for (name, text) in sources() {
        let allowed = name.starts_with("crates/sockeye-codec/src/arch/")
            || name.starts_with("crates/sockeye-driver/src/uring/")
            // docs/decisions/0016-prefetch.md
            || name == "crates/sockeye-driver/src/prefetch.rs"
            // docs/decisions/0010-bare-io-uring-floor.md
            || name == "benches/src/bin/floor-uring/ring.rs"
            || name == "tests/tests/tidy.rs";
        for (n, line) in code(&text) {
            let uses = line.contains("unsafe {") || line.contains("unsafe fn");
            assert!(allowed || !uses, "{name}:{}: unsafe code", n + 1);
        }
    }
}

/// One dependency, one home: the first word is the crate, the others where it may be named.
const HOMES: &[(&str, &[&str])] = &[
    (
        "mio",
        &[
            "crates/sockeye-driver/src/epoll",
            "crates/sockeye-driver/src/sockets",
            "crates/sockeye-driver/src/suite",
        ],
    ),
    ("io_uring", &["crates/sockeye-driver/src/uring"]),
    ("socket2", &["crates/sockeye-driver/src/net.rs", "crates/sockeye-driver/src/suite"]),
    ("httparse", &["crates/sockeye-codec/src/handshake/"]),
    ("memchr", &["crates/sockeye-codec/src/handshake/"]),
    ("sha1", &["crates/sockeye-codec/src/handshake/"]),
    ("base64", &["crates/sockeye-codec/src/handshake/"]),
    ("rustls", &["crates/sockeye/src/tls"]),
    ("simdutf8", &["crates/sockeye-codec/src/utf8.rs"]),
    ("rand", &["crates/sockeye-codec/src/codec.rs"]),
    ("zlib_rs", &["crates/sockeye-codec/src/deflate/"]),
];

#[test]
fn each_dependency_has_one_home() {
    for (dependency, homes) in HOMES {
        let path = format!("{dependency}::");
        let mut named = 0;
        for (name, text) in sources().iter().filter(|(name, _)| name.starts_with("crates/")) {
            for (n, line) in code(text) {
                let here = line.match_indices(&path).any(|(at, _)| {
                    !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':')
                });
                let home = homes.iter().any(|home| name.starts_with(home));
                assert!(!here || home, "{name}:{}: {dependency} lives in {homes:?}", n + 1);
                named += usize::from(here);
            }
        }
        assert!(named > 0, "{dependency} is used");
    }
}

#[test]
fn the_codec_knows_no_operating_system() {
    for (name, text) in sources() {
        if !name.starts_with("crates/sockeye-codec/src/") {
            continue;
        }
        for (n, line) in code(&text) {
            for module in ["net", "io", "fs", "time", "thread", "os", "process", "env"] {
                let path = format!("std::{module}::");
                let whole = format!("std::{module};");
                let named = line.contains(&path) || line.contains(&whole);
                assert!(!named, "{name}:{}: the codec does no IO", n + 1);
            }
        }
    }
}

#[test]
fn arrows_point_one_way() {
    let dependencies = |manifest: &str| -> String {
        let text = source(manifest);
        let from = text.find("[dependencies]").unwrap();
        let to = text[from..].find("[dev-dependencies]").map_or(text.len(), |at| from + at);
        text[from..to].to_owned()
    };
    let codec = dependencies("crates/sockeye-codec/Cargo.toml");
    let driver = dependencies("crates/sockeye-driver/Cargo.toml");
    assert!(!codec.contains("sockeye"), "the codec stands alone");
    assert!(!driver.contains("sockeye"), "the driver stands alone");
    for library in [codec, driver, dependencies("crates/sockeye/Cargo.toml")] {
        assert!(!library.contains("jemalloc"), "allocators are for programs to choose");
    }
}

#[test]
fn every_unsafe_block_is_in_the_inventory() {
    let inventory = source("docs/UNSAFE.md");
    for (name, text) in &sources() {
        if name == "tests/tests/tidy.rs" {
            continue;
        }
        let blocks: usize = code(text).map(|(_, line)| line.matches("unsafe {").count()).sum();
        let file = name
            .strip_prefix("crates/sockeye-codec/src/arch/")
            .or_else(|| name.strip_prefix("crates/sockeye-driver/src/"))
            .or_else(|| name.strip_prefix("benches/src/bin/"));
        let listed = file.and_then(|file| {
            let row =
                inventory.lines().find_map(|line| line.strip_prefix(&format!("| `{file}` | ")))?;
            row.split(' ').next()?.parse().ok()
        });
        assert_eq!(blocks, listed.unwrap_or(0), "{name} and docs/UNSAFE.md");
    }
}

#[test]
fn lines_fit_on_the_screen() {
    for (name, text) in sources() {
        for (n, line) in text.lines().enumerate() {
            let columns = line.chars().count();
            assert!(columns <= 100, "{name}:{}: {columns} columns", n + 1);
        }
    }
}
