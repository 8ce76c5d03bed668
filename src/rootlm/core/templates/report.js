"use strict";
// Shows the values of every line at the place under the pointer.
for (const figure of document.querySelectorAll(".chart")) {
  const data = JSON.parse(figure.querySelector("script").textContent);
  const tip = figure.querySelector("output");
  for (const drawing of figure.querySelectorAll(".drawing")) {
    const svg = drawing.querySelector("svg");
    const rule = svg.querySelector(".rule");
    const places = data.places[drawing.dataset.scale];
    svg.addEventListener("pointermove", (event) => {
      const box = svg.getBoundingClientRect();
      const scale = box.width / data.width;
      const at = (event.clientX - box.left) / scale;
      const found = places.map((points) => nearest(points, at));
      const first = found.filter((point) => point).sort((a, b) => Math.abs(a[2] - at) - Math.abs(b[2] - at))[0];
      if (!first) return;
      rule.setAttribute("x1", first[2]);
      rule.setAttribute("x2", first[2]);
      rule.setAttribute("y2", svg.viewBox.baseVal.height);
      rule.removeAttribute("hidden");
      const lines = [`${data.x} ${Math.round(first[0]).toLocaleString("en")}`];
      found.forEach((point, index) => {
        // A line that has no point near here is silent.
        if (point && Math.abs(point[2] - first[2]) < 24) lines.push(`${data.names[index]}  ${shown(point[1])}`);
      });
      tip.textContent = lines.join("\n");
      tip.hidden = false;
      const home = figure.getBoundingClientRect();
      const right = first[2] * scale + box.left - home.left + 12;
      const fits = right + tip.offsetWidth < home.width - 4;
      tip.style.left = `${fits ? right : right - tip.offsetWidth - 24}px`;
      tip.style.top = `${box.top - home.top + 14}px`;
    });
    svg.addEventListener("pointerleave", () => {
      tip.hidden = true;
      rule.setAttribute("hidden", "");
    });
  }
}

function nearest(points, at) {
  let low = 0;
  let high = points.length - 1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (points[middle][2] < at) low = middle;
    else high = middle;
  }
  if (high < 0) return null;
  return Math.abs(points[low][2] - at) <= Math.abs(points[high][2] - at) ? points[low] : points[high];
}

function shown(value) {
  return Math.abs(value) >= 1000 ? Math.round(value).toLocaleString("en") : Number(value.toPrecision(4)).toString();
}
