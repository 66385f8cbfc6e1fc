// A server of socket.io, until its input ends. It acknowledges `hello` with what it got. Its
// heartbeat is fast, so that a short run has some; by HTTP it tells how many were answered.

import { createServer } from 'node:http';
import { Server } from 'socket.io';

let heartbeats = 0;
const http = createServer((_, response) => response.end(`heartbeats ${heartbeats}`));
const io = new Server(http, { transports: ['websocket'], pingInterval: 200, pingTimeout: 20_000 });
io.engine.on('connection', (connection) => connection.on('heartbeat', () => heartbeats++));
io.on('connection', (socket) => {
  socket.on('hello', (data, acknowledge) => acknowledge(data));
});
http.listen(0, '127.0.0.1', () => console.log(`port ${http.address().port}`));
process.stdin.on('end', () => process.exit(0)).resume();
