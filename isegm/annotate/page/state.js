// What the page knows: the case that is open, what of it is cached, and what the person has chosen.

import { pictureSize, toPicture } from "./geometry.js";

const MOST_PIXELS = 32 * 2 ** 20; // bytes of pictures kept
const MOST_FRAMES = 96;

const TYPES = { int16: Int16Array, uint8: Uint8Array, float32: Float32Array, rgb: Uint8Array };
const BYTES = { int16: 2, uint8: 1, float32: 4, rgb: 3 };

export class Store extends EventTarget {
  constructor() {
    super();
    this.session = { cases: [], windows: [], output: "" };
    this.caseIndex = 0;
    this.info = null; // what the server said when the case was opened
    this.state = null; // what it said last
    this.online = true;
    this.three = false;
    this.label = 1;
    this.tool = "click";
    this.positive = true;
    this.radius = 6;
    this.window = null;
    this.opacity = 0.45;
    this.fill = true;
    this.masksOff = false;
  }

  changed(what = "view") {
    this.dispatchEvent(new CustomEvent("change", { detail: what }));
  }

  open(index, info) {
    this.caseIndex = index;
    this.info = info;
    this.frames = new Map();
    this.pixels = new Map();
    this.pixelBytes = 0;
    this.stale = new Map(); // by axial slice, the revision since which its masks are others
    this.staleElsewhere = 0;
    this.state = null;
    this.cursor = null; // {row, col} of the keyboard's cursor in the active view
    this.pending = null; // a click that is not answered yet
    this.window = info.window && { ...info.window };
    this.view = "axial";
    this.indices = { axial: 0, coronal: 0, sagittal: 0 };
    for (const [name, view] of Object.entries(info.views)) {
      this.indices[name] = info.shape[view.axis] >> 1;
    }
    this.restore(info.view);
    if (Object.keys(info.views).length < 3) this.three = false;
    this.take(info.state);
  }

  // How the case was seen last.
  restore(text) {
    let seen;
    try {
      seen = JSON.parse(text);
    } catch {
      return;
    }
    for (const [name, view] of Object.entries(this.info.views)) {
      const index = seen.indices?.[name];
      if (Number.isInteger(index) && index >= 0 && index < this.info.shape[view.axis]) this.indices[name] = index;
    }
    if (seen.view in this.info.views) this.view = seen.view;
    if (this.window && seen.window?.width > 0 && Number.isFinite(seen.window.level)) this.window = seen.window;
    if (Number.isInteger(seen.label)) this.label = seen.label;
    this.three = Boolean(seen.three);
  }

  seen() {
    const { view, indices, window, label, three } = this;
    return JSON.stringify({ view, indices, window, label, three });
  }

  // Take in the server's state; answers may come in another order than they were made.
  take(state, frame = null) {
    if (this.state && state.revision < this.state.revision) return;
    for (const z of state.changed) this.stale.set(z, state.revision);
    if (state.changed.length) {
      this.staleElsewhere = state.revision;
      for (const [key, frame] of this.frames) if (!this.isFresh(frame)) this.frames.delete(key);
    }
    if (frame) this.putFrame(frame);
    this.state = state;
    if (!state.labels.some((label) => label.number === this.label)) this.label = state.labels[0].number;
    this.changed("state");
  }

  isFresh(frame) {
    return frame.revision >= (frame.view === "axial" ? (this.stale.get(frame.index) ?? 0) : this.staleElsewhere);
  }

  putFrame(frame) {
    if (!this.isFresh(frame)) return;
    this.frames.set(`${frame.view}:${frame.index}`, frame);
    if (this.frames.size > MOST_FRAMES) this.frames.delete(this.frames.keys().next().value);
  }

  frame(view, index) {
    return this.frames.get(`${view}:${index}`);
  }

  putPixels(view, index, buffer) {
    const key = `${view}:${index}`;
    if (this.pixels.has(key)) return;
    this.pixels.set(key, new TYPES[this.info.type](buffer));
    this.pixelBytes += buffer.byteLength;
    while (this.pixelBytes > MOST_PIXELS && this.pixels.size > 1) {
      const [oldest, values] = this.pixels.entries().next().value;
      this.pixels.delete(oldest);
      this.pixelBytes -= values.byteLength;
    }
  }

  picture(view, index) {
    const key = `${view}:${index}`;
    const values = this.pixels.get(key);
    if (values) {
      this.pixels.delete(key); // the one used last is the last to go
      this.pixels.set(key, values);
    }
    return values;
  }

  size(view = this.view) {
    return pictureSize(this.info.shape, this.info.views[view]);
  }

  current() {
    return this.state?.labels.find((label) => label.number === this.label);
  }

  // The axial slice that actions are about: the one in view, or the one through the cursor's place.
  slice() {
    return this.indices.axial;
  }

  goTo(place) {
    for (const [name, view] of Object.entries(this.info.views)) {
      this.indices[name] = toPicture(this.info.shape, view, place).index;
    }
  }
}

// A frame of masks: its header, and by object the packed bits.
export function readFrame(buffer, info) {
  const length = new DataView(buffer).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  const { rows, cols } = pictureSize(info.shape, info.views[header.view]);
  const bytes = rows * Math.ceil(cols / 8);
  header.masks = new Map();
  header.objects.forEach((number, place) => {
    header.masks.set(number, new Uint8Array(buffer, 4 + length + place * bytes, bytes));
  });
  return header;
}

// Of a picture's values.
export function bytesOf(info, view) {
  const { rows, cols } = pictureSize(info.shape, info.views[view]);
  return rows * cols * BYTES[info.type];
}
