// --- Sorting: within each group of rows ---

function sortValue(row, index) {
  const cell = row.cells[index];
  const view = { paper: "paper", delta: "delta" }[chosen("view")] ?? "ours";
  const number = cell.dataset[view] ?? (view === "paper" ? cell.dataset.printed : undefined);
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

function sortTable(table, key, descending) {
  const heads = [...table.tHead.rows[1].cells];
  const index = heads.findIndex((head) => head.dataset.key === key);
  heads.forEach((head) => head.removeAttribute("aria-sort"));
  if (index >= 0) heads[index].setAttribute("aria-sort", descending ? "descending" : "ascending");
  for (const body of table.tBodies) {
    const rows = [...body.rows].filter((row) => !row.classList.contains("block"));
    rows.forEach((row, place) => { row.dataset.place ??= place; });
    rows.sort((a, b) => {
      const sign = descending ? -1 : 1;
      const found = index < 0 ? 0 : compare(sortValue(a, index), sortValue(b, index), sign);
      return found || Number(a.dataset.place) - Number(b.dataset.place);
    });
    body.append(...rows);
  }
  rove(table);
}

function sortAll() {
  const descending = state.sort.startsWith("-");
  const key = descending ? state.sort.slice(1) : state.sort;
  all(".table1").forEach((table) => sortTable(table, key, descending));
}

// The best first, then the worst, then the paper's order.
function sortBy(head) {
  const { key, metric, lower } = head.dataset;
  const rising = metric === undefined || lower !== undefined;
  const order = rising ? [key, `-${key}`, ""] : [`-${key}`, key, ""];
  state.sort = order[(order.indexOf(state.sort) + 1) % 3];
  sortAll();
  remember();
  const way = state.sort.startsWith("-") ? "descending" : "ascending";
  status.textContent = state.sort === "" ? "in the paper's order" : `sorted by ${head.textContent.trim()}, ${way}`;
}

// --- Arrow keys: one number of a table is in the tab order, the arrows move between them ---

const cells = (table) => all("button.cell", table).filter((each) => each.closest("[hidden]") === null);

function rove(table, wanted) {
  const known = cells(table);
  const current = wanted ?? known.find((each) => each.tabIndex === 0 && each.dataset.roving) ?? known[0];
  for (const each of all("button.cell", table)) {
    each.tabIndex = each === current ? 0 : -1;
    if (each === current) each.dataset.roving = "1";
    else delete each.dataset.roving;
  }
}

// The next number from a cell, over hidden and empty ones; null at the edge.
function neighbour(button, step) {
  const cell = button.closest("td");
  const table = cell.closest("table");
  if (step === "left" || step === "right") {
    const row = cells(cell.parentElement);
    return row[row.indexOf(button) + (step === "left" ? -1 : 1)] ?? null;
  }
  const column = cells(table).filter((each) => each.closest("td").cellIndex === cell.cellIndex);
  return column[column.indexOf(button) + (step === "up" ? -1 : 1)] ?? null;
}

document.addEventListener("keydown", (event) => {
  const button = event.target.closest?.("button.cell");
  if (!button || event.ctrlKey || event.altKey || event.metaKey) return;
  const row = cells(button.closest("tr"));
  const step = /^Arrow(Up|Down|Left|Right)$/.exec(event.key)?.[1].toLowerCase();
  const next = event.key === "Home" ? row[0] : event.key === "End" ? row.at(-1) : step && neighbour(button, step);
  if (!next) return;
  event.preventDefault();
  rove(button.closest("table"), next);
  next.focus();
  next.scrollIntoView({ block: "nearest", inline: "nearest" });
});

// --- What is shown, as CSV ---

function quoted(text) {
  return /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

function shownAsCsv() {
  const lines = [["protocol", "dataset", "method", "metric", "mean", "std", "n", "paper", "delta", "verdict", "printed"]];
  for (const cell of all(".table1 td[data-ours]").filter((each) => each.closest("[hidden]") === null)) {
    const { dataset, metric, ours, sd, n, paper, delta, verdict, printed } = cell.dataset;
    lines.push([cell.closest("table").dataset.protocol, dataset, cell.parentElement.dataset.method, metric, ours, sd, n,
      paper, delta, verdict, printed ?? paper]);
  }
  return lines.map((line) => line.map((each) => quoted(each ?? "")).join(",") + "\n").join("");
}

document.getElementById("csv").addEventListener("click", () => {
  const link = element("a");
  link.href = URL.createObjectURL(new Blob([shownAsCsv()], { type: "text/csv" }));
  link.download = "table1-shown.csv";
  link.click();
  URL.revokeObjectURL(link.href);
});
