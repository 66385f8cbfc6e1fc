//! From HTTP to an open connection.

use std::borrow::Cow;

use sockeye_codec::deflate::Deflate;
use sockeye_codec::handshake::{ClientHandshake, ClientRequest, HandshakeLimits, Key};
use sockeye_codec::{Connection, Role};

use super::super::failure::Failure;
use super::super::payload::{Template, Values};
use super::super::scripted::Scripted;
use super::super::tally::Step;
use super::{Client, Shared, Stage};

impl Client {
    /// The request: each connection's own, where a script says so.
    pub(super) fn upgrade_request<'a>(&self, shared: &'a mut Shared) -> Cow<'a, ClientRequest> {
        let plan = &shared.plan;
        let connect = plan.script.as_ref().map(|script| &script.connect);
        let Some(connect) = connect.filter(|it| it.path.is_some() || !it.headers.is_empty()) else {
            return Cow::Borrowed(&plan.request);
        };
        let moment = shared.hands.moment(self.number, shared.now_ns);
        let values = Values {
            connection: moment.connection,
            now_ns: moment.now_ns,
            now_unix_ms: moment.now_unix_ms,
            ..Values::default()
        };
        let generator = &mut shared.hands.generator;
        let mut render = |template: &Template| {
            let mut text = Vec::new();
            template.render(&values, generator, &mut text);
            String::from_utf8_lossy(&text).into_owned()
        };
        let mut request = plan.request.clone();
        if let Some(path) = &connect.path {
            request = request.target(render(path));
        }
        for (name, value) in &connect.headers {
            request = request.header(name, render(value));
        }
        Cow::Owned(request)
    }

    pub(super) fn request(
        &mut self,
        shared: &mut Shared,
        out: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        let mut nonce = [0; 16];
        getrandom::fill(&mut nonce).map_err(|error| Failure::Other(error.to_string().into()))?;
        let (request, key) = (self.upgrade_request(shared), Key::new(nonce));
        request.write(out, &key).map_err(|error| Failure::Other(error.to_string().into()))?;
        let handshake = ClientHandshake::new(&request, &key, HandshakeLimits::default());
        self.extra.get_or_insert_default().handshake = Some(Box::new(handshake));
        self.stage = Stage::Upgrading;
        Ok(())
    }

    pub(super) fn upgrade(
        &mut self,
        shared: &mut Shared,
        bytes: &mut &mut [u8],
    ) -> Result<bool, Failure> {
        let Some(extra) = &mut self.extra else { return Ok(false) };
        let Some(handshake) = &mut extra.handshake else { return Ok(false) };
        let Some(accepted) = handshake.read(bytes)? else { return Ok(false) };
        extra.handshake = None;
        if let Some(params) = accepted.deflate {
            extra.deflate = Some(Box::new(Deflate::new(&params, Role::Client)));
            self.connection = Connection::new().allow_rsv1();
            let header = accepted.header("Sec-WebSocket-Extensions");
            let agreed = header.map(|value| String::from_utf8_lossy(value).into_owned());
            shared.hands.agreed = agreed;
        }
        if let Some(script) = &shared.plan.script {
            extra.scripted = Some(Box::new(Scripted::new(script)));
        }
        self.extra.take_if(|extra| !extra.is_needed());
        let upgrade_ns = shared.now_ns.saturating_sub(self.since_ns);
        shared.hands.record.step(Step::Upgrade, upgrade_ns);
        self.since_ns = shared.now_ns;
        self.stage = Stage::Open;
        Ok(true)
    }
}
