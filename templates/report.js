// The page is whole without this script: it adds a search, sorting and a zoom.
// It uses no ampersand and no less-than sign, so that the page stays well-formed
// XML where its reader wants that.
"use strict";
for (const section of document.querySelectorAll("section")) {
  const make = (name, props, ...children) => {
    const e = Object.assign(document.createElement(name), props);
    e.append(...children);
    return e;
  };

  // The map: a click goes one directory down, the crumbs lead up again.
  const map = section.querySelector("svg.map");
  const tiles = map ? [...map.querySelectorAll("svg[data-path]")] : [];
  const sides = ["x", "y", "width", "height"];
  for (const t of tiles) t.place = sides.map(s => parseFloat(t.getAttribute(s)));
  const crumbs = make("p", {className: "crumbs small"});
  let focus = "/";
  const zoom = dir => {
    const inside = tiles.filter(t => t.dataset.path.startsWith(dir));
    if (inside.length === 0) return;
    focus = dir;
    const x = Math.min(...inside.map(t => t.place[0])), y = Math.min(...inside.map(t => t.place[1]));
    const w = Math.max(...inside.map(t => t.place[0] + t.place[2])) - x, h = Math.max(...inside.map(t => t.place[1] + t.place[3])) - y;
    for (const t of tiles) {
      t.style.display = inside.includes(t) ? "" : "none";
      const [tx, ty, tw, th] = t.place;
      [(tx - x) / w, (ty - y) / h, tw / w, th / h].forEach((v, i) => t.setAttribute(sides[i], v * 100 + "%"));
    }
    crumbs.replaceChildren("Directory: ");
    const names = dir.split("/").filter(n => n !== "");
    for (const depth of [-1, ...names.keys()]) {
      const to = "/" + names.slice(0, depth + 1).map(n => n + "/").join("");
      const button = make("button", {type: "button", textContent: depth === -1 ? "/" : names[depth] + "/"});
      button.addEventListener("click", () => zoom(to));
      crumbs.append(button);
    }
    if (dir === "/") crumbs.append(" — click a tile to go down");
  };
  if (map) {
    map.before(crumbs);
    zoom("/");
    for (const t of tiles) t.addEventListener("click", () => {
      const rest = t.dataset.path.slice(focus.length);
      if (rest !== "") zoom(focus + rest.slice(0, rest.indexOf("/") + 1));
    });
  }

  // The layers: a search over instructions and paths, and other orders.
  const layers = section.querySelector(".layers");
  if (layers) {
    const rows = [...layers.children];
    const search = make("input", {type: "search", placeholder: "Search instructions and paths", ariaLabel: "Search instructions and paths"});
    const order = make("select", {ariaLabel: "Order of the layers"},
      make("option", {value: "", textContent: "newest first"}),
      make("option", {value: "bytes", textContent: "largest first"}),
      make("option", {value: "wasted", textContent: "most wasted first"}));
    const found = make("span", {className: "soft small"});
    section.querySelector("h3.search").after(make("p", {className: "tools"}, search, order, found));
    const lines = () => section.querySelectorAll(".layers details, table.find tbody tr");
    search.addEventListener("input", () => {
      const text = search.value.toLowerCase();
      let n = 0;
      for (const line of lines()) {
        line.hidden = text === "" ? false : !line.textContent.toLowerCase().includes(text);
        if (!line.hidden) if (line.localName === "details") n++;
      }
      for (const t of tiles) t.classList.toggle("other", text === "" ? false : !t.dataset.path.toLowerCase().includes(text));
      found.textContent = text === "" ? "" : n + " of " + layers.querySelectorAll("details").length + " layers";
    });
    order.addEventListener("change", () => {
      const by = order.value;
      const sorted = by === "" ? rows : [...rows].sort((a, b) => (b.dataset[by] || 0) - (a.dataset[by] || 0));
      const divider = layers.querySelector(".divider");
      if (divider) divider.hidden = by !== "";
      layers.append(...sorted.filter(r => !r.classList.contains("head")));
    });
  }

  // Tables: a click on a column's head sorts by it.
  for (const table of section.querySelectorAll("table.find")) {
    const body = table.tBodies[0];
    [...table.querySelectorAll("th")].forEach((th, column) => {
      const button = make("button", {type: "button", textContent: th.textContent, title: "Sort"});
      let down = false;
      button.addEventListener("click", () => {
        down = !down;
        const value = r => r.cells[column].dataset.v;
        const order = (a, b) => value(a) === undefined
          ? a.cells[column].textContent.localeCompare(b.cells[column].textContent)
          : value(a) - value(b);
        body.append(...[...body.rows].sort((a, b) => down ? order(b, a) : order(a, b)));
      });
      th.replaceChildren(button);
    });
  }
}

// A link to a layer opens its row.
const open = () => {
  const at = document.getElementById(location.hash.slice(1));
  if (at) if (at.parentElement.localName === "details") at.parentElement.open = true;
};
addEventListener("hashchange", open);
open();
