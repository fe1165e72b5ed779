// The page: opens cases, and does what keys, pointers and panels ask for.

import { Api } from "./api.js";
import { neediest, pack, toStack, toVoxel } from "./geometry.js";
import { listen } from "./input.js";
import { $, listenToPanels, showBanner, showCase, showCases, showHelp, showState, showStrip, showTools, showWindow, write } from "./panels.js";
import { Pane } from "./rendering.js";
import { Store } from "./state.js";

const VIEWS = ["axial", "coronal", "sagittal"];

const OUTCOMES = { done: "propagated", cancelled: "stopped; what it changed stays until it is undone" };

class App {
  constructor() {
    this.store = new Store();
    this.api = new Api(this.store);
    this.api.said = (text) => this.say(text);
    this.panes = [...document.querySelectorAll(".pane")].map((element, place) => new Pane(this.store, VIEWS[place], element));
    this.frame = 0;
    this.opening = 0;
    this.asked = 0; // which case, whether it could be opened or not
    this.keepView = 0;
    this.store.addEventListener("change", ({ detail }) => this.onChange(detail));
    new ResizeObserver(() => this.arrange()).observe($("stage"));
  }

  async start() {
    listen(this);
    listenToPanels(this);
    addEventListener("pagehide", () => this.api.release());
    addEventListener("pageshow", (event) => event.persisted && location.reload());
    for (;;) {
      try {
        await this.api.session();
        break;
      } catch {
        $("curtain-text").textContent = "Waiting for the server…";
        await new Promise((resolve) => setTimeout(resolve, 500));
      }
    }
    const { cases } = this.store.session;
    const left = Math.max(0, cases.findIndex((each) => each.status !== "done"));
    const here = Number(sessionStorage.getItem("case") ?? -1);
    const last = Number(localStorage.getItem(location.pathname) ?? -1); // in whichever tab
    await this.open(here in cases ? here : (cases[last]?.status ?? "done") !== "done" ? last : left);
    this.api.beat();
  }

  // -- cases

  async open(index, take = false) {
    const { store, api } = this;
    const opening = (this.opening += 1);
    this.asked = index;
    showCase(this);
    if (store.info) {
      await this.keepSeenNow();
      const isLeft = index !== store.caseIndex && !this.isCovered;
      if (isLeft && !store.state.isSaved && store.state.lease === "yours") this.save(true);
      await api.queue;
    }
    sessionStorage.setItem("case", index);
    localStorage.setItem(location.pathname, index);
    const { name } = store.session.cases[index];
    const late = setTimeout(() => this.cover(`Opening ${name}…`, true), store.info ? 120 : 0);
    let info;
    try {
      info = await api.open(index, (part) => ($("curtain-bar").value = part), take);
    } catch (error) {
      if (opening === this.opening) this.refused(index, error);
      return;
    } finally {
      clearTimeout(late);
    }
    if (opening !== this.opening) return;
    this.wanted = undefined;
    store.open(index, info);
    $("note").value = info.note;
    document.title = `${info.name} – isegm annotate`;
    this.arrange();
    await this.show();
    $("curtain").hidden = true;
    $("stage").focus({ preventScroll: true });
    this.ahead();
    api.session().catch(() => {});
  }

  // Whether another case is asked for than the one that was opened last.
  get isCovered() {
    return !$("curtain").hidden;
  }

  // Hide the pictures behind a line.
  cover(text, loads = false) {
    $("curtain").hidden = false;
    $("curtain-text").textContent = text;
    $("curtain-bar").hidden = !loads;
    $("curtain-bar").removeAttribute("value");
  }

  refused(index, error) {
    const { opening } = this;
    this.cover(error.message);
    if (error.status !== 409) return;
    this.wanted = index;
    showBanner(this);
    setTimeout(() => opening === this.opening && this.open(index), 3000); // the other tab may be closed
  }

  takeOver() {
    this.open(this.wanted ?? this.store.caseIndex, true);
  }

  openBy(step) {
    const index = this.asked + step;
    if (index in this.store.session.cases) this.open(index);
  }

  async listCases() {
    await this.api.session().catch(() => {});
    showCases(this);
  }

  // -- what is seen

