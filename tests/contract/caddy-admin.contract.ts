import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { CaddyAdmin, CaddyPlace } from '../../src/ports/caddy-admin.js';
import { failure, value } from './result.js';

export interface CaddyAdminSubject {
  readonly admin: CaddyAdmin;
  /** Of a server without a document, that refuses one with a member `broken`. */
  readonly place: CaddyPlace;
  readonly dispose: () => Promise<void>;
}

export function caddyAdminContract(name: string, create: () => Promise<CaddyAdminSubject>): void {
  describe(`Caddy administration contract: ${name}`, () => {
    let subject: CaddyAdminSubject;
    const read = async () => value(await subject.admin.read(subject.place));
    beforeEach(async () => {
      subject = await create();
    });
    afterEach(() => subject.dispose());

    it('there is no document at first, and then the one that was given', async () => {
      const first = await read();
      expect(first.document).toBeNull();
      const document = { apps: { http: {} } };
      value(await subject.admin.replace(subject.place, { ...first, document }));
      expect((await read()).document).toEqual(document);
    });

    it('a revision that is not the current one is 412, a document that cannot be used another refusal; nothing changes', async () => {
      const first = await read();
      value(await subject.admin.replace(subject.place, { ...first, document: { a: 1 } }));
      const late = await subject.admin.replace(subject.place, { ...first, document: { a: 2 } });
      expect(failure(late)).toMatchObject({ code: 'refused', status: 412 });
      const broken = await subject.admin.replace(subject.place, {
        ...(await read()),
        document: { broken: 1 },
      });
      expect(failure(broken)).toMatchObject({ code: 'refused', status: 400 });
      expect((await read()).document).toEqual({ a: 1 });
    });
  });
}
