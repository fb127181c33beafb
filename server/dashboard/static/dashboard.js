// Shows what /dashboard/data tells, every few seconds while the page is seen.

import * as key from "./key.js";
import { showDoing } from "./doing.js";
import { showLatest } from "./latest.js";
import { showSaving } from "./saving.js";
import { showWell } from "./well.js";
import { failure, unreachable } from "./words.js";

const EVERY_MS = 5000;
const element = (id) => document.getElementById(id);
const chosen = () => document.querySelector("#range input:checked")?.value;

let timer = null;
let shown = null;

async function refresh() {
  clearTimeout(timer);
  const range = chosen();
  try {
    const answer = await fetch(`/dashboard/data${range ? `?range=${range}` : ""}`, { headers: key.headers() });
    if (answer.status === 401) return askForKey();
    if (answer.ok) show(await answer.json());
    else tell(await failure(answer), true);
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    tell(unreachable, true);
  }
  if (!document.hidden) timer = setTimeout(refresh, EVERY_MS);
}

function tell(text, isBad = false) {
  element("state").classList.toggle("bad", isBad);
  element("state").textContent = text;
}

function askForKey() {
  element("main").hidden = true;
  const refused = key.ask();
  tell(refused ? "This API key is not known here." : "An API key is needed.", refused);
}

function show(data) {
  shown = data;
  key.close();
  element("main").hidden = false;
  document.querySelector(`#range input[value="${data.range}"]`).checked = true;
  draw();
  const now = new Date().toLocaleTimeString([], { timeZoneName: "short" });
  const whose = data.key === null ? "" : `, requests of the key ${data.key}`;
  tell(`as of ${now}${whose}`);
}

function draw() {
  showSaving(shown);
  showWell(shown);
  showDoing(shown);
  showLatest(shown.latest);
}

element("range").addEventListener("change", refresh);
key.onEntered(refresh);
document.addEventListener("visibilitychange", () => document.hidden || refresh());
window.addEventListener("resize", () => shown && draw());
refresh();
