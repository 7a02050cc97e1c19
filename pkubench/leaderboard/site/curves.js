// Draws training curves that can be zoomed and read off, in place of the pictures.
"use strict";

/** Writes a number as the pages do: 10M, 2.5k, −0.5. */
function short(value) {
  if (value === null || value === undefined) return "–";
  const size = Math.abs(value);
  const [by, unit] = size >= 1e9 ? [1e9, "G"] : size >= 1e6 ? [1e6, "M"] : size >= 1e3 ? [1e3, "k"] : [1, ""];
  const text = size !== 0 && size < 1e-3 ? value.toExponential(0) : `${+(value / by).toPrecision(4)}${unit}`;
  return text.replace(/-/g, "\u2212");
}

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

/** Draws the dashed lines of reference scores and limits. */
function drawMarks(chart, marks) {
  const { left, top, width, height } = chart.bbox;
  chart.ctx.save();
  for (const [name, value] of Object.entries(marks)) {
    const y = chart.valToPos(value, "y", true);
    if (y < top || y > top + height) continue;
    chart.ctx.strokeStyle = colour(["reference", "limit"].includes(name) ? `--${name}` : "--random");
    chart.ctx.lineWidth = 1.5 * devicePixelRatio;
    chart.ctx.setLineDash([4 * devicePixelRatio, 3 * devicePixelRatio]);
    chart.ctx.beginPath();
    chart.ctx.moveTo(left, y);
    chart.ctx.lineTo(left + width, y);
    chart.ctx.stroke();
  }
  chart.ctx.restore();
}

function makeChart(figure) {
  const data = JSON.parse(figure.dataset.curves);
  const place = figure.querySelector(".chart");
  const tables = data.curves.map((curve) => [curve.steps, curve.mean, ...curve.runs]);
  const series = [{}];
  const means = [];
  data.curves.forEach((curve, number) => {
    means.push(series.length);
    const stroke = colour(`--c${curve.colour}`);
    series.push({ label: curve.name, stroke, width: 2, spanGaps: true, points: { show: false }, curve: number });
    for (const _ of curve.runs) {
      series.push({ stroke: `${stroke}59`, width: 1, spanGaps: true, points: { show: false }, curve: number });
    }
  });
  const axis = { stroke: colour("--muted"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false } };
  const values = [...figure.querySelectorAll(".key[data-curve] output")];
  const chart = new uPlot(
    {
      width: place.clientWidth,
      height: 250,
      series,
      legend: { show: false },
      cursor: { points: { size: 6 } },
      scales: {
        x: { time: false },
        y: {
          distr: data.log ? 3 : 1,
          range: data.log
            ? undefined
            : (_, low, high) => {
                // A mark further away than the curves are high would squeeze them into a line.
                const near = (high - low || Math.abs(high) || 1) * 1.5;
                const marks = Object.values(data.marks).filter((m) => m > low - near && m < high + near);
                const all = [low, high, ...marks];
                const span = Math.max(...all) - Math.min(...all) || 1;
                return [Math.min(...all) - 0.05 * span, Math.max(...all) + 0.05 * span];
              },
        },
      },
      axes: [
        { ...axis, space: 60, size: 34, values: (_, ticks) => ticks.map(short) },
        { ...axis, size: 58, values: (_, ticks) => ticks.map((tick) => (tick === null ? "" : short(tick))) },
      ],
      hooks: {
        draw: [(drawn) => drawMarks(drawn, data.marks)],
        setCursor: [
          (at) => {
            means.forEach((index, number) => {
              const value = at.cursor.idx === null ? null : at.data[index][at.cursor.idx];
              if (values[number]) values[number].textContent = value === null || value === undefined ? "" : short(value);
            });
          },
        ],
      },
    },
    uPlot.join(tables),
    place,
  );
  // A picture to whoever cannot see it; the numbers are in the records.
  chart.root.setAttribute("role", "img");
  chart.root.setAttribute("aria-label", data.label);
  return chart;
}

/** Lets each key of the legend hide and show its curve. */
function makeKeys(figure, current) {
  for (const key of figure.querySelectorAll(".key[data-curve]")) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "key";
    button.dataset.curve = key.dataset.curve;
    button.setAttribute("aria-pressed", "true");
    button.append(...key.childNodes, document.createElement("output"));
    key.replaceWith(button);
    button.addEventListener("click", () => {
      const show = button.getAttribute("aria-pressed") !== "true";
      button.setAttribute("aria-pressed", String(show));
      current().series.forEach((one, index) => {
        if (one.curve === Number(button.dataset.curve)) current().setSeries(index, { show });
      });
    });
  }
}

for (const figure of document.querySelectorAll("figure[data-curves]")) {
  const place = figure.querySelector(".chart");
  let chart = null;
  makeKeys(figure, () => chart);
  const draw = () => {
    chart?.destroy();
    place.replaceChildren();
    chart = makeChart(figure);
    for (const button of figure.querySelectorAll("button.key")) button.setAttribute("aria-pressed", "true");
  };
  draw();
  // Colours are drawn, so a change of the scheme draws anew.
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  new ResizeObserver(() => {
    if (chart.width !== place.clientWidth) chart.setSize({ width: place.clientWidth, height: 250 });
  }).observe(place);
}
