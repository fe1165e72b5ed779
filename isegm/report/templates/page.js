// The page is complete without this script, which sorts galleries and lets keys close or turn enlarged pictures.
"use strict";
const ORDERS = [
  ["IoU, worst first", "iou", 1],
  ["Dice, worst first", "dice", 1],
  ["HD95, worst first", "hd95", -1],
  ["clicks needed, most first", "noc", -1],
  ["clicks placed, most first", "clicks", -1],
];

for (const gallery of document.querySelectorAll(".gallery")) {
  const cards = [...gallery.children];
  if (cards.length < 2) continue;
  const select = document.createElement("select");
  for (const [words, key] of ORDERS) {
    if (cards.some((card) => card.dataset[key] !== "")) select.add(new Option(words, key));
  }
  select.addEventListener("change", () => {
    const [, key, sign] = ORDERS.find((order) => order[1] === select.value);
    // What is undefined is the worst: a mask that is empty has no HD95.
    const value = (card) => (card.dataset[key] === "" ? -Infinity : sign * Number(card.dataset[key]));
    gallery.append(...cards.slice().sort((a, b) => value(a) - value(b)));
  });
  const label = document.createElement("label");
  label.className = "order";
  label.append("Order: ", select);
  const line = document.createElement("p");
  line.className = "order";
  line.append(label);
  gallery.before(line);
}

document.addEventListener("keydown", (event) => {
  const card = document.querySelector(".card:target");
  if (!card) return;
  const turned = { ArrowLeft: card.previousElementSibling, ArrowRight: card.nextElementSibling }[event.key];
  if (event.key === "Escape") card.querySelector(".close").click();
  else if (turned) turned.querySelector(".open")?.click();
});
