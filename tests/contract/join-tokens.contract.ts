import { describe, expect, it } from 'vitest';
import type { JoinTokenRecord } from '../../src/domain/pairing/join-token.js';
import type { JoinTokens } from '../../src/ports/join-tokens.js';
import { failure, value } from './result.js';

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
      value(await tokens.add(token('a')));
      value(await tokens.add(token('b', { boundTo: 'cd'.repeat(32), burntAt: 1_700_000_000_001 })));
      expect(value(await tokens.find(token('a').id))).toEqual(token('a'));
      expect(value(await tokens.find(token('b').id))?.burntAt).toBe(1_700_000_000_001);
      expect(value(await tokens.find('nobody'))).toBeUndefined();
    });

    it('all are listed, the oldest first, and what is handed out is a copy', async () => {
      const tokens = await open();
      expect(value(await tokens.list())).toEqual([]);
      const older = token('c', { createdAt: 1, boundTo: 'cd'.repeat(32), burntAt: 2 });
      for (const each of [token('b'), token('a'), older]) value(await tokens.add(each));
      const listed = value(await tokens.list());
      expect(listed).toEqual([older, token('a'), token('b')]);
      Object.assign(listed[0] ?? {}, { name: 'changed' });
      expect(value(await tokens.list())[0]?.name).toBe('web-01');
    });

    it('an id is used once, and the refusal does not tell the key', async () => {
      const tokens = await open();
      value(await tokens.add(token('a')));
      const refused = failure(await tokens.add(token('a', { name: 'web-02' })));
      expect(refused.code).toBe('store_failed');
      expect(JSON.stringify(refused)).not.toContain(token('a').key);
      expect(value(await tokens.find(token('a').id))?.name).toBe('web-01');
    });

    it('the first CSR binds the token, and it alone', async () => {
      const tokens = await open();
      value(await tokens.add(token('a')));
      const { id } = token('a');
      const outcomes = await Promise.all(['x', 'y', 'z'].map(async (csr) => tokens.bind(id, csr)));
      const winners = outcomes.map((outcome) => value(outcome));
      expect(winners.filter(Boolean)).toHaveLength(1);
      const winner = ['x', 'y', 'z'][winners.indexOf(true)] ?? '';
      expect(value(await tokens.bind(id, winner))).toBe(true);
      expect(value(await tokens.bind(id, 'other'))).toBe(false);
      expect(value(await tokens.bind('nobody', 'x'))).toBe(false);
    });

    it('pairing burns the bound tokens of that host, and the moment stands', async () => {
      const tokens = await open();
      value(await tokens.add(token('a', { boundTo: 'cd'.repeat(32) })));
      value(await tokens.add(token('b')));
      value(await tokens.add(token('c', { name: 'web-02', boundTo: 'cd'.repeat(32) })));
      value(await tokens.burnBound('web-01', 5));
      value(await tokens.burnBound('web-01', 6));
      const burnt = ['a', 'b', 'c'].map(async (id) => value(await tokens.find(token(id).id))?.burntAt);
      expect(await Promise.all(burnt)).toEqual([5, undefined, undefined]);
    });

    it('only expired tokens are purged', async () => {
      const tokens = await open();
      value(await tokens.add(token('a', { expiresAt: 10 })));
      value(await tokens.add(token('b', { expiresAt: 20 })));
      expect(value(await tokens.purge(20))).toBe(1);
      expect(value(await tokens.find(token('a').id))).toBeUndefined();
      expect(value(await tokens.find(token('b').id))).toBeDefined();
    });
  });
}
