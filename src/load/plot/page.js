for (const figure of document.querySelectorAll("figure")) {
  const svg = figure.querySelector(".drawing svg"), output = figure.querySelector("output");
  const cursor = svg.querySelector(".cursor"), data = JSON.parse(figure.querySelector("script").textContent);
  let shown = -1;
  const show = (number) => {
    shown = Math.max(0, Math.min(data.rows.length - 1, number));
    const row = data.rows[shown];
    if (!row) return;
    const from = shown * data.width, x = data.left + ((shown + 0.5) * data.width / data.end) * data.across;
    cursor.setAttribute("x1", x);
    cursor.setAttribute("x2", x);
    cursor.style.visibility = "visible";
    const time = (seconds) => +seconds.toFixed(3) + " s";
    const faults = data.bands.filter((band) => band.from < from + data.width && (band.to ?? Infinity) > from);
    const parts = [`${time(from)} to ${time(from + data.width)}`, `${+(row.n / data.width).toFixed(2)} requests/s`];
    if (row.p) parts.push(`median ${row.p[0]}, 90 % ${row.p[1]}, 99 % ${row.p[2]}, longest ${row.p[3]}`);
    parts.push(row.c.map((count, kind) => count && `${data.outcomes[kind]}: ${count}`).filter(Boolean).join(", "));
    for (const fault of faults) parts.push(`fault: ${fault.name}`);
    output.textContent = parts.filter(Boolean).join(" · ");
  };
  svg.addEventListener("pointermove", (event) => {
    const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
    show(Math.floor((at.x - data.left) / data.across * data.end / data.width));
  });
  svg.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10 }[event.key];
    if (step) show(shown + step);
    else if (event.key === "Home") show(0);
    else if (event.key === "End") show(data.rows.length - 1);
    else return;
    event.preventDefault();
  });
}
