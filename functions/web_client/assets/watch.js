// What the console knows. It asks for the list and for one call, again and again, and keeps what only watching tells: a
// call's item holds nothing but the last time at which each side began and stopped to speak. It knows no page.

const LIST = 3000; // ms between two looks at the list
const CALL = 1000; // ms between two looks at the call that is open
const OVER = 10_000; // ms, when it has ended: a report and after-call tools may follow
const QUIET = 120_000; // ms after its end until nothing more is expected
const LONGEST = 30_000; // ms between two tries while nothing answers
const ANSWER = 10_000; // ms that an answer may take

export class Watch {
  state = "starting"; // watching | trying | paused | refused
  problem = ""; // why it was refused, in the server's words
  pause = 0; // ms until the next try, while nothing answers
  calls = [];
  people = [];
  more = false; // there are too many calls for the list
  chosen = "";
  call = null;
  missing = ""; // why there is nothing to show of the call that is chosen
  seen = null;

  #token;
  #changed;
  #list = new Poll((poll) => this.#lookAtList(poll), (failures) => this.#told(failures));
  #one = new Poll((poll) => this.#lookAtCall(poll), (failures) => this.#told(failures));
  #offset = 0; // from this computer's clock to the server's
  #watched = new Map(); // call -> Seen
  #endedAt = 0;

  constructor({ token, changed }) {
    this.#token = token;
    this.#changed = changed;
  }

  /** The server's time, epoch milliseconds. */
  get now() {
    return performance.now() + this.#offset;
  }

  start() {
    if (this.state === "refused") return;
    this.state = "starting";
    this.#list.start();
    if (this.chosen) this.#one.start();
  }

  /** Nobody looks: nothing is asked, and nothing is paid. */
  rest() {
    this.stop();
    if (this.state !== "refused") this.state = "paused";
    this.#changed();
  }

  stop() {
    this.#list.stop();
    this.#one.stop();
  }

  choose(id) {
    if (id === this.chosen) return;
    Object.assign(this, { chosen: id, call: null, missing: "", seen: this.#watched.get(id) ?? new Seen() });
    this.#watched.set(id, this.seen);
    this.#endedAt = 0;
    this.#one.stop();
    if (id) this.#one.start();
    this.#changed();
  }

  /**
   * Have something done to a call, Vapi's id of it. `{status, outcome, message}`; the same `id` of an order asks what came
   * of it and never acts twice. Thrown is what leaves open whether it was done.
   */
  async act(call, action, order) {
    const answer = await this.#ask(`/console/calls/${encodeURIComponent(call)}/${action}`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(order),
    });
    // Not the function's answer but the API's about it, which may have acted before it was cut off.
    if (answer.status >= 500 && !answer.body?.error) throw new Error(`${answer.status}`);
    if (answer.status === 401) this.#refuse(answer.body);
    else if (this.#one.running) this.#one.start(); // what it did is to be seen at once
    return { status: answer.status, outcome: answer.body?.outcome ?? "refused", message: answer.body?.message ?? "" };
  }

  /** The id of a new request. */
  requestId() {
    const random = crypto.getRandomValues(new Uint8Array(16));
    return `${Math.round(this.now)}-${Array.from(random, (byte) => byte.toString(16).padStart(2, "0")).join("")}`;
  }

  async #lookAtList(poll) {
    const body = await this.#look("/console/calls", poll);
    if (body) Object.assign(this, { calls: body.calls, people: body.people, more: body.more });
    return LIST;
  }

