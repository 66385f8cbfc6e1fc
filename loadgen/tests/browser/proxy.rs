//! A line to the server that can be cut, without the server's doing.

use std::io;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// Passes bytes on, both ways.
pub(crate) struct Proxy {
    address: String,
    lines: Arc<Mutex<Vec<TcpStream>>>,
}

impl Proxy {
    /// Listens, for as long as the test runs.
    pub(crate) fn start(server: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
        let address = listener.local_addr().expect("it is bound").to_string();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (server, kept) = (server.to_owned(), Arc::clone(&lines));
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                // Without a server the client's connection is closed, as it is here.
                let Ok(server) = TcpStream::connect(&server) else { continue };
                let line = client.try_clone().expect("a descriptor is free");
                kept.lock().expect("nobody panics with it").push(line);
                let (client, server) = (Arc::new(client), Arc::new(server));
                for (from, to) in [(&client, &server), (&server, &client)] {
                    let (from, to) = (Arc::clone(from), Arc::clone(to));
                    thread::spawn(move || pass(&from, &to));
                }
            }
        });
        Self { address, lines }
    }

    /// The page, by way of this line.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// Ends all connections there are; new ones can be made.
    pub(crate) fn cut(&self) {
        for line in self.lines.lock().expect("nobody panics with it").drain(..) {
            // An error says that it has ended already.
            let _ = line.shutdown(Shutdown::Both);
        }
    }
}

/// Until one end closes; then the other one is closed as well.
fn pass(mut from: &TcpStream, mut to: &TcpStream) {
    // However it ended, it has.
    let _ = io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Write);
}
