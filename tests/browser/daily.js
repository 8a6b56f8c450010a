// Daily without a network, in the place of daily.js: as much of its call object as Vapi's SDK uses, and as strict. A test
// says through `window.daily` what happens in the room.

const OPTIONS = ["audioSource", "videoSource", "dailyConfig"];
const EVENTS = [
  "app-message",
  "camera-error",
  "error",
  "left-meeting",
  "local-audio-level",
  "network-connection",
  "network-quality-change",
  "nonfatal-error",
  "participant-joined",
  "participant-left",
  "participant-updated",
  "recording-error",
  "recording-started",
  "recording-stats",
  "recording-stopped",
  "recording-upload-completed",
  "remote-participants-audio-level",
  "track-started",
];

const room = (window.daily = {
  calls: [], // every call object that was made, oldest first
  joins: [], // what becomes of the next joins: "ok" (also when nothing is said), "never", or a type of fatal error
  holding: false, // whether leaving takes until `release`
  release: () => {},
  failing: "", // a method whose promise is broken from now on
  sent: [], // what the page told Vapi
  get call() {
    return room.calls.at(-1);
  },
  /** Let Vapi say something to the page. */
  say: (message) =>
    room.call.happen("app-message", { data: typeof message === "string" ? message : JSON.stringify(message) }),
});

class Call {
  destroyed = false;
  state = "new";
  muted = false;
  observers = [];
  #listeners = new Map();

  constructor(options) {
    for (const name of Object.keys(options)) if (!OPTIONS.includes(name)) throw new Error(`unrecognized property ${name}`);
    if (options.dailyConfig?.avoidEval !== true) throw new EvalError("call to Function() blocked by CSP");
    if (room.calls.some((call) => !call.destroyed)) throw new Error("Duplicate DailyIframe instances are not allowed");
    room.calls.push(this);
  }

  on(event, act) {
    if (!EVENTS.includes(event)) throw new Error(`${event} is not among the events of this fake`);
    this.#alive();
    this.#listeners.set(event, [...(this.#listeners.get(event) ?? []), act]);
    return this;
  }

  once(event, act) {
    return this.on(event, act);
  }

  happen(event, news = {}) {
    for (const act of this.#listeners.get(event) ?? []) act({ action: event, ...news });
  }

  async join({ url, subscribeToTracksAutomatically, ...others }) {
    this.#alive();
    if (!/^https:\/\/[a-z]+\.daily\.co\/./.test(url)) throw new Error("url must be a Daily room");
    if (subscribeToTracksAutomatically !== false) throw new Error("Vapi's SDK subscribes by itself");
    if (Object.keys(others).length) throw new Error(`unrecognized properties ${Object.keys(others)}`);
    this.state = "joining-meeting";
    const outcome = room.joins.shift() ?? "ok";
    if (outcome === "never") await new Promise(() => {});
    await Promise.resolve();
    if (this.destroyed) return;
    if (outcome !== "ok") throw this.fail(outcome);
    this.state = "joined-meeting";
    this.url = url;
  }

  /** A fatal error, as Daily reports one: the event, and the same object as the reason of a join that fails. */
  fail(type) {
    this.state = "error";
    const news = { errorMsg: `fatal: ${type}`, error: { type, msg: `fatal: ${type}` } };
    this.happen("error", news);
    return { action: "error", ...news };
  }

  async leave() {
    if (["left-meeting", "error"].includes(this.state)) return;
    this.state = "left-meeting";
    this.happen("left-meeting");
  }

  async destroy() {
    if (room.holding) await new Promise((resolve) => (room.release = resolve));
    await this.leave();
    this.destroyed = true;
  }

  iframe() {
    this.#alive();
    return null;
  }

  sendAppMessage(message) {
    if (this.state !== "joined-meeting") throw new Error("sendAppMessage() only supported after join");
    room.sent.push(message);
    return this;
  }

  setLocalAudio(on) {
    this.#alive();
    this.muted = !on;
    return this;
  }

  localAudio() {
    return !this.muted;
  }

  updateParticipant(_id, properties) {
    for (const name of Object.keys(properties)) {
      if (name !== "setSubscribedTracks") throw new Error(`unrecognized updateParticipant property ${name}`);
    }
    return this;
  }

  async startRemoteParticipantsAudioLevelObserver(interval) {
    this.#observe("remote", interval);
  }

  async startLocalAudioLevelObserver(interval) {
    this.#observe("local", interval);
  }

  async updateInputSettings({ audio }) {
    if (!["noise-cancellation", "none"].includes(audio.processor.type)) throw new Error("no such processor");
    if (room.failing === "updateInputSettings") throw new Error("KrispInitError: Canceled");
  }

  #observe(whose, interval) {
    if (!(interval >= 100)) throw new Error("The interval must be a number greater than or equal to 100 milliseconds.");
    this.observers.push(whose);
  }

  #alive() {
    if (this.destroyed) throw new Error("Use after destroy");
  }
}

export default { createCallObject: (options) => new Call(options) };
