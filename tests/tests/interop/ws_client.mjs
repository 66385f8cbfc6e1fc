// `ws` as a client of the engine that tests/interop.rs has started. The argument is its URL.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { WebSocket } from 'ws';

const url = process.argv[2];
const TERMINATED = 4;

// Nothing below takes long; a step that never ends is a failure and names itself.
let step = 'start';
setTimeout(() => {
  console.error(`no end to: ${step}`);
  process.exit(1);
}, 60_000).unref();

async function connect(perMessageDeflate = false, subprotocols = []) {
  const ws = new WebSocket(url, subprotocols, { perMessageDeflate });
  const upgrade = once(ws, 'upgrade');
  await once(ws, 'open');
  const [answer] = await upgrade;
  // The server has seen the offer, and has declined it by not answering it.
  const offered = answer.headers['extensions-offered'] ?? '';
  assert.equal(offered.startsWith('permessage-deflate'), perMessageDeflate);
  assert.equal(answer.headers['sec-websocket-extensions'], undefined);
  assert.equal(ws.extensions, '');
  return ws;
}

async function assertEchoes(ws, message) {
  const answer = once(ws, 'message');
  ws.send(message);
  await assertMessage(answer, message);
}

async function assertMessage(answer, expected) {
  const [data, isBinary] = await answer;
  assert.equal(isBinary, typeof expected !== 'string');
  assert.ok(data.equals(Buffer.from(expected)), `not the same ${expected.length}`);
}

async function assertClosed(closed, expectedCode, expectedReason) {
  const [code, reason] = await closed;
  assert.equal(code, expectedCode);
  assert.equal(reason.toString(), expectedReason);
}

function bytes(length) {
  return Buffer.from(Uint8Array.from({ length }, (_, index) => index % 251));
}

const steps = {
  async 'text, binary, empty and large messages'(deflate) {
    const ws = await connect(deflate);
    for (const text of ['', 'sockeye', 'ä€🐟', '🐟'.repeat(1 << 18)]) {
      await assertEchoes(ws, text);
    }
    for (const length of [0, 1, 125, 126, 65_535, 65_536, 1 << 20]) {
      await assertEchoes(ws, bytes(length));
    }
    ws.close();
    await once(ws, 'close');
  },

  async 'a fragmented message with a ping in it'(deflate) {
    const ws = await connect(deflate);
    const whole = Buffer.from('one 🐟 in three');
    const [answer, pong] = [once(ws, 'message'), once(ws, 'pong')];
    ws.send(whole.subarray(0, 5), { binary: false, fin: false });
    ws.ping('between');
    ws.send(whole.subarray(5, 7), { binary: false, fin: false });
    ws.send(whole.subarray(7), { binary: false, fin: true });
    assert.equal((await pong)[0].toString(), 'between');
    await assertMessage(answer, whole.toString());
    ws.close();
    await once(ws, 'close');
  },

  async 'pings of any length'(deflate) {
    const ws = await connect(deflate);
    for (const length of [0, 1, 125]) {
      const pong = once(ws, 'pong');
      ws.ping(bytes(length));
      assert.ok((await pong)[0].equals(bytes(length)));
    }
    ws.close(1000);
    await assertClosed(once(ws, 'close'), 1000, '');
  },

  async 'a hundred messages at once'(deflate) {
    const ws = await connect(deflate);
    const answers = [];
    const all = new Promise((resolve) => {
      ws.on('message', (data) => answers.push(data.toString()) === 100 && resolve());
    });
    const texts = Array.from({ length: 100 }, (_, index) => `${index} ${'ä'.repeat(index * 20)}`);
    for (const text of texts) {
      ws.send(text);
    }
    await all;
    assert.deepEqual(answers, texts);
    ws.close();
    await once(ws, 'close');
  },

  async 'close codes of the client'(deflate) {
    for (const code of [1000, 1001, 1011, 3000, 4999]) {
      const ws = await connect(deflate);
      const closed = once(ws, 'close');
      ws.close(code, 'a reason 🐟');
      // The answer echoes the code (RFC 6455 section 5.5.1) and has no reason of its own.
      await assertClosed(closed, code, '');
    }
    const ws = await connect(deflate);
    ws.close();
    await assertClosed(once(ws, 'close'), 1005, '');
  },

  async 'close codes of the server'(deflate) {
    for (const [code, reason] of [[1000, ''], [1013, 'later'], [4001, 'a reason 🐟']]) {
      const ws = await connect(deflate);
      const closed = once(ws, 'close');
      ws.send(`close ${code} ${reason}`);
      await assertClosed(closed, code, reason);
    }
  },

  async 'violations of the client'(deflate) {
    const ws = await connect(deflate);
    const closed = once(ws, 'close');
    ws.send(Buffer.from([0xff]), { binary: false });
    await assertClosed(closed, 1007, 'invalid UTF-8');
  },

  async 'a subprotocol'(deflate) {
    const ws = await connect(deflate, ['v9.echo', 'v1.echo', 'v2.echo']);
    assert.equal(ws.protocol, 'v1.echo');
    ws.close();
    await once(ws, 'close');
  },
};

for (const deflate of [false, true]) {
  for (const [name, run] of Object.entries(steps)) {
    step = deflate ? `${name}, compression offered` : name;
    await run(deflate);
    console.log(`ok: ${step}`);
  }
}

step = 'a connection whose neighbours break off';
const survivor = await connect();
const others = await Promise.all(Array.from({ length: TERMINATED }, () => connect()));
for (const other of others) {
  // In the middle of a message, too.
  other.send('begun', { fin: false });
  const closed = once(other, 'close');
  other.terminate();
  await assertClosed(closed, 1006, '');
}
await assertEchoes(survivor, 'still here 🐟');
survivor.close(1000);
await assertClosed(once(survivor, 'close'), 1000, '');
console.log(`ok: ${step}`);
