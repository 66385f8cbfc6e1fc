//! What help shows besides the options' own words: examples, and in `-h` only what one needs first.

use clap::Command;

/// The options that `-h` of a command shows, by their ids; `--help` shows all.
const AT_A_GLANCE: [(&str, &[&str]); 2] = [
    (
        "load",
        &[
            "url",
            "scenario",
            "file",
            "connections",
            "duration",
            "warm_up",
            "rate",
            "closed",
            "bytes",
            "message",
            "text",
            "server_pid",
            "slo",
            "find_max",
            "json",
            "html",
            "quiet",
        ],
    ),
    (
        "ab",
        &[
            "servers",
            "commands",
            "repeats",
            "fail_on",
            "markdown",
            "scenario",
            "connections",
            "duration",
            "rate",
            "closed",
            "bytes",
        ],
    ),
];

/// The command as it is, with a short `-h`.
pub(crate) fn with_short_help(command: Command) -> Command {
    AT_A_GLANCE.iter().fold(command, |command, (name, shown)| {
        command.mut_subcommand(name, |subcommand| {
            subcommand.mut_args(|arg| {
                let is_shown = shown.contains(&arg.get_id().as_str());
                arg.hide_short_help(!is_shown)
            })
        })
    })
}

pub(crate) const SHORT: &str = "--help has all options, and examples.";

pub(crate) const SERVE: &str = "\
Examples:
  An echo server for the load:
    sockeye serve
  With TLS; SIGHUP reads the certificate again:
    sockeye serve --tls-cert cert.pem --tls-key key.pem
  A chat, at http://127.0.0.1:9001/ in a browser:
    sockeye serve --app chat
  Silent for 40 ms twice a second, to see whether a load tool tells:
    sockeye serve --app calibrate --stall 40ms --stall-every 500ms";

pub(crate) const LOAD: &str = "\
Examples:
  An echo server, and a page with plots:
    sockeye load ws://127.0.0.1:9001/ --rate 20k --html report.html
  What a server sends by itself:
    sockeye load wss://ticker.example/feed --scenario push -c 1000
  One publisher, and 500 subscribers that must get everything:
    sockeye load ws://127.0.0.1:9001/ --scenario fanout -c 500
  What idle connections cost the server's process:
    sockeye load ws://127.0.0.1:9001/ --scenario idle -c 9000 \\
        --server-pid 4711
  One of twenty connections reads slowly:
    sockeye load ws://127.0.0.1:9001/ --scenario slow --slow 5%:10kB/s
  500 new connections a second:
    sockeye load ws://127.0.0.1:9001/ --scenario storm --rate 500
  A scenario of your own:
    sockeye load ws://127.0.0.1:9001/ --file login.toml -c 200
  How many messages, not how fast each of them:
    sockeye load ws://127.0.0.1:9001/ --closed --in-flight 8
  How much it can take while p99 stays below 5 ms:
    sockeye load ws://127.0.0.1:9001/ --find-max --slo 'p99<5ms'

Exit codes:
    0  all is well
    1  the run failed
    2  the command line or a scenario file is wrong
    3  a limit (--slo) was not kept
    4  INVALID: the client was the bottleneck, not the server
  130  SIGINT; 143: SIGTERM";

pub(crate) const COMPARE: &str = "\
Examples:
  Two runs:
    sockeye compare before.json after.json
  Several runs of each, as a gate:
    sockeye compare a1.json,a2.json,a3.json,a4.json \\
        b1.json,b2.json,b3.json,b4.json --fail-on 'p99>5%'

Exit codes: 0; 4 if a run is INVALID; 5 if --fail-on finds it worse.";

pub(crate) const AB: &str = "\
Examples:
  Two servers that run already:
    sockeye ab --server A=ws://127.0.0.1:9001/ \\
        --server B=ws://127.0.0.1:9002/ --rate 10k
  Two programs, each started afresh for each of its runs:
    sockeye ab --server-command A='./old --port {port}' \\
        --server-command B='./new --port {port}' --fail-on 'p99>5%'

Exit codes: 0; 1 if a run failed; 4 if one is INVALID; 5 if B is worse
by more than --fail-on allows.";

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser as _};

    use super::*;
    use crate::Cli;

    fn help(name: &str, flag: &str) -> String {
        let command = with_short_help(Cli::command());
        let error = command.try_get_matches_from(["sockeye", name, flag]).unwrap_err();
        error.to_string()
    }

    #[test]
    fn a_glance_shows_what_is_there_and_no_more() {
        for (name, shown) in AT_A_GLANCE {
            let command = Cli::command();
            let subcommand = command.find_subcommand(name).unwrap();
            for id in shown {
                assert!(subcommand.get_arguments().any(|arg| arg.get_id() == id), "{name}: {id}");
            }
            let (short, long) = (help(name, "-h"), help(name, "--help"));
            assert!(short.lines().count() <= 45, "{name}: {short}");
            assert!(short.contains(SHORT) && !short.contains("--connect-pending"), "{short}");
            assert!(long.contains("--connect-pending") && long.contains("Examples:"), "{long}");
        }
    }

    /// Every line of an example that begins with the command, with those that it goes on in.
    #[test]
    fn examples_are_taken() {
        let mut count = 0;
        for text in [SERVE, LOAD, COMPARE, AB] {
            // A manual page has 80 columns, of which some are its margins.
            assert!(text.lines().all(|line| line.len() <= 73), "{text}");
            let joined = text.replace("\\\n", " ");
            for line in joined.lines().filter(|line| line.trim().starts_with("sockeye ")) {
                let mut words = Vec::new();
                for (n, part) in line.trim().split('\'').enumerate() {
                    if n % 2 == 1 {
                        let before = words.last().is_some_and(|word: &String| word.ends_with('='));
                        if before {
                            words.last_mut().unwrap().push_str(part);
                        } else {
                            words.push(part.to_owned());
                        }
                    } else {
                        words.extend(part.split_whitespace().map(str::to_owned));
                    }
                }
                let parsed = Cli::try_parse_from(&words);
                assert!(parsed.is_ok(), "{words:?}: {}", parsed.unwrap_err());
                count += 1;
            }
        }
        assert!(count >= 17, "{count}");
    }
}
