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

// Where our number lies beside the paper's: seeds, the interval of our mean, and what counts as reproduced.
function comparison({ ours, paper, interval }, seeds) {
  const [mean, printed] = [Number(ours), Number(paper)];
  const [low, high] = (interval ?? "0 0").split(" ").map((end) => printed + Number(end));
  const shownValues = [mean, printed - 0.012, printed + 0.012, low, high, ...seeds];
  const [least, most] = [Math.min(...shownValues), Math.max(...shownValues)];
  const { svg, draw } = chart(420, 64, `ours ${three(mean)}, paper ${paper}`);
  const x = scale(least, most, 12, 408);
  draw("rect", { x: x(printed - 0.01), y: 14, width: x(printed + 0.01) - x(printed - 0.01), height: 32, class: "band" });
  draw("path", { d: `M${x(printed)},10V50`, class: "reference" });
  if (interval !== undefined) draw("path", { d: `M${x(low)},30H${x(high)}`, class: "mean" });
  seeds.forEach((value) => draw("circle", { cx: x(value), cy: 40, r: 2, class: "one" }));
  draw("circle", { cx: x(mean), cy: 30, r: 4.5, class: "kept" });
  draw("text", { x: x(printed), y: 8, "text-anchor": "middle" }, `paper ${paper} ± 0.01`);
  draw("text", { x: x(mean), y: 61, "text-anchor": "middle" }, `ours ${three(mean)}`);
  return svg;
}

function copyButton(text, label, parent) {
  const button = element("button", label, parent);
  button.type = "button";
  button.className = "copy";
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text());
    } catch {
      // A file opened from disk may have no clipboard: the old way, by a selection.
      const area = element("textarea", text(), body);
      area.select();
      document.execCommand("copy");
      area.remove();
    }
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = label; }, 1500);
  });
}

// A cell's name in the address stays when it is trained anew: protocol/data set/method/metric.
function cellKey(button) {
  const { dataset, metric } = button.closest("td").dataset;
  return [button.closest("table").dataset.protocol, dataset, button.closest("tr").dataset.method, metric].join("/");
}

function cellButton(key) {
  const [protocol, dataset, method, metric] = key.split("/");
  const rows = all(".table1").filter((table) => table.dataset.protocol === protocol)
    .flatMap((table) => all("tr", table)).filter((row) => row.dataset.method === method);
  const wanted = (cell) => cell.dataset.dataset === dataset && cell.dataset.metric === metric;
  return rows.flatMap((row) => [...row.cells]).find(wanted)?.querySelector("button.cell") ?? null;
}

function openCell(button) {
  state.cell = cellKey(button);
  remember();
  showCell();
}

function showCell() {
  const button = state.cell === "" ? null : cellButton(state.cell);
  if (button === null) {
    state.cell = "";
    dialog.close();
    return;
  }
  fillRecord(button);
  for (const step of all("[data-step]", dialog)) step.disabled = neighbour(button, step.dataset.step) === null;
  if (!dialog.open) dialog.showModal();
  body.scrollTop = 0;
}

function stepTo(step) {
  const button = cellButton(state.cell);
  const next = button && neighbour(button, step);
  if (!next) return;
  rove(next.closest("table"), next);
  openCell(next);
}

function fillRecord(button) {
  const digest = button.dataset.cell;
  const record = data.cells[digest] ?? { title: digest, missing: "absent" };
  document.getElementById("record-title").textContent = record.title;
  body.replaceChildren();
  const cell = button.closest("td");
  const numbers = cell.dataset;
  const head = cell.closest("table").tHead.rows[1].cells[cell.cellIndex];
  let compared = "no number in the paper";
  if (numbers.paper !== undefined) {
    compared = `paper ${numbers.paper}, difference ${Number(numbers.delta).toFixed(4).replace(/^-(0\.0+)$/, "$1")}: ${numbers.verdict}`;
  } else if (numbers.printed !== undefined) compared = `paper ${numbers.printed}, not comparable: made from other ratings`;
  element("p", `${head.textContent.trim()}: ours ${Number(numbers.ours).toFixed(4)} over ${numbers.n} seeds; ${compared}.`, body);
  if (numbers.paper !== undefined) body.append(comparison(numbers, record.seeds?.[numbers.metric] ?? []));
  const origin = { here: ", trained in this checkout", published: ", as published" }[record.origin] ?? "";
  const line = element("p", `Record results/runs/${digest}${origin}. `, body);
  const card = document.getElementById(`method-${cell.parentElement.dataset.method}`);
  if (card !== null) {
    const link = element("a", "The method", line);
    link.href = `#${card.id}`;
    line.append(" ");
  }
  copyButton(() => location.href, "Copy a link to this cell", line);
  if (record.missing === "absent") {
    element("p", "The record is not here: records are not part of a clone. The numbers come from the "
      + "files beside this page. `make table1` trains the record.", body);
  } else if (record.missing === "room") {
    element("p", "This page had no room for the record; it lies in the results folder.", body);
  }
  (record.warnings ?? []).forEach((sentence) => element("p", `Warning: ${sentence}.`, body));
  if (record.command) {
    const title = element("h3", "The command that makes it ", body);
    copyButton(() => record.command, "Copy", title);
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
  list("Data", data.shared[record.data]);
  list("Data set's configuration", data.shared[record.configuration?.dataset]);
  list("Protocol", data.shared[record.configuration?.protocol]);
  list("Engine", data.shared[record.configuration?.engine]);
  list("Provenance", record.provenance);
}

dialog.addEventListener("click", (event) => {
  const step = event.target.closest("[data-step]");
  if (step !== null) stepTo(step.dataset.step);
  else if (event.target === dialog || event.target.closest(".close") !== null) dialog.close();
});
dialog.addEventListener("keydown", (event) => {
  const step = /^Arrow(Up|Down|Left|Right)$/.exec(event.key)?.[1].toLowerCase();
  // Inside of what scrolls, the arrows scroll.
  if (!step || event.target.closest(".scroll, #record-body") !== null) return;
  event.preventDefault();
  stepTo(step);
});
dialog.addEventListener("close", () => {
  if (state.cell === "") return;
  state.cell = "";
  remember();
});
