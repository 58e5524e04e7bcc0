// Hides the series of a model, and reads values off the curve under the pointer.

// The value at a share of an axis, to as many digits as a place in the picture has.
function value([scale, low, high], share) {
  const places = (range) => Math.ceil(Math.log10(2000 / Math.abs(range)))
  if (scale === "log") return Number((low * (high / low) ** share).toPrecision(places(Math.log(high / low)) + 1))
  return Number((low + (high - low) * share).toFixed(Math.max(0, places(high - low))))
}

function points(series) {
  const line = series.querySelector(":scope > path")
  if (!line) return [...series.querySelectorAll("use")].map((use) => [+use.getAttribute("x"), +use.getAttribute("y")])
  const numbers = line.getAttribute("d").match(/-?[\d.]+/g).map(Number)
  return numbers.flatMap((x, i) => (i % 2 ? [] : [[x, numbers[i + 1]]]))
}

function panes(svg) {
  return [...svg.querySelectorAll(".pane")].map((pane) => {
    const series = [...pane.querySelectorAll(".series")].map((one) => ({ of: one, points: points(one) }))
    const { x, y, across, up } = pane.dataset
    const limits = [x, y].map((values) => JSON.parse(values))
    const known = limits.every(([scale]) => ["linear", "log"].includes(scale))
    return { series, limits, known, names: [across, up], box: pane.querySelector("path").getBBox() }
  })
}

function nearest(panes, { x, y }) {
  let best = { far: 12 ** 2 }
  for (const pane of panes) {
    const { box } = pane
    const inside = (px, py) => px >= box.x - 1 && px <= box.x + box.width + 1 && py >= box.y - 1 && py <= box.y + box.height + 1
    if (!pane.known || !inside(x, y)) continue
    for (const { of, points } of pane.series.filter(({ of }) => !of.classList.contains("off")))
      for (const [px, py] of points) {
        const far = (px - x) ** 2 + (py - y) ** 2
        if (far < best.far && inside(px, py)) best = { far, pane, of, px, py }
      }
  }
  return best
}

function told({ pane, of, px, py }) {
  const { box, limits, names } = pane
  const across = value(limits[0], (px - box.x) / box.width)
  const up = value(limits[1], 1 - (py - box.y) / box.height)
  const { label, model } = of.dataset
  return `${[label || model, names[1]].filter(Boolean).join(": ")} = ${up}, ${names[0]} = ${across}`
}

function hide(picture, svg) {
  const shown = [...svg.querySelectorAll("[data-model]")]
  const models = [...new Set(shown.map((one) => one.dataset.model))]
  if (models.length < 2) return
  const bar = Object.assign(document.createElement("div"), { className: "models" })
  for (const model of models) {
    const label = document.createElement("label")
    const box = Object.assign(document.createElement("input"), { type: "checkbox", checked: true })
    box.addEventListener("change", () =>
      shown.filter((one) => one.dataset.model === model).forEach((one) => one.classList.toggle("off", !box.checked)),
    )
    label.append(box, ` ${model}`)
    bar.append(label)
  }
  picture.prepend(bar)
}

function read(picture, svg) {
  const tip = Object.assign(document.createElement("output"), { hidden: true })
  const dot = document.createElementNS(svg.namespaceURI, "circle")
  dot.setAttribute("class", "dot")
  svg.append(dot)
  picture.append(tip)
  let all
  svg.addEventListener("pointermove", ({ clientX, clientY }) => {
    all ??= panes(svg)
    const best = nearest(all, new DOMPoint(clientX, clientY).matrixTransform(svg.getScreenCTM().inverse()))
    tip.hidden = !best.of
    dot.setAttribute("r", best.of ? 3 : 0)
    if (!best.of) return
    dot.setAttribute("cx", best.px)
    dot.setAttribute("cy", best.py)
    tip.textContent = told(best)
    const frame = picture.getBoundingClientRect()
    tip.style.left = `${Math.max(0, Math.min(clientX - frame.left + 12, frame.width - tip.offsetWidth))}px`
    tip.style.top = `${clientY - frame.top + 16}px`
  })
  svg.addEventListener("pointerleave", () => {
    tip.hidden = true
    dot.setAttribute("r", 0)
  })
}

for (const picture of document.querySelectorAll(".picture")) {
  const svg = picture.querySelector("svg")
  hide(picture, svg)
  read(picture, svg)
}

const settings = document.querySelectorAll("details.settings")
addEventListener("beforeprint", () => settings.forEach((one) => (one.open = true)))
