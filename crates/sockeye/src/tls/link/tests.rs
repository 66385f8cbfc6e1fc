use super::*;

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
