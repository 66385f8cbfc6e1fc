//! Topics and targeted sends: who gets what, in which order, on one shard and across three.

use std::thread;

use sockeye::{CloseCode, Refused};
use sockeye_tests::peer::{BINARY, CLOSE, TEXT, bytes_of, close_payload, masked};
use sockeye_tests::rig::Setup;

#[path = "town.rs"]
mod town;

use town::{END, Town, texts_to_end};

/// Every test runs on one shard, and where publications cross threads.
const SHARD_COUNTS: [usize; 2] = [1, 3];

/// What subscriptions return: whether something changed.
#[test]
fn subscribe_and_unsubscribe_say_what_they_did() {
    for shards in SHARD_COUNTS {
        let town = Town::new(shards);
        let mut member = town.member();
        let orders = "subscribe t\nsubscribe t\nunsubscribe t\nunsubscribe t\nsubscribe t\n\
                      unsubscribe unknown\nsubscribe u";
        let results = "Ok(true) Ok(false) true false Ok(true) false Ok(true)";
        assert_eq!(town.tell(&mut member, orders), results);
    }
}

/// `publish` reaches every subscriber on every shard, the publisher among them, and
/// `publish_to_others` all but the publisher; nobody else gets anything.
#[test]
fn a_publication_reaches_its_subscribers_and_nobody_else() {
    for shards in SHARD_COUNTS {
        let town = Town::new(shards);
        let mut members = town.members(3);
        for member in &mut members {
            let topic = ["t", "t", "u"][member.number % 3];
            assert_eq!(town.tell(member, &format!("subscribe {topic}")), "Ok(true)");
        }
        for publisher in 0..members.len() {
            let is_subscribed = |member: &town::Member| member.number % 3 != 2;
            let orders = "publish t all\npublish_to_others t others\npublish nobody nothing";
            assert_eq!(town.tell(&mut members[publisher], orders), "Ok(()) Ok(()) Ok(())");
            let got = town.harvest(publisher, &mut members);
            for (n, (member, got)) in members.iter().zip(got).enumerate() {
                let expected: &[&str] = match is_subscribed(member) {
                    true if n == publisher => &["all"],
                    true => &["all", "others"],
                    false => &[],
                };
                assert_eq!(got, expected, "{shards} shards, {publisher} publishes, {n} reads");
            }
        }
    }
}

/// What one connection publishes arrives everywhere in the order of its calls: within a callback,
/// across callbacks of a turn and across turns, to one topic or to several.
#[test]
fn publications_of_one_connection_keep_their_order() {
    for shards in SHARD_COUNTS {
        let town = Town::new(shards);
        let mut members = town.members(2);
        for member in &mut members {
            town.tell(member, "subscribe t\nsubscribe u");
        }
        let expected: Vec<_> = (0..600).map(|n| format!("message {n}")).collect();
        for (round, turn) in expected.chunks(60).enumerate() {
            let frames: Vec<_> = turn
                .chunks(5)
                .flat_map(|texts| {
                    // One topic alone takes another way than several.
                    let mixed = round.is_multiple_of(2);
                    let topic = |n| if mixed && n == 3 { "u" } else { "t" };
                    let orders = texts.iter().enumerate();
                    let orders = orders.map(|(n, text)| format!("publish {} {text}", topic(n)));
                    masked(TEXT, orders.collect::<Vec<_>>().join("\n").as_bytes())
                })
                .collect();
            members[0].peer.send(&frames);
            for _ in 0..12 {
                assert_eq!(town.rig.next_note(), ["Ok(())"; 5].join(" "));
            }
        }
        for (n, got) in town.harvest(0, &mut members).iter().enumerate() {
            assert_eq!(*got, expected, "{shards} shards, member {n}");
        }
    }
}

