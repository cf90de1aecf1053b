// Curves over epochs, one chart for each figure, all runs in each.

const dashes = ["", "second", "third"];

/// The points of a metric of a run: [epoch, value], in their order.
function pointsOf(run, key) {
  const points = [];
  for (const line of run.metrics)
    if (typeof line[key] === "number") points.push([run.epochOf(line), line[key]]);
  return points;
}

/// A chart of {title, keys, format, include, note}, whose values include those of `include`; nothing if no run has such a figure.
function chart(spec) {
  const series = [];
  report.runs.forEach((run, r) => spec.keys.forEach(([key, name], k) => {
    const points = pointsOf(run, key);
    if (points.length > 0) series.push({run, r, key, name, dash: dashes[k], points});
  }));
  if (series.length === 0) return null;
  const figure = make("figure"), width = 400, height = 200, left = 46, bottom = 24;
  make("figcaption", {text: spec.title}, figure);
  const values = series.flatMap(s => s.points.map(p => p[1])).concat(spec.include || []);
  const epochs = series.flatMap(s => s.points.map(p => p[0]));
  let [low, high] = d3.extent(values);
  if (low === high) [low, high] = [low - Math.abs(low) * .1 - 1e-9, high + Math.abs(high) * .1 + 1e-9];
  const x = d3.scale.linear().domain([Math.min(0, d3.min(epochs)), Math.max(d3.max(epochs), 1e-9)]).range([left, width - 8]);
  const y = d3.scale.linear().domain([low, high]).nice().range([height - bottom, 8]);
  const svg = d3.select(figure).append("svg").attr({viewBox: `0 0 ${width} ${height}`, role: "img",
    preserveAspectRatio: "none", "aria-label": spec.title + ": " + series.map(s => summary(s, spec)).join("; ")});
  svg.append("g").attr({class: "axis", transform: `translate(0,${height - bottom})`})
     .call(d3.svg.axis().scale(x).orient("bottom").ticks(6).tickSize(4));
  svg.append("g").attr({class: "axis", transform: `translate(${left},0)`})
     .call(d3.svg.axis().scale(y).orient("left").ticks(5).tickSize(4).tickFormat(spec.format));
  const line = d3.svg.line().x(p => x(p[0])).y(p => y(p[1]));
  for (const s of series) {
    svg.append("path").attr({class: `series ${s.dash}`, d: line(s.points)}).style("stroke", `var(--run${s.r % 6})`);
    if (s.points.length === 1)
      svg.append("circle").attr({cx: x(s.points[0][0]), cy: y(s.points[0][1]), r: 3}).style("fill", `var(--run${s.r % 6})`);
  }
  legend(figure, series);
  const readout = make("p", {class: "readout", "aria-hidden": "true"}, figure);
  svg.on("mousemove", function () {
    const epoch = x.invert(d3.mouse(this)[0]);
    readout.textContent = `epoch ${epoch.toFixed(2)}: ` +
      series.map(s => `${labelOf(s, series)} ${spec.format(nearestPoint(s.points, epoch)[1])}`).join(", ");
  }).on("mouseleave", () => readout.textContent = "");
  if (spec.note) make("p", {class: "note", text: spec.note}, figure);
  return figure;
}

function summary(s, spec) {
  const first = s.points[0], last = s.points[s.points.length - 1];
  return `${s.run.name}, ${s.name}: from ${spec.format(first[1])} to ${spec.format(last[1])} at epoch ${last[0].toFixed(1)}`;
}

function nearestPoint(points, epoch) {
  const right = d3.bisector(p => p[0]).left(points, epoch);
  const before = points[Math.max(right - 1, 0)], after = points[Math.min(right, points.length - 1)];
  return epoch - before[0] < after[0] - epoch ? before : after;
}

