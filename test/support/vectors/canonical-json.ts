import { encodeCanonical } from '../../../crdt/canonical-json.ts';

/** From the examples of RFC 8785 (sections 3.2.2 to 3.2.4 and appendix B), and cases of this project. */
const inputs = [
  '{"numbers":[333333333.33333329,1E30,4.50,2e-3,0.000000000000000000000000001],"string":"\\u20ac$\\u000F\\u000aA\'\\u0042\\u0022\\u005c\\\\\\"\\/","literals":[null,true,false]}',
  '{"\\u20ac":"Euro Sign","\\r":"Carriage Return","\\ufb33":"Hebrew Letter Dalet With Dagesh","1":"One","\\ud83d\\ude00":"Emoji: Grinning Face","\\u0080":"Control","\\u00f6":"Latin Small Letter O With Diaeresis"}',
  '[56,{"d":true,"10":null,"1":[]}]',
  '{"peach":"This sorting order","péché":"is wrong according to French","pêche":"but canonicalization MUST","sin":"ignore locale"}',
  '[0,-0,5e-324,-5e-324,1.7976931348623157e308,9007199254740992,-9007199254740992,295147905179352830000,9.999999999999997e22,1e23,1.0000000000000001e23,999999999999999700000,999999999999999900000,1e21,9.999999999999997e-7,0.000001,333333333.3333332,-0.0000033333333333333333,1424953923781206.2]',
  '{"__proto__":{"a":1},"constructor":"x","toJSON":"y"}',
  '{}',
  '"text"',
  'null',
];

export function canonicalJsonVectors() {
  return {
    about:
      'RFC 8785. `canonical`: what a JSON text becomes. `accepted`: what a strict reader takes. `refused`: what it does not, with at most `bytesMax` bytes allowed.',
    bytesMax: 1_024,
    canonical: inputs.map((input) => ({ input, text: encodeCanonical(JSON.parse(input)) })),
    accepted: ['{}', '[]', '0', 'true', '"é"', '{"a":1,"b":[1,2]}', `${'['.repeat(32)}${']'.repeat(32)}`],
    refused: [
      { why: 'not JSON', text: '' },
      { why: 'not JSON', text: '{' },
      { why: 'not JSON', text: '{"a":1}{"a":1}' },
      { why: 'not JSON', text: 'undefined' },
      { why: 'byte order mark', text: '\ufeff{}' },
      { why: 'white space', text: ' {}' },
      { why: 'white space', text: '{"a": 1}' },
      { why: 'white space', text: '{}\n' },
      { why: 'key order', text: '{"b":1,"a":1}' },
      { why: 'key order of UTF-16', text: '{"\ufb33":1,"\ud83d\ude00":1}' },
      { why: 'the same key twice', text: '{"a":1,"a":1}' },
      { why: 'the same key twice', text: '{"a":1,"a":2}' },
      { why: 'form of a number', text: '1.0' },
      { why: 'form of a number', text: '1e2' },
      { why: 'form of a number', text: '-0' },
      { why: 'a number no double holds', text: '9007199254740993' },
      { why: 'a number beyond all doubles', text: '1e400' },
      { why: 'an escape that is not needed', text: '"\\u0041"' },
      { why: 'an escape that is not needed', text: '"\\/"' },
      { why: 'uppercase in an escape', text: '"\\u000F"' },
      { why: 'lone surrogate, escaped', text: '"\\ud800"' },
      { why: 'lone surrogate', text: '"\ud800"' },
      { why: 'nesting', text: `${'['.repeat(33)}${']'.repeat(33)}` },
      { why: 'length', text: `"${'a'.repeat(1_023)}"` },
      { why: 'length in bytes', text: `"${'é'.repeat(512)}"` },
    ],
  };
}
