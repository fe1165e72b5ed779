// Keys, mouse and touch: what each does, and the help that lists them.

import { paintLine } from "./geometry.js";

// [group, keys as shown, what it does, match of a key event, action]
export function bindings(app) {
  const { store } = app;
  const plain = (key) => (event) => !event.ctrlKey && !event.metaKey && !event.altKey && event.key.toLowerCase() === key;
  const exactly = (key) => (event) => !event.ctrlKey && !event.metaKey && !event.altKey && event.key === key;
  const ctrl = (key) => (event) => (event.ctrlKey || event.metaKey) && !event.shiftKey && event.key.toLowerCase() === key;
  const arrow = (key) => (event) => event.key === key && !event.shiftKey && !event.ctrlKey && !event.altKey;
  const cursor = (key, rows, cols) => [
    "Without a mouse", null, "", (event) => event.key === key && event.shiftKey,
    (event) => app.moveCursor(rows, cols, event.repeat ? 4 : event.altKey ? 10 : 1),
  ];
  return [
    ["Clicks", "left click", "add to the object"],
    ["Clicks", "right click, Shift+click", "take away from it"],
    ["Clicks", "Ctrl+Z", "undo", ctrl("z"), () => app.undo("undo")],
    ["Clicks", "Ctrl+Y", "redo", (event) => ctrl("y")(event) || ((event.ctrlKey || event.metaKey) && event.shiftKey && event.key.toLowerCase() === "z"), () => app.undo("redo")],
    ["Clicks", "C, B, E", "click, brush, eraser", plain("c"), () => app.choose("click")],
    ["Clicks", null, "", plain("b"), () => app.choose("brush")],
    ["Clicks", null, "", plain("e"), () => app.choose("eraser")],
    ["Clicks", "[ ]", "smaller, larger brush", exactly("["), () => app.setRadius(store.radius / 1.25)],
    ["Clicks", null, "", exactly("]"), () => app.setRadius(store.radius * 1.25)],
    ["Without a mouse", "Shift+arrows", "move the cursor (Alt: 10 pixels)"],
    cursor("ArrowUp", -1, 0), cursor("ArrowDown", 1, 0), cursor("ArrowLeft", 0, -1), cursor("ArrowRight", 0, 1),
    ["Without a mouse", "Enter", "add at the cursor", (event) => event.key === "Enter" && !event.shiftKey && !event.ctrlKey && !event.metaKey, () => app.clickAtCursor(true)],
    ["Without a mouse", "Shift+Enter", "take away at the cursor", (event) => event.key === "Enter" && event.shiftKey, () => app.clickAtCursor(false)],
    ["Slices", "wheel, arrows", "next and previous slice", (event) => arrow("ArrowUp")(event) || arrow("ArrowRight")(event), () => app.step(1)],
    ["Slices", null, "", (event) => arrow("ArrowDown")(event) || arrow("ArrowLeft")(event), () => app.step(-1)],
    ["Slices", "Page up, down", "ten slices", exactly("PageUp"), () => app.step(10)],
    ["Slices", null, "", exactly("PageDown"), () => app.step(-10)],
    ["Slices", "Home, End", "first and last", exactly("Home"), () => app.step(-1e6)],
    ["Slices", null, "", exactly("End"), () => app.step(1e6)],
    ["Slices", "X", "next view: axial, coronal, sagittal", plain("x"), () => app.nextView()],
    ["Slices", "T", "three views", plain("t"), () => app.toggleThree()],
    ["Slices", "J", "slice that most needs a click", plain("j"), () => app.jump()],
    ["Slices", "M", "slice is checked", plain("m"), () => app.toggleChecked()],
    ["Object", "P", "propagate through the volume", plain("p"), () => app.propagate()],
    ["Object", "Esc", "cancel the propagation", exactly("Escape"), () => app.cancel()],
    ["Object", "F", "fill holes", plain("f"), () => app.edit("fill")],
    ["Object", "K", "keep the largest part", plain("k"), () => app.edit("largest")],
    ["Object", "D", "copy from the slice before", plain("d"), () => app.copy()],
    ["Object", "Delete", "clear the slice", (event) => event.key === "Delete" || event.key === "Backspace", () => app.edit("clear")],
    ["Labels", "L", "next label (Shift: the one before)", plain("l"), (event) => app.nextLabel(event.shiftKey ? -1 : 1)],
    ["Labels", "N", "new label: next free", plain("n"), () => app.newLabel()],
    ["Labels", "H, G", "hide, lock the label", plain("h"), () => app.toggleLabel("hidden")],
    ["Labels", null, "", plain("g"), () => app.toggleLabel("locked")],
    ["Labels", "Ctrl+Delete", "delete the label's object", (event) => event.key === "Delete" && event.ctrlKey, () => app.deleteLabel(store.label)],
    ["Display", "W + drag", "window: level up and down, width across"],
    ["Display", "1 to 9", "window presets", (event) => !event.ctrlKey && !event.metaKey && /^[1-9]$/.test(event.key), (event) => app.preset(Number(event.key) - 1)],
    ["Display", "middle drag, Space + drag", "pan"],
    ["Display", "Ctrl+wheel, + −", "zoom", (event) => !event.ctrlKey && (event.key === "+" || event.key === "="), () => app.zoom(1.25)],
    ["Display", null, "", (event) => !event.ctrlKey && event.key === "-", () => app.zoom(0.8)],
    ["Display", "R", "fit the picture", plain("r"), () => app.fit()],
    ["Display", "O", "outline or area", plain("o"), () => app.toggleFill()],
    ["Display", "{ }", "less, more opacity", exactly("{"), () => app.setOpacity(store.opacity - 0.1)],
    ["Display", null, "", exactly("}"), () => app.setOpacity(store.opacity + 0.1)],
    ["Display", "V held", "masks off"],
    ["Cases", ", .", "previous, next case", exactly(","), () => app.openBy(-1)],
    ["Cases", null, "", exactly("."), () => app.openBy(1)],
    ["Cases", "Ctrl+S", "save", ctrl("s"), () => app.save()],
    ["Cases", "Ctrl+Enter", "case is done", (event) => event.key === "Enter" && (event.ctrlKey || event.metaKey), () => app.toggleDone()],
    ["Cases", "?", "these keys", exactly("?"), () => app.help()],
  ];
}

