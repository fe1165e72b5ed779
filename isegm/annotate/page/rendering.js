// What is drawn: values through a window, masks as areas and outlines, clicks, letters of the patient's sides.

import { Placement, pixelSides, toPicture } from "./geometry.js";

// Values as grey by level and width, as the server does for the network: rounded, halves up.
export function paintWindow(values, window, target) {
  if (!window) {
    for (let i = 0; i < target.length; i += 1) target[i] = 0xff000000 | (values[i] * 0x010101);
    return;
  }
  const low = window.level - window.width / 2;
  const factor = 255 / window.width;
  for (let i = 0; i < target.length; i += 1) {
    let grey = (values[i] - low) * factor;
    grey = grey < 0 ? 0 : grey > 255 ? 255 : (grey + 0.5) | 0;
    target[i] = 0xff000000 | (grey * 0x010101);
  }
}

export function paintColours(values, target) {
  for (let i = 0, j = 0; i < target.length; i += 1, j += 3) {
    target[i] = 0xff000000 | (values[j + 2] << 16) | (values[j + 1] << 8) | values[j];
  }
}

// A colour, #rrggbb, as a pixel of an image's data.
function pixelOf(text) {
  const [red, green, blue] = [1, 3, 5].map((at) => Number.parseInt(text.slice(at, at + 2), 16));
  return 0xff000000 | (blue << 16) | (green << 8) | red;
}

// A path along the edges of a mask's pixels, in pixels; edges of one direction are joined as far as they go on.
// It goes by bytes, most of which are as those before and above them and begin or end no edge.
export function outline(bits, { rows, cols }) {
  const bytes = Math.ceil(cols / 8);
  const path = new Path2D();
  const line = (x0, y0, x1, y1) => {
    path.moveTo(x0, y0);
    path.lineTo(x1, y1);
  };
  const going = new Uint8Array(bytes + 1); // edges down that go on, and where they began
  const tops = new Int32Array(8 * (bytes + 1));
  for (let row = 0; row <= rows; row += 1) {
    let [before, carry, start] = [0, 0, 0];
    for (let byte = 0; byte <= bytes; byte += 1) {
      const at = row * bytes + byte;
      const here = row < rows && byte < bytes ? bits[at] : 0;
      const across = here ^ (row && byte < bytes ? bits[at - bytes] : 0);
      const down = here ^ ((here >> 1) | ((before & 1) << 7));
      const turns = across ^ ((across >> 1) | carry);
      const changed = down ^ going[byte];
      for (let bit = 0; (turns || changed) && bit < 8; bit += 1) {
        const [col, mask] = [8 * byte + bit, 0x80 >> bit];
        if (turns & across & mask) start = col;
        else if (turns & mask) line(start, row, col, row);
        if (changed & down & mask) tops[col] = row;
        else if (changed & mask) line(col, tops[col], col, row);
      }
      [before, carry] = [here, (across & 1) << 7];
      going[byte] = down;
    }
  }
  return path;
}

const outlines = new WeakMap();

export class Pane {
  constructor(store, view, element) {
    this.store = store;
    this.view = view;
    this.element = element;
    this.canvas = element.querySelector("canvas");
    this.context = this.canvas.getContext("2d", { alpha: false });
    this.picture = document.createElement("canvas");
    this.overlay = document.createElement("canvas");
    this.drawn = ""; // what the picture's canvas holds
    this.masked = null;
    this.stroke = null; // of the brush, not sent yet: {bits, add, index, box}; `box` is what is not drawn of it
    this.pointer = null;
    this.placement = null;
    this.shown = null; // {index, revision} of what is drawn
  }

  // The pane's size on the screen, or another case or view in it.
  arrange() {
    const { info } = this.store;
    const box = this.canvas.parentElement.getBoundingClientRect();
    const screen = { width: Math.max(1, box.width), height: Math.max(1, box.height) };
    const ratio = devicePixelRatio || 1;
    this.canvas.width = Math.round(screen.width * ratio);
    this.canvas.height = Math.round(screen.height * ratio);
    const of = `${this.store.caseIndex}:${this.view}`;
    if (this.of === of) this.placement.resize(screen);
    else {
      this.of = of;
      const view = info.views[this.view];
      this.placement = new Placement(this.store.size(this.view), pixelSides(info.spacing, view), screen);
      this.drawn = "";
      this.masked = null;
      this.shown = null;
    }
  }

