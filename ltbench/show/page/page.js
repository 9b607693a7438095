"use strict";
const choice = document.getElementById("table");
const filter = document.getElementById("filter");

function show() {
  const words = filter.value.toLowerCase().split(/[\s,]+/).filter(Boolean);
  const bodies = [...document.querySelectorAll("[data-method]")];
  for (const body of bodies) {
    const name = body.dataset.method.toLowerCase();
    const parts = name.split(/[^a-z0-9.=]+/);
    body.hidden = words.length > 0 && !words.some((word) => name.startsWith(word) || parts.some((p) => p.startsWith(word)));
  }
  for (const section of document.querySelectorAll("[data-table]")) {
    section.hidden = choice.value !== "" && section.dataset.table !== choice.value;
  }
  const methods = (rows) => new Set(rows.map((body) => body.dataset.method)).size;
  const left = methods(bodies.filter((body) => !body.hidden));
  document.getElementById("shown").textContent = words.length ? `${left} of ${methods(bodies)} methods` : "";
}

function compare(one, other) {
  const [a, b] = [Number(one), Number(other)];
  return Number.isNaN(a) || Number.isNaN(b) ? one.localeCompare(other) : a - b;
}

function sortBy(header) {
  const table = header.closest("table");
  const column = [...header.parentNode.children].indexOf(header);
  const first = header.classList.contains("number") ? "descending" : "ascending";
  const second = first === "ascending" ? "descending" : "ascending";
  const direction = header.getAttribute("aria-sort") === first ? second : first;
  for (const other of header.parentNode.children) other.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", direction);
  const value = (body) => body.rows[0].cells[column].dataset.value;
  const bodies = [...table.tBodies].sort((one, other) => {
    const [a, b] = [value(one), value(other)];
    if (a === "" || b === "") return (a === "") - (b === "");
    return direction === "ascending" ? compare(a, b) : compare(b, a);
  });
  table.append(...bodies);
}

choice.addEventListener("change", show);
filter.addEventListener("input", show);
document.addEventListener("click", (event) => {
  const button = event.target.closest("table button");
  if (!button) return;
  if (button.closest("thead")) sortBy(button.closest("th"));
  if (button.classList.contains("more")) {
    const details = document.getElementById(button.getAttribute("aria-controls"));
    details.hidden = !details.hidden;
    button.setAttribute("aria-expanded", String(!details.hidden));
  }
});
show();
