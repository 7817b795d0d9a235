"use strict";
(() => {
  const data = JSON.parse(document.getElementById("rows-data").textContent);
  const PAGE = 60;
  const NOT_JUDGED = new Set(["unchecked", "judge_error", "unparsable_reference"]);
  const byId = (id) => document.getElementById(id);

  // --- Theme ---------------------------------------------------------------------

  const root = document.documentElement;
  byId("theme").addEventListener("click", () => {
    const system = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
    const now = root.dataset.theme || system;
    root.dataset.theme = now === "dark" ? "light" : "dark";
  });

  // --- Elements: text is only ever set as text ------------------------------------

  function element(tag, className, ...children) {
    const node = document.createElement(tag);
    if (className) node.className = className;
    for (const child of children) if (child !== null && child !== undefined) node.append(child);
    return node;
  }

  // Display and inline mathematics, and boxes outside of both. A single dollar opens
  // only before and closes only after a character that is no space, and never before a
  // digit, so that prices stay prices.
  const MATH = new RegExp(
    [
      String.raw`\$\$([\s\S]+?)\$\$`,
      String.raw`\\\[([\s\S]+?)\\\]`,
      String.raw`\\\(([\s\S]+?)\\\)`,
      String.raw`\$(?![\s\d]*\s)((?:\\.|[^$\\\n])+?)(?<![\s\\])\$(?!\d)`,
      String.raw`(\\boxed\{(?:[^{}]|\{[^{}]*\})*\})`,
      String.raw`\\begin\{(align|equation|gather)\*?\}[\s\S]+?\\end\{\6\*?\}`,
    ].join("|"),
    "g",
  );

  function prose(text, className) {
    const node = element("div", "prose" + (className ? " " + className : ""));
    node.dir = "auto";
    const parts = text.split(/```/);
    parts.forEach((part, index) => {
      if (index % 2 === 1) {
        const pre = element("pre", "", part.replace(/^[A-Za-z0-9_+-]*\n/, "").replace(/\n$/, ""));
        pre.tabIndex = 0;
        node.append(pre);
      } else {
        mathematics(node, part);
      }
    });
    return node;
  }

  function mathematics(node, text) {
    let end = 0;
    for (const match of text.matchAll(MATH)) {
      node.append(text.slice(end, match.index));
      end = match.index + match[0].length;
      const display = match[1] ?? match[2] ?? (match[6] ? match[0] : undefined);
      const source = display ?? match[3] ?? match[4] ?? match[5];
      node.append(formula(source, match[0], display !== undefined));
      // White space after a formula on its own line would show as an empty line.
      if (display !== undefined) end += text.slice(end).match(/^[ \t]*\n?[ \t]*/)[0].length;
    }
    node.append(text.slice(end));
  }

  function formula(source, whole, display) {
    const node = element("span", display ? "display" : "");
    if (source.length > 3000) {
      node.textContent = whole;
      return node;
    }
    try {
      katex.render(source, node, {
        displayMode: display, throwOnError: true, trust: false, strict: "ignore",
        errorColor: "var(--bad)",
        maxSize: 20, maxExpand: 200,
      });
    } catch {
      // Not TeX after all: the reader sees what the model wrote.
      node.className = "";
      node.textContent = whole;
    }
    return node;
  }

  // A formula that is wider than its text scrolls by itself, also by keyboard. Widths
  // change with the window, so all are measured anew as they would stand in the line.
  function fit(part) {
    const formulas = [...part.querySelectorAll(".prose > span")];
    for (const node of formulas) {
      if (node.classList.contains("wide")) node.className = "";
      node.removeAttribute("tabindex");
    }
    for (const node of formulas) {
      const display = node.className === "display";
      const wide = display
        ? node.scrollWidth > node.clientWidth + 1
        : node.getBoundingClientRect().right > node.parentElement.getBoundingClientRect().right + 1;
      if (wide) node.tabIndex = 0;
      if (wide && !display) node.className = "display wide";
    }
  }

  const number = (value) => value.toLocaleString("en");
  const words = (text) => text.replaceAll("_", " ");
  const verdictOf = (row) =>
    row.reason === "correct" ? "right" : NOT_JUDGED.has(row.reason) || row.finish === "error" ? "not judged" : "wrong";
  const fatesOf = (row) => row.fates.map((fate) => (fate.row ? "training row" : "rejected: " + words(fate.stage)));

  function badge(row) {
    const verdict = verdictOf(row);
    const kind = verdict === "right" ? "correct" : verdict === "wrong" ? "wrong" : "missing";
    return element("span", "badge " + kind, words(row.reason));
  }

  // --- Filters --------------------------------------------------------------------

  const filters = [
    ["filter-set", (row) => [row.set]],
    ["filter-model", (row) => [row.model]],
    ["filter-verdict", (row) => [verdictOf(row)]],
    ["filter-reason", (row) => [row.reason]],
    ["filter-fate", (row) => (row.fates.length ? fatesOf(row) : ["not curated"])],
  ].map(([id, values]) => ({ select: byId(id), values }));
  const search = byId("search");
  const problemOf = (row) => data.problems[row.problem] || { statement: "" };

  for (const row of data.rows) {
    const problem = problemOf(row);
    row.haystack = [
      row.id, row.problem, problem.statement, problem.reference, row.thought, row.solution,
      row.answer, row.detail, row.error, ...row.fates.map((fate) => fate.row),
    ].filter(Boolean).join("\n").toLowerCase();
  }

  function fill({ select, values }) {
    const counts = new Map();
    for (const row of data.rows) for (const value of new Set(values(row))) counts.set(value, (counts.get(value) || 0) + 1);
    select.append(new Option("all", ""));
    for (const value of [...counts.keys()].sort()) select.append(new Option(`${words(value)} (${counts.get(value)})`, value));
  }

  let found = [];
  let page = 0;
  let current = null;

  function apply() {
    const needle = search.value.trim().toLowerCase();
    found = data.rows.filter(
      (row) =>
        filters.every(({ select, values }) => !select.value || values(row).includes(select.value)) &&
        (!needle || row.haystack.includes(needle)),
    );
    page = 0;
    byId("count").textContent =
      found.length === data.rows.length ? `${number(found.length)} rows` : `${number(found.length)} of ${number(data.rows.length)} rows`;
    list();
    show(found[0] || null);
  }

  // --- The list -------------------------------------------------------------------

  function list() {
    const pages = Math.max(1, Math.ceil(found.length / PAGE));
    byId("page").textContent = `${page + 1} of ${pages}`;
    byId("previous").disabled = page === 0;
    byId("next").disabled = page >= pages - 1;
    byId("list").replaceChildren(...found.slice(page * PAGE, (page + 1) * PAGE).map(item));
    mark();
  }

  function item(row) {
    const button = element("button", "");
    button.type = "button";
    button.dataset.id = row.id;
    button.append(
      preview(problemOf(row).statement),
      element("span", "second", badge(row), `${row.model} · ${row.set}`),
    );
    button.addEventListener("click", () => {
      show(row);
      if (matchMedia("(max-width: 900px)").matches) byId("row").scrollIntoView();
    });
    return element("li", "", button);
  }

  function preview(statement) {
    const node = element("span", "first");
    mathematics(node, statement.slice(0, 160));
    return node;
  }

  function mark() {
    for (const button of byId("list").querySelectorAll("button")) {
      button.setAttribute("aria-current", String(current !== null && button.dataset.id === current.id));
    }
  }

  function turn(to) {
    page = to;
    list();
    byId("list").scrollTop = 0;
  }

  function step(by) {
    if (!found.length) return;
    const at = current ? found.indexOf(current) : -1;
    const next = Math.min(found.length - 1, Math.max(0, at + by));
    if (Math.floor(next / PAGE) !== page) turn(Math.floor(next / PAGE));
    show(found[next]);
    const button = byId("list").querySelector("[aria-current=true]");
    if (button) {
      button.focus({ preventScroll: true });
      button.scrollIntoView({ block: "nearest" });
    }
  }

  // --- A row ----------------------------------------------------------------------

  function show(row) {
    current = row;
    mark();
    const pane = byId("row");
    if (!row) {
      pane.replaceChildren(element("p", "muted", "No row fits. Clear the filters to see all."));
      return;
    }
    const problem = problemOf(row);
    pane.replaceChildren(
      element("h3", "", `${row.set}, sample ${row.sample + 1} of ${row.model}`),
      element("p", "meta", badge(row), ...[
        `${number(row.tokens)} tokens`, `ended by ${row.finish}`, ...fatesOf(row),
      ].map((text) => element("span", "", text))),
      heading("Problem"),
      prose(problem.statement),
      ...(problem.reference === undefined ? [] : [heading("Reference"), prose(problem.reference)]),
      heading("Verdict"),
      verdict(row),
      ...trace(row),
      ...rewrite(row),
      lineage(row, problem),
    );
    fit(pane);
  }

  const heading = (text) => element("h4", "", text);

  function verdict(row) {
    const line = element("div", "verdict-line", badge(row));
    if (row.answer) line.append(element("span", "", "answer read: ", element("code", "", row.answer)));
    if (row.by) line.append(element("span", "muted", "by " + row.by));
    if (row.detail) line.append(element("span", "", row.detail));
    return line;
  }

  function trace(row) {
    if (row.solution === undefined) return [element("p", "muted", "The trace isn’t shown.")];
    const parts = [];
    if (row.error) parts.push(heading("Error of the request"), prose(row.error));
    if (row.thought) parts.push(folded("Thought", () => prose(row.thought, "thought"), row.thought.length < 4000));
    parts.push(heading(row.thought ? "Solution" : "Trace"), prose(row.solution || "(empty)"));
    return parts;
  }

  function rewrite(row) {
    const made = row.rewrite;
    if (!made) return [];
    const by = made.by === "model" ? "by the rewriting model" : "by the rule that changes no word";
    return [
      folded(`Rewrite, ${by}`, () =>
        element(
          "div", "",
          element("p", "muted", `${(100 * made.faithful).toFixed(1)} % of the words kept in order; verdict afterwards: ${words(made.reason)}` +
            (made.rejected ? `; the model’s rewrite was refused: ${made.rejected}` : "")),
          heading("Thought"), prose(made.thought, "thought"), heading("Solution"), prose(made.solution),
        ), row.fates.some((fate) => fate.row) && made.thought.length < 4000),
    ];
  }

  // The content of a folded part is built when it is opened first: long thoughts cost
  // nothing until they are read.
  function folded(title, content, open) {
    const node = element("details", "", element("summary", "", title));
    let built = false;
    const build = () => {
      if (node.open && !built) {
        node.append(content());
        fit(node);
      }
      built = built || node.open;
    };
    node.addEventListener("toggle", build);
    node.open = open;
    build();
    return node;
  }

  function lineage(row, problem) {
    return folded("Lineage", () => {
      const steps = element("ol", "lineage");
      const add = (label, id, note) =>
        steps.append(element("li", "", label + " ", id ? element("code", "", id) : null, note ? element("span", "muted", " " + note) : null));
      const source = Object.entries(problem.meta || {}).map(([key, value]) => `${key} ${value}`).join(", ");
      add("problem", row.problem, source);
      add("trace", row.id, `sample ${row.sample + 1} of ${row.model}`);
      add("verdict", "", words(row.reason) + (row.by ? `, decided by ${row.by}` : ""));
      if (row.rewrite) add("rewrite", "", `by ${row.rewrite.by}, ${words(row.rewrite.reason)}`);
      for (const fate of row.fates) {
        if (fate.row) add(`training row of ${fate.dataset}`, fate.row, "");
        else add(`left out of ${fate.dataset}`, "", `${[...new Set([fate.stage, fate.reason])].map(words).join(": ")}${fate.detail ? ", " + fate.detail : ""}`);
      }
      const kept = row.fates.find((fate) => fate.row);
      return element("div", "", steps, element("p", "muted", "Check every hash on the way: ", element("code", "", `retrace lineage ${kept ? kept.row : row.id}`)));
    }, false);
  }

  // --- Start ----------------------------------------------------------------------

  byId("rows-sampling").textContent =
    data.rows.length < data.total
      ? `${number(data.rows.length)} of ${number(data.total)} traces: every combination of model, set, reason and fate has its share, and within one the hash in the id decides. Texts of more than 24,000 characters are cut in the middle.`
      : `All ${number(data.total)} traces. Texts of more than 24,000 characters are cut in the middle.`;
  filters.forEach(fill);
  byId("browser").hidden = false;
  search.addEventListener("input", apply);
  filters.forEach(({ select }) => select.addEventListener("change", apply));
  byId("filters").addEventListener("reset", () => setTimeout(apply));
  byId("filters").addEventListener("submit", (event) => event.preventDefault());
  byId("previous").addEventListener("click", () => turn(page - 1));
  byId("next").addEventListener("click", () => turn(page + 1));
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest("input, select, textarea")) {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    if (event.key === "/") {
      event.preventDefault();
      search.focus();
    } else if (event.key === "j") step(1);
    else if (event.key === "k") step(-1);
  });
  // A link to a folded score opens it.
  const open = () => {
    const target = location.hash ? byId(location.hash.slice(1)) : null;
    if (target && target.tagName === "DETAILS") target.open = true;
  };
  addEventListener("hashchange", open);
  addEventListener("resize", () => fit(byId("row")));
  open();
  apply();
})();
