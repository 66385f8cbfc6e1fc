//! One suite of the whole engine's behaviour, mounted once on each backend: epoll, io_uring, and
//! the simulator with a network that is well and with one in which everything comes in pieces and
//! late; and on each of them again under TLS. What differs between them is in `sockets.rs`,
//! `simulator.rs` and `tls.rs`; no test knows on which of them it runs.

mod backlog;
mod closing;
mod compression;
mod crowd;
mod descriptors;
mod echo;
mod fragments;
mod loss;
mod orders;
mod simulator;
mod sockets;
mod splits;
mod stage;
mod timeouts;
mod tls;
mod world;

/// Each function of the suite becomes a test; one that is forgotten here is dead code.
macro_rules! mount {
    ($place:path) => {
        mount! {
            $place;
            echo:
                every_size_comes_back_as_it_was,
                a_long_message_is_sent_as_it_was_told,
                sixty_four_mebibytes_come_back,
                messages_under_way_together_are_answered_in_order;
            splits:
                a_conversation_may_be_cut_at_every_byte,
                a_conversation_may_come_byte_by_byte;
            fragments:
                ten_thousand_fragments_are_a_message_and_one_more_is_too_many,
                empty_fragments_are_fragments,
                control_frames_between_fragments_are_answered_in_their_place;
            closing:
                the_peer_closes_first,
                the_server_closes_first,
                both_close_at_once,
                another_thread_and_the_peer_close_at_once,
                what_follows_a_close_frame_is_not_handled,
                a_protocol_error_closes_without_a_reset,
                a_close_frame_waits_behind_the_backlog,
                the_answer_to_a_close_frame_waits_behind_the_backlog,
                a_close_within_a_fragmented_message,
                a_shutdown_closes_everybody;
            loss:
                a_fin_without_a_close_frame,
                a_fin_within_a_frame_or_a_request,
                a_fin_instead_of_the_answer,
                what_came_before_the_fin_is_handled,
                a_fin_forfeits_the_backlog,
                a_reset,
                a_reset_instead_of_the_answer,
                resets_at_every_stage_of_a_conversation;
            timeouts:
                a_request_that_does_not_come_is_a_408,
                a_silent_peer_is_pinged_and_in_the_end_closed,
                a_peer_that_is_dead_is_cut,
                a_peer_that_does_not_answer_a_close_is_cut,
                a_peer_that_does_not_send_its_fin_is_cut;
            backlog:
                who_never_reads_is_closed_and_others_are_served,
                the_limit_is_exact_to_the_byte,
                drained_comes_once_each_time,
                a_sender_goes_on_when_drained,
                a_paused_connection_s_messages_wait;
            crowd:
                five_thousand_at_once,
                slots_are_used_again_and_nobody_gets_another_s;
            compression:
                echoes_under_each_agreement,
                windows_do_not_mix_on_the_wire,
                a_publication_is_compressed_once_for_each_class,
                bombs_and_garbage_are_closed,
                idle_contexts_are_parked_and_begun_anew,
                a_connection_may_do_without,
                streams_are_inflated_as_they_arrive;
            descriptors:
                peers_wait_for_descriptors;
        }
    };
    ($place:path; $($part:ident: $($name:ident),+;)+) => {
        $($(
            #[test]
            fn $name() {
                if ($place.is_here)() {
                    crate::$part::$name(&$place);
                }
            }
        )+)+
    };
}

mod epoll {
    mount!(crate::sockets::EPOLL);
}

mod io_uring {
    mount!(crate::sockets::IO_URING);
}

mod calm {
    mount!(crate::simulator::CALM);
}

mod rough {
    mount!(crate::simulator::ROUGH);
}

mod tls_epoll {
    mount!(crate::sockets::TLS_EPOLL);
}

mod tls_io_uring {
    mount!(crate::sockets::TLS_IO_URING);
}

mod tls_calm {
    mount!(crate::simulator::TLS_CALM);
}

mod tls_rough {
    mount!(crate::simulator::TLS_ROUGH);
}
