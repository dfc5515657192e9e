// The report of one target. All text reaches the page as text (textContent or canvas), never as markup.
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const at = (id) => document.getElementById(id);
  const make = (tag, text) => Object.assign(document.createElement(tag), { textContent: text });
  const bytes = (base64) => Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
  const fixed = (value, digits) => (value === null || value === undefined ? "–" : value.toFixed(digits));
  const n = data.sequence.length;
  let current = 0;
  let picked = null; // residues chosen in the error map: [[x from, x to], [y from, y to]], from 0

  const band = (p) => (p > 90 ? "#0053d6" : p > 70 ? "#65cbf3" : p > 50 ? "#ffdb13" : "#ff7d45");
  const mix = (stops, t) => {
    const place = Math.min(Math.max(t, 0), 1) * (stops.length - 1);
    const k = Math.min(Math.floor(place), stops.length - 2);
    return stops[k].map((c, i) => Math.round(c + (place - k) * (stops[k + 1][i] - c)));
  };
  const greens = [[0, 68, 27], [65, 171, 93], [255, 255, 255]];
  const rainbow = [[215, 48, 39], [253, 174, 97], [180, 190, 80], [116, 173, 209], [49, 54, 149]];
  const css = (rgb) => `rgb(${rgb.join(",")})`;
  const residue = (i) => `${data.sequence[i]}${data.ranks[current].numbers[i] ?? i + 1}`;

  // ---- the structure
  let viewer = null;
  try {
    viewer = $3Dmol.createViewer(at("viewer"), { backgroundColor: "white", antialias: true });
    if (!viewer) throw new Error("no viewer");
  } catch (error) {
    at("viewer").textContent = "The 3D view needs WebGL, which this browser does not offer. The structure is in ranked_0.pdb and ranked_0.cif.";
  }

  function colourOf(rank) {
    const broken = new Set(rank.violating);
    const how = at("colour").value;
    const places = new Map(rank.numbers.map((number, i) => [number, i]));
    return (atom) => {
      const i = places.get(atom.resi);
      if (picked) {
        const inside = ([from, to]) => i >= from && i <= to;
        if (inside(picked[0]) && inside(picked[1])) return "#7a3fb5";
        if (inside(picked[0])) return "#d6249f";
        if (inside(picked[1])) return "#00a3a3";
        return "#d5d9de";
      }
      if (how === "chain") return css(mix(rainbow.slice().reverse(), i / Math.max(n - 1, 1)));
      if (how === "violations") return broken.has(i + 1) ? "#d62424" : "#b9c8d8";
      return band(rank.plddt[i] ?? atom.b);
    };
  }

  function paint() {
    if (!viewer) return;
    const style = { colorfunc: colourOf(data.ranks[current]) };
    const shape = at("shape").value;
    if (shape === "stick") style.radius = 0.15;
    viewer.setStyle({}, { [shape]: style });
    viewer.render();
  }

  function load(first) {
    if (!viewer) return;
    const view = first ? null : viewer.getView();
    viewer.removeAllModels();
    viewer.addModel(data.ranks[current].cif, "cif");
    paint();
    if (view) viewer.setView(view);
    else viewer.zoomTo();
    viewer.render();
  }

  // ---- plots
  const pad = { left: 44, right: 12, top: 10, bottom: 34 };
  function surface(id, square) {
    const canvas = at(id);
    const ratio = window.devicePixelRatio || 1;
    const width = canvas.clientWidth;
    const height = square ? Math.min(width, 460) : 260;
    canvas.style.height = `${height}px`;
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    const pen = canvas.getContext("2d");
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, width, height);
    pen.font = "12px system-ui, sans-serif";
    let box = { x: pad.left, y: pad.top, w: width - pad.left - pad.right, h: height - pad.top - pad.bottom };
    if (square) {
      const side = Math.min(box.w - 70, box.h);
      box = { ...box, w: side, h: side };
    }
    return { pen, box };
  }

  function axes(pen, box, low, high, label, downwards) {
    pen.strokeStyle = "#1b1f24";
    pen.lineWidth = 1;
    pen.strokeRect(box.x + 0.5, box.y + 0.5, box.w - 1, box.h - 1);
    pen.fillStyle = "#4a525c";
    for (let k = 0; k <= 4; k++) {
      const t = k / 4;
      pen.textAlign = k === 4 ? "right" : k === 0 ? "left" : "center";
      pen.fillText(String(Math.round(1 + t * (n - 1))), box.x + t * box.w, box.y + box.h + 15);
      pen.textAlign = "right";
      const y = downwards ? box.y + t * box.h : box.y + (1 - t) * box.h;
      pen.fillText(String(Math.round(low + t * (high - low))), box.x - 6, y + 4);
    }
    pen.textAlign = "center";
    pen.fillText(label, box.x + box.w / 2, box.y + box.h + 30);
  }

  function curve(pen, box, values, most, colour, width) {
    pen.strokeStyle = colour;
    pen.lineWidth = width;
    pen.beginPath();
    values.forEach((v, i) => pen.lineTo(box.x + (i / Math.max(n - 1, 1)) * box.w, box.y + (1 - v / most) * box.h));
    pen.stroke();
  }

  let plddtBox = null;
  function drawPlddt() {
    const { pen, box } = surface("plddt");
    plddtBox = box;
    for (const [from, to, colour] of [[90, 100, "#0053d6"], [70, 90, "#65cbf3"], [50, 70, "#ffdb13"], [0, 50, "#ff7d45"]]) {
      pen.globalAlpha = 0.13;
      pen.fillStyle = colour;
      pen.fillRect(box.x, box.y + (1 - to / 100) * box.h, box.w, ((to - from) / 100) * box.h);
    }
    pen.globalAlpha = 1;
    data.ranks.forEach((rank, r) => r !== current && curve(pen, box, rank.plddt, 100, "#aab2bc", 1));
    curve(pen, box, data.ranks[current].plddt, 100, "#1b1f24", 1.8);
    axes(pen, box, 0, 100, "residue");
  }

  let paeBox = null;
  let drag = null;
  const paeBytes = data.ranks.map((rank) => (rank.pae ? bytes(rank.pae.data) : null));
  function drawPae() {
    const pae = data.ranks[current].pae;
    at("pae-section").hidden = !pae;
    if (!pae) return;
    const { pen, box } = surface("pae", true);
    paeBox = box;
    const image = new ImageData(pae.side, pae.side);
    const table = Array.from({ length: 256 }, (_, v) => mix(greens, v / pae.steps / pae.max));
    paeBytes[current].forEach((v, k) => image.data.set([...table[v], 255], 4 * k));
    const source = Object.assign(document.createElement("canvas"), { width: pae.side, height: pae.side });
    source.getContext("2d").putImageData(image, 0, 0);
    pen.imageSmoothingEnabled = false;
    pen.drawImage(source, box.x, box.y, box.w, box.h);
    axes(pen, box, 1, n, "scored residue; down: aligned residue", true);
    const bar = box.x + box.w + 16;
    for (let k = 0; k < box.h; k++) {
      pen.fillStyle = css(mix(greens, 1 - k / box.h));
      pen.fillRect(bar, box.y + k, 14, 1.5);
    }
    pen.strokeRect(bar + 0.5, box.y + 0.5, 13, box.h - 1);
    pen.fillStyle = "#4a525c";
    pen.textAlign = "left";
    pen.fillText(`${Math.round(pae.max)} Å`, bar + 18, box.y + 10);
    pen.fillText("0 Å", bar + 18, box.y + box.h);
    if (picked) {
      const [[x0, x1], [y0, y1]] = picked;
      const cell = box.w / n;
      pen.strokeStyle = "#d6249f";
      pen.lineWidth = 2;
      pen.strokeRect(box.x + x0 * cell, box.y + y0 * cell, (x1 - x0 + 1) * cell, (y1 - y0 + 1) * cell);
    }
  }

  function drawCoverage() {
    const cover = data.coverage;
    at("coverage-section").hidden = !cover;
    if (!cover) return;
    const { pen, box } = surface("coverage");
    const cells = bytes(cover.picture);
    const image = new ImageData(n, Math.max(cover.shown, 1));
    for (let row = 0; row < cover.shown; row++) {
      for (let i = 0; i < n; i++) {
        const v = cells[row * n + i];
        if (v) image.data.set([...mix(rainbow, (v - 1) / 100), 255], 4 * ((cover.shown - 1 - row) * n + i));
      }
    }
    const source = Object.assign(document.createElement("canvas"), { width: n, height: image.height });
    source.getContext("2d").putImageData(image, 0, 0);
    pen.imageSmoothingEnabled = false;
    pen.drawImage(source, box.x, box.y, box.w, box.h);
    curve(pen, box, cover.depth, Math.max(cover.rows, 1), "#1b1f24", 1.6);
    axes(pen, box, 0, cover.rows, "residue");
    const mean = cover.depth.reduce((a, b) => a + b, 0) / Math.max(n, 1);
    at("coverage-read").textContent =
      `${cover.rows} sequences, the target included; ${mean.toFixed(1)} over a residue on average (black line). ` +
      `Rows from the most alike (below, blue) to the least (above, red)${cover.shown < cover.rows ? `; ${cover.shown} of them are drawn` : ""}.`;
  }

  function drawHistory() {
    const { history } = data.ranks[current];
    at("history-section").hidden = history.length === 0;
    const head = make("tr", "");
    ["pass", "mean pLDDT", "pTM", "Cα distance change / Å"].forEach((h) => head.append(make("th", h)));
    const rows = history.map(([plddt, ptm, change], pass) => {
      const row = make("tr", "");
      [String(pass), fixed(plddt, 2), fixed(ptm, 3), fixed(change, 2)].forEach((c) => row.append(make("td", c)));
      return row;
    });
    at("history").replaceChildren(head, ...rows);
  }

  const noPae = "Point at a pair: the expected error at one residue when the structures are aligned on the other. Drag to mark the residues of a part; double-click to unmark.";
  function show(rank, first) {
    current = rank;
    [...at("ranks").children].forEach((b, i) => b.setAttribute("aria-pressed", String(i === rank)));
    const r = data.ranks[rank];
    at("about").textContent =
      `Rank ${rank} of ${data.count} (by ${data.rankedBy === "ptm" ? "pTM" : "pLDDT"}): ${r.model}, seed ${r.seed}. ` +
      `${n} residues, mean pLDDT ${fixed(r.mean, 1)}${r.ptm === null ? "" : `, pTM ${fixed(r.ptm, 3)}`}.`;
    const v = r.violations;
    at("violations").textContent =
      `Not relaxed. Violations of stereochemistry: ${v.bonds} bonds, ${v.angles} angles, ${v.clashes} clashes, ` +
      `${v.within_residues} within residues, ${v.ca_ca} Cα–Cα; ${v.residues} residues are concerned.`;
    at("pae-read").textContent = noPae + (r.pae && r.pae.block > 1 ? ` Averaged over ${r.pae.block} × ${r.pae.block} residues.` : "");
    load(first);
    drawPlddt();
    drawPae();
    drawCoverage();
    drawHistory();
  }

  // ---- hands
  function within(event, box, canvas) {
    const place = canvas.getBoundingClientRect();
    const x = (event.clientX - place.left - box.x) / box.w;
    const y = (event.clientY - place.top - box.y) / box.h;
    return { i: Math.min(n - 1, Math.max(0, Math.floor(x * n))), j: Math.min(n - 1, Math.max(0, Math.floor(y * n))), in: x >= 0 && x < 1 && y >= 0 && y < 1 };
  }
  at("plddt").addEventListener("pointermove", (event) => {
    const { i, in: inside } = within(event, plddtBox, at("plddt"));
    if (inside) at("plddt-read").textContent = `${residue(i)}: pLDDT ${fixed(data.ranks[current].plddt[i], 1)}`;
  });
  at("pae").addEventListener("pointermove", (event) => {
    const pae = data.ranks[current].pae;
    const { i, j, in: inside } = within(event, paeBox, at("pae"));
    if (drag) {
      picked = [[Math.min(drag.i, i), Math.max(drag.i, i)], [Math.min(drag.j, j), Math.max(drag.j, j)]];
      drawPae();
    }
    if (!inside && !drag) return;
    const cell = Math.floor(j / pae.block) * pae.side + Math.floor(i / pae.block);
    at("pae-read").textContent = `aligned on ${residue(j)}, scored at ${residue(i)}: ${(paeBytes[current][cell] / pae.steps).toFixed(1)} Å`;
  });
  at("pae").addEventListener("pointerdown", (event) => {
    const place = within(event, paeBox, at("pae"));
    if (!place.in) return;
    drag = place;
    at("pae").setPointerCapture(event.pointerId);
  });
  at("pae").addEventListener("pointerup", () => {
    if (drag && picked) {
      const [[x0, x1], [y0, y1]] = picked;
      at("pae-read").textContent = `Marked in the structure: scored ${residue(x0)}–${residue(x1)} magenta, aligned ${residue(y0)}–${residue(y1)} teal, both violet.`;
    }
    drag = null;
    paint();
  });
  at("pae").addEventListener("dblclick", () => {
    picked = null;
    drawPae();
    paint();
  });
  at("colour").addEventListener("change", () => {
    picked = null;
    drawPae();
    paint();
  });
  at("shape").addEventListener("change", paint);
  at("reset").addEventListener("click", () => {
    if (!viewer) return;
    viewer.zoomTo();
    viewer.render();
  });
  window.addEventListener("resize", () => {
    drawPlddt();
    drawPae();
    drawCoverage();
    if (viewer) viewer.resize();
  });

  at("title").textContent = data.title;
  at("footer").textContent = `${data.software}; AlphaFold 2 (Jumper et al. 2021). Viewer: 3Dmol.js (Rego and Koes 2015). This page needs no network.`;
  if (data.count > data.ranks.length) at("footer").textContent += ` The first ${data.ranks.length} of ${data.count} ranks are shown.`;
  data.ranks.forEach((rank, i) => {
    const button = make("button", `${i}: ${rank.label} · ${rank.mean.toFixed(1)}`);
    button.type = "button";
    button.addEventListener("click", () => show(i, false));
    at("ranks").append(button);
  });
  show(0, true);
})();
