{
  const figure = document.getElementById("timeline");
  const box = figure.querySelector(".drawing"), svg = box.querySelector("svg"), output = figure.querySelector("output");
  const cursor = svg.querySelector(".cursor"), data = JSON.parse(figure.querySelector("script").textContent);
  const span = data.end - data.from, seconds = (at) => (at < 0 ? "−" : "") + Math.abs(at).toFixed(1) + " s";
  const value = (of) => (of === null ? "no value" : String(+of.toPrecision(6)));
  let shown = 0, scale = 1;
  const show = (at) => {
    shown = Math.max(data.from, Math.min(data.end, at));
    const x = data.left + (shown - data.from) / span * data.across * scale;
    cursor.setAttribute("x1", x);
    cursor.setAttribute("x2", x);
    cursor.classList.add("on");
    const parts = [seconds(shown)];
    if (data.effective !== null) {
      const since = shown - data.effective;
      parts.push(since < 0 ? `${seconds(-since)} before the first fault was effective` : `${seconds(since)} after it was effective`);
    }
    parts.push(new Date(data.started + shown * 1000).toISOString().slice(11, 23) + " UTC");
    for (const [name, from, to] of data.bands) if (from <= shown && shown <= to) parts.push(name);
    for (const load of data.loads) {
      const row = load.rows[Math.floor((shown - load.from) / load.width)];
      if (!row) continue;
      const [counts, latencies] = row;
      const told = counts.map((count, kind) => count && `${load.outcomes[kind]}: ${count}`).filter(Boolean).join(", ");
      parts.push(`${load.name}: ${told || "no requests"}` +
        (latencies ? ` (median ${latencies[0]}, 95 % ${latencies[1]}, 99 % ${latencies[2]}, longest ${latencies[3]})` : ""));
    }
    for (const series of data.series) {
      const before = series.samples.filter(([at]) => at <= shown).pop();
      if (before && (series.interval === null || shown - before[0] <= series.interval * 1.6)) {
        parts.push(`${series.name} = ${value(before[1])} (at ${seconds(before[0])})`);
      }
    }
    output.textContent = parts.join(" · ");
  };
  // A larger drawing has more room for the same time: letters and marks stay as they are.
  const frame = svg.viewBox.baseVal, wide = frame.width, parts = [];
  const stretched = (x) => (x < data.left ? x : data.left + (x - data.left) * scale);
  for (const one of svg.querySelectorAll("rect, circle, text, path")) {
    if (one.closest("defs, .fixed")) continue;
    const of = (name) => +one.getAttribute(name), set = (name, value) => one.setAttribute(name, value.toFixed(1));
    if (one.tagName === "rect") {
      const x = of("x"), end = x + of("width");
      parts.push(() => (set("x", stretched(x)), set("width", stretched(end) - stretched(x))));
    } else if (one.tagName === "circle") {
      const x = of("cx");
      parts.push(() => set("cx", stretched(x)));
    } else if (one.tagName === "text") {
      // The name of a bar stays where it is beside it.
      const x = of("x"), bar = one.matches(".label") && one.parentNode.querySelector("rect"), by = bar ? +bar.getAttribute("x") : x;
      parts.push(() => set("x", stretched(by) + x - by));
    } else if (one.matches(".ended, .alert")) {
      const { x, width } = one.getBBox(), middle = x + width / 2;
      parts.push(() => one.setAttribute("transform", `translate(${stretched(middle) - middle})`));
    } else {
      one.setAttribute("vector-effect", "non-scaling-stroke");
      parts.push(() => one.setAttribute("transform", `matrix(${scale} 0 0 1 ${data.left * (1 - scale)} 0)`));
    }
  }
  const zoom = (to) => {
    const unit = () => svg.clientWidth / frame.width;
    const middle = ((box.scrollLeft + box.clientWidth / 2) / unit() - data.left) / scale;
    scale = Math.max(1, Math.min(16, to));
    parts.forEach((part) => part());
    const now = wide + data.across * (scale - 1);
    svg.setAttribute("viewBox", `0 0 ${now} ${frame.height}`);
    svg.style.width = `calc(max(100%, 860px) * ${now / wide})`;
    box.scrollLeft = (data.left + middle * scale) * unit() - box.clientWidth / 2;
    if (cursor.classList.contains("on")) show(shown);
  };
  const place = (event) => {
    const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
    show(data.from + (at.x - data.left) / data.across / scale * span);
  };
  svg.addEventListener("pointermove", place);
  svg.addEventListener("pointerdown", place);
  box.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10 }[event.key];
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    if (step) show(shown + step * span / 200);
    else if (event.key === "Home") show(data.from);
    else if (event.key === "End") show(data.end);
    else if (event.key === "+" || event.key === "=") zoom(scale * 2);
    else if (event.key === "-") zoom(scale / 2);
    else if (event.key === "0") zoom(1);
    else return;
    event.preventDefault();
  });
  const tools = document.createElement("p");
  tools.className = "tools";
  for (const [name, act] of [["Larger (+)", () => zoom(scale * 2)], ["Smaller (−)", () => zoom(scale / 2)], ["Whole (0)", () => zoom(1)]]) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = name;
    button.addEventListener("click", act);
    tools.append(button);
  }
  box.before(tools);
  box.setAttribute("aria-label", "Timeline. Arrow keys move the read-out below, plus and minus stretch the time.");
  addEventListener("beforeprint", () => zoom(1));
  addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((one) => (one.open = true)));
}
