// What the page runs: the call, where one is offered.

import { show } from "./view.js";

const call = document.getElementById("call");
if (call) show(call);
