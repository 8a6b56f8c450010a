// One conversation: which state it is in, what was said, and what is tried when the network goes away. It knows neither
// the page nor the SDK: `open` makes a line (line.js), `changed` is told that there is something new to show.
//
//   idle -> connecting -> live -> ended
//                |          |  ^
//                v          v  |
//              failed <- reconnecting

const ROLES = ["assistant", "user"];
export const TRIES = 3;
const PAUSES = [1000, 2000, 4000]; // ms before each try
const ANSWER = 30_000; // ms within which a line must be up, once the microphone may be used
const PROMPT = 500; // ms after which a browser that has not said so asks somebody
const MEND = 8_000; // ms that Daily is given to mend a connection by itself
const AWAY = 60_000; // ms that we wait for a browser that is offline
const STEADY = 30_000; // ms after which a line that held does not count as another try

export class Talk {
  state = "idle";
  problem = ""; // why it failed: a key of PROBLEMS in words.js
  ending = ""; // Vapi's endedReason, "you", or "left" where nobody could tell Vapi
  tries = 0;
  asking = false; // somebody is asked for the microphone
  waiting = false; // for the browser to be online again
  muted = false;
  startedAt = 0;
  endedAt = 0;
  log = []; // {kind: "said", role, text, cut} | {kind: "tool", name, state, took} | {kind: "cut"}, oldest first
  provisional = { assistant: "", user: "" }; // what is being said: shown, and never acted on
  cut = false; // the caller has interrupted what the assistant is still saying
  speaking = { assistant: false, user: false };
  level = { assistant: 0, user: 0 };

  #open;
  #changed;
  #line = null;
  #left = null; // the line before, which may still be being let go of
  #talks = 0;
  #turn = 0; // which try counts: what an older one still reports is nobody's news
  #call = null; // what Vapi answered, with which the same call can be joined again
  #upAt = 0;
  #timer = 0;
  #leaving = Promise.resolve();

  constructor({ open, changed }) {
    this.#open = open;
    this.#changed = changed;
  }

  get busy() {
    return ["connecting", "live", "reconnecting"].includes(this.state);
  }

  /** Vapi's id of the call, '' while there is none. */
  get id() {
    return this.#call?.id ?? "";
  }

  /** Begin a new call; nothing happens while there is one. */
  start() {
    if (this.busy) return;
    Object.assign(this, { problem: "", ending: "", tries: 0, muted: false, startedAt: 0, endedAt: 0, log: [] });
    this.#call = null;
    this.#talks += 1;
    this.#forget();
    this.#become("connecting");
    this.#dial();
  }

  /** End the call, or give up waiting for one. */
  end() {
    if (!this.busy) return;
    this.ending = this.state === "reconnecting" && this.#call ? "left" : "you";
    this.#finish("ended");
  }

  mute(muted) {
    this.muted = muted;
    this.#line?.mute(muted);
    this.#changed("voices");
  }

  /** The browser has lost the network. */
  offline() {
    if (this.state === "live") this.#interrupted();
  }

  /** The browser has the network again. */
  online() {
    if (this.waiting) this.#dial();
  }

