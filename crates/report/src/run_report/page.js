"use strict";
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.querySelectorAll("th")];
  const value = (row, column) => {
    const cell = row.cells[column];
    return cell.dataset.value === undefined ? cell.textContent : Number(cell.dataset.value);
  };
  const compare = (a, b) => {
    return typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b));
  };
  heads.forEach((head, column) => {
    head.setAttribute("role", "button");
    head.tabIndex = 0;
    const sort = () => {
      const numbers = head.classList.contains("number");
      const was = head.getAttribute("aria-sort");
      const down = was === null ? numbers : was === "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const body = table.tBodies[0];
      // Empty cells stand at the end, whichever way.
      const isEmpty = (row) => value(row, column) === "";
      const rows = [...body.rows].sort((a, b) =>
        isEmpty(a) - isEmpty(b) || (down ? -1 : 1) * compare(value(a, column), value(b, column)));
      body.append(...rows);
    };
    head.addEventListener("click", sort);
    head.addEventListener("keydown", (event) => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); sort(); } });
  });
}
