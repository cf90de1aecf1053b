// The map: all pictures as points on a canvas, drawn pixel by pixel so that it follows the hand; thumbnails where there is room.

const view = {scale: 1, x: 0, y: 0};  // pixels of a unit of the map, and where on the canvas its origin lies
let mapCanvas = null, chosen = -1, colorBy = "cluster", colors = null, zoom = null, drawing = false;

function showMap() {
  document.getElementById("map").hidden = false;
  const content = contentOf("map");
  make("p", {class: "note", text: `${pictures.count} of ${pictures.of} pictures by t-SNE of ${pictures.vectors}: what lies together is alike. ` +
    `Trustworthiness ${pictures.trustworthiness.toFixed(3)} (k = 12, ${pictures.trusted} pictures).`}, content);
  const bar = make("div", {class: "bar"}, content), label = make("label", {text: "Color: "}, bar), select = make("select", {id: "color-by"}, label);
  const choices = [...(pictures.labeled ? ["label"] : []), ...(pictures.clusterCount > 0 ? ["cluster", "distance"] : ["density"])];
  for (const name of choices) make("option", {text: name}, select);
  select.addEventListener("change", () => { colorBy = select.value; paint(); });
  for (const [text, title, act] of [["+", "zoom in", () => zoomBy(1.5)], ["−", "zoom out", () => zoomBy(1 / 1.5)], ["Whole map", "", fitMap]])
    make("button", {text, type: "button", "aria-label": title || text, onclick: act}, bar);
  mapCanvas = make("canvas", {tabindex: 0, role: "application", "aria-label": "map of the pictures",
    "aria-describedby": "map-help"}, content);
  make("p", {id: "map-help", class: "note", text: "Drag or arrow keys move, the wheel or + and − zoom, 0 shows all; a click, or Enter for the middle, walks to a picture."}, content);
  make("ul", {class: "key", "aria-label": "colors"}, content);
  colorBy = choices[0];
  zoom = d3.behavior.zoom().scaleExtent([.5, 400]).on("zoom", () => { readZoom(); draw(); });
  d3.select(mapCanvas).call(zoom).on("dblclick.zoom", null);
  let from = [0, 0];  // where a click began: one that has moved was a drag
  mapCanvas.addEventListener("mousedown", event => { from = [event.clientX, event.clientY]; });
  mapCanvas.addEventListener("click", event => {
    if (Math.hypot(event.clientX - from[0], event.clientY - from[1]) >= 4) return;
    const i = nearestTo(event.offsetX, event.offsetY);
    if (i >= 0) walkTo(i);
  });
  mapCanvas.addEventListener("keydown", mapKey);
  new ResizeObserver(() => { resizeMap(); draw(); }).observe(mapCanvas);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  resizeMap();
  fitMap();
  paint();
  drawNow();
}

function mapKey(event) {
  const step = 60, keys = {ArrowLeft: [step, 0], ArrowRight: [-step, 0], ArrowUp: [0, step], ArrowDown: [0, -step]};
  if (keys[event.key]) zoom.translate([zoom.translate()[0] + keys[event.key][0], zoom.translate()[1] + keys[event.key][1]]);
  else if (event.key === "+" || event.key === "=") return zoomBy(1.5);
  else if (event.key === "-") return zoomBy(1 / 1.5);
  else if (event.key === "0") return fitMap();
  else if (event.key === "Enter") { const i = nearestTo(mapCanvas.clientWidth / 2, mapCanvas.clientHeight / 2); if (i >= 0) walkTo(i); return; }
  else return;
  event.preventDefault();
  readZoom();
  draw();
}

/// The pixels of a unit of the map where all of it is shown.
const wholeScale = () => Math.min(mapCanvas.clientWidth, mapCanvas.clientHeight) / (2.1 * pictures.extent);

function readZoom() {
  const [x, y] = zoom.translate();
  view.scale = wholeScale() * zoom.scale();
  view.x = x;
  view.y = y;
}

function zoomBy(factor) {
  const before = zoom.scale(), after = Math.min(Math.max(before * factor, .5), 400);
  const [x, y] = zoom.translate(), middle = [mapCanvas.clientWidth / 2, mapCanvas.clientHeight / 2];
  zoom.scale(after).translate([middle[0] + (x - middle[0]) * after / before, middle[1] + (y - middle[1]) * after / before]);
  readZoom();
  draw();
}

function fitMap() {
  zoom.scale(1).translate([mapCanvas.clientWidth / 2, mapCanvas.clientHeight / 2]);
  readZoom();
  draw();
}

function resizeMap() {
  const ratio = window.devicePixelRatio || 1, [width, height] = [mapCanvas.clientWidth, mapCanvas.clientHeight].map(v => Math.round(v * ratio));
  if (mapCanvas.width === width && mapCanvas.height === height) return;
  Object.assign(mapCanvas, {width, height});
  fitMap();
}

// ---- Colors ----

