import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openFileBlobStore } from '../../src/adapters/files/blob-store.ts';
import { MemoryBlobStore } from '../../src/adapters/memory/blob-store.ts';
import { SeededRandom } from '../../src/adapters/memory/random.ts';
import { blobStoreContract } from './blob-store.contract.ts';

blobStoreContract('files', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'anabranch-blobs-'));
  const open = async () => {
    const store = await openFileBlobStore(join(directory, 'blobs'));
    await store.recover();
    return store;
  };
  return { store: await open(), restart: open, close: () => rm(directory, { recursive: true }) };
});

blobStoreContract('memory', async () => {
  const store = new MemoryBlobStore();
  await store.recover();
  const restart = async () => {
    const restarted = store.crash(new SeededRandom('blob store contract'));
    await restarted.recover();
    return restarted;
  };
  return { store, restart, close: async () => {} };
});
