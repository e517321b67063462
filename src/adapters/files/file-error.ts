import { MeshError } from '../../ports/mesh-error.ts';

/** The system's code of a failed file operation (`ENOENT`, `ENOSPC`, …), or undefined for any other error. */
export function codeOf(error: unknown): string | undefined {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  return typeof code === 'string' ? code : undefined;
}

const fullCodes: ReadonlySet<string | undefined> = new Set(['ENOSPC', 'EDQUOT']);

/** What a failed file operation means to the node. An error that has its meaning already is passed on. */
export function fileError(error: unknown, action: string, path: string): MeshError {
  if (error instanceof MeshError) return error;
  const code = codeOf(error);
  const reason = error instanceof Error ? error.message : String(error);
  const detail = { path, ...(code === undefined ? {} : { system: code }) };
  return fullCodes.has(code)
    ? new MeshError('disk_full', `no room left to ${action}`, { cause: error, detail })
    : new MeshError('io_error', `could not ${action}: ${reason}`, { cause: error, detail });
}
