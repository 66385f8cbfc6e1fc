use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use super::*;
use crate::tls::{Current, TlsConfig};

/// The first flight of a client, and a server's end for it.
fn begun() -> (Vec<u8>, Link) {
    let made = rcgen::generate_simple_self_signed(["sockeye.test".to_owned()]).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    client.resumption = Resumption::disabled();
    let name = ServerName::try_from("sockeye.test").unwrap();
    let mut hello = Vec::new();
    ClientConnection::new(Arc::new(client), name).unwrap().write_tls(&mut hello).unwrap();
    let (chain, key) = (vec![made.cert.der().to_vec()], made.signing_key.serialize_der());
    let config = TlsConfig::new().certificate_der(chain, key).unwrap();
    (hello, Link::new(Current::new(&config).unwrap().get()).unwrap())
}

/// The same handshake message in records of so many bytes.
fn in_records(flight: &[u8], bytes: usize) -> Vec<u8> {
    let record = |part: &[u8]| [&[22, 3, 1], &(part.len() as u16).to_be_bytes()[..], part].concat();
    flight[HEADER_BYTES..].chunks(bytes).flat_map(record).collect()
}

/// rustls must see again what it has seen of a message that is not whole; else it panics.
#[test]
fn something_may_be_sent_amid_a_message_in_parts() {
    for bytes in [1, 50, 400] {
        let (hello, _) = begun();
        let records = in_records(&hello, bytes);
        for cut in (0..records.len()).step_by(31) {
            let (_, mut link) = begun();
            let mut records = in_records(&begun().0, bytes);
            let (before, after) = records.split_at_mut(cut);
            let mut plain = Vec::new();
            link.receive(before, &mut plain).unwrap();
            assert!(link.held.len() <= cut && link.unsent.is_empty());
            // Nothing can be: there are no keys. But it is tried.
            let mut sealed = Sealed::default();
            assert!(matches!(link.seal(b"early", &mut sealed), Err(Fault::Over)));
            link.receive(after, &mut plain).unwrap();
            assert!(plain.is_empty() && !link.unsent.is_empty() && link.held.is_empty());
            assert_eq!(link.held.capacity(), 0, "what was held is given back");
            assert_eq!(link.info().server_name.as_deref(), Some("sockeye.test"));
            if cut > records.len() / 2 {
                break;
            }
        }
    }
}

#[test]
fn records_are_found_by_their_headers() {
    let record = |kind: u8, len: u16| {
        let mut record = vec![kind, 3, 3];
        record.extend(len.to_be_bytes());
        record.resize(HEADER_BYTES + usize::from(len), 7);
        record
    };
    let two = [record(22, 0), record(23, 300)].concat();
    assert_eq!(whole_records_bytes(&two), two.len());
    // What is not whole is left out, be it a header or a payload.
    for missing in 1..=300 {
        assert_eq!(whole_records_bytes(&two[..two.len() - missing]), HEADER_BYTES);
    }
    for len in 0..HEADER_BYTES {
        assert_eq!(whole_records_bytes(&two[..len]), 0);
    }
    // What is no record is taken whole, for rustls to say so.
    let too_long = record(23, PAYLOAD_BYTES_MAX as u16 + 1);
    for wrong in [b"GET / HTTP/1.1".to_vec(), record(19, 1), record(24, 1), too_long] {
        let bytes = [two.clone(), wrong].concat();
        assert_eq!(whole_records_bytes(&bytes[..two.len() + 6]), two.len() + 6);
    }
    let longest = record(23, PAYLOAD_BYTES_MAX as u16);
    assert_eq!(whole_records_bytes(&longest), longest.len());
}

#[test]
fn what_is_sealed_grows_as_far_as_it_has_to() {
    let mut sealed = Sealed::default();
    for round in 1..=3 {
        let write = |memory: &mut [u8]| match memory.get_mut(..10) {
            Some(place) => {
                place.fill(round);
                Ok(10)
            }
            None => {
                Err(EncryptError::InsufficientSize(rustls::unbuffered::InsufficientSizeError {
                    required_size: 10,
                }))
            }
        };
        sealed.append(write).unwrap();
    }
    assert_eq!(sealed.bytes(), [[1; 10], [2; 10], [3; 10]].concat());
    assert_eq!((sealed.len(), sealed.memory.len()), (30, 30));
    sealed.clear();
    assert!(sealed.bytes().is_empty() && sealed.memory.len() == 30);
    let exhausted = sealed.append(|_| Err(EncryptError::EncryptExhausted));
    assert!(matches!(exhausted, Err(Fault::KeysUsedUp)));
}
