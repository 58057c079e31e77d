"use strict";
const cards = [...document.querySelectorAll("article")];
const hidden = JSON.parse(document.getElementById("hidden").textContent);
const key = "rbkeras-verdicts-" + document.body.dataset.key;
const control = (id) => document.getElementById(id);
const name = (card) => card.dataset.detector + "," + card.dataset.sample;

for (const card of cards) card.dataset.before = card.dataset.verdict;

function judge(card, word) {
  card.dataset.verdict = word;
  for (const button of card.querySelectorAll("button"))
    button.setAttribute("aria-pressed", String(button.value === word));
}

// A browser that keeps no data for local files refuses; then a reload loses what was pressed.
function remember() {
  const words = Object.fromEntries(cards.map((card) => [name(card), card.dataset.verdict]));
  try { localStorage.setItem(key, JSON.stringify(words)); } catch { /* see above */ }
}

function recall() {
  let words = {};
  try { words = JSON.parse(localStorage.getItem(key)) ?? {}; } catch { /* see above */ }
  for (const card of cards) if (name(card) in words) judge(card, words[name(card)]);
}

function visible(card) {
  const { label, suspect, verdict } = card.dataset;
  const which = control("which").value;
  return (!control("class").value || label === control("class").value)
    && (which !== "suspect" || suspect === "1")
    && (which !== "open" || !verdict)
    && (which !== "judged" || Boolean(verdict));
}

function count() {
  const judged = cards.filter((card) => card.dataset.verdict).length;
  const shown = cards.filter((card) => !card.hidden).length;
  control("count").value = `${shown} of ${cards.length} shown, ${judged} with a verdict`;
}

function filter() {
  for (const card of cards) card.hidden = !visible(card);
  count();
}

function sort() {
  const by = control("order").value;
  const value = (card) => Number(card.dataset[by]);
  const rank = (card) => Number(card.dataset.rank);
  cards.sort((a, b) => value(a) - value(b) || rank(a) - rank(b));
  document.querySelector("main").append(...cards);
}

function csv() {
  // A verdict that the page came with and that was taken back stays as an empty one.
  const rows = cards.filter((card) => card.dataset.verdict || card.dataset.before)
    .map((card) => [card.dataset.identity, card.dataset.verdict]);
  return [[document.body.dataset.header, "verdict"], ...hidden, ...rows]
    .map((row) => row.join(",") + "\n").join("");
}

document.querySelector("main").addEventListener("click", ({ target }) => {
  if (target.tagName !== "BUTTON") return;
  const card = target.closest("article");
  // A second press takes the verdict back.
  judge(card, card.dataset.verdict === target.value ? "" : target.value);
  remember();
  // Only counted, not filtered: the stamp stays where it is until the reader chooses anew.
  count();
});
control("class").addEventListener("change", filter);
control("which").addEventListener("change", filter);
control("order").addEventListener("change", sort);
control("download").addEventListener("click", () => {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([csv()], { type: "text/csv" }));
  link.download = "verdicts.csv";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
});
recall();
filter();
