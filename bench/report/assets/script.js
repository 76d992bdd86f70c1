"use strict";
(() => {
  // By digest. cells: what their windows show. curves, points, rates: what is drawn.
  const data = JSON.parse(document.getElementById("records").textContent);
  const filters = document.getElementById("filters");
  const status = document.getElementById("status");
  const selects = [...document.querySelectorAll("select[name]")];
  const chosen = (name) => document.querySelector(`select[name=${name}]`)?.value ?? "";

  // --- Filters: everything that is of one protocol, data set, metric or base carries it as data ---

  const filtered = [...document.querySelectorAll(
    "[data-protocol], [data-dataset], [data-metric], [data-against]",
  )];

  function apply() {
    for (const element of filtered) {
      element.hidden = ["protocol", "dataset", "metric", "against"].some((name) => {
        const own = element.dataset[name];
        const wanted = chosen(name);
        return own !== undefined && wanted !== "" && own !== wanted;
      });
    }
    for (const table of document.querySelectorAll(".table1")) {
      table.dataset.view = chosen("view");
      for (const over of table.querySelectorAll("th[scope=colgroup]")) {
        const columns = [...table.querySelectorAll("thead tr:last-child th")].filter(
          (head) => head.dataset.dataset === over.dataset.dataset && !head.hidden,
        );
        over.hidden = columns.length === 0;
        over.colSpan = Math.max(1, columns.length);
      }
    }
    const shown = [...document.querySelectorAll(".table1 td[data-metric]")].filter(
      (cell) => cell.closest("[hidden]") === null,
    );
    status.textContent = `${shown.length} numbers shown`;
    const state = new URLSearchParams(selects.filter((each) => each.selectedIndex > 0)
      .map((each) => [each.name, each.value]));
    // A link to a section stays one until something is chosen.
    const section = document.getElementById(location.hash.slice(1)) === null ? "" : location.hash;
    history.replaceState(null, "", state.size ? `#${state}` : location.pathname + location.search + section);
  }

  function restore() {
    const state = new URLSearchParams(location.hash.slice(1));
    for (const each of selects) {
      const value = state.get(each.name);
      if (value !== null && [...each.options].some((option) => option.value === value)) each.value = value;
    }
  }

  // --- Sorting: within the rows above the rule and within the controls ---

  function value(row, index) {
    const cell = row.cells[index];
    const view = chosen("view");
    const number = cell.dataset[view === "all" ? "ours" : view];
    if (number !== undefined) return Number(number);
    if (cell.dataset.metric !== undefined) return null;
    const text = cell.textContent.trim();
    return text !== "" && !Number.isNaN(Number(text)) ? Number(text) : text;
  }

  function compare(a, b, sign) {
    // What has no value stays last, whichever way the rest is sorted.
    const empty = (x) => x === null || x === "";
    if (empty(a) || empty(b)) return Number(empty(a)) - Number(empty(b));
    if (typeof a === "number" && typeof b === "number") return sign * (a - b);
    return sign * String(a).localeCompare(String(b));
  }

  function sort(head) {
    const table = head.closest("table");
    const heads = [...head.parentElement.cells];
    const index = heads.indexOf(head);
    const lossy = head.dataset.metric === "ideal_loss" || head.dataset.metric === undefined;
    const first = lossy ? "ascending" : "descending";
    const other = lossy ? "descending" : "ascending";
    const before = head.getAttribute("aria-sort");
    const next = before === null ? first : before === first ? other : null;
    heads.forEach((each) => each.removeAttribute("aria-sort"));
    if (next !== null) head.setAttribute("aria-sort", next);
    for (const body of table.tBodies) {
      const rows = [...body.rows];
      rows.forEach((row, place) => { row.dataset.place ??= place; });
      rows.sort((a, b) => {
        const sign = next === "ascending" ? 1 : -1;
        const found = next === null ? 0 : compare(value(a, index), value(b, index), sign);
        return found || Number(a.dataset.place) - Number(b.dataset.place);
      });
      body.append(...rows);
    }
    const title = head.textContent;
    status.textContent = next === null ? "in the paper's order" : `sorted by ${title}, ${next}`;
  }

  // --- Charts, each drawn once it comes near the window, from what the page carries ---

  function element(name, text, parent) {
    const made = document.createElement(name);
    if (text !== undefined) made.textContent = text;
    parent?.append(made);
    return made;
  }

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
    const box = [34, width - 4, 8, height - 16];
    const [x, y] = [scale(0, last, box[0], box[1]), scale(low, high, box[3], box[2])];
    axes(draw, box, low, high, 2);
    draw("text", { x: width - 4, y: height - 4, "text-anchor": "end" }, `${last} steps`);
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
    const room = (numbers, share) => {
      const [low, high] = [Math.min(...numbers), Math.max(...numbers)];
      return [low - ((high - low) * share || 1e-3), high + ((high - low) * share || 1e-3)];
    };
    const { svg, draw } = chart(240, 156, label);
    const box = [46, 236, 8, 132];
    const [x, y] = [scale(...room(xs, 0.02), box[0], box[1]), scale(...room(alpha, 0.05), box[3], box[2])];
    draw("path", { d: `M${box[0]},${box[2]}V${box[3]}H${box[1]}`, class: "axis" });
    draw("path", { d: xs.map((each, i) => `M${x(each)},${y(alpha[i])}h0`).join(""), class: "user" });
    const [low, high] = [Math.min(...alpha), Math.max(...alpha)].map(short);
    draw("text", { x: 43, y: 16, "text-anchor": "end" }, high);
    draw("text", { x: 43, y: 74, "text-anchor": "end" }, "α");
    draw("text", { x: 43, y: 132, "text-anchor": "end" }, low);
    draw("text", { x: 46, y: 144 }, short(Math.min(...values)));
    draw("text", { x: 236, y: 144, "text-anchor": "end" }, short(Math.max(...values)));
    draw("text", { x: 141, y: 144, "text-anchor": "middle" }, title.split(",")[0] + (log ? ", log" : ""));
    return svg;
  }

  function fill(figure) {
    const caption = figure.querySelector("figcaption").textContent;
    const { curves, points, rates, name } = figure.dataset;
    if (curves !== undefined) {
      const { low, high, reference } = figure.parentElement.dataset;
      const looks = { width: 200, height: 116, title: caption, limits: [Number(low), Number(high)] };
      if (reference !== undefined) looks.reference = Number(reference);
      figure.prepend(drawCurves(data.curves[curves], looks));
    } else if (points !== undefined) figure.prepend(drawPoints(data.points[points], name));
    else figure.prepend(drawRates(data.rates[rates][name], caption));
  }

  const figures = document.querySelectorAll("figure");
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

  // --- A cell's record ---

  const dialog = document.getElementById("record");
  const body = document.getElementById("record-body");

  function shown(content) {
    if (content === null) return "–";
    return typeof content === "object" ? JSON.stringify(content) : String(content);
  }

  function list(title, entries) {
    if (!entries || Object.keys(entries).length === 0) return;
    element("h3", title, body);
    const made = element("dl", undefined, body);
    for (const [key, content] of Object.entries(entries)) {
      const pair = element("div", undefined, made);
      element("dt", key.replaceAll("_", " "), pair);
      element("dd", shown(content), pair);
    }
  }

  function grid(title, names, rows) {
    if (rows.length === 0) return;
    element("h3", title, body);
    const scroll = element("div", undefined, body);
    scroll.className = "scroll";
    scroll.tabIndex = 0;
    const made = element("table", undefined, scroll);
    const head = element("tr", undefined, made.createTHead());
    names.forEach((name) => { element("th", name.replaceAll("_", " "), head).scope = "col"; });
    const rest = made.createTBody();
    for (const row of rows) {
      const line = element("tr", undefined, rest);
      row.forEach((content, i) => {
        const measured = /auc|ndcg|recall|loss$/i.test(names[i]) && typeof content === "number";
        element("td", measured ? content.toFixed(4) : shown(content), line);
      });
    }
  }

  function seedCurves(title, curves) {
    const all = curves.auc.flat();
    element("h3", "Validation AUC, one line for each seed, a dot where its parameters were kept", body);
    const limits = [Math.min(...all), Math.max(...all)];
    body.append(drawCurves(curves, { width: 420, height: 176, title, limits }));
  }

  function triedPoints({ count, trainings, names, criterion, values, points }) {
    const rows = points.slice(0, 60).map((point) => [
      point[names.length], point[names.length + 1], ...names.map((_, i) => values[i][point[i]]),
    ]);
    const part = points.length > rows.length ? `, the best ${rows.length}` : "";
    grid(`Points tried: ${count} points, ${trainings} trainings${part}`, [criterion, "seeds", ...names], rows);
  }

  function open(button) {
    const digest = button.dataset.cell;
    const record = data.cells[digest] ?? { title: digest, missing: "absent" };
    document.getElementById("record-title").textContent = record.title;
    body.replaceChildren();
    const numbers = button.closest("td").dataset;
    const row = button.closest("tr");
    const heads = [...row.closest("table").tHead.rows[1].cells];
    const column = heads[button.closest("td").cellIndex].textContent.trim();
    const compared = numbers.paper === undefined ? "no comparable number in the paper"
      : `paper ${numbers.paper}, difference ${Number(numbers.delta).toFixed(4)}`;
    element("p", `${column}: ours ${Number(numbers.ours).toFixed(4)}; ${compared}.`, body);
    const origin = { here: ", trained in this checkout", published: ", as published" }[record.origin] ?? "";
    element("p", `Record results/runs/${digest}${origin}.`, body);
    if (record.missing === "absent") {
      element("p", "The record is not here: records are not part of a clone. The numbers come from the "
        + "files beside this page. `make table1` trains the record.", body);
    } else if (record.missing === "room") {
      element("p", "This page had no room for the record; it lies in the results folder.", body);
    }
    (record.warnings ?? []).forEach((sentence) => element("p", `Warning: ${sentence}.`, body));
    if (record.command) {
      element("h3", "The command that makes it", body);
      element("pre", record.command, body);
    }
    list("Chosen configuration", record.configuration?.method);
    if (record.seeds !== undefined) {
      const names = Object.keys(record.seeds);
      grid(`Seeds (chosen by ${record.selection.replaceAll("_", " ")})`, names,
        record.seeds.seed.map((_, i) => names.map((name) => record.seeds[name][i])));
    }
    if (data.curves[digest] !== undefined) seedCurves(record.title, data.curves[digest]);
    if (data.points[digest] !== undefined) triedPoints(data.points[digest]);
    list("Validation, and sd of the means over re-tunings", record.tuning);
    list("Diagnostics, mean over seeds", record.diagnostics);
    list("Data", record.data);
    list("Data set's configuration", record.configuration?.dataset);
    list("Protocol", record.configuration?.protocol);
    list("Engine", record.configuration?.engine);
    list("Provenance", record.provenance);
    dialog.showModal();
    dialog.scrollTop = 0;
  }

  filters.addEventListener("submit", (event) => event.preventDefault());
  selects.forEach((each) => each.addEventListener("change", apply));
  document.addEventListener("click", (event) => {
    const cell = event.target.closest("button.cell");
    const head = event.target.closest("button.sort");
    if (cell !== null) open(cell);
    else if (head !== null) sort(head.closest("th"));
    else if (event.target === dialog) dialog.close();
  });
  restore();
  apply();
})();
