// Empties dist/ and checks that the version of the package is that of the document.
import { readFile, rm } from "node:fs/promises";

const read = async (path) => JSON.parse(await readFile(new URL(path, import.meta.url), "utf8"));
const [own, document] = [await read("package.json"), await read("../../docs/openapi.json")];
if (own.version !== document.info.version) {
  throw new Error(`package.json has the version ${own.version}, and docs/openapi.json ${document.info.version}`);
}
await rm(new URL("dist", import.meta.url), { recursive: true, force: true });
