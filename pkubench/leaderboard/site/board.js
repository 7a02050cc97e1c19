// Sorting, searching and choosing. Without scripts the tables are whole, and as the board ranks.
"use strict";

/** Adds a choice of the sorting to a table's form: on a phone its headers are not seen. */
function addSorting(table, headers) {
  const form = document.querySelector(`form.filter[data-filters="${table.id}"]`);
  if (!form || !table.id) return;
  const label = document.createElement("label");
  const select = document.createElement("select");
  label.className = "sorting";
  select.name = "sort";
  select.append(new Option("as the board ranks", ""));
  headers.forEach((header, column) => {
    if (!header.dataset.sort) return;
    for (const [sign, word] of [["+", "ascending"], ["-", "descending"]]) {
      select.append(new Option(`${header.textContent.trim()}, ${word}`, `${sign}${column}`));
    }
  });
  label.append("Sort by ", select);
  form.querySelector("output").before(label);
  return select;
}

/** Makes the headers of a table sort its rows, each group by itself. */
function makeSortable(table) {
  const headers = [...table.tHead.rows[0].cells];
  const original = [...table.tBodies].map((group) => [...group.rows]);
  const select = addSorting(table, headers);
  const sort = (column, up) => {
    const header = headers[column];
    for (const other of headers) other.removeAttribute("aria-sort");
    header.setAttribute("aria-sort", up ? "ascending" : "descending");
    const key = (row) => row.cells[column].dataset.value ?? "";
    for (const group of table.tBodies) {
      const rows = [...group.rows].filter((row) => !row.classList.contains("group"));
      rows.sort((a, b) => {
        // What has no value stays at the end in both directions.
        if (!key(a) || !key(b)) return (key(a) ? 0 : 1) - (key(b) ? 0 : 1);
        const order = header.dataset.sort === "number" ? key(a) - key(b) : key(a).localeCompare(key(b));
        return up ? order : -order;
      });
      group.append(...rows);
    }
  };
  select?.addEventListener("input", (event) => {
    event.stopPropagation();
    if (select.value) {
      sort(Number(select.value.slice(1)), select.value.startsWith("+"));
    } else {
      for (const header of headers) header.removeAttribute("aria-sort");
      [...table.tBodies].forEach((group, number) => group.append(...original[number]));
    }
  });
  headers.forEach((header, column) => {
    if (!header.dataset.sort) return;
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = header.textContent;
    header.replaceChildren(button);
    button.addEventListener("click", () => {
      sort(column, header.getAttribute("aria-sort") !== "ascending");
      if (select) select.value = "";
    });
  });
}

/** Shows the rows of a table that a form asks for, and says how many there are. */
function makeFilter(form) {
  const table = document.getElementById(form.dataset.filters);
  const rows = [...table.tBodies].flatMap((group) => [...group.rows]);
  const entries = rows.filter((row) => !row.classList.contains("group"));
  const parts = document.querySelectorAll("nav.pages a").length > 1 ? " on this page" : "";
  const apply = () => {
    const { text, tier, ranked } = form.elements;
    const words = text.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const row of entries) {
      const content = row.textContent.toLowerCase();
      row.hidden = !(
        words.every((word) => content.includes(word)) &&
        (!tier?.value || row.dataset.tier === tier.value) &&
        (!ranked?.checked || !row.classList.contains("unranked"))
      );
    }
    for (const row of rows.filter((row) => row.classList.contains("group"))) {
      row.hidden = [...row.parentElement.rows].every((other) => other === row || other.hidden);
    }
    const shown = entries.filter((row) => !row.hidden).length;
    form.querySelector("output").textContent = `${shown} of ${entries.length}${parts}`;
  };
  form.hidden = false;
  form.addEventListener("input", apply);
  form.addEventListener("submit", (event) => event.preventDefault());
  apply();
}

/** Shows the comparisons of the agents that are chosen. */
function makeChooser(form) {
  const rows = [...document.querySelectorAll("table.pairs tr[data-pair]")];
  const apply = () => {
    const wanted = [form.elements.a.value, form.elements.b.value].filter(Boolean);
    for (const row of rows) {
      const pair = row.dataset.pair.split(" ");
      row.hidden = !wanted.every((digest) => pair.includes(digest));
    }
    const shown = rows.filter((row) => !row.hidden).length;
    form.querySelector("output").textContent =
      wanted.length === 2 && wanted[0] === wanted[1] ? "choose two agents" : `${shown} of ${rows.length}`;
  };
  form.hidden = false;
  form.addEventListener("input", apply);
  apply();
}

/** Renews the state of a submission as it changes, instead of loading the page again. */
function makeLive(status) {
  const events = new EventSource(status.dataset.events);
  let first = null;
  events.addEventListener("message", (event) => {
    const state = JSON.parse(event.data);
    if (state.is_over) {
      events.close();
      location.reload();
      return;
    }
    first ??= event.data;
    if (event.data === first) return;
    status.querySelector(".badge").textContent = state.state;
    status.querySelector(".now").textContent =
      state.state === "queued" ? `number ${state.position} in the queue` : state.progress || "being checked";
  });
}

document.querySelectorAll("table.board, table.sortable").forEach(makeSortable);
document.querySelectorAll("form.filter[data-filters]").forEach(makeFilter);
document.querySelectorAll("form.filter[hidden]:not([data-filters])").forEach(makeChooser);
document.querySelectorAll("[data-events]").forEach(makeLive);
