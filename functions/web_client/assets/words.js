// What the page says.

export const PROBLEMS = {
  "microphone-blocked": "The microphone is blocked. Allow it for this page in your browser, then start again.",
  "microphone-missing": "No microphone was found. Connect one, then start again.",
  "microphone-unusable": "The microphone cannot be used. Perhaps another program has it; close that, then start again.",
  "sound-blocked": "The browser did not let the assistant be heard. Start again, and stay on this page meanwhile.",
  unsupported: "This browser cannot make the call. A current Chrome, Edge, Firefox or Safari can, over https.",
  network: "The connection is lost, and trying again did not help. Check your network, then start again.",
  stuck: "The call before has not let go of this page. Reload it, then start again.",
  key: "Vapi does not accept this page's key: it is wrong, or not allowed for this address.",
  assistant: "Vapi does not know the assistant of this page.",
  busy: "All lines are taken. Please try again in a minute.",
  expired: "The call is over and cannot be joined again. Start a new one.",
  vapi: "Vapi could not carry the call. Please try again in a minute.",
};

const ENDINGS = {
  __proto__: null, // what Vapi says is looked up here
  you: "You ended the call",
  left: "You left. The call ends when the assistant has heard nobody for a while.",
  "customer-ended-call": "You ended the call",
  "assistant-ended-call": "The assistant ended the call",
  "assistant-said-end-call-phrase": "The assistant ended the call",
  "assistant-forwarded-call": "The assistant passed the call on",
  "silence-timed-out": "The call ended because nobody spoke",
  "exceeded-max-duration": "The call reached its longest time",
};

/** One line for the state of a talk. */
export function status(talk, tries) {
  if (talk.asking) return "Allow the microphone in your browser…";
  switch (talk.state) {
    case "idle":
      return "Ready when you are";
    case "connecting":
      return "Connecting…";
    case "live":
      return "Connected";
    case "reconnecting":
      if (talk.waiting) return "You are offline. The call goes on when the network is back.";
      if (!talk.tries) return "The connection is interrupted…";
      return `Connection lost. Trying again, ${talk.tries} of ${tries}…`;
    case "ended":
      return ENDINGS[talk.ending] ?? "The call has ended";
    case "failed":
      return "No call";
  }
}

const WHO = { assistant: "Assistant", user: "You" };
export const name = (role) => WHO[role];

export function tool(entry) {
  switch (entry.state) {
    case "running":
      return "running…";
    case "answered":
      return `done in ${(entry.took / 1000).toFixed(1)} s`;
    default:
      return "no answer";
  }
}

export function minutes(milliseconds) {
  const seconds = Math.max(0, Math.floor(milliseconds / 1000));
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
}
