// The chat: puts the socket, the timeline and the forms together.

import { Attachments } from "/attachments.js";
import { emojiPanel } from "/emoji.js";
import { Link } from "/link.js";
import { showPeopleList, showRoomChips, showRoomList, typingText } from "/lists.js";
import { frame, unframe } from "/pictures.js";
import { Timeline, paintAvatar } from "/timeline.js";

const TYPING_EVERY_MS = 2000;
const TYPING_LASTS_MS = 5000;
const OUTBOX_MAX = 12;
const ANSWER_MS = 15000;
const ANSWER_MAX_MS = 60000;
const RETRY_MS = 2000;
const RETURN_MS = 30000;
const TEXT_CHARS_MAX = 4000;

const $ = (id) => document.getElementById(id);
const store = (storage, key, value) => {
  try {
    if (value === undefined) return storage.getItem(key);
    if (value === null) storage.removeItem(key);
    else storage.setItem(key, value);
  } catch { /* storage is turned off: nothing is remembered */ }
  return null;
};
const random = () =>
  [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");

const token = store(sessionStorage, "sockeye-token") ?? random();
store(sessionStorage, "sockeye-token", token);

let wanted = null; // { name, room }: where we are, or want to be
let me = null; // { member, name, author }: while we are in
let ownMember = 0; // our member id, also while the connection is lost
let shownRoom = null;
let oldLeft = 0;
let unread = 0;
let replaced = false;
const rooms = new Map();
const members = new Map();
const typing = new Map();
const outbox = [];
let absent = new Set(); // who was here when the connection was lost: their return is no news

const timeline = new Timeline(
  { list: $("messages"), scroller: $("scroller"), jump: $("jump"), empty: $("empty") },
  {
    view(url, alt) {
      $("viewer-picture").src = url;
      $("viewer-picture").alt = alt;
      $("viewer").showModal();
    },
    discard(tag) { forget(tag); },
  },
);
const emoji = emojiPanel($("emoji"), $("emoji-panel"), insertEmoji);
const scheme = location.protocol === "https:" ? "wss:" : "ws:";
const link = new Link(`${scheme}//${location.host}/ws`, { state: showState, message: receive });

// ---- from the server

function receive(data) {
  let event;
  try {
    event = typeof data === "string" ? JSON.parse(data) : unframe(data);
  } catch {
    return; // from a newer server than this page
  }
  handlers[event.type]?.(event);
}

const handlers = {
  welcome(event) {
    rooms.clear();
    for (const room of event.rooms) rooms.set(room.name, room);
    showRooms();
    if (wanted) join();
  },
  room(event) {
    if ((rooms.get(event.name)?.version ?? 0) > event.version) return;
    rooms.set(event.name, event);
    showRooms();
  },
  joined(event) {
    me = { member: event.member, name: event.name, author: event.author };
    ownMember = event.member;
    wanted.room = event.room;
    members.clear();
    for (const { member, name } of event.members) members.set(member, name);
    typing.clear();
    enterRoom(event.room);
    setOld(event.history);
    if (event.name !== wanted.name) {
      notice(`“${wanted.name}” is taken here, so you are “${event.name}”.`);
    }
    showPeople();
    showTyping();
    for (const name of members.values()) absent.delete(name);
    setTimeout(() => absent.clear(), RETURN_MS);
    for (const entry of outbox) entry.sentAt = 0;
    flush();
  },
  entered({ member, name }) {
    const isNew = !members.has(member);
    members.set(member, name);
    showPeople();
    if (isNew && !absent.delete(name)) timeline.presence(name, true);
  },
  left({ member }) {
    const name = members.get(member);
    if (name === undefined) return;
    members.delete(member);
    stopsTyping(member);
    showPeople();
    timeline.presence(name, false);
  },
  typing({ member, on }) {
    if (!members.has(member)) return;
    stopsTyping(member);
    if (on) typing.set(member, setTimeout(() => stopsTyping(member), TYPING_LASTS_MS));
    showTyping();
  },
  message: post,
  picture: post,
  replaced() {
    replaced = true;
    me = null;
    link.stop();
  },
  error(event) {
    const later = event.code === "too-fast" || event.code === "busy";
    const entry = event.tag && outbox.find(({ tag }) => tag === event.tag);
    if (entry && later) {
      setTimeout(() => { entry.sentAt = 0; flush(); }, RETRY_MS);
    } else if (event.code === "not-joined") {
      if (wanted && me) { me = null; join(); }
    } else if (entry) {
      forget(event.tag);
      timeline.fail(event.tag, event.text);
    } else if (!me && wanted && later) {
      setTimeout(join, RETRY_MS);
    } else if (!me && wanted) {
      showJoin(event.text);
    } else {
      notice(event.text);
    }
  },
};

function post(event) {
  const own = event.author === me?.author;
  const old = oldLeft > 0;
  if (old) setOld(oldLeft - 1);
  if (own && event.tag) forget(event.tag);
  stopsTyping(event.member);
  const isNew = timeline.add(event, { own, old });
  if (!isNew || own || old || (!document.hidden && document.hasFocus())) return;
  unread += 1;
  if (unread === 1) timeline.markUnread(event.id);
  showTitle();
}

// What was said before is not read out.
function setOld(left) {
  oldLeft = left;
  $("messages").setAttribute("aria-live", left > 0 ? "off" : "polite");
}

// ---- to the server

function command(value) {
  return link.send(JSON.stringify(value));
}

function join() {
  if (wanted) command({ type: "join", name: wanted.name, room: wanted.room, token });
}

function goTo(name, room) {
  const changes = room !== shownRoom;
  wanted = { name, room };
  me = null;
  if (changes) outbox.length = 0;
  join();
}

function enqueue(entry) {
  entry.tag = random();
  entry.sentAt = 0;
  outbox.push(entry);
  timeline.addPending(entry.tag, {
    at: Date.now(), name: me?.name ?? wanted.name, author: me?.author ?? "", ...entry,
  });
  showPending();
  flush();
}

let flushing = false;
async function flush() {
  if (flushing) return;
  flushing = true;
  try {
    // One after the other, so that they arrive in the order in which they were written.
    for (let entry = next(); entry; entry = next()) {
      entry.sentAt = Date.now();
      if (entry.blob) {
        const bytes = await frame({ tag: entry.tag }, entry.blob);
        if (!me || !outbox.includes(entry)) entry.sentAt = 0;
        else link.send(bytes);
      } else {
        command({ type: "say", text: entry.text, tag: entry.tag });
      }
    }
  } finally {
    flushing = false;
  }
}

function next() {
  return me && link.isOpen ? outbox.find((entry) => entry.sentAt === 0) : undefined;
}

function forget(tag) {
  const index = outbox.findIndex((entry) => entry.tag === tag);
  if (index >= 0) outbox.splice(index, 1);
}

// A connection can be dead without anybody having been told.
setInterval(() => {
  if (!me || !link.isOpen) return;
  const oldest = Math.min(...outbox.filter((entry) => entry.sentAt > 0).map((entry) => entry.sentAt));
  const age = Date.now() - oldest;
  if (age > ANSWER_MAX_MS || (age > ANSWER_MS && link.waiting === 0)) link.restart();
}, 2000);

// ---- what is shown

function showState(state, seconds) {
  if (state !== "online") {
    if (me) absent = new Set(members.values());
    me = null;
    delete document.body.dataset.joined;
    for (const member of [...typing.keys()]) stopsTyping(member);
  }
  document.body.dataset.connection = state;
  const text = { connecting: "connecting…", online: "online", reconnecting: "reconnecting…", offline: "offline" }[state];
  for (const label of document.querySelectorAll("[data-state-text]")) {
    if (label.textContent !== text) label.textContent = text;
  }
  $("banner").hidden = state === "online" || state === "connecting";
  $("retry").hidden = !replaced && seconds === null;
  $("retry").textContent = replaced ? "Continue here" : "Try now";
  const why = state === "offline" ? "You are offline" : "Connection lost";
  if (replaced) $("banner-text").textContent = "This chat goes on in another tab.";
  else if (seconds === null) $("banner-text").textContent = "Reconnecting…";
  else $("banner-text").textContent = `${why}: reconnecting in ${seconds} s`;
  showPending();
}

function showPending() {
  timeline.pendingText(link.isOpen ? "sending…" : "waiting for the connection");
}

function enterRoom(room) {
  store(localStorage, "sockeye-name", wanted.name);
  store(sessionStorage, "sockeye-place", JSON.stringify(wanted));
  history.replaceState(null, "", `#${encodeURIComponent(room)}`);
  if (room !== shownRoom) {
    shownRoom = room;
    outbox.length = 0;
    absent.clear();
    timeline.clear();
    unread = 0;
  }
  const first = document.body.dataset.view !== "chat";
  document.body.dataset.view = "chat";
  document.body.dataset.joined = "";
  $("chat").hidden = false;
  $("room-name").textContent = `# ${room}`;
  $("me-name").textContent = me.name;
  paintAvatar($("me-avatar"), me.name);
  showTitle();
  showRooms();
  openSide(false);
  if (first) $("text").focus();
}

function showJoin(error) {
  wanted = null;
  me = null;
  shownRoom = null;
  outbox.length = 0;
  store(sessionStorage, "sockeye-place", null);
  document.body.dataset.view = "join";
  document.title = "sockeye chat";
  $("chat").hidden = true;
  $("join-error").hidden = !error;
  $("join-error").textContent = error ?? "";
  $("join-name").focus();
}

function showTitle() {
  document.title = `${unread > 0 ? `(${unread}) ` : ""}#${shownRoom} · sockeye chat`;
}

function showRooms() {
  showRoomList($("rooms"), rooms, shownRoom);
  showRoomChips($("join-rooms"), rooms, (name) => { $("join-room").value = name; });
}

function showPeople() {
  showPeopleList($("people"), { members, typing, ownMember });
  $("people-count").textContent = members.size;
  $("room-people").textContent = members.size === 1 ? "Just you so far" : `${members.size} people here`;
}

function stopsTyping(member) {
  if (!typing.has(member)) return;
  clearTimeout(typing.get(member));
  typing.delete(member);
  showTyping();
}

function showTyping() {
  $("typing").textContent = typingText([...typing.keys()].map((member) => members.get(member)));
  showPeople();
}

let noticeTimer = 0;
function notice(text) {
  clearTimeout(noticeTimer);
  $("notice").textContent = text;
  $("notice").hidden = false;
  noticeTimer = setTimeout(() => { $("notice").hidden = true; }, 6000);
}

function openSide(on) {
  $("side").classList.toggle("open", on);
  $("shade").hidden = !on;
  $("side-open").setAttribute("aria-expanded", String(on));
  document.querySelector(".talk").inert = on;
  if (on) $("side-close").focus();
}

// ---- forms

$("join-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const [name, room] = [$("join-name").value.trim(), $("join-room").value.trim()];
  if (!name || !room) return;
  $("join-error").hidden = true;
  goTo(name, room);
});

