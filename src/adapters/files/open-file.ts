import * as nodeFiles from 'node:fs';

type Done<T> = (error: Error | null, value: T) => void;

/** Opens a directory, to sync it; where the platform has no flag for that, 0 stands for any file. */
export const directoryFlags = nodeFiles.constants.O_RDONLY | (nodeFiles.constants.O_DIRECTORY ?? 0);

/**
 * Opens a file. Whatever may have to wait for a disk takes place on another thread, one trip there for each call; what the
 * system only has to look up is done at once, since such a trip costs ten times as much: so it is for an open file, and for a
 * directory, of which names were just changed (only at a start may it have to be read). Reads and writes move as many bytes as
 * the system likes. Rejects with the system's error, as every method does.
 */
export async function openFile(path: string, flags: string | number, mode?: number): Promise<OpenFile> {
  if (flags === directoryFlags) return new OpenFile(nodeFiles.openSync(path, flags));
  return new OpenFile(await settled<number>((done) => nodeFiles.open(path, flags, mode, done)));
}

/** A file that is open until `close`, which is called once, when nothing else is under way. */
export class OpenFile {
  readonly #descriptor: number;

  constructor(descriptor: number) {
    this.#descriptor = descriptor;
  }

  /** Throws the system's error. */
  sizeBytes(): number {
    return nodeFiles.fstatSync(this.#descriptor).size;
  }

  async read(bytes: Uint8Array, offset: number, length: number, position: number): Promise<{ bytesRead: number }> {
    const bytesRead = await settled<number>((done) =>
      nodeFiles.read(this.#descriptor, bytes, offset, length, position, done),
    );
    return { bytesRead };
  }

  async write(bytes: Uint8Array, offset: number, length: number, position: number): Promise<{ bytesWritten: number }> {
    const bytesWritten = await settled<number>((done) =>
      nodeFiles.write(this.#descriptor, bytes, offset, length, position, done),
    );
    return { bytesWritten };
  }

  truncate(length: number): Promise<void> {
    return settled((done: Done<void>) =>
      nodeFiles.ftruncate(this.#descriptor, length, done as nodeFiles.NoParamCallback),
    );
  }

  datasync(): Promise<void> {
    return settled((done: Done<void>) => nodeFiles.fdatasync(this.#descriptor, done as nodeFiles.NoParamCallback));
  }

  sync(): Promise<void> {
    return settled((done: Done<void>) => nodeFiles.fsync(this.#descriptor, done as nodeFiles.NoParamCallback));
  }

  /** What was written and is to last was synced before, so that nothing is left to wait for. Throws the system's error. */
  close(): void {
    nodeFiles.closeSync(this.#descriptor);
  }
}

function settled<T>(start: (done: Done<T>) => void): Promise<T> {
  return new Promise((resolve, reject) => {
    start((error, value) => {
      if (error === null) resolve(value);
      else reject(error);
    });
  });
}
