// The pictures that go with the next message: chosen, pasted or dropped.

import { picturesIn, prepare } from "/pictures.js";
import { element } from "/timeline.js";

const ATTACHMENTS_MAX = 4;

export class Attachments {
  #attached = []; // { blob, width, height, url }

  // `on.accepts()`: whether there is a room to send to. `on.refused(text)`: why one was not taken.
  // `on.changed()`: another number of them.
  constructor({ list, button, file, drop }, on) {
    Object.assign(this, { list, drop, on });
    button.addEventListener("click", () => file.click());
    file.addEventListener("change", () => {
      const files = [...file.files];
      file.value = "";
      this.#attach(files);
    });
    document.addEventListener("paste", (event) => {
      const pictures = picturesIn(event.clipboardData);
      if (pictures.length === 0 || !on.accepts()) return;
      event.preventDefault();
      this.#attach(pictures);
    });
    this.#listenForDrops();
  }

  get count() {
    return this.#attached.length;
  }

  pictures() {
    return this.#attached.map(({ blob, width, height }) => ({ blob, width, height }));
  }

  clear() {
    for (const { url } of this.#attached) URL.revokeObjectURL(url);
    this.#attached = [];
    this.#show();
  }

  #listenForDrops() {
    const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
    document.addEventListener("dragover", (event) => {
      if (!hasFiles(event)) return;
      // Else the browser would leave the page and show the file.
      event.preventDefault();
      this.drop.hidden = !this.on.accepts();
    });
    document.addEventListener("dragleave", (event) => {
      if (!event.relatedTarget) this.drop.hidden = true;
    });
    document.addEventListener("drop", (event) => {
      if (!hasFiles(event)) return;
      event.preventDefault();
      this.drop.hidden = true;
      if (this.on.accepts()) this.#attach(picturesIn(event.dataTransfer));
    });
  }

  async #attach(files) {
    for (const file of files) {
      if (this.count >= ATTACHMENTS_MAX) {
        this.on.refused(`${ATTACHMENTS_MAX} pictures at a time.`);
        break;
      }
      try {
        const picture = await prepare(file);
        this.#attached.push({ ...picture, url: URL.createObjectURL(picture.blob) });
      } catch (error) {
        this.on.refused(error.message);
      }
    }
    this.#show();
  }

  #show() {
    const items = this.#attached.map((attachment) => {
      const item = element("li");
      const image = element("img");
      image.src = attachment.url;
      image.alt = "Picture to send";
      const remove = element("button", "", "✕");
      remove.type = "button";
      remove.setAttribute("aria-label", "Do not send this picture");
      remove.addEventListener("click", () => {
        this.#attached = this.#attached.filter((other) => other !== attachment);
        URL.revokeObjectURL(attachment.url);
        this.#show();
      });
      item.append(image, remove);
      return item;
    });
    this.list.replaceChildren(...items);
    this.list.hidden = items.length === 0;
    this.on.changed();
  }
}
