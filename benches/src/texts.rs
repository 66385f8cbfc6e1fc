//! Texts to validate.

/// ASCII prose of exactly `bytes` bytes.
pub fn ascii(bytes: usize) -> String {
    "The quick brown fox jumps over the lazy dog, and again. ".chars().cycle().take(bytes).collect()
}

/// Chinese with emoji and some ASCII, of exactly `bytes` bytes.
pub fn mixed(bytes: usize) -> String {
    let sample = "\u{654f}\u{6377}\u{7684}\u{68d5}\u{8272}\u{72d0}\u{72f8}\u{8df3}\u{8fc7}\
        \u{61d2}\u{72d7} \u{1f98a}\u{1f415} jumps again, \u{518d}\u{8df3}\u{4e00}\u{6b21}\u{3002}";
    let mut text = String::with_capacity(bytes);
    for character in sample.chars().cycle() {
        if text.len() + character.len_utf8() > bytes {
            break;
        }
        text.push(character);
    }
    // What no whole character fits into.
    text.extend(std::iter::repeat_n('.', bytes - text.len()));
    text
}
