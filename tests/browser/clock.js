// Time that only a test moves. Short waits (a frame, a tick) stay what they are.
(() => {
  const SHORT = 250; // ms
  const [setSoon, clearSoon] = [window.setTimeout, window.clearTimeout].map((own) => own.bind(window));
  const [setOften, clearOften] = [window.setInterval, window.clearInterval].map((own) => own.bind(window));
  const waiting = new Map();
  let now = 60_000;
  let ids = 1_000_000_000;

  const add = (act, wait, every) => {
    waiting.set(++ids, { act, due: now + wait, every });
    return ids;
  };
  const remove = (id) => waiting.delete(id);
  window.setTimeout = (act, wait = 0, ...values) =>
    wait < SHORT ? setSoon(act, wait, ...values) : add(() => act(...values), wait, 0);
  window.setInterval = (act, wait = 0, ...values) =>
    wait < SHORT ? setOften(act, wait, ...values) : add(() => act(...values), wait, wait);
  window.clearTimeout = (id) => remove(id) || clearSoon(id);
  window.clearInterval = (id) => remove(id) || clearOften(id);
  performance.now = () => now;

  window.advance = (wait) => {
    const end = now + wait;
    for (;;) {
      const [id, first] = [...waiting].sort(([, a], [, b]) => a.due - b.due)[0] ?? [0, { due: Infinity }];
      if (first.due > end) break;
      now = first.due;
      if (first.every) first.due += first.every;
      else waiting.delete(id);
      first.act();
    }
    now = end;
  };

  window.violations = [];
  document.addEventListener("securitypolicyviolation", (event) =>
    window.violations.push(`${event.effectiveDirective} ${event.blockedURI} ${event.sourceFile}:${event.lineNumber}`),
  );
})();