/// What a callback sends to its own connection before and after a publication comes before and
/// after it; a close frame, after all.
#[test]
fn sends_and_publications_of_a_callback_keep_their_order() {
    for shards in SHARD_COUNTS {
        let town = Town::new(shards);
        let mut members = town.members(2);
        for member in &mut members {
            town.tell(member, "subscribe t");
        }
        let orders = "send a\npublish t b\nsend c\npublish_to_others t not to me\nsend d\n\
                      publish t e\nsend f\npublish end end\nsend g\nclose 4000 done";
        town.tell(&mut members[0], orders);
        for (n, member) in members.iter_mut().enumerate() {
            let got = texts_to_end(&mut member.peer);
            let expected: &[&str] =
                if n == 0 { &["a", "b", "c", "d", "e", "f"] } else { &["b", "not to me", "e"] };
            assert_eq!(got, expected, "{shards} shards, member {n}");
        }
        let peer = &mut members[0].peer;
        assert_eq!(peer.read_text(), "g");
        assert_eq!(peer.read_close(), (4000, "done".into()));
        peer.send_frame(CLOSE, &close_payload(4000, ""));
        peer.expect_end();
    }
}

/// Subscribing and unsubscribing counts from the call on, within one callback too: for what is
/// published after it and not for what was published before.
#[test]
fn a_subscription_begins_and_ends_with_the_call() {
    let cases: [(&str, &[&str]); 5] = [
        ("subscribe t\npublish t a", &["a"]),
        ("publish t a\nsubscribe t\npublish t b", &["b"]),
        ("subscribe t\npublish t a\nunsubscribe t\npublish t b", &["a"]),
        ("subscribe t\nunsubscribe t\npublish t a", &[]),
        ("publish t a\nsubscribe t\npublish t b\nunsubscribe t\npublish t c\nsubscribe t", &["b"]),
    ];
    for shards in SHARD_COUNTS {
        for (orders, expected) in cases {
            let town = Town::new(shards);
            let mut members = town.members(1);
            members.push(town.member());
            town.tell(&mut members[0], orders);
            let got = town.harvest(0, &mut members);
            assert_eq!(got[0], expected, "{orders}");
            assert!(got[1..].iter().all(Vec::is_empty), "{orders}");
            // The others' subscriptions are theirs.
            let last = members.len() - 1;
            town.tell(&mut members[last], "subscribe t");
            let all = town.tell(&mut members[0], orders);
            assert!(!all.contains("Err"), "{all}");
            let got = town.harvest(0, &mut members);
            let published = orders.lines().filter_map(|order| order.strip_prefix("publish t "));
            assert!(got[last].iter().eq(published), "{orders}: {:?}", got[last]);
        }
    }
}

/// A connection that is gone is no subscriber: nothing is sent for it, and its topics work on.
#[test]
fn a_closed_connection_is_unsubscribed() {
    for shards in SHARD_COUNTS {
        let town = Town::new(shards);
        let mut members = town.members(3);
        for member in &mut members {
            town.tell(member, "subscribe t");
        }
        for (n, gone) in (0..shards).map(|shard| members.remove(shard * 2)).enumerate() {
            if n % 2 == 0 {
                gone.peer.close(1000)
            } else {
                drop(gone)
            }
            town.rig.next_closed();
        }
        assert_eq!(members.len(), 2 * shards);
        let before = town.rig.handle().stats().messages_sent;
        town.tell(&mut members[0], "publish t a");
        assert!(town.harvest(0, &mut members).iter().all(|got| *got == ["a"]));
        let sent = 2 * members.len() as u64;
        town.rig.wait_for(|stats| stats.messages_sent >= before + sent);
        assert_eq!(town.rig.handle().stats().messages_sent, before + sent);
    }
}

/// `closed` can publish: the others hear of it, on every shard.
#[test]
fn closed_can_publish() {
    for shards in SHARD_COUNTS {
        let setup = Setup::new().closed(|shard, _, why| {
            if why.code() == CloseCode(4321) {
                shard.publish("news", &format!("left with {}", why.code())).unwrap();
                shard.publish(END, END).unwrap();
            }
        });
        let town = Town::with(shards, setup);
        let mut members = town.members(2);
        for member in &mut members {
            town.tell(member, "subscribe news");
        }
        let gone = members.remove(0);
        gone.peer.close(4321);
        for member in &mut members {
            assert_eq!(texts_to_end(&mut member.peer), ["left with 4321"]);
        }
    }
}

