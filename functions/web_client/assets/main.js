// What the page runs: the call, where one is offered, and the console, for whoever was given its address.

import { show } from "./view.js";

const call = document.getElementById("call");
if (call) show(call);

const section = document.getElementById("console");
const openConsole = () => import("./console.js").then(({ open }) => open(section));
if (location.hash.startsWith("#console") || remembered()) openConsole();
// Another token, pasted over this address, does not load the page anew.
addEventListener("hashchange", () => location.hash.startsWith("#console") && openConsole());

function remembered() {
  try {
    return sessionStorage.getItem("console");
  } catch {
    return null;
  }
}
