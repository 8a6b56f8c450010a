// A call as a drawing and as a table: the same things, once for the eye and once for whoever reads them in order.

import { minutes } from "./words.js";

const SVG = "http://www.w3.org/2000/svg";
const SHORTEST = 20_000; // ms that the drawing spans at least, so that a young call does not jump
const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200]; // s between two times on the axis
const TICK = 64; // px that a time on the axis needs
const ROW = 26;
const AXIS = 22;
const BAR = 14;
const LETTER = 6.4; // px, more or less, of the labels' font
const ROWS = 5; // of tools, at most

const NAMES = { caller: "Caller", assistant: "Assistant", tool: "Tools", delivery: "Delivery", phone: "Phone" };
const OF_PHONE = ["phone", "session", "transfer"];

/** Everything of a call that has a time: spans and marks by lane, and rows of text. */
export function read(call, seen, now) {
  const events = call.events.filter((event) => !["speech", "silence", "interruption"].includes(event.kind));
  const tools = toolsOf(events, call.ended, now);
  const began = Math.min(...call.events.map((event) => event.at));
  const last = Math.max(...call.events.map((event) => event.at));
  const to = call.ended ? last : now;
  const speech = ["caller", "assistant"].flatMap((who) =>
    seen.speech[who].map((span) => ({ who, start: span.start, end: span.end || to, open: !span.end })),
  );
  const [first] = events.filter((event) => OF_PHONE.includes(event.who));
  return {
    began,
    to,
    since: seen.since,
    live: !call.ended,
    speech,
    tools,
    interruptions: seen.interruptions,
    said: events.filter((event) => event.kind === "said"),
    deliveries: events.filter((event) => event.kind === "delivery"),
    line: first && { start: first.at, end: to },
    steps: events.filter((event) => OF_PHONE.includes(event.who) && !["began", "report"].includes(event.kind)),
    rows: rowsOf(events, speech, seen.interruptions, began),
  };
}

function toolsOf(events, ended, now) {
  const tools = new Map();
  for (const event of events.filter((event) => event.who === "tool")) {
    const known = tools.get(event.id) ?? { name: event.tool, start: event.at, end: 0, attempts: 0, state: "", ok: true };
    if (event.kind === "attempt") known.attempts = event.attempt;
    if (event.kind === "settled" || event.kind === "repeated") known.end = event.at;
    if (event.kind === "settled") known.state = event.state.toLowerCase();
    if (event.kind === "repeated") known.state = "a repetition";
    if (event.kind === "released") known.start = event.at;
    known.ok &&= event.ok || event.kind === "open";
    tools.set(event.id, known);
  }
  return [...tools.values()].map((tool) => ({ ...tool, open: !tool.end, end: tool.end || now, waits: !tool.end && ended }));
}

function rowsOf(events, speech, interruptions, began) {
  const rows = events.map((event) => ({ at: event.at, who: event.who, text: event.text, ok: event.ok }));
  for (const { who, start, end, open } of speech)
    rows.push({ at: start, who, text: open ? "is speaking" : `spoke for ${seconds(end - start)}`, ok: true });
  for (const at of interruptions) rows.push({ at, who: "caller", text: "interrupts the assistant", ok: true });
  rows.sort((one, other) => one.at - other.at);
  return rows.map((row) => ({ ...row, time: clock(row.at - began) }));
}

const clock = (milliseconds) =>
  `${minutes(milliseconds)}.${String(Math.floor((Math.max(0, milliseconds) % 1000) / 100))}`;
const seconds = (milliseconds) => `${(milliseconds / 1000).toFixed(1)} s`;

/** What the drawing shows, in a sentence. */
export function summary(story) {
  const running = story.tools.filter((tool) => tool.open).length;
  const parts = [
    `${minutes(story.to - story.began)} minutes`,
    counted(story.interruptions.length, "interruption", "interruptions"),
    `${counted(story.tools.length, "tool call", "tool calls")}, ${running} of them running`,
    counted(story.deliveries.length, "delivery", "deliveries"),
  ];
  return `Timeline: ${parts.join(", ")}. The table below says the same.`;
}

const counted = (number, one, many) => `${number} ${number === 1 ? one : many}`;