  async #lookAtCall(poll) {
    const id = this.chosen;
    const body = await this.#look(`/console/calls/${encodeURIComponent(id)}`, poll);
    if (id !== this.chosen) return 0;
    if (body) {
      this.missing = body.error ? body.message : "";
      this.call = body.error ? null : body;
    }
    if (!this.call) return LIST;
    this.seen.look(this.call, this.now);
    if (!this.call.ended) return CALL;
    this.#endedAt ||= this.now;
    return this.now - this.#endedAt < QUIET ? OVER : 0;
  }

  // The body, or null where nothing has changed. Whatever else goes wrong is thrown.
  async #look(path, poll) {
    const answer = await this.#ask(path, { headers: poll.tag ? { "if-none-match": poll.tag } : {} });
    if (answer.status === 401 || answer.status === 403) {
      this.#refuse(answer.body);
      throw new Refused();
    }
    if (answer.status !== 200 && answer.status !== 304 && answer.status !== 404) throw new Error(`${answer.status}`);
    poll.tag = answer.tag;
    this.state = "watching";
    return answer.body;
  }

  async #ask(path, options) {
    const headers = { ...options.headers, ...(this.#token && { authorization: `Bearer ${this.#token}` }) };
    const answer = await fetch(path, {
      ...options,
      headers,
      cache: "no-store",
      credentials: "omit",
      signal: AbortSignal.timeout(ANSWER),
    });
    const now = Number(answer.headers.get("x-now"));
    if (now) this.#offset = now - performance.now();
    const body = answer.status === 304 ? null : await answer.json();
    return { status: answer.status, tag: answer.headers.get("etag"), body };
  }

  #refuse(body) {
    this.stop();
    Object.assign(this, { state: "refused", problem: body?.message ?? "", calls: [], call: null, chosen: "" });
    this.#changed();
  }

  // A poll has looked, or could not: `failures` in a row. The answer is how long to wait, 0 for as long as usual.
  #told(failures) {
    if (failures) this.state = "trying";
    this.pause = failures ? Math.min(LONGEST, 1000 * 2 ** failures) : 0;
    this.#changed();
    return this.pause;
  }
}

class Refused extends Error {}

// Looks, waits as long as the look said, looks again. One look at a time, and none after `stop`.
class Poll {
  tag = "";
  running = false;

  #look;
  #told;
  #turn = 0;
  #timer = 0;
  #failures = 0;

  constructor(look, told) {
    this.#look = look;
    this.#told = told;
  }

  start() {
    this.stop();
    this.running = true;
    this.tag = "";
    this.#again(this.#turn);
  }

  stop() {
    clearTimeout(this.#timer);
    this.#turn += 1;
    this.running = false;
  }

  async #again(turn) {
    let wait = 0;
    try {
      wait = await this.#look(this);
      this.#failures = 0;
    } catch (error) {
      if (error instanceof Refused) return;
      this.#failures += 1;
    }
    if (turn !== this.#turn) return;
    wait = this.#told(this.#failures) || wait;
    if (wait) this.#timer = setTimeout(() => this.#again(turn), wait);
  }
}

const SIDES = ["caller", "assistant"];

/** What was seen of a call while it was watched: when each side spoke, and who interrupted. Exact times, from Vapi. */
export class Seen {
  since = 0; // when watching began
  speech = { caller: [], assistant: [] }; // {start, end, seen}; end is 0 while it lasts
  interruptions = [];

  look(call, now) {
    this.since ||= now;
    const last = (kind, who) => call.events.find((event) => event.kind === kind && event.who === who)?.at ?? 0;
    for (const who of SIDES) {
      const [start, stop] = [last("speech", who), last("silence", who)];
      const spans = this.speech[who];
      let span = spans.at(-1);
      if (start && start !== span?.start) {
        // Of what went on before, the end was missed: it lasted at least until it was last seen.
        if (span && !span.end) span.end = span.seen;
        spans.push((span = { start, end: 0, seen: now }));
      }
      if (!span) continue;
      if (stop >= span.start) span.end = stop;
      else if (call.ended && !span.end) span.end = Math.max(span.seen, span.start);
      else if (!span.end) span.seen = now;
    }
    const at = last("interruption", "caller");
    if (at && !this.interruptions.includes(at)) this.interruptions.push(at);
  }
}
