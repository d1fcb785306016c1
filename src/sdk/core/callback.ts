/**
 * A caller's own callback, which must not break what calls it: what it throws is kept, and the first of it passed on by
 * `rethrow` once the work is done.
 */
export function guarded<T>(callback: ((value: T) => unknown) | undefined) {
  let thrown: { readonly error: unknown } | undefined;
  return {
    tell(value: T): void {
      try {
        callback?.(value);
      } catch (error) {
        thrown ??= { error };
      }
    },
    /** Resolves when the callback has done its work; once it has thrown it is called no more. */
    async tellAndWait(value: T): Promise<void> {
      if (thrown) return;
      try {
        await callback?.(value);
      } catch (error) {
        thrown ??= { error };
      }
    },
    rethrow(): void {
      if (thrown) throw thrown.error;
    },
  };
}
