import { registerHooks } from 'node:module';
import { type SourceFault, sourceFaults } from './source-faults.ts';

/** Loaded before a worker's own modules: puts the source fault that the environment names into its module. */
const name = process.env.ANABRANCH_SIM_FAULT ?? '';
const fault: SourceFault | undefined = Object.hasOwn(sourceFaults, name)
  ? sourceFaults[name as keyof typeof sourceFaults]
  : undefined;
if (fault === undefined) throw new Error(`there is no source fault called "${name}"`);
const edits = [fault, ...(fault.also ?? [])].map((edit) => ({
  ...edit,
  url: new URL(`../../../${edit.module}`, import.meta.url).href,
}));

registerHooks({
  load: (url, context, nextLoad) => {
    const loaded = nextLoad(url, context);
    const own = edits.filter((edit) => edit.url === url);
    if (own.length === 0) return loaded;
    let source = Buffer.from(loaded.source as string | Uint8Array).toString('utf8');
    for (const { module, find, replace } of own) {
      if (source.split(find).length !== 2) throw new Error(`${module} has no single "${find}"`);
      source = source.replace(find, () => replace);
    }
    return { ...loaded, source };
  },
});
