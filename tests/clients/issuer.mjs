// An authorization server for the tests: oidc-provider, with clients that get tokens for themselves.
//
// Arguments: the entry file of oidc-provider. Prints its issuer; then, for each line it reads, takes a
// new key in place of the old one and prints its name.

import { generateKeyPairSync } from 'node:crypto';
import { createServer } from 'node:http';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';

const { default: Provider } = await import(pathToFileURL(process.argv[2]));

let handle;
const server = createServer((request, response) => handle(request, response));
await new Promise((listening) => server.listen(0, '127.0.0.1', listening));
const issuer = `http://127.0.0.1:${server.address().port}`;
let keys = 0;

function begin() {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  keys += 1;
  const key = { ...privateKey.export({ format: 'jwk' }), kid: `key-${keys}`, use: 'sig', alg: 'RS256' };
  const client = (name) => ({
    client_id: name,
    client_secret: `${name}-secret-0123456789`,
    grant_types: ['client_credentials'],
    response_types: [],
    redirect_uris: [],
  });
  const provider = new Provider(issuer, {
    clients: ['alice', 'bob'].map(client),
    jwks: { keys: [key] },
    ttl: { ClientCredentials: 600 },
    features: {
      clientCredentials: { enabled: true },
      devInteractions: { enabled: false },
      // RFC 8707: tokens for a resource are JWTs (RFC 9068) with it as their audience.
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: (_, resource) => ({
          scope: 'mcp',
          audience: resource,
          accessTokenFormat: 'jwt',
          accessTokenTTL: 600,
        }),
      },
    },
  });
  handle = provider.callback();
}

begin();
console.log(issuer);
createInterface({ input: process.stdin })
  .on('line', () => {
    begin();
    console.log(`key-${keys}`);
  })
  .on('close', () => process.exit());
