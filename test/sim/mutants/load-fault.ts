import { registerHooks } from 'node:module';
import { type SourceFault, sourceFaults } from './source-faults.ts';

/** Loaded before a worker's own modules: puts the source fault that the environment names into its module. */
const name = process.env.ANABRANCH_SIM_FAULT ?? '';
const fault: SourceFault | undefined = Object.hasOwn(sourceFaults, name)
  ? sourceFaults[name as keyof typeof sourceFaults]
  : undefined;
if (fault === undefined) throw new Error(`there is no source fault called "${name}"`);
const target = new URL(`../../../${fault.module}`, import.meta.url).href;

registerHooks({
  load: (url, context, nextLoad) => {
    const loaded = nextLoad(url, context);
    if (url !== target) return loaded;
    const source = Buffer.from(loaded.source as string | Uint8Array).toString('utf8');
    if (source.split(fault.find).length !== 2) throw new Error(`${fault.module} has no single "${fault.find}"`);
    return { ...loaded, source: source.replace(fault.find, () => fault.replace) };
  },
});
