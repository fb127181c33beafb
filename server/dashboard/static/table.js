// Tables that become cards on a phone: cells name their column, and roles outlive the layout.

import { add } from "./answer.js";
import { NONE } from "./words.js";

// Columns are [title, kind]; a row has a text or a node per column.
export function table(place, columns, rows) {
  place.setAttribute("role", "table");
  place.replaceChildren();
  const head = part(add(place, "thead"), "rowgroup");
  const titles = part(add(head, "tr"), "row");
  for (const [title, kind] of columns) {
    const cell = part(add(titles, "th", kind, title), "columnheader");
    cell.scope = "col";
  }
  const body = part(add(place, "tbody"), "rowgroup");
  if (!rows.length) {
    const cell = part(add(part(add(body, "tr"), "row"), "td", "note", NONE), "cell");
    cell.colSpan = columns.length;
  }
  for (const row of rows) {
    const line = part(add(body, "tr"), "row");
    row.forEach((content, index) => {
      const [title, kind] = columns[index];
      const cell = part(add(line, "td", kind), "cell");
      cell.dataset.label = title;
      cell.append(content);
    });
  }
}

function part(element, role) {
  element.setAttribute("role", role);
  return element;
}

// Names with their numbers, and bars of their shares.
export function shares(place, entries, all) {
  place.replaceChildren();
  for (const { name, number, told, isBad = false } of entries) {
    const item = add(place, "li", isBad ? "bad" : "");
    add(item, "span", "", name);
    add(item, "span", "number", told);
    const fill = add(add(item, "div", "track"), "div", "fill");
    fill.style.width = `${all ? (100 * number) / all : 0}%`;
  }
}
