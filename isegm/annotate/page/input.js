// Keys, buttons, mouse and touch: what each does.

import { joined, paintLine } from "./geometry.js";

// Everything that can be done: [group, keys, what it does, action, the id of its button]. What has no action is
// done with the mouse, or by keys that are held. The help and the buttons' titles are made of it.
export function commands(app) {
  const { store } = app;
  return [
    ["Clicks", "left click", "add to the object"],
    ["Clicks", "right click, Shift+click", "take away from it"],
    ["Clicks", "Ctrl+Z", "undo", () => app.undo("undo"), "undo"],
    ["Clicks", "Ctrl+Y, Ctrl+Shift+Z", "redo", () => app.undo("redo"), "redo"],
    ["Clicks", "C", "click", () => app.display({ tool: "click" }), "tool-click"],
    ["Clicks", "B", "brush", () => app.display({ tool: "brush" }), "tool-brush"],
    ["Clicks", "E", "eraser", () => app.display({ tool: "eraser" }), "tool-eraser"],
    ["Clicks", "[", "smaller brush", () => app.setRadius(store.radius / 1.25)],
    ["Clicks", "]", "larger brush", () => app.setRadius(store.radius * 1.25)],
    ["Without a mouse", "Shift+arrows", "move the cursor (with Alt by 10 pixels)"],
    ["Without a mouse", "Enter", "add at the cursor", () => app.clickAtCursor(true)],
    ["Without a mouse", "Shift+Enter", "take away at the cursor", () => app.clickAtCursor(false)],
    ["Slices", "ArrowUp, ArrowRight", "next slice (or the wheel)", () => app.step(1)],
    ["Slices", "ArrowDown, ArrowLeft", "previous slice", () => app.step(-1)],
    ["Slices", "PageUp", "ten slices on", () => app.step(10)],
    ["Slices", "PageDown", "ten slices back", () => app.step(-10)],
    ["Slices", "Home", "first slice", () => app.step(-Infinity)],
    ["Slices", "End", "last slice", () => app.step(Infinity)],
    ["Slices", "X", "next view: axial, coronal, sagittal", () => app.nextView()],
    ["Slices", "T", "three views", () => app.toggleThree(), "three"],
    ["Slices", "J", "jump to the slice that most needs a click", () => app.jump(), "neediest"],
    ["Slices", "M", "slice is checked", () => app.toggleChecked(), "checked"],
    ["Object", "P", "propagate through the volume", () => app.propagate(), "propagate"],
    ["Object", "Escape", "stop the propagation", () => app.cancel(), "job-cancel"],
    ["Object", "F", "fill holes", () => app.edit("fill"), "fill"],
    ["Object", "K", "keep the largest part", () => app.edit("largest"), "largest"],
    ["Object", "D", "copy from the slice before", () => app.copy(), "copy"],
    ["Object", "Delete, Backspace", "clear the slice", () => app.edit("clear"), "clear"],
    ["Labels", "L", "next label", () => app.nextLabel(1)],
    ["Labels", "Shift+L", "previous label", () => app.nextLabel(-1)],
    ["Labels", "N", "new label: next free", () => app.newLabel(), "label-add"],
    ["Labels", "H", "hide the label", () => app.toggleLabel("hidden")],
    ["Labels", "G", "lock the label", () => app.toggleLabel("locked")],
    ["Labels", "Ctrl+Delete", "delete the label's object", () => app.deleteLabel(store.label)],
    ["Display", "W + drag", "window: level up and down, width across"],
    ["Display", "1 to 9", "window presets"],
    ["Display", "middle drag, Space + drag", "pan"],
    ["Display", "+, =", "zoom in (or Ctrl+wheel)", () => app.zoom(1.25)],
    ["Display", "-", "zoom out", () => app.zoom(0.8)],
    ["Display", "R", "fit the picture", () => app.fit(), "fit"],
    ["Display", "O", "outline or area", () => app.display({ fill: !store.fill }), "outline"],
    ["Display", "{", "less opacity", () => app.setOpacity(store.opacity - 0.1)],
    ["Display", "}", "more opacity", () => app.setOpacity(store.opacity + 0.1)],
    ["Display", "V held", "masks off"],
    ["Cases", ",", "previous case", () => app.openBy(-1), "previous"],
    ["Cases", ".", "next case", () => app.openBy(1), "next"],
    ["Cases", "Ctrl+S", "save", () => app.save(), "save"],
    ["Cases", "Ctrl+Enter", "case is done", () => app.toggleDone(), "done"],
    ["Cases", "?", "keys", () => app.help(), "help"],
  ];
}

