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

/** Adds a row for two agents that the page has none for, from what a script brought. */
function addPair(table, root, wanted) {
  const { agents, rows } = window.furtherPairs;
  const chosen = wanted.map((digest) => agents.findIndex(([own]) => own === digest));
  const found = rows.find(([i, j]) => chosen.includes(i) && chosen.includes(j));
  if (!found) return;
  const [i, j, ...texts] = found;
  const heads = [...table.tHead.rows[0].cells].map((cell) => cell.textContent);
  const row = document.createElement("tr");
  row.dataset.pair = `${agents[i][0]} ${agents[j][0]}`;
  const add = (tag, label, ...content) => {
    const cell = document.createElement(tag);
    if (label) cell.dataset.label = label;
    cell.append(...content);
    row.append(cell);
    return cell;
  };
  const link = ([, name, href]) => Object.assign(document.createElement("a"), { className: "agent", href: root + href, textContent: name });
  add("th", "", link(agents[i])).scope = "row";
  add("td", "against", link(agents[j]));
  if (texts.length === 1) {
    const cell = add("td", "Difference", texts[0]);
    cell.className = "num muted";
    cell.colSpan = heads.length - 2;
  } else {
    const [difference, bounds, p, chance, runs] = texts;
    const strong = Object.assign(document.createElement("b"), { textContent: difference });
    const small = Object.assign(document.createElement("small"), { textContent: runs });
    const cells = [["Difference", strong], ["95 % interval", bounds], ["p", p], ["p, corrected", "\u2013"], ["First better", `${chance} `, small]];
    for (const [label, ...content] of cells) add("td", label, ...content).className = "num";
  }
  table.tBodies[0].append(row);
}

/** Loads a script once: a page that is opened as a file may not fetch data. */
function loadOnce(form) {
  form.loading ??= new Promise((resolve, reject) => {
    const script = document.createElement("script");
    Object.assign(script, { src: form.dataset.further, onload: resolve, onerror: reject });
    document.head.append(script);
  });
  return form.loading;
}

/** Shows the comparisons of the agents that are chosen. */
function makeChooser(form) {
  const table = document.querySelector("table.pairs");
  if (!table) return;
  const say = (text) => {
    form.querySelector("output").textContent = text;
  };
  const apply = () => {
    const rows = [...table.querySelectorAll("tr[data-pair]")];
    const wanted = [form.elements.a.value, form.elements.b.value].filter(Boolean);
    for (const row of rows) {
      const pair = row.dataset.pair.split(" ");
      row.hidden = !wanted.every((digest) => pair.includes(digest));
    }
    const shown = rows.filter((row) => !row.hidden).length;
    if (wanted.length === 2 && wanted[0] === wanted[1]) {
      say("choose two agents");
    } else if (wanted.length === 2 && !shown && form.dataset.further) {
      say("loading");
      loadOnce(form).then(
        () => {
          if (form.elements.a.value !== wanted[0] || form.elements.b.value !== wanted[1]) return;
          addPair(table, form.dataset.root, wanted);
          const added = table.tBodies[0].lastElementChild;
          say(added.dataset.pair.split(" ").every((digest) => wanted.includes(digest)) ? `1 of ${rows.length + 1}` : "these two are not compared");
        },
        () => say("the comparison cannot be loaded"),
      );
    } else if (shown) {
      say(`${shown} of ${rows.length}`);
    } else {
      say(wanted.length === 2 ? "these two are not compared" : "choose a second agent");
    }
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
