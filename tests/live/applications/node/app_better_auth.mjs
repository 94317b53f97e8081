// better-auth with a secondary storage in Redis. Paths as in app_php.php; /revoke ends all sessions.
import http from "node:http";
import Redis from "ioredis";
import { betterAuth } from "better-auth";
import { memoryAdapter } from "better-auth/adapters/memory";
import { fromNodeHeaders } from "better-auth/node";

const redis = new Redis(process.env.REDIS_URL);
const auth = betterAuth({
  secret: process.env.SECRET,
  baseURL: "http://127.0.0.1",
  database: memoryAdapter({ user: [], session: [], account: [], verification: [] }),
  emailAndPassword: { enabled: true },
  rateLimit: { enabled: false },
  telemetry: { enabled: false },
  secondaryStorage: {
    get: (key) => redis.get(key),
    set: (key, value, ttl) => (ttl ? redis.set(key, value, "EX", ttl) : redis.set(key, value)),
    delete: async (key) => {
      await redis.del(key);
    },
  },
});

let people = 0;
const steps = {
  "/login": () =>
    auth.api.signUpEmail({
      body: { email: `p${++people}@example.com`, password: "correct horse battery", name: "P" },
      asResponse: true,
    }),
  "/logout": (headers) => auth.api.signOut({ headers, asResponse: true }),
  "/revoke": (headers) => auth.api.revokeSessions({ headers, asResponse: true }),
};
const server = http.createServer(async (request, response) => {
  const headers = fromNodeHeaders(request.headers);
  const step = steps[request.url];
  if (step !== undefined) {
    const done = await step(headers);
    response.setHeader("Set-Cookie", done.headers.getSetCookie());
  }
  const session = request.url === "/login" ? null : await auth.api.getSession({ headers });
  response.setHeader("Content-Type", "application/json");
  response.end(JSON.stringify({ user: session?.user.id ?? null }));
});
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
process.stdin.on("end", () => process.exit()).resume();
