//! How connections are begun.

use std::sync::Arc;

use sockeye_driver::{Adopted, ConnId, Tx};

use super::super::connector::{self, Connector};
use super::super::failure::Failure;
use super::super::target::Place;
use super::super::tls::{ClientTls, TlsLink};

/// Makes sockets, and has the driver take them over.
pub(crate) struct Dialer {
    pub(crate) connector: Connector,
    pub(crate) place: Place,
    pub(crate) tls: Option<Arc<ClientTls>>,
}

impl Dialer {
    pub(super) fn dial<T: Tx>(
        &mut self,
        tx: &mut T,
        is_slow: bool,
    ) -> Result<(ConnId, Adopted, Option<TlsLink>), Failure> {
        let link = self.tls.as_ref().map(|tls| tls.link()).transpose();
        let link = link.map_err(|what| Failure::Other(what.into()))?;
        let kind = if is_slow { connector::Kind::Slow } else { connector::Kind::Usual };
        let explained = |error| Failure::Other(self.place.explain(&error).into());
        let opened = self.connector.open(kind).map_err(explained)?;
        let id = tx.adopt(opened.socket, opened.adopted).map_err(explained)?;
        Ok((id, opened.adopted, link))
    }
}
