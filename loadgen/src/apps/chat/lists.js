// The lists beside the conversation: rooms, people, who is typing.

import { element, paintAvatar } from "/timeline.js";

// Rooms with people in them, and those of `always`; the lobby first, then the fullest.
function listed(rooms, always) {
  const shown = new Map([...rooms].filter(([, room]) => room.members > 0));
  for (const name of always) if (name && !shown.has(name)) shown.set(name, { name, members: 0 });
  const rank = (room) => (room.name === "lobby" ? Number.MAX_VALUE : room.members);
  return [...shown.values()].sort((a, b) => rank(b) - rank(a) || a.name.localeCompare(b.name));
}

export function showRoomList(list, rooms, current) {
  const items = listed(rooms, ["lobby", current]).map((room) => {
    const button = element("button");
    button.type = "button";
    button.dataset.room = room.name;
    if (room.name === current) button.setAttribute("aria-current", "page");
    const number = element("span", "number", room.members || "");
    if (room.members) number.title = `${room.members} here`;
    button.append(element("span", "hash", "#"), element("span", "label", room.name), number);
    const item = element("li");
    item.append(button);
    return item;
  });
  const focused = list.contains(document.activeElement) ? document.activeElement.dataset.room : null;
  list.replaceChildren(...items);
  if (focused !== null) {
    items.map((item) => item.firstChild).find(({ dataset }) => dataset.room === focused)?.focus();
  }
}

// The rooms to choose from on the way in.
export function showRoomChips(list, rooms, choose) {
  const chips = listed(rooms, []).map((room) => {
    const chip = element("button", "chip", `# ${room.name} · ${room.members}`);
    chip.type = "button";
    chip.addEventListener("click", () => choose(room.name));
    return chip;
  });
  list.replaceChildren(...chips);
}

export function showPeopleList(list, { members, typing, ownMember }) {
  const sorted = [...members].sort(([a, nameA], [b, nameB]) =>
    (b === ownMember) - (a === ownMember) || nameA.localeCompare(nameB));
  const items = sorted.map(([member, name]) => {
    const item = element("li");
    const label = element("span", "label", name);
    if (member === ownMember) label.append(element("span", "you", " (you)"));
    const avatar = paintAvatar(element("span", "avatar"), name);
    avatar.setAttribute("aria-hidden", "true");
    item.append(avatar, label);
    if (typing.has(member)) item.append(element("span", "pencil", "✎"));
    return item;
  });
  list.replaceChildren(...items);
}

export function typingText(names) {
  if (names.length === 0) return "";
  if (names.length === 1) return `${names[0]} is typing…`;
  if (names.length === 2) return `${names[0]} and ${names[1]} are typing…`;
  return `${names.length} people are typing…`;
}
