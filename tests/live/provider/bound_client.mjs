// A client that binds its tokens (RFC 9449), by a library that knows nothing of the gate.
// Takes one line of JSON, prints what became of it as one line of JSON.
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import * as oauth from 'oauth4webapi';

const lines = createInterface({ input: process.stdin });
const [line] = await once(lines, 'line');
lines.close();
const told = JSON.parse(line);
const insecure = { [oauth.allowInsecureRequests]: true };

// The gate of the tests has a port that its configuration could not know.
const server = { issuer: told.issuer, token_endpoint: told.token_endpoint };

async function use(client, keys, accessToken) {
  const DPoP = oauth.DPoP(client, keys);
  const statuses = [];
  for (const method of ['GET', 'POST', 'GET']) {
    try {
      const answer = await oauth.protectedResourceRequest(
        accessToken, method, new URL(told.resource), undefined, undefined, { ...insecure, DPoP });
      statuses.push(answer.status);
    } catch (error) {
      statuses.push(error.status ?? String(error));
    }
  }
  return statuses;
}

const results = {};
const machine = { client_id: told.machine.id };
const auth = oauth.ClientSecretBasic(told.machine.secret);
for (const algorithm of ['ES256', 'Ed25519', 'RS256', 'PS256']) {
  const keys = await oauth.generateKeyPair(algorithm);
  const DPoP = oauth.DPoP(machine, keys);
  const response = await oauth.clientCredentialsGrantRequest(
    server, machine, auth, new URLSearchParams(), { ...insecure, DPoP });
  const tokens = await oauth.processClientCredentialsResponse(server, machine, response);
  results[algorithm] = [tokens.token_type, await use(machine, keys, tokens.access_token)];
}

const phone = { client_id: told.phone.id };
const keys = await oauth.generateKeyPair('ES256');
let refresh = told.phone.refresh_token;
let tokens;
for (let round = 0; round < 3; round += 1) {
  const DPoP = oauth.DPoP(phone, keys);
  const response = await oauth.refreshTokenGrantRequest(
    server, phone, oauth.None(), refresh, { ...insecure, DPoP });
  tokens = await oauth.processRefreshTokenResponse(server, phone, response);
  refresh = tokens.refresh_token;
}
results.refreshed = [tokens.token_type, await use(phone, keys, tokens.access_token)];
results.stolen = await use(phone, await oauth.generateKeyPair('ES256'), tokens.access_token);
console.log(JSON.stringify(results));
