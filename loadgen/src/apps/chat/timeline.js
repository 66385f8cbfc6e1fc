// What was said, as it is shown. Text of people only ever becomes a text node.

const SHOWN_MAX = 500;
const GROUP_MS = 3 * 60 * 1000;
const NAMES_MAX = 6;
const AT_BOTTOM_PX = 90;
const PICTURE_WIDTH_PX = 360;
const PICTURE_HEIGHT_PX = 320;

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const date = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long" });
const graphemes = new Intl.Segmenter(undefined, { granularity: "grapheme" });

export function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

export function hue(name) {
  let hash = 7;
  for (const char of name.toLowerCase()) hash = (hash * 31 + char.codePointAt(0)) % 3600;
  return String(hash % 360);
}

export function paintAvatar(avatar, name) {
  const first = (word) => graphemes.segment(word)[Symbol.iterator]().next().value?.segment ?? "";
  const initials = name.trim().split(/\s+/u).map(first);
  const letters = initials.filter((initial) => /^[\p{L}\p{N}]/u.test(initial)).slice(0, 2);
  avatar.textContent = letters.join("").toUpperCase() || initials[0];
  avatar.style.setProperty("--hue", hue(name));
  return avatar;
}

export class Timeline {
  #seen = new Map(); // id -> element
  #pending = new Map(); // tag -> element
  #presence = null;
  #isAtBottom = true;

  // `on.view(url, alt)`: a picture was clicked. `on.discard(tag)`: what failed is given up.
  constructor({ list, scroller, jump, empty }, on) {
    Object.assign(this, { list, scroller, jump, empty, on });
    scroller.addEventListener("scroll", () => {
      const { scrollHeight, scrollTop, clientHeight } = scroller;
      this.#isAtBottom = scrollHeight - scrollTop - clientHeight < AT_BOTTOM_PX;
      if (this.#isAtBottom) jump.hidden = true;
    });
    new ResizeObserver(() => this.#isAtBottom && this.toBottom()).observe(scroller);
    jump.addEventListener("click", () => this.toBottom());
  }

  clear() {
    for (const item of [...this.list.children]) this.#remove(item);
    this.#seen.clear();
    this.#pending.clear();
    this.#presence = null;
    this.toBottom();
    this.#update();
  }

  toBottom() {
    this.scroller.scrollTop = this.scroller.scrollHeight;
    this.#isAtBottom = true;
    this.jump.hidden = true;
  }

  // A message that the server has sent. Returns whether it is new.
  add(message, { own, old }) {
    this.#settle(message.tag, own);
    if (this.#seen.has(message.id)) return false;
    const item = this.#item(message, own);
    item.dataset.id = message.id;
    this.#seen.set(message.id, item);
    let before = this.list.lastElementChild;
    const comesLater = (other) =>
      other.classList.contains("pending") || other.classList.contains("failed")
      || Number(other.dataset.id) > message.id;
    while (before && comesLater(before)) before = before.previousElementSibling;
    this.#place(item, before, own && !old, old);
    return true;
  }

  // One that is on its way.
  addPending(tag, message) {
    const item = this.#item(message, true);
    item.classList.add("pending");
    item.dataset.tag = tag;
    const fate = element("div", "fate", "sending…");
    item.append(fate);
    this.#pending.set(tag, item);
    this.#place(item, this.list.lastElementChild, true, false);
  }

  // One that the server has refused.
  fail(tag, reason) {
    const item = this.#pending.get(tag);
    if (!item) return;
    item.classList.replace("pending", "failed");
    const discard = element("button", "text-button", "Discard");
    discard.type = "button";
    discard.addEventListener("click", () => {
      this.#settle(tag, true);
      this.on.discard(tag);
    });
    item.querySelector(".fate").replaceChildren(`Not sent: ${reason}`, discard);
  }

  pendingText(text) {
    for (const item of this.#pending.values()) {
      if (item.classList.contains("pending")) item.querySelector(".fate").textContent = text;
    }
  }

  // Somebody came or went: one line for all that happens in a row.
  presence(name, came) {
    const last = this.list.lastElementChild;
    if (!this.#presence || this.#presence.item !== last) {
      const item = element("li", "line");
      this.#presence = { item, came: new Set(), left: new Set() };
      this.#place(item, last, false, true);
    }
    const { item, came: arrivals, left } = this.#presence;
    const [here, there] = came ? [arrivals, left] : [left, arrivals];
    if (!there.delete(name)) here.add(name);
    const parts = [];
    if (arrivals.size) parts.push(`${names(arrivals)} joined`);
    if (left.size) parts.push(`${names(left)} left`);
    item.textContent = parts.join(" · ");
    if (parts.length === 0) {
      item.remove();
      this.#presence = null;
    }
    this.#update();
  }

  // A line above the message that was the first to arrive unseen.
  markUnread(id) {
    for (const old of this.list.querySelectorAll(".unread")) old.remove();
    this.#seen.get(id)?.before(element("li", "day unread", "New"));
    if (this.#isAtBottom) this.toBottom();
  }

  #settle(tag, own) {
    const item = own && tag ? this.#pending.get(tag) : null;
    if (!item) return;
    this.#pending.delete(tag);
    this.#remove(item);
    this.#update();
  }

  #place(item, before, own, quiet) {
    if (item.dataset.at) this.#group(item, before);
    const stays = this.#isAtBottom;
    if (!quiet) item.classList.add("arrives");
    if (before) before.after(item); else this.list.prepend(item);
    if (item.dataset.at) this.#separateDay(item);
    const next = item.nextElementSibling;
    if (next?.dataset.at) this.#group(next, item);
    while (this.list.childElementCount > SHOWN_MAX) this.#remove(this.list.firstElementChild);
    this.#update();
    if (stays || own) this.toBottom();
    else if (!quiet) this.jump.hidden = false;
  }

  #group(item, before) {
    const near = before?.dataset.at && before.dataset.who === item.dataset.who
      && Math.abs(item.dataset.at - before.dataset.at) < GROUP_MS;
    item.classList.toggle("follows", Boolean(near));
  }

  #separateDay(item) {
    const day = new Date(Number(item.dataset.at)).toDateString();
    item.dataset.day = day;
    let other = item.previousElementSibling;
    while (other && !other.dataset.day) other = other.previousElementSibling;
    if (other?.dataset.day === day) return;
    const today = day === new Date().toDateString();
    if (!other && today) return;
    const line = element("li", "day", today ? "Today" : date.format(Number(item.dataset.at)));
    line.dataset.day = day;
    item.before(line);
    item.classList.remove("follows");
  }

