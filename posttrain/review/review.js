// Sends what was pressed and loads the next page. Writes no HTML: every text on the page was put there by the server.
"use strict";

const csrf = document.querySelector("meta[name=csrf]").content;
const form = document.getElementById("item");
const find = (id) => document.getElementById(id);
const words = document.body.dataset;
let busy = false;

function complain(text) {
  const said = find("said");
  said.textContent = text;
  said.hidden = false;
  setTimeout(() => { said.hidden = true; }, 6000);
}

async function post(path, body) {
  if (busy) return null;
  busy = true;
  try {
    const headers = { "Content-Type": "application/json", "X-CSRF-Token": csrf };
    const reply = await fetch(path, { method: "POST", headers, body: JSON.stringify(body) });
    const value = await reply.json();
    if (reply.ok) return value;
    complain(`${words.failed}: ${value.error}`);
  } catch {
    complain(`${words.failed}: ${words.offline}`);
  }
  busy = false;
  return null;
}

async function send(said, path = "/answer") {
  const body = path === "/skip" ? {} : { note: find("note").value };
  if (await post(path, { item: form.dataset.item, ...body, ...said })) location.assign(`/?queue=${form.dataset.queue}`);
}

// --- ranking more than two: pressing answers in order, the best first, or choosing ranks, which may be equal -----

const cards = [...document.querySelectorAll(".output[data-place]")];
const ranks = () => cards.map((card) => Number(card.querySelector("select").value));

function showRanks() {
  for (const card of cards) card.classList.toggle("ranked", card.querySelector("select").value !== "");
  find("order").disabled = ranks().includes(0);
}

function rankNext(card) {
  const select = card.querySelector("select");
  const given = ranks();
  const free = given.map((_, at) => at + 1).find((rank) => !given.includes(rank));
  select.value = select.value ? "" : String(free ?? given.length);
  showRanks();
}

for (const card of cards) {
  card.addEventListener("click", (event) => { if (!event.target.closest("select")) rankNext(card); });
  card.querySelector("select").addEventListener("change", showRanks);
}

// --- buttons -----------------------------------------------------------------------------------------------------

function saveText() {
  const text = find("text");
  if (text.value.trim() === text.dataset.before.trim()) return complain(words.unchanged);
  return send(form.dataset.kind === "correction" ? { text: text.value } : { text: text.value, verdict: "keep" });
}

function openEdit() {
  document.querySelector(".edit").hidden = false;
  find("save").hidden = false;
  find("text").focus();
}

const pressed = {
  order: () => send({ ranking: ranks() }),
  save: saveText,
  edit: openEdit,
  skip: () => send({}, "/skip"),
  use: () => { find("text").value = find("suggested").textContent; openEdit(); },
};

if (form) {
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button || button.disabled) return;
    const { ranking, rating, verdict } = button.dataset;
    if (ranking) send({ ranking: ranking.split(",").map(Number) });
    else if (rating) send({ rating: Number(rating) });
    else if (verdict) send({ verdict });
    else if (pressed[button.id]) pressed[button.id]();
  });
}

document.addEventListener("keydown", (event) => {
  if (!form || event.altKey || event.repeat || event.isComposing) return;
  const typing = event.target.closest("textarea, input, select");
  if (typing && event.key === "Escape") return typing.blur();
  const withControl = event.ctrlKey || event.metaKey;
  if (withControl !== (event.key === "Enter" && withControl)) return;
  if (typing && !withControl) return;
  if (cards.length && /^[1-9]$/.test(event.key) && cards[event.key - 1]) return rankNext(cards[event.key - 1]);
  const wanted = withControl ? "Ctrl+Enter" : event.key;
  const found = [...form.querySelectorAll("[data-key]")].find((each) => each.dataset.key === wanted && !each.hidden);
  if (!found || (wanted === "Enter" && event.target.closest("button, a, summary"))) return;
  event.preventDefault();
  if (found.id === "note") found.focus();
  else found.click();
});

// --- in and out ----------------------------------------------------------------------------------------------------

async function logIn(token) {
  const value = await post("/login", { token });
  if (value) location.replace(value.next);
}

if (find("login")) {
  find("login").addEventListener("submit", (event) => { event.preventDefault(); logIn(find("token").value); });
  for (const link of document.querySelectorAll("[data-keep-hash]")) link.href += location.hash;
  const token = location.hash.slice(1);
  if (token) {
    history.replaceState(null, "", location.pathname);
    logIn(token);
  }
}

find("logout")?.addEventListener("click", async () => {
  const value = await post("/logout", {});
  if (value) location.replace(value.next);
});

document.body.dataset.ready = ""; // from here on keys are heard
