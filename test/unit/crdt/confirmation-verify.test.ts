import { describe, expect, test } from 'vitest';
import { verifyConfirmation } from '../../../crdt/confirmation-verify.ts';
import { documentId } from '../../../crdt/object-document.ts';
import { readVectors } from '../../support/vectors/index.ts';
import { accepted, refusal, testCluster } from '../../support/versions.ts';

const vectors = readVectors('confirmation');
const { cluster, object, genesisText, controlLogLines } = vectors;

describe('the offline check of a confirmation', () => {
  test('holds with the log as far as the certificate’s epoch, and says what is proved', () => {
    for (const { lines, certificate } of vectors.accepted) {
      const evidence = { genesisText, controlLogLines: controlLogLines.slice(0, lines), certificate };
      const proved = accepted(verifyConfirmation(evidence, { cluster, object }));
      expect(proved).toMatchObject({ cluster, doc: documentId(cluster, object.ns, object.key), position: 1 });
      expect(accepted(verifyConfirmation(evidence))).toEqual(proved);
    }
  });

  test('says why for every vector that must not hold', () => {
    const linesOf = { none: [], all: controlLogLines, 'all but the first': controlLogLines.slice(1) };
    for (const { lines, certificate, reason } of vectors.refused) {
      const evidence = { genesisText, controlLogLines: linesOf[lines as keyof typeof linesOf], certificate };
      expect(refusal(verifyConfirmation(evidence, { cluster, object }))).toBe(reason);
    }
  });

  test('does not hold for another cluster, nor for a text that founds none', () => {
    const [{ certificate } = { certificate: '' }] = vectors.accepted;
    const evidence = { genesisText, controlLogLines: [], certificate };
    expect(refusal(verifyConfirmation(evidence, { cluster: testCluster }))).toContain('founds the cluster');
    expect(refusal(verifyConfirmation({ ...evidence, genesisText: '{}' }))).toContain('cannot be read');
    expect(
      refusal(
        verifyConfirmation({
          ...evidence,
          controlLogLines: ['x'],
          certificate: vectors.accepted[1]?.certificate ?? '',
        }),
      ),
    ).toContain('entry 1');
  });
});