  draw() {
    const { store, context, placement } = this;
    if (!store.info || !placement) return;
    const index = store.indices[this.view];
    const values = store.picture(this.view, index);
    const frame = store.frame(this.view, index);
    if (!values || !frame) return; // what is seen stays until the next can be seen whole
    const size = placement.size;
    this.paintPicture(values, index, size);
    const ratio = devicePixelRatio || 1;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.fillStyle = "#0b0d11";
    context.fillRect(0, 0, placement.screen.width, placement.screen.height);
    const { left, top, pixelWidth, pixelHeight } = placement;
    context.imageSmoothingEnabled = placement.scale < 4;
    context.imageSmoothingQuality = placement.scale * ratio < 1 ? "high" : "low"; // which alone keeps 60 frames
    context.drawImage(this.picture, left, top, size.cols * pixelWidth, size.rows * pixelHeight);
    if (!store.masksOff) this.drawMasks(frame, size);
    this.drawClicks(frame);
    if (store.three) this.drawCross(size);
    if (this.view === store.view) this.drawCursor();
    this.shown = { index, revision: frame.revision };
  }

  paintPicture(values, index, size) {
    const { store } = this;
    const key = `${index}:${store.window?.level}:${store.window?.width}`;
    if (this.drawn === key && this.picture.width === size.cols) return;
    if (this.picture.width !== size.cols || this.picture.height !== size.rows || !this.image) {
      this.picture.width = size.cols;
      this.picture.height = size.rows;
      this.image = new ImageData(size.cols, size.rows);
    }
    const target = new Uint32Array(this.image.data.buffer);
    if (store.info.type === "rgb") paintColours(values, target);
    else paintWindow(values, store.window, target);
    this.picture.getContext("2d").putImageData(this.image, 0, 0);
    this.drawn = key;
  }

  drawMasks(frame, size) {
    const { store, context, placement } = this;
    const labels = new Map(store.state.labels.map((label) => [label.number, label]));
    const shown = [...frame.masks].filter(([number]) => !labels.get(number)?.hidden);
    if (store.fill || this.stroke) {
      this.paintMasks(frame, shown, labels, size);
      context.imageSmoothingEnabled = false; // a pixel of the mask is a pixel
      context.globalAlpha = store.opacity;
      const { left, top, pixelWidth, pixelHeight } = placement;
      context.drawImage(this.overlay, left, top, size.cols * pixelWidth, size.rows * pixelHeight);
      context.globalAlpha = 1;
    }
    const matrix = new DOMMatrix([
      placement.pixelWidth, 0, 0, placement.pixelHeight, placement.left, placement.top,
    ]);
    for (const [number, bits] of shown) {
      if (!outlines.has(bits)) outlines.set(bits, outline(bits, size));
      const path = new Path2D();
      path.addPath(outlines.get(bits), matrix);
      context.strokeStyle = labels.get(number)?.colour ?? "#ffffff";
      context.lineWidth = number === store.label ? 1.75 : 1;
      context.stroke(path);
    }
  }

  paintMasks(frame, shown, labels, size) {
    const of = [...shown.map(([number]) => `${number}${labels.get(number)?.colour}`), this.store.fill].join();
    const { rows, cols } = size;
    if (this.masked === frame && this.maskedOf === of) {
      this.paintStroke(cols);
      return;
    }
    if (!this.overlayImage || this.overlayImage.width !== cols || this.overlayImage.height !== rows) {
      this.overlay.width = cols;
      this.overlay.height = rows;
      this.overlayImage = new ImageData(cols, rows);
    }
    const target = new Uint32Array(this.overlayImage.data.buffer).fill(0);
    const bytes = Math.ceil(cols / 8);
    for (const [number, bits] of this.store.fill ? shown : []) {
      const colour = pixelOf(labels.get(number)?.colour ?? "#ffffff");
      for (let row = 0; row < rows; row += 1) {
        for (let byte = 0; byte < bytes; byte += 1) {
          const packed = bits[row * bytes + byte];
          if (!packed) continue;
          const first = row * cols + byte * 8;
          const count = Math.min(8, cols - byte * 8);
          for (let bit = 0; bit < count; bit += 1) if (packed & (0x80 >> bit)) target[first + bit] = colour;
        }
      }
    }
    this.overlay.getContext("2d").putImageData(this.overlayImage, 0, 0);
    this.masked = frame;
    this.maskedOf = of;
    if (this.stroke) this.stroke.box = { top: 0, left: 0, bottom: rows, right: cols };
    this.paintStroke(cols);
  }

