// One try at a call, over Vapi's SDK: what it reports in many words is told in few.
//
//   asking()         the browser is asked for the microphone, which takes as long as somebody thinks about it
//   asked()          it has answered, and the microphone may be used
//   made(call)       Vapi has made the call; with what it answered, the call can be joined again
//   up()             the assistant listens
//   interrupted()    the connection is broken, and Daily is trying to mend it
//   mended()         it has
//   lost(problem)    the connection is gone; another try may help, and if none does, this is the problem
//   over(reason)     the call has ended, with Vapi's endedReason
//   failed(problem)  it cannot be made, and another try would not help: a key of PROBLEMS in words.js
//   message(value), level(who, 0 to 1)

import Vapi from "./vapi.js";

const GONE = 5_000; // ms that a line is given to leave; Daily may wait forever for a network that is not there

// What this page shows. By default Vapi sends more, the whole conversation with the assistant's instructions included.
export const MESSAGES = [
  "transcript",
  "speech-update",
  "user-interrupted",
  "status-update",
  "tool-calls",
  "tool-calls-result",
];

export const openLine = (settings) => (tell, call) => new Line(settings, tell, call);

class Line {
  #settings;
  #tell;
  #call;
  #vapi = null;
  #closed = false;
  #muted = false;
  #forGood = false;
  #opened = Promise.resolve();

  constructor(settings, tell, call) {
    this.#settings = settings;
    this.#tell = tell;
    this.#call = call;
  }

