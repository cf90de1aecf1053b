// A page of a training that goes on is read again and again: what its reader looks at stays.

const viewKey = "la_report " + location.pathname;

/// The place on the page, what is unfolded, where the map is and how it is colored, and the way that was walked.
function currentView() {
  const seen = {x: scrollX, y: scrollY, open: [...document.querySelectorAll("details")].map(d => d.open)};
  if (mapCanvas) Object.assign(seen, {scale: zoom.scale(), translate: zoom.translate(), color: colorBy, walked, chosen});
  return seen;
}

/// What was seen of the page before it was read again; then, what is to be seen after the next time.
function keepView() {
  let text = null;
  try {
    text = sessionStorage.getItem(viewKey);
    sessionStorage.removeItem(viewKey);
  } catch { return; }  // a browser that keeps nothing for files
  if (text) restoreView(JSON.parse(text));
  if (document.querySelector("meta[http-equiv=refresh]"))
    addEventListener("pagehide", () => sessionStorage.setItem(viewKey, JSON.stringify(currentView())));
}

function restoreView(seen) {
  const details = document.querySelectorAll("details");
  if (details.length === seen.open.length) details.forEach((d, i) => { d.open = seen.open[i]; });
  if (mapCanvas && seen.walked) restorePictures(seen);
  history.scrollRestoration = "manual";
  scrollTo(seen.x, seen.y);
}

function restorePictures(seen) {
  const select = document.getElementById("color-by");
  if ([...select.options].some(option => option.text === seen.color)) {
    select.value = seen.color;
    select.dispatchEvent(new Event("change"));
  }
  walked.splice(0, walked.length, ...seen.walked.filter(i => i < pictures.count));
  if (walked.length > 0) showPicture(walked[walked.length - 1]);
  if (seen.chosen < pictures.count) mapChoose(seen.chosen);
  resizeMap();  // to the size that it has now, for another would show all of the map again
  zoom.scale(seen.scale).translate(seen.translate);
  readZoom();
  draw();
}
