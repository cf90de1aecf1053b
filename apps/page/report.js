// What the page is made of: reads the data that stand in it, and fills the sections.

/// An element with attributes; `text` is its content.
function make(name, attributes = {}, parent = null) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes))
    if (key === "text") element.textContent = value;
    else if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value);
  if (parent) parent.append(element);
  return element;
}

const contentOf = section => document.querySelector(`#${section} .content`);
const report = JSON.parse(document.getElementById("report").textContent);

/// The steps of an epoch are known from lines at an epoch's end; in between, epochs are as many steps.
for (const run of report.runs) {
  const ofEpochs = run.metrics.filter(line => line.epoch > 0).map(line => line.step / line.epoch);
  const steps = d3.min(ofEpochs) || d3.max(run.metrics, line => line.step) || 1;
  run.epochOf = line => line.step / steps;
}

/// The bytes of a block of the page, which are compressed.
async function bytesOf(id) {
  const text = atob(document.getElementById(id).textContent), bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; ++i) bytes[i] = text.charCodeAt(i);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Response(stream).arrayBuffer();
}

function showResults() {
  const content = contentOf("results");
  for (const run of report.runs) {
    if (report.runs.length > 1) make("h3", {text: run.name}, content);
    if (run.results.length > 0) make("pre", {text: run.results.join("\n"), tabindex: 0, "aria-label": "accuracies and how they were measured"}, content);
    const details = make("details", report.runs.length > 1 ? {} : {open: ""}, content);
    make("summary", {text: "Plan of the run"}, details);
    make("pre", {text: run.plan.join("\n"), tabindex: 0, "aria-label": "plan of the run"}, details);
  }
}

function showOptions() {
  const content = contentOf("options"), runs = report.runs;
  const names = [...new Set(runs.flatMap(run => run.options.map(o => o[0])))];
  const values = runs.map(run => new Map(run.options));
  const differ = names.filter(name => new Set(values.map(v => v.get(name))).size > 1);
  const table = (chosen, caption, parent) => {
    const t = make("table", {}, make("div", {class: "scroll", tabindex: 0, role: "region", "aria-label": caption}, parent));
    make("caption", {text: caption, class: "note"}, t);
    const head = make("tr", {}, make("thead", {}, t));
    make("th", {text: "option", scope: "col"}, head);
    for (const run of runs) make("th", {text: run.name, scope: "col"}, head);
    const body = make("tbody", {}, t);
    for (const name of chosen) {
      const row = make("tr", {}, body);
      make("th", {text: name, scope: "row"}, row);
      for (const v of values) make("td", {text: v.get(name) ?? ""}, row);
    }
  };
  if (runs.length > 1) table(differ, differ.length > 0 ? "Options that differ" : "All options are the same", content);
  const details = make("details", {}, content);
  make("summary", {text: "All options"}, details);
  table(names, "Options of the run", details);
  document.getElementById("options").hidden = names.length === 0;
}

function showSections() {
  const list = document.getElementById("sections");
  for (const section of document.querySelectorAll("main > section"))
    if (!section.hidden) make("a", {href: "#" + section.id, text: section.querySelector("h2").textContent}, make("li", {}, list));
}

async function show() {
  showResults();
  showCharts("curves", trainingCharts);
  showCharts("health", healthCharts);
  for (const section of ["map", "gallery", "clusters", "confusion"]) document.getElementById(section).hidden = true;
  if (report.pictures) await showPictures(report.pictures);
  showOptions();
  showSections();
  keepView();
  document.body.dataset.ready = "yes";
}
