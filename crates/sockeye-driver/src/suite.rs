//! The behaviour suite: what every backend does alike. It asks for nothing but a
//! [`Driver`](crate::Driver) and a [`World`] in which it meets its peers, and each backend mounts
//! all of it: those of the system's sockets, and the simulator, under several seeds and faults.

use std::fmt;
use std::thread;

pub(crate) mod accept;
pub(crate) mod adopt;
pub(crate) mod close;
pub(crate) mod connect;
pub(crate) mod descriptor;
pub(crate) mod half;
pub(crate) mod ids;
pub(crate) mod receive;
pub(crate) mod resets;
mod rig;
mod seen;
pub(crate) mod send;
pub(crate) mod sockets;
pub(crate) mod starved;
pub(crate) mod turn;
pub(crate) mod world;

pub(crate) use rig::Rig;
use world::World;

/// Names the world in which a test has failed: of a simulated one, the seed.
struct Place<'a>(&'a dyn fmt::Debug);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("in {:?}", self.0);
        }
    }
}

/// Runs a test in each of these worlds; where there is none, there is nothing to test.
pub(crate) fn run<W: World>(_name: &str, worlds: impl IntoIterator<Item = W>, test: fn(&W)) {
    for world in worlds {
        let _place = Place(&world);
        test(&world);
    }
}

/// Each function of the suite becomes a test; one that is forgotten here is dead code. `$worlds`
/// makes the worlds of a test.
macro_rules! mount {
    ($worlds:path) => {
        $crate::suite::mount! {
            $worlds, $crate::suite::run;
            accept:
                the_peer_is_named,
                a_turn_accepts_its_budget_and_the_next_ones_the_rest,
                above_the_maximum_peers_wait_until_one_leaves,
                after_stop_listening_nobody_comes_in,
                stop_listening_counts_within_the_turn,
                any_listener_will_do;
            close:
                a_graceful_close_sends_all_that_waits_and_then_fin,
                a_graceful_close_resets_nothing_that_was_not_read,
                a_fin_during_a_graceful_close_costs_no_bytes,
                a_reset_during_a_graceful_close_ends_it,
                after_a_graceful_close_nothing_more_is_sent,
                a_graceful_close_cannot_be_paused,
                an_abort_ends_all_at_once,
                an_abort_within_a_call_is_the_last_call,
                every_connection_ends_once;
            connect:
                connected_comes_first_and_then_the_bytes,
                what_was_sent_too_early_is_sent_in_time,
                a_refused_connect_is_closed_with_an_error,
                an_aborted_connect_is_not_heard_of,
                a_connect_closed_gracefully_does_not_connect,
                resumed_while_connecting;
            half:
                answers_of_the_last_turn_reach_who_has_sent_all,
                what_waits_is_dropped_at_fin_unless_closed_gracefully;
            ids:
                an_old_id_touches_nothing_of_the_new_connection,
                the_id_is_dead_when_closed_is_called,
                no_id_comes_twice,
                in_a_storm_old_ids_touch_nothing_new;
            receive:
                all_bytes_arrive_in_order,
                fin_is_told_after_the_last_byte,
                a_reset_is_an_error,
                a_turn_reads_the_budget_at_most,
                a_fat_sender_keeps_nobody_waiting,
                nothing_comes_while_paused_and_all_of_it_after,
                a_pause_within_received_holds_from_then_on,
                a_paused_peer_is_held_up_by_tcp,
                an_end_during_a_pause_is_noticed_after_it;
            resets:
                a_reset_at_any_point_is_told_once,
                an_abort_at_any_point_is_seen_by_the_peer,
                a_reset_in_the_queue_is_told_once;
            send:
                sends_of_all_kinds_leave_in_order,
                sends_of_all_kinds_wait_in_order,
                the_backlog_is_what_the_kernel_left,
                drained_is_told_once_each_time,
                a_backlog_that_stayed_low_does_not_drain,
                the_mark_itself_is_not_above_it,
                any_number_of_parts_leaves,
                nothing_is_no_send,
                shared_bytes_reach_fast_and_slow,
                a_peer_that_never_reads_holds_up_nobody,
                a_connection_that_breaks_under_a_send_is_told_once,
                a_connection_that_broke_and_is_aborted_is_not_heard_of;
            turn:
                a_turn_ends_at_its_deadline,
                a_turn_has_one_time,
                a_waker_ends_a_turn_from_another_thread,
                many_wakes_are_one;
        }
    };
    // What takes a process of its own where descriptors are the system's.
    ($worlds:path, starved by $run:path) => {
        $crate::suite::mount! {
            $worlds, $run;
            starved:
                peers_wait_for_descriptors_and_are_then_served;
        }
    };
    // What takes descriptors, to watch or to hand over, or a clock that goes on within a turn.
    ($worlds:path, with descriptors) => {
        $crate::suite::mount! {
            $worlds, $crate::suite::run;
            adopt:
                what_is_adopted_on_its_way_connects,
                an_adopted_connect_that_is_refused_is_closed_with_an_error,
                what_came_before_it_was_adopted_is_received,
                what_was_never_connected_is_closed_with_an_error,
                what_is_adopted_is_closed_like_any_other,
                what_is_adopted_goes_with_the_driver,
                what_is_adopted_between_turns_has_a_deadline;
            descriptor:
                the_descriptor_is_readable_when_there_is_something_to_do,
                work_that_no_descriptor_tells_of_has_a_deadline;
            turn:
                answers_leave_while_a_long_turn_goes_on;
        }
    };
    ($worlds:path, $run:path; $($part:ident: $($name:ident),+;)+) => {
        $($(
            #[test]
            fn $name() {
                let name = concat!(module_path!(), "::", stringify!($name));
                $run(name, $worlds(), $crate::suite::$part::$name);
            }
        )+)+
    };
}

pub(crate) use mount;
