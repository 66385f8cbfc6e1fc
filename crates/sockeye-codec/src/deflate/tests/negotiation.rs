//! Offers and answers, right and wrong.

use super::{DeflateConfig, negotiate, takeover};
use crate::deflate::{AnswerError, check_answer, offer};

fn answer(offers: &str, config: &DeflateConfig) -> Option<String> {
    negotiate([offers.as_bytes()], config).map(|params| params.to_string())
}

/// The answer of a server that allows everything, without the name.
fn willing(offers: &str) -> Option<String> {
    let answer = answer(offers, &takeover())?;
    let parameters = answer.strip_prefix("permessage-deflate").unwrap();
    Some(parameters.trim_start_matches("; ").to_owned())
}

#[test]
fn each_parameter_of_an_offer_is_answered() {
    for (offer, answer) in [
        ("", ""),
        ("; server_no_context_takeover", "server_no_context_takeover"),
        ("; client_no_context_takeover", "client_no_context_takeover"),
        ("; server_max_window_bits=8", "server_max_window_bits=8"),
        ("; server_max_window_bits=15", "server_max_window_bits=15"),
        ("; client_max_window_bits", ""),
        ("; client_max_window_bits=15", ""),
        ("; client_max_window_bits=9", "client_max_window_bits=9"),
        ("; client_max_window_bits=\"10\"", "client_max_window_bits=10"),
        ("; client_max_window_bits=\"\\1\\0\"", "client_max_window_bits=10"),
        (" ;\tserver_max_window_bits = 12 ", "server_max_window_bits=12"),
        (
            "; client_max_window_bits=11; server_max_window_bits=10; client_no_context_takeover; \
             server_no_context_takeover",
            "server_no_context_takeover; client_no_context_takeover; server_max_window_bits=10; \
             client_max_window_bits=11",
        ),
    ] {
        assert_eq!(willing(&format!("permessage-deflate{offer}")).as_deref(), Some(answer));
    }
}

#[test]
fn the_settings_limit_the_answer() {
    let config = DeflateConfig {
        server_context_takeover: false,
        client_context_takeover: false,
        server_max_window_bits: 11,
        client_max_window_bits: 10,
        ..DeflateConfig::default()
    };
    let says = |offer: &str| answer(&format!("permessage-deflate{offer}"), &config).unwrap();
    let none = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
    // A client that has not offered `client_max_window_bits` must not be answered with it.
    assert_eq!(says(""), format!("{none}; server_max_window_bits=11"));
    assert_eq!(says("; server_max_window_bits=9"), format!("{none}; server_max_window_bits=9"));
    assert_eq!(says("; server_max_window_bits=15"), format!("{none}; server_max_window_bits=11"));
    let both = format!("{none}; server_max_window_bits=11; client_max_window_bits=");
    assert_eq!(says("; client_max_window_bits"), format!("{both}10"));
    assert_eq!(says("; client_max_window_bits=12"), format!("{both}10"));
    assert_eq!(says("; client_max_window_bits=9"), format!("{both}9"));
}

/// The limit is about memory: where the window cannot be limited, no context is kept.
#[test]
fn a_client_that_cannot_be_told_a_window_keeps_no_context() {
    let config = DeflateConfig { client_max_window_bits: 10, ..takeover() };
    let params = negotiate([&b"permessage-deflate"[..]], &config).unwrap();
    assert!(!params.client_context_takeover());
    assert_eq!(params.client_window_bits(), 15);
    assert_eq!(params.to_string(), "permessage-deflate; client_no_context_takeover");
}

#[test]
fn what_is_not_an_offer_is_declined() {
    for parameters in [
        "unknown",
        "unknown=1",
        "server_max_window_bits",
        "server_max_window_bits=7",
        "server_max_window_bits=16",
        "server_max_window_bits=08",
        "server_max_window_bits=010",
        "server_max_window_bits=8.5",
        "server_max_window_bits=+9",
        "server_max_window_bits=1",
        "server_max_window_bits=100",
        "server_max_window_bits=0",
        "server_max_window_bits=0xA",
        "server_max_window_bits=true",
        "client_max_window_bits=7",
        "client_max_window_bits=16",
        "client_max_window_bits=09",
        "client_max_window_bits=\"7\"",
        "server_no_context_takeover=1",
        "server_no_context_takeover=true",
        "client_no_context_takeover=\"true\"",
        "server_no_context_takeover; server_no_context_takeover",
        "client_no_context_takeover; client_no_context_takeover",
        "server_max_window_bits=9; server_max_window_bits=9",
        "client_max_window_bits; client_max_window_bits",
        "client_max_window_bits=9; client_max_window_bits",
        "Server_No_Context_Takeover",
    ] {
        let bad = format!("permessage-deflate; {parameters}");
        assert_eq!(willing(&bad), None, "{parameters}");
        // The next one is as good as if it stood alone.
        let next = format!("{bad}, permessage-deflate; server_max_window_bits=9");
        assert_eq!(willing(&next).as_deref(), Some("server_max_window_bits=9"), "{parameters}");
    }
    for other in ["", "x-webkit-deflate-frame", "permessage-bzip2; client_max_window_bits=9"] {
        assert_eq!(willing(other), None, "{other}");
    }
}

