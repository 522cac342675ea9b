// A peer in Node: jose, node:https and the OpenSSL inside of it; with standardwebhooks, and
// http-message-signatures (RFC 9421). See foreign.rs for what it does and why.

import crypto from "node:crypto";
import fs from "node:fs";
import https from "node:https";
import path from "node:path";
import readline from "node:readline";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

// The packages are not beside this file: the second argument is where they are.
const packages = createRequire(path.join(process.argv[3], "package.json"));
const jose = await import(pathToFileURL(packages.resolve("jose")));
const { Webhook } = packages("standardwebhooks");
const signatures = packages("http-message-signatures");

const WORLD = JSON.parse(fs.readFileSync(process.argv[2], "utf8"));
const TOKENS = WORLD.tokens;
const FETCHED = new Set();

const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);
const report = (name, outcome) => say({ case: name, outcome });
const file = (name) => fs.readFileSync(path.join(WORLD.directory, name));
const b64 = (data) => Buffer.from(data).toString("base64url");
const seconds = () => Math.floor(Date.now() / 1000);

// --- Its keys, and where it publishes them ------------------------------------------------------------

const KEYS = {};
for (const algorithm of ["ES256", "EdDSA", "PS256", "RS256"]) {
  KEYS[algorithm] = await jose.generateKeyPair(algorithm, { extractable: true });
}
const ATTACKER = await jose.generateKeyPair("ES256", { extractable: true });

const jwk = async (algorithm, { publicKey }, kid) => ({
  ...(await jose.exportJWK(publicKey)),
  kid,
  alg: algorithm,
  use: "sig",
});
const published = [];
for (const [name, key] of Object.entries(KEYS)) published.push(await jwk(name, key, `js-${name}`));
const PUBLISHED = {
  "/jwks.json": { keys: published },
  "/attacker.json": { keys: [await jwk("ES256", ATTACKER, "attacker")] },
};

const publisher = https.createServer({ cert: file("issuer.pem"), key: file("issuer.key") }, (request, response) => {
  FETCHED.add(request.url);
  const body = PUBLISHED[request.url];
  response.writeHead(body ? 200 : 404, { "content-type": "application/jwk-set+json" });
  response.end(body && JSON.stringify(body));
});
await new Promise((listening) => publisher.listen(0, "127.0.0.1", listening));
const PORT = publisher.address().port;

// --- It verifies our tokens, and SETs -----------------------------------------------------------------

const ours = jose.createRemoteJWKSet(new URL(WORLD.keys));

async function verified(token, changed) {
  const rules = { issuer: WORLD.issuer, audience: WORLD.audience, typ: "at+jwt", algorithms: ["ES256", "EdDSA", "Ed25519"] };
  try {
    return (await jose.jwtVerify(token, ours, { ...rules, ...changed })).payload;
  } catch (error) {
    if (error instanceof jose.errors.JOSEError) return undefined;
    throw error;
  }
}

async function outcome(token, changed) {
  const claims = await verified(token, changed);
  if (!claims) return "refused";
  const right = claims.sub === "spiffe://example.org/billing" && claims.cnf["x5t#S256"] === thumbprint("billing");
  return right ? "accepted" : "accepted with other claims";
}

/** The same, but for one claim. */
function altered(token) {
  const [header, claims, signature] = token.split(".");
  const changed = { ...JSON.parse(Buffer.from(claims, "base64url")) };
  changed.exp += 1;
  return [header, b64(JSON.stringify(changed)), signature].join(".");
}

/** `x5t#S256` (RFC 8705 §3.1) of the first certificate of the file. */
function thumbprint(name) {
  const { raw } = new crypto.X509Certificate(file(`${name}.pem`));
  return crypto.createHash("sha256").update(raw).digest("base64url");
}

