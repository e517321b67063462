/**
 * `node src/bootstrap.mjs PROGRAM [ARGUMENT…]`: installs what the project needs, then runs PROGRAM on the Node.js that
 * the lockfile pins. The npm scripts start here, so a fresh clone needs nothing but git, npm and Node.js 20.
 * Plain JavaScript without dependencies, since it runs on the machine's own Node.js before anything is installed.
 */
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { constants, hostname } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const nodeMajorMin = 20;
const lockPollMs = 250;
/** How long a lock that another host wrote (a shared directory) is believed; an install takes about half a minute. */
const foreignLockAgeMsMax = 10 * 60 * 1000;
/** Long enough for a rival that saw the same dead lock to have replaced ours, so that just one of us goes on. */
const takeoverSettleMs = 500;

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..');
const binaries = path.join(root, 'node_modules', '.bin');
const pinnedNode =
  process.platform === 'win32'
    ? path.join(root, 'node_modules', 'node', 'bin', 'node.exe')
    : path.join(binaries, 'node');
const marker = path.join(root, 'node_modules', '.anabranch-installed');
const lockFile = path.join(root, '.install.lock');
const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'];

/** Set while an install runs: the npm to stop, and the signal that asked for it. */
let npmProcess;
let interruptedBy;

const say = (line) => process.stderr.write(`${line}\n`);

const fail = (lines) => {
  for (const line of lines) say(line);
  process.exit(1);
};

const readText = (file) => {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return undefined;
  }
};

/** What an install has to match: the lockfile, and the platform its native packages were chosen for. */
const wantedInstall = () => {
  const hash = createHash('sha256')
    .update(readFileSync(path.join(root, 'package-lock.json')))
    .digest('hex');
  return `${hash} ${process.platform} ${process.arch}\n`;
};

/**
 * The Node.js to run programs on: the pinned one; or, where npm is told to ignore install scripts and so does not put
 * it in place, the one that runs this, if it is of the same major version.
 */
const runtime = () => {
  if (existsSync(pinnedNode)) return pinnedNode;
  const { packages } = JSON.parse(readFileSync(path.join(root, 'package-lock.json'), 'utf8'));
  const wanted = packages?.['node_modules/node']?.version.split('.')[0];
  return process.versions.node.split('.')[0] === wanted ? process.execPath : undefined;
};

const isInstalled = () => readText(marker) === wantedInstall() && runtime() !== undefined;

const isAlive = (pid) => {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === 'EPERM';
  }
};

/** A lock nobody holds any more: its process is gone, or it came from another host too long ago. */
const isAbandoned = (text) => {
  const [pid, host] = text.trim().split(' ');
  if (host === hostname()) return !isAlive(Number(pid));
  try {
    return Date.now() - statSync(lockFile).mtimeMs > foreignLockAgeMsMax;
  } catch {
    return false;
  }
};

/**
 * Waits for the one install at a time that a checkout allows. Returns false when there is none to do any more: another
 * process has finished it, or a signal came.
 */
const acquireLock = async () => {
  const mine = `${process.pid} ${hostname()} ${process.hrtime.bigint()}\n`;
  let told = false;
  while (interruptedBy === undefined) {
    if (isInstalled() && !existsSync(lockFile)) return false;
    try {
      writeFileSync(lockFile, mine, { flag: 'wx' });
      return true;
    } catch (error) {
      if (error.code !== 'EEXIST') throw error;
    }
    if (isAbandoned(readText(lockFile) ?? '')) {
      const draft = `${lockFile}.${process.pid}`;
      writeFileSync(draft, mine);
      renameSync(draft, lockFile);
      await sleep(takeoverSettleMs);
      if (readText(lockFile) === mine) return true;
    }
    if (!told) say('anabranch: another process is installing the dependencies here; waiting for it');
    told = true;
    await sleep(lockPollMs);
  }
  return false;
};

/** The search path without this checkout's own programs, which the install is about to replace. */
const outsidePath = () =>
  (process.env.PATH ?? '')
    .split(path.delimiter)
    .filter((entry) => entry !== '' && !path.resolve(entry).startsWith(path.join(root, 'node_modules')))
    .join(path.delimiter);

const findProgram = (name, searchPath) =>
  searchPath
    .split(path.delimiter)
    .map((entry) => path.join(entry, process.platform === 'win32' ? `${name}.exe` : name))
    .find((candidate) => existsSync(candidate));

/** The npm that started us if there is one, run by the machine's Node.js; else the npm on the search path. */
const npmCommand = (searchPath) => {
  const node = findProgram('node', searchPath) ?? process.execPath;
  const script = process.env.npm_execpath ?? '';
  return path.basename(script) === 'npm-cli.js' ? { program: node, first: [script] } : { program: 'npm', first: [] };
};

