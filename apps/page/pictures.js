// The pictures: thumbnails on sheets, a map, a walk from neighbor to neighbor, clusters and confusion.

let pictures = null;  // what report.pictures says, and the arrays that belong to it

/// The picture of a sheet, decoded.
async function imageOf(sheet) {
  const image = new Image();
  image.src = "data:image/jpeg;base64," + sheet.textContent;
  await image.decode();
  return image;
}

/// least + step * value, of whole numbers. A loop: Float32Array.from takes ten times as long.
function scaled(values, least, step) {
  const result = new Float32Array(values.length);
  for (let i = 0; i < values.length; ++i) result[i] = least + step * values[i];
  return result;
}

async function showPictures(info) {
  pictures = info;
  const sheets = Promise.all([...document.querySelectorAll("script.sheet")].map(imageOf));
  const [positions, labels, clusters, distances, neighbors, similarities, names] = await Promise.all(
    ["positions", "labels", "cluster-labels", "distances", "neighbors", "similarities", "names"].map(bytesOf));
  pictures.positions = scaled(new Uint16Array(positions), -pictures.extent, pictures.extent / 32767.5);
  pictures.labels = new Int32Array(labels);
  pictures.clusters = new Int32Array(clusters);
  pictures.distances = scaled(new Uint16Array(distances), 0, pictures.farthest / 65535);
  pictures.neighbors = pictures.count > 65536 ? new Int32Array(neighbors) : new Uint16Array(neighbors);
  pictures.similarities = scaled(new Uint8Array(similarities), 0, 1 / 255);
  pictures.names = names.byteLength > 0 ? new TextDecoder().decode(names).split("\n") : null;
  pictures.sheets = await sheets;
  showMap();
  showGallery();
  if (pictures.clusterCount > 0) showClusters();
  if (pictures.confusion) showConfusion();
}

const nameOf = i => pictures.names ? pictures.names[i] : `picture ${pictures.numbers ? pictures.numbers[i] : i}`;
const labelText = label => label < 0 ? "no label" : pictures.labelNames ? pictures.labelNames[label] : `label ${label}`;
function describePicture(i) {
  const parts = [nameOf(i)];
  if (pictures.labeled) parts.push(labelText(pictures.labels[i]));
  if (pictures.clusterCount > 0) parts.push(`cluster ${pictures.clusters[i]}`);
  return parts.join(", ");
}

/// Where thumbnail i lies: its sheet, and its corner there.
function placeOf(i) {
  const {cell, columns, perSheet} = pictures, on = i % perSheet;
  return [pictures.sheets[Math.floor(i / perSheet)], on % columns * cell, Math.floor(on / columns) * cell];
}

function drawThumb(canvas, i) {
  const [sheet, x, y] = placeOf(i), cell = pictures.cell;
  canvas.width = canvas.height = cell;
  canvas.getContext("2d").drawImage(sheet, x, y, cell, cell, 0, 0, cell, cell);
}

/// Canvases draw their thumbnails when they come near the window: most of a long page never do.
const thumbOf = new WeakMap();
const nearWindow = new IntersectionObserver(entries => {
  for (const {target, isIntersecting} of entries) {
    if (!isIntersecting) continue;
    nearWindow.unobserve(target);
    drawThumb(target, thumbOf.get(target));
  }
}, {rootMargin: "500px"});

/// A button that shows picture i and walks to it.
function thumb(i, parent, {query = -1, title = "", large = false} = {}) {
  const kind = query < 0 || !pictures.labeled ? "" : pictures.labels[i] === pictures.labels[query] ? " same" : " other";
  const text = describePicture(i) + (title ? `, ${title}` : "");
  const button = make("button", {class: "thumb" + kind + (large ? " large query" : ""), title: text, "aria-label": text, type: "button",
                                 onclick: () => walkTo(i)}, parent);
  const canvas = make("canvas", {"aria-hidden": "true"}, button);
  thumbOf.set(canvas, i);
  nearWindow.observe(canvas);
  return button;
}

// ---- Neighbors ----

const walked = [];

