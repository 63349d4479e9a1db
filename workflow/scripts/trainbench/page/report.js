"use strict";

const FILTERED_FROM_ROWS = 10;

// The first number in a field; NaN where it has none, or where words stand in place of one.
const numberIn = (cell) =>
  cell.classList.contains("absent") ? NaN : parseFloat((/-?\d+(?:\.\d+)?/.exec(cell.textContent) ?? [NaN])[0]);

const byText = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });

// Below 0 where `a` comes first. Unknown goes last, whichever way round.
const compare = (a, b, direction) => {
  if (typeof a === "string") return direction * byText.compare(a, b);
  if (Number.isNaN(a) || Number.isNaN(b)) return Number.isNaN(a) - Number.isNaN(b);
  return direction * (a - b);
};

const makeSortable = (table) => {
  const body = table.tBodies[0];
  const original = [...body.rows];
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    const numeric = head.classList.contains("number");
    button.addEventListener("click", () => {
      // Ascending, descending, as it was.
      const next = { ascending: "descending", descending: null }[head.getAttribute("aria-sort")];
      const order = next === undefined ? "ascending" : next;
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      let rows = original;
      if (order) {
        head.setAttribute("aria-sort", order);
        const direction = order === "ascending" ? 1 : -1;
        const keyed = original.map((row) => {
          const cell = row.cells[column];
          return [numeric ? numberIn(cell) : cell.textContent.trim(), row];
        });
        rows = keyed.sort(([a], [b]) => compare(a, b, direction)).map(([, row]) => row);
      }
      body.append(...rows);
    });
  });
};

const makeFilterable = (box, table) => {
  const rows = [...table.tBodies[0].rows];
  if (rows.length < FILTERED_FROM_ROWS) return;
  const tools = document.createElement("div");
  tools.className = "tools";
  const label = document.createElement("label");
  const input = document.createElement("input");
  const count = document.createElement("output");
  input.type = "search";
  input.id = `${table.id}-filter`;
  input.autocomplete = "off";
  input.spellcheck = false;
  label.htmlFor = input.id;
  label.textContent = "Only rows with";
  tools.append(label, input, count);
  box.prepend(tools);
  const texts = rows.map((row) => row.textContent.toLowerCase());
  input.addEventListener("input", () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    rows.forEach((row, index) => {
      row.hidden = !words.every((word) => texts[index].includes(word));
      shown += !row.hidden;
    });
    count.textContent = words.length ? `${shown} of ${rows.length} rows` : "";
  });
};

for (const box of document.querySelectorAll("[data-sortable]")) {
  const table = box.querySelector("table");
  makeSortable(table);
  makeFilterable(box, table);
}

// Only what scrolls is a stop for the keyboard.
const setStops = () => {
  for (const area of document.querySelectorAll(".scroll, .frame, pre")) {
    const scrolls = area.scrollWidth > area.clientWidth || area.scrollHeight > area.clientHeight;
    if (scrolls) area.tabIndex = 0;
    else area.removeAttribute("tabindex");
  }
};
setStops();
window.addEventListener("resize", setStops);
document.addEventListener("toggle", setStops, true);

// Paper shows everything.
let opened = [];
window.addEventListener("beforeprint", () => {
  opened = [...document.querySelectorAll("details:not([open])")];
  opened.forEach((details) => { details.open = true; });
});
window.addEventListener("afterprint", () => {
  opened.forEach((details) => { details.open = false; });
});