  // What came to the brush's stroke since it was painted last.
  paintStroke(cols) {
    if (!this.stroke?.box) return;
    const { bits, box, add } = this.stroke;
    const target = new Uint32Array(this.overlayImage.data.buffer);
    const colour = pixelOf(add ? this.store.current().colour : "#0b0d11");
    for (let row = box.top; row < box.bottom; row += 1) {
      for (let i = row * cols + box.left; i < row * cols + box.right; i += 1) if (bits[i]) target[i] = colour;
    }
    const [width, height] = [box.right - box.left, box.bottom - box.top];
    this.overlay.getContext("2d").putImageData(this.overlayImage, 0, 0, box.left, box.top, width, height);
    this.stroke.box = null;
  }

  drawClicks(frame) {
    const { store, placement } = this;
    const view = store.info.views[this.view];
    for (const [number, z, y, x, positive] of frame.clicks) {
      if (number !== store.label) continue;
      const { row, col } = toPicture(store.info.shape, view, [z, y, x]);
      this.dot(placement.toScreen(row + 0.5, col + 0.5), positive, 1);
    }
    const { pending } = store;
    if (pending && pending.view === this.view && pending.index === store.indices[this.view]) {
      this.dot(placement.toScreen(pending.row + 0.5, pending.col + 0.5), pending.positive, 0.55);
    }
  }

  dot({ x, y }, positive, alpha) {
    const { context } = this;
    context.globalAlpha = alpha;
    context.beginPath();
    context.arc(x, y, 5.5, 0, 2 * Math.PI);
    context.fillStyle = positive ? "#3ddc84" : "#ff5d5d";
    context.fill();
    context.lineWidth = 1.5;
    context.strokeStyle = "#ffffff";
    context.stroke();
    context.beginPath();
    context.moveTo(x - 2.5, y);
    context.lineTo(x + 2.5, y);
    if (positive) {
      context.moveTo(x, y - 2.5);
      context.lineTo(x, y + 2.5);
    }
    context.stroke();
    context.globalAlpha = 1;
  }

  // Where the other views' pictures cross this one.
  drawCross(size) {
    const { store, context, placement } = this;
    const place = [store.indices.axial, store.indices.coronal, store.indices.sagittal];
    const { row, col } = toPicture(store.info.shape, store.info.views[this.view], place);
    const { x, y } = placement.toScreen(row + 0.5, col + 0.5);
    const end = placement.toScreen(size.rows, size.cols);
    context.strokeStyle = "rgba(255, 214, 102, 0.45)";
    context.lineWidth = 1;
    context.beginPath();
    context.moveTo(placement.left, y);
    context.lineTo(end.x, y);
    context.moveTo(x, placement.top);
    context.lineTo(x, end.y);
    context.stroke();
  }

  drawCursor() {
    const { store, context, placement } = this;
    const { cursor, tool } = store;
    if (cursor) {
      const { x, y } = placement.toScreen(cursor.row + 0.5, cursor.col + 0.5);
      context.strokeStyle = "#ffd666";
      context.lineWidth = 1.5;
      context.beginPath();
      for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
        context.moveTo(x + dx * 4, y + dy * 4);
        context.lineTo(x + dx * 13, y + dy * 13);
      }
      context.stroke();
    }
    if (this.pointer && tool !== "click") {
      context.strokeStyle = tool === "brush" ? store.current().colour : "#ffffff";
      context.lineWidth = 1.25;
      context.beginPath();
      context.arc(this.pointer.x, this.pointer.y, store.radius * placement.scale, 0, 2 * Math.PI);
      context.stroke();
    }
  }
}
