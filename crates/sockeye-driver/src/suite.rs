//! The behaviour suite: what every backend does alike. It asks for nothing but a
//! [`Driver`](crate::Driver), and each backend mounts all of it with a maker of its own.

pub(crate) mod accept;
pub(crate) mod close;
pub(crate) mod connect;
pub(crate) mod ids;
pub(crate) mod receive;
mod rig;
pub(crate) mod send;
pub(crate) mod turn;

/// Each function of the suite becomes a test; one that is forgotten here is dead code. `$make`
/// makes a driver; where `$is_here` says no, there is nothing to test.
macro_rules! mount {
    ($make:path, $is_here:path) => {
        $crate::suite::mount! {
            $make, $is_here;
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
            ids:
                an_old_id_touches_nothing_of_the_new_connection,
                the_id_is_dead_when_closed_is_called,
                no_id_comes_twice;
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
            send:
                sends_of_all_kinds_leave_in_order,
                sends_of_all_kinds_wait_in_order,
                the_backlog_is_what_the_kernel_left,
                drained_is_told_once_each_time,
                a_backlog_that_stayed_low_does_not_drain,
                any_number_of_parts_leaves,
                nothing_is_no_send,
                shared_bytes_reach_fast_and_slow,
                a_connection_that_breaks_under_a_send_is_told_once;
            turn:
                a_turn_ends_at_its_deadline,
                a_turn_has_one_time,
                a_waker_ends_a_turn_from_another_thread,
                many_wakes_are_one,
                the_descriptor_is_readable_when_there_is_something_to_do,
                work_that_no_descriptor_tells_of_has_a_deadline;
        }
    };
    ($make:path, $is_here:path; $($part:ident: $($name:ident),+;)+) => {
        $($(
            #[test]
            fn $name() {
                if $is_here() {
                    $crate::suite::$part::$name($make);
                }
            }
        )+)+
    };
}

pub(crate) use mount;
