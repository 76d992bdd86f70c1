// What the page carries, by digest. cells: what their windows show. curves, points, rates: what is drawn. By
// choice (protocol|scope|metric): cards, ranks. scopes: choice of data sets → data sets. verdicts: worst first.
// Configurations and data of windows are places in `shared` (bench.report.shared).
// AUCs of curves and points come in ten-thousandths, each less the one before (bench.report.charts.successive_differences).
const data = JSON.parse(document.getElementById("records").textContent);
const summed = (differences) => {
  let whole = 0;
  return differences.map((each) => (whole += each) / 1e4);
};
for (const curves of Object.values(data.curves)) curves.auc = curves.auc.map(summed);
for (const { names, points } of Object.values(data.points)) {
  const aucs = summed(points.map((point) => point[names.length]));
  points.forEach((point, i) => { point[names.length] = aucs[i]; });
}
const filters = document.getElementById("filters");
const status = document.getElementById("status");
const selects = [...document.querySelectorAll("select[name]")];
const all = (selector, within = document) => [...within.querySelectorAll(selector)];
const chosen = (name) => document.querySelector(`select[name=${name}]`)?.value ?? "";
const visible = (element) => element.offsetParent !== null;
const three = (number) => number.toFixed(3).replace(/^-(0\.0+)$/, "$1");

function element(name, text, parent) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  parent?.append(made);
  return made;
}

// --- The address: #section&filter=…&sort=…&cell=…, so that every view is a link ---

// section: id of an element, or "". sort: key of a column, "-" before it for descending. cell: see `cellKey`.
const state = { section: "", sort: "", cell: "" };

function address() {
  const parts = selects.filter((each) => each.selectedIndex > 0).map((each) => [each.name, each.value]);
  for (const name of ["sort", "cell"]) if (state[name] !== "") parts.push([name, state[name]]);
  const fields = parts.map(([name, value]) => `${name}=${encodeURIComponent(value)}`);
  return [state.section, ...fields].filter((each) => each !== "").join("&");
}

// Every choice leaves an entry in the history, so that "back" takes it back.
function remember() {
  const wanted = address();
  if (wanted === location.hash.slice(1)) return;
  history.pushState(null, "", wanted === "" ? location.pathname + location.search : `#${wanted}`);
}

function restore() {
  const fields = new Map();
  state.section = "";
  for (const part of location.hash.slice(1).split("&")) {
    const [name, value] = part.split("=");
    if (value !== undefined) fields.set(name, decodeURIComponent(value));
    else state.section = decodeURIComponent(name);
  }
  if (document.getElementById(state.section) === null) state.section = "";
  for (const each of selects) {
    const value = fields.get(each.name);
    each.selectedIndex = Math.max(0, [...each.options].findIndex((option) => option.value === value));
  }
  state.sort = fields.get("sort") ?? "";
  state.cell = fields.get("cell") ?? "";
  apply();
  sortAll();
  if (state.section !== "") reveal(state.section);
  showCell();
}

// --- Sections: folded, opened by what leads to them ---

function reveal(id) {
  const target = document.getElementById(id);
  if (target === null) return;
  for (let each = target; each !== null; each = each.parentElement) {
    if (each.tagName === "DETAILS") each.open = true;
  }
  if (target.tagName === "SECTION") target.querySelector("details").open = true;
  target.scrollIntoView();
}

function go(id) {
  state.cell = "";
  dialog.close();
  state.section = id === "top" ? "" : id;
  remember();
  reveal(id);
}

const links = all("nav a");
const seen = new IntersectionObserver(() => {
  const sections = links.map((link) => document.getElementById(link.hash.slice(1)));
  const current = sections.findLast((each) => each.getBoundingClientRect().top < window.innerHeight / 3);
  links.forEach((link, place) => {
    if (sections[place] === current) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
  });
}, { threshold: [0, 0.1, 0.5, 1], rootMargin: "0px 0px -66% 0px" });
links.forEach((link) => seen.observe(document.getElementById(link.hash.slice(1))));

// --- Filters: everything that is of one protocol, data set, metric or base carries it as data ---

const filtered = all("[data-protocol], [data-dataset], [data-metric], [data-against]");

