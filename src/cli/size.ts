/** How a size is written, for messages. */
export const sizeForm = 'such as 500GB or 2TiB';

/** Units of a size, in bytes. */
const unitBytes: Readonly<Record<string, number>> = {
  MB: 1e6,
  GB: 1e9,
  TB: 1e12,
  PB: 1e15,
  MIB: 2 ** 20,
  GIB: 2 ** 30,
  TIB: 2 ** 40,
  PIB: 2 ** 50,
};

/** Bytes of a size, in whole bytes; undefined for what is none. */
export function parseSize(text: string): number | undefined {
  const [, amount, unit = ''] = /^(\d{1,7}(?:\.\d{1,3})?) ?([MGTP]i?B)$/i.exec(text) ?? [];
  const unitSize = unitBytes[unit.toUpperCase()];
  if (amount === undefined || unitSize === undefined || Number(amount) === 0) return undefined;
  return Math.round(Number(amount) * unitSize);
}
