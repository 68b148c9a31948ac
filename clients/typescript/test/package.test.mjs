// The package as it would be published, and the file that the bridge serves.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { generate } from "../generate.mjs";

const HERE = fileURLToPath(new URL("..", import.meta.url));
const read = (path) => readFile(new URL(path, import.meta.url), "utf8");

// What the app of the README has itself: its sign-in.
const SESSION = `export const isSignedIn = (request: Request) => request.headers.has('cookie');
export const profileOf = (request: Request): string | null => request.headers.get('cookie');`;

test("the types are those of the OpenAPI document", async () => {
  assert.equal(await read("../src/schema.ts"), await generate()); // `npm run generate` writes them
});

test("the package has its code and types, and needs no other package", async () => {
  const [packed] = JSON.parse(execFileSync("npm", ["pack", "--dry-run", "--json"], { cwd: HERE, encoding: "utf8" }));
  const files = packed.files.map((file) => file.path);

  assert.equal(JSON.parse(await read("../package.json")).dependencies, undefined);
  for (const name of ["dist/index.js", "dist/index.d.ts", "dist/react.js", "README.md", "LICENSE"]) {
    assert.ok(files.includes(name), name);
  }
  assert.deepEqual(files.filter((name) => /^(src|test|node_modules)\//.test(name)), []);
});

test("an app can install the package and use it", async () => {
  const app = await mkdtemp(join(tmpdir(), "ibkr-bridge-app-"));
  try {
    const [packed] = JSON.parse(execFileSync("npm", ["pack", "--json", "--pack-destination", app], { cwd: HERE, encoding: "utf8" }));
    await writeFile(join(app, "package.json"), '{"private": true, "type": "module"}');
    execFileSync("npm", ["install", "--offline", "--no-audit", "--no-fund", "--omit=peer", join(app, packed.filename)], { cwd: app });
    await writeFile(join(app, "app.mjs"), 'import { createBridge } from "@ibkr-bridge/client";\nconsole.log(typeof createBridge().quotes);\n');

    assert.equal(execFileSync("node", ["app.mjs"], { cwd: app, encoding: "utf8" }), "function\n");
  } finally {
    await rm(app, { recursive: true });
  }
});

// The blocks of code of the README, as an app would have them.
async function readmeFiles() {
  const blocks = [...(await read("../README.md")).matchAll(/^```(ts|tsx)\n(.*?)^```$/gms)];
  return blocks.map(([, kind, code], index) => [index === 0 ? "bridge.ts" : `block${index}.${kind}`, code
    .replace('import "server-only";', "").replace("@/lib/bridge", "./bridge.js").replace("@/lib/session", "./session.js")
    .replace("next/server", "./next-server.js")]);
}

test("the code of the README is accepted by a strict compiler", async () => {
  const folder = await mkdtemp(join(HERE, "dist", "readme-"));
  const options = ["--strict", "--noEmit", "--target", "es2022", "--module", "nodenext", "--moduleResolution", "nodenext",
    "--jsx", "react-jsx", "--lib", "es2023,dom,dom.iterable", "--types", "node"];
  const files = [...(await readmeFiles()), ["session.ts", SESSION],
    ["next-server.ts", "export const connection = async (): Promise<void> => undefined;"]];
  try {
    for (const [name, code] of files) await writeFile(join(folder, name), code);
    execFileSync(join(HERE, "node_modules", ".bin", "tsc"), [...options, ...files.map(([name]) => join(folder, name))], { cwd: HERE });
  } finally {
    await rm(folder, { recursive: true });
  }
});

test("the one file that the bridge serves is accepted by a strict compiler", async () => {
  const folder = await mkdtemp(join(HERE, "dist", "one-file-"));
  const file = join(folder, "bridge.ts");
  await writeFile(file, await read("../../../ibkr_bridge/api/pages/client.ts"));
  const options = ["--strict", "--noUncheckedIndexedAccess", "--exactOptionalPropertyTypes", "--noEmit", "--target", "es2022",
    "--module", "nodenext", "--moduleResolution", "nodenext", "--lib", "es2023,dom,dom.iterable", "--types", "node"];
  try {
    execFileSync(join(HERE, "node_modules", ".bin", "tsc"), [...options, file], { cwd: HERE, encoding: "utf8" });
  } finally {
    await rm(folder, { recursive: true });
  }
});
