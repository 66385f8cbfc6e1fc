use super::*;

const PATIENCE: Duration = Duration::from_secs(60);

/// A command that listens on `{port}`: this test program, and in it the test below.
pub(in crate::ab) fn listening_command() -> String {
    let program = std::env::current_exe().unwrap();
    format!(
        "env SOCKEYE_TEST_PORT={{port}} '{}' --ignored --exact ab::server::tests::it_listens",
        program.display()
    )
}

#[test]
#[ignore = "the server that other tests start"]
fn it_listens() {
    let port = std::env::var("SOCKEYE_TEST_PORT").unwrap().parse::<u16>().unwrap();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
    for stream in listener.incoming() {
        drop(stream);
    }
}

fn start(command: &str) -> Result<ServerProcess, String> {
    ServerProcess::start(command, PATIENCE, &|| false)
}

/// It is gone, or waits for its parent to hear of it.
fn is_over(pid: &str) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .map_or(true, |stat| stat.rsplit(')').next().is_some_and(|rest| rest.starts_with(" Z")))
}

#[test]
fn it_is_started_waited_for_and_ended() {
    let server = start(&listening_command()).unwrap();
    let (port, pid) = (server.port(), server.pid().to_string());
    assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok());
    assert!(!is_over(&pid));
    drop(server);
    assert!(is_over(&pid));
    assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err());
}

#[test]
fn what_it_has_started_ends_with_it() {
    let file = std::env::temp_dir().join(format!("sockeye-ab-{}", std::process::id()));
    let script = format!(
        "sh -c 'sleep 1000 & echo $! > {}; exec \"$@\"' sh {}",
        file.display(),
        listening_command()
    );
    let server = start(&script).unwrap();
    let pid = std::fs::read_to_string(&file).unwrap().trim().to_owned();
    assert!(!is_over(&pid));
    server.end();
    let deadline = Instant::now() + PATIENCE;
    while !is_over(&pid) {
        assert!(Instant::now() < deadline, "{pid} lives on");
        thread::sleep(INTERVAL);
    }
    std::fs::remove_file(file).unwrap();
}

#[test]
fn one_that_does_not_start_says_why() {
    let error = start("sh -c 'echo no such option: {port} >&2; exit 3'").unwrap_err();
    assert!(error.contains("ended before") && error.contains("no such option: "), "{error}");
    assert!(!error.contains("{port}") && !error.contains('\n'), "{error}");
    let error = start("/nowhere/server --port {port}").unwrap_err();
    assert!(error.contains("/nowhere/server"), "{error}");
    // A server that listens nowhere, and does not end when asked to.
    let deaf = "sh -c 'trap \"\" HUP; exec sleep 1000'";
    let error = ServerProcess::start(deaf, INTERVAL, &|| false).unwrap_err();
    assert!(error.contains("does not accept connections on port "), "{error}");
    let error = ServerProcess::start(deaf, PATIENCE, &|| true).unwrap_err();
    assert!(error.contains("a signal came"), "{error}");
}
