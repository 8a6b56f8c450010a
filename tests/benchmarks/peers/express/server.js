// The same webhook as a server: it verifies, reads and answers, and keeps sessions in memory.

import crypto from "node:crypto";
import express from "express";

const secret = process.env.WEBHOOK_SECRET;
const sessions = new Map();
const app = express();

app.post("/webhook/vapi", express.raw({ type: "*/*", limit: "6mb" }), (request, response) => {
  const at = request.get("x-timestamp") ?? "";
  const expected = crypto.createHmac("sha256", secret).update(`${at}.`).update(request.body).digest();
  const given = Buffer.from(request.get("x-signature") ?? "", "hex");
  if (given.length !== expected.length || !crypto.timingSafeEqual(given, expected)) {
    response.status(401).send("unauthorized");
    return;
  }
  const { message } = JSON.parse(request.body.toString("utf8"));
  if (message.type === "status-update") {
    sessions.set(message.call.id, { ...sessions.get(message.call.id), status: message.status });
  }
  response.json({});
});

app.listen(Number(process.argv[2]), "127.0.0.1");
