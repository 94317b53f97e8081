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

// Does as the gate says: once more where a nonce was asked for, which the library has kept by then.
let askedAgain = 0;
async function patiently(ask) {
  try {
    return await ask();
  } catch (error) {
    if (!oauth.isDPoPNonceError(error)) throw error;
    askedAgain += 1;
    return await ask();
  }
}

async function use(DPoP, accessToken) {
  const statuses = [];
  for (const method of ['GET', 'POST', 'GET']) {
    try {
      const answer = await patiently(() => oauth.protectedResourceRequest(
        accessToken, method, new URL(told.resource), undefined, undefined, { ...insecure, DPoP }));
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
  const DPoP = oauth.DPoP(machine, await oauth.generateKeyPair(algorithm));
  askedAgain = 0;
  const tokens = await patiently(async () => oauth.processClientCredentialsResponse(
    server, machine, await oauth.clientCredentialsGrantRequest(
      server, machine, auth, new URLSearchParams(), { ...insecure, DPoP })));
  const statuses = await use(DPoP, tokens.access_token);
  results[algorithm] = [tokens.token_type, statuses, askedAgain];
}

const phone = { client_id: told.phone.id };
const DPoP = oauth.DPoP(phone, await oauth.generateKeyPair('ES256'));
let refresh = told.phone.refresh_token;
let tokens;
askedAgain = 0;
for (let round = 0; round < 3; round += 1) {
  tokens = await patiently(async () => oauth.processRefreshTokenResponse(
    server, phone, await oauth.refreshTokenGrantRequest(
      server, phone, oauth.None(), refresh, { ...insecure, DPoP })));
  refresh = tokens.refresh_token;
}
results.refreshed = [tokens.token_type, await use(DPoP, tokens.access_token), askedAgain];
const thief = oauth.DPoP(phone, await oauth.generateKeyPair('ES256'));
results.stolen = await use(thief, tokens.access_token);
console.log(JSON.stringify(results));