$("rooms").addEventListener("click", (event) => {
  const room = event.target.closest("button")?.dataset.room;
  if (room && room !== shownRoom) goTo(wanted.name, room);
  else openSide(false);
});

$("room-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const room = $("room-input").value.trim();
  $("room-input").value = "";
  if (room && room !== shownRoom) goTo(wanted.name, room);
});

$("leave").addEventListener("click", () => {
  command({ type: "leave" });
  openSide(false);
  showJoin();
});

addEventListener("hashchange", () => {
  const room = roomInAddress();
  if (!room || room === shownRoom) return;
  if (wanted) goTo(wanted.name, room);
  else $("join-room").value = room;
});

function roomInAddress() {
  try {
    return decodeURIComponent(location.hash.slice(1)).trim();
  } catch {
    return "";
  }
}

$("retry").addEventListener("click", () => {
  if (replaced) {
    replaced = false;
    link.start();
  } else {
    link.retry();
  }
});
$("side-open").addEventListener("click", () => openSide(true));
$("side-close").addEventListener("click", () => { openSide(false); $("side-open").focus(); });
$("shade").addEventListener("click", () => openSide(false));
$("viewer-close").addEventListener("click", () => $("viewer").close());
$("viewer").addEventListener("click", (event) => {
  if (event.target === $("viewer")) $("viewer").close();
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && $("side").classList.contains("open")) {
    openSide(false);
    $("side-open").focus();
  }
});

