// Unfolds each cell's pictures and texts when its section comes near: they are kept deflated in the page itself.
"use strict";
const kept = JSON.parse(document.getElementById("data").textContent);
const sections = new Map([...document.querySelectorAll(".entry")].map((s) => [s.dataset.cell, s]));

async function inflate(text) {
  const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
  return new Response(stream).text();
}

const unfolded = new Map();
function unfold(name) {
  if (!unfolded.has(name)) unfolded.set(name, inflate(kept[name]).then((html) => {
    const place = sections.get(name).querySelector(".kept");
    place.innerHTML = html;
    place.removeAttribute("aria-busy");
  }));
  return unfolded.get(name);
}

async function follow() {
  const id = decodeURIComponent(location.hash.slice(1));
  const name = [...sections.keys()].find((n) => id === "cell-" + n || id.startsWith(n + "-"));
  if (!name) return;
  await unfold(name);
  if (document.getElementById(id)) location.replace("#" + encodeURIComponent(id)); // it is the target now that it is there
}

if (!("DecompressionStream" in window)) {
  document.getElementById("old").hidden = false;
} else if ("IntersectionObserver" in window) {
  const watch = new IntersectionObserver((seen) => {
    for (const one of seen) if (one.isIntersecting) { watch.unobserve(one.target); unfold(one.target.dataset.cell); }
  }, { rootMargin: "1200px 0px" });
  for (const section of sections.values()) watch.observe(section);
  addEventListener("hashchange", follow);
  addEventListener("beforeprint", () => { for (const name of sections.keys()) unfold(name); });
  follow();
} else {
  for (const name of sections.keys()) unfold(name);
}
