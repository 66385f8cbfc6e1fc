//! Ways to a server: TLS, Unix sockets, proxies, addresses, and what the request asks for.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::sync::mpsc;
use std::thread;

use serde_json::Value;

use crate::process::Process;
use crate::rig::{Folder, assert_clean, load, number, serve};

#[test]
fn compression_is_agreed_on_and_counted() {
    let (_server, url) = serve(&["--deflate"]);
    for arguments in ["", "--deflate-no-takeover"] {
        let arguments =
            format!("--deflate {arguments} --text --bytes 2000 --rate 200 --duration 1s");
        let (report, _) = load(&url, &arguments);
        assert_clean(&report, &arguments);
        let compression = &report["compression"];
        let [plain, wire] =
            ["plain", "wire"].map(|n| number(compression, &format!("/sent_{n}_bytes")));
        assert!(wire > 0.0 && wire < plain, "{compression}");
        assert!(compression["agreed"].as_str().is_some_and(|it| it.contains("permessage-deflate")));
    }
    // What warms up counts on neither side, and headers are no payload: what is too short to be
    // compressed is as long on the wire as it was before.
    let arguments = "--deflate --deflate-min 1000 --bytes 100 --rate 500 --duration 500ms \
                     --warm-up 500ms";
    let (report, _) = load(&url, arguments);
    for way in ["sent", "received"] {
        let [plain, wire] =
            ["plain", "wire"].map(|n| number(&report, &format!("/compression/{way}_{n}_bytes")));
        assert!(plain > 0.0 && wire == plain, "{way}: {}", report["compression"]);
        assert_eq!(plain, number(&report, &format!("/totals/bytes_{way}")), "{way}");
    }
    // So the ratio is the same however long it warms up.
    let ratios = ["0", "1s"].map(|warm_up| {
        let arguments = "--deflate --deflate-no-takeover --text --bytes 2000 --rate 200 \
                         --duration 1s --warm-up";
        let (report, _) = load(&url, &format!("{arguments} {warm_up}"));
        ["sent", "received"].map(|way| {
            let [plain, wire] = ["plain", "wire"]
                .map(|n| number(&report, &format!("/compression/{way}_{n}_bytes")));
            wire / plain
        })
    });
    for (without, with) in ratios[0].iter().zip(ratios[1]) {
        assert!((with / without - 1.0).abs() < 0.05, "{ratios:?}");
    }
    // A server that declines is loaded without.
    let (_server, url) = serve(&[]);
    let (report, _) = load(&url, "--deflate --rate 100 --duration 500ms");
    assert_clean(&report, "declined");
    assert_eq!(report["compression"]["agreed"], Value::Null);
}

#[test]
fn the_ring_loads_as_well() {
    let (_server, url) = serve(&[]);
    let arguments = ["load", &url, "--backend", "io-uring", "--duration", "500ms", "-q"];
    let ended = Process::run(&arguments);
    let code = ended.status.code();
    let required = std::env::var_os("SOCKEYE_REQUIRE_IO_URING").is_some();
    if !required && ended.stderr.iter().any(|line| line.contains("io_uring")) {
        return;
    }
    assert!(matches!(code, Some(0 | 4)), "{code:?} {:?}", ended.stderr);
}

#[test]
fn wss_is_loaded_as_well() {
    let folder = Folder::new("load-wss");
    let [cert, key] = ["cert.pem", "key.pem"].map(|name| folder.0.join(name).display().to_string());
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    std::fs::write(&cert, made.cert.pem()).expect("a file");
    std::fs::write(&key, made.signing_key.serialize_pem()).expect("a file");
    let process = Process::start(&[
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--shards",
        "1",
        "--tls-cert",
        &cert,
        "--tls-key",
        &key,
    ]);
    let line = process.next_line();
    let port = line.split(' ').nth(2).and_then(|url| url.rsplit(':').next()).expect("a port");
    let url = format!("wss://localhost:{port}/");
    for trust in [format!("--ca {cert}"), "--insecure".to_owned()] {
        let arguments = format!("--resolve localhost:127.0.0.1 --rate 500 --duration 1s {trust}");
        let (report, _) = load(&url, &arguments);
        assert_clean(&report, &trust);
        assert!(report["tls"].as_str().is_some_and(|it| it.starts_with("TLS 1.3")), "{report}");
        assert!(number(&report, "/phases/tls/count") >= 100.0);
    }
    // Nobody has signed it.
    let arguments = "--resolve localhost:127.0.0.1 --connections 2 --duration 300ms";
    let (report, code) = load(&url, arguments);
    assert_eq!(code, 1);
    let what = report["errors"][0]["what"].as_str().expect("an error");
    assert!(what.contains("TLS") && what.contains("--ca"), "{what}");
}

#[test]
fn a_unix_socket_is_loaded_as_well() {
    let folder = Folder::new("load-unix");
    let path = folder.0.join("s");
    let listener = UnixListener::bind(&path).expect("a socket");
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(stream) = stream else { return };
            thread::spawn(move || {
                // The attempt that only connects ends here.
                let Ok(mut socket) = tungstenite::accept(stream) else { return };
                while let Ok(message) = socket.read() {
                    if message.is_close() || socket.send(message).is_err() {
                        let _ = socket.flush();
                        return;
                    }
                }
            });
        }
    });
    let arguments =
        format!("--unix {} --connections 5 --rate 100 --duration 500ms", path.display());
    let (report, _) = load("ws://localhost/", &arguments);
    assert_clean(&report, "Unix");
    assert!(number(&report, "/totals/messages_received") > 20.0);
}

