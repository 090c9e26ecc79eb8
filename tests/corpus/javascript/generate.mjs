// Records what the AWS SDK for JavaScript reads in each file of the corpus, before and after an
// edit, as expected.json beside this script. tests/unit/aws_files/test_corpus.py says when it is stale.
//
//   npm install --prefix FOLDER @smithy/shared-ini-file-loader
//   node tests/corpus/javascript/generate.mjs FOLDER
//
// FOLDER is anywhere outside the project; Python comes from .venv, or from $PYTHON.

import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const LOADER = "@smithy/shared-ini-file-loader";
const here = dirname(fileURLToPath(import.meta.url));
const corpus = dirname(here);
const project = resolve(corpus, "..", "..");
const installed = process.argv[2];
if (!installed) {
  throw new Error("usage: node generate.mjs FOLDER_WITH_THE_LOADER");
}
const require = createRequire(resolve(installed, "package.json"));
const { parseKnownFiles } = require(LOADER);
const { version } = require(`${LOADER}/package.json`);

const scratch = mkdtempSync(join(tmpdir(), "corpus-"));
const noConfig = join(scratch, "no-config");
const venv = join(project, ".venv", "bin", "python");
const python = process.env.PYTHON ?? (existsSync(venv) ? venv : "python3");

const sorted = (object) =>
  Object.fromEntries(Object.entries(object).sort(([one], [other]) => (one < other ? -1 : 1)));

const read = async (path) => {
  const sections = await parseKnownFiles({
    filepath: path,
    configFilepath: noConfig,
    ignoreCache: true,
  });
  return sorted(
    Object.fromEntries(Object.entries(sections).map(([name, keys]) => [name, sorted(keys)])),
  );
};
const sha256 = (path) => createHash("sha256").update(readFileSync(path)).digest("hex");

try {
  const edit =
    "import sys; from pathlib import Path; from tests.unit.aws_files.test_corpus import write_edited; " +
    "write_edited(Path(sys.argv[1]))";
  // The test module reads the file that is made here.
  const expected = join(here, "expected.json");
  if (!existsSync(expected)) {
    writeFileSync(expected, '{"files": {}}\n');
  }
  execFileSync(python, ["-c", edit, scratch], { cwd: project, stdio: "inherit" });
  const files = {};
  for (const name of readdirSync(corpus).filter((name) => name.endsWith(".ini")).sort()) {
    const [before, after] = [join(corpus, name), join(scratch, name)];
    files[name.replace(/\.ini$/, "")] = {
      before_sha256: sha256(before),
      after_sha256: sha256(after),
      before: await read(before),
      after: await read(after),
    };
  }
  writeFileSync(expected, JSON.stringify({ loader: `${LOADER} ${version}`, files }, null, 1) + "\n");
} finally {
  rmSync(scratch, { recursive: true });
}