/// Four threads publish through the handle at the same time: every subscriber gets all of it, and
/// each thread's in order.
#[test]
fn other_threads_publish_in_order() {
    const EACH: usize = 500;
    for shards in SHARD_COUNTS {
        let town = Town::new(shards);
        let mut members = town.members(2);
        for member in &mut members {
            town.tell(member, "subscribe t");
        }
        thread::scope(|scope| {
            for name in 0..4 {
                let handle = town.rig.handle().clone();
                scope.spawn(move || {
                    for n in 0..EACH {
                        handle.publish("t", &format!("{name} {n}")).unwrap();
                    }
                });
            }
        });
        town.rig.handle().publish(END, END).unwrap();
        for member in &mut members {
            let mut next = [0; 4];
            for text in texts_to_end(&mut member.peer) {
                let (name, n) = text.split_once(' ').unwrap();
                let next = &mut next[name.parse::<usize>().unwrap()];
                assert_eq!(n.parse(), Ok(*next), "{text} out of order");
                *next += 1;
            }
            assert_eq!(next, [EACH; 4]);
        }
    }
}

/// What is asked for too much is refused, with the reason, and changes nothing.
#[test]
fn what_is_too_much_is_refused() {
    let limits = |config: &mut sockeye::Config| {
        config.topic_bytes_max = 10;
        config.subscriptions_per_connection_max = 3;
        config.publish_bytes_per_turn_max = 100;
    };
    for shards in SHARD_COUNTS {
        let town = Town::with(shards, Setup::new().config(limits));
        let mut members = town.members(1);
        let publisher = &mut members[0];
        for verb in ["subscribe", "publish", "publish_to_others"] {
            for name in ["", "elevenbytes"] {
                let order = format!("{verb} {name} x");
                assert_eq!(town.tell(publisher, &order), "Err(TopicName)", "{order}");
            }
        }
        // One of the three is "end".
        let orders = "subscribe t\nsubscribe ten__bytes\nsubscribe u\nsubscribe t\n\
                      unsubscribe ten__bytes\nsubscribe u\nsubscribe v";
        let results = "Ok(true) Ok(true) Err(Subscriptions) Ok(false) true Ok(true) \
                       Err(Subscriptions)";
        assert_eq!(town.tell(publisher, orders), results);
        // Frames of 40, 60 and 2 bytes.
        let (a, b) = ("a".repeat(38), "b".repeat(58));
        let orders = format!("publish t {a}\npublish t {b}\npublish t \npublish_to_others t ");
        let results = "Ok(()) Ok(()) Err(Publications) Err(Publications)";
        assert_eq!(town.tell(publisher, &orders), results);
        assert_eq!((publisher.peer.read_text(), publisher.peer.read_text()), (a.clone(), b));
        assert_eq!(town.tell(publisher, &format!("publish t {a}")), "Ok(())", "in another turn");
        assert_eq!(publisher.peer.read_text(), a);
        let refused = format!("Ok(()) Err({:?}) Err(Closed) false", Refused::Closed);
        let orders = "close 1000\nsubscribe w\nclose 1000\nsend x";
        assert_eq!(town.tell(publisher, orders), refused);
    }
}

/// A publication that is refused reaches nobody, on no shard: here the room of the turn was used up
/// by something that did not leave the shard.
#[test]
fn a_refused_publication_reaches_nobody() {
    let limits = |config: &mut sockeye::Config| config.publish_bytes_per_turn_max = 100;
    for shards in SHARD_COUNTS {
        let town = Town::with(shards, Setup::new().config(limits));
        let mut members = town.members(2);
        for member in &mut members {
            town.tell(member, "subscribe t");
        }
        let (number, long) = (members[0].number, "x".repeat(60));
        let orders = format!("send_to {number} {long}\npublish t {long}");
        assert_eq!(town.tell(&mut members[0], &orders), "Ok(()) Err(Publications)");
        let got = town.harvest(0, &mut members);
        assert_eq!(got[0], [long]);
        assert!(got[1..].iter().all(Vec::is_empty), "{shards} shards: {:?}", &got[1..]);
    }
}

