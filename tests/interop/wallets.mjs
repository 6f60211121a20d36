// Wallets of ethers and viem that sign in: as the documents of the staking API say, and with messages of `siwe` and `viem`.
// Usage: node wallets.mjs addresses KEY… | sign-in URL DOMAIN KEY… | stake URL KEY | link URL TOKEN USER KEY
import assert from "node:assert/strict";
import { Wallet } from "ethers";
import { SiweMessage } from "siwe";
import { privateKeyToAccount } from "viem/accounts";
import { createSiweMessage } from "viem/siwe";

const [command, ...rest] = process.argv.slice(2);

/** The same key in both libraries. */
function signers(key) {
  const ethers = new Wallet(key);
  const viem = privateKeyToAccount(key);
  assert.equal(ethers.address, viem.address);
  return [
    { name: "ethers", address: ethers.address, sign: (text) => ethers.signMessage(text) },
    { name: "viem", address: viem.address, sign: (text) => viem.signMessage({ message: text }) },
  ];
}

async function ask(method, url, body, token) {
  const headers = {
    ...(body && { "Content-Type": "application/json" }),
    ...(token && { Authorization: `Bearer ${token}` }),
  };
  const answer = await fetch(url, { method, headers, body: body && JSON.stringify(body) });
  return { status: answer.status, body: await answer.json() };
}

async function expect(status, method, url, body, token) {
  const answer = await ask(method, url, body, token);
  assert.equal(answer.status, status, `${method} ${url}: ${JSON.stringify(answer)}`);
  return answer.body;
}

/** The message of the documents. */
function documented(address, nonce, at, statement = "Signing In With Ethereum on Bloq") {
  return [
    "api.bloq.com wants you to sign in with your Ethereum account:", address, "", statement, "",
    "URI: https://api.bloq.com", "Version: 1", "Chain ID: 1", `Nonce: ${nonce}`, `Issued At: ${at}`,
  ].join("\n");
}

const claims = (token) => JSON.parse(Buffer.from(token.split(".")[1], "base64url"));

async function stake(url, { address, sign }) {
  for (const posted of [address, address.toLowerCase()]) {
    for (const place of ["users", "auth/users"]) {
      const { nonce } = await expect(200, place === "users" ? "POST" : "GET", `${url}/${place}/${posted}/nonce`);
      const signedAt = new Date().toISOString();
      const signature = await sign(documented(posted, nonce, signedAt));
      const body = { address: posted, service: "stake", signature, signedAt };
      const forged = { ...body, signature: await sign(documented(posted, nonce, signedAt, "Something else")) };
      assert.equal((await expect(403, "POST", `${url}/auth`, forged)).code, "InvalidSignature");
      const { token } = await expect(200, "POST", `${url}/auth`, body);
      assert.deepEqual([claims(token).aud, claims(token).address], [["stake"], address]);
      assert.equal((await expect(403, "POST", `${url}/auth`, body)).code, "InvalidSignature");
      assert.equal((await expect(403, "GET", `${url}/users/me`, undefined, token)).code, "Forbidden");
    }
  }
}

async function signInWithEthereum(url, domain, { address, sign }) {
  const more = { statement: "I accept the terms", requestId: "7", resources: [`https://${domain}/terms`] };
  const at = (minutes) => new Date(Date.now() + minutes * 60_000);
  const makers = [
    (nonce) => new SiweMessage({ domain, address, uri: `https://${domain}`, version: "1", chainId: 1, nonce }),
    (nonce) => new SiweMessage({
      domain, address, uri: `https://${domain}/login`, version: "1", chainId: 1, nonce, ...more, scheme: "https",
      expirationTime: at(5).toISOString(), notBefore: at(-1).toISOString(),
    }),
  ].map((make) => (nonce) => make(nonce).prepareMessage());
  makers.push(
    (nonce) => createSiweMessage({ domain, address, uri: `https://${domain}`, version: "1", chainId: 1, nonce }),
    (nonce) => createSiweMessage({
      domain, address, uri: `https://${domain}/login`, version: "1", chainId: 1, nonce, ...more, scheme: "https",
      expirationTime: at(5), notBefore: at(-1),
    }),
  );
  for (const make of makers) {
    const { nonce } = await expect(200, "GET", `${url}/users/${address}/nonce`);
    const message = make(nonce);
    const signature = await sign(message);
    const elsewhere = message.replace(domain, "evil.example");
    const forged = { message: elsewhere, signature: await sign(elsewhere) };
    assert.equal((await expect(403, "POST", `${url}/auth/siwe`, forged)).code, "InvalidSignature");
    const { accessToken } = await expect(200, "POST", `${url}/auth/siwe`, { message, signature });
    const profile = await expect(200, "GET", `${url}/users/me`, undefined, accessToken);
    assert.equal(claims(accessToken).sub, profile.id);
  }
}

if (command === "addresses") {
  console.log(rest.map((key) => new Wallet(key).address).join("\n"));
} else if (command === "sign-in") {
  const [url, domain, ...keys] = rest;
  for (const key of keys) {
    for (const signer of signers(key)) {
      await stake(url, signer);
      await signInWithEthereum(url, domain, signer);
    }
  }
  const stranger = signers(Wallet.createRandom().privateKey)[0];
  await expect(404, "POST", `${url}/users/${stranger.address}/nonce`);
  const signedAt = new Date().toISOString();
  const signature = await stranger.sign(documented(stranger.address, "Qd4b6cs9OUOEoXiSx", signedAt));
  const body = { address: stranger.address, service: "stake", signature, signedAt };
  assert.equal((await expect(401, "POST", `${url}/auth`, body)).code, "UserNotFound");
} else if (command === "stake") {
  const [url, key] = rest;
  const { address, sign } = signers(key)[0];
  const { nonce } = await expect(200, "POST", `${url}/users/${address}/nonce`);
  const signedAt = new Date().toISOString();
  const signature = await sign(documented(address, nonce, signedAt));
  console.log((await expect(200, "POST", `${url}/auth`, { address, service: "stake", signature, signedAt })).token);
} else if (command === "link") {
  const [url, token, user, key] = rest;
  const { address, sign } = signers(key)[0];
  const { nonce } = await expect(200, "POST", `${url}/users/me/addresses/${address}/nonce`, undefined, token);
  const signedAt = new Date().toISOString();
  const signature = await sign(documented(address, nonce, signedAt, `Link this address to Bloq account ${user}`));
  const linked = await expect(201, "POST", `${url}/users/me/addresses`, { address, signature, signedAt }, token);
  assert.deepEqual([linked.address, linked.enabledAt], [address, null]);
  await expect(404, "POST", `${url}/users/${address}/nonce`);
  console.log(address);
} else {
  throw new Error(`no such command: ${command}`);
}
