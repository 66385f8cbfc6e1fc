// The socket: opens it, says how it is, and opens it again when it is lost.

const DELAY_FIRST_MS = 1000;
const DELAY_MAX_MS = 30000;
const OPEN_TIMEOUT_MS = 10000;
const STABLE_MS = 5000;

export class Link {
  #socket = null;
  #attempts = 0;
  #timers = [];
  #retryAt = 0;
  #stopped = true;

  // `on.state(state, seconds)`: connecting, online, reconnecting or offline; the seconds until the
  // next attempt, or null while there is one. `on.message(data)`: a string or an ArrayBuffer.
  constructor(url, on) {
    this.url = url;
    this.on = on;
    addEventListener("online", () => this.retry());
    addEventListener("offline", () => this.#tick());
  }

  get isOpen() {
    return this.#socket?.readyState === WebSocket.OPEN;
  }

  get waiting() {
    return this.#socket?.bufferedAmount ?? 0;
  }

  send(data) {
    if (!this.isOpen) return false;
    this.#socket.send(data);
    return true;
  }

  // Tries now, if it is not connected.
  retry() {
    if (this.#stopped || this.#retryAt === 0) return;
    this.#connect("reconnecting");
  }

  // The connection looks open but nothing comes back: a new one.
  restart() {
    if (this.isOpen) this.#lost(this.#socket);
  }

  stop() {
    this.#stopped = true;
    this.#clear();
    this.#drop();
    this.on.state("offline", null);
  }

  start() {
    if (!this.#stopped) return;
    this.#stopped = false;
    this.#connect("connecting");
  }

  #connect(state) {
    this.#clear();
    this.#drop();
    this.#retryAt = 0;
    this.on.state(state, null);
    const socket = new WebSocket(this.url);
    socket.binaryType = "arraybuffer";
    this.#socket = socket;
    this.#timers.push(setTimeout(() => this.#lost(socket), OPEN_TIMEOUT_MS));
    socket.onopen = () => {
      this.#clear();
      // Only a connection that lasts is a reason to try the next one at once.
      this.#timers.push(setTimeout(() => { this.#attempts = 0; }, STABLE_MS));
      this.on.state("online", null);
    };
    socket.onmessage = (event) => this.on.message(event.data);
    socket.onclose = () => this.#lost(socket);
  }

  #lost(socket) {
    if (socket !== this.#socket || this.#stopped) return;
    this.#clear();
    this.#drop();
    // Twice as long each time, and never all pages at the same moment.
    const ceiling = Math.min(DELAY_MAX_MS, DELAY_FIRST_MS * 2 ** this.#attempts);
    this.#attempts = Math.min(this.#attempts + 1, 10);
    const delay = ceiling * (0.5 + Math.random() / 2);
    this.#retryAt = Date.now() + delay;
    this.#timers.push(setTimeout(() => this.#connect("reconnecting"), delay));
    this.#timers.push(setInterval(() => this.#tick(), 250));
    this.#tick();
  }

  #tick() {
    if (this.#retryAt === 0) return;
    const seconds = Math.max(0, Math.ceil((this.#retryAt - Date.now()) / 1000));
    this.on.state(navigator.onLine ? "reconnecting" : "offline", seconds);
  }

  #clear() {
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers = [];
  }

  #drop() {
    const socket = this.#socket;
    this.#socket = null;
    if (!socket) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
  }
}
