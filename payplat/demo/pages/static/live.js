// Keeps the changing part of the order page up to date. What comes is the server's own HTML, escaped there.
"use strict";

const live = document.getElementById("live");
const offline = document.getElementById("offline");

function show(html) {
  const open = [...live.querySelectorAll("details[open]")].map((each) => each.id);
  const known = live.querySelectorAll(".timeline li").length;
  live.innerHTML = html;
  open.forEach((id) => document.getElementById(id)?.setAttribute("open", ""));
  [...live.querySelectorAll(".timeline li")].slice(known).forEach((each) => each.classList.add("new"));
  document.title = `${live.querySelector("h1").lastChild.textContent.trim()} · ${document.title.split(" · ").pop()}`;
}

async function look() {
  let again = 2000;
  try {
    const response = await fetch(`${live.dataset.from}?seen=${live.dataset.version}`);
    if (!response.ok) throw new Error(response.statusText);
    const news = await response.json();
    if (news.html) show(news.html);
    live.dataset.version = news.version;
    again = news.again;
    offline.hidden = true;
  } catch {
    offline.hidden = false;
  }
  setTimeout(look, document.hidden ? 2000 : again);
}

setTimeout(look, Number(live.dataset.again));
