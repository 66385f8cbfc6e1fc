// Pictures: made small enough before they are sent.

export const TYPES = ["image/png", "image/jpeg", "image/gif", "image/webp"];
const BYTES_MAX = 512 * 1024;
const SIDE_MAX = 1280;
const QUALITIES = [0.85, 0.7, 0.5];
const ROUNDS_MAX = 8;

// A blob that the server takes, and its size in pixels. Throws an error with a text for people.
export async function prepare(file) {
  if (!TYPES.includes(file.type)) {
    throw new Error("Only PNG, JPEG, GIF and WebP pictures can be sent.");
  }
  let bitmap;
  try {
    bitmap = await createImageBitmap(file);
  } catch {
    throw new Error("This picture cannot be read.");
  }
  try {
    const side = Math.max(bitmap.width, bitmap.height);
    // A photograph is always drawn anew: its file also tells where it was taken.
    const asItIs = file.type !== "image/jpeg" && file.size <= BYTES_MAX && side <= SIDE_MAX;
    if (asItIs) return { blob: file, width: bitmap.width, height: bitmap.height };
    return await shrink(bitmap, file.type, Math.min(1, SIDE_MAX / side));
  } finally {
    bitmap.close();
  }
}

async function shrink(bitmap, type, scale) {
  for (let round = 0; round < ROUNDS_MAX; round += 1, scale *= 0.7) {
    const canvas = draw(bitmap, scale);
    const { width, height } = canvas;
    const tries = QUALITIES.map((quality) => ["image/jpeg", quality]);
    if (type !== "image/jpeg") tries.unshift(["image/png"]);
    for (const [target, quality] of tries) {
      // JPEG has no transparency, which would turn black.
      if (target === "image/jpeg") whiten(canvas);
      const blob = await new Promise((resolve) => canvas.toBlob(resolve, target, quality));
      if (blob && blob.size <= BYTES_MAX) return { blob, width, height };
    }
  }
  throw new Error("This picture is too large.");
}

function draw(bitmap, scale) {
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(bitmap.width * scale));
  canvas.height = Math.max(1, Math.round(bitmap.height * scale));
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  return canvas;
}

function whiten(canvas) {
  const context = canvas.getContext("2d");
  context.globalCompositeOperation = "destination-over";
  context.fillStyle = "#fff";
  context.fillRect(0, 0, canvas.width, canvas.height);
}

// The pictures in what was pasted or dropped.
export function picturesIn(transfer) {
  return [...(transfer?.files ?? [])].filter((file) => file.type.startsWith("image/"));
}

// Two bytes with the length of the head, the head, the picture.
export async function frame(head, blob) {
  const json = new TextEncoder().encode(JSON.stringify(head));
  const picture = new Uint8Array(await blob.arrayBuffer());
  const bytes = new Uint8Array(2 + json.length + picture.length);
  new DataView(bytes.buffer).setUint16(0, json.length);
  bytes.set(json, 2);
  bytes.set(picture, 2 + json.length);
  return bytes;
}

// The reverse: the head, with the picture as a blob.
export function unframe(buffer) {
  const length = new DataView(buffer).getUint16(0);
  const head = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 2, length)));
  if (!TYPES.includes(head.media)) throw new Error("not a picture");
  return { ...head, blob: new Blob([new Uint8Array(buffer, 2 + length)], { type: head.media }) };
}
