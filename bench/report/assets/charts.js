// --- Charts, each drawn once it comes near the window, from what the page carries ---

const space = "http://www.w3.org/2000/svg";

function chart(width, height, label) {
  const svg = document.createElementNS(space, "svg");
  const draw = (name, attributes, text) => {
    const made = document.createElementNS(space, name);
    for (const [key, content] of Object.entries(attributes)) made.setAttribute(key, content);
    if (text !== undefined) made.textContent = text;
    svg.append(made);
  };
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.setAttribute("class", "chart");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", label);
  return { svg, draw };
}

// What lies outside of [low, high] is drawn on the edge.
const scale = (low, high, start, end) => (x) => {
  const share = high === low ? 0.5 : Math.min(1, Math.max(0, (x - low) / (high - low)));
  return Number((start + share * (end - start)).toFixed(1));
};

// The title of a vertical axis.
function upright(draw, x, y, text) {
  draw("text", { x, y, "text-anchor": "middle", transform: `rotate(-90 ${x} ${y})` }, text);
}

function axes(draw, box, low, high, digits) {
  const [left, right, top, bottom] = box;
  draw("path", { d: `M${left},${top}V${bottom}H${right}`, class: "axis" });
  draw("text", { x: left - 3, y: top + 7, "text-anchor": "end" }, high.toFixed(digits));
  draw("text", { x: left - 3, y: bottom, "text-anchor": "end" }, low.toFixed(digits));
}

function drawCurves({ steps, auc, kept }, { width, height, title, limits, reference }) {
  const [low, high] = limits;
  const last = steps.at(-1) || 1;
  const { svg, draw } = chart(width, height,
    `${title}: validation AUC of ${auc.length} seeds over ${last} steps, between ${low} and ${high}`);
  const box = [44, width - 4, 8, height - 16];
  const [x, y] = [scale(0, last, box[0], box[1]), scale(low, high, box[3], box[2])];
  axes(draw, box, low, high, 2);
  draw("text", { x: width - 4, y: height - 4, "text-anchor": "end" }, `${last} steps`);
  draw("text", { x: box[0], y: height - 4 }, "0");
  upright(draw, 11, (box[2] + box[3]) / 2, "validation AUC");
  for (const curve of auc) {
    const points = curve.map((value, i) => `${x(steps[i])},${y(value)}`);
    draw("polyline", { points: points.join(" "), class: "seed" });
  }
  if (reference !== undefined) draw("path", { d: `M${box[0]},${y(reference)}H${box[1]}`, class: "reference" });
  for (const [step, value] of kept) draw("circle", { cx: x(step), cy: y(value), r: 2, class: "kept" });
  return svg;
}

function short(content) {
  if (typeof content !== "number") return shown(content);
  const rounded = Number(content.toPrecision(3));
  return rounded !== 0 && Math.abs(rounded) < 1e-3 ? rounded.toExponential() : String(rounded);
}

function drawPoints({ names, values, points }, name) {
  const column = names.indexOf(name);
  const tried = values[column];
  const auc = (point) => point[names.length];
  const seeds = (point) => point[names.length + 1];
  const all = points.map(auc);
  const margin = (Math.max(...all) - Math.min(...all)) * 0.1 || 1e-3;
  const [low, high] = [Math.min(...all) - margin, Math.max(...all) + margin];
  const best = tried.map((_, place) => Math.max(...points.filter((p) => p[column] === place).map(auc)));
  const { svg, draw } = chart(160, 78,
    `${name.replaceAll("_", " ")}: ${tried.map((each, i) => `${short(each)} gives ${best[i].toFixed(3)}`).join(", ")}`);
  const [x, y] = [scale(0, tried.length - 1, 44, 146), scale(low, high, 58, 8)];
  const most = Math.max(...points.map(seeds));
  for (const certain of [false, true]) {
    const places = points.filter((p) => (seeds(p) === most) === certain)
      .map((p) => `M${x(p[column])},${y(auc(p))}h0`);
    if (places.length > 0) draw("path", { d: places.join(""), class: certain ? "point certain" : "point" });
  }
  draw("polyline", { points: best.map((value, i) => `${x(i)},${y(value)}`).join(" "), class: "mean" });
  draw("text", { x: 30, y: 14, "text-anchor": "end" }, high.toFixed(2));
  draw("text", { x: 30, y: 58, "text-anchor": "end" }, low.toFixed(2));
  // Labels that would run into the one before are left out, but for the last.
  const wide = (text) => text.length * 5.5 + 4;
  const end = short(tried.at(-1));
  let free = -Infinity;
  tried.forEach((each, i) => {
    const [text, final] = [short(each), i === tried.length - 1];
    const fits = x(i) - wide(text) / 2 >= free && x(i) + wide(text) / 2 <= x(tried.length - 1) - wide(end) / 2;
    if (!final && !fits) return;
    draw("text", { x: x(i), y: 73, "text-anchor": "middle" }, text);
    free = x(i) + wide(text) / 2;
  });
  return svg;
}

