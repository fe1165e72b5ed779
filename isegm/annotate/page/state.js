// What the page knows: the case that is open, what of it is cached, and what the person has chosen.

import { pictureSize, toPicture } from "./geometry.js";

const MOST_PIXELS = 64 * 2 ** 20; // bytes of pictures kept
const MOST_FRAMES = 16 * 2 ** 20;

// What was fetched, as far as it fits: what was used least lately goes first.
class Kept extends Map {
  constructor(most) {
    super();
    this.most = most;
    this.bytes = 0;
  }

  get(key) {
    const value = super.get(key);
    if (super.delete(key)) super.set(key, value);
    return value;
  }

  set(key, value) {
    this.delete(key);
    super.set(key, value);
    this.bytes += value.byteLength;
    while (this.bytes > this.most && this.size > 1) this.delete(this.keys().next().value);
    return this;
  }

  delete(key) {
    this.bytes -= super.get(key)?.byteLength ?? 0;
    return super.delete(key);
  }

  // Whether one more would drive another out.
  get isFull() {
    return this.bytes + this.bytes / this.size > this.most;
  }
}

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
    this.frames = new Kept(MOST_FRAMES);
    this.pixels = new Kept(MOST_PIXELS); // as they were sent
    this.values = {}; // by view, those of the picture seen last
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
    if (this.isFresh(frame)) this.frames.set(`${frame.view}:${frame.index}`, frame);
  }

  frame(view, index) {
    return this.frames.get(`${view}:${index}`);
  }

  // The values of a picture, row by row.
  picture(view, index) {
    const sent = this.pixels.get(`${view}:${index}`);
    if (sent && this.values[view]?.sent !== sent) {
      const { rows, cols } = this.size(view);
      this.values[view] = { sent, values: readValues(sent, this.info.type, rows * cols) };
    }
    return sent && this.values[view].values;
  }

  // Whether nothing of a picture needs to be fetched.
  has(view, index) {
    const key = `${view}:${index}`;
    return this.pixels.has(key) && this.frames.has(key);
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

// A frame: its header, by object the packed bits of the masks, and as `sent` what follows: the picture's values.
export function readFrame(buffer, info) {
  const length = new DataView(buffer).getUint32(0, true);
  const frame = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  const { rows, cols } = pictureSize(info.shape, info.views[frame.view]);
  const bytes = rows * Math.ceil(cols / 8);
  const end = 4 + length + frame.objects.length * bytes;
  const masks = buffer.slice(4 + length, end); // the rest may be large, and given up before them
  frame.masks = new Map(frame.objects.map((number, place) => [number, new Uint8Array(masks, place * bytes, bytes)]));
  frame.byteLength = end;
  return { frame, sent: new Uint8Array(buffer, end) };
}

// Values as they are sent. Those of int16 come as differences, a byte each, to the value before; where one does not
// fit, its byte is -128 and the value is the next of those that stand in front.
export function readValues(sent, type, count) {
  const { buffer, byteOffset } = sent;
  if (type === "float32") return new Float32Array(buffer, byteOffset);
  if (type !== "int16") return sent;
  const whole = new Int16Array(buffer, byteOffset, (sent.length - count) / 2);
  const steps = new Int8Array(buffer, byteOffset + whole.byteLength);
  const values = new Int16Array(count);
  for (let i = 0, next = 0, value = 0; i < count; i += 1) {
    value = steps[i] === -128 ? whole[next++] : value + steps[i];
    values[i] = value;
  }
  return values;
}