function showGallery() {
  const content = contentOf("gallery");
  document.getElementById("gallery").hidden = false;
  make("p", {class: "note", text: `Choose a picture to walk to it. Its nearest by embedding are those by ${pictures.vectors}; by pixels, those of the thumbnails.` +
    (pictures.labeled ? " Solid green frames: the same label; dashed red: another." : "")}, content);
  const bar = make("div", {class: "bar"}, content);
  make("button", {text: "Back", type: "button", id: "walk-back", onclick: walkBack}, bar);
  make("button", {text: "A random picture", type: "button", onclick: () => walkTo(Math.floor(Math.random() * pictures.count))}, bar);
  const form = make("form", {class: "bar", onsubmit: event => { event.preventDefault(); find(event.target.elements[0].value); }}, bar);
  make("input", {type: "search", "aria-label": "number or part of the name of a picture", placeholder: "number or name"}, form);
  make("button", {text: "Find"}, form);
  make("div", {class: "walk", id: "walk"}, content);
  make("p", {id: "walk-says", class: "note", role: "status"}, content);
  walkTo(0, false);
}

function find(text) {
  const number = Number(text);
  if (text !== "" && Number.isInteger(number) && number >= 0 && number < pictures.count) return walkTo(number);
  const found = pictures.names ? pictures.names.findIndex(name => name.includes(text)) : -1;
  if (found >= 0) walkTo(found);
  else document.getElementById("walk-says").textContent = `There is no picture "${text}".`;
}

function walkBack() {
  if (walked.length < 2) return;
  walked.pop();
  showPicture(walked[walked.length - 1]);
}

function walkTo(i, scroll = true) {
  walked.push(i);
  showPicture(i);
  if (scroll) document.getElementById("gallery").scrollIntoView({block: "nearest"});
  mapChoose(i);
}

function showPicture(i) {
  const walk = document.getElementById("walk");
  walk.replaceChildren();
  walk.dataset.picture = i;
  const own = make("div", {}, walk);
  thumb(i, own, {large: true});
  make("p", {class: "note", text: describePicture(i)}, own);
  const lists = make("div", {}, walk);
  make("h3", {text: "By embedding"}, lists);
  const near = make("div", {class: "thumbs", id: "by-embedding"}, lists);
  for (let j = i * pictures.k; j < (i + 1) * pictures.k; ++j)
    thumb(pictures.neighbors[j], near, {query: i, title: `similarity ${pictures.similarities[j].toFixed(2)}`});
  make("h3", {text: "By pixels"}, lists);
  const pixels = make("div", {class: "thumbs", id: "by-pixels"}, lists);
  setTimeout(() => {  // after the others are shown, for the first time takes a while
    if (pixels.isConnected) for (const j of nearestByPixels(i)) thumb(j, pixels, {query: i});
  });
  document.getElementById("walk-back").disabled = walked.length < 2;
  document.getElementById("walk-says").textContent = `Shown: ${describePicture(i)}`;
}

/// The brightness of all thumbnails, scaled to length 1: read from the sheets when it is first asked for.
let brightness = null;
function readBrightness() {
  const {cell, perSheet, columns, count} = pictures, pixels = cell * cell;
  brightness = new Float32Array(count * pixels);
  pictures.sheets.forEach((sheet, s) => {
    const canvas = make("canvas", {width: sheet.width, height: sheet.height}), context = canvas.getContext("2d", {willReadFrequently: true});
    context.drawImage(sheet, 0, 0);
    const data = context.getImageData(0, 0, sheet.width, sheet.height).data;
    for (let i = s * perSheet; i < Math.min((s + 1) * perSheet, count); ++i) {
      const on = i % perSheet, x0 = on % columns * cell, y0 = Math.floor(on / columns) * cell;
      let squares = 0;
      for (let p = 0; p < pixels; ++p) {
        const at = 4 * ((y0 + Math.floor(p / cell)) * sheet.width + x0 + p % cell);
        const value = .299 * data[at] + .587 * data[at + 1] + .114 * data[at + 2];
        brightness[i * pixels + p] = value;
        squares += value * value;
      }
      const factor = squares > 0 ? 1 / Math.sqrt(squares) : 0;
      for (let p = i * pixels; p < (i + 1) * pixels; ++p) brightness[p] *= factor;
    }
  });
}

