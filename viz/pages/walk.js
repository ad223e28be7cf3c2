"use strict";
// Frames are drawn already; the page shows one of them and says what it shows.
(() => {
  const { said, focus } = JSON.parse(document.getElementById("data").textContent);
  const by = id => document.getElementById(id);
  const last = said.length - 1;
  let at = 0, timer = null;
  const show = n => {
    at = Math.max(0, Math.min(last, n));
    said.forEach((_, k) => by("frame-" + k).toggleAttribute("hidden", k !== at));
    const text = `Frame ${at} of ${last}: ${said[at]}`;
    by("status").textContent = text;
    by("range").value = at;
    by("range").setAttribute("aria-valuetext", text);
    for (const [id, end] of [["first", 0], ["back", 0], ["next", last], ["last", last]])
      by(id).setAttribute("aria-disabled", String(at === end));
    const box = by("picture"); // where it is wider than the screen, the frame's own step is in sight
    box.scrollTo({ left: focus[at] - box.clientWidth / 2, behavior: "auto" });
  };
  const go = n => { show(n); history.replaceState(null, "", "#frame=" + at); };
  const stop = () => { clearTimeout(timer); timer = null; by("play").setAttribute("aria-pressed", "false"); };
  const acts = { first: () => go(0), back: () => go(at - 1), next: () => go(at + 1), last: () => go(last) };
  Object.entries(acts).forEach(([id, act]) => by(id).addEventListener("click", () => { stop(); act(); }));
  by("play").addEventListener("click", () => {
    if (timer !== null) return stop();
    by("play").setAttribute("aria-pressed", "true");
    if (at === last) go(0);
    const tick = () => { if (at >= last) return stop(); go(at + 1); timer = setTimeout(tick, 1400); };
    timer = setTimeout(tick, 400);
  });
  by("range").addEventListener("input", event => { stop(); go(Number(event.target.value)); });
  const keys = { ArrowLeft: acts.back, ArrowDown: acts.back, ArrowRight: acts.next, ArrowUp: acts.next, Home: acts.first, End: acts.last };
  by("toolbar").addEventListener("keydown", event => {
    if (!keys[event.key] || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    stop();
    keys[event.key]();
  });
  const linked = () => { const found = /frame=(\d+)/.exec(location.hash); return found ? Number(found[1]) : 0; };
  window.addEventListener("hashchange", () => show(linked()));
  show(linked());
})();
