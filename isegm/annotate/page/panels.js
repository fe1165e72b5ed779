// Everything around the picture: toolbar, labels, the strip of slices, lists and dialogs. Names are put in as text,
// never as HTML.

import { commands } from "./input.js";

const MARKS = { clicked: "#3ddc84", edited: "#5aa9ff", propagated: "#5d6b82", given: "#7d7398", doubtful: "#ff9f43" };

const STATUSES = { done: "done", started: "started", left: "to do" }; // "left" reads like a side

export const $ = (id) => document.getElementById(id);

// What is written again as it is costs a layout.
export function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", `#i-${name}`);
  svg.append(use);
  return svg;
}

export function listenToPanels(app) {
  const { store } = app;
  const on = (id, kind, action) => $(id).addEventListener(kind, action);
  on("cases", "click", () => app.listCases());
  on("panel-toggle", "click", () => $("panel").classList.toggle("open"));
  on("sign", "click", () => app.display({ positive: !store.positive }));
  on("banner-button", "click", () => app.takeOver());
  on("command-copy", "click", async () => {
    await navigator.clipboard.writeText($("command").textContent).catch(() => {});
    app.say("copied");
  });
  for (const button of document.querySelectorAll("[data-view]")) {
    button.addEventListener("click", () => app.setView(button.dataset.view));
  }
  on("opacity", "input", (event) => app.setOpacity(Number(event.target.value)));
  on("radius", "input", (event) => app.setRadius(Number(event.target.value)));
  on("note", "change", (event) => app.set("note", event.target.value));
  const strip = $("strip");
  let resting = 0;
  const point = (event) => {
    clearTimeout(resting);
    if (!store.info) return;
    const box = strip.getBoundingClientRect();
    const count = store.info.shape[0];
    const part = (event.clientY - box.top) / box.height;
    const z = Math.min(count - 1, Math.max(0, Math.floor((1 - part) * count)));
    if (event.buttons & 1) app.goToSlice(z);
    else resting = setTimeout(() => app.api.have("axial", z), 20); // where it rests it may be pressed next
  };
  strip.addEventListener("pointerdown", (event) => {
    strip.setPointerCapture(event.pointerId);
    point(event);
  });
  strip.addEventListener("pointermove", point);
}

export function showTools(store) {
  for (const button of document.querySelectorAll("[data-tool]")) {
    button.setAttribute("aria-pressed", button.dataset.tool === store.tool);
  }
  for (const button of document.querySelectorAll("[data-view]")) {
    button.setAttribute("aria-pressed", button.dataset.view === store.view);
    button.hidden = !store.info || Object.keys(store.info.views).length < 2;
  }
  $("three").hidden = $("strip").hidden = $("volume-actions").hidden = !store.info || !store.info.volume;
  $("three").setAttribute("aria-pressed", store.three);
  $("sign").textContent = store.positive ? "+" : "−";
  $("sign").className = `icon sign ${store.positive ? "add" : "take"}`;
  $("outline").setAttribute("aria-pressed", !store.fill);
  $("opacity").value = store.opacity;
  $("radius").value = store.radius;
}

export function showWindow(app) {
  const { store } = app;
  const presets = $("windows");
  if (presets.childElementCount !== store.session.windows.length) {
    presets.replaceChildren(
      ...store.session.windows.map((each, place) => {
        const title = `${place + 1}: level ${each.level}, width ${each.width}`;
        const button = make("button", { textContent: each.name, title });
        button.addEventListener("click", () => app.preset(place));
        return button;
      }),
    );
  }
  const { window } = store;
  presets.hidden = !window;
  $("window-text").hidden = !window;
  if (!window) return;
  const digits = window.width < 20 ? 2 : 0;
  write($("window-text"), `Level ${window.level.toFixed(digits)}, width ${window.width.toFixed(digits)}`);
  store.session.windows.forEach((each, place) => {
    const chosen = each.level === window.level && each.width === window.width;
    presets.children[place].setAttribute("aria-pressed", chosen);
  });
}

export function showCase({ store, asked }) {
  const { cases } = store.session;
  write($("case-name"), cases[asked].name);
  write($("case-place"), cases.length > 1 ? `${asked + 1} / ${cases.length}` : "");
  $("previous").disabled = asked === 0;
  $("next").disabled = asked === cases.length - 1;
}

let labelsShown = "";

export function showState(app) {
  const { store } = app;
  const { state } = store;
  if (!state) return;
  const mine = state.lease === "yours" && store.online;
  $("undo").disabled = !state.canUndo || !mine;
  $("redo").disabled = !state.canRedo || !mine;
  $("save").disabled = !mine;
  $("done").setAttribute("aria-pressed", state.isDone);
  write($("saved"), state.isSaved ? (state.revision ? "masks saved" : "") : "masks not saved yet");
  $("saved").title = "Every action is kept at once; saving writes the mask files";
  const network = $("network");
  network.hidden = state.network === "ready";
  write($("network"), state.network === "loading" ? "loading the network…" : state.network);
  network.classList.toggle("bad", state.network !== "loading");
  network.title = network.textContent;
  write($("command"), state.command);
  showJob(state.job);
  const labels = JSON.stringify([state.labels, store.label]);
  if (labels !== labelsShown && !$("labels").contains(document.activeElement?.closest("input[type=text], input[type=color]"))) {
    labelsShown = labels;
    showLabels(app);
  }
}

