use super::{
    failure::Failure,
    target::Target,
    tls::{TlsError, TlsLink},
};
use sockeye_driver::{ConnId, Tx};
use std::sync::Arc;
pub(crate) struct Connector {
    target: Arc<Target>,
    at: usize,
}
impl Connector {
    pub(crate) fn new(target: &Arc<Target>, at: usize, _threads: usize) -> Self {
        Self { target: Arc::clone(target), at }
    }
    pub(crate) fn tls(&mut self) -> Result<Option<TlsLink>, TlsError> {
        Ok(None)
    }
    pub(crate) fn connect<T: Tx>(&mut self, tx: &mut T, _slow: bool) -> Result<ConnId, Failure> {
        self.at += 1;
        Ok(tx.connect(self.target.addresses[self.at % self.target.addresses.len()])?)
    }
}