const CURSOR = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

// A key with what is held, as in the table. A character other than a letter shows by itself whether Shift was
// held, and one that takes AltGr to type has nothing to do with Ctrl and Alt.
function nameOf(event) {
  const { key } = event;
  const plain = event.getModifierState("AltGraph");
  const shifts = key.length > 1 || key.toLowerCase() !== key.toUpperCase();
  const held = {
    Ctrl: (event.ctrlKey || event.metaKey) && !plain,
    Alt: event.altKey && !plain,
    Shift: event.shiftKey && shifts,
  };
  const modifiers = Object.keys(held).filter((modifier) => held[modifier]);
  return [...modifiers, key.length > 1 ? key : key.toUpperCase()].join("+");
}

export function listen(app) {
  const { store } = app;
  const held = new Set();
  const byKey = new Map();
  const byButton = new Map();
  for (const [group, keys, what, action, id] of commands(app)) {
    // What cannot be seen is not changed.
    const act = () => (group === "Cases" || !app.isCovered) && action();
    if (action) for (const key of keys.split(", ")) byKey.set(key, act);
    if (!id) continue;
    byButton.set(id, act);
    document.getElementById(id).title = `${what[0].toUpperCase()}${what.slice(1)} (${keys})`;
  }
  document.addEventListener("click", (event) => byButton.get(event.target.closest("button:enabled")?.id)?.());

  const hold = (key, isHeld) => {
    if (held.has(key) === isHeld) return;
    held[isHeld ? "add" : "delete"](key);
    store.masksOff = held.has("V");
    store.changed("view");
  };
  addEventListener("keydown", (event) => {
    const on = (selector) => event.target.closest?.(selector);
    if (on("input[type=text], textarea, dialog")) return;
    const name = nameOf(event);
    if ((name === " " || name === "Enter") && on("button")) return; // which is pressed by it
    const [rows, cols] = (event.shiftKey && CURSOR[event.key]) || [];
    if ([" ", "W", "V"].includes(name)) hold(name, true);
    else if (rows !== undefined && !app.isCovered) app.moveCursor(rows, cols, event.repeat ? 4 : event.altKey ? 10 : 1);
    else if (/^[1-9]$/.test(name)) app.preset(Number(name) - 1);
    else if (byKey.has(name)) byKey.get(name)();
    else return;
    event.preventDefault();
  });
  addEventListener("keyup", (event) => hold(event.key.toUpperCase(), false));
  addEventListener("blur", () => held.forEach((key) => hold(key, false)));
  for (const pane of app.panes) pointers(app, pane, held);
}