async function verifyOurs() {
  report("ours: of the older key", await outcome(TOKENS.older));
  report("ours: of the newer key", await outcome(TOKENS.newer));
  report("ours: by the name of Ed25519", await outcome(TOKENS.newest));
  report("ours: expired", await outcome(TOKENS.expired));
  report("ours: of another audience", await outcome(TOKENS.audience));
  report("ours: of another issuer", await outcome(TOKENS.newer, { issuer: "https://other.example" }));
  report("ours: of another type", await outcome(TOKENS.newer, { typ: "secevent+jwt" }));
  report("ours: altered", await outcome(altered(TOKENS.newer)));

  const { token, audience, event } = WORLD.set;
  const set = { audience, typ: "secevent+jwt" };
  const claims = await verified(token, set);
  report("set: ours", claims?.events?.[event] && claims.exp === undefined ? "accepted" : "refused");
  report("set: ours for another", (await verified(token, { ...set, audience: WORLD.audience })) ? "accepted" : "refused");
  report("set: ours as an access token", (await verified(token, { audience })) ? "accepted" : "refused");
  report("set: an access token as one", (await verified(TOKENS.newer, { typ: "secevent+jwt" })) ? "accepted" : "refused");
  report("set: ours, altered", (await verified(altered(token), set)) ? "accepted" : "refused");
}

// --- It calls our server ------------------------------------------------------------------------------

function call(token, how = {}) {
  const { certificate = "billing", target = "/orders/17", root = "root.pem", host, scheme = "Bearer" } = how;
  const server = new URL(SERVER);
  const options = {
    host: host ?? server.hostname,
    port: server.port,
    path: target,
    ca: file(root),
    cert: certificate && file(`${certificate}.pem`),
    key: certificate && file(`${certificate}.key`),
    headers: token ? { authorization: `${scheme} ${token}` } : {},
    agent: false,
    timeout: 20_000,
  };
  return new Promise((resolve, reject) => {
    const request = https.get(options, (response) => {
      let body = "";
      response.on("data", (data) => (body += data));
      response.on("error", reject);
      response.on("end", () => {
        const { statusCode, headers } = response;
        resolve(`${statusCode} ${statusCode === 200 ? body.trim() : (headers["www-authenticate"] ?? "")}`);
      });
    });
    request.on("timeout", () => request.destroy(new Error("no answer")));
    request.on("error", reject);
  });
}

/** In TLS 1.3 the alert may be lost to a reset, so it is looked for more than once. */
async function alert(certificate) {
  for (let count = 0; count < 20; count++) {
    try {
      return await call(TOKENS.newer, { certificate });
    } catch (error) {
      const found = /ALERT_([A-Z_]+)/.exec(error.code);
      if (found) return `alert ${found[1].toLowerCase().replaceAll("_", " ")}`;
    }
  }
  return "no alert";
}

async function untrusted(how) {
  try {
    return await call(TOKENS.newer, how);
  } catch ({ code }) {
    return /^(ERR_TLS_CERT_ALTNAME_INVALID|SELF_SIGNED_|UNABLE_TO_|CERT_|DEPTH_)/.test(code) ? "untrusted" : code;
  }
}

async function callOurs() {
  const { newer } = TOKENS;
  report("call: good", await call(newer));
  report("call: no token", await call());
  report("call: no certificate", await alert(null));
  report("call: an expired certificate", await alert("expired"));
  report("call: a revoked certificate", await alert("revoked"));
  report("call: another authority's certificate", await alert("unknown"));
  report("call: another authority's of the same name", await alert("stranger"));
  report("call: another machine's certificate", await call(newer, { certificate: "shop" }));
  report("call: the same machine's next certificate", await call(newer, { certificate: "again" }));
  report("call: an expired token", await call(TOKENS.expired));
  report("call: a token of another audience", await call(TOKENS.audience));
  report("call: a token that is not bound", await call(TOKENS.unbound));
  report("call: a token in the query", await call(undefined, { target: `/orders/17?access_token=${newer}` }));
  report("call: Basic", await call("YmlsbGluZzpzZWNyZXQ=", { scheme: "Basic" }));
  report("call: what it may not", await call(newer, { target: "/customers" }));
  report("call: a server that it does not trust", await untrusted({ root: "stranger-root.pem" }));
  report("call: a server of another name", await untrusted({ host: "localhost" }));
  report("call: two tokens", await twice(newer));
}

