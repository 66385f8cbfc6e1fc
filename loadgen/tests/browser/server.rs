//! `sockeye serve --app chat`.

use std::process::{Command, Stdio};

use crate::process::Process;

/// A running server.
pub(crate) struct Server {
    process: Process,
    address: String,
    scheme: &'static str,
}

impl Server {
    /// Starts one and waits until it listens.
    pub(crate) fn start(listen: &str) -> Self {
        Self::start_with(listen, ["http", "ws"], &[])
    }

    /// The same with TLS.
    pub(crate) fn start_tls(listen: &str, certificate: &str, key: &str) -> Self {
        let tls = ["--tls-cert", certificate, "--tls-key", key];
        Self::start_with(listen, ["https", "wss"], &tls)
    }

    fn start_with(listen: &str, [scheme, ready]: [&'static str; 2], more: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_sockeye"))
            .args(["serve", "--app", "chat", "--shards", "2", "--listen", listen])
            .args(more)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the server starts");
        let stdout = child.stdout.take().expect("stdout is piped");
        let process = Process::new(child, stdout);
        let rest = process.wait_for_line(&format!("listening on {ready}://"));
        let address = rest.split(' ').next().unwrap_or_default().to_owned();
        Self { process, address, scheme }
    }

    /// Host and port.
    pub(crate) fn address(&self) -> String {
        self.address.clone()
    }

    /// The page.
    pub(crate) fn url(&self) -> String {
        format!("{}://{}/", self.scheme, self.address)
    }

    /// Stops it as an operator does, and waits until it has ended.
    pub(crate) fn stop(&mut self) {
        self.process.terminate();
    }
}