/** Runs `npm ci` quietly; resolves with its exit code and everything it printed. */
const runNpm = () =>
  new Promise((resolve) => {
    const searchPath = outsidePath();
    const { program, first } = npmCommand(searchPath);
    const options = ['ci', '--include=dev', '--no-audit', '--no-fund', '--no-progress', '--loglevel=error'];
    const child = spawn(program, [...first, ...options], {
      cwd: root,
      env: { ...process.env, PATH: searchPath },
      shell: process.platform === 'win32' && program === 'npm',
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    npmProcess = child;
    const output = [];
    child.stdout.on('data', (bytes) => output.push(bytes));
    child.stderr.on('data', (bytes) => output.push(bytes));
    child.on('error', (error) => resolve({ code: 1, output: `npm could not be started: ${error.message}` }));
    child.on('close', (code) => resolve({ code: code ?? 1, output: Buffer.concat(output).toString('utf8').trim() }));
  });

/** Shows on a terminal that something still happens; elsewhere prints nothing. */
const showElapsed = (text) => {
  if (!process.stderr.isTTY) return () => {};
  const startedAt = Date.now();
  const timer = setInterval(() => {
    process.stderr.write(`\r${text} ${Math.round((Date.now() - startedAt) / 1000)} s `);
  }, 1000);
  return () => {
    clearInterval(timer);
    process.stderr.write('\r\x1b[K');
  };
};

const install = async () => {
  say('anabranch: installing the dependencies with npm ci (only when the lockfile has changed; about half a minute)');
  const startedAt = Date.now();
  const done = showElapsed('anabranch: installing …');
  const { code, output } = await runNpm();
  done();
  if (code !== 0 || interruptedBy !== undefined) {
    return [
      output,
      '',
      `anabranch: the dependencies could not be installed: npm ci ended with exit code ${code} (its output is above).`,
      'The npm registry has to be reachable and the disk must have about 500 MB free. Run the same command to try again.',
    ];
  }
  if (runtime() === undefined) {
    return [
      output,
      '',
      'anabranch: npm ci ended well but did not install the pinned Node.js (package "node").',
      'It is put in place by an install script: check that npm is not told to ignore scripts (npm config get ignore-scripts).',
    ];
  }
  writeFileSync(marker, wantedInstall());
  say(`anabranch: dependencies installed in ${((Date.now() - startedAt) / 1000).toFixed(0)} s`);
  return undefined;
};

const interrupt = (signal) => {
  interruptedBy = signal;
  npmProcess?.kill(signal);
};

const ensureInstalled = async () => {
  if (isInstalled()) return;
  for (const signal of signals) process.on(signal, interrupt);
  let trouble;
  if (await acquireLock()) {
    trouble = isInstalled() ? undefined : await install();
    rmSync(lockFile, { force: true });
  }
  for (const signal of signals) process.removeListener(signal, interrupt);
  if (interruptedBy !== undefined) process.exit(128 + constants.signals[interruptedBy]);
  if (trouble !== undefined) fail(trouble);
};

/**
 * Becomes the program, so that signals and the exit code are its own. Where the Node.js that runs this is too old to
 * replace itself, the program is a child, and this process stands in for it.
 */
const run = (commandLine) => {
  const node = runtime();
  const searchPath = process.env.PATH ?? '';
  const env = searchPath.split(path.delimiter).includes(binaries)
    ? process.env
    : { ...process.env, PATH: `${binaries}${path.delimiter}${searchPath}` };
  if (typeof process.execve === 'function' && process.platform !== 'win32') {
    process.execve(node, [node, ...commandLine], env);
  }
  const child = spawn(node, commandLine, { stdio: 'inherit', env });
  for (const signal of signals) {
    process.on(signal, () => {
      // A terminal sends Ctrl-C to the child as well: passing it on would press it twice.
      if (signal !== 'SIGINT' || !process.stdin.isTTY) child.kill(signal);
    });
  }
  child.on('error', (error) => fail([`anabranch: ${node} could not be started: ${error.message}`]));
  child.on('close', (code, signal) => {
    process.exitCode = code ?? 128 + constants.signals[signal];
  });
};

const [program, ...programArguments] = process.argv.slice(2);
if (Number(process.versions.node.split('.')[0]) < nodeMajorMin) {
  fail([`anabranch: Node.js ${nodeMajorMin} or newer is needed to start; this is ${process.version}.`]);
}
if (program === undefined) fail(['usage: node src/bootstrap.mjs PROGRAM [ARGUMENT…]']);
try {
  await ensureInstalled();
  run([path.resolve(root, program), ...programArguments]);
} catch (error) {
  fail([`anabranch: ${error.message}`]);
}