function pointers(app, pane, held) {
  const { store } = app;
  const { canvas } = pane;
  const touches = new Map();
  let drag = null;
  let wheel = 0;

  const at = (event) => {
    const box = canvas.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  };

  canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    app.activate(pane.view);
    const { x, y } = at(event);
    if (event.ctrlKey || event.metaKey) {
      pane.placement.zoomAt(x, y, Math.exp(-event.deltaY / 300));
      store.changed("view");
      return;
    }
    wheel += event.deltaMode === 0 ? event.deltaY : event.deltaY * 40;
    const steps = Math.trunc(wheel / 40);
    if (steps) {
      wheel -= steps * 40;
      app.step(-steps);
    }
  }, { passive: false });

  canvas.addEventListener("pointerdown", (event) => {
    if (!store.info) return;
    document.getElementById("stage").focus({ preventScroll: true });
    canvas.setPointerCapture(event.pointerId);
    const { x, y } = at(event);
    app.activate(pane.view);
    if (event.pointerType === "touch") {
      touches.set(event.pointerId, { x, y });
      if (touches.size === 2) {
        if (drag?.kind === "brush") app.dropStroke(pane);
        drag = { kind: "pinch" };
        return;
      }
      if (touches.size > 2) return;
    }
    const kind =
      event.button === 1 || held.has(" ") ? "pan"
      : held.has("W") && store.window ? "window"
      : store.tool === "click" ? "click" : "brush";
    const takes = event.button === 2 || event.shiftKey;
    drag = { kind, x, y, moved: 0, window: store.window, positive: store.positive && !takes };
    pane.element.classList.toggle("panning", kind === "pan");
    pane.element.classList.toggle("windowing", kind === "window");
    if (kind === "click" && event.pointerType !== "touch") {
      app.clickAt(pane, x, y, drag.positive); // at once, not when the button is let go
    } else if (kind === "brush") {
      const { rows, cols } = store.size(pane.view);
      const add = (store.tool === "brush") !== takes;
      pane.stroke = { bits: new Uint8Array(rows * cols), add, index: store.indices[pane.view] };
      brush(x, y, x, y);
    }
  });

  function brush(fromX, fromY, x, y) {
    const { placement } = pane;
    const from = placement.fromScreen(fromX, fromY);
    const to = placement.fromScreen(x, y);
    const box = paintLine(pane.stroke.bits, placement.size, placement.sides, from, to, store.radius);
    pane.stroke.box = joined(box, pane.stroke.box ?? box);
    store.changed("view");
  }

  canvas.addEventListener("pointermove", (event) => {
    const { x, y } = at(event);
    pane.pointer = { x, y };
    app.hover(pane);
    if (touches.has(event.pointerId)) {
      if (drag?.kind === "pinch") {
        pinch(event.pointerId, x, y);
        return;
      }
      touches.set(event.pointerId, { x, y });
    }
    if (!drag) {
      if (store.tool !== "click") store.changed("view");
      return;
    }
    const [dx, dy] = [x - drag.x, y - drag.y];
    drag.moved = Math.max(drag.moved, Math.hypot(dx, dy));
    if (drag.kind === "pan") {
      pane.placement.pan(dx, dy);
      [drag.x, drag.y] = [x, y];
    } else if (drag.kind === "window") {
      const unit = Math.max(drag.window.width / 400, 1e-9);
      app.setWindow(drag.window.level - dy * unit, Math.max(unit, drag.window.width + dx * 2 * unit));
    } else if (drag.kind === "brush") {
      brush(drag.x, drag.y, x, y);
      [drag.x, drag.y] = [x, y];
    } else return;
    store.changed("view");
  });

  function pinch(id, x, y) {
    const [other] = [...touches].filter(([key]) => key !== id).map(([, place]) => place);
    const before = touches.get(id);
    if (other && before) {
      const middle = { x: (x + other.x) / 2, y: (y + other.y) / 2 };
      const spread = Math.hypot(x - other.x, y - other.y) / Math.max(1, Math.hypot(before.x - other.x, before.y - other.y));
      pane.placement.pan((x - before.x) / 2, (y - before.y) / 2);
      pane.placement.zoomAt(middle.x, middle.y, spread);
      store.changed("view");
    }
    touches.set(id, { x, y });
  }

  const end = (event) => {
    touches.delete(event.pointerId);
    pane.element.classList.remove("panning", "windowing");
    const { x, y } = at(event);
    if (drag?.kind === "click" && event.pointerType === "touch" && event.type === "pointerup" && drag.moved < 10) {
      app.clickAt(pane, x, y, drag.positive);
    } else if (drag?.kind === "brush" && pane.stroke) {
      if (event.type === "pointerup") app.draw(pane);
      else app.dropStroke(pane);
    }
    if (!touches.size) drag = null;
  };
  canvas.addEventListener("pointerup", end);
  canvas.addEventListener("pointercancel", end);
  canvas.addEventListener("pointerleave", () => {
    pane.pointer = null;
    app.hover(pane);
    if (store.tool !== "click") store.changed("view");
  });
}
