import { describe, expect, it } from 'vitest';
import type { ControlState } from '../../../crdt/control/state.ts';
import type { NodeId } from '../../../crdt/ids.ts';
import { judgeWriter } from '../../../src/control/writer-rights.ts';
import { memberOf, TestLog } from '../../support/control-log.ts';
import { testNode } from '../../support/versions.ts';

const log = new TestLog();
const { nodeId } = testNode('west');
/** The states of a log in which west is admitted, becomes an agent, and is removed. */
const states: ControlState[] = [log.state];
log.add({ type: 'admit', member: memberOf('west') });
states.push(log.state);
log.add({ type: 'roles', nodeId, roles: ['agent'] });
states.push(log.state);
log.add({ type: 'remove', nodeId });
states.push(log.state);

const judge = (seq: number, hash = states[seq]?.hash ?? 'a'.repeat(52), node: NodeId = nodeId) =>
  judgeWriter((at) => states[at], { log: { seq, hash }, node });

describe('the right to write', () => {
  it('is that of the place in the log which the record names, whatever came later', () => {
    expect(judge(0)).toMatchObject({ kind: 'fault', fault: { code: 'bad_signature' } });
    expect(judge(1)).toEqual({ kind: 'may', publicKey: testNode('west').signer.publicKey });
    expect(judge(2)).toMatchObject({ kind: 'fault', fault: { code: 'not_permitted' } });
    expect(judge(3)).toMatchObject({ kind: 'fault', fault: { code: 'bad_signature' } });
  });

  it('is not known while the log has not come so far', () => {
    expect(judge(4)).toEqual({ kind: 'unknown' });
  });

  it('is none on another log, or in another cluster', () => {
    expect(judge(1, states[2]?.hash)).toMatchObject({ kind: 'fault', fault: { code: 'malformed' } });
    expect(judge(0, 'a'.repeat(52))).toMatchObject({
      fault: { message: expect.stringContaining('another cluster') },
    });
  });
});
