import fc from 'fast-check';
import { expect, it } from 'vitest';
import {
  type DeploymentOrder,
  type DeploymentStep,
  deploymentSteps,
  type FileChange,
  type UndoStep,
  undoSteps,
} from '../../../../src/domain/deploy/plan.js';

/** A host as a plan sees it: files by path, those written beside, and what the service has read. */
interface World {
  readonly files: Map<string, string>;
  readonly beside: Set<string>;
  loaded: string;
  reloads: number;
  configured: boolean;
}

const text = (bytes: Uint8Array) => String.fromCharCode(...bytes);
const seen = (world: World) => JSON.stringify([...world.files].toSorted());

function apply(world: World, step: DeploymentStep | UndoStep): void {
  switch (step.kind) {
    case 'stage':
      world.beside.add(step.file.path);
      break;
    case 'place':
      world.beside.delete(step.file.path);
      world.files.set(step.file.path, text(step.file.content));
      break;
    case 'restore':
      if (step.file.before === undefined) world.files.delete(step.file.path);
      else world.files.set(step.file.path, text(step.file.before.content));
      break;
    case 'discard':
      world.beside.delete(step.file.path);
      break;
    case 'reload':
      world.loaded = seen(world);
      world.reloads += 1;
      break;
    case 'configure':
    case 'unconfigure':
      world.configured = step.kind === 'configure';
      break;
    default:
  }
}

const command = { program: '/bin/true', args: [] };
const content = fc.uint8Array({ minLength: 1, maxLength: 4 });
const change = fc.record({ content, before: fc.option(content, { nil: undefined }) });
const order: fc.Arbitrary<DeploymentOrder> = fc.record({
  changes: fc.array(change, { maxLength: 4 }).map((changes) =>
    changes.map(
      ({ before, ...rest }, index): FileChange => ({
        ...rest,
        path: `/etc/${index}`,
        mode: 0o640,
        owner: undefined,
        group: undefined,
        before: before && { content: before, mode: 0o600, uid: 0, gid: 0 },
      }),
    ),
  ),
  validate: fc.option(fc.constant(command), { nil: undefined }),
  reload: fc.option(fc.constant(command), { nil: undefined }),
  adminApi: fc.option(fc.constant('http://localhost:2019'), { nil: undefined }),
  verification: fc.constant(undefined),
});

it('whichever step fails, done or not, the undo restores files and service exactly, and reloads only what was reloaded', () => {
  fc.assert(
    fc.property(order, fc.nat(), fc.boolean(), (ordered, at, partly) => {
      const world: World = {
        files: new Map([['/etc/other', 'kept']]),
        beside: new Set(),
        loaded: '',
        reloads: 0,
        configured: false,
      };
      for (const { path, before } of ordered.changes)
        if (before !== undefined) world.files.set(path, text(before.content));
      world.loaded = seen(world);
      const before = { files: seen(world), loaded: world.loaded };

      const steps = deploymentSteps(ordered);
      fc.pre(steps.length > 0);
      const begun = steps.slice(0, 1 + (at % steps.length));
      for (const step of partly ? begun : begun.slice(0, -1)) apply(world, step);
      const { reloads } = world;
      for (const step of undoSteps(begun)) apply(world, step);

      expect({ files: seen(world), loaded: world.loaded }).toEqual(before);
      expect([...world.beside]).toEqual([]);
      expect(world.configured).toBe(false);
      const reloadBegan = begun.some(({ kind }) => kind === 'reload');
      expect(world.reloads - reloads).toBe(reloadBegan ? 1 : 0);
    }),
    { numRuns: 500 },
  );
});

it('nothing is placed before everything is recorded and staged, and it holds only at the very end', () => {
  fc.assert(
    fc.property(order, (ordered) => {
      const kinds = deploymentSteps(ordered).map(({ kind }) => kind);
      fc.pre(ordered.changes.length > 0);
      expect(kinds[0]).toBe('record');
      expect(kinds.lastIndexOf('stage')).toBeLessThan(kinds.indexOf('place'));
      for (const later of ['validate', 'note', 'reload'] as const)
        if (kinds.includes(later)) expect(kinds.indexOf(later)).toBeGreaterThan(kinds.indexOf('sync'));
      expect(kinds.at(-1)).toBe('commit');
    }),
  );
});