export function listen(app) {
  const { store } = app;
  const keys = bindings(app);
  const held = new Set();

  const typing = (target) => target.closest?.("input[type=text], textarea, dialog");
  // The delete of a whole object asks for Ctrl, so it goes before the delete of a slice.
  const ordered = [...keys].filter((each) => each[3]).sort((a, b) => (b[1] === "Ctrl+Delete") - (a[1] === "Ctrl+Delete"));
  addEventListener("keydown", (event) => {
    if (typing(event.target)) return;
    if (event.key === " " && !event.target.closest?.("button")) {
      held.add(" ");
      event.preventDefault();
      return;
    }
    const letter = event.key.toLowerCase();
    if ((letter === "w" || letter === "v") && !event.ctrlKey && !event.metaKey) {
      held.add(letter);
      if (letter === "v" && !store.masksOff) {
        store.masksOff = true;
        store.changed("view");
      }
      return;
    }
    if (event.key === "Enter" && event.target.closest?.("button, summary, [href]") && !event.ctrlKey) return;
    const binding = ordered.find((each) => each[3](event));
    if (!binding) return;
    event.preventDefault();
    binding[4](event);
  });
  const release = (key) => {
    held.delete(key);
    if (key === "v" && store.masksOff) {
      store.masksOff = false;
      store.changed("view");
    }
  };
  addEventListener("keyup", (event) => release(event.key.toLowerCase()));
  addEventListener("blur", () => ["w", "v", " "].forEach(release));
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
      : held.has("w") && store.window ? "window"
      : store.tool === "click" ? "click" : "brush";
    drag = { kind, x, y, moved: 0, window: store.window && { ...store.window } };
    const negative = event.button === 2 || event.shiftKey || (event.pointerType === "touch" && !store.positive);
    drag.positive = event.pointerType === "touch" || event.button === 2 || event.shiftKey ? !negative : store.positive;
    pane.element.classList.toggle("panning", kind === "pan");
    pane.element.classList.toggle("windowing", kind === "window");
    if (kind === "click" && event.pointerType !== "touch") {
      app.clickAt(pane, x, y, drag.positive); // at once, not when the button is let go
    } else if (kind === "brush") {
      const { rows, cols } = store.size(pane.view);
      const add = (store.tool === "brush") !== (event.button === 2 || event.shiftKey);
      pane.stroke = { bits: new Uint8Array(rows * cols), add, index: store.indices[pane.view] };
      brush(x, y, x, y);
    }
  });

  function brush(fromX, fromY, x, y) {
    const { placement } = pane;
    const from = placement.fromScreen(fromX, fromY);
    paintLine(pane.stroke.bits, placement.size, placement.sides, from, placement.fromScreen(x, y), store.radius);
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
