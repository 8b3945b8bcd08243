// Lists that stay as the cluster has them: listed once, then watched.

import { ApiError, TABLE, channel, list } from "./api.js";

/** The waiting times after the first and after further failures, in milliseconds. */
const AGAIN = [0, 500, 2000, 5000, 10000];

const stores = new Map();
const states = new Set();

/** Calls `listener` whenever it changes how many lists are out of date. */
export function onConnection(listener) {
  states.add(listener);
}

function tellConnection() {
  const lost = [...stores.values()].filter((store) => store.lost).length;
  for (const listener of states) listener(lost);
}

/** Returns the list at a path, shared by all its subscribers. */
export function open(path, { query = {}, table = false } = {}) {
  const key = JSON.stringify([path, query, table]);
  let store = stores.get(key);
  if (!store) {
    store = new Store(path, query, table, () => stores.delete(key));
    stores.set(key, store);
  }
  return store;
}

/** Drops all lists, before another namespace's or user's are shown. */
export function closeAll() {
  for (const store of [...stores.values()]) store.close();
}

class Store {
  constructor(path, query, table, forget) {
    Object.assign(this, { path, query, table, forget });
    /** The objects by their UIDs. */
    this.items = new Map();
    /** True once all objects have come. */
    this.complete = false;
    /** The error that keeps the list from being shown. */
    this.error = null;
    /** The columns of a table, as the API server proposes them. */
    this.columns = [];
    this.lost = false;
    this.listeners = new Set();
    this.failures = 0;
    this.version = "";
    this.abort = new AbortController();
  }

  /** Subscribes to changes, at most once a frame. Returns a function that unsubscribes; the last one to do so ends the watch. */
  subscribe(listener) {
    this.listeners.add(listener);
    clearTimeout(this.leaving);
    if (!this.begun) {
      this.begun = true;
      this.load();
    } else if (this.complete || this.error || this.items.size) {
      queueMicrotask(() => this.listeners.has(listener) && listener(this));
    }
    return () => {
      this.listeners.delete(listener);
      // A user who goes from view to view is soon back.
      if (!this.listeners.size) this.leaving = setTimeout(() => this.close(), 30000);
    };
  }

  close() {
    clearTimeout(this.leaving);
    clearTimeout(this.timer);
    this.closed = true;
    this.abort.abort();
    this.socket?.close();
    this.lost = false;
    this.forget();
    tellConnection();
  }

  async load() {
    try {
      const seen = new Set();
      const accept = this.table ? TABLE : undefined;
      const options = { accept, signal: this.abort.signal, newest: this.version !== "" };
      this.version = await list(this.path, this.query, options, (chunk, last) => {
        for (const item of this.read(chunk)) {
          seen.add(item.metadata.uid);
          this.items.set(item.metadata.uid, item);
        }
        if (last) {
          for (const uid of this.items.keys()) if (!seen.has(uid)) this.items.delete(uid);
          this.complete = true;
        }
        this.error = null;
        this.changed();
      });
      this.watch();
    } catch (error) {
      if (this.closed) return;
      this.error = error;
      this.changed();
      // A refused or missing list is not retried until something else is requested.
      const final = error instanceof ApiError && [401, 403, 404, 405].includes(error.status);
      if (!final) this.later(() => this.load());
    }
  }

  /** The objects of a list or of a table. */
  read(chunk) {
    if (chunk.kind !== "Table") {
      // The API server leaves the kind of listed objects to the list's own: DeploymentList.
      const type = { apiVersion: chunk.apiVersion, kind: chunk.kind?.replace(/List$/, "") };
      return (chunk.items ?? []).map((item) => ({ ...type, ...item }));
    }
    if (chunk.columnDefinitions?.length) this.columns = chunk.columnDefinitions;
    return (chunk.rows ?? []).map((row) => ({ metadata: row.object.metadata, cells: row.cells }));
  }

  watch() {
    if (this.closed) return;
    const parameters = new URLSearchParams({
      ...this.query,
      watch: "1",
      allowWatchBookmarks: "true",
      resourceVersion: this.version,
    });
    if (this.table) parameters.set("as", "Table");
    const socket = channel(`${this.path}?${parameters}`);
    this.socket = socket;
    let opened = false;
    socket.onopen = () => {
      opened = true;
      this.failures = 0;
      this.setLost(false);
    };
    socket.onmessage = ({ data }) =>
      this.event(JSON.parse(typeof data === "string" ? data : new TextDecoder().decode(data)));
    socket.onclose = () => {
      if (this.closed || socket !== this.socket) return;
      if (!opened) this.setLost(true);
      this.later(() => this.watch());
    };
  }

  event({ type, object }) {
    if (type === "ERROR") {
      // The version is too old: all is listed again.
      this.socket.onclose = null;
      this.socket.close();
      this.later(() => this.load());
      return;
    }
    const items = object.kind === "Table" ? this.read(object) : [object];
    for (const item of items) {
      if (item.metadata.resourceVersion) this.version = item.metadata.resourceVersion;
      if (type === "BOOKMARK" || !item.metadata.uid) continue;
      if (type === "DELETED") this.items.delete(item.metadata.uid);
      else this.items.set(item.metadata.uid, item);
    }
    if (type !== "BOOKMARK") this.changed();
  }

  later(work) {
    const wait = AGAIN[Math.min(this.failures++, AGAIN.length - 1)];
    this.timer = setTimeout(work, wait);
  }

  setLost(lost) {
    if (this.lost === lost) return;
    this.lost = lost;
    tellConnection();
  }

  changed() {
    if (this.pending) return;
    this.pending = true;
    // A hidden page has no frames, and the first view need not wait for one.
    const tell = () => {
      this.pending = false;
      for (const listener of [...this.listeners]) listener(this);
    };
    if (document.hidden) setTimeout(tell, 200);
    else if (!this.told) queueMicrotask(tell);
    else requestAnimationFrame(tell);
    this.told = this.complete;
  }

  values() {
    return [...this.items.values()];
  }
}
