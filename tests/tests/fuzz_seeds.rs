//! The fuzzers' seeds, and every input that ever failed, run by the ordinary tests.

use std::fs;
use std::path::Path;

use sockeye_tests::fuzz::TARGETS;

#[test]
fn each_target_has_its_entry_point_and_seeds() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let manifest = fs::read_to_string(folder.join("Cargo.toml")).expect("the fuzzers' manifest");
    for (name, _) in TARGETS {
        let source = fs::read_to_string(folder.join(format!("fuzz_targets/{name}.rs")));
        assert!(source.expect("an entry point").contains(&format!("fuzz::{name}(data)")));
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name} is not in the manifest");
    }
    let entries = fs::read_dir(folder.join("fuzz_targets")).expect("a folder").count();
    assert_eq!(entries, TARGETS.len(), "an entry point without a target");
}

#[test]
fn every_seed_passes() {
    for (name, run) in TARGETS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
        let seeds = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut count = 0;
        for seed in seeds {
            let path = seed.expect("a file").path();
            let data = fs::read(&path).expect("a file");
            eprintln!("{}", path.display()); // shown where it fails
            run(&data);
            count += 1;
        }
        assert!(count > 0, "{name} has no seed");
    }
}
