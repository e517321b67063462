import { spawnSync } from 'node:child_process';
import { chmodSync, rmSync } from 'node:fs';

/** Compiles the published package to `dist/`, from nothing: a file that was deleted here does not live on there. */
rmSync('dist', { recursive: true, force: true });
const compiler = 'node_modules/@typescript/native/bin/tsc';
const { status } = spawnSync(process.execPath, [compiler, '--project', 'tsconfig.build.json'], { stdio: 'inherit' });
if (status === 0) chmodSync('dist/src/cli/main.js', 0o755);
process.exitCode = status ?? 1;