  onChange(what) {
    cancelAnimationFrame(this.frame);
    if (what === "state" || what === "session") {
      showState(this);
      showBanner(this);
      const job = this.store.state?.job;
      if (this.jobRan && job?.outcome) this.say(OUTCOMES[job.outcome] ?? job.outcome);
      this.jobRan = Boolean(job) && !job.outcome;
      if (this.store.info) this.show();
    }
    this.frame = requestAnimationFrame(() => this.paint());
  }

  arrange() {
    const { store } = this;
    if (!store.info) return;
    const views = Object.keys(store.info.views);
    // The view that was chosen has the largest pane.
    const order = [store.view, ...views.filter((view) => view !== store.view)];
    $("stage").classList.toggle("three", store.three && views.length > 1);
    this.panes.forEach((pane, place) => {
      pane.view = order[place] ?? order[0];
      if (!place || store.three) pane.arrange();
    });
    this.showFrame();
    this.paint();
  }

  get shown() {
    return this.store.three ? this.panes : this.panes.slice(0, 1);
  }

  paint() {
    const { store } = this;
    if (!store.info) return;
    for (const pane of this.shown) {
      pane.draw();
      this.showWhere(pane);
    }
    $("checked").setAttribute("aria-pressed", store.state.checked.includes(store.slice()));
    showStrip(store);
    showWindow(this);
    this.onPaint?.();
  }

  // Letters and numbers around the pictures.
  showFrame() {
    const { store } = this;
    showTools(store);
    if (!store.info) return;
    for (const pane of this.shown) {
      const { sides } = store.info.views[pane.view];
      ["left", "right", "top", "bottom"].forEach((side, place) => {
        pane.element.querySelector(`.${side}`).textContent = sides[place];
      });
      pane.element.classList.toggle("active", pane.view === store.view);
      pane.element.classList.toggle("brushing", store.tool !== "click");
    }
  }

  // Which picture it is that is seen, as soon as it is seen.
  showWhere(pane) {
    const { store } = this;
    const { count } = store.size(pane.view);
    const last = pane === this.panes[0] ? ` / ${count - 1}` : "";
    write(pane.element.querySelector(".where"), count > 1 && pane.shown ? `${pane.view} ${pane.shown.index}${last}` : "");
  }

  // Have what is to be seen, and draw when it is there.
  show() {
    const { store, api } = this;
    return Promise.all(this.shown.map((pane) => api.show(pane.view, store.indices[pane.view])));
  }

  hover(pane) {
    const { store } = this;
    const element = pane.element.querySelector(".value");
    const pixel = pane.pointer && pane.placement?.pixelAt(pane.pointer.x, pane.pointer.y);
    const index = store.indices[pane.view];
    const values = pixel && store.picture(pane.view, index);
    if (!values) {
      element.textContent = "";
      return;
    }
    const { info } = store;
    const at = pixel.row * store.size(pane.view).cols + pixel.col;
    const value = info.type === "rgb" ? [0, 1, 2].map((k) => values[3 * at + k]).join(" ") : info.type === "float32" ? values[at].toPrecision(5) : values[at];
    const place = toStack(info.shape, info.views[pane.view], index, pixel.row, pixel.col);
    const where = info.volume ? toVoxel(info.volume, place).join(", ") : `${pixel.row}, ${pixel.col}`;
    element.textContent = `${value}${info.unit ? ` ${info.unit}` : ""}   (${where})`;
  }

  step(count) {
    const { store } = this;
    const last = store.size().count - 1;
    const index = Math.min(last, Math.max(0, store.indices[store.view] + count));
    this.goTo(store.view, index);
  }

  goToSlice(z) {
    this.goTo("axial", z);
    if (this.store.view !== "axial" && !this.store.three) this.setView("axial");
  }

  goTo(view, index) {
    const { store } = this;
    if (store.indices[view] === index) return;
    store.indices[view] = index;
    store.pending = null;
    this.ahead();
  }

  // What is likely to be wanted next: neighbouring pictures, and once a picture was looked at for a while, what the
  // network can compute before a click.
  ahead() {
    const { store, api } = this;
    // Not before this one is painted.
    const next = () => setTimeout(() => api.ahead(store.view, store.indices[store.view]));
    this.show().then(() => requestAnimationFrame(next));
    clearTimeout(this.soon);
    const { opening } = this;
    this.soon = setTimeout(() => {
      if (opening !== this.opening) return; // another case is being opened
      this.prepare();
      this.keepSeen();
    }, 100);
  }