  #item(message, own) {
    const item = element("li", "message");
    item.dataset.at = message.at;
    item.dataset.who = `${message.author} ${message.name}`;
    if (own) item.dataset.own = "";
    const avatar = paintAvatar(element("span", "avatar"), message.name);
    avatar.setAttribute("aria-hidden", "true");
    const head = element("div", "head");
    const name = element("span", "name", message.name);
    name.style.setProperty("--hue", hue(message.name));
    head.append(name);
    const body = element("div", "body");
    const bubble = message.blob ? this.#picture(item, message) : text(item, message.text);
    const time = element("time", "", clock.format(message.at));
    time.dateTime = new Date(message.at).toISOString();
    body.append(bubble, time);
    item.append(avatar, head, body);
    return item;
  }

  #picture(item, message) {
    const bubble = element("div", "bubble picture");
    const button = element("button");
    button.type = "button";
    const image = element("img");
    image.alt = `Picture from ${message.name}`;
    // Its place is kept free while it is decoded.
    const scale = Math.min(1, PICTURE_WIDTH_PX / message.width, PICTURE_HEIGHT_PX / message.height);
    image.width = Math.max(1, Math.round(message.width * scale));
    image.height = Math.max(1, Math.round(message.height * scale));
    image.src = URL.createObjectURL(message.blob);
    item.dataset.url = image.src;
    image.addEventListener("load", () => this.#isAtBottom && this.toBottom());
    button.append(image);
    button.addEventListener("click", () => this.on.view(image.src, image.alt));
    bubble.append(button);
    return bubble;
  }

  #remove(item) {
    if (item.dataset.url) URL.revokeObjectURL(item.dataset.url);
    if (item.dataset.id) this.#seen.delete(Number(item.dataset.id));
    item.remove();
  }

  #update() {
    this.empty.hidden = this.list.querySelector(".message") !== null;
    this.list.hidden = this.list.childElementCount === 0;
  }
}

function text(item, value) {
  const bubble = element("div", "bubble");
  const paragraph = element("div", "text");
  const parts = value.split(/(https?:\/\/[^\s<>"']+[^\s<>"'.,;:!?)\]}])/u);
  parts.forEach((part, index) => {
    if (index % 2 === 0) {
      paragraph.append(part);
      return;
    }
    const link = element("a", "", part);
    link.href = part;
    link.target = "_blank";
    link.rel = "noopener noreferrer nofollow";
    paragraph.append(link);
  });
  bubble.append(paragraph);
  if (isFewEmoji(value)) item.classList.add("large");
  return bubble;
}

function isFewEmoji(value) {
  if (value.length > 40) return false;
  const shown = [...graphemes.segment(value.trim())].map((part) => part.segment);
  const isEmoji = (part) => /\p{Extended_Pictographic}|\p{Regional_Indicator}/u.test(part);
  return shown.length > 0 && shown.length <= 3 && shown.every(isEmoji);
}

function names(set) {
  const shown = [...set].slice(0, NAMES_MAX);
  const more = set.size - shown.length;
  return more > 0 ? `${shown.join(", ")} and ${more} more` : shown.join(", ");
}
