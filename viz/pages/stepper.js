"use strict";
// The whole page is a function of the step: show(k) sets everything, so going back restores what was there.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const by = id => document.getElementById(id);
  const ops = data.ops, F = data.forward.length, last = data.last;
  const born = new Map(data.forward.map((k, n) => [k, n + 1]));
  const sentAt = new Map(data.backward.map((k, n) => [k, F + 2 + n]));
  const nodes = new Map(); // element id -> operations drawn there
  ops.forEach((op, k) => op.els.forEach(id => nodes.has(id) ? nodes.get(id).push(k) : nodes.set(id, [k])));
  const order = data.order.filter(id => nodes.has(id) && by(id));
  const wires = new Map(); // element id -> [step, ramp, width]
  data.sent.forEach(s => s.els.forEach(id => wires.has(id) ? wires.get(id).push(s) : wires.set(id, [s])));
  const base = new Map([...order, ...wires.keys()].filter(by).map(id => [id, by(id).getAttribute("class")]));
  const sends = new Map(); // operation -> its messages
  data.sent.forEach(s => sends.has(s.op) ? sends.get(s.op).push(s) : sends.set(s.op, [s]));
  let step = 0, picked = null, timer = null;

  const known = (k, at) => !born.has(k) || born.get(k) <= at;
  const adjoint = (k, at) => {
    let found = null;
    for (const change of ops[k].adj) { if (change[0] > at) break; found = change; }
    return found;
  };
  const current = at => at === 0 ? null : at <= F ? data.forward[at - 1] : at === F + 1 ? data.root : data.backward[at - F - 2];
  const sentence = at => {
    const lead = `Step ${at} of ${last}`;
    if (at === 0) return `${lead}: the leaves have their values, nothing is computed yet.`;
    const op = ops[current(at)];
    if (at <= F) return `${lead}, forward pass: ${op.name} ${op.named ? "computes " + op.title + " = " : "gives "}${op.value}.`;
    if (at === F + 1) return `${lead}, backward pass: the adjoint of ${op.title} is ${adjoint(data.root, at)[1]}.`;
    const to = (sends.get(current(at)) || []).map(s => ops[s.to].title);
    return `${lead}, backward pass: ${op.title} sends its adjoint, by the rule of ${op.name}, to ${to.length ? [...new Set(to)].join(" and ") : "no input"}.`;
  };

  const element = (tag, text, cls) => {
    const made = document.createElement(tag);
    if (text !== undefined) made.textContent = text;
    if (cls) made.className = cls;
    return made;
  };
  const fill = (target, children) => target.replaceChildren(...children);
  const formula = html => { const made = element("div", undefined, "formula"); made.innerHTML = html; return made; };
  const table = (head, rows) => {
    const made = element("table"), top = element("tr");
    head.forEach(h => { const c = element("th", h); c.scope = "col"; top.append(c); });
    const thead = element("thead"), body = element("tbody");
    thead.append(top);
    rows.forEach(r => { const row = element("tr"); r.forEach((c, n) => row.append(element("td", c, n ? "value" : ""))); body.append(row); });
    made.append(thead, body);
    return made;
  };

  const showRule = at => {
    const k = current(at), out = [];
    if (k === null) { fill(by("rule"), [element("p", "Press Next to compute the first operation.", "small")]); return; }
    const op = ops[k], rule = data.rules[op.rule], back = at > F + 1;
    out.push(element("p", op.title === op.name ? op.name : `${op.title}: ${op.name}`, "code"));
    if (at === F + 1) out.push(element("p", "The derivative of the loss by itself is one. From here the rules carry it to every input.", "small"));
    else if (rule) {
      if (!back) out.push(formula(rule.forward));
      else op.ins.forEach((i, n) => { if (i.to !== null && rule.back[n]) out.push(formula(rule.back[n])); });
      if (back && rule.kinks) out.push(element("p", "At kinks: " + rule.kinks, "small"));
      if (back && rule.keeps) out.push(element("p", "It reads " + rule.keeps + ".", "small"));
    }
    const mine = new Map((sends.get(k) || []).map(s => [s.place, s.text])), g = adjoint(k, at);
    const called = (title, n) => { const own = rule && (rule.names || [])[n]; return own && own !== title ? `${own} = ${title}` : title; };
    const inputs = op.ins.map((i, n) => [called(i.title, n), i.value, mine.has(n) ? "+= " + mine.get(n) : "—"]);
    out.push(at > F
      ? table(["", "value", "adjoint"], [["y, the result", op.value, g[1]], ...inputs])
      : table(["", "value"], [...inputs.map(row => row.slice(0, 2)), ["y, the result", op.value]]));
    if (op.line) out.push(element("p", op.line, "code"));
    fill(by("rule"), out);
  };

  const showPicked = at => {
    if (picked === null) { fill(by("node"), [element("p", "Choose a node of the picture to keep its value and adjoint here.", "small")]); return; }
    const rows = nodes.get(picked).slice(0, 40).map(k => {
      const g = adjoint(k, at);
      return [ops[k].title, known(k, at) ? ops[k].value : "not yet", g ? g[1] : "not yet"];
    });
    fill(by("node"), [table(["node", "value", "adjoint"], rows)]);
  };

  const describe = (id, at) => {
    const k = nodes.get(id)[nodes.get(id).length - 1], g = adjoint(k, at);
    return `${ops[k].title}, ${ops[k].name}, value ${known(k, at) ? ops[k].value : "not yet"}, adjoint ${g ? g[1] : "not yet"}`;
  };

  const show = (at, quiet) => {
    step = Math.max(0, Math.min(last, at));
    const now = current(step);
    for (const id of order) {
      const el = by(id), mine = nodes.get(id), here = now !== null && mine.includes(now);
      const marks = [[!mine.some(k => known(k, step)), "later"], [here && step <= F, "now"],
        [here && step > F, "back-now"], [id === picked, "picked"]];
      el.setAttribute("class", base.get(id) + marks.map(([on, name]) => on ? " " + name : "").join(""));
      el.setAttribute("aria-label", describe(id, step));
      el.setAttribute("aria-pressed", String(id === picked));
      const value = by(id + "-v"), adj = by(id + "-a");
      if (value) {
        const g = adjoint(mine[0], step);
        value.textContent = known(mine[0], step) ? ops[mine[0]].short : "·";
        adj.textContent = g ? "∂ " + g[2] : "";
      }
    }
    wires.forEach((sent, id) => {
      const el = by(id);
      if (!el) return;
      let hit = null;
      sent.forEach(s => { if (s.step <= step && (hit === null || s.step >= hit.step)) hit = s; });
      el.setAttribute("class", base.get(id) + (hit === null ? "" : " hot r" + hit.ramp));
      el.querySelectorAll(".wire").forEach(path => {
        if (hit === null) path.removeAttribute("style"); else path.setAttribute("style", "stroke-width:" + hit.width);
      });
    });
    const eq = now === null ? null : ops[now].eq;
    document.querySelectorAll("#equations li").forEach(li => {
      const on = eq !== null && li.id === "eq-" + eq;
      li.classList.toggle("on", on);
      if (on) li.setAttribute("aria-current", "true"); else li.removeAttribute("aria-current");
    });
    const said = sentence(step);
    by("range").value = step;
    by("range").setAttribute("aria-valuetext", said);
    by("status").textContent = said;
    for (const [id, end] of [["first", 0], ["back", 0], ["next", last], ["last", last]]) // focus stays where it is
      by(id).setAttribute("aria-disabled", String(step === end));
    showRule(step);
    showPicked(step);
    document.querySelectorAll("#tape tr[data-op]").forEach(row => {
      const k = Number(row.dataset.op), g = adjoint(k, step);
      row.children[2].textContent = known(k, step) ? ops[k].value : "not yet";
      row.children[3].textContent = g ? g[1] : "not yet";
    });
    if (!quiet) address();
    reveal(now, quiet);
  };

  // Browsers refuse more than a few hundred changes of the address in half a minute.
  let pending = null, changed = 0;
  const address = () => {
    clearTimeout(pending);
    const write = () => { changed = Date.now(); history.replaceState(null, "", "#step=" + step); };
    if (Date.now() - changed > 250) write(); else pending = setTimeout(write, 250);
  };

  const reveal = (now, at_once) => {
    const el = now === null ? null : by((ops[now].els || [])[0]);
    const box = by("picture");
    if (!el || !box) return;
    const a = el.getBoundingClientRect(), b = box.getBoundingClientRect();
    const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    if (a.left < b.left + 20 || a.right > b.right - 20)
      box.scrollTo({ left: box.scrollLeft + a.left - b.left - b.width / 2, behavior: calm || at_once ? "auto" : "smooth" });
  };

  const stop = () => { clearTimeout(timer); timer = null; by("play").setAttribute("aria-pressed", "false"); };
  const play = () => {
    if (timer !== null) return stop();
    by("play").setAttribute("aria-pressed", "true");
    if (step === last) show(0);
    const tick = () => { if (step >= last) return stop(); show(step + 1); timer = setTimeout(tick, 650); };
    timer = setTimeout(tick, 200);
  };
  const go = { first: () => show(0), back: () => show(step - 1), next: () => show(step + 1), last: () => show(last) };
  Object.entries(go).forEach(([id, act]) => by(id).addEventListener("click", () => { stop(); act(); }));
  by("play").addEventListener("click", play);
  by("range").addEventListener("input", event => { stop(); show(Number(event.target.value)); });
  const keys = { ArrowLeft: go.back, ArrowDown: go.back, ArrowRight: go.next, ArrowUp: go.next, Home: go.first, End: go.last };
  by("toolbar").addEventListener("keydown", event => {
    if (!keys[event.key] || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    stop();
    keys[event.key]();
  });

  const pick = id => { picked = picked === id ? null : id; show(step); };
  const focus = n => {
    order.forEach((id, m) => by(id).setAttribute("tabindex", m === n ? "0" : "-1"));
    by(order[n]).focus();
  };
  order.forEach((id, n) => {
    const el = by(id);
    el.setAttribute("role", "button");
    el.setAttribute("tabindex", n ? "-1" : "0");
    el.addEventListener("click", () => pick(id));
    el.addEventListener("keydown", event => {
      const move = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      if (move) focus((n + move + order.length) % order.length);
      else if (event.key === "Home") focus(0);
      else if (event.key === "End") focus(order.length - 1);
      else if (event.key === "Enter" || event.key === " ") pick(id);
      else return;
      event.preventDefault();
    });
  });
  const linked = () => { const found = /step=(\d+)/.exec(location.hash); return found ? Number(found[1]) : 0; };
  window.addEventListener("hashchange", () => show(linked(), true));
  show(linked(), true);
})();
