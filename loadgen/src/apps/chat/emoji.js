// The emoji panel.

const GROUPS = {
  Smileys: "😀 😃 😄 😁 😂 🤣 😊 😇 🙂 😉 😍 🥰 😘 😋 😜 🤪 🤔 🤨 😐 😏 🙄 😴 😎 🤓 🥳 😕 😢 😭 😤 😡 🤯 🥺",
  Gestures: "👍 👎 👌 🤞 👏 🙌 🙏 💪 👋 🤝 ✌️ 🫶 👀 🧠 🙋 🤷",
  Hearts: "❤️ 🧡 💛 💚 💙 💜 🖤 💔",
  Nature: "🐟 🐠 🦈 🐻 🦅 🐶 🐱 🦊 🌲 🌊 🔥 ⭐ 🌈 ☀️ 🌧️ ❄️",
  Things: "🎉 🎂 🍕 🍣 ☕ 🍺 🍷 🎁 🚀 🚲 ⚽ 🎸 💡 📷 💻 📎 ✅ ❌ ❓ ❗ 💯 ⏰ 🔒 🐛",
};
const COLUMNS = 8;

// Opens above the button; `insert` gets the emoji.
export function emojiPanel(button, panel, insert) {
  const buttons = [];

  function build() {
    for (const [title, emoji] of Object.entries(GROUPS)) {
      const heading = document.createElement("h3");
      heading.textContent = title;
      const grid = document.createElement("div");
      grid.className = "emoji-grid";
      for (const one of emoji.split(" ")) {
        const choice = document.createElement("button");
        choice.type = "button";
        choice.textContent = one;
        choice.tabIndex = buttons.length === 0 ? 0 : -1;
        buttons.push(choice);
        grid.append(choice);
      }
      panel.append(heading, grid);
    }
  }

  function show(on) {
    if (on && buttons.length === 0) build();
    panel.hidden = !on;
    button.setAttribute("aria-expanded", String(on));
    if (on) buttons.find((choice) => choice.tabIndex === 0).focus();
  }

  function focus(index) {
    if (index < 0 || index >= buttons.length) return;
    for (const choice of buttons) choice.tabIndex = -1;
    buttons[index].tabIndex = 0;
    buttons[index].focus();
  }

  button.addEventListener("click", () => show(panel.hidden));
  panel.addEventListener("click", (event) => {
    const choice = event.target.closest("button");
    if (choice) insert(choice.textContent);
  });
  panel.addEventListener("keydown", (event) => {
    const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: COLUMNS, ArrowUp: -COLUMNS };
    if (event.key === "Escape") {
      show(false);
      button.focus();
    } else if (event.key in steps) {
      focus(buttons.indexOf(document.activeElement) + steps[event.key]);
    } else {
      return;
    }
    event.preventDefault();
  });
  document.addEventListener("pointerdown", (event) => {
    if (!panel.hidden && !panel.contains(event.target) && !button.contains(event.target)) {
      show(false);
    }
  });
  return { close: () => show(false) };
}
