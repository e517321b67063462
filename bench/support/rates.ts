/** Runs a task again and again in so many loops side by side; how often a second it came to an end. */
export async function perSecond(
  loops: number,
  forMs: number,
  task: (loop: number, index: number) => Promise<void>,
): Promise<number> {
  const startMs = performance.now();
  let done = 0;
  const loop = async (id: number): Promise<void> => {
    for (let index = 0; performance.now() - startMs < forMs; index += 1) {
      await task(id, index);
      done += 1;
    }
  };
  await Promise.all(Array.from({ length: loops }, (_, id) => loop(id)));
  return done / ((performance.now() - startMs) / 1_000);
}