function drawRates({ title, log, values, alpha }, label) {
  const xs = log ? values.map(Math.log10) : values;
  const [least, most] = [Math.min(...xs), Math.max(...xs)];
  const room = (most - least) * 0.02 || 1e-3;
  const top = Math.max(...alpha) * 1.05 || 1e-3;
  const { svg, draw } = chart(240, 168, label);
  const box = [46, 236, 8, 132];
  const [x, y] = [scale(least - room, most + room, box[0], box[1]), scale(0, top, box[3], box[2])];
  draw("path", { d: `M${box[0]},${box[2]}V${box[3]}H${box[1]}`, class: "axis" });
  draw("path", { d: xs.map((each, i) => `M${x(each)},${y(alpha[i])}h0`).join(""), class: "user" });
  draw("text", { x: 43, y: 16, "text-anchor": "end" }, short(top));
  draw("text", { x: 43, y: 132, "text-anchor": "end" }, "0");
  upright(draw, 12, 70, "unlearning rate α");
  draw("text", { x: 46, y: 145 }, short(Math.min(...values)));
  draw("text", { x: 236, y: 145, "text-anchor": "end" }, short(Math.max(...values)));
  draw("text", { x: 141, y: 160, "text-anchor": "middle" }, title.split(",")[0] + (log ? " (log)" : ""));
  return svg;
}

// AUC against seconds of a seed, on a logarithmic axis; names where there is room.
function drawCost(costs, label) {
  const [width, height] = [420, 260];
  const { svg, draw } = chart(width, height, label);
  const box = [48, width - 8, 10, height - 34];
  const seconds = costs.map((each) => Math.log10(each[2]));
  // A control far away would press the other rows together: it stands at the edge.
  const rows = costs.filter((each) => !each[3]);
  const aucs = (rows.length > 0 ? rows : costs).map((each) => each[1]);
  const [low, high] = [Math.floor(Math.min(...aucs) * 100) / 100, Math.ceil(Math.max(...aucs) * 100) / 100];
  const [x, y] = [scale(Math.min(...seconds) - 0.1, Math.max(...seconds) + 0.1, box[0], box[1]),
    scale(low, high, box[3], box[2])];
  axes(draw, box, low, high, 2);
  upright(draw, 12, (box[2] + box[3]) / 2, "AUC");
  draw("text", { x: (box[0] + box[1]) / 2, y: height - 4, "text-anchor": "middle" }, "seconds of training, one seed (log)");
  for (let power = -3; power < 6; power += 1) {
    const at = x(power);
    if (at > box[0] && at < box[1]) draw("text", { x: at, y: box[3] + 13, "text-anchor": "middle" }, String(10 ** power));
  }
  const dots = costs.map(([, auc], i) => [x(seconds[i]), y(auc)]);
  const taken = dots.map(([cx, cy]) => [cx - 4, cy - 4, cx + 4, cy + 4]);
  const meets = (a, b) => a[0] < b[2] && a[2] > b[0] && a[1] < b[3] && a[3] > b[1];
  costs.forEach(([name], i) => {
    const [cx, cy] = dots[i];
    draw("circle", { cx, cy, r: 3.5, class: "kept" });
    const wide = name.length * 6;
    const spots = [[cx + 7, cy], [cx - wide - 7, cy], [cx - wide / 2, cy - 12], [cx - wide / 2, cy + 12]]
      .map(([left, middle]) => [left, middle - 6, left + wide, middle + 6]);
    const free = spots.find((spot) => spot[0] > box[0] && spot[2] < width && spot[3] <= box[3] + 6
      && !taken.some((other) => meets(spot, other)));
    if (free === undefined) return;
    taken.push(free);
    draw("text", { x: free[0], y: free[1] + 10 }, name);
  });
  return svg;
}

// --- Average ranks: the critical-difference diagram, and the tables beside it ---

