// What an app gets from the types of the client, and how much code it needs on its server.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { APP } from "./app.mjs";

const FOLDER = fileURLToPath(new URL("../../build/planted/", import.meta.url));
const CLIENT = `${APP}node_modules/@ibkr-bridge/client/dist`;
const LINES = { trading: 27, connection: 8, user: 17 };

// One line each. The second word stands in place of the first one, which the compiler accepts.
const PLANTED = [
  ["limit_price", "limitPrice", 'await bridge.place("DU1234567", { side: "buy", type: "limit", symbol: "AAPL", quantity: 1, limit_price: "190" });'],
  ["unrealized_pnl", "unrealised_pnl", "return (await bridge.positions()).positions.map((each) => each.unrealized_pnl);"],
  ["can_trade", "canTrade", "return (await bridge.session()).can_trade;"],
  ["last", "lastPrice", 'for await (const event of bridge.events()) if (event.type === "quotes") return event.data.last;'],
  ["net_liquidation", "net_liquidity", "return useAccount(\"DU1234567\").data?.net_liquidation;"],
];
const HEAD = 'import { createBridge } from "@ibkr-bridge/client";\nimport { useAccount } from "@ibkr-bridge/client/react";\nexport const bridge = createBridge();\nexport const use = useAccount;\n';

async function compile(lines) {
  await rm(FOLDER, { recursive: true, force: true });
  await mkdir(FOLDER, { recursive: true });
  for (const [index, line] of lines.entries()) {
    await writeFile(`${FOLDER}planted${index}.ts`, `${HEAD}export async function planted() {\n${line}\n}\n`);
  }
  const paths = { "@ibkr-bridge/client": [`${CLIENT}/index.d.ts`], "@ibkr-bridge/client/react": [`${CLIENT}/react.d.ts`] };
  const options = { paths, incremental: false, plugins: [], types: ["node"], typeRoots: [`${APP}node_modules/@types`] };
  const project = { extends: `${APP}tsconfig.json`, compilerOptions: options, include: ["*.ts"], exclude: [] };
  await writeFile(`${FOLDER}tsconfig.json`, JSON.stringify(project));
  const tsc = `${APP}node_modules/typescript/bin/tsc`;
  return spawnSync("node", [tsc, "--project", FOLDER, "--pretty", "false"], { encoding: "utf8", cwd: FOLDER }).stdout;
}

test("the compiler accepts the right names, and rejects each misspelt one", async () => {
  assert.equal(await compile(PLANTED.map(([, , line]) => line)), "");

  const found = await compile(PLANTED.map(([right, wrong, line]) => line.replace(right, wrong)));
  for (const [index, [, wrong]] of PLANTED.entries()) {
    assert.match(found, new RegExp(`planted${index}\\.ts.*error TS\\d+: .*'${wrong}'`));
  }
  await rm(FOLDER, { recursive: true });
});

// The files of each part, and their lines that are not empty.
async function linesOf(files) {
  const texts = await Promise.all(files.map((file) => readFile(file, "utf8")));
  return texts.join("\n").split("\n").filter((line) => line.trim() !== "").length;
}

test("an app needs few lines on its server", async () => {
  const routes = `${APP}src/app/api/ibkr`;
  const files = (await readdir(routes, { recursive: true })).filter((name) => name.endsWith(".ts")).map((name) => `${routes}/${name}`);
  const connection = files.filter((file) => file.includes("/connection/"));
  const trading = files.filter((file) => !file.includes("/connection/"));
  const user = [`${APP}src/lib/user.ts`, `${APP}src/app/api/user/route.ts`];
  const lines = {
    trading: await linesOf([`${APP}src/lib/ibkr.ts`, ...trading]), connection: await linesOf(connection), user: await linesOf(user),
  };
  const readme = await readFile(`${APP}README.md`, "utf8");

  assert.deepEqual([trading.length, connection.length], [6, 4]);
  assert.deepEqual(lines, LINES); // the README says so
  for (const count of Object.values(lines)) assert.match(readme, new RegExp(`\\b${count} lines`));
});
