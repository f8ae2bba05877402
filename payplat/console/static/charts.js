// Draws the charts of the start page from the numbers that stand beside them, anew whenever those change.
"use strict";

const colours = ["#2a8f85", "#d9892b", "#7a6ff0", "#c2436b", "#4b8bd8"];
const drawn = new Map();
const clock = (seconds) => new Date(seconds * 1000).toISOString().slice(11, 16);

function draw(place) {
  const source = document.querySelector(`[data-series="${place.dataset.chart}"]`);
  if (!source || drawn.get(place)?.text === source.textContent) return;
  drawn.get(place)?.plot.destroy();
  const { minutes, lines } = JSON.parse(source.textContent);
  const ink = getComputedStyle(document.body).color;
  const axis = { stroke: ink, grid: { stroke: "#8883", width: 1 }, ticks: { show: false } };
  const plot = new uPlot({
    width: place.clientWidth,
    height: 190,
    tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC"),
    scales: { y: { range: (_, low, high) => [0, Math.max(high ?? 0, 1)] } },
    axes: [{ ...axis, values: (_, marks) => marks.map(clock) }, { ...axis, size: 48 }],
    series: [{ label: "UTC", value: (_, seconds) => seconds === null ? "–" : clock(seconds) }, ...lines.map(([label], at) => ({
      label, stroke: colours[at % colours.length], width: 2, points: { show: true, size: 4 },
      value: (_, number) => number ?? "–",
    }))],
  }, [minutes, ...lines.map(([, values]) => values)], place);
  drawn.set(place, { plot, text: source.textContent });
}

const all = () => document.querySelectorAll("[data-chart]").forEach(draw);
addEventListener("resize", () => drawn.forEach(({ plot }, place) => plot.setSize({ width: place.clientWidth, height: 190 })));
document.addEventListener("DOMContentLoaded", () => {
  all();
  new MutationObserver(all).observe(document.getElementById("live"), { subtree: true, childList: true, characterData: true });
});
