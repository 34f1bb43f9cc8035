// Fits with all that is shown of them, fetched before they are needed; and the way that a tab takes through a queue.
import { getJSON, request } from "./decisions.js";

const KEPT = 12; // fits whose pictures stay in memory

/** An image as an object URL, decoded, so that it appears at once. */
async function picture(address) {
  const url = URL.createObjectURL(await (await request(address)).blob());
  const image = new Image();
  image.src = url;
  await image.decode().catch(() => {});
  return url;
}

export class Fits {
  /** @param {boolean} solid  whether meshes can be shown; else pictures from the side are fetched */
  constructor(solid) {
    this.solid = solid;
    this.media = new Map();
  }

  /** A fit with its pictures and mesh; `problem` says why there are no pictures. */
  async load(id, reviewer) {
    const [fit, media] = await Promise.all([getJSON(`/api/fits/${id}?reviewer=${encodeURIComponent(reviewer)}`), this.mediaOf(id)]);
    return { fit, ...media };
  }

  mediaOf(id) {
    let promise = this.media.get(id);
    this.media.delete(id);
    if (!promise) {
      promise = this.fetchMedia(id);
      promise.then(({ problem }) => problem && this.media.delete(id), () => this.media.delete(id));
    }
    this.media.set(id, promise); // the newest last
    for (const [old, kept] of this.media) {
      if (this.media.size <= KEPT) break;
      this.media.delete(old);
      kept.then(({ urls }) => urls.forEach((url) => URL.revokeObjectURL(url)), () => {});
    }
    return promise;
  }

  async fetchMedia(id) {
    const at = `/api/fits/${id}`;
    let problem = "";
    const unlessGone = (promise) => promise.catch((error) => {
      if (error.status !== 410) throw error;
      problem = error.message;
      return null;
    });
    const [photo, overlay, mesh, side] = await Promise.all([
      unlessGone(picture(`${at}/photo.jpg?crop=1`)),
      unlessGone(picture(`${at}/overlay.jpg`)),
      this.solid ? request(`${at}/mesh`).then((response) => response.arrayBuffer()) : null,
      this.solid ? null : picture(`${at}/side.jpg`),
    ]);
    return { photo, overlay, side, vertices: mesh && new Float32Array(mesh), problem, urls: [photo, overlay, side].filter(Boolean) };
  }
}

/**
 * The way of this tab: where it has been, and what comes next, fetched ahead.
 *
 * The server keeps what a tab shows from other tabs of the same reviewer. What is shown and what is fetched ahead are
 * asked for under two names in turn, so that both are kept.
 */
export class Way {
  /** @param {() => Promise} ready  resolves when the server knows all verdicts, so that it does not offer those fits */
  constructor(fits, tab, reviewer, queue, ready) {
    Object.assign(this, { fits, tab, reviewer, queue, ready });
    this.turn = 0;
    this.trail = [];
    this.at = -1;
    this.ahead = null;
  }

  get here() {
    return this.trail[this.at];
  }

  async ask(after, name) {
    await this.ready();
    const query = new URLSearchParams({ reviewer: this.reviewer, tab: `${this.tab}-${name}`, queue: this.queue });
    if (after !== undefined) query.set("after", after);
    return (await getJSON(`/api/next?${query}`)).fit;
  }

  /** Fetch what comes after the last one of the trail. */
  lookAhead() {
    const after = this.trail.at(-1);
    if (this.at < this.trail.length - 1 || this.ahead?.after === after) return;
    const found = this.ask(after, 1 - this.turn).then((id) => (id === null ? null : this.fits.load(id, this.reviewer)));
    found.catch(() => {});
    this.ahead = { after, found };
  }

  /** The next fit, or null at the end. */
  async forward() {
    if (this.at < this.trail.length - 1) {
      const next = await this.fits.load(this.trail[this.at + 1], this.reviewer);
      this.at++;
      return next;
    }
    const after = this.trail.at(-1);
    let next = null;
    if (this.ahead?.after === after && this.trail.length) {
      next = await this.ahead.found.catch(() => undefined);
      if (next) this.turn = 1 - this.turn;
    }
    if (next === undefined || !this.ahead) {
      const id = await this.ask(after, this.turn);
      next = id === null ? null : await this.fits.load(id, this.reviewer);
    }
    this.ahead = null;
    if (next) this.enter(next.fit.id);
    return next;
  }

  /** The first of the queue, or null. */
  async again() {
    const id = await this.ask(undefined, this.turn);
    return id === null ? null : this.visit(id);
  }

  /** The one before, or null at the beginning. */
  async back() {
    if (this.at < 1) return null;
    const before = await this.fits.load(this.trail[this.at - 1], this.reviewer);
    this.at--;
    return before;
  }

  /** Go to a certain fit. */
  async visit(id) {
    const bundle = await this.fits.load(id, this.reviewer);
    if (this.trail[this.at - 1] === id) this.at--;
    else if (this.here !== id) this.enter(id);
    return bundle;
  }

  enter(id) {
    this.trail = [...this.trail.slice(0, this.at + 1), id].slice(-200);
    this.at = this.trail.length - 1;
    if (this.ahead?.after !== id) this.ahead = null;
  }
}

