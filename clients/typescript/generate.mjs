// Writes src/schema.ts from the OpenAPI document of the bridge: `npm run generate`.
import { readFile, writeFile } from "node:fs/promises";
import openapiTS, { astToString } from "openapi-typescript";

const HEAD = "// Generated from docs/openapi.json by `npm run generate`; do not edit.\n\n";

// The shapes alone: the client knows the paths itself.
const shapesOf = (document) => ({ ...document, paths: {}, components: { schemas: document.components.schemas } });

export async function generate() {
  const document = JSON.parse(await readFile(new URL("../../docs/openapi.json", import.meta.url), "utf8"));
  return HEAD + astToString(await openapiTS(shapesOf(document), { defaultNonNullable: false }));
}

if (process.argv[1] === new URL(import.meta.url).pathname) {
  await writeFile(new URL("src/schema.ts", import.meta.url), await generate());
}
