// Draws the charts of the page. Their colors are CSS variables, so that they follow the theme of the page.

const PRINTED = 850; // pixels; the style sheet then makes the charts as wide as the printed page

const charts = JSON.parse(document.getElementById("charts").textContent);
const options = { mode: "vega-lite", renderer: "svg", actions: false, defaultStyle: false, tooltip: { disableDefaultStyle: true } };

const views = [];
const drawn = Object.entries(charts).map(async ([name, spec]) => {
  const element = document.getElementById(`chart-${name}`);
  const { view } = await vegaEmbed(element, spec, options);
  // A tap has no pointer that moves, so that the library shows nothing by itself.
  view.addEventListener("click", (event, item) => view.tooltip()(null, event, item, item?.tooltip));
  views.push({ view, element });
});
Promise.all(drawn).then(() => { document.body.dataset.charts = drawn.length; });

/** Draw each chart as wide as its panel on a printed page. */
addEventListener("beforeprint", () => {
  document.body.style.width = `${PRINTED}px`;
  for (const { view, element } of views) view.width(element.clientWidth).run();
});
addEventListener("afterprint", () => {
  document.body.style.width = "";
  for (const { view, element } of views) view.width(element.clientWidth).run();
});
