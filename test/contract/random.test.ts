import { SeededRandom } from '../../src/adapters/memory/random.ts';
import { SystemRandom } from '../../src/adapters/system/random.ts';
import { randomContract } from './random.contract.ts';

randomContract('system', () => new SystemRandom());
randomContract('seeded', () => new SeededRandom('random contract'));
randomContract('split', () => new SeededRandom('random contract').split('again'));
