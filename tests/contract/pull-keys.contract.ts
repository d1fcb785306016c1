import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type CertificateId, certificateId } from '../../src/domain/deploy/certificate-id.js';
import type { PullKeys } from '../../src/ports/pull-keys.js';
import { value } from './result.js';

export interface PullKeysSubject {
  readonly keys: PullKeys;
  readonly dispose: () => Promise<void>;
}

export const idOf = (text: string): CertificateId => value(certificateId(text));

export function pullKeysContract(name: string, create: () => Promise<PullKeysSubject>): void {
  describe(`keys of a pull agent: ${name}`, () => {
    let subject: PullKeysSubject;
    beforeEach(async () => {
      subject = await create();
      value(await subject.keys.prepare());
    });
    afterEach(() => subject.dispose());
    const load = async (id: string) => value(await subject.keys.load(idOf(id)));
    const put = async (id: string, pem: string) => value(await subject.keys.put(idOf(id), pem));

    it('where no key was put there is none', async () => {
      expect(await load('mc-1')).toEqual({ present: undefined, former: undefined });
    });

    it('a key is loaded as it was put, and the one before it is the former one', async () => {
      await put('mc-1', 'one\n');
      expect(await load('mc-1')).toEqual({ present: 'one\n', former: undefined });
      await put('mc-1', 'two\n');
      expect(await load('mc-1')).toEqual({ present: 'two\n', former: 'one\n' });
      await put('mc-1', 'three\n');
      expect(await load('mc-1')).toEqual({ present: 'three\n', former: 'two\n' });
    });

    it('a former key is forgotten, also twice, and the present one is not', async () => {
      await put('mc-1', 'one\n');
      await put('mc-1', 'two\n');
      for (let time = 0; time < 2; time += 1) value(await subject.keys.forgetFormer(idOf('mc-1')));
      expect(await load('mc-1')).toEqual({ present: 'two\n', former: undefined });
    });

    it('ids that look alike have keys of their own', async () => {
      const ids = [
        'former',
        '.former',
        '...',
        'a',
        'a.key',
        'A',
        '.a',
        'x'.repeat(128),
        `${'x'.repeat(127)}y`,
      ];
      for (const id of ids) await put(id, `${id}\n`);
      for (const id of ids) await put(id, `${id} again\n`);
      for (const id of ids) expect(await load(id)).toEqual({ present: `${id} again\n`, former: `${id}\n` });
    });

    it('to make ready what is ready changes nothing', async () => {
      await put('mc-1', 'one\n');
      expect(value(await subject.keys.prepare())).toEqual({ tightenedFrom: undefined });
      expect(await load('mc-1')).toEqual({ present: 'one\n', former: undefined });
    });
  });
}
