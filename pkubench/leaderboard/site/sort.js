// Makes the headers of ranking tables sort them. Without scripts the tables are as the board ranks.
"use strict";
for (const table of document.querySelectorAll("table.board")) {
  const headers = [...table.tHead.rows[0].cells];
  headers.forEach((header, column) => {
    if (!header.dataset.sort) return;
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = header.textContent;
    header.replaceChildren(button);
    button.addEventListener("click", () => {
      const up = header.getAttribute("aria-sort") !== "ascending";
      for (const other of headers) other.removeAttribute("aria-sort");
      header.setAttribute("aria-sort", up ? "ascending" : "descending");
      const key = (row) => row.cells[column].dataset.value ?? "";
      const rows = [...table.tBodies[0].rows].sort((a, b) => {
        // What has no value stays at the end in both directions.
        if (!key(a) || !key(b)) return (key(a) ? 0 : 1) - (key(b) ? 0 : 1);
        const order = header.dataset.sort === "number" ? key(a) - key(b) : key(a).localeCompare(key(b));
        return up ? order : -order;
      });
      table.tBodies[0].append(...rows);
    });
  });
}
