//! Stand-in.
/// Key.
pub type MaskingKey = [u8; 4];
/// Mask.
pub fn apply(payload: &mut [u8], key: MaskingKey, offset: usize) {
    for (n, byte) in payload.iter_mut().enumerate() { *byte ^= key[(n + offset) % 4]; }
}
/// Rotate.
pub fn rotate(mut key: MaskingKey, by: usize) -> MaskingKey { key.rotate_left(by % 4); key }
pub(crate) fn extend(out: &mut Vec<u8>, payload: &[u8], key: MaskingKey) {
    let from = out.len();
    out.extend_from_slice(payload);
    apply(&mut out[from..], key, 0);
}
