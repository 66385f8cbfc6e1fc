//! JSON as applications send it: what compression is measured with.

use serde_json::json;

/// How many different documents of a length there are: together more than a window of 32 KiB.
pub const DOCUMENTS: usize = 1_024;

/// A sequence that is the same on every machine (splitmix64).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % below
    }

    fn one_of<'a>(&mut self, names: &[&'a str]) -> &'a str {
        names[self.next(names.len() as u64) as usize]
    }
}

/// A document of exactly `bytes` bytes (at least 64): a ticker's trades, a chat's messages, a
/// game's moves, as many as there is room for. `number` says which.
pub fn document(number: usize, bytes: usize) -> String {
    let mut numbers = Numbers(number as u64 + 1);
    let mut text = format!(r#"{{"seq":{},"events":["#, 100_000 + number);
    loop {
        let event = event(&mut numbers);
        // Room for the padding's own characters, too.
        if text.len() + event.len() + 16 > bytes {
            break;
        }
        text.push_str(&event);
        text.push(',');
    }
    if text.ends_with(',') {
        text.pop();
    }
    text.push_str(r#"],"p":""#);
    let padding = bytes.saturating_sub(text.len() + 2);
    for _ in 0..padding {
        text.push(char::from(b'a' + numbers.next(26) as u8));
    }
    text.push_str(r#""}"#);
    text
}

fn event(numbers: &mut Numbers) -> String {
    let time = 1_795_000_000_000 + numbers.next(1_000_000_000);
    let event = match numbers.next(3) {
        0 => json!({
            "type": "trade",
            "symbol": numbers.one_of(&["BTC-EUR", "ETH-USD", "SOL-USDT", "XMR-EUR"]),
            "price": numbers.next(9_000_000) as f64 / 100.0,
            "size": numbers.next(5_000) as f64 / 10_000.0,
            "side": numbers.one_of(&["buy", "sell"]),
            "time": time,
        }),
        1 => json!({
            "type": "message",
            "room": format!("room-{}", numbers.next(40)),
            "from": numbers.one_of(&["anna", "böb", "小明", "Dmitri", "zoë"]),
            "text": numbers.one_of(&[
                "good morning 🌞",
                "did you see the match?",
                "on my way, ten minutes",
                "敏捷的棕色狐狸",
                "👍",
            ]),
            "time": time,
        }),
        _ => json!({
            "type": "move",
            "id": format!("{:08x}", numbers.next(100_000)),
            "x": numbers.next(4_096),
            "y": numbers.next(4_096),
            "moving": numbers.next(2) == 1,
            "time": time,
        }),
    };
    event.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_json_of_their_length_and_differ() {
        for bytes in [64, 128, 1_024, 16_384] {
            let all: Vec<_> = (0..DOCUMENTS).map(|number| document(number, bytes)).collect();
            for text in &all {
                assert_eq!(text.len(), bytes, "{text}");
                assert!(serde_json::from_str::<serde_json::Value>(text).is_ok(), "{text}");
            }
            let mut distinct = all.clone();
            distinct.sort();
            distinct.dedup();
            assert_eq!(distinct.len(), DOCUMENTS);
        }
    }
}
