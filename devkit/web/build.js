// Makes vapi.js, daily.js and their NOTICES.txt in the folder that is named: `make web` says where.

import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { build } from "esbuild";

const target = process.argv[2];
const locked = JSON.parse(readFileSync("package-lock.json", "utf8")).packages;
const shipped = Object.keys(locked).filter((path) => path && !locked[path].dev);
const banner = (name) => {
  const { version, license } = locked[`node_modules/${name}`];
  return `/*! ${name} ${version}, ${license}; all notices: NOTICES.txt */`;
};

// Daily stays a file of its own, as published, so that a test can put another transport in its place.
const daily = {
  name: "daily",
  setup: ({ onResolve }) =>
    onResolve({ filter: /^@daily-co\/daily-js$/ }, () => ({ path: "./daily.js", external: true })),
};

await build({
  // The source that the package ships: its compiled form is CommonJS, which cannot import another file in a browser.
  entryPoints: ["node_modules/@vapi-ai/web/vapi.ts"],
  outfile: join(target, "vapi.js"),
  bundle: true,
  format: "esm",
  target: "es2022",
  minify: true,
  banner: { js: banner("@vapi-ai/web") },
  plugins: [daily],
});

const published = readFileSync("node_modules/@daily-co/daily-js/dist/daily-esm.js", "utf8");
writeFileSync(join(target, "daily.js"), `${banner("@daily-co/daily-js")}\n${published}`);

// The published file of Daily holds what it depends on, so all of the lock counts.
function licence(path) {
  for (const name of ["LICENSE", "license", "LICENSE.md"]) {
    try {
      return readFileSync(join(path, name), "utf8").trim();
    } catch (error) {
      if (error.code !== "ENOENT") throw error;
    }
  }
  const [, text] = /## License\s+```\s([^`]+)```/.exec(readFileSync(join(path, "README.md"), "utf8"));
  return text.trim();
}

const notices = shipped.map((path) => {
  const name = path.replace(/^.*node_modules\//, "");
  return `${name} ${locked[path].version} (${locked[path].license})\n\n${licence(path)}\n`;
});
writeFileSync(
  join(target, "NOTICES.txt"),
  `vapi.js and daily.js hold code of these packages.\n\n${notices.join(`\n${"-".repeat(80)}\n\n`)}`,
);
