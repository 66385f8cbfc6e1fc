// permessage-deflate of `ws`, in either role. `client URL` talks to the engine that
// tests/interop.rs has started; `server` is talked to by our client until its input ends, with the
// settings that the path names.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { WebSocket, WebSocketServer } from 'ws';

const [role, url] = process.argv.slice(2);

let step = 'start';
if (role === 'client') {
  // A step that never ends is a failure and names itself.
  setTimeout(() => {
    console.error(`no end to: ${step}`);
    process.exit(1);
  }, 120_000).unref();
}

// What a peer may ask for. `ws` compresses whatever the size.
const settings = {
  default: {},
  'no-context': { serverNoContextTakeover: true, clientNoContextTakeover: true },
  'no-server-context': { serverNoContextTakeover: true },
  'no-client-context': { clientNoContextTakeover: true },
  'small-windows': { serverMaxWindowBits: 9, clientMaxWindowBits: 9 },
  'different-windows': { serverMaxWindowBits: 10, clientMaxWindowBits: 13 },
  'smallest-server-window': { serverMaxWindowBits: 8 },
};

function deflate(name) {
  return { threshold: 0, zlibDeflateOptions: { level: 6 }, ...settings[name] };
}

function* payloads() {
  for (const length of [1, 2, 100, 127, 5_000, 40_000, 65_536, 300_000]) {
    const bytes = Uint8Array.from({ length }, (_, index) => (index * index) % 251);
    yield Buffer.from(bytes);
    yield 'tin fish 🐟 '.repeat(length / 10 + 1);
    // Again, so that a context is of use.
    yield 'tin fish 🐟 '.repeat(length / 10 + 1);
  }
  yield '';
}

async function client() {
  for (const name of Object.keys(settings)) {
    step = name;
    const ws = new WebSocket(url, { perMessageDeflate: deflate(name) });
    await once(ws, 'open');
    assert.match(ws.extensions, /^permessage-deflate/);
    for (const message of payloads()) {
      const answer = once(ws, 'message');
      ws.send(message);
      const [data, isBinary] = await answer;
      assert.equal(isBinary, typeof message !== 'string');
      assert.ok(data.equals(Buffer.from(message)), `not the same ${message.length}`);
    }
    // Under way together, plain and compressed, in fragments.
    const texts = Array.from({ length: 200 }, (_, index) => `${index} ${'ä'.repeat(index * 20)}`);
    const answers = [];
    const all = new Promise((resolve) => {
      ws.on('message', (data) => answers.push(data.toString()) === texts.length && resolve());
    });
    for (const [index, text] of texts.entries()) {
      const compress = index % 3 !== 0;
      const whole = Buffer.from(text);
      if (index % 5 === 0) {
        ws.send(whole.subarray(0, 3), { binary: false, compress, fin: false });
        ws.send(whole.subarray(3), { binary: false, compress, fin: true });
      } else {
        ws.send(text, { compress });
      }
    }
    await all;
    assert.deepEqual(answers, texts);
    ws.close(1000);
    await once(ws, 'close');
    console.log(`ok: ${name}: ${ws.extensions}`);
  }
}

function server() {
  const servers = new Map();
  for (const name of Object.keys(settings)) {
    const wss = new WebSocketServer({ noServer: true, perMessageDeflate: deflate(name) });
    wss.on('connection', (ws) => {
      ws.on('message', (data, isBinary) => ws.send(data, { binary: isBinary }));
    });
    servers.set(`/${name}`, wss);
  }
  const http = createServer();
  http.on('upgrade', (request, socket, head) => {
    const wss = servers.get(request.url);
    wss.handleUpgrade(request, socket, head, (ws) => wss.emit('connection', ws, request));
  });
  http.listen(0, '127.0.0.1', () => console.log(`port ${http.address().port}`));
  process.stdin.on('end', () => process.exit(0)).resume();
}

if (role === 'client') {
  await client();
} else {
  server();
}
