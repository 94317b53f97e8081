// An Express application with connect-redis: /login, /logout, who the caller is. Every request touches its session.
import express from "express";
import session from "express-session";
import { RedisStore } from "connect-redis";
import { createClient } from "redis";

const client = createClient({ url: process.env.REDIS_URL });
await client.connect();
const app = express();
app.use(
  session({
    store: new RedisStore({ client }),
    secret: [process.env.SECRET, "an older secret"],
    resave: false,
    rolling: true,
    saveUninitialized: false,
    cookie: { maxAge: 600_000 },
  }),
);
const whoami = (request, answer) =>
  answer.json({
    user: request.session.passport?.user ?? null,
    told: request.headers["x-auth-subject"] ?? null,
  });
app.get("/", whoami);
app.get("/touch", whoami);
app.get("/login", (request, answer) =>
  request.session.regenerate(() => {
    request.session.passport = { user: "42" };
    request.session.save(() => whoami(request, answer));
  }),
);
app.get("/leave", (request, answer) => {
  delete request.session.passport;
  request.session.cart = [1, 2];
  request.session.save(() => whoami(request, answer));
});
app.get("/logout", (request, answer) =>
  request.session.destroy(() => answer.json({ user: null })),
);
const server = app.listen(0, "127.0.0.1", () => console.log(server.address().port));
process.stdin.on("end", () => process.exit()).resume();
