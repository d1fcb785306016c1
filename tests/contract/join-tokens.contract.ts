import { describe, expect, it } from 'vitest';
import type { JoinTokenRecord } from '../../src/domain/pairing/join-token.js';
import type { JoinTokens } from '../../src/ports/join-tokens.js';

const token = (id: string, change: Partial<JoinTokenRecord> = {}): JoinTokenRecord => ({
  id: id.repeat(16),
  name: 'web-01',
  key: 'ab'.repeat(32),
  boundTo: undefined,
  createdAt: 1_700_000_000_000,
  expiresAt: 1_700_000_900_000,
  burntAt: undefined,
  ...change,
});

/** What holds for every `JoinTokens`. `open` gives an empty store. */
export function joinTokensContract(adapter: string, open: () => JoinTokens | Promise<JoinTokens>): void {
  describe(`join tokens: ${adapter}`, () => {
    it('a token comes back as it was added', async () => {
      const tokens = await open();
      (await tokens.add(token('a')))._unsafeUnwrap();
      (
        await tokens.add(token('b', { boundTo: 'cd'.repeat(32), burntAt: 1_700_000_000_001 }))
      )._unsafeUnwrap();
      expect((await tokens.find(token('a').id))._unsafeUnwrap()).toEqual(token('a'));
      expect((await tokens.find(token('b').id))._unsafeUnwrap()?.burntAt).toBe(1_700_000_000_001);
      expect((await tokens.find('nobody'))._unsafeUnwrap()).toBeUndefined();
    });

    it('an id is used once, and the refusal does not tell the key', async () => {
      const tokens = await open();
      (await tokens.add(token('a')))._unsafeUnwrap();
      const refused = (await tokens.add(token('a', { name: 'web-02' })))._unsafeUnwrapErr();
      expect(refused.code).toBe('store_failed');
      expect(JSON.stringify(refused)).not.toContain(token('a').key);
      expect((await tokens.find(token('a').id))._unsafeUnwrap()?.name).toBe('web-01');
    });

    it('the first CSR binds the token, and it alone', async () => {
      const tokens = await open();
      (await tokens.add(token('a')))._unsafeUnwrap();
      const { id } = token('a');
      const outcomes = await Promise.all(['x', 'y', 'z'].map(async (csr) => tokens.bind(id, csr)));
      const winners = outcomes.map((outcome) => outcome._unsafeUnwrap());
      expect(winners.filter(Boolean)).toHaveLength(1);
      const winner = ['x', 'y', 'z'][winners.indexOf(true)] ?? '';
      expect((await tokens.bind(id, winner))._unsafeUnwrap()).toBe(true);
      expect((await tokens.bind(id, 'other'))._unsafeUnwrap()).toBe(false);
      expect((await tokens.bind('nobody', 'x'))._unsafeUnwrap()).toBe(false);
    });

    it('pairing burns the bound tokens of that host, and the moment stands', async () => {
      const tokens = await open();
      (await tokens.add(token('a', { boundTo: 'cd'.repeat(32) })))._unsafeUnwrap();
      (await tokens.add(token('b')))._unsafeUnwrap();
      (await tokens.add(token('c', { name: 'web-02', boundTo: 'cd'.repeat(32) })))._unsafeUnwrap();
      (await tokens.burnBound('web-01', 5))._unsafeUnwrap();
      (await tokens.burnBound('web-01', 6))._unsafeUnwrap();
      const burnt = ['a', 'b', 'c'].map(
        async (id) => (await tokens.find(token(id).id))._unsafeUnwrap()?.burntAt,
      );
      expect(await Promise.all(burnt)).toEqual([5, undefined, undefined]);
    });

    it('only expired tokens are purged', async () => {
      const tokens = await open();
      (await tokens.add(token('a', { expiresAt: 10 })))._unsafeUnwrap();
      (await tokens.add(token('b', { expiresAt: 20 })))._unsafeUnwrap();
      expect((await tokens.purge(20))._unsafeUnwrap()).toBe(1);
      expect((await tokens.find(token('a').id))._unsafeUnwrap()).toBeUndefined();
      expect((await tokens.find(token('b').id))._unsafeUnwrap()).toBeDefined();
    });
  });
}