/// A thousand topics: one publication to each comes to the subscriber of all in order, and to the
/// subscriber of some of them only theirs.
#[test]
fn there_may_be_a_thousand_topics() {
    for shards in SHARD_COUNTS {
        let town = Town::new(shards);
        let mut members = town.members(2);
        let orders = |verb: &str, step: usize| {
            let orders = (0..1_000).step_by(step);
            orders.map(|n| format!("{verb} topic{n} {n}\n")).collect::<String>()
        };
        for (n, member) in members.iter_mut().enumerate() {
            let step = if n % 2 == 0 { 1 } else { 10 };
            let results = town.tell(member, &orders("subscribe", step));
            assert_eq!(results, vec!["Ok(true)"; 1_000 / step].join(" "));
        }
        let last = members.len() - 1;
        let results = town.tell(&mut members[last], &orders("publish", 1));
        assert_eq!(results, vec!["Ok(())"; 1_000].join(" "));
        for (n, got) in town.harvest(last, &mut members).iter().enumerate() {
            let step = if n % 2 == 0 { 1 } else { 10 };
            assert!((0..1_000).step_by(step).map(|n| n.to_string()).eq(got.iter().cloned()));
        }
        let results = town.tell(&mut members[0], &orders("unsubscribe", 1));
        assert_eq!(results, vec!["true"; 1_000].join(" "));
    }
}

/// A mebibyte to fifty subscribers, none of whom reads before all are served.
#[test]
fn a_large_publication_reaches_fifty_subscribers() {
    for shards in SHARD_COUNTS {
        let town = Town::new(shards);
        let mut members: Vec<_> = (0..50).map(|_| town.member()).collect();
        for member in &mut members {
            assert_eq!(town.tell(member, "subscribe t"), "Ok(true)");
        }
        let payload = bytes_of(1 << 20, 1);
        town.rig.handle().publish("t", &payload).unwrap();
        town.rig.wait_for(|stats| stats.messages_sent == 50);
        for member in &mut members {
            let frame = member.peer.read_frame();
            assert_eq!(frame.first, BINARY);
            assert!(frame.payload == payload);
        }
        assert!(town.harvest(0, &mut members).iter().all(Vec::is_empty));
    }
}

/// `send_to` reaches the one connection that is named, on whichever shard, itself too, in the order
/// of the calls; one that is gone is passed over, and nobody else gets what was for it.
#[test]
fn a_targeted_send_reaches_the_one_that_is_named() {
    for shards in SHARD_COUNTS {
        let town = Town::new(shards);
        let mut members = town.members(3);
        let gone = members.pop().unwrap();
        let gone_number = gone.number;
        gone.peer.close(1000);
        town.rig.next_closed();
        members.push(town.member()); // it may have the place of the one that is gone
        let numbers: Vec<_> = members.iter().map(|member| member.number).collect();
        for from in 0..members.len() {
            let mut orders = format!("send begin\nsend_to {gone_number} nobody\n");
            for (n, number) in numbers.iter().enumerate() {
                orders += &format!("send_to {number} {from} to {n}\nsend_to {number} again\n");
            }
            orders += "send over";
            let results = town.tell(&mut members[from], &orders);
            assert!(!results.contains("Err") && !results.contains("false"), "{results}");
            for (n, got) in town.harvest(from, &mut members).iter().enumerate() {
                let to = format!("{from} to {n}");
                let own = ["begin", &to, "again", "over"];
                assert_eq!(*got, if n == from { &own[..] } else { &own[1..3] }, "{shards} shards");
            }
        }
    }
}

