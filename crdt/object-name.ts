/** Bytes of UTF-8 in a key, at most. */
const keyBytesMax = 1_024;
/** Characters in a namespace. */
const namespaceLengthMin = 2;
const namespaceLengthMax = 63;

const namespacePattern = /^[a-z0-9][a-z0-9.-]{1,62}$/;

/** Undefined when the text is a namespace; otherwise a sentence that says why not. */
export function checkNamespace(text: string): string | undefined {
  if (text.length < namespaceLengthMin || text.length > namespaceLengthMax) {
    return `a namespace has ${namespaceLengthMin} to ${namespaceLengthMax} characters`;
  }
  if (!namespacePattern.test(text)) {
    return 'a namespace has only lowercase letters, digits, dots and hyphens, and starts with a letter or digit';
  }
  return undefined;
}

/** Undefined when the text is an object's key; otherwise a sentence that says why not. */
export function checkKey(text: string): string | undefined {
  if (text.length === 0) return 'a key has at least one character';
  if (text.length > keyBytesMax || Buffer.byteLength(text, 'utf8') > keyBytesMax) {
    return `a key has at most ${keyBytesMax} bytes of UTF-8`;
  }
  if (!text.isWellFormed()) return 'a key is valid Unicode, without lone surrogates';
  if (text.includes('\0')) return 'a key has no NUL character';
  // Clients and proxies resolve these segments in URLs, so such a key could not be reached.
  if (text.split('/').some((segment) => segment === '.' || segment === '..')) {
    return 'a key has no "." or ".." segment';
  }
  return undefined;
}
