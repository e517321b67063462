import type { IRegularForbiddenRuleType } from 'dependency-cruiser';

/**
 * Which part may import which: section by section the directions that `docs/architecture.md` draws.
 * Paths are regular expressions over paths from the project's root; `$1` is the first group of `from`.
 */
const pureZones = '^(crdt|protocols|src/(ports|node|replication|retention|control))/';
const production = '^(crdt|protocols|src)/';
/** Packages that compute and do nothing else: no clock, randomness, file, socket, timer or thread of their own. */
const pureLibraries = ['canonicalize', 'cborg', 'it-pipe', 'multiformats', 'zod'];
/** Parts of Node.js of which the same is true. */
const pureModules = ['assert', 'assert/strict', 'buffer', 'events', 'util'];
const hashLibraries = '(^|/)node_modules/(@napi-rs/blake-hash|blake3-wasm|@noble/hashes|@noble/curves)/';

const inPackage = (names: readonly string[]) => `(^|/)node_modules/(${names.join('|')})/`;
const error = (
  name: string,
  comment: string,
  from: IRegularForbiddenRuleType['from'],
  to: IRegularForbiddenRuleType['to'],
): IRegularForbiddenRuleType => ({ name, comment, severity: 'error', from, to });

const layers: readonly IRegularForbiddenRuleType[] = [
  error(
    'crdt-stands-alone',
    'crdt imports nothing of ours: it is pure functions that everything else builds on.',
    { path: '^crdt/' },
    { path: '^(src|protocols)/' },
  ),
  error(
    'ports-import-only-types-of-crdt',
    'A port is an interface: it may name the types of crdt, and nothing else of ours.',
    { path: '^src/ports/' },
    { path: '^crdt/', dependencyTypesNot: ['type-only', 'type-import'] },
  ),
  error(
    'ports-stand-below',
    'A port knows no one who uses or implements it.',
    { path: '^src/ports/' },
    { path: '^(protocols/|src/(?!ports/))' },
  ),
  error(
    'protocols-stand-on-ports',
    'A protocol is written over crdt and the ports.',
    { path: '^protocols/' },
    { path: '^src/(?!ports/)' },
  ),
  error(
    'protocols-keep-apart',
    'A protocol imports no other protocol; what they share is in protocols/wire.',
    { path: '^protocols/([^/]+)/' },
    { path: '^protocols/(?!$1/|wire/)' },
  ),
  error(
    'node-stands-on-ports',
    'The node and its workers are handed their ports: they import no adapter, no interface to a user.',
    { path: '^src/(node|replication|retention|control)/' },
    { path: '^src/(?!(ports|node|replication|retention|control)/)' },
  ),
  error(
    'adapters-implement-ports',
    'An adapter imports the ports, what crdt computes, and its library.',
    { path: '^src/adapters/' },
    { path: '^(protocols/|src/(?!ports/|adapters/))' },
  ),
  error(
    'adapters-keep-apart',
    'An adapter imports no other adapter: each can be replaced alone.',
    { path: '^src/adapters/([^/]+)/' },
    { path: '^src/adapters/(?!$1/)' },
  ),
  error(
    'only-compose-wires-adapters',
    'Adapters are chosen in one place, src/compose.ts; src/index.ts may hand them on to programs that embed a node.',
    { path: production, pathNot: '^src/(adapters/|(compose|index)\\.ts$)' },
    { path: '^src/adapters/' },
  ),
  error(
    'interfaces-use-the-public-face',
    'HTTP, command line and supervisor see of the node what src/node/api.ts shows.',
    { path: '^src/(http|cli|swarm|client|agent|ui|s3|nix)/' },
    { path: '^(protocols/|src/node/(?!api\\.ts$))' },
  ),
  error(
    'production-imports-no-test-code',
    'What is published imports nothing that is not.',
    { path: production },
    { path: '^(test|bench|examples|\\.ci)/' },
  ),
];

const purity: readonly IRegularForbiddenRuleType[] = [
  error(
    'pure-zones-touch-no-system',
    'No file, socket, timer, randomness or process in a pure zone: take a port.',
    { path: pureZones, pathNot: '^crdt/(digest|signature)\\.ts$' },
    { dependencyTypes: ['core'], pathNot: `^(node:)?(${pureModules.join('|')})$` },
  ),
  error(
    'pure-zones-use-pure-libraries',
    'A library in a pure zone must be as pure: add it to pureLibraries once you have read that it is.',
    { path: pureZones, pathNot: '^crdt/(digest|signature|object-document|membership)\\.ts$' },
    { path: '(^|/)node_modules/', pathNot: inPackage(pureLibraries) },
  ),
  error(
    'only-digest-hashes',
    'Hash implementations are imported by crdt/digest.ts alone.',
    { path: production, pathNot: '^crdt/digest\\.ts$' },
    { path: hashLibraries },
  ),
  error(
    'digest-is-only-a-digest',
    'crdt/digest.ts may load hash implementations, and nothing else of the system.',
    { path: '^crdt/digest\\.ts$' },
    { dependencyTypes: ['core'], pathNot: '^(node:)?(crypto|module|assert|assert/strict)$' },
  ),
  error(
    'signature-is-only-a-signature',
    'crdt/signature.ts may use synchronous ed25519 of node:crypto.',
    { path: '^crdt/signature\\.ts$' },
    { dependencyTypes: ['core'], pathNot: '^(node:)?(crypto|assert|assert/strict)$' },
  ),
  error(
    'only-documents-use-automerge',
    'Automerge is imported by the two files that build its documents; it is never shown foreign bytes.',
    { path: production, pathNot: '^crdt/(object-document|membership)\\.ts$' },
    { path: inPackage(['@automerge/[^/]+']) },
  ),
  error(
    'document-files-use-automerge-only',
    'The document files need Automerge and no other library that is not pure.',
    { path: '^crdt/(object-document|membership)\\.ts$' },
    { path: '(^|/)node_modules/', pathNot: inPackage(['@automerge/automerge', ...pureLibraries]) },
  ),
  error(
    'only-its-adapter-uses-lmdb',
    'LMDB stays behind the key-value port.',
    { path: production, pathNot: '^src/adapters/lmdb/' },
    { path: inPackage(['lmdb']) },
  ),
  error(
    'only-its-adapter-uses-libp2p',
    'libp2p stays behind the network port.',
    { path: production, pathNot: '^src/adapters/libp2p/' },
    { path: inPackage(['libp2p', '@libp2p/[^/]+']) },
  ),
];

const soundness: readonly IRegularForbiddenRuleType[] = [
  error('resolvable', 'The import leads nowhere.', {}, { couldNotResolve: true }),
  error(
    'no-cycles',
    'Files that need each other to load belong together or apart.',
    { path: production },
    { circular: true, viaOnly: { dependencyTypesNot: ['type-only', 'type-import'] } },
  ),
  error(
    'no-development-packages-in-production',
    'The published package would not have it.',
    { path: production },
    { dependencyTypes: ['npm-dev', 'npm-no-pkg', 'npm-unknown'], dependencyTypesNot: ['type-only'] },
  ),
];

export const importRules: readonly IRegularForbiddenRuleType[] = [...layers, ...purity, ...soundness];