/// Hues in steps of the golden ratio, of which any few that follow one another are far apart.
const hueOf = number => number * 0.618034 % 1 * 360;
const paint32 = color => { const c = d3.rgb(color); return (255 << 24 | c.b << 16 | c.g << 8 | c.r) >>> 0; };

/// A color for each point, as a pixel of the canvas.
function paint() {
  colors = new Uint32Array(pictures.count);
  const key = document.querySelector("#map .key"), grey = paint32("#8b949e");
  key.replaceChildren();
  const entry = (color, text) => {
    const item = make("li", {}, key);
    make("span", {style: `background:${color}`}, item);
    item.append(text);
  };
  if (colorBy === "label" || colorBy === "cluster") {
    const of = colorBy === "label" ? pictures.labels : pictures.clusters, count = colorBy === "label" ? pictures.labelCount : pictures.clusterCount;
    const hues = Array.from({length: count}, (_, c) => d3.hsl(hueOf(c), .7, [.5, .38, .6][c % 3]).toString()), pixels = hues.map(paint32);
    for (let i = 0; i < pictures.count; ++i) colors[i] = of[i] < 0 ? grey : pixels[of[i]];
    if (colorBy === "label" && count <= 30) hues.forEach((hue, c) => entry(hue, labelText(c)));
  } else {
    const sorted = Float32Array.from(pictures.distances).sort(), low = sorted[0], high = sorted[Math.floor(.99 * (sorted.length - 1))];
    const ramp = d3.scale.linear().domain([0, .5, 1]).range(["#2b6cb0", "#38a169", "#e0a800"]).clamp(true);
    const table = Array.from({length: 256}, (_, v) => paint32(ramp(v / 255)));
    for (let i = 0; i < pictures.count; ++i) colors[i] = table[Math.max(0, Math.min(255, Math.round(255 * (pictures.distances[i] - low) / (high - low || 1))))];
    entry(ramp(0), `near: ${few(low)}`);
    entry(ramp(1), `far: ${few(high)} and more`);
  }
  draw();
}

// ---- Drawing ----

function draw() {
  if (drawing || !colors) return;
  drawing = true;
  requestAnimationFrame(() => { drawing = false; drawNow(); });
}

const screenX = i => view.x + view.scale * pictures.positions[2 * i];
const screenY = i => view.y - view.scale * pictures.positions[2 * i + 1];

function drawNow() {
  const ratio = mapCanvas.width / mapCanvas.clientWidth, {width, height} = mapCanvas, context = mapCanvas.getContext("2d");
  if (width === 0 || height === 0) return;
  const image = context.createImageData(width, height), pixels = new Uint32Array(image.data.buffer);
  const most = pictures.count > 30000 ? 1 : pictures.count > 5000 ? 2 : 3;  // of the whole map
  const size = Math.min(Math.round(ratio * (most + Math.log2(Math.max(1, zoom.scale())))), 8);
  const scale = view.scale * ratio, x0 = view.x * ratio - size / 2, y0 = view.y * ratio - size / 2, {positions, count} = pictures, seen = [];
  for (let i = 0; i < count; ++i) {
    const x = Math.round(x0 + scale * positions[2 * i]), y = Math.round(y0 - scale * positions[2 * i + 1]);
    if (x < 0 || y < 0 || x >= width - size || y >= height - size) continue;
    if (seen.length <= 600) seen.push(i);
    const color = colors[i];
    for (let row = y * width + x, end = row + size * width; row < end; row += width)
      for (let at = row; at < row + size; ++at) pixels[at] = color;
  }
  context.putImageData(image, 0, 0);
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  if (seen.length <= 600) drawThumbs(context, seen);
  if (chosen >= 0) {
    context.strokeStyle = getComputedStyle(document.documentElement).getPropertyValue("--frame");
    context.lineWidth = 3;
    context.beginPath();
    context.arc(screenX(chosen), screenY(chosen), 14, 0, 2 * Math.PI);
    context.stroke();
  }
  context.setTransform(1, 0, 0, 1, 0, 0);
  mapCanvas.dataset.zoom = zoom.scale().toFixed(3);
  mapCanvas.dataset.seen = seen.length > 600 ? "many" : seen.length;
}

function drawThumbs(context, seen) {
  const side = Math.min(pictures.cell, 32);
  for (const i of seen) {
    const [sheet, x, y] = placeOf(i);
    context.drawImage(sheet, x, y, pictures.cell, pictures.cell, screenX(i) - side / 2, screenY(i) - side / 2, side, side);
  }
}

function nearestTo(x, y) {
  let best = -1, least = 400;  // 20 pixels away at most
  for (let i = 0; i < pictures.count; ++i) {
    const d = (screenX(i) - x) ** 2 + (screenY(i) - y) ** 2;
    if (d < least) [least, best] = [d, i];
  }
  return best;
}

function mapChoose(i) {
  chosen = i;
  if (mapCanvas) draw();
}
