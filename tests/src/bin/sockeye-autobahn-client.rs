//! An echo client for the fuzzing server of the Autobahn test suite: it asks how many cases there
//! are, runs each on a connection of its own, and has the reports written.

use std::io;
use std::process::ExitCode;

use sockeye_codec::{Event, Limits};
use sockeye_tests::client::{Client, ClientError, takeover};

const USAGE: &str = "usage: sockeye-autobahn-client ws://HOST:PORT [AGENT]";
const AGENT_DEFAULT: &str = "sockeye";

/// The longest messages of the suite have 16 MiB.
const LIMITS: Limits = Limits {
    message_bytes_max: 64 << 20,
    frame_bytes_max: 64 << 20,
    fragments_per_message_max: 1 << 17,
    spare_bytes_max: 4 << 20,
};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (server, agent) = match &arguments[..] {
        [server] => (server.as_str(), AGENT_DEFAULT),
        [server, agent] => (server.as_str(), agent.as_str()),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match run(server.trim_end_matches('/'), agent) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sockeye-autobahn-client: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(server: &str, agent: &str) -> Result<(), String> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    if agent.is_empty() || !agent.bytes().all(is_plain) {
        return Err(format!("the agent {agent:?} is not made of letters, digits and `-._`"));
    }
    let failed = |url: &str, error: &ClientError| format!("{url}: {error}");

    let url = format!("{server}/getCaseCount");
    let count = case_count(&url).map_err(|error| failed(&url, &error))?;
    let count = count.ok_or_else(|| format!("{url}: the answer is not a number of cases"))?;
    let mut timed_out: Vec<String> = Vec::new();
    for case in 1..=count {
        let url = format!("{server}/runCase?case={case}&agent={agent}");
        let mut client = Client::connect_with(&url, &[], LIMITS, Some(takeover(0)))
            .map_err(|error| failed(&url, &error))?;
        match echo(&mut client) {
            Err(ClientError::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                timed_out.push(case.to_string());
            }
            // Many cases want just that: the server broke the protocol, or the connection. Whether
            // what the client did about it was right is the server's to judge.
            Ok(()) | Err(_) => {}
        }
    }
    // The server closes this connection when the reports are there.
    let url = format!("{server}/updateReports?agent={agent}");
    let mut client = Client::connect(&url, &[], LIMITS).map_err(|error| failed(&url, &error))?;
    echo(&mut client).map_err(|error| failed(&url, &error))?;
    if timed_out.is_empty() {
        println!("{count} cases run as {agent}; the verdicts are in the server's reports");
        Ok(())
    } else {
        Err(format!("the server did not end these cases: {}", timed_out.join(", ")))
    }
}

/// `None`: the server said something else.
fn case_count(url: &str) -> Result<Option<u32>, ClientError> {
    let mut client = Client::connect(url, &[], LIMITS)?;
    let mut count = None;
    client.receive(|event, _| -> Option<()> {
        if let Event::Message(message) = event {
            count = message.as_text().and_then(|text| text.parse().ok());
        }
        None
    })?;
    Ok(count)
}

/// Sends every message back until the connection is closed.
fn echo(client: &mut Client) -> Result<(), ClientError> {
    let error = client.receive(|event, answer| match event {
        Event::Message(message) => answer.send(message).err(),
        _ => None,
    })?;
    error.map_or(Ok(()), |error| Err(error.into()))
}
