// Where pictures come from: dropped, pasted, chosen, photographed, or drawn here.

import { $ } from "./elements.js";

const UPRIGHT = 1;

// How a camera was held (EXIF 2.3, tag 0x0112): the service reads pixels as they are stored.
async function orientation(file) {
  const view = new DataView(await file.slice(0, 131072).arrayBuffer());
  if (view.byteLength < 4 || view.getUint16(0) !== 0xffd8) return UPRIGHT;
  let at = 2;
  while (at + 10 < view.byteLength && view.getUint8(at) === 0xff) {
    const size = view.getUint16(at + 2);
    if (view.getUint16(at) === 0xffe1 && view.getUint32(at + 4) === 0x45786966) return fromTiff(view, at + 10);
    if (view.getUint16(at) === 0xffda || size < 2) break;
    at += 2 + size;
  }
  return UPRIGHT;
}

function fromTiff(view, start) {
  try {
    const little = view.getUint16(start) === 0x4949;
    const directory = start + view.getUint32(start + 4, little);
    for (let index = 0; index < view.getUint16(directory, little); index++) {
      const entry = directory + 2 + 12 * index;
      if (view.getUint16(entry, little) === 0x0112) return view.getUint16(entry + 8, little);
    }
  } catch { /* it ends too early */ }
  return UPRIGHT;
}

const toFile = (canvas, name, type) =>
  new Promise(done => canvas.toBlob(blob => done(new File([blob], name, { type })), type, 0.95));

async function upright(file) {
  if (await orientation(file) <= UPRIGHT) return { file, turned: false };
  try {
    const bitmap = await createImageBitmap(file);
    const canvas = Object.assign(document.createElement("canvas"), { width: bitmap.width, height: bitmap.height });
    canvas.getContext("2d").drawImage(bitmap, 0, 0);
    return { file: await toFile(canvas, file.name, "image/jpeg"), turned: true };
  } catch {
    return { file, turned: false };
  }
}

// Something to send when there is no picture at hand: another one each time.
async function drawnPicture() {
  const canvas = Object.assign(document.createElement("canvas"), { width: 480, height: 360 });
  const context = canvas.getContext("2d");
  const any = (low, high) => low + Math.random() * (high - low);
  const sky = context.createLinearGradient(0, 0, 0, 360);
  const hue = any(0, 360);
  sky.addColorStop(0, `hsl(${hue} 55% 72%)`);
  sky.addColorStop(1, `hsl(${hue + 40} 45% 38%)`);
  context.fillStyle = sky;
  context.fillRect(0, 0, 480, 360);
  for (let shape = 0; shape < 7; shape++) {
    context.fillStyle = `hsl(${any(0, 360)} ${any(50, 90)}% ${any(35, 65)}%)`;
    const [x, y, size] = [any(20, 440), any(20, 320), any(24, 90)];
    context.beginPath();
    if (shape % 2) context.arc(x, y, size / 2, 0, 2 * Math.PI);
    else context.roundRect(x - size / 2, y - size / 2, size * any(0.7, 1.6), size, size / 8);
    context.fill();
  }
  return toFile(canvas, "test picture", "image/jpeg");
}

// Calls `take({file, turned})` for each picture, wherever it came from.
export function watchPictures(take) {
  const drop = $("drop");
  const taken = async file => { if (file) take(await upright(file)); };
  for (const input of [$("file"), $("camera")]) {
    input.addEventListener("change", () => {
      taken(input.files[0]);
      input.value = "";
    });
  }
  $("drawn").addEventListener("click", async () => take({ file: await drawnPicture(), turned: false }));
  document.addEventListener("paste", event => {
    const file = [...(event.clipboardData?.files ?? [])][0];
    if (file) event.preventDefault();
    taken(file);
  });
  let depth = 0;
  const over = change => {
    depth = change === 0 ? 0 : Math.max(depth + change, 0);
    drop.classList.toggle("over", depth > 0);
  };
  // All of the window: what misses the field must not leave the page.
  addEventListener("dragenter", event => { event.preventDefault(); over(1); });
  addEventListener("dragleave", () => over(-1));
  addEventListener("dragover", event => event.preventDefault());
  addEventListener("drop", event => {
    event.preventDefault();
    over(0);
    taken(event.dataTransfer?.files[0]);
  });
}
