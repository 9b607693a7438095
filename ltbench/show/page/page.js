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
  const first = header.classList.contains("number") ? "descending" : "ascending";
  const second = first === "ascending" ? "descending" : "ascending";
  sort(header, header.getAttribute("aria-sort") === first ? second : first);
}

function sort(header, direction) {
  const table = header.closest("table");
  const column = [...header.parentNode.children].indexOf(header);
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

// The address has the view, so that it can be sent: #table=KEY&methods=WORDS&sort=TABLE:HEADING:DIRECTION
function remember() {
  const view = new URLSearchParams();
  if (choice.value) view.set("table", choice.value);
  if (filter.value) view.set("methods", filter.value);
  for (const header of document.querySelectorAll("[aria-sort]")) {
    const place = [header.closest("table").id, header.textContent.trim(), header.getAttribute("aria-sort")];
    view.append("sort", place.join(":"));
  }
  history.replaceState(null, "", `#${view}`);
}

function restore() {
  if (!location.hash.includes("=")) return; // the name of a part of the page, or nothing
  const view = new URLSearchParams(location.hash.slice(1));
  choice.value = view.get("table") ?? "";
  if (choice.selectedIndex < 0) choice.value = "";
  filter.value = view.get("methods") ?? "";
  for (const place of view.getAll("sort")) {
    const [table, heading, direction] = place.split(":");
    const headers = [...(document.getElementById(table)?.tHead.rows[0].cells ?? [])];
    const header = headers.find((one) => one.textContent.trim() === heading);
    if (header && ["ascending", "descending"].includes(direction)) sort(header, direction);
  }
  show();
}

function changed() {
  show();
  remember();
}

choice.addEventListener("change", changed);
filter.addEventListener("input", changed);
window.addEventListener("hashchange", restore);
document.addEventListener("click", (event) => {
  const button = event.target.closest("table button");
  if (!button) return;
  if (button.closest("thead")) {
    sortBy(button.closest("th"));
    remember();
  }
  if (button.classList.contains("more")) {
    const details = document.getElementById(button.getAttribute("aria-controls"));
    details.hidden = !details.hidden;
    button.setAttribute("aria-expanded", String(!details.hidden));
  }
});
show();
restore();
