//! The lists in `docs/` and the tests of an RFC say the same.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Section and sentence.
type Must = (String, String);

/// What each test quotes, from its documentation: `Section N: "sentence"`, one or several.
fn quoted_by_tests(folder: &str) -> BTreeMap<Must, String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(folder);
    let mut quotes = BTreeMap::new();
    for entry in fs::read_dir(folder).expect("this folder") {
        let path = entry.expect("a file").path();
        let file = path.file_stem().expect("a name").to_string_lossy().into_owned();
        if file == "list" {
            continue;
        }
        let source = fs::read_to_string(&path).expect("UTF-8");
        let mut doc = String::new();
        let mut lines = source.lines();
        while let Some(line) = lines.next() {
            if let Some(text) = line.strip_prefix("/// ") {
                doc.push_str(text);
                doc.push(' ');
            } else if line == "#[test]" {
                let signature = lines.next().expect("a function");
                let name = signature.strip_prefix("fn ").and_then(|rest| rest.split('(').next());
                let test = format!("{file}::{}", name.expect("a test's name"));
                let musts = sentences(&doc);
                assert!(!musts.is_empty(), "{test} quotes nothing");
                for must in musts {
                    let before = quotes.insert(must, test.clone());
                    assert_eq!(before, None, "quoted twice, the second time by {test}");
                }
                doc.clear();
            } else {
                doc.clear();
            }
        }
    }
    quotes
}

fn sentences(doc: &str) -> Vec<Must> {
    let mut musts = Vec::new();
    let mut rest = doc.trim_end();
    while let Some(text) = rest.strip_prefix("Section ") {
        let (section, text) = text.split_once(": \"").expect("Section N: \"");
        let (sentence, more) = match text.split_once("\" Section ") {
            Some((sentence, _)) => (sentence, &text[sentence.len() + 2..]),
            None => (text.strip_suffix('"').expect("a closing quotation mark"), ""),
        };
        musts.push((section.to_owned(), sentence.to_owned()));
        rest = more;
    }
    musts
}

/// The rows of the table: what shows each sentence to be kept.
fn listed(list: &str) -> BTreeMap<Must, String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(list);
    let text = fs::read_to_string(path).expect(list);
    let rows = text.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"));
    rows.filter(|row| row.starts_with(|first: char| first.is_ascii_digit()))
        .map(|row| {
            let row = row.replace("\\|", "\u{1}");
            let cells: Vec<_> = row.split(" | ").map(|cell| cell.replace('\u{1}', "|")).collect();
            let [section, sentence, shown_by] = &cells[..] else { panic!("not three: {row}") };
            ((section.clone(), sentence.clone()), shown_by.clone())
        })
        .collect()
}

/// Every sentence that a test quotes is in the list, with that test, and every test that the list
/// names quotes it; what no test shows has its reason.
pub(crate) fn check(folder: &str, list: &str, sentences: usize) {
    let (tests, list) = (quoted_by_tests(folder), listed(list));
    for (must, test) in &tests {
        let shown_by = list.get(must).unwrap_or_else(|| panic!("{test}: not listed: {must:?}"));
        assert_eq!(*shown_by, format!("`{test}`"), "{must:?}");
    }
    for (must, shown_by) in &list {
        if shown_by.starts_with('`') {
            assert!(tests.contains_key(must), "{shown_by} does not quote {must:?}");
        } else {
            assert!(shown_by.len() > 10, "no reason: {must:?}");
        }
    }
    assert_eq!(list.len(), sentences, "sentences with MUST, SHALL or REQUIRED");
}