/// Promise 4, "what one thread sends to one connection arrives in that order": publications and
/// targeted sends of one callback do not overtake each other on their way to another shard.
#[test]
fn targeted_sends_and_publications_keep_their_order() {
    for shards in SHARD_COUNTS {
        let town = Town::new(shards);
        let mut members = town.members(2);
        for member in &mut members {
            town.tell(member, "subscribe t");
        }
        let mut orders = String::new();
        for n in 0..3 {
            orders += &format!("publish t published {n}\n");
            for member in &members {
                orders += &format!("send_to {} sent {n}\n", member.number);
            }
        }
        let results = town.tell(&mut members[0], &orders);
        assert!(!results.contains("Err"), "{results}");
        for (n, got) in town.harvest(0, &mut members).iter().enumerate() {
            let order = (0..3).flat_map(|n| [format!("published {n}"), format!("sent {n}")]);
            assert!(got.iter().cloned().eq(order), "{shards} shards, member {n}: {got:?}");
        }
    }
}

/// Answers that wait behind a publication or a targeted send leave although the peer's close frame
/// came in the same read: `send` has said "queued". So does our close frame, where we were first.
#[test]
fn what_waits_behind_deliveries_leaves_before_the_end() {
    const END_OF_PEER: u16 = 1000;
    let cases: [(&str, &[&str], u16); 5] = [
        ("send a\npublish t b\nsend c", &["a", "b", "c"], END_OF_PEER),
        ("publish nobody x\nsend_to 0 y\nsend a", &["a"], END_OF_PEER),
        ("send_to 1 a\nsend b", &["a", "b"], END_OF_PEER),
        ("publish t a\nsend b\nclose 4000", &["a", "b"], 4000),
        ("send a\nclose 4000", &["a"], 4000),
    ];
    for shards in SHARD_COUNTS {
        for (orders, texts, code) in cases {
            let town = Town::new(shards);
            let mut members = [town.member(), town.member()];
            assert_eq!(members.each_ref().map(|member| member.number), [0, 1]);
            town.tell(&mut members[1], "subscribe t");
            let peer = &mut members[1].peer;
            let close = masked(CLOSE, &close_payload(END_OF_PEER, ""));
            peer.send(&[masked(TEXT, orders.as_bytes()), close].concat());
            let got: Vec<_> = texts.iter().map(|_| peer.read_text()).collect();
            assert_eq!(got, texts, "{orders}");
            assert_eq!(peer.read_close(), (code, String::new()), "{orders}");
            peer.expect_end();
        }
    }
}

/// The same where the peer's fault ends the connection in the read that brought the message.
#[test]
fn what_waits_behind_deliveries_leaves_before_a_failure() {
    for shards in SHARD_COUNTS {
        let town = Town::new(shards);
        let mut member = town.member();
        town.tell(&mut member, "subscribe t");
        let peer = &mut member.peer;
        let bad = masked(0x83, b"a reserved opcode");
        peer.send(&[masked(TEXT, b"send a\npublish t b\nsend c"), bad].concat());
        assert_eq!(["a", "b", "c"].map(|_| peer.read_text()), ["a", "b", "c"]);
        assert_eq!(peer.read_close().0, 1002);
        peer.expect_end();
    }
}

/// And where the handler's panic does: what it has sent before, then 1011.
#[test]
fn what_waits_behind_deliveries_leaves_before_a_panic_s_close_frame() {
    for shards in SHARD_COUNTS {
        let town = Town::new(shards);
        let mut member = town.member();
        town.tell(&mut member, "subscribe t");
        let peer = &mut member.peer;
        peer.send_frame(TEXT, b"send a\npublish t b\nsend c\npanic now");
        assert_eq!(["a", "b", "c"].map(|_| peer.read_text()), ["a", "b", "c"]);
        assert_eq!(peer.read_close(), (1011, "internal error".into()));
        peer.send_frame(CLOSE, &close_payload(1011, ""));
        peer.expect_end();
    }
}
