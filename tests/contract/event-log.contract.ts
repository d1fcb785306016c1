import { describe, expect, test } from 'vitest';
import type { EventRecord } from '../../src/domain/core/event.js';

/** A record as it stands in the log. */
export interface LogRecord {
  readonly action: string;
  readonly fields: Record<string, string>;
}

/** A log, and a way to read it back. */
export interface EventLogBinding {
  /** Any event that is emitted here is to be logged, whatever its name and fields. */
  readonly log: {
    /** As the port has it. */
    emit(event: EventRecord): void;
  };
  /** What the log holds, one entry a record, read back into action and fields; values as text. */
  readonly records: () => readonly LogRecord[] | Promise<readonly LogRecord[]>;
}

/** What holds for every `EventLog`. */
export function eventLogContract(name: string, make: () => EventLogBinding | Promise<EventLogBinding>): void {
  describe(`event log: ${name}`, () => {
    test('one event is one record', async () => {
      const { log, records } = await make();
      log.emit({ action: 'run', level: 'warning', fields: { SCRIPT: 'backup', EXIT: 3, OK: false } });
      expect(await records()).toEqual([
        { action: 'run', fields: { SCRIPT: 'backup', EXIT: '3', OK: 'false' } },
      ]);
    });

    test('an event without fields, and fields that are undefined', async () => {
      const { log, records } = await make();
      log.emit({ action: 'start' });
      log.emit({ action: 'stop', fields: { REASON: undefined } });
      expect(await records()).toEqual([
        { action: 'start', fields: {} },
        { action: 'stop', fields: {} },
      ]);
    });

    test('the order is that of the events', async () => {
      const { log, records } = await make();
      for (let index = 0; index < 100; index += 1) log.emit({ action: `a${index}` });
      expect((await records()).map(({ action }) => action)).toEqual(
        Array.from({ length: 100 }, (_, index) => `a${index}`),
      );
    });

    const forgeries: Record<string, string> = {
      'a line end': 'x\nACTION=forged EXIT=0',
      'a carriage return': 'x\rACTION=forged',
      'quotes and a key': 'x" ACTION=forged Y="',
      'a backslash at the end': 'x\\',
      'a line separator': 'x\u2028ACTION=forged\u2029\u0085\v\f',
      'a direction override': '\u202egnp.exe\u2066\u200f',
      'half a surrogate pair': 'a\ud800b\udc00',
      'a terminal sequence': '\u001b[2J\u009b31m\u0000\u007f',
      'JSON syntax': '","action":"forged","x":"{}',
      nothing: '',
      unicode: 'grüße 日本 🎉',
    };
    for (const [what, value] of Object.entries(forgeries))
      test(`a value forges no record and no field: ${what}`, async () => {
        const { log, records } = await make();
        log.emit({ action: 'run', fields: { SCRIPT: value, Z: 'z' } });
        expect(await records()).toEqual([{ action: 'run', fields: { SCRIPT: value, Z: 'z' } }]);
      });

    test('later changes to an event do not change its record', async () => {
      const { log, records } = await make();
      const event: { action: string; fields: Record<string, string> } = { action: 'a', fields: { X: '1' } };
      log.emit(event satisfies EventRecord);
      event.action = 'b';
      event.fields['X'] = '2';
      expect(await records()).toEqual([{ action: 'a', fields: { X: '1' } }]);
    });
  });
}