/** Two headers, which `node:http` sends if it is given a list. */
function twice(token) {
  const both = [`Bearer ${token}`, `Bearer ${token}`];
  const server = new URL(SERVER);
  const options = {
    host: server.hostname,
    port: server.port,
    path: "/orders/17",
    ca: file("root.pem"),
    cert: file("billing.pem"),
    key: file("billing.key"),
    agent: false,
    timeout: 20_000,
  };
  return new Promise((resolve, reject) => {
    const request = https.request(options, (response) => {
      response.resume();
      response.on("end", () => resolve(`${response.statusCode} ${response.headers["www-authenticate"] ?? ""}`));
    });
    request.on("timeout", () => request.destroy(new Error("no answer")));
    request.on("error", reject);
    request.setHeader("authorization", both);
    request.end();
  });
}

// --- It issues tokens ---------------------------------------------------------------------------------

function claims(changed) {
  const now = seconds();
  const all = {
    iss: WORLD.own_issuer,
    sub: "spiffe://example.org/billing",
    aud: WORLD.audience,
    iat: now,
    exp: now + 300,
    jti: crypto.randomUUID(),
    cnf: { "x5t#S256": thumbprint("billing") },
    ...changed,
  };
  return Buffer.from(JSON.stringify(all)); // what is undefined is left out
}

function issue(algorithm, { kid, key, headers, ...changed } = {}) {
  const header = { alg: algorithm, kid: kid ?? `js-${algorithm}`, typ: "at+jwt", ...headers };
  const options = { crit: { unknown: true } };
  return new jose.CompactSign(claims(changed))
    .setProtectedHeader(header)
    .sign(key ?? KEYS[algorithm].privateKey, options);
}

/** What the library refuses to make. */
function byHand(header, sign) {
  const whole = { kid: "js-ES256", typ: "at+jwt", ...header };
  const signed = `${b64(JSON.stringify(whole))}.${b64(claims())}`;
  return `${signed}.${b64(sign(signed))}`;
}

const keyedWith = (secret) =>
  byHand({ alg: "HS256" }, (signed) => crypto.createHmac("sha256", secret).update(signed).digest());

async function issueOwn() {
  for (const algorithm of Object.keys(KEYS)) report(`own: ${algorithm}`, await call(await issue(algorithm)));
  for (const name of ["none", "None"]) report(`own: alg ${name}`, await call(byHand({ alg: name }, () => "")));
  const pem = await jose.exportSPKI(KEYS.ES256.publicKey);
  const der = Buffer.from(pem.replaceAll(/-----[^-]+-----|\s/g, ""), "base64");
  report("own: HS256 with the public key in PEM", await call(keyedWith(pem)));
  report("own: HS256 with the public key in DER", await call(keyedWith(der)));
  const asJwk = JSON.stringify(await jwk("ES256", KEYS.ES256, "js-ES256"));
  report("own: HS256 with the public JWK", await call(keyedWith(asJwk)));
  const pkcs8 = await jose.exportPKCS8(KEYS.PS256.privateKey);
  const sameKey = await jose.importPKCS8(pkcs8, "RS256");
  report("own: RS256 by the key for PS256", await call(await issue("RS256", { kid: "js-PS256", key: sameKey })));
  report("own: an unknown kid", await call(await issue("ES256", { kid: "js-0" })));
  report("own: another key's kid", await call(await issue("ES256", { kid: "js-EdDSA" })));
  const attackers = { key: ATTACKER.privateKey };
  report("own: an attacker's key under a known kid", await call(await issue("ES256", attackers)));
  const jku = { ...attackers, kid: "attacker", headers: { jku: `https://issuer.internal:${PORT}/attacker.json` } };
  report("own: an attacker's key by jku", await call(await issue("ES256", jku)));
  const embedded = { ...attackers, kid: "attacker", headers: { jwk: await jwk("ES256", ATTACKER, "attacker") } };
  report("own: an attacker's key by jwk", await call(await issue("ES256", embedded)));
  const now = seconds();
  report("own: expired", await call(await issue("ES256", { iat: now - 600, exp: now - 60 })));
  report("own: not yet valid", await call(await issue("ES256", { nbf: now + 200 })));
  report("own: without exp", await call(await issue("ES256", { exp: undefined })));
  report("own: of the type JWT", await call(await issue("ES256", { headers: { typ: "JWT" } })));
  report("own: without a type", await call(await issue("ES256", { headers: { typ: undefined } })));
  report("own: of another audience", await call(await issue("ES256", { aud: "spiffe://example.org/customers" })));
  report("own: in the name of our issuer", await call(await issue("ES256", { iss: WORLD.issuer })));
  const bound = { "x5t#S256": thumbprint("shop") };
  report("own: bound to another certificate", await call(await issue("ES256", { cnf: bound })));
  report("own: bound to nothing", await call(await issue("ES256", { cnf: undefined })));
  const critical = { crit: ["unknown"], unknown: true };
  report("own: with a critical parameter", await call(await issue("ES256", { headers: critical })));
  const good = await issue("ES256");
  report("own: altered", await call(altered(good)));
  report("own: with its signature cut off", await call(good.slice(0, good.lastIndexOf(".") + 1)));
  report("fetched from it", [...FETCHED].sort().join(" "));
}