// Why nothing can be done here, if that is so.
export function showBanner({ store, wanted }) {
  const banner = $("banner");
  const elsewhere = wanted !== undefined || (store.state && store.state.lease !== "yours");
  banner.hidden = store.online && !elsewhere;
  banner.classList.toggle("note", store.online);
  write($("banner-text"), store.online
    ? `${store.session.cases[wanted]?.name ?? "This case"} is open in another tab or window; here it can only be looked at.`
    : "The server is gone. All that was done is kept; this page goes on when the same command runs again.");
  $("banner-button").hidden = !store.online;
}

function showJob(job) {
  const running = job && !job.outcome;
  $("job").hidden = !running;
  if (!running) return;
  const isFinding = !job.total || job.done < job.total;
  const slices = job.total ? `: ${job.done} of ${job.total} slices` : "…";
  write($("job-text"), isFinding ? `Propagating${slices}` : "Looking for doubtful slices…");
  if (job.total && isFinding) $("job-bar").value = job.done / job.total;
  else $("job-bar").removeAttribute("value");
}

function showLabels(app) {
  const { store } = app;
  const rows = store.state.labels.map((label) => {
    const { number } = label;
    const colour = make("input", { type: "color", value: label.colour, title: "Colour" });
    colour.addEventListener("change", () => app.label(number, { colour: colour.value }));
    const name = make("input", { type: "text", value: label.name, maxLength: 80, title: "Name", spellcheck: false });
    name.setAttribute("aria-label", `Name of label ${number}`);
    name.addEventListener("focus", () => app.chooseLabel(number));
    name.addEventListener("keydown", (event) => {
      if (event.key === "Enter" || event.key === "Escape") {
        if (event.key === "Escape") name.value = label.name;
        name.blur();
      }
    });
    name.addEventListener("change", () => app.label(number, { name: name.value }));
    name.addEventListener("blur", () => setTimeout(() => showState(app)));
    const button = (shown, title, isOn, action) => {
      const made = make("button", { className: `icon${isOn ? " on" : ""}`, title }, icon(shown));
      made.setAttribute("aria-label", title);
      made.setAttribute("aria-pressed", isOn);
      made.addEventListener("click", (event) => {
        event.stopPropagation();
        action();
      });
      return made;
    };
    const row = make(
      "li", { className: number === store.label ? "chosen" : "" }, colour,
      make("span", { className: "number", textContent: number }), name,
      button(label.hidden ? "hidden" : "eye", label.hidden ? "Show (H)" : "Hide (H)", label.hidden, () => app.label(number, { hidden: !label.hidden })),
      button(label.locked ? "lock" : "open", label.locked ? "Unlock (G)" : "Lock (G)", label.locked, () => app.label(number, { locked: !label.locked })),
      button("trash", "Delete (Ctrl+Delete)", false, () => app.deleteLabel(number)),
    );
    row.addEventListener("click", () => app.chooseLabel(number));
    return row;
  });
  $("labels").replaceChildren(...rows);
}

export function showStrip(store) {
  const strip = $("strip");
  if (!store.info?.volume || !store.state) return;
  const { width, height } = strip.getBoundingClientRect();
  const ratio = devicePixelRatio || 1;
  strip.width = Math.max(1, Math.round(width * ratio));
  strip.height = Math.max(1, Math.round(height * ratio));
  const context = strip.getContext("2d");
  context.scale(ratio, ratio);
  const count = store.info.shape[0];
  const each = height / count;
  const top = (z) => height - (z + 1) * each;
  const box = (z, left, wide, colour) => {
    context.fillStyle = colour;
    context.fillRect(left, top(z), wide, Math.max(1.5, each - (each > 4 ? 1 : 0)));
  };
  for (const [z, mark] of Object.entries(store.state.marks)) box(Number(z), 7, width - 11, MARKS[mark] ?? "#888");
  for (const z of store.state.checked) box(z, 1, 3, "#3ddc84");
  context.strokeStyle = "#ffffff";
  context.lineWidth = 1.5;
  const middle = top(store.indices.axial) + each / 2;
  context.beginPath();
  context.moveTo(0, middle);
  context.lineTo(width, middle);
  context.stroke();
}

export function showHelp(app) {
  const line = (text, key) => make("div", {}, make("span", { textContent: text }), key);
  const rows = commands(app).map(([group, keys, what]) => {
    const shown = keys.replaceAll(/Arrow(\w+)/g, (_, way) => ({ Up: "↑", Right: "→", Down: "↓", Left: "←" })[way]);
    return { group, line: line(what, make("kbd", { textContent: shown })) };
  });
  for (const [mark, colour] of Object.entries(MARKS)) {
    const swatch = make("kbd", { textContent: "\u00a0" });
    swatch.style.background = colour;
    rows.push({ group: "The strip's colours", line: line(mark, swatch) });
  }
  const groups = [...new Set(rows.map((row) => row.group))];
  $("help-content").replaceChildren(...groups.map((group) => make(
    "section", {}, make("h3", { textContent: group }), ...rows.filter((row) => row.group === group).map((row) => row.line),
  )));
  $("help-dialog").showModal();
}

export function showCases(app) {
  const { session } = app.store;
  $("cases-list").replaceChildren(
    ...session.cases.map(({ name, status }, place) => {
      const button = make("button", {}, make("span", { textContent: name }), make("span", { className: `status ${status}`, textContent: STATUSES[status] }));
      button.setAttribute("aria-current", place === app.asked);
      button.addEventListener("click", () => {
        $("cases-dialog").close();
        app.open(place);
      });
      return make("li", {}, button);
    }),
  );
  if (!$("cases-dialog").open) $("cases-dialog").showModal();
}
