// The console: which calls are live, what happens in one of them, and what an operator wants done. Who has no token of
// `switchboard console` never loads it.

import { actions } from "./actions.js";
import { make, say } from "./elements.js";
import { draw, read, summary } from "./timeline.js";
import { Watch } from "./watch.js";
import { minutes } from "./words.js";

const KEPT = "console"; // in this tab's storage: a token, or that none is needed
const NO_TOKEN = "local";
const SPANS = { "Last minute": 60_000, "Last 5 minutes": 300_000, "Whole call": Infinity };
const WHO = { caller: "Caller speaks", assistant: "Assistant speaks" };

let opened = null;

/** Open the console in `root`, if the address or this tab has a token. The address does not keep it. */
export function open(root) {
  const given = /^#console(?:=(.*))?$/.exec(location.hash);
  if (given) {
    keep(given[1] || NO_TOKEN);
    history.replaceState(null, "", location.pathname);
  }
  const kept = stored();
  if (!kept) return;
  opened?.close();
  opened = show(root, kept === NO_TOKEN ? "" : kept);
  if (given) opened.focus();
}

function show(root, token) {
  const at = {};
  const part = (name, tag, attributes, ...children) => (at[name] = make(tag, { id: `console-${name}`, ...attributes }, ...children));
  const watch = new Watch({ token, changed: render });
  const rows = new Map(); // call or leg -> its element in the list
  let span = "Last minute";
  let drawn = "";

  const styled = style();
  document.body.classList.add("with-console");
  const controls = actions(watch);
  root.replaceChildren(head(), list(), detail());
  root.setAttribute("aria-labelledby", "console-title");
  root.hidden = false;
  const stop = new AbortController();
  const until = { signal: stop.signal };
  document.addEventListener("visibilitychange", () => (document.hidden ? watch.rest() : watch.start()), until);
  document.addEventListener("call-made", (event) => choose(event.detail), until);
  const resized = new ResizeObserver(() => renderTimeline());
  resized.observe(at.drawing);
  render();
  watch.start();

  function head() {
    const close = make("button", { class: "button small", type: "button", text: "Close the console" });
    close.addEventListener("click", () => {
      forget();
      opened?.close();
      opened = null;
      document.getElementById("status")?.focus();
    });
    const top = make("div", { class: "line" }, part("title", "h2", { class: "console-title", text: "Live calls", tabindex: -1 }), close);
    return make(
      "div",
      { class: "console-head" },
      ...[top, part("status", "p", { class: "status", role: "status" }), part("problem", "p", { class: "problem", role: "alert" })],
    );
  }

  function list() {
    const id = make("input", { id: "by-id", class: "field", autocomplete: "off", spellcheck: "false", maxlength: 100 });
    const form = make(
      "form",
      { class: "by-id" },
      make("label", { for: "by-id", text: "Open a call by its id" }),
      make("div", { class: "by-id-line" }, id, make("button", { class: "button small", text: "Open" })),
    );
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (id.value.trim()) choose(id.value.trim());
      id.value = "";
    });
    return part(
      "list",
      "div",
      { class: "card calls-card" },
      part("calls", "ul", { class: "calls", "aria-labelledby": "console-title" }),
      part("empty", "p", { class: "hint" }),
      form,
    );
  }

  function detail() {
    const spans = make("div", { class: "spans", role: "group", "aria-label": "How much of the call is drawn" });
    for (const name of Object.keys(SPANS)) {
      const button = make("button", { class: "button small", type: "button", text: name, "aria-pressed": String(name === span) });
      button.addEventListener("click", () => {
        span = name;
        for (const other of spans.children) other.setAttribute("aria-pressed", String(other === button));
        renderTimeline();
      });
      spans.append(button);
    }
    const drawing = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    drawing.setAttribute("role", "img");
    drawing.setAttribute("class", "timeline");
    at.svg = drawing;
    const head = ["Time", "Who", "What"].map((name) => make("th", { scope: "col", text: name }));
    part("rows", "tbody");
    part(
      "table",
      "div",
      { class: "table", tabindex: 0, role: "region", "aria-labelledby": "console-caption" },
      make(
        "table",
        {},
        make("caption", { id: "console-caption", text: "Everything in order" }),
        make("thead", {}, make("tr", {}, ...head)),
        at.rows,
      ),
    );
    return part(
      "call",
      "article",
      { class: "card call-card", "aria-labelledby": "call-title", hidden: true },
      make(
        "div",
        { class: "call-head" },
        part("name", "h3", { id: "call-title", class: "call-title", tabindex: -1 }),
        part("now", "p", { class: "now-line" }),
      ),
      part("ids", "p", { class: "ids" }),
      part("missing", "p", { class: "hint", role: "status" }),
      controls.root,
      part(
        "story",
        "div",
        { class: "story" },
        spans,
        part("older", "p", { class: "hint" }),
        part("drawing", "div", { class: "drawing" }, drawing),
        make("p", { class: "legend", "aria-hidden": "true" }, ...legend()),
        part("hidden-words", "p", { class: "hint", text: "Words show as sizes. A token of `switchboard console --words` shows them." }),
        at.table,
      ),
    );
  }

  function legend() {
    const marks = { said: "○ final words", cut: "◆ the caller interrupts", delivery: "● a result is given", bad: "● went wrong" };
    return Object.entries(marks).flatMap(([name, text]) => [make("span", { class: `legend-${name}`, text }), " "]);
  }

  function choose(id) {
    controls.reset();
    drawn = "";
    watch.choose(id);
    at.name.focus();
  }

  function render() {
    renderState();
    renderList();
    renderCall();
  }

  function renderState() {
    const state = {
      starting: "Looking…",
      watching: "Watching",
      paused: "Paused: nobody looks",
      trying: `No answer. Trying again in ${Math.round(watch.pause / 1000)} s`,
      refused: "Not watching",
    };
    root.dataset.state = { watching: "live", trying: "reconnecting", refused: "failed" }[watch.state] ?? "idle";
    say(at.status, state[watch.state]);
    say(at.problem, watch.state === "refused" ? watch.problem : "");
    at.list.hidden = watch.state === "refused";
    if (watch.state === "refused") forget();
  }

  function renderList() {
    const listed = watch.calls.map((call) => [call.call || call.leg, call]);
    for (const [id, row] of rows)
      if (!listed.some(([other]) => other === id)) {
        row.remove();
        rows.delete(id);
      }
    listed.forEach(([id, call], index) => {
      if (!rows.has(id)) rows.set(id, entry(id));
      const row = rows.get(id);
      fill(row, call);
      if (at.calls.children[index] !== row) at.calls.insertBefore(row, at.calls.children[index] ?? null);
    });
    const none = "No call is under way.";
    say(at.empty, listed.length ? (watch.more ? "There are more calls than fit in here." : "") : watch.state === "starting" ? "" : none);
    at.empty.hidden = !at.empty.textContent;
  }

  function entry(id) {
    const button = make("button", { class: "call-button", type: "button" });
    for (const name of ["who", "since", "chips"]) button.append(make("span", { class: `call-${name}` }), " ");
    button.addEventListener("click", () => choose(id));
    return make("li", {}, button);
  }

  function fill(row, call) {
    const [button] = row.children;
    const [who, since, chips] = button.children;
    say(who, call.caller ? `Caller ${call.caller}` : call.call ? "Caller not known" : "Not answered yet");
    say(since, call.ended ? "ended" : minutes(watch.now - call.since));
    button.disabled = !call.call;
    button.setAttribute("aria-current", String((call.call || call.leg) === watch.chosen));
    const told = [call.ended ? "" : WHO[call.speaks], call.transfer && `transfer: ${call.transfer.replace("_", " ")}`];
    const often = (tool) => call.tools.filter((other) => other === tool).length;
    told.push(...new Set(call.tools.map((tool) => `runs ${tool}${often(tool) > 1 ? ` ×${often(tool)}` : ""}`)));
    const texts = told.filter(Boolean);
    if (chips.dataset.texts === texts.join("|")) return;
    chips.dataset.texts = texts.join("|");
    chips.replaceChildren(...texts.flatMap((text) => [make("span", { class: "chip", text }), " "]));
  }

  function renderCall() {
    const { call, missing } = watch;
    at.call.hidden = !watch.chosen;
    if (!watch.chosen) return;
    say(at.name, call?.caller ? `Caller ${call.caller}` : "Call");
    say(at.missing, missing || (call ? "" : "Looking…"));
    at.missing.hidden = !at.missing.textContent;
    at.story.hidden = !call;
    say(at.ids, call ? [call.call, call.leg].filter(Boolean).join(" · ") : watch.chosen);
    say(at.older, call?.older ? `Older ones are left out here: switchboard call ${call.call}` : "");
    at.older.hidden = !call?.older;
    at["hidden-words"].hidden = !call || call.words;
    controls.render();
    if (!call) return say(at.now, "");
    say(at.now, call.ended ? `Ended${call.ended_reason && `: ${call.ended_reason}`}` : WHO[call.speaks] ?? "Nobody speaks");
    at.now.dataset.who = call.ended ? "ended" : call.speaks;
    renderTimeline();
  }

  function renderTimeline() {
    const { call, seen } = watch;
    const width = Math.floor(at.drawing.clientWidth);
    if (!call || !call.events.length || width < 100) return;
    const story = read(call, seen, watch.now);
    draw(at.svg, story, width, Math.max(story.began, story.to - SPANS[span]));
    const told = summary(story);
    if (at.svg.getAttribute("aria-label") !== told) at.svg.setAttribute("aria-label", told);
    renderRows(story.rows);
  }

  function renderRows(list) {
    const key = JSON.stringify(list);
    if (key === drawn) return;
    drawn = key;
    const atEnd = at.table.scrollHeight - at.table.scrollTop - at.table.clientHeight < 40;
    at.rows.replaceChildren(
      ...list.map((row) => {
        const what = make("td", {}, ...(row.ok ? [] : [make("span", { class: "bad-mark", text: "✗ " })]), row.text);
        return make(
          "tr",
          { class: `row ${row.who} ${row.ok ? "" : "bad"}` },
          make("td", { class: "time", text: row.time }),
          make("td", { class: "who", text: row.who }),
          what,
        );
      }),
    );
    if (atEnd) at.table.scrollTop = at.table.scrollHeight;
  }

  return {
    focus: () => at.title.focus(),
    close() {
      stop.abort();
      resized.disconnect();
      watch.stop();
      root.replaceChildren();
      root.hidden = true;
      document.body.classList.remove("with-console");
      styled.remove();
    },
  };
}

function style() {
  const made = make("link", { rel: "stylesheet", href: "/assets/console.css" });
  document.head.append(made);
  return made;
}

// A browser may forbid a page to store anything: then the token lives as long as the page.

let memory = "";

function stored() {
  try {
    return sessionStorage.getItem(KEPT) ?? memory;
  } catch {
    return memory;
  }
}

function keep(token) {
  memory = token;
  try {
    sessionStorage.setItem(KEPT, token);
  } catch {
    return;
  }
}

function forget() {
  memory = "";
  try {
    sessionStorage.removeItem(KEPT);
  } catch {
    return;
  }
}
