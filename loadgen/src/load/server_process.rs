use super::report::{ServerUsage, Window};
pub(crate) struct ServerProcess;
impl ServerProcess {
    pub(crate) fn new(_pid: u32) -> Result<Self, String> {
        Ok(Self)
    }
    pub(crate) fn all_open(&mut self, _c: u64) {}
    pub(crate) fn window(&mut self, _w: &mut Window) {}
    pub(crate) fn usage(&self, _m: u64) -> ServerUsage {
        ServerUsage::default()
    }
}
