/**
 * `node .ci/complete-lockfile.mjs [--check]`: adds to package-lock.json what npm left out, which is platform packages and
 * hashes; with `--check` it only reports them and ends with exit code 1. npm runs it after every change of the
 * dependencies.
 *
 * Native tools ship one optional package a platform (`@biomejs/cli-darwin-arm64`, …), each pinned to one exact version.
 * npm writes an entry only for those its registry could show it when the lockfile was made. `npm ci` of npm 11 refuses
 * a lockfile that lacks some, and npm 10 installs a broken tool on the platform that is missing.
 * Such an entry has no hash until a registry can show one; only a platform package may go without.
 * Plain JavaScript, because it repairs what an install needs.
 */
import { execFile } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const systems = ['aix', 'android', 'darwin', 'freebsd', 'linux', 'netbsd', 'openbsd', 'openharmony', 'sunos', 'win32'];
const processors = ['arm', 'arm64', 'ia32', 'loong64', 'mips64el', 'ppc64', 'riscv64', 's390x', 'wasm32', 'x64'];
const exactVersion = /^\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?$/;
const sha512 = /^sha512-[0-9A-Za-z+/]{86}==$/;
const questionsAtOnceMax = 4;
const answerMsMax = 30_000;

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

/** Every place whose package comes from a registry and has no hash. */
const placesWithoutHash = (packages) =>
  Object.keys(packages).filter((place) => {
    const { integrity, resolved, link, inBundle } = packages[place];
    return place.includes('node_modules/') && !(integrity || resolved || link || inBundle);
  });

const isPlatformPackage = ({ optional, os, cpu }) => optional === true && (os ?? cpu) !== undefined;

/**
 * The hash of `name@version`; undefined if the registry does not have that version. Rejects if it gives no answer.
 * Asks through npm, so that the registry, the proxy and the credentials are those of an install.
 */
const askRegistry = (spec) =>
  new Promise((resolve, reject) => {
    const script = process.env.npm_execpath ?? '';
    const [program, ...first] = path.basename(script) === 'npm-cli.js' ? [process.execPath, script] : ['npm'];
    const question = ['view', spec, 'dist.integrity', '--json', '--fetch-retries=0'];
    const shell = process.platform === 'win32' && program === 'npm';
    execFile(program, [...first, ...question], { cwd: root, shell, timeout: answerMsMax }, (error, stdout) => {
      try {
        const answer = stdout === '' && error === null ? undefined : JSON.parse(stdout);
        if (error === null || answer.error.code === 'E404') resolve(sha512.test(answer) ? answer : undefined);
        else reject(new Error(answer.error.summary));
      } catch {
        reject(error ?? new Error(`npm view ${spec} printed no JSON`));
      }
    });
  });

/** Puts in the hashes the registry has; where it gives no answer, asking ends. Returns how many it put in. */
const addHashes = async (packages) => {
  let added = 0;
  const places = placesWithoutHash(packages).values();
  const askForSome = async () => {
    for (const place of places) {
      const { name, version, ...rest } = packages[place];
      const integrity = await askRegistry(`${name ?? place.split('node_modules/').at(-1)}@${version}`);
      if (integrity === undefined) continue;
      packages[place] = { ...(name === undefined ? {} : { name }), version, integrity, ...rest };
      added += 1;
    }
  };
  const asking = Array.from({ length: questionsAtOnceMax }, askForSome);
  const failed = (await Promise.allSettled(asking)).find(({ status }) => status === 'rejected');
  if (failed !== undefined) console.error(`package-lock.json: the registry gave no hash: ${failed.reason.message}`);
  return added;
};

const root = fileURLToPath(new URL('..', import.meta.url));
const file = path.join(root, 'package-lock.json');
const lockfile = JSON.parse(readFileSync(file, 'utf8'));
const { packages } = lockfile;
const missing = missingPackages(packages);

if (process.argv.includes('--check')) {
  const addressed = Object.keys(packages).filter((place) => 'resolved' in packages[place]);
  const withoutHash = placesWithoutHash(packages).filter((place) => !isPlatformPackage(packages[place]));
  for (const place of missing.keys()) console.error(`package-lock.json has no entry for ${place}`);
  for (const place of addressed) console.error(`package-lock.json names a registry for ${place}`);
  for (const place of withoutHash) console.error(`package-lock.json has no hash for ${place}`);
  process.exitCode = missing.size + addressed.length + withoutHash.length > 0 ? 1 : 0;
} else {
  for (const [place, want] of missing) packages[place] = entryFor(want);
  // `npm ci` installs what the lockfile says: it must neither wait for more answers nor come back with another lockfile.
  const mayAsk = process.env.npm_command !== 'ci';
  const hashes = mayAsk ? await addHashes(packages) : 0;
  if (missing.size + hashes > 0) {
    const sorted = Object.entries(packages).sort(([a], [b]) => a.localeCompare(b, 'en'));
    writeFileSync(file, `${JSON.stringify({ ...lockfile, packages: Object.fromEntries(sorted) }, null, 2)}\n`);
    console.log(`package-lock.json: added ${missing.size} platform packages and ${hashes} hashes`);
  }
  const left = placesWithoutHash(packages).length;
  if (mayAsk && left > 0) console.log(`package-lock.json: ${left} packages have no hash`);
}