  // One try. No two lines at once: the old one has left before a new one is opened.
  async #dial() {
    const turn = ++this.#turn;
    const ours = (act) => (...news) => turn === this.#turn && act(...news);
    const talk = this.#talks;
    this.waiting = false;
    clearTimeout(this.#timer);
    this.#changed("state");
    await this.#leaving;
    if (turn !== this.#turn) return;
    this.#after(ANSWER, () => this.#retry("network"));
    this.#line = this.#open(
      {
        asking: ours(() => this.#after(PROMPT, () => this.#ask(true))),
        asked: ours(() => {
          this.#ask(false);
          this.#after(ANSWER, () => this.#retry("network"));
        }),
        // Also when it comes late: the next try joins this call, and makes no second one.
        made: (call) => {
          if (talk !== this.#talks || !this.busy) return;
          this.#call = call;
          this.#changed("made");
        },
        up: ours(() => this.#up()),
        interrupted: ours(() => this.#interrupted()),
        mended: ours(() => this.#mended()),
        lost: ours((problem) => this.#retry(problem)),
        over: ours((reason) => this.#over(reason)),
        failed: ours((problem) => this.#fail(problem)),
        message: ours((message) => this.#hear(message)),
        level: ours((who, level) => this.#measure(who, level)),
      },
      this.#call,
    );
    this.#line.open();
  }

  #ask(asking) {
    this.asking = asking;
    this.#changed("state");
  }

  #up() {
    this.startedAt ||= performance.now();
    this.#upAt = performance.now();
    this.#line.mute(this.muted);
    this.#become("live");
  }

  #interrupted() {
    if (this.state !== "live") return;
    this.#become("reconnecting");
    this.#after(MEND, () => this.#retry("network"));
  }

  #mended() {
    // Daily says so too of a line on which the assistant does not listen yet.
    if (this.state === "reconnecting" && this.#upAt) this.#become("live");
  }

  #retry(problem) {
    if (this.#upAt && performance.now() - this.#upAt > STEADY) this.tries = 0;
    this.#upAt = 0;
    this.#leave(false);
    if (this.tries === TRIES) return this.#fail(problem);
    this.#forget();
    this.tries += 1;
    this.#become("reconnecting");
    if (navigator.onLine) return this.#after(PAUSES[this.tries - 1], () => this.#dial());
    this.waiting = true;
    this.#changed("state");
    return this.#after(AWAY, () => this.#fail("network"));
  }

  #over(reason) {
    this.ending = reason;
    this.#finish("ended");
  }

  #fail(problem) {
    this.problem = problem;
    this.#finish("failed");
  }

  #finish(state) {
    this.waiting = false;
    this.#leave(true);
    this.endedAt = performance.now();
    this.#forget();
    for (const entry of this.log) if (entry.state === "running") entry.state = "unanswered";
    this.#become(state);
  }

  // Let go of the line; `forGood` ends the call at Vapi too.
  #leave(forGood) {
    this.#turn += 1;
    this.asking = false;
    // What the line before has asked for may come yet, and is to be ended then.
    const line = this.#line ?? (forGood ? this.#left : null);
    if (line) this.#leaving = line.close(forGood);
    this.#left = line;
    this.#line = null;
  }

  #forget() {
    this.provisional = { assistant: "", user: "" };
    this.cut = false;
    this.speaking = { assistant: false, user: false };
    this.level = { assistant: 0, user: 0 };
  }

  #become(state) {
    clearTimeout(this.#timer);
    this.state = state;
    this.#changed("state");
  }

  #after(milliseconds, act) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(act, milliseconds);
  }

  // What Vapi tells its clients: https://docs.vapi.ai/sdk/web
  #hear(message) {
    switch (message.type) {
      case "transcript":
      case 'transcript[transcriptType="final"]':
        if (!ROLES.includes(message.role)) return;
        if (message.transcriptType === "partial") this.provisional[message.role] = String(message.transcript);
        else this.#say(message.role, String(message.transcript));
        return this.#changed("log");
      case "speech-update":
        if (!ROLES.includes(message.role)) return;
        this.speaking[message.role] = message.status === "started";
        return this.#changed("voices");
      case "user-interrupted":
        this.#interrupt();
        return this.#changed("log");
      case "tool-calls":
        for (const call of message.toolCallList ?? []) this.#toolCalled(call);
        return this.#changed("log");
      case "tool-calls-result":
        this.#toolAnswered(message.toolCallResult ?? {});
        return this.#changed("log");
    }
  }

  #say(role, text) {
    this.provisional[role] = "";
    const cut = role === "assistant" && this.cut;
    if (role === "assistant") this.cut = false;
    if (text.trim()) this.log.push({ kind: "said", role, text, cut });
  }

  // The caller spoke over the assistant: what it is saying, or has just said, is cut off.
  #interrupt() {
    if (this.provisional.assistant) return void (this.cut = true);
    const last = this.log.findLast((entry) => entry.kind !== "tool");
    if (last?.role === "assistant") last.cut = true;
    else if (last?.kind !== "cut") this.log.push({ kind: "cut" });
  }

  #toolCalled(call) {
    const [id, name] = [call.id, String(call.function?.name ?? call.name)];
    if (this.log.some((entry) => entry.kind === "tool" && entry.id === id)) return;
    this.log.push({ kind: "tool", id, name, at: performance.now(), state: "running" });
  }

  #toolAnswered(result) {
    const entry = this.log.find((entry) => entry.kind === "tool" && entry.id === result.toolCallId);
    if (entry?.state === "running") Object.assign(entry, { state: "answered", took: performance.now() - entry.at });
  }

  #measure(who, level) {
    this.level[who] = level;
    this.#changed("levels");
  }
}
