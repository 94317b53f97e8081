// A Fastify application with @fastify/session in connect-redis: /login, /logout, who the caller is.
import Fastify from "fastify";
import cookie from "@fastify/cookie";
import session from "@fastify/session";
import { RedisStore } from "connect-redis";
import { createClient } from "redis";

const client = createClient({ url: process.env.REDIS_URL });
await client.connect();
const app = Fastify();
await app.register(cookie);
await app.register(session, {
  store: new RedisStore({ client }),
  secret: [process.env.SECRET, "an older secret that has thirty-two characters"],
  saveUninitialized: false,
  cookie: { secure: false, maxAge: 600_000 },
});
const whoami = async (request) => ({
  user: request.session.user?.id ?? null,
  told: request.headers["x-auth-subject"] ?? null,
});
app.get("/", whoami);
app.get("/touch", whoami);
app.get("/login", async (request) => {
  await request.session.regenerate();
  request.session.user = { id: "42" };
  await request.session.save();
  return whoami(request);
});
app.get("/leave", async (request) => {
  request.session.user = undefined;
  request.session.cart = [1, 2];
  await request.session.save();
  return whoami(request);
});
app.get("/logout", async (request) => {
  await request.session.destroy();
  return { user: null };
});
await app.listen({ port: 0, host: "127.0.0.1" });
console.log(app.server.address().port);
process.stdin.on("end", () => process.exit()).resume();
