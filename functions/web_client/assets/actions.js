// What an operator can do to a call: each is asked for once more before it is done, and says what came of it.

import { make, say } from "./elements.js";

const MOST = 500; // characters to be said
const SUMMARY = 400;
const DONE = {
  say: "The assistant has been told to say it.",
  transfer: "The caller is being put through.",
  end: "The call is being ended.",
};
const LOST = "No answer came. Asking again is safe: it is the same request, and it is not done twice.";

/** The controls of a call. `render(watch)` shows which of them can be used now. */
export function actions(watch) {
  const text = make("input", { id: "say-text", class: "field", maxlength: MOST, autocomplete: "off", required: true });
  const people = make("select", { id: "transfer-person", class: "field" });
  const summary = make("input", { id: "transfer-summary", class: "field", maxlength: SUMMARY, autocomplete: "off" });
  const summaryField = field(summary, "Summary for them (optional)");
  const forms = {
    say: form("say", "Say", [field(text, "Have the assistant say")], () => ({
      title: "Have the assistant say this?",
      detail: `“${text.value.trim()}”`,
      order: { text: line(text.value) },
    })),
    transfer: form("transfer", "Put through", [field(people, "Put the caller through to"), summaryField], () => ({
      title: `Put the caller through to ${people.value}?`,
      detail:
        watch.call?.transfers === "ours"
          ? "The caller is put on hold, and comes back to the assistant if nobody takes the call."
          : "Vapi puts the caller through and leaves the call. The caller does not come back.",
      order: { person: people.value, ...(summary.value.trim() && { summary: line(summary.value) }) },
    })),
    end: form("end", "End the call", [], () => ({
      title: "End this call?",
      detail: "The caller hears nothing more.",
      order: {},
    })),
  };
  forms.end.querySelector("button").classList.add("danger");
  const result = make("p", { id: "result", class: "result", role: "status" });
  const title = make("h2", { class: "dialog-title", id: "confirm-title" });
  const detail = make("p", { class: "dialog-detail", id: "confirm-detail" });
  const lost = make("p", { class: "problem", role: "alert" });
  const yes = make("button", { id: "confirm", class: "button primary", type: "button" });
  const no = make("button", { id: "cancel", class: "button", type: "button", text: "Cancel" });
  const dialog = make(
    "dialog",
    { class: "dialog", "aria-labelledby": "confirm-title", "aria-describedby": "confirm-detail" },
    ...[title, detail, lost, make("div", { class: "controls" }, yes, no)],
  );
  const root = make(
    "section",
    { class: "actions", "aria-label": "What you can do", hidden: true },
    ...[forms.say, forms.transfer, forms.end, result, dialog],
  );
  let pending = null; // {action, order, call, chosen}: Vapi's id of the call, and what it was opened by

  no.addEventListener("click", () => dialog.close());
  yes.addEventListener("click", perform);
  dialog.addEventListener("close", () => {
    pending = null;
    // The dialog gives the focus back by itself, unless what had it is gone.
    if (root.hidden) document.getElementById("call-title")?.focus();
  });

  function form(kind, name, fields, ask) {
    const button = make("button", { class: "button", type: "submit", text: name });
    const made = make("form", { class: `action action-${kind}`, autocomplete: "off" }, ...fields, button);
    made.addEventListener("submit", (event) => {
      event.preventDefault();
      confirm(kind, name, ask());
    });
    return made;
  }

  function confirm(action, name, { title: question, detail: words, order }) {
    if (!watch.call || (action === "say" && !order.text)) return;
    pending = { action, order: { id: watch.requestId(), ...order }, call: watch.call.call, chosen: watch.chosen };
    say(title, question);
    say(detail, words);
    say(lost, "");
    say(result, "");
    yes.textContent = name;
    yes.disabled = false;
    yes.classList.toggle("danger", action === "end");
    yes.classList.toggle("primary", action !== "end");
    dialog.showModal();
  }

  async function perform() {
    const asked = pending;
    const { action, order, call, chosen } = asked;
    if (chosen !== watch.chosen) return dialog.close();
    yes.disabled = true;
    say(lost, "");
    try {
      const { outcome, message } = await watch.act(call, action, order);
      if (chosen !== watch.chosen) return; // it is in the audit, and no news of the call that is open now
      result.dataset.outcome = outcome;
      say(result, outcome === "done" ? DONE[action] : message);
      if (outcome === "done" && action === "say") text.value = "";
      if (pending === asked) dialog.close();
    } catch {
      if (pending !== asked) return;
      say(lost, LOST);
      yes.textContent = "Ask again";
      yes.disabled = false;
      yes.focus();
    }
  }

  return {
    root,
    reset() {
      say(result, "");
      if (dialog.open) dialog.close();
    },
    render() {
      const can = watch.call?.can ?? [];
      const left = !can.length && root.contains(document.activeElement) && !dialog.open;
      root.hidden = !can.length && !dialog.open && !result.textContent;
      for (const [action, made] of Object.entries(forms)) made.hidden = !can.includes(action);
      summaryField.hidden = watch.call?.transfers !== "ours";
      const shown = Array.from(people.options, (option) => option.value);
      if (shown.join() !== watch.people.join())
        people.replaceChildren(...watch.people.map((name) => make("option", { value: name, text: name })));
      if (left) document.getElementById("call-title")?.focus();
    },
  };
}

function field(control, name) {
  return make("p", { class: "action-field" }, make("label", { for: control.id, text: name }), control);
}

const line = (text) => text.replace(/\s+/g, " ").trim();
