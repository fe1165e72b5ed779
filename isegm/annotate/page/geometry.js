// Where things are: between the stack of a case (slice z, row y, column x), the pictures of a view, and the
// screen. Pure functions, so that they can be tested apart.
//
// A view is {axis, rowAxis, colAxis, flipRows, flipCols}, as the server's SlicePlan: which axis of the stack is
// sliced, runs down and runs across. Pixel (row, col) covers the square from (row, col) to (row + 1, col + 1).

export function pictureSize(shape, view) {
  return { rows: shape[view.rowAxis], cols: shape[view.colAxis], count: shape[view.axis] };
}

// The place in the stack, [z, y, x], of a pixel of picture `index`.
export function toStack(shape, view, index, row, col) {
  const place = [0, 0, 0];
  place[view.axis] = index;
  place[view.rowAxis] = view.flipRows ? shape[view.rowAxis] - 1 - row : row;
  place[view.colAxis] = view.flipCols ? shape[view.colAxis] - 1 - col : col;
  return place;
}

// The picture and its pixel, {index, row, col}, of a place in the stack.
export function toPicture(shape, view, place) {
  const row = place[view.rowAxis];
  const col = place[view.colAxis];
  return {
    index: place[view.axis],
    row: view.flipRows ? shape[view.rowAxis] - 1 - row : row,
    col: view.flipCols ? shape[view.colAxis] - 1 - col : col,
  };
}

// The voxel [i, j, k] of the volume's own array: the stack is to it what a view's pictures are to the stack.
export function toVoxel(volume, place) {
  return toStack(volume.shape, volume, ...place);
}

// How many units of the screen a pixel's height and width count, in proportion: the smaller side is 1.
export function pixelSides(spacing, view) {
  if (!spacing) return { height: 1, width: 1 };
  const height = spacing[view.rowAxis];
  const width = spacing[view.colAxis];
  const least = Math.min(height, width);
  return { height: height / least, width: width / least };
}

// How a picture lies on the screen: x = left + col * width * scale, y = top + row * height * scale.
export class Placement {
  constructor(size, sides, screen) {
    this.size = size;
    this.sides = sides;
    this.screen = screen;
    this.fit();
  }

  fit() {
    const { rows, cols } = this.size;
    const whole = Math.min(
      this.screen.width / (cols * this.sides.width),
      this.screen.height / (rows * this.sides.height),
    );
    this.least = whole;
    this.zoom = 1;
    this.left = (this.screen.width - cols * this.sides.width * whole) / 2;
    this.top = (this.screen.height - rows * this.sides.height * whole) / 2;
  }

  get scale() {
    return this.least * this.zoom;
  }

  get pixelWidth() {
    return this.sides.width * this.scale;
  }

  get pixelHeight() {
    return this.sides.height * this.scale;
  }

  // The screen changed its size: what was in its middle stays there.
  resize(screen) {
    const middle = this.fromScreen(this.screen.width / 2, this.screen.height / 2);
    const zoom = this.zoom;
    this.screen = screen;
    this.fit();
    if (zoom === 1) return;
    this.zoom = zoom;
    this.left = screen.width / 2 - middle.col * this.pixelWidth;
    this.top = screen.height / 2 - middle.row * this.pixelHeight;
  }

  // Magnify by a factor; what is at (x, y) stays there.
  zoomAt(x, y, factor) {
    const at = this.fromScreen(x, y);
    this.zoom = Math.min(40, Math.max(0.5, this.zoom * factor));
    this.left = x - at.col * this.pixelWidth;
    this.top = y - at.row * this.pixelHeight;
  }

  pan(dx, dy) {
    this.left += dx;
    this.top += dy;
  }

  fromScreen(x, y) {
    return { row: (y - this.top) / this.pixelHeight, col: (x - this.left) / this.pixelWidth };
  }

  toScreen(row, col) {
    return { x: this.left + col * this.pixelWidth, y: this.top + row * this.pixelHeight };
  }

