// An echo server of `ws`, until its input ends. `deflate` as the argument: it agrees on
// permessage-deflate.

import { WebSocketServer } from 'ws';

const perMessageDeflate = process.argv[2] === 'deflate' && { threshold: 0 };
const server = new WebSocketServer({ host: '127.0.0.1', port: 0, perMessageDeflate });
server.on('listening', () => console.log(`port ${server.address().port}`));
server.on('connection', (ws) => {
  ws.on('message', (data, isBinary) => ws.send(data, { binary: isBinary }));
  // A client that breaks off is no concern of the others.
  ws.on('error', () => ws.terminate());
});
process.stdin.on('end', () => process.exit(0)).resume();