#[test]
fn the_first_acceptable_offer_wins_over_all_header_lines() {
    let lines = [
        &b"permessage-foo, permessage-deflate; server_max_window_bits=16"[..],
        b", ,permessage-deflate; server_max_window_bits=10,permessage-deflate",
        b"permessage-deflate; server_max_window_bits=9",
    ];
    let params = negotiate(lines, &takeover()).unwrap();
    assert_eq!(params.to_string(), "permessage-deflate; server_max_window_bits=10");
}

#[test]
fn a_client_offers_what_it_wants() {
    assert_eq!(offer(&takeover()), "permessage-deflate; client_max_window_bits");
    let config = DeflateConfig {
        server_max_window_bits: 9,
        client_max_window_bits: 10,
        ..DeflateConfig::default()
    };
    assert_eq!(
        offer(&config),
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover; \
         server_max_window_bits=9; client_max_window_bits=10"
    );
}

#[test]
fn a_client_takes_only_an_answer_to_its_offer() {
    let wide = takeover();
    let narrow = DeflateConfig { server_max_window_bits: 10, client_max_window_bits: 11, ..wide };
    let none = DeflateConfig::default();
    let bad = Err(AnswerError::Parameters);
    let check = |config: &DeflateConfig, answer: &str| {
        let answer = format!("permessage-deflate{answer}");
        let agreed = check_answer([answer.as_bytes()], Some(config))?;
        let params = agreed.unwrap();
        let (server, client) = (params.server_context_takeover(), params.client_context_takeover());
        Ok((server, params.server_window_bits(), client, params.client_window_bits()))
    };
    for (config, answer, expected) in [
        (&wide, "", Ok((true, 15, true, 15))),
        (&wide, "; server_no_context_takeover", Ok((false, 15, true, 15))),
        (&wide, "; client_no_context_takeover", Ok((true, 15, false, 15))),
        (&wide, "; server_max_window_bits=8", Ok((true, 8, true, 15))),
        (&wide, "; client_max_window_bits=8", Ok((true, 15, true, 8))),
        (&wide, "; client_max_window_bits", bad),
        (&wide, "; client_max_window_bits=16", bad),
        (&wide, "; server_max_window_bits", bad),
        (&wide, "; server_max_window_bits=9; server_max_window_bits=9", bad),
        (&wide, "; unknown", bad),
        (&wide, ", permessage-deflate", bad),
        (&narrow, "", bad),
        (&narrow, "; server_max_window_bits=11", bad),
        (&narrow, "; server_max_window_bits=10", Ok((true, 10, true, 11))),
        (&narrow, "; server_max_window_bits=9; client_max_window_bits=12", bad),
        (&narrow, "; server_max_window_bits=9; client_max_window_bits=9", Ok((true, 9, true, 9))),
        (&none, "", bad),
        (&none, "; server_no_context_takeover", Ok((false, 15, false, 15))),
    ] {
        assert_eq!(check(config, answer), expected, "{answer}");
    }
    assert_eq!(check_answer([], Some(&wide)), Ok(None));
    assert_eq!(check_answer([&b"other"[..]], Some(&wide)), Err(AnswerError::NotOffered));
    assert_eq!(check_answer([&b"permessage-deflate"[..]], None), Err(AnswerError::NotOffered));
    assert_eq!(check_answer([&b"permessage-deflate;"[..]], None), Err(AnswerError::NotOffered));
}

/// Whatever the settings of both, an answer of ours is one to an offer of ours, and both ends read
/// the same in it.
#[test]
fn both_ends_agree() {
    let mut configs = Vec::new();
    for bits in [(15, 15), (8, 9), (15, 10), (12, 15)] {
        for (server, client) in [(false, false), (true, false), (false, true), (true, true)] {
            configs.push(DeflateConfig {
                server_context_takeover: server,
                client_context_takeover: client,
                server_max_window_bits: bits.0,
                client_max_window_bits: bits.1,
                ..DeflateConfig::default()
            });
        }
    }
    for server in &configs {
        for client in &configs {
            let theirs = negotiate([offer(client).as_bytes()], server).unwrap();
            let ours = check_answer([theirs.to_string().as_bytes()], Some(client));
            let ours = ours.unwrap().unwrap();
            assert_eq!(ours.server_window_bits(), theirs.server_window_bits());
            assert_eq!(ours.client_window_bits(), theirs.client_window_bits());
            assert_eq!(ours.server_context_takeover(), theirs.server_context_takeover());
            assert_eq!(ours.client_context_takeover(), theirs.client_context_takeover());
        }
    }
}

#[test]
fn settings_are_checked_by_name() {
    let config = DeflateConfig { server_max_window_bits: 16, ..takeover() };
    assert_eq!(config.check().unwrap_err().to_string(), "server_max_window_bits must be 8 to 15");
    let config = DeflateConfig { memory_level: 0, ..takeover() };
    assert_eq!(config.check().unwrap_err().to_string(), "memory_level must be 1 to 9");
    assert_eq!(takeover().check(), Ok(()));
}
