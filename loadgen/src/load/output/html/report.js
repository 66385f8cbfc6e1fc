// Shows the values of the window under the pointer. The page can be read without it.
"use strict";
{
  const table = document.getElementById("windows");
  const rows = table === null ? [] : [...table.tBodies[0].rows];
  const places = rows.map((row) => Number(row.dataset.x));
  const heads = table === null ? [] : [...table.tHead.rows[0].cells];

  // They are in order, so halves will do.
  const nearest = (x) => {
    let low = 0;
    let high = places.length - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((places[middle] + places[middle + 1]) / 2 < x) low = middle + 1;
      else high = middle;
    }
    return low;
  };

  for (const figure of document.querySelectorAll("figure[data-columns]")) {
    const columns = figure.dataset.columns.split(" ").filter(Boolean).map(Number);
    if (columns.length === 0 || rows.length === 0) continue;
    const frame = figure.querySelector(".frame");
    const ground = figure.querySelector(".ground");
    const cursor = figure.querySelector(".cursor");
    const readout = figure.querySelector(".readout");
    const leave = () => {
      cursor.classList.remove("shown");
      readout.textContent = "";
    };
    frame.addEventListener("pointermove", (event) => {
      const area = ground.getBoundingClientRect();
      const x = (event.clientX - area.left) / area.width;
      if (x < 0 || x > 1) {
        leave();
        return;
      }
      const n = nearest(x);
      const cells = rows[n].cells;
      const values = columns
        .filter((column) => cells[column].textContent !== "")
        .map((column) => `${heads[column].textContent} ${cells[column].textContent}`);
      readout.textContent = [`${cells[0].textContent} s`, ...values].join(" · ");
      cursor.setAttribute("x1", `${places[n] * 100}%`);
      cursor.setAttribute("x2", `${places[n] * 100}%`);
      cursor.classList.add("shown");
    });
    frame.addEventListener("pointerleave", leave);
  }
}
