"use strict";
(() => {
  const records = JSON.parse(document.getElementById("records").textContent);
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
    history.replaceState(null, "", state.size ? `#${state}` : location.pathname + location.search);
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

  // --- A cell's record ---

  const dialog = document.getElementById("record");
  const body = document.getElementById("record-body");

  function element(name, text, parent) {
    const made = document.createElement(name);
    if (text !== undefined) made.textContent = text;
    parent?.append(made);
    return made;
  }

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
        const measured = /auc|ndcg|recall|loss$/.test(names[i]) && typeof content === "number";
        element("td", measured ? content.toFixed(4) : shown(content), line);
      });
    }
  }

  function curves(record) {
    const all = record.curves.flat().filter((x) => x !== null);
    if (all.length === 0) return;
    element("h3", "Validation AUC, one line for each seed", body);
    const [width, height, left] = [420, 170, 40];
    const [low, high] = [Math.min(...all), Math.max(...all)];
    const last = record.steps.at(-1) || 1;
    const space = "http://www.w3.org/2000/svg";
    const svg = document.createElementNS(space, "svg");
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    svg.setAttribute("class", "chart");
    svg.setAttribute("role", "img");
    svg.setAttribute("aria-label", `Validation AUC between ${low} and ${high} over ${last} steps`);
    const draw = (name, attributes, text) => {
      const made = document.createElementNS(space, name);
      Object.entries(attributes).forEach(([key, content]) => made.setAttribute(key, content));
      if (text !== undefined) made.textContent = text;
      svg.append(made);
    };
    for (const curve of record.curves) {
      const points = curve.map((y, i) => (y === null ? "" : [
        (left + (record.steps[i] / last) * (width - left - 6)).toFixed(1),
        (height - 22 - ((y - low) / (high - low || 1)) * (height - 32)).toFixed(1),
      ].join(","))).filter((x) => x !== "");
      draw("polyline", { points: points.join(" "), class: "seed" });
    }
    draw("text", { x: left - 4, y: 14, "text-anchor": "end" }, high.toFixed(3));
    draw("text", { x: left - 4, y: height - 22, "text-anchor": "end" }, low.toFixed(3));
    draw("text", { x: width - 6, y: height - 6, "text-anchor": "end" }, `${last} steps`);
    body.append(svg);
  }

  function open(button) {
    const digest = button.dataset.cell;
    const record = records[digest];
    document.getElementById("record-title").textContent = record?.name ?? digest;
    body.replaceChildren();
    const numbers = button.closest("td").dataset;
    const row = button.closest("tr");
    const heads = [...row.closest("table").tHead.rows[1].cells];
    const column = heads[button.closest("td").cellIndex].textContent.trim();
    const compared = numbers.paper === undefined ? "no comparable number in the paper"
      : `paper ${numbers.paper}, difference ${Number(numbers.delta).toFixed(4)}`;
    element("p", `${column}: ours ${Number(numbers.ours).toFixed(4)}; ${compared}.`, body);
    element("p", `Record results/runs/${digest}`, body);
    if (record === undefined || record.missing === "absent") {
      element("p", "The record is not here: records are not part of a clone. The table's numbers come from the "
        + "files beside this page. `make table1` trains the record.", body);
    } else if (record.missing === "room") {
      element("p", "This page had no room for the record; it lies in the results folder.", body);
    } else {
      element("h3", "The command that makes it", body);
      element("pre", record.command, body);
      list("Chosen configuration", record.configuration.method);
      const names = Object.keys(record.seeds[0]);
      grid(`Seeds (chosen by ${record.selection.replaceAll("_", " ")})`, names,
        record.seeds.map((seed) => names.map((name) => seed[name])));
      curves(record);
      const { count = 0, names: tried = [], rows = [] } = record.tried;
      grid(`Points tried: ${count}${count > rows.length ? `, the best ${rows.length}` : ""}`, tried, rows);
      list("Diagnostics, mean over seeds", record.diagnostics);
      list("Data", record.data);
      list("Data set's configuration", record.configuration.dataset);
      list("Protocol", record.configuration.protocol);
      list("Engine", record.configuration.engine);
      list("Provenance", { ...record.provenance, diverged_members: record.diverged });
    }
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