  prepare() {
    const { store, api } = this;
    if (!store.online || store.state?.lease !== "yours" || store.current()?.locked) return;
    const state = store.state;
    if (state.job && !state.job.outcome) return;
    api.act({ do: "prepare", z: store.slice(), window: this.windowPair() });
  }

  // Keep how the case is seen, once it has been for a while.
  keepSeen() {
    const { opening } = this;
    clearTimeout(this.keepView);
    this.keepView = setTimeout(() => opening === this.opening && this.keepSeenNow(), 1200);
  }

  keepSeenNow() {
    const { store, api } = this;
    const seen = store.seen();
    if (!store.online || store.state.lease !== "yours" || this.kept === `${store.caseIndex}${seen}`) return null;
    this.kept = `${store.caseIndex}${seen}`;
    return api.act({ do: "set", key: "view", value: seen });
  }

  activate(view) {
    const { store } = this;
    if (store.view === view) return;
    this.display({ view, cursor: null });
  }

  setView(view) {
    const { store } = this;
    if (!(view in (store.info?.views ?? {}))) return;
    store.view = view;
    store.cursor = null;
    this.arrange();
    this.ahead();
  }

  nextView() {
    const views = Object.keys(this.store.info.views);
    this.setView(views[(views.indexOf(this.store.view) + 1) % views.length]);
  }

  toggleThree() {
    const { store } = this;
    if (Object.keys(store.info.views).length < 3) return;
    store.three = !store.three;
    this.arrange();
    this.show();
    this.keepSeen();
  }

  active() {
    return this.shown.find((pane) => pane.view === this.store.view) ?? this.panes[0];
  }

  zoom(factor) {
    const { placement } = this.active();
    placement.zoomAt(placement.screen.width / 2, placement.screen.height / 2, factor);
    this.store.changed("view");
  }

  fit() {
    for (const pane of this.shown) pane.placement.fit();
    this.store.changed("view");
  }

  setWindow(level, width) {
    const { store } = this;
    if (!store.window) return;
    store.window = { level, width };
    store.changed("view");
    clearTimeout(this.windowed);
    this.windowed = setTimeout(() => this.ahead(), 300);
  }

  preset(place) {
    const window = this.store.session.windows[place];
    if (window) this.setWindow(window.level, window.width);
  }

  windowPair() {
    const { window } = this.store;
    return window && [window.level, window.width];
  }

  // Change how it is drawn, or with what.
  display(changes) {
    Object.assign(this.store, changes);
    this.showFrame();
    this.store.changed("view");
  }

  setOpacity(value) {
    this.display({ opacity: Math.min(1, Math.max(0, value)) });
  }

  setRadius(value) {
    this.display({ radius: Math.min(40, Math.max(0.5, value)) });
  }

  help() {
    showHelp(this);
  }

  say(text) {
    const said = $("said");
    said.textContent = text;
    clearTimeout(this.silence);
    this.silence = setTimeout(() => (said.textContent = ""), 4000);
  }

  // -- actions

  ready() {
    const { store } = this;
    if (this.isCovered) this.say("this case is not open");
    else if (!store.online) this.say("the server is gone: nothing can be changed until it is back");
    else if (store.state.lease !== "yours") this.say("this case is open in another tab or window");
    else return true;
    return false;
  }

  clickAt(pane, x, y, positive) {
    const pixel = pane.placement.pixelAt(x, y);
    if (pixel) this.click(pane.view, pixel.row, pixel.col, positive);
  }

  async click(view, row, col, positive) {
    const { store, api } = this;
    if (!this.ready()) return;
    const index = store.indices[view];
    const place = toStack(store.info.shape, store.info.views[view], index, row, col);
    if (view !== "axial" && !store.three) this.say(`clicked in axial slice ${place[0]}`);
    if (store.three) {
      store.goTo(place);
      this.show();
    } else store.indices.axial = place[0];
    store.pending = { view, index, row, col, positive };
    store.changed("view");
    const [z, y, x] = place;
    await api.act({ do: "click", view, index, z, y, x, positive, window: this.windowPair() });
    if (!api.waiting) store.pending = null;
    store.changed("view");
  }

  moveCursor(rows, cols, step) {
    const { store } = this;
    const size = store.size();
    store.cursor ??= { row: size.rows >> 1, col: size.cols >> 1 };
    store.cursor = {
      row: Math.min(size.rows - 1, Math.max(0, store.cursor.row + rows * step)),
      col: Math.min(size.cols - 1, Math.max(0, store.cursor.col + cols * step)),
    };
    store.changed("view");
  }