/** A SET of its own, for us to judge. */
async function issueSet() {
  const subject = { format: "opaque", id: "7f3a" };
  const set = {
    iss: WORLD.own_issuer,
    aud: WORLD.set.audience,
    iat: seconds(),
    jti: crypto.randomUUID(),
    sub_id: subject,
    events: { [WORLD.set.event]: {} },
  };
  say({
    set: await new jose.SignJWT(set)
      .setProtectedHeader({ alg: "ES256", kid: "js-ES256", typ: "secevent+jwt" })
      .sign(KEYS.ES256.privateKey),
  });
}

// --- Webhooks and signed requests, both ways ----------------------------------------------------------

function webhooks() {
  const { secret, other, headers, payload } = WORLD.webhook;
  const outcome = (secret, headers, payload) => {
    try {
      new Webhook(secret).verify(payload, headers);
      return "accepted";
    } catch (error) {
      if (error.name === "WebhookVerificationError") return "refused";
      return error.message;
    }
  };
  report("webhook: ours", outcome(secret, headers, payload));
  report("webhook: ours, altered", outcome(secret, headers, payload.replace("1", "2")));
  report("webhook: ours under another id", outcome(secret, { ...headers, "webhook-id": "msg_2" }, payload));
  report("webhook: ours, an hour old", outcome(secret, WORLD.webhook.stale, payload));
  report("webhook: ours by another secret", outcome(other, headers, payload));
  const now = new Date();
  const signature = new Webhook(secret).sign("msg_js", now, payload);
  say({ webhook: { id: "msg_js", timestamp: `${Math.floor(now.getTime() / 1000)}`, signature, payload } });
}

async function signedRequests() {
  const { secret, covered, request } = WORLD.signed;
  const key = Buffer.from(secret, "base64");
  const verify = async (message, key) => {
    const verifier = {
      id: "ours",
      algs: ["hmac-sha256"],
      verify: signatures.createVerifier(key, "hmac-sha256"),
    };
    const keyLookup = async ({ keyid }) => (keyid === "ours" ? verifier : null);
    try {
      const all = await signatures.httpbis.verifyMessage({ keyLookup, requiredFields: covered }, message);
      return all === true ? "accepted" : "refused";
    } catch {
      return "refused";
    }
  };
  report("signed: ours", await verify(request, key));
  report("signed: ours, another method", await verify({ ...request, method: "PUT" }, key));
  report("signed: ours, another place", await verify({ ...request, url: request.url.replace("17", "18") }, key));
  report("signed: ours by another key", await verify(request, crypto.randomBytes(32)));
  const { method, url } = request;
  const message = await signatures.httpbis.signMessage(
    {
      key: signatures.createSigner(key, "hmac-sha256", "js"),
      name: "js",
      fields: covered,
      params: ["keyid", "alg", "created"],
    },
    { method, url, headers: {} },
  );
  say({ signed: message.headers });
}

// --- All of it ----------------------------------------------------------------------------------------

say({ listening: PORT });
const lines = readline.createInterface({ input: process.stdin });
const SERVER = (await lines[Symbol.asyncIterator]().next()).value;
await verifyOurs();
await callOurs();
await issueOwn();
await issueSet();
webhooks();
await signedRequests();
const version = (name) => JSON.parse(fs.readFileSync(path.join(process.argv[3], "node_modules", name, "package.json"))).version;
const names = ["jose", "standardwebhooks", "http-message-signatures"];
say({
  versions: [`Node ${process.versions.node}`, ...names.map((name) => `${name} ${version(name)}`), `OpenSSL ${process.versions.openssl}`].join(", "),
});
process.exit(0);