/// A server that keeps the first request it gets, and refuses it.
fn listening_server(address: &str) -> (SocketAddr, mpsc::Receiver<String>) {
    let listener = TcpListener::bind(address).unwrap();
    let address = listener.local_addr().unwrap();
    let (requests, heard) = mpsc::channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut request = [0; 4096];
            if let Ok(len @ 1..) = stream.read(&mut request) {
                // The test may have ended.
                let _ = requests.send(String::from_utf8_lossy(&request[..len]).into_owned());
                let _ = stream.write_all(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n");
            }
        }
    });
    (address, heard)
}

#[test]
fn the_request_says_what_it_was_told_to() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let (address, heard) = listening_server(address);
        let url = format!("ws://{address}/chat?room=1");
        let arguments = [
            "load",
            &url,
            "-q",
            "--connections",
            "1",
            "--duration",
            "200ms",
            "--subprotocol",
            "a.v2",
            "--subprotocol",
            "a.v1",
            "-H",
            "Authorization: Bearer 123",
            "--cookie",
            "s=1",
            "--cookie",
            "t=2",
            "--origin",
            "https://example.com",
            "--deflate",
        ];
        let ended = Process::run(&arguments);
        assert_eq!(ended.status.code(), Some(1));
        let said = ended.stdout.join("\n");
        assert!(said.contains("401") && !said.contains("Bearer"), "{said}");
        let request = heard.recv().expect("a request");
        for line in [
            "GET /chat?room=1 HTTP/1.1\r\n",
            "Sec-WebSocket-Protocol: a.v2, a.v1\r\n",
            "Authorization: Bearer 123\r\n",
            "Cookie: s=1; t=2\r\n",
            "Origin: https://example.com\r\n",
            "Sec-WebSocket-Extensions: permessage-deflate",
        ] {
            assert!(request.contains(line), "{line:?} in {request:?}");
        }
    }
}

#[test]
fn connections_come_from_many_addresses() {
    let (_server, url) = serve(&[]);
    let arguments = "--source 127.0.0.2,127.0.1.0/30 --connections 30 --rate 300 --duration 300ms";
    let (report, _) = load(&url, arguments);
    assert_clean(&report, "sources");
    assert_eq!(number(&report, "/totals/connections_peak"), 30.0);
}

#[test]
fn too_few_files_are_known_before_the_run() {
    let (_server, url) = serve(&[]);
    let arguments = ["load", &url, "--connections", "1000", "--duration", "1s"];
    let ended = Process::start_with_files(100, &arguments).wait();
    assert_eq!(ended.status.code(), Some(2), "{:?}", ended.stderr);
    let line = ended.stderr.iter().find(|line| line.contains("error")).expect("an error");
    assert!(line.contains("ulimit -Hn"), "{line}");
    let ended = Process::run(&["load", &url, "--connections", "10", "--preflight"]);
    assert_eq!(ended.status.code(), Some(0));
    assert!(ended.stdout.iter().any(|line| line.contains("10 connections can be had")));
}

/// A proxy that knows one user.
fn proxy() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for client in listener.incoming() {
            let Ok(client) = client else { return };
            // One that only connects, to see whether somebody is there, ends here.
            thread::spawn(move || tunnel(client));
        }
    });
    address
}

fn tunnel(mut client: TcpStream) -> io::Result<()> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        client.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head);
    if !head.contains("Proxy-Authorization: Basic YWRhOnNlY3JldA==\r\n") {
        return client.write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n");
    }
    let authority = head.split(' ').nth(1).expect("CONNECT AUTHORITY");
    let mut server = TcpStream::connect(authority)?;
    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
    let (mut from_server, mut to_client) = (server.try_clone()?, client.try_clone()?);
    thread::spawn(move || {
        let copied = io::copy(&mut from_server, &mut to_client);
        // Either side may be gone.
        let _ = to_client.shutdown(Shutdown::Write);
        copied
    });
    io::copy(&mut client, &mut server)?;
    server.shutdown(Shutdown::Write)
}

#[test]
fn a_proxy_leads_to_the_server() {
    let (_server, url) = serve(&[]);
    let proxy = format!("--proxy http://{}", proxy());
    let load_it = "--connections 5 --rate 100 --duration 500ms";
    let (report, _) = load(&url, &format!("{proxy} --proxy-auth ada:secret {load_it}"));
    assert_clean(&report, "by a proxy");
    assert!(number(&report, "/totals/messages_received") > 20.0);
    assert!(!report["command"].to_string().contains("secret"));
    let (report, code) = load(&url, &format!("{proxy} {load_it}"));
    assert_eq!(code, 1);
    let what = report["errors"][0]["what"].as_str().expect("an error");
    assert!(what.contains("--proxy-auth"), "{what}");
}