  // The pixel at a place of the screen; null beside the picture.
  pixelAt(x, y) {
    const { row, col } = this.fromScreen(x, y);
    const pixel = { row: Math.floor(row), col: Math.floor(col) };
    const inside = pixel.row >= 0 && pixel.col >= 0 && pixel.row < this.size.rows && pixel.col < this.size.cols;
    return inside ? pixel : null;
  }
}

// Pixels within `radius` (in the smaller side of a pixel) of a line between two places, painted into `bits`, a
// byte a pixel. A pixel belongs to the brush if its centre is within. The box that holds them is returned.
export function paintLine(bits, size, sides, from, to, radius) {
  const steps = Math.max(1, Math.ceil(Math.hypot(to.row - from.row, to.col - from.col) * 2));
  for (let step = 0; step <= steps; step += 1) {
    const row = from.row + ((to.row - from.row) * step) / steps;
    const col = from.col + ((to.col - from.col) * step) / steps;
    paintDisk(bits, size, sides, row, col, radius);
  }
  const box = (one, other, reach, count) => [
    clamp(Math.floor(Math.min(one, other) - reach), count), clamp(Math.floor(Math.max(one, other) + reach), count) + 1,
  ];
  const [top, bottom] = box(from.row, to.row, radius / sides.height, size.rows);
  const [left, right] = box(from.col, to.col, radius / sides.width, size.cols);
  return { top, bottom, left, right };
}

// The box that holds two.
export function joined(one, other) {
  return {
    top: Math.min(one.top, other.top),
    bottom: Math.max(one.bottom, other.bottom),
    left: Math.min(one.left, other.left),
    right: Math.max(one.right, other.right),
  };
}

function paintDisk(bits, { rows, cols }, sides, row, col, radius) {
  const down = radius / sides.height;
  const across = radius / sides.width;
  bits[clamp(Math.floor(row), rows) * cols + clamp(Math.floor(col), cols)] = 1;
  for (let r = Math.max(0, Math.floor(row - down)); r <= Math.min(rows - 1, row + down); r += 1) {
    for (let c = Math.max(0, Math.floor(col - across)); c <= Math.min(cols - 1, col + across); c += 1) {
      const y = (r + 0.5 - row) * sides.height;
      const x = (c + 0.5 - col) * sides.width;
      if (x * x + y * y <= radius * radius) bits[r * cols + c] = 1;
    }
  }
}

function clamp(value, count) {
  return Math.min(count - 1, Math.max(0, value));
}

// What is set in `bits`, packed eight pixels a byte, row by row.
export function pack(bits, { rows, cols }) {
  const bytes = Math.ceil(cols / 8);
  const packed = new Uint8Array(rows * bytes);
  for (let row = 0; row < rows; row += 1) {
    for (let col = 0; col < cols; col += 1) {
      if (bits[row * cols + col]) packed[row * bytes + (col >> 3)] |= 0x80 >> (col & 7);
    }
  }
  return packed;
}

// The slice that most needs a click: the middle of the longest run of doubtful ones, or else of those that were
// propagated, the one furthest from any that a person made; null where there is none.
export function neediest(marks) {
  const slices = Object.keys(marks).map(Number).sort((a, b) => a - b);
  const doubtful = slices.filter((z) => marks[z] === "doubtful");
  if (doubtful.length) {
    let best = [];
    let run = [];
    for (const z of doubtful) {
      run = run.length && z === run[run.length - 1] + 1 ? [...run, z] : [z];
      if (run.length > best.length) best = run;
    }
    return best[best.length >> 1];
  }
  const byHand = slices.filter((z) => marks[z] === "clicked" || marks[z] === "edited");
  let found = null;
  let furthest = -1;
  for (const z of slices) {
    if (marks[z] !== "propagated" && marks[z] !== "given") continue;
    const distance = Math.min(...byHand.map((other) => Math.abs(other - z)), slices.length);
    if (distance > furthest) [found, furthest] = [z, distance];
  }
  return found;
}
