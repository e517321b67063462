/** Bytes of lines packed into one answer, so that a largest line still fits a message beside what is there. */
export const linesMessageBytes = 64 * 1024;
/** Entries in one answer: one transaction of who asked. */
export const linesMax = 256;
/** Characters of one line: an entry's text with its quotes escaped, and its certificate. */
export const lineLengthMax = 144 * 1024;
/** Characters of a proposed entry's text. */
export const candidateLengthMax = 64 * 1024;