  clickAtCursor(positive) {
    const { store } = this;
    if (store.cursor) this.click(store.view, store.cursor.row, store.cursor.col, positive);
    else this.moveCursor(0, 0, 0);
  }

  draw(pane) {
    const { stroke } = pane;
    const { bits, add, index } = stroke;
    const drop = () => pane.stroke === stroke && this.dropStroke(pane);
    if (!this.ready()) {
      drop();
      return;
    }
    let text = "";
    for (const byte of pack(bits, pane.placement.size)) text += String.fromCharCode(byte);
    this.api.act({ do: "draw", view: pane.view, index, bits: btoa(text), add }).then(drop);
  }

  dropStroke(pane) {
    pane.stroke = null;
    pane.masked = null;
    this.store.changed("view");
  }

  edit(what) {
    if (this.ready()) this.api.act({ do: what, z: this.store.slice() });
  }

  copy() {
    const { store } = this;
    const z = store.slice();
    // The one that was looked at before, as far as it is a neighbour; else the one below.
    const source = [z - 1, z + 1].find((each) => each in store.state.marks);
    if (source === undefined) this.say("neither neighbouring slice has this object");
    else if (this.ready()) this.api.act({ do: "copy", z, source });
  }

  toggleChecked() {
    const z = this.store.slice();
    if (this.ready()) this.api.act({ do: "check", z, checked: !this.store.state.checked.includes(z) });
  }

  async undo(what) {
    const { store } = this;
    if (!this.ready()) return;
    const before = new Set(store.state.labels.map(({ number }) => number));
    const answer = await this.api.act({ do: what });
    const back = answer?.state.labels.find(({ number }) => !before.has(number));
    if (back) this.chooseLabel(back.number); // rather than the one that was chosen when it was deleted
    const z = answer?.moved;
    if (Number.isInteger(z) && z !== store.indices.axial && !answer.state.changed.includes(store.indices.axial)) {
      this.goToSlice(z); // what was undone is seen
    }
  }

  propagate() {
    if (!this.store.info.volume || !this.ready()) return;
    this.jobRan = true;
    this.api.act({ do: "propagate" }).then(() => this.api.beat());
  }

  cancel() {
    const job = this.store.state?.job;
    if (job && !job.outcome) this.api.act({ do: "cancel" });
    this.store.cursor = null;
    this.store.changed("view");
  }

  jump() {
    const z = neediest(this.store.state.marks);
    if (z === null) this.say("no slice of this object was propagated yet");
    else this.goToSlice(z);
  }

  save(quietly = false) {
    if (!this.ready()) return;
    this.api.act({ do: "save" }).then((answer) => answer && !quietly && this.say(`saved in ${this.store.session.output}`));
  }

  set(key, value) {
    if (this.ready()) this.api.act({ do: "set", key, value });
  }

  toggleDone() {
    this.set("done", this.store.state.isDone ? "no" : "yes");
  }

  // -- labels

  label(number, changes) {
    if (this.ready()) this.api.act({ do: "label", label: number, ...changes }).then(() => this.store.changed("state"));
  }

  chooseLabel(number) {
    const { store } = this;
    if (store.label === number) return;
    store.label = number;
    showState(this);
    store.changed("view");
    this.api.refresh().catch(() => {});
    this.ahead();
  }

  nextLabel(step) {
    const { labels } = this.store.state;
    const place = labels.findIndex((label) => label.number === this.store.label);
    this.chooseLabel(labels[(place + step + labels.length) % labels.length].number);
  }

  newLabel() {
    const taken = new Set(this.store.state.labels.map((label) => label.number));
    let number = 1;
    while (taken.has(number)) number += 1;
    if (number > this.store.session.most || !this.ready()) return;
    this.api.act({ do: "label", label: number }).then((answer) => answer && this.chooseLabel(number));
  }

  toggleLabel(what) {
    const label = this.store.current();
    this.label(label.number, { [what]: !label[what] });
  }

  deleteLabel(number) {
    if (this.ready()) this.api.act({ do: "delete", label: number });
  }
}

const app = new App();
window.annotate = app; // for the tests, and for those who are curious
app.start();

