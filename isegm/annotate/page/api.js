// Everything that is asked of the server. Actions go one after the other; where the server is gone they are
// refused until it is back, so that nothing seems to be kept that is not.

import { readFrame } from "./state.js";

const BEAT = 3000;
const FAST_BEAT = 250;
const NEAR = 3;
const PAUSE = 15;

const sleep = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

export class ServerError extends Error {}

export class Api {
  constructor(store) {
    this.store = store;
    this.tab = crypto.randomUUID?.() ?? [...crypto.getRandomValues(new Uint32Array(4))].join("-");
    this.queue = Promise.resolve();
    this.waiting = 0;
    this.fetching = new Map();
    this.said = () => {};
    this.beat = this.beat.bind(this);
  }

  async request(path, options = {}) {
    let response;
    try {
      response = await fetch(`api/${path}`, { ...options, signal: options.signal ?? AbortSignal.timeout(60000) });
    } catch (error) {
      if (error.name !== "AbortError") this.lost();
      throw error;
    }
    if (!response.ok) {
      const content = await response.json().catch(() => ({ error: "the server did not answer as it should" }));
      if (content.lease) {
        this.store.state && (this.store.state.lease = content.lease);
        this.store.changed("state");
      }
      throw Object.assign(new ServerError(content.error), { status: response.status });
    }
    if (!this.store.online) {
      this.store.online = true;
      this.store.changed("state");
    }
    return response;
  }

  post(path, body) {
    const headers = { "content-type": "application/json" };
    return this.request(path, { method: "POST", headers, body: JSON.stringify({ ...body, tab: this.tab }) });
  }

  lost() {
    if (!this.store.online) return;
    this.store.online = false;
    this.store.changed("state");
  }

  async session() {
    this.store.session = await (await this.request("session")).json();
    this.store.changed("session");
  }

  // Open a case, and tell how much of it is read meanwhile.
  async open(index, loading, take = false) {
    for (;;) {
      const response = await this.post(`cases/${index}/open`, { take });
      const content = await response.json();
      if (response.status === 200) return content;
      loading(content.loading);
      await sleep(150);
    }
  }

  // Give the case back, for when the page goes.
  release() {
    const { caseIndex, info } = this.store;
    const body = JSON.stringify({ release: true, tab: this.tab });
    const headers = { "content-type": "application/json" };
    if (info) fetch(`api/cases/${caseIndex}/open`, { method: "POST", headers, body, keepalive: true }).catch(() => {});
  }

  // Have a picture and its masks, and draw when they are there.
  async show(view, index) {
    const { store } = this;
    await this.have(view, index);
    store.changed("view");
  }

  // Fetch what there is not of a picture.
  have(view, index) {
    const { store, fetching } = this;
    if (store.has(view, index)) return null;
    const key = `${view}:${index}`;
    const whole = !store.pixels.has(key);
    const of = store.caseIndex;
    const path = `cases/${of}/pictures/${view}/${index}${whole ? "?values=yes" : ""}`;
    if (!fetching.has(path)) {
      const fetched = this.request(path)
        .then((response) => response.arrayBuffer())
        .then((buffer) => {
          if (of !== store.caseIndex) return;
          const { frame, sent } = readFrame(buffer, store.info);
          store.putFrame(frame);
          if (whole) store.pixels.set(key, sent);
        })
        .catch(() => {})
        .finally(() => fetching.delete(path));
      fetching.set(path, fetched);
    }
    return fetching.get(path);
  }

  // Fetch what may be wanted next, until another picture is seen: its neighbours, and of the axial slices, which the
  // strip leads to, all that there is room for, the nearest first, while nothing else is asked for.
  async ahead(view, index) {
    const { store } = this;
    const of = store.caseIndex;
    const { count } = store.size(view);
    const mine = (this.latestAhead = {});
    while (mine === this.latestAhead && of === store.caseIndex) {
      const room = view === "axial" && !store.pixels.isFull && !store.frames.isFull;
      const isBusy = !store.online || this.waiting || this.fetching.size;
      const [next] = isBusy ? [] : missing(room ? count : NEAR);
      if (next !== undefined) await this.have(view, next);
      await sleep(next === undefined ? FAST_BEAT : Math.abs(next - index) > NEAR ? PAUSE : 0);
    }

    function* missing(most) {
      for (let away = 1; away <= most; away += 1) {
        for (const at of [index + away, index - away]) if (at >= 0 && at < count && !store.has(view, at)) yield at;
      }
    }
  }

  // Do something to the case; the answer is taken in, and says true, unless it was refused.
  act(body) {
    const { store } = this;
    const of = store.caseIndex;
    this.waiting += 1;
    this.queue = this.queue.then(async () => {
      try {
        const { view, indices } = store;
        const since = store.state.revision;
        const full = { view, index: indices[view], since, label: store.label, ...body };
        const { frame } = readFrame(await (await this.post(`cases/${of}/actions`, full)).arrayBuffer(), store.info);
        if (of !== store.caseIndex) return null;
        store.take(frame.state, frame);
        return frame;
      } catch (error) {
        if (error instanceof ServerError) this.said(error.message);
        return null;
      } finally {
        this.waiting -= 1;
      }
    });
    return this.queue;
  }

  async refresh() {
    const { store } = this;
    const { caseIndex, label } = store;
    const since = store.state.revision;
    const query = new URLSearchParams({ since, label, tab: this.tab });
    const response = await this.request(`cases/${caseIndex}/state?${query}`, { signal: AbortSignal.timeout(20000) });
    const state = await response.json();
    if (caseIndex === store.caseIndex && label === store.label) store.take(state);
  }

  // A sign of life now and then, by which the page learns that the server is gone, or back.
  async beat() {
    clearTimeout(this.next);
    try {
      if (this.store.info) await this.refresh();
    } catch (error) {
      if (error instanceof ServerError) this.said(error.message);
    }
    const { state, online } = this.store;
    const soon = (state?.job && !state.job.outcome) || !online || state?.network === "loading";
    clearTimeout(this.next);
    this.next = setTimeout(this.beat, soon ? FAST_BEAT : BEAT);
  }
}
