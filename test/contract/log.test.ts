import { MemoryLog } from '../../src/adapters/memory/log.ts';
import { PinoLog } from '../../src/adapters/system/log.ts';
import { logContract } from './log.contract.ts';

logContract('pino', () => {
  const written: string[] = [];
  const destination = { write: (line: string) => written.push(line) };
  return {
    log: new PinoLog({ level: 'debug', format: 'json', destination }),
    lines: () =>
      written.map((line) => {
        const { level, time: _, event, ...fields } = JSON.parse(line);
        return { level, event, fields };
      }),
  };
});

logContract('memory', () => {
  const log = new MemoryLog();
  return { log, lines: () => log.lines };
});
