// An OpenID provider for tests: client credentials, and JWT access tokens for one resource.
//
// `node server.js JSON` with port, algorithm, kid (of the one key, which is made anew), resource,
// client (id and secret) and claims (that every token gets).
import { generateKeyPairSync } from 'node:crypto';
import { Provider } from 'oidc-provider';

const start = JSON.parse(process.argv[2]);
const issuer = `http://127.0.0.1:${start.port}`;
const make = {
  RS256: () => generateKeyPairSync('rsa', { modulusLength: 2048 }),
  ES256: () => generateKeyPairSync('ec', { namedCurve: 'P-256' }),
  EdDSA: () => generateKeyPairSync('ed25519'),
};
const { privateKey } = make[start.algorithm]();
const key = { ...privateKey.export({ format: 'jwk' }), kid: start.kid, use: 'sig', alg: start.algorithm };

const provider = new Provider(issuer, {
  jwks: { keys: [key] },
  clients: [{
    client_id: start.client.id,
    client_secret: start.client.secret,
    grant_types: ['client_credentials'],
    redirect_uris: [],
    response_types: [],
    id_token_signed_response_alg: start.algorithm,
  }],
  enabledJWA: { idTokenSigningAlgValues: [start.algorithm] },
  features: {
    clientCredentials: { enabled: true },
    devInteractions: { enabled: false },
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo: () => ({
        scope: '',
        audience: start.resource,
        accessTokenTTL: 600,
        accessTokenFormat: 'jwt',
        jwt: { sign: { alg: start.algorithm } },
      }),
    },
  },
  extraTokenClaims: () => start.claims,
});

provider.listen(start.port, '127.0.0.1').on('error', (error) => {
  console.error(error.code === 'EADDRINUSE' ? 'address already in use' : error);
  process.exit(1);
});
