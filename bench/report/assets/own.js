// --- A run of one's own beside the table: a table1.csv or seeds.csv, read here and sent nowhere ---

function parseCsv(text) {
  const rows = [];
  let row = [], field = "", inside = false;
  const source = text.replace(/^\ufeff/, "");
  for (let i = 0; i < source.length; i += 1) {
    const letter = source[i];
    if (inside) {
      if (letter !== '"') field += letter;
      else if (source[i + 1] === '"') { field += '"'; i += 1; } else inside = false;
    } else if (letter === '"') inside = true;
    else if (letter === ",") { row.push(field); field = ""; } else if (letter === "\n") {
      row.push(field.replace(/\r$/, ""));
      if (row.length > 1) rows.push(row);
      row = [];
      field = "";
    } else field += letter;
  }
  if (field !== "" || row.length > 0) rows.push([...row, field]);
  const [header = [], ...rest] = rows;
  return rest.map((each) => Object.fromEntries(header.map((name, i) => [name, each[i] ?? ""])));
}

// (protocol, data set, method, metric, rule for users without a positive) → mean over its lines.
function ownMeans(rows) {
  const sums = new Map();
  for (const row of rows) {
    const number = Number(row.value ?? row.mean);
    if ((row.value ?? row.mean ?? "") === "" || !Number.isFinite(number)) continue;
    const key = [row.protocol, row.dataset, row.method, row.metric, row.no_positive ?? ""].join("|");
    const [sum, n] = sums.get(key) ?? [0, 0];
    sums.set(key, [sum + number, n + 1]);
  }
  return new Map([...sums].map(([key, [sum, n]]) => [key, sum / n]));
}

function removeOwn() {
  all(".own, tbody.dropped").forEach((each) => each.remove());
  document.getElementById("own-off").hidden = true;
}

function showOwn(text, name) {
  removeOwn();
  const rows = parseCsv(text);
  const said = document.getElementById("own-status");
  const wanted = ["protocol", "dataset", "method", "metric"];
  if (rows.length === 0 || !wanted.every((each) => each in rows[0]) || !("mean" in rows[0] || "value" in rows[0])) {
    said.textContent = `${name} has not the columns ${wanted.join(", ")} and mean or value: it is no table1.csv or seeds.csv.`;
    return;
  }
  const means = ownMeans(rows);
  let beside = 0, added = 0;
  for (const table of all(".table1")) {
    const heads = [...table.tHead.rows[1].cells];
    const mean = (method, head) => {
      const { dataset, metric, rule } = head.dataset;
      const key = [table.dataset.protocol, dataset, method, metric].join("|");
      return means.get(`${key}|`) ?? means.get(`${key}|${rule}`);
    };
    const known = new Set();
    for (const row of all("tbody tr[data-method]", table)) {
      known.add(row.dataset.method);
      heads.forEach((head, i) => {
        const own = head.dataset.metric === undefined ? undefined : mean(row.dataset.method, head);
        if (own === undefined) return;
        const theirs = row.cells[i].dataset.ours;
        const gap = Math.abs(own - theirs).toFixed(3);
        const sign = Number(gap) === 0 ? "" : own < Number(theirs) ? "−" : "+";
        const difference = theirs === undefined ? "" : ` (${sign}${gap})`;
        element("span", `own ${own.toFixed(3)}${difference}`, row.cells[i]).className = "own";
        beside += 1;
      });
    }
    const methods = new Set([...means.keys()].filter((key) => key.startsWith(`${table.dataset.protocol}|`))
      .map((key) => key.split("|")[2]).filter((method) => !known.has(method)));
    if (methods.size === 0) continue;
    const body = element("tbody", undefined, table);
    body.className = "dropped";
    for (const method of methods) {
      const row = element("tr", undefined, body);
      element("th", method, row).scope = "row";
      element("td", "own", row).className = "a";
      heads.slice(2).forEach((head) => {
        const own = mean(method, head);
        const cell = element("td", own === undefined ? "–" : own.toFixed(3), row);
        Object.assign(cell.dataset, { dataset: head.dataset.dataset, metric: head.dataset.metric });
        cell.hidden = head.hidden;
        filtered.push(cell);
        if (own !== undefined) { cell.dataset.own = own.toFixed(6); added += 1; }
      });
    }
  }
  said.textContent = `${name}: ${beside} numbers beside the table's, ${added} in rows of their own.`;
  document.getElementById("own-off").hidden = false;
  edges();
}

async function readOwn(file) {
  if (file) showOwn(await file.text(), file.name);
}

const ownFile = document.querySelector("#own input");
ownFile.addEventListener("change", () => readOwn(ownFile.files[0]));
document.getElementById("own-off").addEventListener("click", () => {
  removeOwn();
  ownFile.value = "";
  document.getElementById("own-status").textContent = "removed";
});
document.addEventListener("dragover", (event) => event.preventDefault());
document.addEventListener("drop", (event) => {
  event.preventDefault();
  readOwn(event.dataTransfer.files[0]);
});