function fits(name, own) {
  if (own === undefined) return true;
  if (name === "dataset") return (data.scopes[chosen("dataset")] ?? []).includes(own);
  const wanted = chosen(name);
  return wanted === "" || own === wanted;
}

function apply() {
  for (const each of filtered) {
    each.hidden = !["protocol", "dataset", "metric", "against"].every((name) => fits(name, each.dataset[name]));
  }
  for (const table of all(".table1, .heat")) {
    table.dataset.view = chosen("view");
    for (const over of all("th[scope=colgroup]", table)) {
      const columns = all("thead tr:last-child th", table).filter(
        (head) => head.dataset.dataset === over.dataset.dataset && !head.hidden,
      );
      over.hidden = columns.length === 0;
      over.colSpan = Math.max(1, columns.length);
    }
    const shown = all("thead tr:last-child th", table).filter((head) => !head.hidden).length;
    all("th[scope=rowgroup]", table).forEach((head) => { head.colSpan = shown; });
    const empty = all("tbody td[data-metric]", table).every((cell) => cell.hidden);
    const frame = table.closest(".edge");
    frame.hidden = empty;
    for (const note of all(".none", frame.parentElement)) note.hidden = !empty;
    rove(table);
  }
  const choice = ["protocol", "dataset", "metric"].map(chosen).join("|");
  fillCards(data.cards[choice]);
  all(".heat tbody tr").forEach(judge);
  drawRanks(data.ranks[choice]);
  const shown = all(".table1 td[data-ours]").filter((cell) => cell.closest("[hidden]") === null);
  status.textContent = `${shown.length} numbers shown`;
  all("#filters .reset").forEach((each) => { each.hidden = selects.every((one) => one.selectedIndex === 0); });
  edges();
}

function fillCards(texts) {
  all(".card").forEach((card, place) => {
    const [number, text, conditions] = texts[place];
    card.querySelector(".big").textContent = number;
    card.querySelector(".text").textContent = text;
    card.querySelector(".conditions small").textContent = conditions;
  });
}

// A row of the heat map is as good as the worst of the numbers that are shown.
function judge(row) {
  const verdicts = all("td[data-verdict]", row).filter((cell) => !cell.hidden).map((cell) => cell.dataset.verdict);
  const worst = data.verdicts.find((each) => verdicts.includes(each));
  const held = row.querySelector(".held");
  held.querySelector("b").textContent = worst ?? "–";
  const count = verdicts.filter((each) => each === worst).length;
  held.querySelector("small").textContent = worst === undefined ? "" : `${count} of ${verdicts.length}`;
}

function reset() {
  for (const each of selects) each.selectedIndex = 0;
  apply();
  remember();
}

// --- Shadows at the edges beyond which a table goes on ---

function edge(scroll) {
  const frame = scroll.parentElement;
  frame.classList.toggle("left", scroll.scrollLeft > 1);
  frame.classList.toggle("right", scroll.scrollLeft + scroll.clientWidth < scroll.scrollWidth - 1);
  frame.classList.toggle("below", scroll.scrollTop + scroll.clientHeight < scroll.scrollHeight - 1);
}

function edges() {
  all(".edge > .scroll").forEach(edge);
}

all(".edge > .scroll").forEach((each) => each.addEventListener("scroll", () => edge(each), { passive: true }));
window.addEventListener("resize", edges);
all("details").forEach((each) => each.addEventListener("toggle", edges));

// --- Paper, on which nothing unfolds: the notes that the table's numbers point to ---

let unfolded = [];
window.addEventListener("beforeprint", () => {
  unfolded = all("details[open] details.notes:not([open])");
  unfolded.forEach((each) => { each.open = true; });
});
window.addEventListener("afterprint", () => unfolded.forEach((each) => { each.open = false; }));

function start() {
  filters.addEventListener("submit", (event) => event.preventDefault());
  selects.forEach((each) => each.addEventListener("change", () => { apply(); remember(); }));
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[href^='#']");
    const cell = event.target.closest("button.cell");
    const head = event.target.closest("button.sort");
    if (event.target.closest(".reset") !== null) reset();
    else if (link !== null && !link.classList.contains("skip")) {
      event.preventDefault();
      go(link.hash.slice(1));
    } else if (cell !== null) openCell(cell);
    else if (head !== null) sortBy(head.closest("th"));
  });
  window.addEventListener("popstate", restore);
  restore();
}