  open() {
    this.#opened = this.#open().catch((error) => {
      console.error(error);
      this.#tell.failed("vapi");
    });
  }

  mute(muted) {
    this.#muted = muted;
    if (this.#vapi?.getDailyCallObject()) this.#vapi.setMuted(muted);
  }

  /** Leave; `forGood` ends the call, which otherwise waits for somebody to join again. Resolves when all is let go of. */
  close(forGood) {
    this.#closed = true;
    this.#forGood = forGood;
    // What was still being asked of Vapi or Daily may have made a call meanwhile.
    const gone = this.#hangUp().then(() => this.#opened).then(() => this.#hangUp());
    return Promise.race([gone, new Promise((enough) => setTimeout(enough, GONE))]);
  }

  async #open() {
    if (!this.#call) {
      this.#tell.asking();
      const problem = await microphone();
      if (this.#closed) return;
      if (problem) return this.#tell.failed(problem);
      this.#tell.asked();
    }
    // Without eval, which the page's Content-Security-Policy forbids, Daily loads its code as a script.
    this.#vapi = new Vapi(this.#settings.key, this.#settings.vapi, { avoidEval: true });
    this.#listen(this.#vapi);
    if (this.#call) await this.#vapi.reconnect(this.#call).catch(() => {}); // told as an error already
    else await this.#start();
  }

  async #start() {
    const call = await this.#vapi.start(
      this.#settings.assistant,
      { clientMessages: MESSAGES },
      undefined,
      undefined,
      undefined,
      { roomDeleteOnUserLeaveEnabled: false }, // so that a lost connection does not end the call
    );
    if (call) this.#tell.made(call);
  }

  // All of this stands before the call is asked for: nothing that happens early is missed.
  #listen(vapi) {
    vapi.on("call-start", () => this.#tell.up());
    // The SDK then goes on to say that the caller ended the call, whoever did. That is nobody's news any more.
    vapi.on("call-end", () => this.#tell.lost("network"));
    vapi.on("message", (message) => {
      if (message?.type === "status-update") this.#status(message);
      else if (message) this.#tell.message(message);
    });
    vapi.on("network-connection", (event) => {
      if (event?.event === "interrupted") this.#tell.interrupted();
      if (event?.event === "connected") this.#tell.mended();
    });
    // When noise cancellation fails, the SDK goes on without it, and turns the microphone on.
    vapi.on("daily-participant-updated", (participant) => {
      if (participant?.local && this.#muted && !vapi.isMuted()) vapi.setMuted(true);
    });
    vapi.on("volume-level", (level) => this.#tell.level("assistant", level));
    vapi.on("local-volume-level", (level) => this.#tell.level("user", level));
    vapi.on("camera-error", (event) => this.#fault(DEVICES[event?.error?.error?.type] ?? "microphone-unusable"));
    vapi.on("error", (event) => this.#fault(classify(event)));
  }

  #status({ status, endedReason }) {
    if (status !== "ended") return;
    const problem = ended(String(endedReason));
    if (problem) this.#tell.failed(problem);
    else this.#tell.over(endedReason);
  }

  #fault(fault) {
    if (fault === "over") return this.#tell.over("");
    if (["network", "stuck"].includes(fault)) return this.#tell.lost(fault);
    if (fault) return this.#tell.failed(fault);
  }

  async #hangUp() {
    if (!this.#vapi) return;
    if (this.#forGood) {
      try {
        this.#vapi.send({ type: "end-call" });
      } catch {
        // Daily sends nothing before one has joined: then there is nobody to tell.
      }
    }
    await this.#vapi.stop().catch(() => {}); // it is left to itself: nothing of it counts any more
  }
}

// Before anything is asked of Vapi, so that a call without a voice is never made.
async function microphone() {
  if (!navigator.mediaDevices) return "unsupported";
  try {
    const stream = await navigator.mediaDevices.getUserMedia({ audio: true });
    for (const track of stream.getTracks()) track.stop();
    return "";
  } catch (error) {
    return MICROPHONE[error.name] ?? "microphone-unusable";
  }
}

const MICROPHONE = {
  __proto__: null,
  NotAllowedError: "microphone-blocked",
  SecurityError: "microphone-blocked",
  NotFoundError: "microphone-missing",
};

// What an endedReason comes down to, or '' where the call ended as calls do.
function ended(reason) {
  if (reason === "customer-did-not-give-microphone-permission") return "microphone-blocked";
  if (reason.includes("concurrency")) return "busy";
  if (/^assistant-not-(found|valid)$/.test(reason)) return "assistant";
  return /error|^pipeline-no-/.test(reason) ? "vapi" : "";
}

// Daily's camera-error, which is about microphones too: https://docs.daily.co/reference/daily-js/events/participant-events
const DEVICES = {
  __proto__: null,
  permissions: "microphone-blocked",
  "not-found": "microphone-missing",
  "undefined-mediadevices": "unsupported",
};

// Daily's fatal errors: https://docs.daily.co/reference/daily-js/events/meeting-events
const FATAL = {
  __proto__: null,
  "connection-error": "network",
  ejected: "over", // how a room is closed that Vapi has ended the call in
  "no-room": "expired",
  "exp-room": "expired",
  "exp-token": "expired",
  "end-of-life": "unsupported",
  "meeting-full": "expired",
  "not-allowed": "vapi",
  "nbf-room": "vapi",
  "nbf-token": "vapi",
};

const HARMLESS = /^(audio-processing-setup|audio-processor-recovery|audio-observer-setup|video-recording-setup)-error$/;

/** What an `error` event of the SDK comes down to, or '' where the call goes on. */
export function classify(event) {
  const error = event?.error ?? {};
  if (HARMLESS.test(event?.type)) return "";
  if (event?.type === "audio-start-failed") return "sound-blocked";
  if (error.error?.type in FATAL) return FATAL[error.error.type];
  // Daily has not let go of the call before yet, or the room could not be entered again.
  if (["daily-call-object-creation-error", "reconnect-error"].includes(event?.type))
    return /duplicate/i.test(error.message) ? "stuck" : "network";
  // What fetch throws when nobody answers; a refusal of Vapi's is its JSON body instead.
  if (error.name === "TypeError") return "network";
  return refusal(error.error);
}

function refusal(body) {
  const said = String(body?.message ?? "");
  if (/concurren/i.test(said) || [402, 429].includes(body?.statusCode)) return "busy";
  if ([401, 403].includes(body?.statusCode)) return "key";
  if (/assistant/i.test(said) && [400, 404].includes(body?.statusCode)) return "assistant";
  return "vapi";
}
