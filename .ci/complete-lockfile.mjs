/**
 * `node .ci/complete-lockfile.mjs [--check]`: adds to package-lock.json the platform packages that npm left out; with
 * `--check` it only reports them and ends with exit code 1. npm runs it after every change of the dependencies.
 *
 * Native tools ship one optional package a platform (`@biomejs/cli-darwin-arm64`, …), each pinned to one exact version.
 * npm writes an entry only for those its registry could show it when the lockfile was made. `npm ci` of npm 11 refuses
 * a lockfile that lacks some, and npm 10 installs a broken tool on the platform that is missing.
 * Plain JavaScript, because it repairs what an install needs.
 */
import { readFileSync, writeFileSync } from 'node:fs';

const systems = ['aix', 'android', 'darwin', 'freebsd', 'linux', 'netbsd', 'openbsd', 'openharmony', 'sunos', 'win32'];
const processors = ['arm', 'arm64', 'ia32', 'loong64', 'mips64el', 'ppc64', 'riscv64', 's390x', 'wasm32', 'x64'];
const exactVersion = /^\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?$/;

/** The conditions under which npm installs a platform package, read from its name; undefined if it does not tell. */
const platformOf = (name) => {
  const words = name.split('/').at(-1).split('-');
  const os = words.filter((word) => systems.includes(word));
  const cpu = words.filter((word) => processors.includes(word));
  if (cpu.length !== 1 || (os.length !== 1 && cpu[0] !== 'wasm32')) return undefined;
  const libc = words.map((word) => /^(gnu|musl)/.exec(word)?.[1]).find((family) => family !== undefined);
  return { os, cpu, libc: libc === undefined ? [] : [libc === 'gnu' ? 'glibc' : 'musl'] };
};

/** Every optional package that some package of the lockfile asks for and the lockfile has no entry for. */
const missingPackages = (packages) => {
  const missing = new Map();
  for (const [parent, entry] of Object.entries(packages)) {
    for (const [name, version] of Object.entries(entry.optionalDependencies ?? {})) {
      const places = [`${parent}/node_modules/${name}`, `node_modules/${name}`];
      if (!places.some((place) => place in packages)) missing.set(places[1], { name, version, parent, entry });
    }
  }
  return missing;
};

/** The fields in npm's own order, so that npm does not reorder them at the next change. */
const entryFor = ({ name, version, parent, entry }) => {
  const platform = platformOf(name);
  if (platform === undefined || !exactVersion.test(version)) {
    throw new Error(`${parent} wants ${name}@${version}, which names no platform or no exact version: add it by hand`);
  }
  const { os, cpu, libc } = platform;
  return {
    version,
    cpu,
    ...(entry.dev === true ? { dev: true } : {}),
    ...(libc.length > 0 ? { libc } : {}),
    optional: true,
    ...(os.length > 0 ? { os } : {}),
  };
};

const file = new URL('../package-lock.json', import.meta.url);
const lockfile = JSON.parse(readFileSync(file, 'utf8'));
const missing = missingPackages(lockfile.packages);

if (process.argv.includes('--check')) {
  for (const place of missing.keys()) console.error(`package-lock.json has no entry for ${place}`);
  const addressed = Object.keys(lockfile.packages).filter((place) => 'resolved' in lockfile.packages[place]);
  for (const place of addressed) console.error(`package-lock.json names a registry for ${place}`);
  process.exitCode = missing.size + addressed.length > 0 ? 1 : 0;
} else if (missing.size > 0) {
  for (const [place, want] of missing) lockfile.packages[place] = entryFor(want);
  const sorted = Object.entries(lockfile.packages).sort(([a], [b]) => a.localeCompare(b, 'en'));
  writeFileSync(file, `${JSON.stringify({ ...lockfile, packages: Object.fromEntries(sorted) }, null, 2)}\n`);
  console.log(`package-lock.json: added ${missing.size} platform packages`);
}
