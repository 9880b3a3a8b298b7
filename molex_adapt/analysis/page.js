"use strict";
(() => {
  const content = JSON.parse(document.getElementById("content").textContent);
  const root = document.documentElement;
  const views = {};
  const PAGE = 20, ON_PAPER = 500, NARROWEST = 140;

  // Tables: sorted, filtered and shown page by page, so that thousands of rows answer at once.
  function cellText(value, kind) {
    if (value === null) return "–";
    if (typeof value !== "number") return value;
    if (kind === "percent") return (100 * value).toFixed(1) + " %";
    return Number.isInteger(value) ? String(value) : String(value);
  }

  function makeTable(place) {
    const table = content.tables[place.dataset.table];
    const state = { rows: table.rows, sorted: -1, falling: false, page: 0, size: PAGE };
    const texts = table.rows.map((row) => row.map((v, i) => cellText(v, table.kinds[i])).join(" ").toLowerCase());
    const head = place.querySelector("thead tr"), body = place.querySelector("tbody");
    const said = place.querySelector("[role=status]"), filter = place.querySelector("input");
    const [back, on] = place.querySelectorAll(".tools button");
    const isText = table.columns.map((_, i) => table.rows.some((row) => typeof row[i] === "string"));

    function show() {
      const pages = Math.max(1, Math.ceil(state.rows.length / state.size));
      state.page = Math.min(state.page, pages - 1);
      const first = state.page * state.size, part = state.rows.slice(first, first + state.size);
      body.replaceChildren(...part.map((row) => {
        const line = document.createElement("tr");
        row.forEach((value, i) => {
          const cell = document.createElement(i === 0 ? "th" : "td");
          if (i === 0) cell.scope = "row";
          cell.className = isText[i] ? "text" : "";
          cell.textContent = cellText(value, table.kinds[i]);
          line.append(cell);
        });
        return line;
      }));
      said.textContent = part.length
        ? `rows ${first + 1} to ${first + part.length} of ${state.rows.length}` : "no row has that text";
      back.disabled = state.page === 0;
      on.disabled = state.page >= pages - 1;
      [...head.children].forEach((cell, i) => {
        cell.setAttribute("aria-sort", i !== state.sorted ? "none" : state.falling ? "descending" : "ascending");
      });
    }

    function arrange() {
      const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
      state.rows = table.rows.filter((_, at) => words.every((word) => texts[at].includes(word)));
      if (state.sorted >= 0) {
        const i = state.sorted, sign = state.falling ? -1 : 1;
        // What was not measured stands last either way.
        state.rows.sort((a, b) => a[i] === null ? 1 : b[i] === null ? -1
          : sign * (isText[i] ? String(a[i]).localeCompare(String(b[i])) : a[i] - b[i]));
      }
      show();
    }

    table.columns.forEach((name, i) => {
      const cell = document.createElement("th"), button = document.createElement("button");
      cell.scope = "col";
      cell.className = isText[i] ? "text" : "";
      button.type = "button";
      button.textContent = name.replaceAll("_", " ");
      button.addEventListener("click", () => {
        state.falling = state.sorted === i ? !state.falling : !isText[i];
        state.sorted = i;
        arrange();
      });
      cell.append(button);
      head.append(cell);
    });
    filter.addEventListener("input", () => { state.page = 0; arrange(); });
    back.addEventListener("click", () => { state.page -= 1; show(); });
    on.addEventListener("click", () => { state.page += 1; show(); });
    // Paper has no buttons: it gets all rows of what a reader has filtered, or of very many the first.
    let left = 0;
    addEventListener("beforeprint", () => { left = state.page; state.page = 0; state.size = ON_PAPER; show(); });
    addEventListener("afterprint", () => { state.page = left; state.size = PAGE; show(); });
    show();
  }

  // Charts: drawn when they come into sight, in the colours of the page.
  function records(name) {
    const table = content.tables[name];
    return table ? table.rows.map((row) => Object.fromEntries(row.map((v, i) => [table.columns[i], v]))) : [];
  }

  function chosenRows(key, attack) {
    if (key === "blocks") {
      return (content.blocks[attack] || []).flatMap((row, block) =>
        row.map((gate, e) => ({ block: block + 1, expert: content.experts[e], gate })));
    }
    if (key === "ablation") {
      return records("ablation").filter((row) => row.attack === attack && row.eer_low !== null).map((row) => ({
        expert: row.expert, heirs: row.gates_to === "others" ? "others take over" : "nobody takes over",
        points: 100 * row.eer_change, low: 100 * row.eer_low, high: 100 * row.eer_high, star: row.certain === null ? "" : "*",
      }));
    }
    return content[key][attack] || [];
  }

  function config() {
    const style = getComputedStyle(root);
    const text = style.getPropertyValue("--text").trim(), line = style.getPropertyValue("--line").trim();
    return {
      background: "transparent",
      axis: { labelColor: text, titleColor: text, gridColor: line, domainColor: line, tickColor: line, labelLimit: 220 },
      legend: { labelColor: text, titleColor: text, labelLimit: 220, orient: "top" },
      text: { color: text }, view: { stroke: line }, style: { "guide-label": { fontSize: 11 } },
    };
  }

  // Heat maps need a width for every column and may be scrolled; all else fits into the page.
  // Vega makes the place itself as wide as what it drew, so that only what is around it tells the room there is.
  const fits = (place) => !["usage", "witnesses", "needed", "blocks"].includes(place.dataset.chart);

  // How wide labels are is known once they are drawn; what is too wide still, the keyboard can scroll.
  async function settle(place, view) {
    const room = place.parentElement, canvas = place.querySelector("canvas");
    const beyond = room.clientWidth && canvas ? canvas.offsetWidth - room.clientWidth : 0;
    if (fits(place) && beyond > 0) await view.width(Math.max(NARROWEST, view.width() - beyond)).runAsync();
    if (room.scrollWidth > room.clientWidth) room.tabIndex = 0;
    else room.removeAttribute("tabindex");
  }

  async function draw(place) {
    const key = place.dataset.chart, detail = place.dataset.detail === "yes";
    if (detail && !chosenRows(key, chosen()).length) return;
    const spec = structuredClone((detail ? content.detail : content.charts)[key]);
    if (fits(place)) spec.width = Math.max(NARROWEST, Math.min(spec.width, place.parentElement.clientWidth - 130));
    if (detail) spec.datasets = { chosen: chosenRows(key, chosen()) };
    else if (spec.data && spec.data.name && !spec.datasets) spec.datasets = { [spec.data.name]: records(spec.data.name) };
    const made = await vegaEmbed(place, spec, { actions: false, renderer: "canvas", config: config() });
    if (views[place.id]) views[place.id].finalize();
    views[place.id] = made.view;
    await settle(place, made.view);
    made.view.addEventListener("click", (_, item) => {
      const attack = item && item.datum && item.datum.attack;
      if (!detail && content.attacks.includes(attack)) choose(attack);
    });
  }

  const select = document.getElementById("attack");
  const chosen = () => select.value;

  async function choose(attack) {
    select.value = attack;
    await Promise.all([...document.querySelectorAll("[data-detail=yes]")].map((place) => {
      const figure = place.closest("figure"), former = figure.hidden, rows = chosenRows(place.dataset.chart, attack);
      figure.hidden = !rows.length;
      if (figure.hidden || !views[place.id]) return null;
      // While it was hidden, the colours of the page may have changed.
      return former ? draw(place) : views[place.id].data("chosen", rows).runAsync();
    }));
    document.getElementById("chosen").textContent = attack;
  }

  const places = [...document.querySelectorAll("[data-chart]")];
  const sight = new IntersectionObserver((seen) => {
    for (const entry of seen) {
      if (entry.isIntersecting) { sight.unobserve(entry.target); draw(entry.target); }
    }
  }, { rootMargin: "600px" });

  function theme(name) {
    root.dataset.theme = name;
    document.getElementById("theme").setAttribute("aria-pressed", String(name === "dark"));
    for (const place of places) if (views[place.id]) draw(place);
  }

  document.querySelectorAll("[data-table]").forEach(makeTable);
  select.addEventListener("change", () => choose(chosen()));
  const dark = matchMedia("(prefers-color-scheme: dark)");
  theme(dark.matches ? "dark" : "light");
  dark.addEventListener("change", () => theme(dark.matches ? "dark" : "light"));
  document.getElementById("theme").addEventListener("click", () => theme(root.dataset.theme === "dark" ? "light" : "dark"));
  places.forEach((place) => sight.observe(place));
  let wide = root.clientWidth, waiting;
  addEventListener("resize", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => {
      // A phone's bars come and go while it scrolls: only the height changes then.
      if (root.clientWidth === wide) return;
      wide = root.clientWidth;
      for (const place of places) if (views[place.id] && fits(place)) draw(place);
    }, 150);
  });
  choose(chosen());
  // On paper, charts are drawn that were not yet in sight.
  addEventListener("beforeprint", () => { for (const place of places) if (!views[place.id]) draw(place); });
})();
