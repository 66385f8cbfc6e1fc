//! What a server's connections have received, as the kernel counts it: so that messages of a client
//! can be counted that says nothing, or not when it is wanted.
//!
//! The kernel is asked over netlink (`sock_diag(7)`) for the TCP sockets of a port.

use std::io;

use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send, socket_with,
};

/// `linux/netlink.h`, `linux/inet_diag.h`, `linux/tcp.h`.
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_DUMP: u16 = 0x300;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const INET_DIAG_INFO: u16 = 2;
const TCP_ESTABLISHED: u32 = 1;
/// `struct nlmsghdr`, `struct inet_diag_req_v2`, `struct inet_diag_msg`, `struct rtattr`.
const HEADER_BYTES: usize = 16;
const REQUEST_BYTES: usize = 56;
const MESSAGE_BYTES: usize = 72;
const ATTRIBUTE_BYTES: usize = 4;
/// `tcpi_bytes_received` in `struct tcp_info`.
const BYTES_RECEIVED_AT: usize = 128;
/// What the kernel puts into one answer at most.
const ANSWER_BYTES: usize = 64 << 10;

/// Of all open connections of a port together.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Received {
    /// Open connections.
    pub connections: usize,
    /// Bytes that they have received since they were opened, as TCP carries them.
    pub bytes: u64,
}

/// What connections that were accepted on this port of an IPv4 address have received.
///
/// # Errors
/// The kernel does not tell: it has no `tcp_diag`, or a container forbids netlink.
pub fn received(port: u16) -> io::Result<Received> {
    let kind = SocketType::RAW;
    let flags = SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::NETLINK, kind, flags, Some(netlink::SOCK_DIAG))?;
    send(&socket, &request(port), SendFlags::empty())?;
    let mut answer = vec![0; ANSWER_BYTES];
    let mut received = Received::default();
    loop {
        let (_, len) = recv(&socket, &mut answer[..], RecvFlags::empty())?;
        if add(&answer[..len.min(ANSWER_BYTES)], &mut received)? {
            return Ok(received);
        }
    }
}

/// All established connections of IPv4 and this local port, with their `tcp_info`.
fn request(port: u16) -> [u8; HEADER_BYTES + REQUEST_BYTES] {
    const AF_INET: u8 = 2;
    const IPPROTO_TCP: u8 = 6;
    let mut bytes = [0; HEADER_BYTES + REQUEST_BYTES];
    let len = bytes.len() as u32;
    bytes[0..4].copy_from_slice(&len.to_ne_bytes());
    bytes[4..6].copy_from_slice(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    bytes[6..8].copy_from_slice(&(NLM_F_REQUEST | NLM_F_DUMP).to_ne_bytes());
    bytes[16] = AF_INET;
    bytes[17] = IPPROTO_TCP;
    bytes[18] = 1 << (INET_DIAG_INFO - 1);
    bytes[20..24].copy_from_slice(&(1_u32 << TCP_ESTABLISHED).to_ne_bytes());
    bytes[24..26].copy_from_slice(&port.to_be_bytes());
    bytes
}

/// Adds up one answer. Returns whether it was the last.
fn add(mut answer: &[u8], received: &mut Received) -> io::Result<bool> {
    while !answer.is_empty() {
        let len = read_u32(answer, 0)? as usize;
        let message = answer.get(HEADER_BYTES..len).ok_or_else(malformed)?;
        match read_u16(answer, 4)? {
            NLMSG_DONE => return Ok(true),
            NLMSG_ERROR => {
                let errno = read_u32(message, 0)?.cast_signed().wrapping_neg();
                return Err(io::Error::from_raw_os_error(errno));
            }
            _ => {
                received.connections += 1;
                received.bytes += bytes_received(message)?;
            }
        }
        answer = answer.get(len.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(false)
}

/// Of one connection.
fn bytes_received(message: &[u8]) -> io::Result<u64> {
    let mut attributes = message.get(MESSAGE_BYTES..).ok_or_else(malformed)?;
    while !attributes.is_empty() {
        let len = usize::from(read_u16(attributes, 0)?);
        let value = attributes.get(ATTRIBUTE_BYTES..len).ok_or_else(malformed)?;
        if read_u16(attributes, 2)? == INET_DIAG_INFO {
            let bytes = value.get(BYTES_RECEIVED_AT..BYTES_RECEIVED_AT + 8);
            let bytes = bytes.and_then(|bytes| bytes.try_into().ok()).ok_or_else(malformed)?;
            return Ok(u64::from_ne_bytes(bytes));
        }
        attributes = attributes.get(len.next_multiple_of(4)..).unwrap_or_default();
    }
    Err(malformed())
}

fn read_u16(bytes: &[u8], at: usize) -> io::Result<u16> {
    let bytes = bytes.get(at..at + 2).and_then(|bytes| bytes.try_into().ok());
    bytes.map(u16::from_ne_bytes).ok_or_else(malformed)
}

fn read_u32(bytes: &[u8], at: usize) -> io::Result<u32> {
    let bytes = bytes.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
    bytes.map(u32::from_ne_bytes).ok_or_else(malformed)
}

fn malformed() -> io::Error {
    io::Error::other("the kernel's answer about TCP sockets is not understood")
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{Ipv4Addr, TcpListener, TcpStream};

    use super::*;

    #[test]
    fn what_came_is_counted_to_the_byte() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        match received(port) {
            Ok(none) => assert_eq!(none, Received::default()),
            Err(error) => return eprintln!("not tested: {error}"),
        }
        // More than one answer has room for.
        let mut open = Vec::new();
        for n in 0..200 {
            let mut client = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
            let (mut server, _) = listener.accept().unwrap();
            client.write_all(&vec![b'x'; n]).unwrap();
            server.read_exact(&mut vec![0; n]).unwrap();
            server.write_all(b"not this way").unwrap();
            open.push((client, server));
        }
        let all = Received { connections: 200, bytes: (0..200).sum() };
        assert_eq!(received(port).unwrap(), all);
        assert_eq!(received(open[0].0.local_addr().unwrap().port()).unwrap().connections, 1);
    }

    #[test]
    fn what_is_no_answer_is_an_error() {
        let message = |kind: u16, len: u32, rest: &[u8]| {
            let mut bytes = [&len.to_ne_bytes()[..], &kind.to_ne_bytes(), &[0; 10]].concat();
            bytes.extend(rest);
            bytes
        };
        let added = |answer: &[u8]| add(answer, &mut Received::default());
        assert!(added(&message(NLMSG_DONE, 16, &[])).unwrap());
        assert!(!added(&[]).unwrap());
        let refused = added(&message(NLMSG_ERROR, 20, &(-2_i32).to_ne_bytes())).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::NotFound);
        // Too short, longer than it is, no length at all, and without what was asked for.
        assert!(added(&[0; 3]).is_err());
        assert!(added(&message(SOCK_DIAG_BY_FAMILY, 200, &[0; 72])).is_err());
        assert!(added(&message(SOCK_DIAG_BY_FAMILY, 0, &[0; 72])).is_err());
        assert!(added(&message(SOCK_DIAG_BY_FAMILY, 88, &[0; 72])).is_err());
        // An attribute of no length does not go on for ever.
        assert!(added(&message(SOCK_DIAG_BY_FAMILY, 92, &[0; 76])).is_err());
    }
}