function drawRanks(known) {
  const figure = document.getElementById("ranks-chart");
  if (figure === null) return;
  document.getElementById("ranks-text").textContent = known?.text ?? "Fewer than two rows have every number of this choice.";
  const rows = known?.rows ?? [];
  const body = document.getElementById("ranks-body");
  body.replaceChildren();
  for (const [title, rank, low, high] of rows) {
    const line = element("tr", undefined, body);
    element("th", title, line).scope = "row";
    element("td", rank.toFixed(2), line);
    element("td", `${low.toFixed(2)} – ${high.toFixed(2)}`, line);
  }
  const wins = document.querySelector(".wins");
  const heads = wins.tHead.rows[0];
  while (heads.cells.length > 1) heads.deleteCell(1);
  wins.tBodies[0].replaceChildren();
  rows.forEach(([title], i) => {
    const head = element("th", undefined, heads);
    head.scope = "col";
    element("span", title, head);
    const line = element("tr", undefined, wins.tBodies[0]);
    element("th", title, line).scope = "row";
    for (const share of known.wins[i]) {
      const cell = element("td", share ?? "–", line);
      if (share !== null) cell.style.setProperty("--w", share);
    }
  });
  figure.replaceChildren();
  all("#ranks .edge").forEach((each) => { each.hidden = rows.length === 0; });
  if (rows.length > 0) figure.append(rankDiagram(known));
}

function rankDiagram({ rows, critical, cliques }) {
  const n = rows.length;
  const half = Math.ceil(n / 2);
  const [width, top] = [720, 52];
  const bars = top + 14 + 8 * cliques.length;
  const height = bars + 20 + 18 * half;
  const { svg, draw } = chart(width, height, `Average ranks: ${rows.map(([title, rank]) => `${title} ${rank.toFixed(2)}`).join(", ")}`);
  svg.classList.add("wide");
  const [left, right] = [150, width - 150];
  const x = scale(1, n, left, right);
  draw("path", { d: `M${left},${top}H${right}`, class: "axis" });
  for (let rank = 1; rank <= n; rank += 1) {
    draw("path", { d: `M${x(rank)},${top - 5}V${top}`, class: "axis" });
    draw("text", { x: x(rank), y: top - 9, "text-anchor": "middle" }, String(rank));
  }
  const span = x(1 + Math.min(critical, n - 1)) - x(1);
  draw("path", { d: `M${left},18h${span}M${left},14v8M${left + span},14v8`, class: "axis" });
  draw("text", { x: left, y: 10 }, `critical difference ${critical.toFixed(2)}`);
  cliques.forEach(([first, last], i) => {
    const y = top + 12 + 8 * i;
    draw("path", { d: `M${x(rows[first][1]) - 3},${y}H${x(rows[last][1]) + 3}`, class: "clique" });
  });
  rows.forEach(([title, rank], i) => {
    const early = i < half;
    const y = bars + 18 * (early ? i : n - 1 - i) + 8;
    const end = early ? left - 8 : right + 8;
    draw("path", { d: `M${x(rank)},${top}V${y}H${end}`, class: "axis" });
    draw("text", { x: early ? end - 4 : end + 4, y: y + 4, "text-anchor": early ? "end" : "start" }, `${title} ${rank.toFixed(2)}`);
  });
  return svg;
}

function fill(figure) {
  const caption = figure.querySelector("figcaption").textContent.replace(/\s+/g, " ").trim();
  const { curves, points, rates, cost, name } = figure.dataset;
  if (curves !== undefined) {
    const { low, high, reference } = figure.parentElement.dataset;
    const looks = { width: 200, height: 116, title: caption, limits: [Number(low), Number(high)] };
    if (reference !== undefined) looks.reference = Number(reference);
    figure.prepend(drawCurves(data.curves[curves], looks));
  } else if (points !== undefined) figure.prepend(drawPoints(data.points[points], name));
  else if (cost !== undefined) figure.prepend(drawCost(data.costs[cost], caption));
  else figure.prepend(drawRates(data.rates[rates][name], caption));
}

const figures = document.querySelectorAll("figure[data-curves], figure[data-points], figure[data-rates], figure[data-cost]");
const near = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    if (!isIntersecting) continue;
    near.unobserve(target);
    fill(target);
  }
}, { rootMargin: "600px" });
figures.forEach((figure) => near.observe(figure));
window.addEventListener("beforeprint", () => {
  near.disconnect();
  figures.forEach((figure) => { if (figure.querySelector("svg") === null) fill(figure); });
});

