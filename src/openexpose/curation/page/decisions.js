// Verdicts on their way to the server. Each is kept in this browser until the server has said that it is stored.

const AWAY = "The server does not answer.";
const PATIENCE_MS = 15000;
const FIRST_WAIT_MS = 500, LONGEST_WAIT_MS = 4000;

/** What the server refused or failed to do, in its own sentence. `status` is 0 where it did not answer. */
export class Refusal extends Error {
  constructor(sentence, status, answer = {}) {
    super(sentence);
    this.status = status;
    this.answer = answer;
  }
}

/** A request; the response if it is a good one. */
export async function request(address, options = {}) {
  let response;
  try {
    response = await fetch(address, { signal: AbortSignal.timeout(PATIENCE_MS), ...options });
  } catch {
    throw new Refusal(AWAY, 0);
  }
  if (response.ok) return response;
  const answer = await response.json().catch(() => ({}));
  throw new Refusal(answer.error ?? `The server answered ${response.status}.`, response.status, answer);
}

export async function getJSON(address) {
  const response = await request(address);
  return response.json().catch(() => {
    throw new Refusal(AWAY, 0);
  });
}

async function post(address, content) {
  const headers = { "content-type": "application/json", "x-openexpose": "1" };
  const response = await request(address, { method: "POST", headers, body: JSON.stringify(content) });
  return response.json().catch(() => {
    throw new Refusal(AWAY, 0);
  });
}

function randomName() {
  return Array.from(crypto.getRandomValues(new Uint32Array(3)), (n) => n.toString(36)).join("");
}

export class Decisions {
  /**
   * @param {string} project  id; what was said about another project at this address is not sent here
   * @param {object} told  saved(item, answer), conflict(item, answer), refused(item, sentence), waiting(count, sentence)
   */
  constructor(project, told) {
    this.project = project;
    this.told = told;
    this.key = `openexpose-decisions-${project}`;
    this.items = this.kept(); // of an earlier visit; sending one twice does no harm, the server says that it has it
    addEventListener("online", () => this.hurry?.());
    this.send();
  }

  get count() {
    return this.items.length;
  }

  /** item: {fit, reviewer, verdict, note, seen, label} */
  add(item) {
    const whole = { ...item, name: randomName() };
    this.items.push(whole);
    this.keep([...this.kept(), whole]);
    this.send();
  }

  /** Resolves with true when nothing is on its way any more, with false if that takes too long. */
  async settled(patience = 3000) {
    const until = performance.now() + patience;
    while (this.items.length && performance.now() < until) await new Promise((done) => setTimeout(done, 20));
    return !this.items.length;
  }

  /** Take back the reviewer's last verdict; {fit, progress}. */
  async undo(reviewer) {
    if (!(await this.settled())) throw new Refusal("Undo waits until the server has stored your verdicts.", 0);
    return post("/api/undo", { reviewer, project: this.project });
  }

  async send() {
    if (this.sending) return;
    this.sending = true;
    let wait = FIRST_WAIT_MS;
    while (this.items.length) {
      const item = this.items[0];
      const { fit, reviewer, verdict, note, seen } = item;
      try {
        const answer = await post(`/api/fits/${fit}/verdict`, { reviewer, verdict, note, seen, project: this.project });
        this.done(item);
        this.told.saved(item, answer);
        wait = FIRST_WAIT_MS;
      } catch (error) {
        const { status = 0, answer = {} } = error;
        if (status === 409) {
          this.done(item);
          if (answer.verdict === verdict && answer.note === note) this.told.saved(item, answer);
          else this.told.conflict(item, answer);
        } else if (status === 400 || status === 404) {
          this.done(item);
          this.told.refused(item, error.message);
        } else {
          this.told.waiting(this.items.length, error.message);
          await new Promise((done) => {
            this.hurry = done;
            setTimeout(done, wait);
          });
          wait = Math.min(2 * wait, LONGEST_WAIT_MS);
        }
      }
    }
    this.sending = false;
    this.told.waiting(0, "");
  }

  done(item) {
    this.items = this.items.filter((one) => one !== item);
    this.keep(this.kept().filter((one) => one.name !== item.name));
  }

  kept() {
    try {
      return JSON.parse(localStorage.getItem(this.key)) ?? [];
    } catch {
      return [];
    }
  }

  keep(items) {
    try {
      if (items.length) localStorage.setItem(this.key, JSON.stringify(items));
      else localStorage.removeItem(this.key);
    } catch {
      // a browser that keeps nothing: the verdict stays in this tab
    }
  }
}
