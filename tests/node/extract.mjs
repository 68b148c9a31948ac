// Extracts the code of the docs, so that the tests run exactly what readers copy.
import { mkdir, readFile, writeFile } from "node:fs/promises";

const page = await readFile(new URL("../../docs/nextjs.md", import.meta.url), "utf8");
const blocks = [...page.matchAll(/^```ts\n(.*?)^```$/gms)].map((found) => found[1]);
const [snippet, use, route, stream] = blocks;
if (blocks.length !== 4) throw new Error(`docs/nextjs.md has ${blocks.length} blocks of code, not 4`);

const orders = await readFile(new URL("../../docs/orders.md", import.meta.url), "utf8");
const [placing, ...more] = [...orders.matchAll(/^```ts\n(.*?)^```$/gms)].map((found) => found[1]);
if (placing === undefined || more.length > 0) throw new Error("docs/orders.md has not one block of code");

const imported = 'import { bridge } from "./bridge.js";\n';
const named = "export async function use(account: string, ticket: object) {\n";
const folder = new URL("build/", import.meta.url);
await mkdir(folder, { recursive: true });
await writeFile(new URL("bridge.ts", folder), snippet);
await writeFile(new URL("route.ts", folder), route.replace('"@/lib/bridge"', '"./bridge.js"'));
await writeFile(new URL("stream.ts", folder), stream);
await writeFile(new URL("orders.ts", folder), placing);
await writeFile(new URL("use.ts", folder), `${imported}${named}${use}return { accounts, placed };\n}\n`);

// docs/first-app.md: its three files beside the client that the bridge serves. `next/cache` and React are ours.
const app = await readFile(new URL("../../docs/first-app.md", import.meta.url), "utf8");
const [appRoute, actions, appPage, ...others] = [...app.matchAll(/^```tsx?\n(.*?)^```$/gms)].map((found) => found[1]);
if (appPage === undefined || others.length > 0) throw new Error("docs/first-app.md has not three blocks of code");

const client = await readFile(new URL("../../ibkr_bridge/api/pages/client.ts", import.meta.url), "utf8");
const modules = { "@/lib/bridge": "./client.js", "./actions": "./actions.js", "next/cache": "./next_cache.js" };
const local = (code) => code.replace(/(?<=from ")[^"]+/g, (name) => modules[name]);
const cache = "export const reloaded: string[] = [];\nexport function revalidatePath(path: string): void { reloaded.push(path); }\n";
await writeFile(new URL("client.ts", folder), `${client}export const bridge = createBridge();\n`);
await writeFile(new URL("app_route.ts", folder), local(appRoute));
await writeFile(new URL("actions.ts", folder), local(actions));
await writeFile(new URL("page.tsx", folder), `import { React } from "./react.js";\n${local(appPage)}`);
await writeFile(new URL("next_cache.ts", folder), cache);
await writeFile(new URL("react.ts", folder), await readFile(new URL("react.ts", import.meta.url), "utf8"));