function nearestByPixels(i) {
  if (!brightness) readBrightness();
  const pixels = pictures.cell ** 2, own = brightness.subarray(i * pixels, (i + 1) * pixels), best = [];
  for (let j = 0; j < pictures.count; ++j) {
    let sum = 0;
    for (let p = 0, at = j * pixels; p < pixels; ++p, ++at) sum += own[p] * brightness[at];
    if (j === i || (best.length === pictures.k && sum <= best[best.length - 1][0])) continue;
    best.push([sum, j]);
    best.sort((a, b) => b[0] - a[0] || a[1] - b[1]);
    best.length = Math.min(best.length, pictures.k);
  }
  return best.map(pair => pair[1]);
}

// ---- Clusters ----

function showClusters() {
  const content = contentOf("clusters"), members = Array.from({length: pictures.clusterCount}, () => []);
  document.getElementById("clusters").hidden = false;
  for (let i = 0; i < pictures.count; ++i) if (pictures.clusters[i] >= 0) members[pictures.clusters[i]].push(i);
  members.forEach(list => list.sort((a, b) => pictures.distances[a] - pictures.distances[b] || a - b));
  const tight = list => list.length ? d3.mean(list, i => pictures.distances[i]) : Infinity;
  const orders = {"largest first": (a, b) => members[b].length - members[a].length, "tightest first": (a, b) => tight(members[a]) - tight(members[b]), "by number": (a, b) => a - b};
  make("p", {class: "note", text: `${pictures.clusterCount} clusters: ${pictures.clustering}. The most typical pictures, nearest to the center, come first.`}, content);
  const bar = make("div", {class: "bar"}, content), label = make("label", {text: "Order: "}, bar), select = make("select", {}, label);
  for (const name of Object.keys(orders)) make("option", {text: name}, select);
  const list = make("div", {id: "cluster-list"}, content), more = make("button", {text: "Show more clusters", type: "button"}, content);
  let order = [], shown = 0;
  const showMore = () => {
    for (const end = Math.min(shown + 20, order.length); shown < end; ++shown) showCluster(order[shown], members[order[shown]], list);
    more.hidden = shown >= order.length;
  };
  const restart = () => {
    order = [...members.keys()].filter(c => members[c].length > 0).sort((a, b) => orders[select.value](a, b) || a - b);
    list.replaceChildren();
    shown = 0;
    showMore();
  };
  select.addEventListener("change", restart);
  more.addEventListener("click", showMore);
  restart();
}

function showCluster(c, list, parent) {
  const box = make("div", {class: "cluster"}, parent);
  let text = `Cluster ${c}: ${list.length} pictures`;
  if (pictures.labeled) {
    const counts = d3.map();
    for (const i of list) counts.set(pictures.labels[i], (counts.get(pictures.labels[i]) || 0) + 1);
    const [label, count] = counts.entries().map(e => [Number(e.key), e.value]).sort((a, b) => b[1] - a[1])[0];
    text += `, ${percent(count / list.length)} ${labelText(label)}`;
  }
  make("h3", {text}, box);
  const thumbs = make("div", {class: "thumbs"}, box);
  for (const i of list.slice(0, 16)) thumb(i, thumbs);
}

// ---- Confusion ----

function showConfusion() {
  const {counts, protocol} = pictures.confusion, content = contentOf("confusion");
  document.getElementById("confusion").hidden = false;
  const right = d3.sum(counts, (row, i) => row[i]), all = d3.sum(counts, row => d3.sum(row));
  make("p", {class: "note", text: `${protocol}: ${percent(right / all)} right. Rows: the label; columns: what the neighbors vote for.`}, content);
  const table = make("table", {class: "matrix"}, make("div", {class: "scroll", tabindex: 0, role: "region", "aria-label": "confusion matrix"}, content));
  const head = make("tr", {}, make("thead", {}, table));
  make("th", {text: "label", scope: "col"}, head);
  counts.forEach((_, c) => make("th", {text: labelText(c), scope: "col"}, head));
  const body = make("tbody", {}, table);
  counts.forEach((row, r) => {
    const line = make("tr", {}, body), sum = Math.max(d3.sum(row), 1);
    make("th", {text: labelText(r), scope: "row"}, line);
    row.forEach((count, c) => {
      const cell = make("td", {text: count || "", title: `${labelText(r)} taken for ${labelText(c)}: ${percent(count / sum)}`}, line);
      const strength = Math.round(60 * Math.sqrt(count / sum));
      cell.style.background = `color-mix(in srgb, ${r === c ? "#2da44e" : "#cf222e"} ${strength}%, var(--ground))`;
    });
  });
}
