import { expect, it } from 'vitest';
import { listenerOwners, listeningAddress } from '../../../../src/adapters/undici/listener-owners.js';

const head =
  '  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode';
const row = (local: string, uid: number, state = '0A') =>
  `   0: ${local} 00000000:0000 ${state} 00000000:00000000 00:00000000 00000000 ${String(uid).padStart(5)}        0 77527 1 0`;
const table = (...rows: readonly string[]) => `${[head, ...rows].join('\n')}\n`;

const v4 = '0100007F:07E3';
const any4 = '00000000:07E3';
const v6 = '00000000000000000000000001000000:07E3';
const any6 = '00000000000000000000000000000000:07E3';
const mapped = '0000000000000000FFFF00000100007F:07E3';
const owners = (tcp: readonly string[], tcp6: readonly string[], address = '127.0.0.1') =>
  listenerOwners({ tcp: table(...tcp), tcp6: table(...tcp6), littleEndian: true }, address, 2019);

it('are the users of all sockets that may take the connection', () => {
  expect(owners([row(v4, 7)], [])).toEqual([7]);
  expect(owners([row(any4, 7)], [row(any6, 8), row(mapped, 9)])).toEqual([7, 8, 9]);
  expect(owners([], [row(v6, 7), row(any6, 8)], '::1')).toEqual([7, 8]);
});

it('other ports, addresses and states are no listeners there', () => {
  expect(owners([row('0100007F:07E4', 7), row('0200007F:07E3', 7), row(v4, 7, '01')], [row(v6, 7)])).toEqual(
    [],
  );
  expect(owners([row(v4, 7), row(any4, 7)], [row(mapped, 7)], '::1')).toEqual([]);
  expect(listenerOwners({ tcp: '', tcp6: '', littleEndian: true }, '127.0.0.1', 2019)).toEqual([]);
});

it('a host that keeps its bytes the other way round is understood', () => {
  const tables = { tcp: table(row('7F000001:07E3', 7)), tcp6: '', littleEndian: false };
  expect(listenerOwners(tables, '127.0.0.1', 2019)).toEqual([7]);
});

it('of the addresses of a name the one at which somebody listens is called', () => {
  const called = (tcp: readonly string[], tcp6: readonly string[]) =>
    listeningAddress(
      { tcp: table(...tcp), tcp6: table(...tcp6), littleEndian: true },
      ['::1', '127.0.0.1'],
      2019,
    );
  expect(called([row(v4, 7)], [])).toBe('127.0.0.1');
  expect(called([], [row(mapped, 7)])).toBe('127.0.0.1');
  expect(called([row(v4, 7)], [row(v6, 7)])).toBe('::1');
  expect(called([], [])).toBe('::1');
});
