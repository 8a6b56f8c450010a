// The page of one talk: buttons in, words and levels out. All text is set as text, never as HTML.

import { openLine } from "./line.js";
import { Talk, TRIES } from "./talk.js";
import { minutes, name, PROBLEMS, status, tool } from "./words.js";

const ROLES = ["assistant", "user"];

/** Make the call in `root` work. */
export function show(root) {
  const at = (id) => document.getElementById(id);
  const talk = new Talk({ open: openLine(root.dataset), changed: render });
  const lines = []; // of the log, one element for each entry

  at("start").addEventListener("click", () => {
    talk.start();
    at("status").focus(); // the button goes away, and the next press must not be another one's
  });
  at("end").addEventListener("click", () => talk.end());
  at("mute").addEventListener("click", () => talk.mute(!talk.muted));
  document.addEventListener("keydown", (event) => {
    if (!event.altKey || event.ctrlKey || event.metaKey || event.repeat || event.code !== "KeyM" || !talk.busy) return;
    event.preventDefault();
    talk.mute(!talk.muted);
  });
  addEventListener("offline", () => talk.offline());
  addEventListener("online", () => talk.online());
  // A page that is left must not leave a paid call behind.
  addEventListener("pagehide", () => talk.end());
  setInterval(() => talk.startedAt && talk.busy && renderTime(), 1000);
  render("state");

  function render(what) {
    if (what === "levels") return renderLevels();
    // For the console, which need not look for it.
    if (what === "made") return document.dispatchEvent(new CustomEvent("call-made", { detail: talk.id }));
    if (what === "state") renderState();
    if (what === "state" || what === "log") renderLog();
    renderVoices();
    renderLevels();
  }

  function renderState() {
    root.dataset.state = talk.state;
    say(at("status"), status(talk, TRIES));
    say(at("problem"), PROBLEMS[talk.problem] ?? "");
    const left = [at("mute"), at("end")].includes(document.activeElement);
    at("start").textContent = talk.state === "idle" ? "Start the call" : "Start a new call";
    at("start").hidden = talk.busy;
    at("hint").hidden = talk.state !== "idle";
    for (const id of ["mute", "end", "levels"]) at(id).hidden = !talk.busy;
    at("end").textContent = talk.state === "connecting" ? "Cancel" : "End the call";
    at("conversation").hidden = !talk.startedAt;
    if (left && !talk.busy) at("status").focus();
    renderTime();
  }

  function renderTime() {
    const until = talk.busy ? performance.now() : talk.endedAt;
    at("elapsed").hidden = !talk.startedAt;
    at("elapsed").textContent = minutes(until - talk.startedAt);
  }

  function renderVoices() {
    at("mute").setAttribute("aria-pressed", String(talk.muted));
    for (const role of ROLES) {
      const muted = role === "user" && talk.muted;
      at(role).classList.toggle("speaking", talk.speaking[role] && !muted);
      at(role).querySelector(".voice-state").textContent = muted ? "muted" : talk.speaking[role] ? "speaking" : "";
    }
  }

  function renderLevels() {
    for (const role of ROLES) {
      const level = role === "user" && talk.muted ? 0 : Math.min(1, talk.level[role]);
      at(role).querySelector(".meter-fill").style.setProperty("--level", level.toFixed(2));
    }
  }

  function renderLog() {
    if (!talk.log.length) lines.splice(0).forEach((line) => line.remove());
    // Whoever scrolled back to read is left there.
    const scroller = at("scroller");
    const atEnd = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < 40;
    talk.log.forEach((entry, index) => {
      lines[index] ??= at("log").appendChild(line(entry, talk.log[index - 1]));
      fill(lines[index], entry);
    });
    at("provisional").replaceChildren(
      ...ROLES.filter((role) => talk.provisional[role]).map((role) => {
        const entry = { kind: "said", role, text: talk.provisional[role], cut: role === "assistant" && talk.cut };
        return fill(line(entry), entry);
      }),
    );
    at("silence").hidden = talk.log.length > 0 || at("provisional").childElementCount > 0;
    if (atEnd) scroller.scrollTop = scroller.scrollHeight;
  }
}

function line(entry, before) {
  const made = document.createElement("p");
  made.className = `entry ${entry.kind} ${entry.role ?? ""}`;
  // A tool's states are for the eye, and for whoever reads the log: not worth speaking over the assistant.
  if (entry.kind === "tool") made.setAttribute("aria-live", "off");
  if (entry.kind === "said" && entry.role === before?.role) made.classList.add("same");
  made.append(part("who"), " ", part("text"), " ", part("mark"));
  return made;
}

function fill(made, entry) {
  const words = {
    said: () => [name(entry.role), entry.text, entry.cut ? "interrupted" : ""],
    tool: () => ["Tool", entry.name, tool(entry)],
    cut: () => ["You", "", "interrupted"],
  }[entry.kind]();
  if (entry.kind === "tool") made.dataset.state = entry.state;
  ["who", "text", "mark"].forEach((part, index) => say(made.querySelector(`.${part}`), words[index]));
  return made;
}

function part(className) {
  const made = document.createElement("span");
  made.className = className;
  return made;
}

// Only what is new, so that a screen reader does not hear it twice.
function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
