"use strict";
(() => {
  const byId = (id) => document.getElementById(id);
  const source = byId("data");
  const data = JSON.parse(source.textContent);
  source.remove();

  // The order in which the rows are written.
  const [ID, NAME, KIND, STATE, DOING, RULE, GROUP, REASON, STATUS, CREATED, COMPLETED, ARCHIVED, UPDATED, TEMPLATE, OWNERS, TAGS] =
    Array(16).keys();
  const rows = data.rows;
  const total = rows.length;
  const says = (row, column) => (typeof row[column] === "number" ? data.words[row[column]] : row[column]);
  const final = new Set(data.final);
  const isFinal = (row) => row[DOING] !== 0 && final.has(`${row[KIND]}.${row[DOING]}`);
  const haystack = rows.map((row) => `${row[NAME]}\n${row[ID]}\n${says(row, REASON)}`.toLowerCase());
  const names = { owners: new Map(Object.entries(data.names.owners)), templates: new Map(Object.entries(data.names.templates)) };
  const ids = (row) => says(row, OWNERS).split(", ").filter(Boolean);
  const ownersOf = (row) => ids(row).map((id) => names.owners.get(id) ?? id).join(", ");
  const templateOf = (row) => names.templates.get(says(row, TEMPLATE)) ?? says(row, TEMPLATE);
  const number = new Intl.NumberFormat("en-US");
  const count = (value) => number.format(value);
  const dates = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric", timeZone: "UTC" });
  const dateOf = (day) => dates.format(new Date(day * 86400000));

  const SINCE = [[ARCHIVED, "archived"], [COMPLETED, "completed"], [CREATED, "created"]];
  const since = (row) => SINCE.find(([column]) => row[column] !== null);
  const ageOf = (row) => {
    const found = since(row);
    return found === undefined ? null : data.today - row[found[0]];
  };
  const days = (value) => `${count(value)} ${value === 1 ? "day" : "days"}`;
  const ID_FORM = /^[0-9a-f]{32}$/;
  const addressOf = (row) =>
    row[KIND] === "run" && ID_FORM.test(row[ID]) && ID_FORM.test(data.org)
      ? `https://go.tallyfy.com/${data.org}/process/${row[ID]}`
      : null;

  // --- order: each column ranks all rows once, when it is first asked for ---------------------------------------------

  const collator = new Intl.Collator("en", { numeric: true, sensitivity: "base" });
  const byText = (text) => () => {
    const texts = rows.map(text);
    const places = new Map([...new Set(texts)].sort(collator.compare).map((value, place) => [value, place]));
    return texts.map((value) => places.get(value));
  };
  const ranked = {
    name: byText((row) => row[NAME] || row[ID]),
    doing: () => rows.map((row) => (isFinal(row) ? 0 : row[DOING] ? 1 : 2)),
    why: byText((row) => says(row, REASON)),
    owner: byText((row) => `${ownersOf(row)}\n${templateOf(row)}`),
    status: byText((row) => says(row, STATUS)),
    age: () => rows.map((row) => ageOf(row) ?? NaN),
  };
  const ranks = {};
  const sorting = { column: "doing", direction: 1 };
  let order = [];

  function sort() {
    const rank = (ranks[sorting.column] ??= ranked[sorting.column]());
    const direction = sorting.direction;
    order = Uint32Array.from(rows.keys()).sort((one, other) => {
      const left = rank[one], right = rank[other];
      // What has no age comes last, whichever way.
      if (left !== left || right !== right) return (left !== left) - (right !== right) || one - other;
      return (left - right) * direction || one - other;
    });
  }

  // --- choice ---------------------------------------------------------------------------------------------------------

  const tools = byId("tools"), search = byId("search"), reason = byId("reason"), status = byId("status"), kind = byId("kind"), owner = byId("owner"), template = byId("template");
  const view = new Uint32Array(total);
  let shown = 0;

  function choose() {
    const terms = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const decision = tools.elements.decision.value;
    const [by, wanted] = [reason.value.slice(0, 4), reason.value.slice(5)];
    const [whose, from] = [owner.value, template.value];
    const owned = new Map();
    const isOwned = (row) => {
      const key = row[OWNERS];
      if (!owned.has(key)) owned.set(key, ids(row).includes(whose));
      return owned.get(key);
    };
    shown = 0;
    for (const at of order) {
      const row = rows[at];
      const due = row[DOING] !== 0;
      if (decision && due !== (decision === "due")) continue;
      if (by && (due !== (by === "rule") || says(row, due ? RULE : GROUP) !== wanted)) continue;
      if (status.value && says(row, STATUS) !== status.value) continue;
      if (kind.value && row[KIND] !== kind.value) continue;
      if (from && says(row, TEMPLATE) !== from) continue;
      if (whose && !isOwned(row)) continue;
      if (terms.length && !terms.every((term) => haystack[at].includes(term))) continue;
      view[shown++] = at;
    }
  }

  function addOptions(into, column, label, only = () => true, values = (row) => [says(row, column)]) {
    const counts = new Map();
    for (const row of rows) if (only(row)) for (const value of values(row)) counts.set(value, (counts.get(value) ?? 0) + 1);
    for (const [value, many] of [...counts].sort((one, other) => other[1] - one[1])) {
      const option = document.createElement("option");
      [option.value, option.textContent] = label(value, many);
      into.append(option);
    }
    return counts.size;
  }

  function addGroup(name, column, prefix, only) {
    const group = document.createElement("optgroup");
    group.label = name;
    if (addOptions(group, column, (value, many) => [`${prefix}:${value}`, `${value} (${count(many)})`], only)) reason.append(group);
  }

  // --- rows: only those in sight are in the document ------------------------------------------------------------------

  const frame = byId("frame"), body = byId("body"), ruler = byId("ruler"), none = byId("none");
  const table = body.parentElement, blank = byId("blank").content.firstElementChild;
  const BEYOND = 6;
  const live = new Map();
  let tall = 1;

  function write(tr, place) {
    const row = rows[view[place]];
    const within = (selector) => tr.querySelector(selector);
    tr.setAttribute("aria-rowindex", place + 2);
    tr.className = row[DOING] ? (isFinal(row) ? "due final" : "due") : "kept";
    tr.style.top = `${place * tall}px`;
    within(".name").textContent = row[NAME] || "(no name)";
    within(".kind").textContent = data.kinds[row[KIND]];
    within(".id").textContent = row[ID];
    within(".badge").textContent = row[DOING] || "keep";
    within(".mark").textContent = isFinal(row) ? "cannot be undone" : "";
    within(".why").textContent = says(row, REASON);
    within(".owner").textContent = ownersOf(row);
    within(".template").textContent = templateOf(row);
    within(".c-status").textContent = says(row, STATUS);
    const found = since(row);
    within(".age").textContent = found ? days(data.today - row[found[0]]) : "–";
    within(".on").textContent = found ? `${found[1]} ${dateOf(row[found[0]])}` : "";
    const address = addressOf(row), open = within(".open");
    open.hidden = address === null;
    if (address === null) open.removeAttribute("href");
    else {
      open.href = address;
      open.setAttribute("aria-label", `Open ${row[NAME] || row[ID]} in Tallyfy`);
    }
  }

  function drop(place) {
    const tr = live.get(place);
    // Who was in a row that scrolled away stays in the list.
    if (tr.contains(document.activeElement)) frame.focus({ preventScroll: true });
    tr.remove();
    live.delete(place);
  }

  function draw() {
    const from = Math.max(0, Math.floor(frame.scrollTop / tall) - BEYOND);
    const to = Math.min(shown, Math.ceil((frame.scrollTop + frame.clientHeight) / tall) + BEYOND);
    for (const place of [...live.keys()]) if (place < from || place >= to) drop(place);
    let next = body.firstChild;
    for (let place = from; place < to; place++) {
      let tr = live.get(place);
      if (tr) next = tr.nextSibling;
      else {
        tr = blank.cloneNode(true);
        write(tr, place);
        live.set(place, tr);
        body.insertBefore(tr, next);
      }
    }
  }

  function redraw() {
    tall = ruler.offsetHeight || 72;
    for (const place of [...live.keys()]) drop(place);
    body.style.height = `${shown * tall}px`;
    table.setAttribute("aria-rowcount", shown + 1);
    none.hidden = shown > 0;
    draw();
  }

  let saying = 0;
  function update() {
    choose();
    frame.scrollTop = 0;
    redraw();
    const said = shown === total ? `All ${count(total)} rows` : `${count(shown)} of ${count(total)} rows`;
    byId("count").textContent = said;
    byId("clear").disabled = shown === total;
    clearTimeout(saying);
    saying = setTimeout(() => {
      byId("said").textContent = `${said} shown`;
      remember();
    }, 500);
  }

  // --- the choice in the address, so that it can be kept and sent ------------------------------------------------------

  const fields = { q: search, reason, owner, template, status, kind };

  function remember() {
    const said = new URLSearchParams();
    for (const [name, field] of Object.entries(fields)) if (field.value) said.set(name, field.value);
    if (tools.elements.decision.value) said.set("decision", tools.elements.decision.value);
    if (sorting.column !== "doing" || sorting.direction !== 1) said.set("sort", (sorting.direction < 0 ? "-" : "") + sorting.column);
    // An address that names a part of the page stays as it is until something is chosen.
    if (said.size || location.hash.includes("=")) history.replaceState(null, "", `#${said}`);
  }

  function recall() {
    if (!location.hash.includes("=")) return;
    const said = new URLSearchParams(location.hash.slice(1));
    tools.reset();
    for (const [name, field] of Object.entries(fields)) {
      const value = said.get(name) ?? "";
      if (field === search || [...field.options].some((option) => option.value === value)) field.value = value;
    }
    for (const choice of tools.elements.decision) if (choice.value === said.get("decision")) choice.checked = true;
    const column = (said.get("sort") ?? "doing").replace(/^-/, "");
    sorting.column = Object.hasOwn(ranked, column) ? column : "doing";
    sorting.direction = said.get("sort")?.startsWith("-") ? -1 : 1;
  }

  // --- the chosen rows, to take away ----------------------------------------------------------------------------------

  const iso = (day) => (day === null ? "" : new Date(day * 86400000).toISOString().slice(0, 10));
  const cells = (row) => [
    row[DOING] || "keep", isFinal(row) ? "yes" : "no", data.kinds[row[KIND]], row[ID], row[NAME], says(row, RULE), says(row, GROUP),
    says(row, REASON), says(row, STATUS), row[STATE], iso(row[CREATED]), iso(row[COMPLETED]), iso(row[ARCHIVED]), iso(row[UPDATED]),
    says(row, TEMPLATE), templateOf(row), says(row, OWNERS), ownersOf(row), says(row, TAGS), addressOf(row) ?? "",
  ];
  // A spreadsheet would run what begins like a formula.
  const quoted = (text) => `"${(/^[=+\-@\uff1d\uff0b\uff0d\uff20]/.test(text) ? `'${text}` : text).replaceAll('"', '""')}"`;
  const line = (texts) => `${texts.map(quoted).join(",")}\r\n`;

  function csv() {
    const lines = ["\ufeff", line(data.columns)];
    for (let place = 0; place < shown; place++) lines.push(line(cells(rows[view[place]])));
    return new Blob(lines, { type: "text/csv;charset=utf-8" });
  }

  byId("csv").addEventListener("click", () => {
    const file = document.createElement("a");
    file.href = URL.createObjectURL(csv());
    file.download = `lifecycle-plan-${data.plan.slice(0, 12)}.csv`;
    file.click();
    setTimeout(() => URL.revokeObjectURL(file.href), 60000);
  });
  byId("print").addEventListener("click", () => print());

  const paper = byId("paper");

  function element(name, ...inside) {
    const made = document.createElement(name);
    made.append(...inside);
    return made;
  }

  function printed(row) {
    const found = since(row), code = element("code", row[ID]);
    const name = element("th", element("strong", row[NAME] || "(no name)"), element("br"), code);
    name.scope = "row";
    return element(
      "tr", name, element("td", `${row[DOING] || "keep"}${isFinal(row) ? ", cannot be undone" : ""}`), element("td", says(row, REASON)),
      element("td", ownersOf(row), element("br"), templateOf(row)), element("td", says(row, STATUS)),
      element("td", found ? `${days(data.today - row[found[0]])}, ${found[1]} ${dateOf(row[found[0]])}` : "–"),
    );
  }

  // All chosen rows are in the document only while it is printed.
  addEventListener("beforeprint", () => {
    const heads = ["Name", "Decision", "Why", "Owner, template", "Status", "Age"].map((head) => element("th", head));
    for (const head of heads) head.scope = "col";
    const list = element("tbody");
    for (let place = 0; place < shown; place++) list.append(printed(rows[view[place]]));
    const chosen = [search.value && `search: ${search.value}`, tools.elements.decision.value, ...[reason, owner, template, status, kind]
      .filter((field) => field.value).map((field) => field.selectedOptions[0].textContent)].filter(Boolean);
    const caption = element("caption", [byId("count").textContent, ...chosen].join(" · "));
    paper.replaceChildren(element("table", caption, element("thead", element("tr", ...heads)), list));
    paper.hidden = false;
  });
  addEventListener("afterprint", () => {
    paper.hidden = true;
    paper.replaceChildren();
  });

  // --- one row, whole -------------------------------------------------------------------------------------------------

  const detail = byId("detail");

  function tell(row) {
    byId("detail-h").textContent = row[NAME] || "(no name)";
    const facts = byId("detail-facts");
    const fact = (name, ...values) => {
      const values_ = values.filter((value) => value !== null && value !== "");
      if (!values_.length) return;
      const box = document.createElement("div"), term = document.createElement("dt"), said = document.createElement("dd");
      term.textContent = name;
      said.append(...values_);
      box.append(term, said);
      facts.append(box);
    };
    const date = (day) => (day === null ? null : `${dateOf(day)} (${day > data.today ? "in the future" : `${days(data.today - day)} ago`})`);
    const mono = (text) => {
      if (!text) return null;
      const code = document.createElement("code");
      code.textContent = text;
      return code;
    };
    facts.replaceChildren();
    fact("Decision", row[DOING] ? `${row[DOING]}${isFinal(row) ? ", cannot be undone" : ""}` : "keep");
    fact("Why", says(row, REASON));
    fact("Rule", says(row, RULE));
    fact("Kind", data.kinds[row[KIND]]);
    fact("Id", mono(row[ID]));
    fact("Status", says(row, STATUS));
    fact("State", row[STATE]);
    fact("Created", date(row[CREATED]));
    fact("Completed", date(row[COMPLETED]));
    fact("Archived", date(row[ARCHIVED]));
    fact("Last touched", date(row[UPDATED]));
    fact("Template", names.templates.get(says(row, TEMPLATE)) ?? null, names.templates.has(says(row, TEMPLATE)) ? " " : null, mono(says(row, TEMPLATE)));
    fact("Owners", ids(row).map((id) => (names.owners.has(id) ? `${names.owners.get(id)} (${id})` : id)).join(", "));
    fact("Tags", says(row, TAGS));
    const address = addressOf(row);
    if (address) {
      const open = blank.querySelector(".open").cloneNode(false);
      open.hidden = false;
      open.href = address;
      open.textContent = "Open in Tallyfy";
      fact("Link", open);
    }
    detail.showModal();
    detail.scrollTop = 0;
  }

  // --- what a reader does ---------------------------------------------------------------------------------------------

  const placeOf = (element) => Number(element.closest("tr").getAttribute("aria-rowindex")) - 2;

  function step(place) {
    if (place < 0 || place >= shown) return;
    const head = table.tHead.offsetHeight, top = place * tall, seen = frame.clientHeight - head;
    if (top < frame.scrollTop) frame.scrollTop = top;
    else if (top + tall > frame.scrollTop + seen) frame.scrollTop = top + tall - seen;
    draw();
    live.get(place).querySelector(".name").focus({ preventScroll: true });
  }

  body.addEventListener("click", (event) => {
    if (event.target.closest("button.name")) tell(rows[view[placeOf(event.target)]]);
  });
  body.addEventListener("keydown", (event) => {
    const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!by || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    step(placeOf(event.target) + by);
  });
  byId("close").addEventListener("click", () => detail.close());
  detail.addEventListener("click", (event) => { if (event.target === detail) detail.close(); });
  frame.addEventListener("scroll", draw, { passive: true });
  new ResizeObserver(() => (ruler.offsetHeight === tall ? draw() : redraw())).observe(frame);
  new ResizeObserver(() => { if (ruler.offsetHeight !== tall) redraw(); }).observe(ruler);

  tools.addEventListener("input", update);
  tools.addEventListener("submit", (event) => event.preventDefault());
  for (const id of ["clear", "clear-too"]) {
    byId(id).addEventListener("click", () => {
      tools.reset();
      update();
      search.focus();
    });
  }

  for (const th of document.querySelectorAll("th[data-sort]")) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = th.textContent;
    th.replaceChildren(button);
    button.addEventListener("click", () => {
      const column = th.dataset.sort;
      sorting.direction = sorting.column === column ? -sorting.direction : 1;
      sorting.column = column;
      mark();
      sort();
      update();
    });
  }
  function mark() {
    for (const th of document.querySelectorAll("th[data-sort]")) {
      if (th.dataset.sort === sorting.column) th.setAttribute("aria-sort", sorting.direction > 0 ? "ascending" : "descending");
      else th.removeAttribute("aria-sort");
    }
  }

  addGroup("Due by rule", RULE, "rule", (row) => row[DOING] !== 0);
  addGroup("Kept because", GROUP, "kind", (row) => row[DOING] === 0);
  addOptions(status, STATUS, (value, many) => [value, `${value} (${count(many)})`]);
  const named = (known, most) => (value, many) =>
    [value, `${known.has(value) ? `${known.get(value)}, ${value.slice(0, most)}` : value} (${count(many)})`];
  const always = () => true;
  const owners = addOptions(owner, OWNERS, named(names.owners, 20), always, (row) => [...new Set(ids(row))]);
  byId("owner-field").hidden = owners < 1;
  const templates = addOptions(template, TEMPLATE, named(names.templates, 6), (row) => says(row, TEMPLATE) !== "");
  byId("template-field").hidden = templates < 1;
  const kinds = addOptions(kind, KIND, (value, many) => [value, `${data.kinds[value]} (${count(many)})`]);
  byId("kind-field").hidden = kinds < 2;

  for (const span of document.querySelectorAll("[data-pick]")) {
    const value = `${span.dataset.pick}:${span.dataset.value}`;
    if (![...reason.options].some((option) => option.value === value)) continue;
    const button = document.createElement("button");
    button.type = "button";
    button.className = "pick";
    button.textContent = span.textContent;
    button.setAttribute("aria-label", `${span.textContent}: show these rows`);
    button.addEventListener("click", () => {
      tools.reset();
      reason.value = value;
      update();
      byId("list").scrollIntoView();
      byId("list").focus({ preventScroll: true });
    });
    span.replaceChildren(button);
  }

  const copy = byId("copy");
  if (copy && navigator.clipboard) {
    copy.hidden = false;
    copy.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(byId("command").textContent);
        copy.textContent = "Copied";
      } catch {
        getSelection().selectAllChildren(byId("command"));
        copy.textContent = "Press Ctrl+C";
      }
    });
  }

  document.documentElement.classList.add("scripted");
  body.replaceChildren();
  tools.hidden = byId("exports").hidden = false;
  recall();
  addEventListener("hashchange", () => {
    if (!location.hash.includes("=")) return;
    recall();
    mark();
    sort();
    update();
  });
  mark();
  sort();
  update();
})();