/** Draw a story into `root`, an SVG element `width` pixels wide, from `from` on. */
export function draw(root, story, width, from) {
  const left = 84;
  const right = 8;
  const to = Math.max(story.to, from + SHORTEST);
  const x = (at) => left + ((at - from) / (to - from)) * (width - left - right);
  const tools = stacked(story.tools, x, width);
  const lanes = [["caller", 1], ["assistant", 1], ["tool", Math.max(1, tools.rows)], ["delivery", 1], ["phone", 1]];
  const tops = {};
  let height = AXIS;
  for (const [name, rows] of lanes) {
    tops[name] = height;
    height += rows * ROW + 6;
  }
  const middle = (lane, row = 0) => tops[lane] + 3 + row * ROW + ROW / 2;
  const inside = (at) => at >= from && at <= to;
  const made = [];
  const add = (tag, attributes, text) => {
    const element = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    if (text !== undefined) element.textContent = text;
    made.push(element);
    return element;
  };
  const bar = (kind, start, end, y) => {
    const x1 = Math.max(left, x(start));
    const length = Math.max(3, x(Math.min(end, to)) - x1);
    return add("rect", { class: `span ${kind}`, x: x1, y: y - BAR / 2, width: length, height: BAR, rx: 4 });
  };

  for (const [name, rows] of lanes) {
    add("rect", { class: "lane", x: 0, y: tops[name], width, height: rows * ROW + 6 });
    add("text", { class: "lane-name", x: 8, y: tops[name] + 3 + ROW / 2 }, NAMES[name]);
  }
  axis(add, story, x, { from, to, width: width - left - right, height });
  // Before somebody watched, nobody knows who spoke.
  if (story.since > from) {
    const x2 = Math.min(x(story.since), width - right);
    add("rect", { class: "unseen", x: left, y: tops.caller, width: Math.max(0, x2 - left), height: 2 * (ROW + 6) });
    if (x2 - left > 130) add("text", { class: "note", x: left + 8, y: middle("caller") }, "not watched yet");
  }
  for (const span of story.speech)
    if (span.end >= from) bar(`speech ${span.who} ${span.open ? "open" : ""}`, span.start, span.end, middle(span.who));
  for (const said of story.said.filter((said) => inside(said.at) && said.who in tops))
    add("circle", { class: `said ${said.who}`, cx: x(said.at), cy: middle(said.who), r: 4 }, "").append(title(said.text));
  for (const at of story.interruptions.filter(inside)) {
    add("line", { class: "cut", x1: x(at), x2: x(at), y1: tops.caller + 2, y2: tops.tool - 4 });
    add("path", { class: "cut-mark", d: diamond(x(at), tops.assistant) }).append(title("The caller interrupts"));
  }
  for (const { tool, row } of tools.placed) {
    const y = middle("tool", row);
    bar(`tool ${tool.open ? "open" : ""} ${tool.ok ? "" : "bad"}`, tool.start, tool.end, y).append(title(label(tool)));
    const end = x(Math.min(tool.end, to)) + 6;
    const space = width - end > label(tool).length * LETTER;
    const place = space ? { x: end } : { x: Math.max(left, x(tool.start)) - 6, "text-anchor": "end" };
    add("text", { class: `label ${tool.ok ? "" : "bad"}`, y, ...place }, label(tool));
  }
  marks(add, story.deliveries.filter((one) => inside(one.at)), (one) => one.outcome, x, middle("delivery"), { start: left, width });
  if (story.line && story.line.end >= from) bar("leg", story.line.start, story.line.end, middle("phone"));
  marks(add, story.steps.filter((one) => inside(one.at)), (one) => one.kind, x, middle("phone"), { start: left, width });
  if (story.live) add("line", { class: "now", x1: x(story.to), x2: x(story.to), y1: AXIS - 4, y2: height });
  root.setAttribute("width", width);
  root.setAttribute("height", height);
  root.setAttribute("viewBox", `0 0 ${width} ${height}`);
  root.replaceChildren(...made);
}

function axis(add, story, x, { from, to, width, height }) {
  const most = Math.max(2, Math.floor(width / TICK));
  const edge = x(to) - 10; // beyond it a time would be cut off
  const step = 1000 * (STEPS.find((step) => (to - from) / (step * 1000) <= most) ?? 14_400);
  const first = Math.ceil((from - story.began) / step) * step;
  for (let time = first; story.began + time <= to; time += step) {
    const at = x(story.began + time);
    add("line", { class: "grid", x1: at, x2: at, y1: AXIS - 4, y2: height });
    if (at < edge) add("text", { class: "time", x: at, y: AXIS - 11 }, minutes(time));
  }
}

// Marks with a word beside them, where there is room for it.
function marks(add, list, word, x, y, { start, width }) {
  let free = start;
  list.forEach((one, index) => {
    const at = x(one.at);
    const text = word(one).replaceAll("_", " ");
    add("circle", { class: `mark ${one.who} ${one.ok ? "" : "bad"}`, cx: at, cy: y, r: 5 }).append(title(one.text));
    const need = 9 + text.length * LETTER;
    const next = list[index + 1] ? x(list[index + 1].at) - 8 : width;
    const fits = at + need < next;
    if (fits) add("text", { class: `label ${one.ok ? "" : "bad"}`, x: at + 9, y }, text);
    else if (at - need > free)
      add("text", { class: `label ${one.ok ? "" : "bad"}`, x: at - 9, y, "text-anchor": "end" }, text);
    free = fits ? at + need : at + 8;
  });
}

// Tools whose bars or names would overlap stand in rows of their own.
function stacked(tools, x, width) {
  const ends = [];
  const placed = tools
    .filter((tool) => x(tool.end) > 0)
    .map((tool) => {
      const need = label(tool).length * LETTER + 12;
      const fits = width - x(tool.end) > need;
      const [start, end] = fits ? [x(tool.start), x(tool.end) + need] : [x(tool.start) - need, x(tool.end) + 4];
      let row = ends.findIndex((taken) => taken <= start);
      if (row < 0) row = ends.length < ROWS ? ends.length : ROWS - 1;
      ends[row] = Math.max(ends[row] ?? 0, end);
      return { tool, row };
    });
  return { placed, rows: ends.length };
}

function label(tool) {
  const took = tool.open ? (tool.waits ? "waits" : "running") : seconds(tool.end - tool.start);
  const tries = tool.attempts > 1 ? `, attempt ${tool.attempts}` : "";
  const state = ["", "succeeded"].includes(tool.state) ? "" : `, ${tool.state}`;
  return `${tool.name} ${took}${tries}${state}`;
}

function title(text) {
  const made = document.createElementNS(SVG, "title");
  made.textContent = text;
  return made;
}

const diamond = (x, y) => `M${x} ${y - 7}l6 6l-6 6l-6-6z`;