function seen() {
  if (document.hidden || unread === 0) return;
  unread = 0;
  showTitle();
}
document.addEventListener("visibilitychange", seen);
addEventListener("focus", seen);

// ---- the composer

const box = $("text");
let typingSentAt = 0;
const attachments = new Attachments(
  { list: $("attachments"), button: $("attach"), file: $("file"), drop: $("drop") },
  {
    accepts: () => wanted !== null,
    refused: notice,
    changed() {
      grow();
      box.focus();
    },
  },
);

function grow() {
  box.style.height = "auto";
  box.style.height = `${box.scrollHeight}px`;
  const left = TEXT_CHARS_MAX - box.value.length;
  $("counter").hidden = left > 500;
  $("counter").textContent = `${left} left`;
  $("send").disabled = box.value.trim() === "" && attachments.count === 0;
}

box.addEventListener("input", () => {
  grow();
  const on = box.value.trim() !== "";
  if (on && me && Date.now() - typingSentAt > TYPING_EVERY_MS) {
    typingSentAt = Date.now();
    command({ type: "typing", on: true });
  } else if (!on && typingSentAt > 0) {
    typingSentAt = 0;
    if (me) command({ type: "typing", on: false });
  }
});

box.addEventListener("keydown", (event) => {
  // Enter also ends the choice of a character in many scripts.
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  $("composer").requestSubmit();
});

$("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = box.value.trim();
  const entries = attachments.pictures();
  if (text) entries.push({ text });
  if (entries.length === 0 || !wanted) return;
  if (outbox.length + entries.length > OUTBOX_MAX) {
    notice("There is too much waiting to be sent. What you wrote stays here.");
    return;
  }
  for (const entry of entries) enqueue(entry);
  box.value = "";
  typingSentAt = 0;
  emoji.close();
  attachments.clear();
  box.focus();
});

function insertEmoji(text) {
  if (box.value.length + text.length > TEXT_CHARS_MAX) return;
  box.setRangeText(text, box.selectionStart, box.selectionEnd, "end");
  box.dispatchEvent(new Event("input"));
}

// ---- begin

$("join-name").value = store(localStorage, "sockeye-name") ?? "";
$("join-room").value = roomInAddress() || "lobby";
grow();
try {
  const place = JSON.parse(store(sessionStorage, "sockeye-place"));
  // The page was loaded again: back to where we were.
  if (place?.name) wanted = { name: place.name, room: roomInAddress() || place.room };
} catch { /* not ours */ }
link.start();