/// Names what tells the series apart: the figure, the run, or both.
function labelOf(s, series) {
  const runs = new Set(series.map(o => o.r)).size > 1, keys = new Set(series.map(o => o.key)).size > 1;
  return runs && keys ? `${s.run.name}, ${s.name}` : runs ? s.run.name : s.name;
}

function legend(figure, series) {
  const list = make("ul", {class: "legend"}, figure);
  for (const s of series) {
    const item = make("li", {}, list);
    d3.select(item).append("svg").attr("aria-hidden", "true").append("line").attr({x1: 0, x2: 28, y1: 5, y2: 5, class: `series ${s.dash}`})
      .style("stroke", `var(--run${s.r % 6})`);
    item.append(" " + labelOf(s, series));
  }
}

const percent = value => (100 * value).toFixed(1) + " %";
const few = value => Math.abs(value) >= 1000 ? d3.format(",.0f")(value) : String(+value.toPrecision(3));

const trainingCharts = [
  {title: "Accuracy of nearest neighbors", format: percent,
   keys: [["knn200", "k = 200, embeddings"], ["bank_knn200", "k = 200, memory bank"], ["knn1", "nearest of the memory bank"]]},
  {title: "Loss of Local Aggregation", keys: [["la_loss", "loss"]], format: few,
   note: "Falls within an epoch; may rise where new clusters begin."},
  {title: "Loss of the warm start", keys: [["ir_loss", "loss"]], format: few, note: "Begins near log N, that of guessing."},
  {title: "Loss on labels", keys: [["supervised_loss", "loss"]], format: few},
  {title: "Accuracy of the likeliest label", keys: [["likeliest", "top-1"]], format: percent},
  {title: "Learning rate", keys: [["learning_rate", "rate"]], format: few},
  {title: "Pictures a second", keys: [["images_per_second", "pictures"]], format: few, include: [0]},
];

const healthCharts = [
  {title: "Effective rank of the embeddings", format: few, include: [1],
   keys: [["effective_rank", "memory bank"], ["clustered_effective_rank", "as clustered"]],
   note: "Usual: two fifths of the dimensions and more. Collapse: near 1, all pictures in one direction."},
  {title: "Mean similarity of two pictures", format: few, include: [0, 1],
   keys: [["mean_similarity", "memory bank"], ["clustered_mean_similarity", "as clustered"]],
   note: "Usual: below 0.4. Collapse: near 1, all pictures at one point."},
  {title: "Entropy of the clusters' sizes", format: few, include: [0, 1], keys: [["cluster_entropy", "entropy / log m"]],
   note: "Usual: 0.9 and more; 1 where all are of one size. Collapse: 0, one cluster has everything."},
  {title: "Sizes of the clusters", format: few, include: [0],
   keys: [["cluster_largest", "largest"], ["cluster_median", "median"], ["cluster_smallest", "smallest"]],
   note: "Usual: the largest is a few times the median. Collapse: the largest has nearly all pictures."},
  {title: "Neighbors with the picture's label", format: percent, include: [0, 1],
   keys: [["close_same_label", "close, C and B"], ["background_same_label", "background, B"]],
   note: "Usual: close ones more than the background, both more than by chance."},
  {title: "Close neighbors in the background", format: few, include: [0],
   keys: [["close_neighbors", "C and B"], ["background_neighbors", "B"]],
   note: "Usual: a tenth to two thirds are close. Nearly all, and the loss is near 0; fewer than one, and LA has nobody to draw near."},
  {title: "Memory bank entries that moved", format: percent, include: [0, 1], keys: [["bank_moved", "since the evaluation before"]],
   note: "Usual: nearly all after the first epochs, fewer as the learning rate falls. 0 while it is high: nothing is learnt."},
];

function showCharts(section, specs) {
  const content = contentOf(section);
  let shown = 0;
  for (const spec of specs) {
    const figure = chart(spec);
    if (figure) { content.append(figure); ++shown; }
  }
  document.getElementById(section).hidden = shown === 0;
}
