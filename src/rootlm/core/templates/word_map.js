// Moves and enlarges a map of words; names that would cover others are left out until there is room.
for (const figure of document.querySelectorAll("figure.places")) {
  const svg = figure.querySelector("svg");
  const search = figure.querySelector("input");
  const words = [...svg.querySelectorAll("g")].map((group) => ({
    group, x: Number(group.dataset.x), y: Number(group.dataset.y),
    name: group.querySelector("text").textContent, width: 8 + group.querySelector("text").getComputedTextLength(),
  }));
  const view = { scale: 1, left: 0, top: 0 };
  let held = null;
  const at = (event) => {
    const box = svg.getBoundingClientRect();
    return [((event.clientX - box.left) / box.width) * svg.viewBox.baseVal.width,
      ((event.clientY - box.top) / box.height) * svg.viewBox.baseVal.height];
  };
  const draw = () => {
    const wanted = search.value.trim().toLowerCase();
    const rows = new Map();
    const ordered = wanted ? [...words].sort((a, b) => found(b, wanted) - found(a, wanted)) : words;
    for (const word of ordered) {
      const left = word.x * view.scale + view.left;
      const top = word.y * view.scale + view.top;
      word.group.setAttribute("transform", `translate(${left.toFixed(1)} ${top.toFixed(1)})`);
      const row = Math.floor(top / 16);
      const near = [row - 1, row, row + 1].flatMap((one) => rows.get(one) || []);
      const free = !near.some((box) => left < box[1] && box[0] < left + word.width && Math.abs(top - box[2]) < 16);
      const marked = Boolean(wanted) && found(word, wanted) > 0;
      word.group.classList.toggle("quiet", !free && !marked);
      word.group.classList.toggle("found", marked);
      if (free || marked) rows.set(row, [...(rows.get(row) || []), [left, left + word.width, top]]);
    }
  };
  svg.addEventListener("wheel", (event) => {
    event.preventDefault();
    const [x, y] = at(event);
    const factor = Math.min(60, Math.max(0.5, view.scale * Math.exp(-event.deltaY / 400))) / view.scale;
    view.left = x - (x - view.left) * factor;
    view.top = y - (y - view.top) * factor;
    view.scale *= factor;
    draw();
  }, { passive: false });
  svg.addEventListener("pointerdown", (event) => {
    svg.setPointerCapture(event.pointerId);
    held = at(event);
  });
  svg.addEventListener("pointermove", (event) => {
    if (!held) return;
    const now = at(event);
    view.left += now[0] - held[0];
    view.top += now[1] - held[1];
    held = now;
    draw();
  });
  svg.addEventListener("pointerup", () => { held = null; });
  svg.addEventListener("dblclick", () => {
    Object.assign(view, { scale: 1, left: 0, top: 0 });
    draw();
  });
  search.addEventListener("input", () => {
    const wanted = search.value.trim().toLowerCase();
    const all = wanted ? words.filter((word) => found(word, wanted)) : [];
    const { width, height } = svg.viewBox.baseVal;
    const seen = all.some((word) => {
      const left = word.x * view.scale + view.left;
      const top = word.y * view.scale + view.top;
      return left > 0 && left < width - 40 && top > 0 && top < height;
    });
    if (all.length && !seen) {
      view.left = width / 2 - all[0].x * view.scale;
      view.top = height / 2 - all[0].y * view.scale;
    }
    draw();
  });
}

function found(word, wanted) {
  return word.name.toLowerCase().includes(wanted) ? 1 : 0;
}
